//! A token as it came: compact JWS (RFC 7515 §3.1), split and decoded, with nothing believed yet.
//!
//! Strict, because a second reader behind the gate must not be able to read another token than we did: canonical
//! base64url, JSON without duplicate members, registered claims of the right types, no critical extensions.

use crate::clock::UnixTime;
use crate::json::{self, JsonError, Number, Object, Value};
use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, NO_PAD};
use base64::engine::simd::Simd;
use std::borrow::Cow;
use std::sync::LazyLock;
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

/// Room for the decoded parts of a token. What is read borrows from it; the next token may use it again.
#[derive(Debug, Default)]
pub struct Space(Vec<u8>);

impl Space {
    /// At least so many bytes, with anything in them.
    fn of(&mut self, bytes: usize) -> Room<'_> {
        if self.0.len() < bytes {
            self.0.resize(bytes, 0);
        }
        Room(&mut self.0)
    }
}

/// What is left of the room while a token is decoded.
struct Room<'a>(&'a mut [u8]);

impl<'a> Room<'a> {
    fn decode(&mut self, part: &'static str, text: &str) -> Result<&'a [u8], TokenError> {
        static ENGINE: LazyLock<Simd> = LazyLock::new(|| Simd::url_safe(NO_PAD));
        let length = ENGINE.decode_slice(text, self.0).map_err(|_| TokenError::Encoding(part))?;
        let (decoded, rest) = std::mem::take(&mut self.0).split_at_mut_checked(length).unwrap_or_default();
        self.0 = rest;
        Ok(decoded)
    }

    fn object(&mut self, part: &'static str, text: &str) -> Result<Object<'a>, TokenError> {
        json::object(self.decode(part, text)?).map_err(|error| TokenError::Json(part, error))
    }
}

/// Whether a lenient reader could take this for a compact JWS: three parts at least, and a first one that is a JOSE header once
/// it is decoded as carelessly as decoders are known to be (either alphabet, any padding, foreign characters skipped). An
/// encrypted token (RFC 7516), whose header has an `enc`, is none.
#[must_use]
pub fn looks_like_jws(token: &str) -> bool {
    let mut parts = token.split('.');
    let (Some(first), Some(_), Some(_)) = (parts.next(), parts.next(), parts.next()) else { return false };
    let header = decoded_carelessly(first);
    let has = |name: &[u8]| memchr::memmem::find(&header, name).is_some();
    header.trim_ascii_start().starts_with(b"{") && has(b"\"alg\"") && !has(b"\"enc\"")
}

fn decoded_carelessly(text: &str) -> Vec<u8> {
    let letters = text.bytes().filter_map(|letter| match letter {
        b'-' | b'+' => Some(b'+'),
        b'_' | b'/' => Some(b'/'),
        letter if letter.is_ascii_alphanumeric() => Some(letter),
        _ => None,
    });
    let mut letters: Vec<u8> = letters.collect();
    // A single letter at the end is less than a byte.
    letters.truncate(letters.len().saturating_sub(usize::from(letters.len() % 4 == 1)));
    let careless = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&alphabet::STANDARD, careless).decode(letters).unwrap_or_default()
}

/// A compact JWS whose payload is a claims set, decoded but not verified.
#[derive(Debug)]
pub struct Jws<'a> {
    header: Header<'a>,
    claims: Claims<'a>,
    signing_input: &'a str,
    signature: &'a [u8],
}

impl<'a> Jws<'a> {
    /// Reads a token strictly.
    ///
    /// # Errors
    /// If it is no JWS in canonical form, or its header or claims are not what RFC 7515 and RFC 7519 say.
    pub fn parse(token: &'a str, space: &'a mut Space) -> Result<Self, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let (header, rest) = halves(token).ok_or(TokenError::Parts)?;
        let (payload, signature) = halves(rest).ok_or(TokenError::Parts)?;
        let signed = token.len().saturating_sub(signature.len()).saturating_sub(1);
        let signing_input = token.get(..signed).ok_or(TokenError::Parts)?;
        if memchr::memchr(b'.', signature.as_bytes()).is_some() {
            return Err(TokenError::Parts);
        }
        // Decoded, each part is shorter; the decoder wants a little more room than it uses.
        let mut room = space.of(token.len());
        let header = Header::read(room.object("header", header)?)?;
        let claims = Claims::read(room.object("payload", payload)?)?;
        let signature = room.decode("signature", signature)?;
        Ok(Self { header, claims, signing_input, signature })
    }

    /// The protected header.
    #[must_use]
    pub const fn header(&self) -> &Header<'a> {
        &self.header
    }

    /// The claims. Until the signature is verified they may only serve to choose who verifies it.
    #[must_use]
    pub const fn claims(&self) -> &Claims<'a> {
        &self.claims
    }

    /// What the signature is over (RFC 7515 §5.2 step 8).
    #[must_use]
    pub const fn signing_input(&self) -> &'a str {
        self.signing_input
    }

    /// The decoded signature.
    #[must_use]
    pub const fn signature(&self) -> &'a [u8] {
        self.signature
    }
}

