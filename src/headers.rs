//! What the service sees of a request's head: first strip, then set, in that order, in one place.
//!
//! A [`CleanHead`] can be made only here, and only a `CleanHead` can be forwarded.

pub mod alias;
pub mod forwarded;
pub mod hop_by_hop;
pub mod trusted;

use alias::AliasSet;
use forwarded::{Provenance, X_REQUEST_ID};
use http::header::{CONTENT_LENGTH, COOKIE, HOST, HeaderName, HeaderValue, SET_COOKIE, TE, TRAILER, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method};
use trusted::Prepared;

/// Which client headers are removed; compiled once from the configuration.
#[derive(Clone, Debug, Default)]
pub struct Hygiene {
    /// Removed with all aliases: identity headers and what `[identity] strip` names.
    stripped: AliasSet,
    /// Fields about the way of a request; believed only from trusted proxies, and only in their own spelling.
    provenance: AliasSet,
    /// Fields that may carry a credential: removed unless spelled exactly so.
    credentials: Vec<HeaderName>,
    credential_aliases: AliasSet,
}

/// What is known about a request when its head is cleaned.
#[derive(Debug)]
pub struct Cleaning<'a> {
    /// Where it came from.
    pub provenance: &'a Provenance,
    /// The `Host` that the service sees.
    pub host: HeaderValue,
    /// The id of this request.
    pub request_id: HeaderValue,
    /// The identity's fields; none on a public route.
    pub identity: Option<&'a Prepared>,
    /// Whether it is a WebSocket handshake that was found valid.
    pub websocket: bool,
}

/// A request head that holds nothing which a client may not say.
#[derive(Debug)]
pub struct CleanHead {
    method: Method,
    path: PathAndQuery,
    headers: HeaderMap,
}

impl Hygiene {
    /// The rules for these identity headers, further names to strip, and fields that carry credentials.
    ///
    /// An entry of `strip` is a name, or a prefix and `*`.
    pub fn new<'a>(
        identity: impl Iterator<Item = &'a HeaderName>,
        strip: &[String],
        credentials: Vec<HeaderName>,
    ) -> Self {
        let mut rules = Self { credentials, ..Self::default() };
        identity.for_each(|name| rules.stripped.insert(name.as_str()));
        for entry in strip {
            match entry.strip_suffix('*') {
                Some(prefix) => rules.stripped.insert_prefix(prefix),
                None => rules.stripped.insert(entry),
            }
        }
        for name in ["forwarded", "x-real-ip", "x-request-id"] {
            rules.provenance.insert(name);
        }
        rules.provenance.insert_prefix("x-forwarded-");
        for name in &rules.credentials {
            rules.credential_aliases.insert(name.as_str());
        }
        rules
    }

    /// Strips, then sets.
    #[must_use]
    pub fn clean(
        &self,
        method: Method,
        path: PathAndQuery,
        mut headers: HeaderMap,
        with: Cleaning<'_>,
    ) -> CleanHead {
        let trailers = hop_by_hop::accepts_trailers(&headers);
        hop_by_hop::remove(&mut headers, |name| self.outlasts_connection(name));
        self.strip(&mut headers, with.provenance.trusted());
        join_cookies(&mut headers);

        with.provenance.set(&mut headers, &with.host);
        headers.insert(HOST, with.host);
        headers.insert(X_REQUEST_ID, with.request_id);
        if let Some(identity) = with.identity {
            identity.set(&mut headers);
        }
        if trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        if with.websocket {
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(http::header::CONNECTION, HeaderValue::from_static("Upgrade"));
        }
        CleanHead { method, path, headers }
    }

    /// Removes from trailers what would be removed from a head, and what must not come that late: credentials that
    /// nobody judged, and what frames or routes a message (RFC 9110 §6.5.1).
    pub fn clean_trailers(&self, trailers: &mut HeaderMap) {
        hop_by_hop::remove(trailers, |_| true);
        self.strip(trailers, false);
        let late = |name: &&HeaderName| {
            self.credential_aliases.contains(name.as_str())
                || [COOKIE, SET_COOKIE, HOST, CONTENT_LENGTH, TRAILER].contains(*name)
        };
        let refused: Vec<HeaderName> = trailers.keys().filter(late).cloned().collect();
        for name in refused {
            trailers.remove(name);
        }
    }

    /// Whether `Connection` cannot remove this: what was judged, what a handshake consists of, and what a proxy
    /// said of the way (an untrusted one's words are removed elsewhere).
    fn outlasts_connection(&self, name: &HeaderName) -> bool {
        self.credentials.contains(name)
            || *name == COOKIE
            || name.as_str().starts_with("sec-websocket-")
            || self.provenance.contains(name.as_str())
    }

    /// The names of the client's fields that would be removed, for the record and for tests.
    pub fn strips(&self, name: &HeaderName, trusted: bool) -> bool {
        let text = name.as_str();
        self.stripped.contains(text)
            || (self.provenance.contains(text) && !(trusted && is_believed(name)))
            || (self.credential_aliases.contains(text) && !self.credentials.contains(name))
    }

    fn strip(&self, headers: &mut HeaderMap, trusted: bool) {
        let refused: Vec<HeaderName> =
            headers.keys().filter(|name| self.strips(name, trusted)).cloned().collect();
        for name in refused {
            headers.remove(name);
        }
    }
}

/// Whether a trusted proxy may say this: the plain spelling of `Forwarded` or an `X-Forwarded-*` field.
fn is_believed(name: &HeaderName) -> bool {
    name == http::header::FORWARDED
        || name.as_str().strip_prefix("x-forwarded-").is_some_and(|rest| {
            !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
}

/// HTTP/2 may split cookies into several fields; HTTP/1.1 may not (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(COOKIE).iter();
    if cookies.next().is_none() || cookies.next().is_none() {
        return;
    }
    let parts: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&parts.join(b"; ".as_slice())) {
        headers.insert(COOKIE, joined);
    }
}

impl CleanHead {
    /// The method.
    #[must_use]
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// The fields.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Takes the head apart for sending.
    #[must_use]
    pub fn into_parts(self) -> (Method, PathAndQuery, HeaderMap) {
        (self.method, self.path, self.headers)
    }
}

#[cfg(test)]
mod tests;
