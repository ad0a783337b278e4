//! What a request is aimed at: method, host and path, parsed once. From here on there is no other form of
//! them.

mod host;
mod path;
#[cfg(test)]
mod tests;

pub use host::{HostFault, normal_host};
pub use path::{PathRules, Refusal, canonical, folded};

use crate::denial::{Denial, Reason};
use bytes::Bytes;
use http::header::{HOST, HeaderMap, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use http::{Method, Uri, Version};
use std::borrow::Cow;

/// What a request is aimed at. Cloning it copies no text that the client sent in the usual form.
#[derive(Clone, Debug)]
pub struct Target {
    method: Method,
    authority: HeaderValue,
    host: Host,
    path_and_query: PathAndQuery,
}

/// Where the host stands in its form for matching.
#[derive(Clone, Debug)]
enum Host {
    /// The authority's first bytes.
    Leading(usize),
    /// Another spelling than was sent.
    Rewritten(Box<str>),
}

impl Target {
    /// Parses the head of a request. An extended CONNECT (RFC 8441) is what a GET handshake is in HTTP/1.1:
    /// pass it with `Method::GET`.
    ///
    /// A fragment never gets here: `http::Uri` cuts it off, so it is neither matched nor forwarded.
    ///
    /// # Errors
    ///
    /// `method_refused` for CONNECT and TRACE; `head_malformed` when there is not exactly one valid host (RFC
    /// 9112 §3.2), when `:authority` and `host` differ (RFC 9113 §8.3.1) or a scheme is neither http nor
    /// https; `path_refused` when the target has userinfo, or a path that could be read in two ways.
    pub fn parse(
        rules: PathRules,
        version: Version,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Self, Denial> {
        // Services that fold the case of methods exist, so `trace` is TRACE.
        if ["CONNECT", "TRACE"].iter().any(|refused| method.as_str().eq_ignore_ascii_case(refused)) {
            return Err(Denial::new(Reason::MethodRefused));
        }
        let multiplexed = version >= Version::HTTP_2;
        let authority = authority(multiplexed, uri, headers)?;
        let host = Host::of(&authority)?;
        let path_and_query = path_and_query(rules, multiplexed, uri)?;
        Ok(Self { method: method.clone(), authority, host, path_and_query })
    }

    /// The method, as it was sent.
    #[must_use]
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// The host for matching: lower-case, without trailing dot and port; an IPv6 address stands in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        match &self.host {
            Host::Leading(length) => {
                self.authority.as_bytes().get(..*length).and_then(|host| str::from_utf8(host).ok())
            }
            Host::Rewritten(host) => Some(host.as_ref()),
        }
        .unwrap_or_default()
    }

    /// The authority as it was sent, to be forwarded as `Host` or `:authority`.
    #[must_use]
    pub const fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// The canonical path.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path_and_query.path()
    }

    /// The query as it was sent, without `?`; never decoded, and perhaps not ASCII.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.path_and_query.query()
    }

    /// Canonical path and raw query, as they are forwarded; cloning it copies nothing.
    #[must_use]
    pub const fn path_and_query(&self) -> &PathAndQuery {
        &self.path_and_query
    }

    /// Path and query with `from` replaced by `to`; as they are when the path does not begin with the
    /// segments of `from`.
    ///
    /// # Errors
    ///
    /// `path_refused` when the result is longer than a target may be.
    pub fn rewritten(&self, from: &Prefix, to: &Prefix) -> Result<PathAndQuery, Denial> {
        let Some(rest) = from.stripped(self.path()) else { return Ok(self.path_and_query.clone()) };
        let mut path = String::with_capacity(to.0.len().saturating_add(self.path_and_query.as_str().len()));
        path.push_str(&to.0);
        path.push_str(rest);
        if path.is_empty() {
            path.push('/');
        }
        joined(path, self.query())
    }
}

/// The front of a path, in whole segments: what `rewrite_prefix` replaces, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(Box<str>);

