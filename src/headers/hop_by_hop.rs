//! Header fields that concern one connection only and end here (RFC 9110 §7.6.1).

use http::HeaderMap;
use http::header::{CONNECTION, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE};

/// Fields that are never forwarded, whatever `Connection` says.
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    http::header::PROXY_AUTHENTICATE,
    http::header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Removes hop-by-hop fields and those that `Connection` names.
///
/// It runs before anything of ours is set, so a client's `Connection: x-customer-id` can remove only what the
/// client sent itself. Fields that `protected` names stay: `Connection: authorization` must not make the service
/// see another request than the one that was judged.
pub fn remove(headers: &mut HeaderMap, protected: impl Fn(&HeaderName) -> bool) {
    if headers.contains_key(CONNECTION) {
        for name in named_by_connection(headers) {
            if !protected(&name) {
                headers.remove(name);
            }
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let options = headers
        .get_all(CONNECTION)
        .into_iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    options.filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok()).collect()
}

/// Whether the sender takes trailers (`TE: trailers`, RFC 9110 §10.1.4); gRPC services insist on it.
#[must_use]
pub fn accepts_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(TE).into_iter().any(|value| contains_token(value, "trailers"))
}

/// Whether a comma-separated field value holds `token`, letter case ignored.
#[must_use]
pub fn contains_token(value: &HeaderValue, token: &str) -> bool {
    value
        .as_bytes()
        .split(|byte| *byte == b',')
        .any(|part| part.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::remove;
    use http::HeaderMap;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn fields_named_by_connection_are_removed_unless_protected() {
        let mut map = headers(&[
            ("connection", "close, X-Debug"),
            ("connection", "authorization,,keep-alive"),
            ("x-debug", "1"),
            ("authorization", "Bearer a"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "Basic x"),
            ("proxy-connection", "keep-alive"),
            ("accept", "*/*"),
        ]);
        remove(&mut map, |name| name == http::header::AUTHORIZATION);
        assert_eq!(map, headers(&[("authorization", "Bearer a"), ("accept", "*/*")]));
    }
}
