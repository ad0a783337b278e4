//! One place where a credential can stand, and how it is read there.

use super::{Carrier, Flaw, Found};
use crate::config::credential::CredentialPlace;
use http::header::{COOKIE, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;
use std::str;

/// A place, compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Header { name: HeaderName, scheme: Option<Box<str>>, prefix: Option<Box<str>> },
    Cookie { name: Box<str> },
    Query { name: Box<str>, websocket_only: bool },
    Subprotocol { word: Box<str> },
}

impl Place {
    pub(super) fn new(place: &CredentialPlace) -> Result<Self, &'static str> {
        let token = |text: &str, why| if is_token(text.as_bytes()) { Ok(text.into()) } else { Err(why) };
        match place {
            CredentialPlace::Header(place) => {
                let name =
                    HeaderName::from_bytes(place.header.as_bytes()).map_err(|_| "not a header name")?;
                if name == COOKIE || name == SEC_WEBSOCKET_PROTOCOL {
                    return Err("use { cookie = … } or { subprotocol = … } for this header");
                }
                let scheme =
                    place.scheme.as_deref().map(|scheme| token(scheme, "not an authentication scheme"));
                let scheme: Option<Box<str>> = scheme.transpose()?;
                let prefix = place.prefix.as_deref().map(|prefix| self::prefix(prefix, scheme.is_some()));
                Ok(Self::Header { name, scheme, prefix: prefix.transpose()? })
            }
            CredentialPlace::Cookie(place) => {
                Ok(Self::Cookie { name: token(&place.cookie, "not a cookie name")? })
            }
            CredentialPlace::Query(place) => {
                let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
                if place.query.is_empty() || !place.query.bytes().all(is_plain) {
                    return Err("a query parameter's name is letters, digits, \"-\", \".\", \"_\" and \"~\"");
                }
                Ok(Self::Query { name: place.query.as_str().into(), websocket_only: place.websocket_only })
            }
            CredentialPlace::Subprotocol(place) => {
                Ok(Self::Subprotocol { word: token(&place.subprotocol, "not a subprotocol name")? })
            }
        }
    }

    /// Whether one credential could be found in both.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.is_beside(other)
            && match (self.prefix(), other.prefix()) {
                (Some(prefix), Some(other)) => prefix.starts_with(other) || other.starts_with(prefix),
                (None, _) | (_, None) => true,
            }
    }

    /// What tokens must begin with to be found here.
    pub(super) fn prefix(&self) -> Option<&str> {
        match self {
            Self::Header { prefix, .. } => prefix.as_deref(),
            Self::Cookie { .. } | Self::Query { .. } | Self::Subprotocol { .. } => None,
        }
    }

    /// Whether both are the same place, apart from what tokens begin with.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Header { name, scheme, .. },
                Self::Header { name: other_name, scheme: other_scheme, .. },
            ) => {
                let same_scheme = match (scheme, other_scheme) {
                    (Some(scheme), Some(other)) => scheme.eq_ignore_ascii_case(other),
                    (None, _) | (_, None) => true,
                };
                name == other_name && same_scheme
            }
            (Self::Query { name, .. }, Self::Query { name: other, .. }) => name == other,
            (Self::Subprotocol { word }, Self::Subprotocol { word: other }) => {
                word.eq_ignore_ascii_case(other)
            }
            (one, other) => one == other,
        }
    }

    pub(super) fn kind(&self) -> Found<'_> {
        match self {
            Self::Header { name, .. } => Found::Header(name.as_str()),
            Self::Cookie { name } => Found::Cookie(name),
            Self::Query { name, .. } => Found::Query(name),
            Self::Subprotocol { word } => Found::Subprotocol(word),
        }
    }

    pub(super) fn find<'a>(&'a self, carrier: &Carrier<'a>) -> Result<Option<Cow<'a, str>>, Flaw> {
        match self {
            Self::Header { name, scheme, prefix } => {
                let begins = |token: &&str| prefix.as_deref().is_none_or(|prefix| token.starts_with(prefix));
                in_header(carrier.headers, name, scheme.as_deref())
                    .map(|token| borrowed(token.filter(begins)))
            }
            Self::Cookie { name } => in_cookies(carrier.headers, name).map(borrowed),
            Self::Query { name, websocket_only } if carrier.is_websocket || !websocket_only => {
                carrier.query.map_or(Ok(None), |query| in_query(query, name))
            }
            Self::Subprotocol { word } if carrier.is_websocket => {
                in_subprotocols(carrier.headers, word).map(borrowed)
            }
            Self::Query { .. } | Self::Subprotocol { .. } => Ok(None),
        }
    }
}

fn borrowed(token: Option<&str>) -> Option<Cow<'_, str>> {
    token.map(Cow::Borrowed)
}

/// What an API key begins with; it must be able to stand at the place at all, and no JWT may begin so.
fn prefix(prefix: &str, has_scheme: bool) -> Result<Box<str>, &'static str> {
    /// How `{"` begins in base64url, and with it the header of every JWT (RFC 7515 §3.1).
    const JWT: &str = "eyJ";
    if prefix.is_empty() {
        return Err("an empty prefix tells nothing apart; leave it out, or write what keys begin with");
    }
    let is_possible = if has_scheme { is_b64token } else { is_plain_value };
    if !is_possible(prefix.as_bytes()) || prefix.contains('=') {
        return Err("no key can begin so there: a prefix is letters, digits and \"-._~+/\"");
    }
    if JWT.starts_with(prefix) || prefix.starts_with(JWT) {
        return Err("JWTs begin so as well; a prefix tells API keys from them");
    }
    Ok(prefix.into())
}

