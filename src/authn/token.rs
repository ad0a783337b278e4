//! A token as it came: compact JWS (RFC 7515 §3.1), split and decoded, with nothing believed yet.
//!
//! Strict, because a second reader behind the gate must not be able to read another token than we did: canonical
//! base64url, JSON without duplicate members, registered claims of the right types, no critical extensions.

use super::json::{self, JsonError};
use crate::clock::UnixTime;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use std::time::Duration;

/// The longest token that is looked at, in bytes.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// 9999-12-31T23:59:59Z: a later date is milliseconds taken for seconds, or an attempt to overflow something.
const MAX_SECONDS: u64 = 253_402_300_799;

/// Why a token is no JWS that could be verified. The text holds nothing from the token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It is longer than [`MAX_TOKEN_BYTES`].
    #[error("the token is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// There are not exactly three parts (RFC 7515 §7.1).
    #[error("the token does not have three parts")]
    Parts,
    /// A part is not canonical base64url without padding (RFC 7515 §2).
    #[error("the token's {0} is not canonical base64url")]
    Encoding(&'static str),
    /// A part is not one strict JSON object.
    #[error("the token's {0} is {1}")]
    Json(&'static str, #[source] JsonError),
    /// The header names a critical extension; none is understood here (RFC 7515 §4.1.11).
    #[error("the token's header has critical extensions")]
    Critical,
    /// A member of the header is missing or of the wrong type.
    #[error("the token's header has no usable `{0}`")]
    Header(&'static str),
    /// A registered claim has the wrong type or an absurd value (RFC 7519 §4.1).
    #[error("the token's `{0}` has the wrong type")]
    Claim(&'static str),
}

/// A compact JWS whose payload is a claims set, decoded but not verified.
#[derive(Debug)]
pub struct Jws<'a> {
    header: Header,
    claims: Claims,
    signing_input: &'a str,
    signature: Vec<u8>,
}

impl<'a> Jws<'a> {
    /// Reads a token strictly.
    ///
    /// # Errors
    /// If it is no JWS in canonical form, or its header or claims are not what RFC 7515 and RFC 7519 say.
    pub fn parse(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or(TokenError::Parts)?;
        let (header, payload) = signing_input.split_once('.').ok_or(TokenError::Parts)?;
        if payload.contains('.') {
            return Err(TokenError::Parts);
        }
        let header = Header::read(object("header", header)?)?;
        let claims = Claims::read(object("payload", payload)?)?;
        let signature = decode("signature", signature)?;
        Ok(Self { header, claims, signing_input, signature })
    }

    /// The protected header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The claims. Until the signature is verified they may only serve to choose who verifies it.
    #[must_use]
    pub const fn claims(&self) -> &Claims {
        &self.claims
    }

    /// What the signature is over (RFC 7515 §5.2 step 8).
    #[must_use]
    pub const fn signing_input(&self) -> &'a str {
        self.signing_input
    }

    /// The decoded signature.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }
}

/// The members of the header that are used. `jwk`, `jku`, `x5u` and `x5c` are not among them: a token does not bring
/// its own key.
#[derive(Debug)]
pub struct Header {
    /// `alg`, as written (RFC 7515 §4.1.1).
    pub algorithm: String,
    /// `kid` (RFC 7515 §4.1.4).
    pub key_id: Option<String>,
    /// `typ` (RFC 7515 §4.1.9).
    pub kind: Option<String>,
}

impl Header {
    fn read(mut members: Map<String, Value>) -> Result<Self, TokenError> {
        if members.contains_key("crit") {
            return Err(TokenError::Critical);
        }
        let mut text = |name: &'static str| match members.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                Err(TokenError::Header(name))
            }
        };
        Ok(Self {
            algorithm: text("alg")?.ok_or(TokenError::Header("alg"))?,
            key_id: text("kid")?,
            kind: text("typ")?,
        })
    }
}

/// A point in time as a token states it (RFC 7519 §2, `NumericDate`); a fraction of a millisecond is rounded both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumericDate {
    /// Rounded down: for what must be over then.
    pub floor: UnixTime,
    /// Rounded up: for what must have begun then.
    pub ceil: UnixTime,
}

impl NumericDate {
    fn read(value: &Value) -> Option<Self> {
        let Value::Number(number) = value else {
            return None;
        };
        if let Some(seconds) = number.as_u64() {
            let time = UnixTime::from_seconds(seconds);
            return (seconds <= MAX_SECONDS).then_some(Self { floor: time, ceil: time });
        }
        let since = Duration::try_from_secs_f64(number.as_f64()?).ok()?;
        let millis = u64::try_from(since.as_millis()).ok()?;
        let whole = since.subsec_nanos().is_multiple_of(1_000_000);
        let floor = UnixTime::from_millis(millis);
        let ceil = UnixTime::from_millis(if whole { millis } else { millis.checked_add(1)? });
        (since.as_secs() <= MAX_SECONDS).then_some(Self { floor, ceil })
    }
}

/// A claims set (RFC 7519 §4) whose registered claims have the types that the RFC gives them.
#[derive(Debug)]
pub struct Claims {
    members: Map<String, Value>,
    expires: Option<NumericDate>,
    not_before: Option<NumericDate>,
    issued: Option<NumericDate>,
}

impl Claims {
    fn read(members: Map<String, Value>) -> Result<Self, TokenError> {
        let date = |name: &'static str| match members.get(name) {
            None => Ok(None),
            Some(value) => NumericDate::read(value).map(Some).ok_or(TokenError::Claim(name)),
        };
        let (expires, not_before, issued) = (date("exp")?, date("nbf")?, date("iat")?);
        if members.get("iss").is_some_and(|issuer| !issuer.is_string()) {
            return Err(TokenError::Claim("iss"));
        }
        let audience_is_typed = match members.get("aud") {
            None | Some(Value::String(_)) => true,
            Some(Value::Array(list)) => list.iter().all(Value::is_string),
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) => false,
        };
        if !audience_is_typed {
            return Err(TokenError::Claim("aud"));
        }
        Ok(Self { members, expires, not_before, issued })
    }

    /// `iss` (RFC 7519 §4.1.1).
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.members.get("iss").and_then(Value::as_str)
    }

    /// `aud`, one or several (RFC 7519 §4.1.3); `None` when the claim is missing.
    #[must_use]
    pub fn audience(&self) -> Option<Vec<&str>> {
        match self.members.get("aud")? {
            Value::String(one) => Some(vec![one]),
            Value::Array(list) => Some(list.iter().filter_map(Value::as_str).collect()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
        }
    }

    /// `exp` (RFC 7519 §4.1.4).
    #[must_use]
    pub const fn expires(&self) -> Option<NumericDate> {
        self.expires
    }

    /// `nbf` (RFC 7519 §4.1.5).
    #[must_use]
    pub const fn not_before(&self) -> Option<NumericDate> {
        self.not_before
    }

    /// `iat` (RFC 7519 §4.1.6).
    #[must_use]
    pub const fn issued(&self) -> Option<NumericDate> {
        self.issued
    }

    /// Every claim, by name.
    #[must_use]
    pub const fn members(&self) -> &Map<String, Value> {
        &self.members
    }
}

fn decode(part: &'static str, text: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Encoding(part))
}

fn object(part: &'static str, text: &str) -> Result<Map<String, Value>, TokenError> {
    json::object(&decode(part, text)?).map_err(|error| TokenError::Json(part, error))
}

#[cfg(test)]
mod tests;