/// The members of the header that are used. `jwk`, `jku`, `x5u` and `x5c` are not among them: a token does not bring
/// its own key.
#[derive(Debug)]
pub struct Header<'a> {
    /// `alg`, as written (RFC 7515 §4.1.1).
    pub algorithm: Cow<'a, str>,
    /// `kid` (RFC 7515 §4.1.4).
    pub key_id: Option<Cow<'a, str>>,
    /// `typ` (RFC 7515 §4.1.9).
    pub kind: Option<Cow<'a, str>>,
}

impl<'a> Header<'a> {
    fn read(mut members: Object<'a>) -> Result<Self, TokenError> {
        if members.get("crit").is_some() {
            return Err(TokenError::Critical);
        }
        let mut text = |name: &'static str| match members.take(name) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(Value::Null | Value::Boolean(_) | Value::Number(_) | Value::List(_) | Value::Object(_)) => {
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
    fn read(value: &Value<'_>) -> Option<Self> {
        let since = match value {
            Value::Number(Number::Whole(number)) => {
                let seconds = u64::try_from(*number).ok().filter(|seconds| *seconds <= MAX_SECONDS)?;
                let time = UnixTime::from_seconds(seconds);
                return Some(Self { floor: time, ceil: time });
            }
            Value::Number(Number::Float(number)) => Duration::try_from_secs_f64(*number).ok()?,
            Value::Null | Value::Boolean(_) | Value::Text(_) | Value::List(_) | Value::Object(_) => {
                return None;
            }
        };
        let millis = u64::try_from(since.as_millis()).ok()?;
        let whole = since.subsec_nanos().is_multiple_of(1_000_000);
        let floor = UnixTime::from_millis(millis);
        let ceil = UnixTime::from_millis(if whole { millis } else { millis.checked_add(1)? });
        (since.as_secs() <= MAX_SECONDS).then_some(Self { floor, ceil })
    }
}

/// A claims set (RFC 7519 §4) whose registered claims have the types that the RFC gives them.
#[derive(Debug)]
pub struct Claims<'a> {
    members: Object<'a>,
    expires: Option<NumericDate>,
    not_before: Option<NumericDate>,
    issued: Option<NumericDate>,
}

impl<'a> Claims<'a> {
    fn read(members: Object<'a>) -> Result<Self, TokenError> {
        let (mut expires, mut not_before, mut issued) = (None, None, None);
        for (name, value) in members.iter() {
            match name {
                "exp" => expires = Some(NumericDate::read(value).ok_or(TokenError::Claim("exp"))?),
                "nbf" => not_before = Some(NumericDate::read(value).ok_or(TokenError::Claim("nbf"))?),
                "iat" => issued = Some(NumericDate::read(value).ok_or(TokenError::Claim("iat"))?),
                "iss" if value.as_text().is_none() => return Err(TokenError::Claim("iss")),
                "aud" if !is_audience(value) => return Err(TokenError::Claim("aud")),
                _ => {}
            }
        }
        Ok(Self { members, expires, not_before, issued })
    }

    /// `iss` (RFC 7519 §4.1.1).
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.members.get("iss").and_then(Value::as_text)
    }

    /// `aud`, one or several (RFC 7519 §4.1.3); `None` when the claim is missing.
    #[must_use]
    pub fn audience(&self) -> Option<impl Iterator<Item = &str>> {
        let claim = self.members.get("aud")?;
        let several = claim.as_list().unwrap_or(std::slice::from_ref(claim));
        Some(several.iter().filter_map(Value::as_text))
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
    pub const fn members(&self) -> &Object<'a> {
        &self.members
    }
}

/// What stands before the first dot, and what behind it.
fn halves(text: &str) -> Option<(&str, &str)> {
    let dot = memchr::memchr(b'.', text.as_bytes())?;
    Some((text.get(..dot)?, text.get(dot.checked_add(1)?..)?))
}

fn is_audience(value: &Value<'_>) -> bool {
    let list = value.as_list();
    value.as_text().is_some() || list.is_some_and(|list| list.iter().all(|name| name.as_text().is_some()))
}

#[cfg(test)]
mod tests;
