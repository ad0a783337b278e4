//! What the service sees of a request's head: first strip, then set, in that order, in one place.
//!
//! A [`CleanHead`] can be made only here, and only a `CleanHead` can be forwarded.

pub mod alias;
pub mod cors;
pub mod forwarded;
pub mod hop_by_hop;
pub mod trusted;

use crate::telemetry::tracing::TraceFields;
use crate::telemetry::tracing::context::{TRACEPARENT, TRACESTATE};
use alias::{AliasSet, Sieve};
use bytes::BufMut;
use forwarded::{Provenance, Way, X_REQUEST_ID};
use hop_by_hop::Noted;
use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderName, HeaderValue, SET_COOKIE, TE, TRAILER, UPGRADE,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method};
use std::rc::Rc;
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
    /// Lets every name through that may have to be removed, and few others.
    suspects: Sieve,
}

/// Why a client's field is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Only sidegate may say this, or `[identity] strip` names it; aliases of such names included.
    Ours,
    /// It speaks about the way of the request, and comes from nobody who is believed.
    Provenance,
    /// A service could take it for a field that carries a credential, but nobody judged it.
    CredentialAlias,
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
    /// What it is told of the trace; none = the client's own words pass.
    pub trace: Option<TraceFields>,
    /// The identity's fields; none on a public route.
    pub identity: Option<&'a Prepared>,
    /// Those of its fields that had to be made for this request.
    pub entitled: Option<Prepared>,
    /// What tells the service the same under a signature.
    pub assertion: Option<Prepared>,
    /// What the client's certificate says.
    pub certificate: Option<Prepared>,
    /// Whether it is a WebSocket handshake that was found valid.
    pub websocket: bool,
}

/// A request head that holds nothing which a client may not say.
#[derive(Debug)]
pub struct CleanHead {
    method: Method,
    path: PathAndQuery,
    /// What is left of the client's fields, and a `Host` whose value is not what counts.
    headers: HeaderMap,
    host: HeaderValue,
    // What we say, under names that do not occur among the client's any more.
    way: Rc<Way>,
    request_id: HeaderValue,
    trace: Option<HeaderValue>,
    identity: [Option<Prepared>; 4],
    trailers: bool,
    websocket: bool,
}

/// What must not come in trailers: what frames, routes or authorizes a message, or says what it is part of.
const LATE: [HeaderName; 7] = [COOKIE, SET_COOKIE, HOST, CONTENT_LENGTH, TRAILER, TRACEPARENT, TRACESTATE];

