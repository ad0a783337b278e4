//! What an assertion says: the registered claims of RFC 7519 §4.1, and what is known about who is asking.

use crate::clock::UnixTime;
use crate::identity::Identity;
use http::header::HeaderName;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// The registered claims (RFC 7519 §4.1): an attribute of such a name is left out.
const REGISTERED: [&str; 7] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"];

/// What every assertion says, and where it stands.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The field that carries it.
    pub header: HeaderName,
    /// `iss`.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
    /// How long it is good.
    pub ttl: Duration,
}

/// Whom an assertion is about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// `sub`.
    pub name: &'a str,
    /// What was established about them.
    pub identity: &'a Identity,
    /// When what vouches for them ends; no assertion is good beyond.
    pub ends: UnixTime,
}

impl Settings {
    /// The claims of an assertion that is made `now` and good until `expires`.
    #[must_use]
    pub fn claims(&self, subject: &Subject<'_>, now: UnixTime, expires: UnixTime) -> Map<String, Value> {
        let mut claims = Map::new();
        claims.insert("iss".to_owned(), json!(self.issuer));
        claims.insert("sub".to_owned(), json!(subject.name));
        claims.insert("aud".to_owned(), json!(self.audience));
        claims.insert("iat".to_owned(), json!(now.seconds()));
        claims.insert("exp".to_owned(), json!(expires.seconds()));
        let attributes = subject.identity.attributes().filter(|(name, _)| !REGISTERED.contains(name));
        claims.extend(attributes.map(|(name, value)| (name.to_owned(), value.to_json())));
        claims
    }
}
