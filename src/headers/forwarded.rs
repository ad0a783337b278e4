//! Where a request came from: `X-Forwarded-*` and `Forwarded` (RFC 7239), and whose word for it counts.

use crate::peer::Peer;
use crate::single::single;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{FORWARDED, HeaderName, HeaderValue};
use std::cell::RefCell;
use std::net::IpAddr;
use std::ops::Range;
use std::rc::Rc;

/// `X-Forwarded-For`.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// `X-Forwarded-Proto`.
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// `X-Forwarded-Host`.
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// `X-Request-Id`.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The fields of a [`Way`].
static NAMES: [HeaderName; 4] = [X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_HOST, FORWARDED];

/// The longest request id that is taken over from a trusted proxy.
const LONGEST_REQUEST_ID: usize = 128;

/// The fields about the way of one request, as an HTTP/1.1 message holds them.
#[derive(Debug)]
pub struct Way {
    lines: Bytes,
    values: [Range<usize>; NAMES.len()],
}

impl Way {
    fn new(values: [&[u8]; NAMES.len()]) -> Self {
        let mut lines = Vec::with_capacity(256);
        let mut ranges = [const { 0..0 }; NAMES.len()];
        for ((name, value), range) in NAMES.iter().zip(values).zip(&mut ranges) {
            lines.extend_from_slice(name.as_str().as_bytes());
            lines.extend_from_slice(b": ");
            let start = lines.len();
            lines.extend_from_slice(value);
            *range = start..lines.len();
            lines.extend_from_slice(b"\r\n");
        }
        lines.shrink_to_fit();
        Self { lines: lines.into(), values: ranges }
    }

    /// The field lines (RFC 9112 §5), each with its line end.
    #[must_use]
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// Sets the fields, replacing whatever stands under their names.
    pub fn set(&self, headers: &mut HeaderMap) {
        for (name, range) in NAMES.iter().zip(&self.values) {
            // Values are made of header values only.
            if let Ok(value) = HeaderValue::from_maybe_shared(self.lines.slice(range.clone())) {
                headers.insert(name.clone(), value);
            }
        }
    }

    fn values(&self) -> [&[u8]; NAMES.len()] {
        self.values.each_ref().map(|range| self.lines.get(range.clone()).unwrap_or_default())
    }
}

/// The values for one client connection; those that do not change are made once.
#[derive(Debug)]
pub struct Provenance {
    address: Option<IpAddr>,
    trusted: bool,
    scheme: &'static str,
    /// What was made for the last host: one connection mostly asks for one host.
    last: RefCell<Option<Rc<Way>>>,
}

impl Provenance {
    /// The values for the connection of `peer`.
    #[must_use]
    pub fn new(peer: &Peer) -> Self {
        let (trusted, scheme) = (peer.trusted, peer.scheme.as_str());
        Self { address: peer.ip(), trusted, scheme, last: RefCell::new(None) }
    }

    /// Whether the peer's own `X-Forwarded-*` and `X-Request-Id` count.
    #[must_use]
    pub const fn trusted(&self) -> bool {
        self.trusted
    }

    /// The way of a request for `host`. What a trusted proxy says of it is taken out of `headers` and stands in front of
    /// ours; what anybody else says must be gone from there already.
    pub fn way(&self, headers: &mut HeaderMap, host: &HeaderValue) -> Rc<Way> {
        let own = self.own(host);
        if !self.trusted {
            return own;
        }
        let earlier = NAMES.each_ref().map(|name| earlier(headers, name));
        if earlier.iter().all(Vec::is_empty) {
            return own;
        }
        let mut lists = earlier;
        for (list, own) in lists.iter_mut().zip(own.values()) {
            list.extend_from_slice(own);
        }
        Rc::new(Way::new(lists.each_ref().map(Vec::as_slice)))
    }

    /// The fields that say what we know ourselves.
    fn own(&self, host: &HeaderValue) -> Rc<Way> {
        if let Some(known) = &*self.last.borrow()
            && known.values()[2] == host.as_bytes()
        {
            return Rc::clone(known);
        }
        let address = self.address.map_or_else(|| "unknown".to_owned(), |address| address.to_string());
        let node = match self.address {
            Some(IpAddr::V6(_)) => format!("\"[{address}]\""),
            Some(IpAddr::V4(_)) | None => address.clone(),
        };
        // A host with a port or an IPv6 literal is no token and must be quoted (RFC 7239 §4); quotes and
        // backslashes cannot occur in a valid host.
        let named = host.to_str().map_or_else(
            |_| String::new(),
            |host| {
                let quote = if host.contains([':', '[']) { "\"" } else { "" };
                format!(";host={quote}{host}{quote}")
            },
        );
        let element = format!("for={node}{named};proto={}", self.scheme);
        let values = [address.as_bytes(), self.scheme.as_bytes(), host.as_bytes(), element.as_bytes()];
        let way = Rc::new(Way::new(values));
        *self.last.borrow_mut() = Some(Rc::clone(&way));
        way
    }

