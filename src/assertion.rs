//! A short-lived JWT (RFC 7519), signed by this process, that tells the service who is asking: for services that will not
//! trust a bare header. Its public half is a key set on `[admin]`.

pub mod claims;
pub mod key;
pub mod ring;

use crate::clock::{Clock, UnixTime};
use crate::headers::trusted::Prepared;
use crate::stamp::Stamp;
use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use claims::{Settings, Subject};
use http::header::HeaderValue;
use key::{SigningKey, SigningKeyError, Unsigned};
use ring::{Named, Ring};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What an assertion has besides attributes and their values: its header, signature and registered claims, in bytes.
const FRAME: usize = 900;

/// How often the file of the key is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Makes assertions. One for all workers; the key behind it may change at any time.
#[derive(Debug)]
pub struct Assertions {
    settings: Settings,
    signing: ArcSwap<SigningKey>,
    key_set: ArcSwap<Bytes>,
    reloads: Reloads,
}

/// How often the key was read again.
#[derive(Debug, Default)]
struct Reloads {
    successes: AtomicU64,
    errors: AtomicU64,
}

/// The assertion that was made last for one session, to spare signatures.
#[derive(Debug, Default)]
pub struct Kept(RefCell<Option<Ready>>);

#[derive(Debug)]
struct Ready {
    field: Prepared,
    made: UnixTime,
    until: UnixTime,
}

impl Kept {
    fn at(&self, now: UnixTime) -> Option<Prepared> {
        let ready = self.0.borrow();
        ready.as_ref().filter(|ready| ready.made <= now && now < ready.until).map(|ready| ready.field.clone())
    }
}

impl Assertions {
    fn new(settings: Settings, signing: Arc<SigningKey>, key_set: Bytes) -> Self {
        let (signing, key_set) = (ArcSwap::new(signing), ArcSwap::from_pointee(key_set));
        Self { settings, signing, key_set, reloads: Reloads::default() }
    }

    /// The field that tells the service who is asking. One that was made before is used again for half of its time.
    ///
    /// # Errors
    /// If AWS-LC cannot sign; nothing may be forwarded then.
    pub fn assert(&self, subject: &Subject<'_>, kept: &Kept, now: UnixTime) -> Result<Prepared, Unsigned> {
        if let Some(field) = kept.at(now) {
            return Ok(field);
        }
        let end = now.plus(self.settings.ttl);
        let expires = end.min(subject.ends);
        let claims =
            serde_json::to_vec(&self.settings.claims(subject, now, expires)).map_err(|_| Unsigned)?;
        let text = sign(&self.signing.load(), &claims)?;
        let value = HeaderValue::try_from(text).map_err(|_| Unsigned)?;
        let field = Prepared::from(vec![(self.settings.header.clone(), value)]);
        // Nothing would be won by another one if it had to end at the same time.
        let until = if expires < end { expires } else { now.plus(half(self.settings.ttl)) };
        *kept.0.borrow_mut() = Some(Ready { field: field.clone(), made: now, until });
        Ok(field)
    }

    /// The public keys, as RFC 7517 §5 has them.
    #[must_use]
    pub fn key_set(&self) -> Bytes {
        Bytes::clone(&self.key_set.load())
    }

    /// How often the key was read again, well and in vain.
    #[must_use]
    pub fn reloads(&self) -> (u64, u64) {
        let Reloads { successes, errors } = &self.reloads;
        (successes.load(Ordering::Relaxed), errors.load(Ordering::Relaxed))
    }

    /// About how many bytes an assertion occupies about an identity of that weight, for the bounds of caches.
    #[must_use]
    pub fn weight(&self, identity: usize) -> usize {
        let claims = identity.saturating_add(self.settings.issuer.len());
        let claims = claims.saturating_add(self.settings.audience.len());
        // In base64 three bytes are four.
        claims.saturating_add(claims.div_ceil(3)).saturating_add(FRAME)
    }
}

const fn half(duration: Duration) -> Duration {
    match duration.checked_div(2) {
        Some(half) => half,
        None => duration,
    }
}

/// The compact serialization (RFC 7515 §7.1).
fn sign(key: &SigningKey, claims: &[u8]) -> Result<String, Unsigned> {
    let mut text = format!("{}.", key.header());
    URL_SAFE_NO_PAD.encode_string(claims, &mut text);
    let signature = key.sign(text.as_bytes())?;
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut text);
    Ok(text)
}

impl Named for SigningKey {
    fn kid(&self) -> &str {
        self.kid()
    }
}

/// Keeps the key of [`Assertions`] as its file has it, on the control thread.
#[derive(Debug)]
pub struct Follower {
    assertions: Arc<Assertions>,
    ring: Ring<SigningKey>,
    path: PathBuf,
    seen: Option<Stamp>,
    clock: Arc<dyn Clock>,
}

impl Follower {
    /// Reads the key for the first time.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn new(settings: Settings, path: &Path, clock: Arc<dyn Clock>) -> Result<Self, SigningKeyError> {
        // Before it is read: what is written meanwhile is noticed later.
        let seen = Stamp::of(path);
        let ring = Ring::new(Arc::new(SigningKey::read(path)?), settings.ttl);
        let assertions = Arc::new(Assertions::new(settings, Arc::clone(ring.signing()), key_set(&ring)));
        Ok(Self { assertions, ring, path: path.to_owned(), seen, clock })
    }

    /// What is made with the key.
    #[must_use]
    pub const fn assertions(&self) -> &Arc<Assertions> {
        &self.assertions
    }

    /// Follows the file for as long as it is polled.
    pub async fn run(mut self) {
        loop {
            tokio::time::sleep(LOOK).await;
            self.look(self.clock.now());
        }
    }

    /// Reads a file that has changed, and does what is due. One that cannot be used changes nothing.
    fn look(&mut self, now: UnixTime) {
        let stamp = Stamp::of(&self.path);
        if stamp != self.seen {
            self.seen = stamp;
            self.read(now);
        }
        self.ring.advance(now);
        // What is published comes first: nobody may meet a signature whose key is not there.
        self.assertions.key_set.store(Arc::new(key_set(&self.ring)));
        if self.assertions.signing.load().kid() != self.ring.signing().kid() {
            self.assertions.signing.store(Arc::clone(self.ring.signing()));
            tracing::info!(kid = self.ring.signing().kid(), "the new assertion key signs");
        }
    }

    fn read(&mut self, now: UnixTime) {
        let reloads = &self.assertions.reloads;
        match SigningKey::read(&self.path) {
            Ok(key) => {
                reloads.successes.fetch_add(1, Ordering::Relaxed);
                tracing::info!(kid = key.kid(), "the assertion key was read again");
                self.ring.offer(Arc::new(key), now);
            }
            Err(error) => {
                reloads.errors.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%error, "the assertion key has changed, but cannot be used; the old one stays");
            }
        }
    }
}

fn key_set(ring: &Ring<SigningKey>) -> Bytes {
    let keys: Vec<&Value> = ring.published().into_iter().map(SigningKey::jwk).collect();
    json!({ "keys": keys }).to_string().into()
}

#[cfg(test)]
mod tests;