/// A header field that may stand once (RFC 9110 §11.6.2), as `Scheme token` or as the bare token.
fn in_header<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    scheme: Option<&str>,
) -> Result<Option<&'a str>, Flaw> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Flaw::Repeated);
    }
    let Some(scheme) = scheme else {
        return checked(value.as_bytes(), is_plain_value).map(Some);
    };
    if let Some(rest) = after_scheme(value.as_bytes(), scheme) {
        return checked(rest, is_b64token).map(Some);
    }
    if has_scheme(value.as_bytes()) { Ok(None) } else { Err(Flaw::Malformed) }
}

/// What follows `scheme 1*SP`, if that is how the value begins.
pub(super) fn after_scheme<'v>(value: &'v [u8], scheme: &str) -> Option<&'v [u8]> {
    let (theirs, rest) = value.split_at_checked(scheme.len())?;
    let rest = rest.strip_prefix(b" ")?;
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    theirs.eq_ignore_ascii_case(scheme.as_bytes()).then(|| rest.get(spaces..))?
}

/// `auth-scheme 1*SP …` (RFC 9110 §11.4).
fn has_scheme(value: &[u8]) -> bool {
    memchr::memchr(b' ', value).and_then(|space| value.get(..space)).is_some_and(is_token)
}

/// A cookie (RFC 6265 §4.2.1). HTTP/2 may spread cookies over several fields (RFC 9113 §8.2.3), so they are one list.
fn in_cookies<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Flaw> {
    let pairs = headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let mut ours = pairs.filter(|pair| cookie_name(pair) == name.as_bytes());
    let Some(pair) = ours.next() else {
        return Ok(None);
    };
    if ours.next().is_some() {
        return Err(Flaw::Repeated);
    }
    let value = pair.trim_ascii().strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
    checked(value.ok_or(Flaw::Malformed)?, is_plain_value).map(Some)
}

/// The name of a cookie as a lenient reader behind us would see it.
pub(super) fn cookie_name(pair: &[u8]) -> &[u8] {
    let end = memchr::memchr(b'=', pair).unwrap_or(pair.len());
    pair.get(..end).unwrap_or(pair).trim_ascii()
}

fn in_query<'a>(query: &'a str, name: &str) -> Result<Option<Cow<'a, str>>, Flaw> {
    let mut ours = query.split('&').filter(|pair| is_parameter(pair, name));
    let Some(pair) = ours.next() else {
        return Ok(None);
    };
    if ours.next().is_some() {
        return Err(Flaw::Repeated);
    }
    let (_, value) = pair.split_once('=').ok_or(Flaw::Malformed)?;
    // A plus is a space to whoever reads forms: what two readers see differently is nobody's token.
    if value.contains('+') {
        return Err(Flaw::Malformed);
    }
    let token = percent_decode_str(value).decode_utf8().map_err(|_| Flaw::Malformed)?;
    if is_b64token(token.as_bytes()) { Ok(Some(token)) } else { Err(Flaw::Malformed) }
}

/// Whether a `name=value` of a query has that name, which may be percent-encoded (once).
pub(super) fn is_parameter(pair: &str, name: &str) -> bool {
    let written = pair.split_once('=').map_or(pair, |(written, _)| written);
    percent_decode_str(written).eq(name.bytes())
}

/// `Sec-WebSocket-Protocol: bearer, <token>`: the only field that a browser lets a script set in a handshake.
fn in_subprotocols<'a>(headers: &'a HeaderMap, word: &str) -> Result<Option<&'a str>, Flaw> {
    let mut offered = subprotocols(headers);
    let is_word = |element: &&[u8]| element.eq_ignore_ascii_case(word.as_bytes());
    if !offered.by_ref().any(|element| is_word(&element)) {
        return Ok(None);
    }
    let token = checked(offered.next().ok_or(Flaw::Malformed)?, is_b64token)?;
    if offered.any(|element| is_word(&element)) { Err(Flaw::Repeated) } else { Ok(Some(token)) }
}

/// Every subprotocol that the client offers, over all fields (RFC 6455 §4.1).
pub(super) fn subprotocols(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

fn checked(token: &[u8], is_good: fn(&[u8]) -> bool) -> Result<&str, Flaw> {
    if is_good(token) { str::from_utf8(token).map_err(|_| Flaw::Malformed) } else { Err(Flaw::Malformed) }
}

/// Whether there are bytes, and all of them are good. Without a way out in between, many are looked at in one step.
fn all(bytes: &[u8], is_good: impl Fn(u8) -> bool) -> bool {
    !bytes.is_empty() && bytes.iter().fold(true, |good, byte| good & is_good(*byte))
}

/// `b64token` of RFC 6750 §2.1: letters, digits and `-._~+/`, then any number of `=`.
fn is_b64token(token: &[u8]) -> bool {
    let padding = token.iter().rev().take_while(|byte| **byte == b'=').count();
    let body = token.get(..token.len().saturating_sub(padding)).unwrap_or_default();
    // From `-` to `9` there are `-`, `.`, `/` and the digits.
    all(body, |byte| byte.is_ascii_alphabetic() || matches!(byte, b'-'..=b'9' | b'_' | b'~' | b'+'))
}

/// The characters of a cookie's value (RFC 6265 §4.1.1): visible, and nothing that separates or quotes.
fn is_plain_value(value: &[u8]) -> bool {
    all(value, |byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\'))
}

/// `token` of RFC 9110 §5.6.2.
fn is_token(text: &[u8]) -> bool {
    !text.is_empty()
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}