/// How many fields a head can get from us besides those of the identity.
const ROOM: usize = 9;

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
        rules.suspects.merge(rules.stripped.sieve());
        rules.suspects.merge(rules.provenance.sieve());
        // What is letters and digits only has no alias but itself, which may stay.
        let has_aliases = |name: &&str| name.bytes().any(|byte| !byte.is_ascii_alphanumeric());
        let credentials = rules.credentials.iter().map(HeaderName::as_str).filter(has_aliases);
        credentials.for_each(|name| rules.suspects.insert(name));
        hop_by_hop::names().for_each(|name| rules.suspects.insert(name));
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
        let trailers = self.strip_head(&mut headers, &with);
        if let Some(trace) = &with.trace {
            trace.clean(&mut headers);
        }
        CleanHead {
            way: with.provenance.way(&mut headers, &with.host),
            method,
            path,
            headers,
            host: with.host,
            request_id: with.request_id,
            trace: with.trace.map(TraceFields::into_parent),
            identity: [with.identity.cloned(), with.entitled, with.assertion, with.certificate],
            trailers,
            websocket: with.websocket,
        }
    }

    /// Goes through the names of the client's fields once, and removes what must not go on; there is one `Host` then.
    /// Returns whether the client takes trailers.
    fn strip_head(&self, headers: &mut HeaderMap, with: &Cleaning<'_>) -> bool {
        let trusted = with.provenance.trusted();
        let (mut noted, mut has_host) = (Noted::default(), false);
        let mut refused: Vec<HeaderName> = Vec::new();
        for name in headers.keys() {
            if *name == HOST {
                has_host = true;
            } else if self.suspects.passes(name.as_str()) && !noted.note(name) && self.strips(name, trusted) {
                refused.push(name.clone());
            }
        }
        let trailers = noted.has(&TE) && hop_by_hop::accepts_trailers(headers);
        noted.remove(headers, |name| *name == HOST || self.outlasts_connection(name));
        for name in refused {
            headers.remove(name);
        }
        let some_are_repeated = headers.len() > headers.keys_len();
        if !has_host || some_are_repeated {
            headers.insert(HOST, with.host.clone());
        }
        if some_are_repeated {
            join_cookies(headers);
        }
        trailers
    }

    /// Removes from trailers what would be removed from a head, and what must not come that late: credentials that
    /// nobody judged, and what frames or routes a message (RFC 9110 §6.5.1).
    pub fn clean_trailers(&self, trailers: &mut HeaderMap) {
        hop_by_hop::remove(trailers, |_| true);
        self.strip(trailers, false);
        let late =
            |name: &&HeaderName| self.credential_aliases.contains(name.as_str()) || LATE.contains(name);
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

    /// Whether a client's field of this name is removed.
    #[must_use]
    pub fn strips(&self, name: &HeaderName, trusted: bool) -> bool {
        self.cause(name, trusted).is_some()
    }

    /// Why a client's field of this name is removed, if it is.
    #[must_use]
    pub fn cause(&self, name: &HeaderName, trusted: bool) -> Option<Cause> {
        let text = name.as_str();
        if self.stripped.contains(text) {
            Some(Cause::Ours)
        } else if self.provenance.contains(text) && !(trusted && is_believed(name)) {
            Some(Cause::Provenance)
        } else if !self.credentials.contains(name) && self.credential_aliases.contains(text) {
            Some(Cause::CredentialAlias)
        } else {
            None
        }
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

    /// Path and query.
    #[must_use]
    pub const fn path(&self) -> &PathAndQuery {
        &self.path
    }

    /// Takes the head apart for sending.
    #[must_use]
    pub fn into_parts(self) -> (Method, PathAndQuery, HeaderMap) {
        let mut headers = self.headers;
        // Not an error: what cannot be reserved at once is not there either when it is wanted.
        let identity = self.identity.iter().flatten();
        headers.try_reserve(identity.clone().map(Prepared::len).fold(ROOM, usize::saturating_add)).ok();
        headers.insert(HOST, self.host);
        self.way.set(&mut headers);
        headers.insert(X_REQUEST_ID, self.request_id);
        if let Some(trace) = self.trace {
            headers.insert(TRACEPARENT, trace);
        }
        identity.for_each(|identity| identity.set(&mut headers));
        if self.trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        if self.websocket {
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        }
        (self.method, self.path, headers)
    }

    /// The map that the client's fields stand in, once all is written: it can serve another head.
    #[must_use]
    pub fn into_spent(self) -> HeaderMap {
        self.headers
    }

    /// Whether the client said how long the body is.
    #[must_use]
    pub fn tells_length(&self) -> bool {
        self.headers.contains_key(CONTENT_LENGTH)
    }

    /// Writes the field lines of an HTTP/1.1 message (RFC 9112 §5), without the empty line behind them and without the length,
    /// which whoever frames the message writes. There is no `TE`: HTTP/1.1 needs no leave to send trailers.
    pub fn write_fields(&self, message: &mut impl BufMut) {
        for (name, value) in self.headers.iter().filter(|(name, _)| *name != CONTENT_LENGTH) {
            line(message, name, if *name == HOST { &self.host } else { value });
        }
        message.put_slice(self.way.lines());
        line(message, &X_REQUEST_ID, &self.request_id);
        if let Some(trace) = &self.trace {
            line(message, &TRACEPARENT, trace);
        }
        for (name, value) in self.identity.iter().flatten().flat_map(Prepared::iter) {
            line(message, name, value);
        }
        if self.websocket {
            message.put_slice(b"upgrade: websocket\r\nconnection: Upgrade\r\n");
        }
    }
}

fn line(message: &mut impl BufMut, name: &HeaderName, value: &HeaderValue) {
    message.put_slice(name.as_str().as_bytes());
    message.put_slice(b": ");
    message.put_slice(value.as_bytes());
    message.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
