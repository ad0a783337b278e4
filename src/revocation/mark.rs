//! By what a credential can be revoked: the SHA-256 of a value, and the attribute that has it. The values themselves are kept nowhere.

use super::twin::twin;
use crate::clock::UnixTime;
use crate::footprint::allocated;
use crate::identity::{Attribute as Held, Identity, SUBJECT};
use crate::json::{Number, Object, Value};
use aws_lc_rs::digest::{Context, SHA256, digest};
use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The attribute whose value is the credential itself.
pub const TOKEN: &str = "token";

/// The attribute whose values are what an issuer's logout names: see [`logout_digest`].
pub const LOGOUT: &str = "logout";

/// What a logout can name.
pub const LOGOUT_CLAIMS: [&str; 2] = ["sid", "sub"];

/// A SHA-256.
pub type Digest = [u8; 32];

/// The SHA-256 of a value.
#[must_use]
pub fn digest_of(value: &[u8]) -> Digest {
    digest(&SHA256, value).as_ref().try_into().unwrap_or_default()
}

/// The digest of what one issuer calls a session or a person: no other issuer can end it, though it may use the same name.
/// It is that of `issuer`, `claim` and `value` with a zero byte between each.
#[must_use]
pub fn logout_digest(issuer: &str, claim: &str, value: &str) -> Digest {
    let mut context = Context::new(&SHA256);
    for (position, part) in [issuer, claim, value].into_iter().enumerate() {
        if position > 0 {
            context.update(&[0]);
        }
        context.update(part.as_bytes());
    }
    context.finish().as_ref().try_into().unwrap_or_default()
}

/// What a revocation names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mark {
    /// The attribute, by the first half of its name's digest: this is the same in every configuration.
    pub(super) attribute: u128,
    pub(super) digest: Digest,
}

impl Mark {
    /// What that attribute with a value of that digest is found by.
    #[must_use]
    pub fn new(attribute: &str, digest: Digest) -> Self {
        Self { attribute: attribute_number(attribute), digest }
    }
}

impl Mark {
    /// Enough of it to tell it from most others.
    pub(super) fn short(&self) -> u64 {
        self.digest.first_chunk().map_or(0, |start| u64::from_be_bytes(*start))
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Mark")
    }
}

pub(super) fn attribute_number(name: &str) -> u128 {
    digest_of(name.as_bytes()).first_chunk().map_or(0, |half| u128::from_be_bytes(*half))
}

/// What every credential is looked at for.
#[derive(Debug)]
pub struct Watched {
    names: Vec<Arc<str>>,
}

impl Watched {
    /// These attributes, and whatever issuers name in a logout.
    #[must_use]
    pub fn new(attributes: &[String]) -> Self {
        Self { names: attributes.iter().map(|name| name.as_str().into()).collect() }
    }

    /// Whether a revocation may name it.
    #[must_use]
    pub fn names(&self, attribute: &str) -> bool {
        self.names.iter().any(|name| &**name == attribute)
    }

    /// Every attribute that Redis may hold revocations of.
    pub(super) fn shared_names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name).chain([LOGOUT])
    }

    /// What a verified credential can be revoked by, but for the credential itself; `claims` are those that it stands for.
    #[must_use]
    pub fn traces(&self, identity: &Identity, claims: Option<&Object<'_>>) -> Traces {
        let mut marks = Vec::new();
        for name in self.names.iter().filter(|name| &***name != TOKEN) {
            if let Some(value) = value(name, identity, claims) {
                marks.push(Mark::new(name, digest_of(value.as_bytes())));
            }
        }
        let claim = |name| claims.and_then(|claims| text(claims.get(name)?));
        if let Some(issuer) = claim("iss") {
            for name in LOGOUT_CLAIMS {
                if let Some(value) = claim(name) {
                    marks.push(Mark::new(LOGOUT, logout_digest(&issuer, name, &value)));
                }
            }
        }
        let issued = claims.and_then(|claims| moment(claims.get("iat")?));
        let token = self.names(TOKEN);
        Traces { marks, issued, token }
    }
}

/// The value of an attribute: the identity's, if it has one of that name, else the claim's.
fn value(name: &str, identity: &Identity, claims: Option<&Object<'_>>) -> Option<String> {
    let held = identity.attribute(name).and_then(held_text);
    let claimed = || claims.and_then(|claims| text(claims.get(name)?));
    // The subject of a key file has no claim of that name.
    let subject = || identity.attribute(SUBJECT).filter(|_| name == "sub").and_then(held_text);
    held.or_else(claimed).or_else(subject)
}

fn held_text(attribute: &Held) -> Option<String> {
    match attribute {
        Held::Text(text) => Some(text.to_string()).filter(|text| !text.is_empty()),
        Held::Integer(number) => Some(number.to_string()),
        Held::Boolean(_) | Held::Set(_) | Held::Quotas(_) => None,
    }
}

fn text(value: &Value<'_>) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.to_string()).filter(|text| !text.is_empty()),
        Value::Number(Number::Whole(number)) => Some(number.to_string()),
        Value::Number(Number::Float(_))
        | Value::Null
        | Value::Boolean(_)
        | Value::List(_)
        | Value::Object(_) => None,
    }
}

/// `iat` (RFC 7519 §4.1.6), rounded down.
fn moment(value: &Value<'_>) -> Option<UnixTime> {
    match value {
        Value::Number(Number::Whole(seconds)) => u64::try_from(*seconds).ok().map(UnixTime::from_seconds),
        Value::Number(Number::Float(seconds)) => {
            Some(UnixTime::default().plus(Duration::try_from_secs_f64(*seconds).ok()?))
        }
        Value::Null | Value::Boolean(_) | Value::Text(_) | Value::List(_) | Value::Object(_) => None,
    }
}

/// What a credential can be revoked by, as far as its claims say it.
#[derive(Clone, Debug)]
pub struct Traces {
    marks: Vec<Mark>,
    issued: Option<UnixTime>,
    token: bool,
}

impl Traces {
    /// And what the credential itself is found by.
    #[must_use]
    pub fn of(mut self, token: &str) -> Marked {
        if self.token {
            self.marks.push(Mark::new(TOKEN, digest_of(token.as_bytes())));
            let twin = twin(token).map(|twin| Mark::new(TOKEN, digest_of(twin.as_bytes())));
            self.marks.extend(twin);
        }
        Marked { marks: self.marks.into(), issued: self.issued, seen: Cell::new(0) }
    }

    /// How many bytes it occupies.
    #[must_use]
    pub fn weight(&self) -> usize {
        allocated(self.marks.capacity().saturating_mul(size_of::<Mark>()))
    }
}

/// What a session can be revoked by, made once.
#[derive(Clone, Debug)]
pub struct Marked {
    pub(super) marks: Box<[Mark]>,
    /// When it was issued, if it says so.
    pub(super) issued: Option<UnixTime>,
    /// The version of the list in which none of it was found.
    pub(super) seen: Cell<u64>,
}

impl Marked {
    /// How many bytes it occupies.
    #[must_use]
    pub fn weight(&self) -> usize {
        allocated(size_of_val(&*self.marks))
    }
}