impl Prefix {
    /// Parses the front of a path; a trailing slash makes no difference, and `/` is the front of every path.
    ///
    /// # Errors
    ///
    /// Says why the text is not a canonical path.
    pub fn parse(text: &str, rules: PathRules) -> Result<Self, Refusal> {
        let path = canonical(text, rules.for_configuration())?.map_or(Cow::Borrowed(text), Cow::Owned);
        PathAndQuery::try_from(path.as_ref()).map_err(|_| Refusal::TooLong)?;
        Ok(Self(path.strip_suffix('/').unwrap_or(&path).into()))
    }

    /// What follows this in a canonical path: nothing, or a slash and more; `None` when the path does not
    /// begin with it.
    #[must_use]
    pub fn stripped<'p>(&self, path: &'p str) -> Option<&'p str> {
        path::after_prefix(path, &self.0)
    }
}

impl Host {
    fn of(authority: &HeaderValue) -> Result<Self, Denial> {
        if let Some(length) = host::usual(authority.as_bytes()) {
            return Ok(Self::Leading(length));
        }
        let text = authority.to_str().map_err(|_| malformed(HostFault::Name))?;
        let host = host::without_port(text).map_err(malformed)?;
        Ok(match normal_host(host).map_err(malformed)? {
            Cow::Borrowed(host) => Self::Leading(host.len()),
            Cow::Owned(host) => Self::Rewritten(host.into()),
        })
    }
}

/// The one authority that the request names.
fn authority(multiplexed: bool, uri: &Uri, headers: &HeaderMap) -> Result<HeaderValue, Denial> {
    let mut fields = headers.get_all(HOST).iter();
    let (field, second) = (fields.next(), fields.next());
    if second.is_some() {
        return Err(malformed("more than one host"));
    }
    let named = uri.authority().map(named_by_target).transpose()?;
    let is_http = |scheme: &str| ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    if !uri.scheme_str().is_none_or(is_http) {
        return Err(malformed("a scheme other than http and https"));
    }
    match (named, field) {
        // RFC 9112 §3.2.2: absolute form replaces a Host, which must be there and valid all the same.
        (Some(named), Some(field)) if !multiplexed => Host::of(field).map(|_| named),
        (Some(named), Some(field)) if field.as_bytes().eq_ignore_ascii_case(named.as_bytes()) => Ok(named),
        (Some(_), Some(_)) => Err(malformed(":authority and host differ")),
        (Some(named), None) if multiplexed => Ok(named),
        (None, Some(field)) => Ok(field.clone()),
        (_, None) => Err(malformed("no host")),
    }
}

/// The authority of absolute form, or `:authority`.
fn named_by_target(authority: &Authority) -> Result<HeaderValue, Denial> {
    if authority.as_str().contains('@') {
        return Err(Denial::new(Reason::PathRefused).because("the target has userinfo"));
    }
    HeaderValue::from_str(authority.as_str()).map_err(malformed)
}

/// Canonical path and raw query; shares the client's bytes when there is nothing to change.
fn path_and_query(rules: PathRules, multiplexed: bool, uri: &Uri) -> Result<PathAndQuery, Denial> {
    let sent = uri.path_and_query().ok_or_else(|| refused(Refusal::NotAbsolute))?;
    if sent.as_str().starts_with('?') {
        // RFC 9112 §3.2.2: `http://host?query` has the path `/`. RFC 9113 §8.3.1 wants the slash to be there.
        return if multiplexed {
            Err(refused(Refusal::NotAbsolute))
        } else {
            joined("/".to_owned(), sent.query())
        };
    }
    match canonical(sent.path(), rules).map_err(refused)? {
        None => Ok(sent.clone()),
        Some(path) => joined(path, sent.query()),
    }
}

fn joined(mut path: String, query: Option<&str>) -> Result<PathAndQuery, Denial> {
    if let Some(query) = query {
        path.push('?');
        path.push_str(query);
    }
    PathAndQuery::from_maybe_shared(Bytes::from(path)).map_err(|_| refused(Refusal::TooLong))
}

fn refused(refusal: Refusal) -> Denial {
    Denial::new(Reason::PathRefused).because(refusal)
}

fn malformed(fault: impl std::fmt::Display) -> Denial {
    Denial::new(Reason::HeadMalformed).because(fault)
}
