//! Taking the credential out of what is forwarded, and out of what is logged. Whatever else stands in the same field stays
//! as it was, byte for byte.

use super::Places;
use super::place::{Place, after_scheme, cookie_name, is_parameter, subprotocols};
use http::header::{COOKIE, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderValue};
use std::borrow::Cow;

/// What a log reads in place of a token.
const REDACTED: &str = "redacted";

impl Places {
    /// Removes the credential's header fields and cookies, for `strip_credential`. A header of another scheme stays.
    pub fn strip_headers(&self, headers: &mut HeaderMap) {
        for place in &self.0 {
            match place {
                Place::Header { name, scheme: None, prefix: None } => drop(headers.remove(name)),
                Place::Header { name, scheme, prefix } => {
                    let is_ours = |value: &HeaderValue| {
                        let token = match scheme {
                            Some(scheme) => after_scheme(value.as_bytes(), scheme),
                            None => Some(value.as_bytes()),
                        };
                        let prefix = prefix.as_deref().unwrap_or_default().as_bytes();
                        token.is_some_and(|token| token.starts_with(prefix))
                    };
                    if headers.get_all(name).iter().any(is_ours) {
                        drop(headers.remove(name));
                    }
                }
                Place::Cookie { name } => strip_cookie(headers, name),
                Place::Query { .. } | Place::Subprotocol { .. } => {}
            }
        }
    }

    /// Whether a subprotocol is the word that a token stands behind.
    #[must_use]
    pub fn is_subprotocol_word(&self, name: &str) -> bool {
        self.0
            .iter()
            .any(|place| matches!(place, Place::Subprotocol { word } if word.eq_ignore_ascii_case(name)))
    }

    /// Removes the token, and the word before it, from the subprotocols that are offered to the service. This is not an
    /// option: the service would have to select one of what it is offered, and the token is none (RFC 6455 §4.2.2).
    pub fn strip_subprotocol(&self, headers: &mut HeaderMap) {
        for place in &self.0 {
            if let Place::Subprotocol { word } = place {
                strip_subprotocol(headers, word);
            }
        }
    }

    /// The query without the credential, for `strip_credential`; `None` if nothing is left of it. What is no credential on
    /// a request that is no handshake stays.
    #[must_use]
    pub fn strip_query<'q>(&self, query: &'q str, is_websocket: bool) -> Option<Cow<'q, str>> {
        let is_ours = |pair: &str| self.reads(pair, |websocket_only| is_websocket || !websocket_only);
        if !query.split('&').any(is_ours) {
            return Some(Cow::Borrowed(query));
        }
        let kept: Vec<&str> = query.split('&').filter(|pair| !is_ours(pair)).collect();
        (!kept.is_empty()).then(|| Cow::Owned(kept.join("&")))
    }

    /// The query as a log may show it: without the value of any parameter that can be a credential, handshake or not.
    #[must_use]
    pub fn redact_query<'q>(&self, query: &'q str) -> Cow<'q, str> {
        let is_ours = |pair: &str| self.reads(pair, |_| true);
        if !query.split('&').any(is_ours) {
            return Cow::Borrowed(query);
        }
        let shown: Vec<Cow<'_, str>> = query
            .split('&')
            .map(|pair| match pair.split_once('=') {
                Some((name, _)) if is_ours(pair) => Cow::Owned(format!("{name}={REDACTED}")),
                Some(_) | None => Cow::Borrowed(pair),
            })
            .collect();
        Cow::Owned(shown.join("&"))
    }

    fn reads(&self, pair: &str, counts: impl Fn(bool) -> bool) -> bool {
        self.0.iter().any(|place| match place {
            Place::Query { name, websocket_only } => counts(*websocket_only) && is_parameter(pair, name),
            Place::Header { .. } | Place::Cookie { .. } | Place::Subprotocol { .. } => false,
        })
    }
}

fn strip_cookie(headers: &mut HeaderMap, name: &str) {
    let is_ours = |pair: &&[u8]| cookie_name(pair) == name.as_bytes();
    let pairs = |line: &HeaderValue| line.as_bytes().split(|byte| *byte == b';').any(|pair| is_ours(&pair));
    if !headers.get_all(COOKIE).iter().any(pairs) {
        return;
    }
    let mut kept = Vec::new();
    for line in headers.get_all(COOKIE) {
        let others: Vec<&[u8]> =
            line.as_bytes().split(|byte| *byte == b';').filter(|pair| !is_ours(pair)).collect();
        if let Ok(line) = HeaderValue::from_bytes(others.join(&b';').trim_ascii_start())
            && !line.is_empty()
        {
            kept.push(line);
        }
    }
    drop(headers.remove(COOKIE));
    for line in kept {
        headers.append(COOKIE, line);
    }
}

fn strip_subprotocol(headers: &mut HeaderMap, word: &str) {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut removed = false;
    let mut offered = subprotocols(headers);
    while let Some(element) = offered.next() {
        if element.eq_ignore_ascii_case(word.as_bytes()) {
            removed = true;
            let _token = offered.next();
        } else {
            kept.push(element);
        }
    }
    if !removed {
        return;
    }
    let rest = HeaderValue::from_bytes(&kept.join(&b", "[..])).ok().filter(|rest| !rest.is_empty());
    drop(offered);
    drop(headers.remove(SEC_WEBSOCKET_PROTOCOL));
    if let Some(rest) = rest {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, rest);
    }
}
