//! The keys of one authenticator, kept fresh by an actor on the control runtime.
//!
//! Workers read the current set without a lock. Only when a token names a key that is not there do they send a message
//! and await the answer, so an issuer that is slow or down never holds up a request that does not need it. Good keys go on
//! serving while the issuer is down, up to `jwks_max_stale`.

mod memory;
mod refresher;
pub mod source;

pub use refresher::Refresher;
pub use source::{LoadError, Loaded, Source, SourceError};

use crate::authn::jwks::KeySet;
use crate::clock::{Clock, UnixTime};
use crate::config::authenticator::Algorithm;
use crate::outbound::HttpClient;
use arc_swap::{ArcSwap, Guard};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How long a request waits for keys.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// How many questions may be open at once; more are answered with [`Unavailable`].
const MAX_ASKS: usize = 1024;

/// Ids longer than this are no issuer's; nobody is asked for them.
const MAX_KID_BYTES: usize = 1024;

/// What a store is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The authenticator, for the log.
    pub name: Arc<str>,
    /// Where the keys come from.
    pub source: Source,
    /// The algorithms that are accepted.
    pub algorithms: Vec<Algorithm>,
    /// How often the keys are read again.
    pub refresh: Duration,
    /// How long they serve while they cannot be read.
    pub max_stale: Duration,
}

/// Nobody could say whether there is such a key: 503, never 401.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the keys are unavailable")]
pub struct Unavailable;

/// How the refreshing went so far, for metrics.
#[derive(Debug, Default)]
pub struct Refreshes {
    successes: AtomicU64,
    errors: AtomicU64,
    last_success: AtomicU64,
    ignored_keys: AtomicU64,
}

impl Refreshes {
    /// How often keys were read.
    #[must_use]
    pub fn successes(&self) -> u64 {
        self.successes.load(Ordering::Relaxed)
    }

    /// How often that failed.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// When keys were last read; `None` before the first time.
    #[must_use]
    pub fn last_success(&self) -> Option<UnixTime> {
        match self.last_success.load(Ordering::Relaxed) {
            0 => None,
            millis => Some(UnixTime::from_millis(millis)),
        }
    }

    /// How many keys of the last document were left out.
    #[must_use]
    pub fn ignored_keys(&self) -> u64 {
        self.ignored_keys.load(Ordering::Relaxed)
    }
}

/// A set and the time of the reading that confirmed it; an empty one before the first.
#[derive(Debug)]
struct Snapshot {
    set: Arc<KeySet>,
    read_at: Option<UnixTime>,
}

/// The keys at one moment, to look at and let go: no counter is touched that other workers touch as well.
#[derive(Debug)]
pub struct Current(Guard<Arc<Snapshot>>);

impl Deref for Current {
    type Target = KeySet;

    fn deref(&self) -> &KeySet {
        &self.0.set
    }
}

/// What the store and its refresher share.
#[derive(Debug)]
struct Shared {
    settings: Settings,
    current: ArcSwap<Snapshot>,
    had_keys: AtomicBool,
    refreshes: Refreshes,
}

impl Shared {
    /// Takes over what was read. A set that did not change stays the same one, and with it every fact that rests on it.
    /// True if the keys are others than before.
    fn take_over(&self, loaded: Loaded, now: UnixTime) -> bool {
        let before = self.current.load_full();
        let changed = before.read_at.is_none() || !before.set.is_same(&loaded.set);
        let set = if changed { Arc::new(loaded.set) } else { Arc::clone(&before.set) };
        self.current.store(Arc::new(Snapshot { set, read_at: Some(now) }));
        self.had_keys.store(true, Ordering::Relaxed);
        self.refreshes.successes.fetch_add(1, Ordering::Relaxed);
        self.refreshes.last_success.store(now.millis(), Ordering::Relaxed);
        self.refreshes.ignored_keys.store(loaded.ignored.total(), Ordering::Relaxed);
        changed
    }

    fn current(&self, now: UnixTime) -> Option<Current> {
        let current = self.current.load();
        let read_at = current.read_at?;
        let serves = self.settings.source.is_constant() || now <= read_at.plus(self.settings.max_stale);
        serves.then(|| Current(current))
    }
}

/// A question: is there a key of this id by now?
#[derive(Debug)]
struct Ask {
    kid: Option<Box<str>>,
    reply: oneshot::Sender<Result<(), Unavailable>>,
}

/// The keys of one authenticator.
#[derive(Debug)]
pub struct KeyStore {
    shared: Arc<Shared>,
    asks: mpsc::Sender<Ask>,
}

impl KeyStore {
    /// A store, and the actor that keeps it fresh: [`Refresher::run`] belongs on the control runtime and ends with the
    /// store. `initial` is what [`Source::read`] found, if anything.
    #[must_use]
    pub fn open(
        settings: Settings,
        initial: Option<Loaded>,
        client: Arc<dyn HttpClient>,
        clock: Arc<dyn Clock>,
    ) -> (Arc<Self>, Refresher) {
        let (asks, questions) = mpsc::channel(MAX_ASKS);
        let shared = Arc::new(Shared {
            settings,
            current: ArcSwap::from_pointee(Snapshot { set: Arc::new(KeySet::none()), read_at: None }),
            had_keys: AtomicBool::new(false),
            refreshes: Refreshes::default(),
        });
        let is_read = initial.is_some();
        if let Some(loaded) = initial {
            shared.take_over(loaded, clock.now());
        }
        let refresher = Refresher::new(Arc::clone(&shared), questions, client, clock, is_read);
        (Arc::new(Self { shared, asks }), refresher)
    }

    /// The keys as they are now; `None` before the first reading, and when the last one is too long ago.
    #[must_use]
    pub fn current(&self, now: UnixTime) -> Option<Current> {
        self.shared.current(now)
    }

    /// Asks whether there is a key of that id by now, and awaits the answer: `Ok` means that the current set is worth
    /// another look, not that the key is there.
    ///
    /// At most one reading is under way, at most one begins each second, and the same id causes none for ten seconds.
    ///
    /// # Errors
    /// If the keys could not be read, too many questions are open, or there is no answer within [`ASK_TIMEOUT`].
    pub async fn ask(&self, kid: Option<&str>) -> Result<(), Unavailable> {
        if self.shared.settings.source.is_constant() || kid.is_some_and(|kid| kid.len() > MAX_KID_BYTES) {
            return Ok(());
        }
        let (reply, answer) = oneshot::channel();
        self.asks.try_send(Ask { kid: kid.map(Into::into), reply }).map_err(|_| Unavailable)?;
        match tokio::time::timeout(ASK_TIMEOUT, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(Unavailable),
        }
    }

    /// Whether there ever were keys: readiness.
    #[must_use]
    pub fn has_had_keys(&self) -> bool {
        self.shared.had_keys.load(Ordering::Relaxed)
    }

    /// How the refreshing went so far.
    #[must_use]
    pub fn refreshes(&self) -> &Refreshes {
        &self.shared.refreshes
    }

    /// What the store was made of.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }
}

#[cfg(test)]
mod tests;