    /// The client's address: the peer's, or what the trusted proxy says of the hop before it.
    #[must_use]
    pub fn client(&self, headers: &HeaderMap, trusts: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
        if !self.trusted {
            return self.address;
        }
        let fields: Vec<&str> =
            headers.get_all(X_FORWARDED_FOR).iter().filter_map(|v| v.to_str().ok()).collect();
        let mut client = self.address;
        for hop in fields.iter().rev().flat_map(|field| field.rsplit(',')) {
            let Ok(address) = hop.trim().parse::<IpAddr>() else { break };
            client = Some(address.to_canonical());
            if !trusts(address.to_canonical()) {
                break;
            }
        }
        client
    }
}

/// Takes out what was said under this name before, ready to be added to.
fn earlier(headers: &mut HeaderMap, name: &HeaderName) -> Vec<u8> {
    let mut list = Vec::new();
    for value in headers.get_all(name) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    if !list.is_empty() {
        headers.remove(name);
    }
    list
}

/// The request id that a trusted proxy sent, if it is one plain word.
#[must_use]
pub fn sent_request_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let id = single(headers, &X_REQUEST_ID)?;
    let plain = |byte: &u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'/' | b'+' | b'=')
    };
    (!id.is_empty() && id.len() <= LONGEST_REQUEST_ID && id.as_bytes().iter().all(plain)).then(|| id.clone())
}

#[cfg(test)]
mod tests {
    use super::{Provenance, X_FORWARDED_FOR, sent_request_id};
    use crate::peer::{Peer, Scheme};
    use http::{HeaderMap, HeaderValue};

    fn provenance(trusted: bool) -> Provenance {
        Provenance::new(&Peer {
            address: Some("10.0.0.9:4711".parse().unwrap()),
            scheme: Scheme::Https,
            trusted,
        })
    }

    #[test]
    fn an_untrusted_peer_is_not_believed() {
        let mut headers = HeaderMap::new();
        headers.insert(X_FORWARDED_FOR, "1.2.3.4".parse().unwrap());
        assert_eq!(provenance(false).client(&headers, |_| true), Some("10.0.0.9".parse().unwrap()));
        provenance(false).way(&mut headers, &HeaderValue::from_static("a.example")).set(&mut headers);
        assert_eq!(headers["x-forwarded-for"], "10.0.0.9");
        assert_eq!(headers["forwarded"], "for=10.0.0.9;host=a.example;proto=https");
    }

    #[test]
    fn a_connection_may_ask_for_several_hosts() {
        let provenance = provenance(false);
        for host in ["a.example", "a.example", "b.example", "a.example"] {
            let way = provenance.way(&mut HeaderMap::new(), &HeaderValue::from_static(host));
            let lines = format!(
                "x-forwarded-for: 10.0.0.9\r\nx-forwarded-proto: https\r\nx-forwarded-host: {host}\r\n\
                 forwarded: for=10.0.0.9;host={host};proto=https\r\n"
            );
            assert_eq!(way.lines(), lines.as_bytes());
        }
    }

    #[test]
    fn a_trusted_proxy_is_appended_to() {
        let mut headers = HeaderMap::new();
        headers.append(X_FORWARDED_FOR, "6.6.6.6, 1.2.3.4".parse().unwrap());
        headers.append(X_FORWARDED_FOR, "10.0.0.1".parse().unwrap());
        let inner = |address: std::net::IpAddr| address.to_string().starts_with("10.");
        assert_eq!(provenance(true).client(&headers, inner), Some("1.2.3.4".parse().unwrap()));
        let way = provenance(true).way(&mut headers, &HeaderValue::from_static("a.example:8443"));
        assert!(headers.is_empty());
        way.set(&mut headers);
        assert_eq!(headers["x-forwarded-for"], "6.6.6.6, 1.2.3.4, 10.0.0.1, 10.0.0.9");
        assert_eq!(headers["forwarded"], "for=10.0.0.9;host=\"a.example:8443\";proto=https");
    }

    #[test]
    fn only_one_plain_word_is_a_request_id() {
        let mut headers = HeaderMap::new();
        headers.append("x-request-id", "abc-1".parse().unwrap());
        assert_eq!(sent_request_id(&headers).unwrap(), "abc-1");
        headers.append("x-request-id", "abc-2".parse().unwrap());
        assert!(sent_request_id(&headers).is_none());
        for bad in ["", "a b", "a\"b", &"x".repeat(129)] {
            let mut headers = HeaderMap::new();
            headers.append("x-request-id", bad.parse().unwrap());
            assert!(sent_request_id(&headers).is_none(), "{bad:?}");
        }
    }
}
