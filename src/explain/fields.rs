//! The header fields: which ones a service does not get as they were sent, and which ones it gets from sidegate.

use super::explanation::{Removed, Set};
use crate::config::Config;
use crate::config::authenticator::Authenticator;
use crate::config::credential::CredentialPlace;
use crate::headers::{Cause, Hygiene, hop_by_hop};
use http::HeaderMap;
use http::header::{COOKIE, HOST, HeaderName, HeaderValue, SEC_WEBSOCKET_PROTOCOL};

/// The client's fields that are not passed on as they were sent.
pub(super) fn removed(
    sent: &HeaderMap,
    clean: &HeaderMap,
    (hygiene, trusted): (&Hygiene, bool),
    config: &Config,
) -> Vec<Removed> {
    let why = |name: &HeaderName| {
        if let Some(cause) = hygiene.cause(name, trusted) {
            return Some(match cause {
                Cause::Ours => "only sidegate may say this, or [identity] strip names it",
                Cause::Provenance => {
                    "it speaks about the way of the request, and the client is no trusted proxy"
                }
                Cause::CredentialAlias => "it could be taken for a credential that nobody judged",
            });
        }
        if *name == HOST || is_same(sent, clean, name) {
            None
        } else if hop_by_hop::names().any(|hop| name == hop) {
            Some("it concerns one connection only")
        } else if *name == COOKIE || *name == SEC_WEBSOCKET_PROTOCOL {
            Some("the credential in it is not passed on")
        } else if clean.contains_key(name) {
            None
        } else if carries_credential(config, name) {
            Some("the credential is not passed on")
        } else {
            Some("Connection names it")
        }
    };
    sent.keys().filter_map(|name| Some(Removed { name: name.to_string(), why: why(name)? })).collect()
}

/// The fields that come from sidegate.
pub(super) fn set(
    sent: &HeaderMap,
    clean: &HeaderMap,
    (hygiene, trusted): (&Hygiene, bool),
    config: &Config,
) -> Vec<Set> {
    let is_ours = |name: &&HeaderName| {
        let theirs = is_same(sent, clean, name) && hygiene.cause(name, trusted).is_none();
        !theirs && **name != HOST && **name != COOKIE && **name != SEC_WEBSOCKET_PROTOCOL
    };
    let assertion = config.identity.assertion.as_ref().map(|assertion| assertion.header.to_ascii_lowercase());
    let value = |name: &HeaderName| {
        // It is as good as a credential.
        if assertion.as_deref() == Some(name.as_str()) {
            return "(signed for each request)".to_owned();
        }
        let values: Vec<_> = clean.get_all(name).iter().map(text).collect();
        values.join(", ")
    };
    clean.keys().filter(is_ours).map(|name| Set { name: name.to_string(), value: value(name) }).collect()
}

/// All fields of a request.
pub(super) fn all(headers: &HeaderMap) -> Vec<Set> {
    let value = |name| headers.get_all(name).iter().map(text).collect::<Vec<_>>().join(", ");
    headers.keys().map(|name| Set { name: name.to_string(), value: value(name) }).collect()
}

fn is_same(sent: &HeaderMap, clean: &HeaderMap, name: &HeaderName) -> bool {
    sent.get_all(name).iter().eq(clean.get_all(name).iter())
}

fn carries_credential(config: &Config, name: &HeaderName) -> bool {
    let places = config.authenticators.values().flat_map(Authenticator::credentials);
    let mut headers = places.filter_map(|place| match place {
        CredentialPlace::Header(place) => Some(&place.header),
        CredentialPlace::Cookie(_) | CredentialPlace::Query(_) | CredentialPlace::Subprotocol(_) => None,
    });
    headers.any(|header| name.as_str().eq_ignore_ascii_case(header))
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}
