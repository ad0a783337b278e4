//! Sets of keys, and which keys of a published set (RFC 7517 §5) may verify tokens here.

use super::algorithm::{self, Family};
use super::key::{Key, KeyError};
use crate::config::authenticator::Algorithm;
use crate::json::{self, JsonError, Object, Value};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The largest document that is read, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 1 << 20;

/// How many keys of one set are used.
pub const MAX_KEYS: usize = 100;

/// How many ignored keys are named in a log line.
const MAX_EXAMPLES: usize = 10;

static GENERATION: AtomicU64 = AtomicU64::new(1);

/// Why no key could be taken from a document; the caller keeps the keys that it has.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    /// It is over [`MAX_DOCUMENT_BYTES`].
    #[error("the key set is larger than {MAX_DOCUMENT_BYTES} bytes")]
    TooLarge,
    /// It is no strict JSON object.
    #[error("the key set is {0}")]
    Json(#[from] JsonError),
    /// There is no list under `keys` (RFC 7517 §5.1).
    #[error("the key set has no list of keys")]
    NoList,
    /// Not one key can be used.
    #[error("the key set has no usable key ({0})")]
    NothingLeft(Ignored),
}

/// Why a token's signature was not verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unverified {
    /// There is no such key, or a token without `kid` fits none or several.
    KeyUnknown,
    /// The key exists, but the algorithm is not one for it.
    Algorithm,
    /// The signature is not the key's.
    Signature,
}

/// The keys of a document that were not used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignored {
    /// How many for which reason.
    pub counts: BTreeMap<KeyError, u64>,
    /// The ids of the first ones, where they had one.
    pub examples: Vec<(String, KeyError)>,
}

impl Ignored {
    /// How many in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.values().fold(0, |total, count| total.saturating_add(*count))
    }

    fn add(&mut self, kid: Option<&str>, why: KeyError) {
        let count = self.counts.entry(why).or_default();
        *count = count.saturating_add(1);
        if let Some(kid) = kid
            && self.examples.len() < MAX_EXAMPLES
        {
            self.examples.push((kid.chars().take(64).collect(), why));
        }
    }
}

impl fmt::Display for Ignored {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ignored {}", self.total())?;
        for (position, (why, count)) in self.counts.iter().enumerate() {
            let separator = if position == 0 { ": " } else { ", " };
            write!(formatter, "{separator}{count} {}", why.label())?;
        }
        for (position, (kid, why)) in self.examples.iter().enumerate() {
            let separator = if position == 0 { "; " } else { ", " };
            write!(formatter, "{separator}{kid:?} {why}")?;
        }
        Ok(())
    }
}

/// What was made of a document.
#[derive(Debug)]
pub struct Filtered {
    /// The keys that may be used; at least one.
    pub set: KeySet,
    /// The others.
    pub ignored: Ignored,
}

/// The keys of one authenticator at one moment.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<Arc<Key>>,
    ignores_kid: bool,
    generation: u64,
}

impl KeySet {
    /// The usable keys of a published set, for the algorithms that are allowed.
    ///
    /// # Errors
    /// If the document is too large, no strict JSON, or no key of it can be used.
    pub fn from_jwks(document: &[u8], allowed: &[Algorithm]) -> Result<Filtered, JwksError> {
        if document.len() > MAX_DOCUMENT_BYTES {
            return Err(JwksError::TooLarge);
        }
        let members = json::object(document)?;
        let list = members.get("keys").and_then(Value::as_list).ok_or(JwksError::NoList)?;
        let (mut keys, mut ignored) = (Vec::new(), Ignored::default());
        for entry in list {
            let read = if keys.len() < MAX_KEYS { read_key(entry, allowed) } else { Err(KeyError::TooMany) };
            match read {
                Ok(key) => keys.push(Arc::new(key)),
                Err(why) => ignored
                    .add(entry.as_object().and_then(|key| key.get("kid")).and_then(Value::as_text), why),
            }
        }
        if keys.is_empty() {
            return Err(JwksError::NothingLeft(ignored));
        }
        Ok(Filtered { set: Self::new(keys, false), ignored })
    }

    /// The set of one key that is used whatever `kid` a token names: from a PEM file or a shared secret.
    #[must_use]
    pub fn single(key: Key) -> Self {
        Self::new(vec![Arc::new(key)], true)
    }

    /// No keys: what there is before a document was read.
    #[must_use]
    pub fn none() -> Self {
        Self::new(Vec::new(), false)
    }

    fn new(keys: Vec<Arc<Key>>, ignores_kid: bool) -> Self {
        Self { keys, ignores_kid, generation: GENERATION.fetch_add(1, Ordering::Relaxed) }
    }

    /// A number that no other set of this process has.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none; never true for a set that was made of a document.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether a token with that `kid` finds a key here.
    #[must_use]
    pub fn knows(&self, kid: &str) -> bool {
        self.ignores_kid || self.keys.iter().any(|key| key.kid() == Some(kid))
    }

