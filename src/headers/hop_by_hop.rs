//! Header fields that concern one connection only and end here (RFC 9110 §7.6.1).

use http::HeaderMap;
use http::header::{CONNECTION, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE};

/// Fields that are never forwarded, whatever `Connection` says; each with the bit that it has in [`Noted`].
static HOP_BY_HOP: [(u8, HeaderName); 8] = [
    (1, CONNECTION),
    (1 << 1, HeaderName::from_static("keep-alive")),
    (1 << 2, http::header::PROXY_AUTHENTICATE),
    (1 << 3, http::header::PROXY_AUTHORIZATION),
    (1 << 4, HeaderName::from_static("proxy-connection")),
    (1 << 5, TE),
    (1 << 6, TRANSFER_ENCODING),
    (1 << 7, UPGRADE),
];

/// The hop-by-hop fields of one head, noted while its names are gone through for whatever reason.
#[derive(Clone, Copy, Debug, Default)]
pub struct Noted(u8);

/// The bit of a hop-by-hop field, none for any other.
fn bit(name: &str) -> u8 {
    match name {
        "connection" => 1,
        "keep-alive" => 1 << 1,
        "proxy-authenticate" => 1 << 2,
        "proxy-authorization" => 1 << 3,
        "proxy-connection" => 1 << 4,
        "te" => 1 << 5,
        "transfer-encoding" => 1 << 6,
        "upgrade" => 1 << 7,
        _ => 0,
    }
}

/// The names of all hop-by-hop fields.
pub fn names() -> impl Iterator<Item = &'static str> {
    HOP_BY_HOP.iter().map(|(_, name)| name.as_str())
}

impl Noted {
    /// Notes the field; `true` if it is a hop-by-hop field.
    pub fn note(&mut self, name: &HeaderName) -> bool {
        let bit = bit(name.as_str());
        self.0 |= bit;
        bit != 0
    }

    /// Whether this hop-by-hop field is there.
    #[must_use]
    pub fn has(self, name: &HeaderName) -> bool {
        self.0 & bit(name.as_str()) != 0
    }

    /// Removes the fields that were noted and those that `Connection` names, but for what is `protected`.
    pub fn remove(mut self, headers: &mut HeaderMap, protected: impl Fn(&HeaderName) -> bool) {
        if self.has(&CONNECTION) {
            let named: Vec<HeaderName> = if headers.len() == headers.keys_len() {
                self.0 &= !bit(CONNECTION.as_str());
                named_by(headers.remove(CONNECTION).iter(), protected)
            } else {
                named_by(headers.get_all(CONNECTION).iter(), protected)
            };
            for name in named {
                headers.remove(name);
            }
        }
        if self.0 != 0 {
            for (_, name) in HOP_BY_HOP.iter().filter(|(bit, _)| self.0 & bit != 0) {
                headers.remove(name);
            }
        }
    }
}

/// Removes hop-by-hop fields and those that `Connection` names.
///
/// It runs before anything of ours is set, so a client's `Connection: x-customer-id` can remove only what the
/// client sent itself. Fields that `protected` names stay: `Connection: authorization` must not make the service
/// see another request than the one that was judged.
pub fn remove(headers: &mut HeaderMap, protected: impl Fn(&HeaderName) -> bool) {
    let mut noted = Noted::default();
    for name in headers.keys() {
        noted.note(name);
    }
    noted.remove(headers, protected);
}

/// What these `Connection` fields name, but for what is protected, and for the usual hop-by-hop fields.
fn named_by<'v>(
    fields: impl Iterator<Item = &'v HeaderValue>,
    protected: impl Fn(&HeaderName) -> bool,
) -> Vec<HeaderName> {
    let options = fields.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let unusual = options.map(<[u8]>::trim_ascii).filter(|option| !is_usual(option));
    unusual.filter_map(|option| HeaderName::from_bytes(option).ok()).filter(|name| !protected(name)).collect()
}

/// Whether it is one of the options that nearly every `Connection` field has, as it is mostly spelled: what it names is
/// noted anyway.
fn is_usual(option: &[u8]) -> bool {
    matches!(option, b"keep-alive" | b"Keep-Alive" | b"upgrade" | b"Upgrade")
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
    use super::{HOP_BY_HOP, bit, remove};
    use http::HeaderMap;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn each_field_has_its_own_bit() {
        assert!(HOP_BY_HOP.iter().all(|(own, name)| bit(name.as_str()) == *own && own.is_power_of_two()));
        assert_eq!(HOP_BY_HOP.iter().fold(0, |all, (bit, _)| all | bit), u8::MAX);
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
