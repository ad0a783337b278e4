//! Tokens, good and bad: header, claims and signature are put together by hand, so that anything can be said.

use super::keys::Key;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since the epoch.
pub fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// Base64url without padding (RFC 4648 §5).
pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token in the making.
#[derive(Clone, Debug)]
pub struct Token {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    key: Key,
}

impl Token {
    /// For `user-1`, audience `api`, five minutes from now, signed by `key`.
    pub fn new(issuer: &str, key: &Key) -> Self {
        let claims = json!({
            "iss": issuer, "aud": "api", "sub": "user-1", "iat": now(), "exp": now() + 300,
        });
        Self::bare(key).claims(claims)
    }

    /// Without a single claim.
    pub fn bare(key: &Key) -> Self {
        let header = json!({ "alg": key.alg, "typ": "JWT", "kid": key.kid });
        Self { header: object(header), claims: Map::new(), key: key.clone() }
    }

    /// Sets a claim.
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Sets all claims of this object.
    pub fn claims(mut self, claims: Value) -> Self {
        self.claims.extend(object(claims));
        self
    }

    pub fn without(mut self, claim: &str) -> Self {
        self.claims.remove(claim);
        self
    }

    /// `exp`, seconds from now.
    pub fn expires_in(self, seconds: i64) -> Self {
        self.claim("exp", now() + seconds)
    }

    /// Sets a header parameter; null removes it.
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        match value.into() {
            Value::Null => drop(self.header.remove(name)),
            value => drop(self.header.insert(name.to_owned(), value)),
        }
        self
    }

    /// Signs with another key, and says nothing of it.
    pub fn forged_with(mut self, key: &Key) -> Self {
        self.key = key.clone();
        self
    }

    /// The compact serialization.
    pub fn build(&self) -> String {
        let header = Value::Object(self.header.clone()).to_string();
        let claims = Value::Object(self.claims.clone()).to_string();
        signed(&header, &claims, &self.key)
    }

    /// The claims as JSON text, to be rewritten by hand.
    pub fn claims_text(&self) -> String {
        Value::Object(self.claims.clone()).to_string()
    }

    /// The header as JSON text, to be rewritten by hand.
    pub fn header_text(&self) -> String {
        Value::Object(self.header.clone()).to_string()
    }

    /// Header and claims as given, signed well.
    pub fn signed_as(&self, header: &str, claims: &str) -> String {
        signed(header, claims, &self.key)
    }
}

fn signed(header: &str, claims: &str, key: &Key) -> String {
    let input = format!("{}.{}", base64url(header), base64url(claims));
    let signature = base64url(key.sign(input.as_bytes()));
    format!("{input}.{signature}")
}

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(map) = value else { panic!("no object: {value}") };
    map
}

/// The same token with other characters in its signature.
pub fn with_signature(token: &str, signature: &str) -> String {
    let (input, _) = token.rsplit_once('.').unwrap();
    format!("{input}.{signature}")
}

/// The same bytes, spelled non-canonically: the unused bits of the last character are set.
pub fn non_canonical(segment: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    assert_ne!(segment.len() % 4, 0, "no unused bits in {segment}");
    let (start, last) = segment.split_at(segment.len() - 1);
    let number = ALPHABET.iter().position(|letter| *letter == last.as_bytes()[0]).unwrap();
    format!("{start}{}", char::from(ALPHABET[number | 1]))
}
