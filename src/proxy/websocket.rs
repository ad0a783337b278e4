//! The WebSocket handshake (RFC 6455 §4): what of it is valid, from the client and from the service.

use crate::headers::hop_by_hop::contains_token;
use crate::single::single;
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Version};

/// The GUID of RFC 6455 §1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a request says about upgrading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// It is an ordinary request; if it asks for another protocol, that is not forwarded.
    None,
    /// It is a valid WebSocket handshake.
    WebSocket(Handshake),
    /// It asks for a WebSocket, but not as RFC 6455 §4.2.1 demands.
    Malformed,
}

/// The mark of a handshake that came as an extended CONNECT over HTTP/2 (RFC 8441), with a key of ours; only whoever reads the
/// connection can set it.
#[derive(Clone, Copy, Debug)]
pub struct Extended;

/// A valid handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// What the service must answer.
    accept: HeaderValue,
    /// The subprotocols that the client offers, as it wrote them.
    offered: Box<[HeaderValue]>,
}

/// Judges what a request says about upgrading.
#[must_use]
pub fn upgrade(method: &Method, version: Version, headers: &HeaderMap) -> Upgrade {
    if !has_token(headers, &UPGRADE, "websocket") {
        return Upgrade::None;
    }
    match handshake(method, version, headers) {
        Some(handshake) => Upgrade::WebSocket(handshake),
        None => Upgrade::Malformed,
    }
}

fn handshake(method: &Method, version: Version, headers: &HeaderMap) -> Option<Handshake> {
    let no_body = !headers.contains_key(TRANSFER_ENCODING)
        && headers.get_all(CONTENT_LENGTH).iter().all(|length| length.as_bytes() == b"0");
    let upgrades = has_token(headers, &CONNECTION, "upgrade");
    let version_13 = single(headers, &SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    if *method != Method::GET || version != Version::HTTP_11 || !upgrades || !version_13 || !no_body {
        return None;
    }
    let key = single(headers, &SEC_WEBSOCKET_KEY)?;
    // Sixteen random bytes in base64.
    STANDARD.decode(key.as_bytes()).ok().filter(|key| key.len() == 16)?;
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().cloned().collect();
    Some(Handshake { accept: accept(key.as_bytes())?, offered })
}

fn accept(key: &[u8]) -> Option<HeaderValue> {
    let sum = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, GUID].concat());
    HeaderValue::from_str(&STANDARD.encode(sum)).ok()
}

impl Handshake {
    /// The head that accepts it without asking any service. Browsers fail unless one of the subprotocols that they offer is
    /// selected: the one that `is_word` knows, since what stands behind it is a token, else the first.
    #[must_use]
    pub fn accepted(&self, is_word: impl Fn(&str) -> bool) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, self.accept.clone());
        let offered = || {
            let lines = self.offered.iter().filter_map(|line| line.to_str().ok());
            lines.flat_map(|line| line.split(',')).map(str::trim).filter(|name| !name.is_empty())
        };
        let selected = offered().find(|name| is_word(name)).or_else(|| offered().next());
        if let Some(Ok(selected)) = selected.map(HeaderValue::from_str) {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, selected);
        }
        headers
    }

    /// Whether the service's 101 accepts this very handshake (RFC 6455 §4.1).
    #[must_use]
    pub fn is_accepted_by(&self, headers: &HeaderMap) -> bool {
        single(headers, &UPGRADE).is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"))
            && has_token(headers, &CONNECTION, "upgrade")
            && single(headers, &SEC_WEBSOCKET_ACCEPT) == Some(&self.accept)
    }
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers.get_all(name).iter().any(|value| contains_token(value, token))
}

#[cfg(test)]
mod tests {
    use super::{Upgrade, upgrade};
    use http::{HeaderMap, Method, Version};

    const GOOD: [(&str, &str); 4] = [
        ("upgrade", "WebSocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
    ];

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
        }
        map
    }

    fn judge(pairs: &[(&str, &str)]) -> Upgrade {
        upgrade(&Method::GET, Version::HTTP_11, &headers(pairs))
    }

    #[test]
    fn the_sample_of_the_rfc_is_valid_and_only_its_own_answer_counts() {
        let Upgrade::WebSocket(handshake) = judge(&GOOD) else { panic!("not valid") };
        let answer = |accept: &str, upgrade: &str| {
            headers(&[("upgrade", upgrade), ("connection", "Upgrade"), ("sec-websocket-accept", accept)])
        };
        assert!(handshake.is_accepted_by(&answer("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "websocket")));
        assert!(!handshake.is_accepted_by(&answer("s3pPLMBiTxaQ9kYGzzhZRbK+xOx=", "websocket")));
        assert!(!handshake.is_accepted_by(&answer("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "h2c")));
        assert!(!handshake.is_accepted_by(&headers(&[])));
    }

    #[test]
    fn every_flaw_of_a_handshake_is_found() {
        for (flaw, name, value) in [
            ("no connection", "connection", None),
            ("another connection option", "connection", Some("keep-alive")),
            ("no key", "sec-websocket-key", None),
            ("a short key", "sec-websocket-key", Some("dGhlIHNhbXBsZQ==")),
            ("a key that is no base64", "sec-websocket-key", Some("!!!")),
            ("no version", "sec-websocket-version", None),
            ("an old version", "sec-websocket-version", Some("8")),
            ("a body", "content-length", Some("5")),
            ("a chunked body", "transfer-encoding", Some("chunked")),
        ] {
            let mut pairs: Vec<_> = GOOD.iter().copied().filter(|(other, _)| *other != name).collect();
            pairs.extend(value.map(|value| (name, value)));
            assert_eq!(judge(&pairs), Upgrade::Malformed, "{flaw}");
        }
        let mut twice = GOOD.to_vec();
        twice.push(GOOD[2]);
        assert_eq!(judge(&twice), Upgrade::Malformed, "two keys");
        assert_eq!(upgrade(&Method::POST, Version::HTTP_11, &headers(&GOOD)), Upgrade::Malformed);
        assert_eq!(upgrade(&Method::GET, Version::HTTP_10, &headers(&GOOD)), Upgrade::Malformed);
        assert_eq!(judge(&[("upgrade", "h2c")]), Upgrade::None);
        assert_eq!(judge(&[]), Upgrade::None);
    }
}
