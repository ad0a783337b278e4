//! Where a request came from: `X-Forwarded-*` and `Forwarded` (RFC 7239), and whose word for it counts.

use crate::peer::Peer;
use http::HeaderMap;
use http::header::{FORWARDED, HeaderName, HeaderValue};
use std::cell::RefCell;
use std::fmt::Write as _;
use std::net::IpAddr;

/// `X-Forwarded-For`.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// `X-Forwarded-Proto`.
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// `X-Forwarded-Host`.
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// `X-Request-Id`.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest request id that is taken over from a trusted proxy.
const LONGEST_REQUEST_ID: usize = 128;

/// The values for one client connection; those that do not change are made once.
#[derive(Debug)]
pub struct Provenance {
    address: Option<IpAddr>,
    trusted: bool,
    forwarded_for: HeaderValue,
    proto: HeaderValue,
    /// The last host and the `Forwarded` element made for it: one connection mostly asks for one host.
    element: RefCell<Option<(HeaderValue, HeaderValue)>>,
}

impl Provenance {
    /// The values for the connection of `peer`.
    #[must_use]
    pub fn new(peer: &Peer) -> Self {
        let address = peer.ip();
        let text = address.map_or_else(|| "unknown".to_owned(), |address| address.to_string());
        Self {
            address,
            trusted: peer.trusted,
            forwarded_for: value(&text),
            proto: HeaderValue::from_static(peer.scheme.as_str()),
            element: RefCell::new(None),
        }
    }

    /// Whether the peer's own `X-Forwarded-*` and `X-Request-Id` count.
    #[must_use]
    pub const fn trusted(&self) -> bool {
        self.trusted
    }

    /// Sets the fields; what a trusted proxy sent stays in front of ours.
    pub fn set(&self, headers: &mut HeaderMap, host: &HeaderValue) {
        for (name, own) in [
            (X_FORWARDED_FOR, self.forwarded_for.clone()),
            (X_FORWARDED_PROTO, self.proto.clone()),
            (X_FORWARDED_HOST, host.clone()),
            (FORWARDED, self.element_for(host)),
        ] {
            let own = if self.trusted { appended(headers, &name, &own).unwrap_or(own) } else { own };
            headers.insert(name, own);
        }
    }

    fn element_for(&self, host: &HeaderValue) -> HeaderValue {
        if let Some((known, element)) = &*self.element.borrow()
            && known == host
        {
            return element.clone();
        }
        let node = match self.address {
            Some(IpAddr::V4(address)) => address.to_string(),
            Some(IpAddr::V6(address)) => format!("\"[{address}]\""),
            None => "unknown".to_owned(),
        };
        let mut text = format!("for={node}");
        // A host with a port or an IPv6 literal is no token and must be quoted (RFC 7239 §4); quotes and
        // backslashes cannot occur in a valid host.
        if let Ok(host) = host.to_str() {
            let quote = if host.contains([':', '[']) { "\"" } else { "" };
            write!(text, ";host={quote}{host}{quote}").unwrap_or_default();
        }
        write!(text, ";proto={}", self.proto.to_str().unwrap_or_default()).unwrap_or_default();
        let element = value(&text);
        *self.element.borrow_mut() = Some((host.clone(), element.clone()));
        element
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

fn appended(headers: &HeaderMap, name: &HeaderName, own: &HeaderValue) -> Option<HeaderValue> {
    let mut list = Vec::new();
    for earlier in headers.get_all(name) {
        list.extend_from_slice(earlier.as_bytes());
        list.extend_from_slice(b", ");
    }
    if list.is_empty() {
        return None;
    }
    list.extend_from_slice(own.as_bytes());
    HeaderValue::from_bytes(&list).ok()
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// The request id that a trusted proxy sent, if it is one plain word.
#[must_use]
pub fn sent_request_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut sent = headers.get_all(X_REQUEST_ID).iter();
    let id = sent.next().filter(|_| sent.next().is_none())?;
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
        provenance(false).set(&mut headers, &HeaderValue::from_static("a.example"));
        assert_eq!(headers["x-forwarded-for"], "10.0.0.9");
        assert_eq!(headers["forwarded"], "for=10.0.0.9;host=a.example;proto=https");
    }

    #[test]
    fn a_trusted_proxy_is_appended_to() {
        let mut headers = HeaderMap::new();
        headers.append(X_FORWARDED_FOR, "6.6.6.6, 1.2.3.4".parse().unwrap());
        headers.append(X_FORWARDED_FOR, "10.0.0.1".parse().unwrap());
        let inner = |address: std::net::IpAddr| address.to_string().starts_with("10.");
        assert_eq!(provenance(true).client(&headers, inner), Some("1.2.3.4".parse().unwrap()));
        provenance(true).set(&mut headers, &HeaderValue::from_static("a.example:8443"));
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