    /// Whether the set holds the same key material under the same id.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        self.keys.iter().any(|held| held.is_same(key))
    }

    /// Whether both hold the same keys.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let held = |these: &Self, those: &Self| these.keys.iter().all(|key| those.contains(key));
        self.ignores_kid == other.ignores_kid && held(self, other) && held(other, self)
    }

    /// Finds the key that a token names, if the signature `verifies` with it.
    ///
    /// A token without `kid` is verified only if exactly one key fits its algorithm: trying all of them would let
    /// anybody choose how much work we do.
    ///
    /// # Errors
    /// If there is no such key, the key is not for that algorithm, or the signature is wrong.
    pub fn find(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
        verifies: impl Fn(&Key) -> bool,
    ) -> Result<&Arc<Key>, Unverified> {
        let fits = |key: &&Arc<Key>| key.allows(algorithm);
        let verifies = |key: &&Arc<Key>| verifies(key);
        if kid.is_none() && !self.ignores_kid {
            let mut fitting = self.keys.iter().filter(fits);
            return match (fitting.next(), fitting.next()) {
                (Some(key), None) => Some(key).filter(verifies).ok_or(Unverified::Signature),
                _ => Err(Unverified::KeyUnknown),
            };
        }
        let named = || self.keys.iter().filter(|key| self.ignores_kid || key.kid() == kid);
        if named().next().is_none() {
            return Err(Unverified::KeyUnknown);
        }
        // Ids should differ (RFC 7517 §4.5), but keys of one id do occur while an issuer changes them.
        let mut fitting = named().filter(fits).peekable();
        if fitting.peek().is_none() {
            return Err(Unverified::Algorithm);
        }
        fitting.find(verifies).ok_or(Unverified::Signature)
    }
}

/// One key of the list, if it may be used (RFC 7517 §4).
fn read_key(entry: &Value<'_>, allowed: &[Algorithm]) -> Result<Key, KeyError> {
    let members = entry.as_object().ok_or(KeyError::Malformed)?;
    let kid = text(members, "kid")?;
    if text(members, "use")?.is_some_and(|purpose| purpose != "sig") {
        return Err(KeyError::Use);
    }
    match members.get("key_ops") {
        None => {}
        Some(operations) => {
            let operations = operations.as_list().ok_or(KeyError::Malformed)?;
            if !operations.iter().any(|operation| operation.as_text() == Some("verify")) {
                return Err(KeyError::Operations);
            }
        }
    }
    let own = match text(members, "alg")? {
        None => None,
        Some(name) => Some(algorithm::named(name).ok_or(KeyError::Algorithm)?),
    };
    let allowed: Vec<Algorithm> =
        allowed.iter().copied().filter(|algorithm| own.is_none_or(|own| own == *algorithm)).collect();
    match text(members, "kty")?.ok_or(KeyError::Malformed)? {
        "RSA" => Key::rsa(kid, &number(members, "n")?, &number(members, "e")?, &allowed),
        "EC" => read_ec(members, kid, &allowed),
        "OKP" if text(members, "crv")? == Some("Ed25519") => {
            Key::point(kid, Family::Ed25519, &sized(members, "x", 32)?, &allowed)
        }
        "oct" => Err(KeyError::Symmetric),
        _ => Err(KeyError::Kind),
    }
}

/// A key on a NIST curve, whose coordinates have the full length (RFC 7518 §6.2.1).
fn read_ec(members: &Object<'_>, kid: Option<&str>, allowed: &[Algorithm]) -> Result<Key, KeyError> {
    let (family, length) = match text(members, "crv")?.ok_or(KeyError::Malformed)? {
        "P-256" => (Family::P256, 32),
        "P-384" => (Family::P384, 48),
        _ => return Err(KeyError::Kind),
    };
    let mut point = vec![0x04];
    point.extend(sized(members, "x", length)?);
    point.extend(sized(members, "y", length)?);
    Key::point(kid, family, &point, allowed)
}

fn text<'a>(members: &'a Object<'_>, name: &str) -> Result<Option<&'a str>, KeyError> {
    members.get(name).map(|value| value.as_text().ok_or(KeyError::Malformed)).transpose()
}

fn number(members: &Object<'_>, name: &str) -> Result<Vec<u8>, KeyError> {
    let encoded = text(members, name)?.ok_or(KeyError::Malformed)?;
    URL_SAFE_NO_PAD.decode(encoded).map_err(|_| KeyError::Malformed)
}

fn sized(members: &Object<'_>, name: &str, length: usize) -> Result<Vec<u8>, KeyError> {
    let bytes = number(members, name)?;
    if bytes.len() == length { Ok(bytes) } else { Err(KeyError::Invalid) }
}

#[cfg(test)]
mod tests;
