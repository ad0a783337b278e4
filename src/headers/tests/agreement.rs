//! The one pass over a head does what the plain rules say, one after the other.

use super::super::hop_by_hop::{accepts_trailers, remove};
use super::super::{Cleaning, Hygiene};
use super::{hygiene, prepared};
use crate::headers::alias::fold;
use crate::headers::forwarded::Provenance;
use crate::peer::{Peer, Scheme};
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use proptest::prelude::*;

const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Names that some rule is about, their aliases, and names that are close to them.
const NAMES: &[&str] = &[
    "accept",
    "authorization",
    "close",
    "content-length",
    "cookie",
    "forwarded",
    "host",
    "keep-alive",
    "keep_alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-a",
    "x-api-key",
    "x.api.key",
    "x-auth-",
    "x-auth-user",
    "x_auth_user",
    "x-authority",
    "x-customer-id",
    "x_customer_id",
    "x-customer-name",
    "x-forwarded-",
    "x-forwarded-for",
    "x_forwarded_for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-port!",
    "x-forwarded-proto",
    "x-real-ip",
    "x-real_ip",
    "x-request-id",
    "x.request.id",
    "x-tenant",
    "x_tenant",
];

fn is_provenance(name: &str) -> bool {
    let folded = fold(name);
    ["forwarded", "x-real-ip", "x-request-id"].contains(&&*folded) || folded.starts_with("x-forwarded-")
}

fn is_stripped(name: &str, trusted: bool) -> bool {
    let folded = fold(name);
    let plain = |byte: u8| byte == b'-' || byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let believed = trusted
        && (name == "forwarded"
            || (name.starts_with("x-forwarded-") && name != "x-forwarded-" && name.bytes().all(plain)));
    ["x-customer-id", "x-tenant"].contains(&&*folded)
        || folded.starts_with("x-auth-")
        || (is_provenance(name) && !believed)
        || (folded == "x-api-key" && name != "x-api-key")
}

fn outlasts_connection(name: &str) -> bool {
    ["authorization", "cookie", "x-api-key"].contains(&name)
        || name.starts_with("sec-websocket-")
        || is_provenance(name)
}

/// What the rules say, one after the other, without a thought for speed.
fn reference(mut headers: HeaderMap, trusted: bool, identity: bool, websocket: bool) -> HeaderMap {
    let trailers = accepts_trailers(&headers);
    let named: Vec<HeaderName> = headers
        .get_all("connection")
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok())
        .collect();
    for name in named.iter().filter(|name| !outlasts_connection(name.as_str())) {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    let stripped: Vec<HeaderName> =
        headers.keys().filter(|name| is_stripped(name.as_str(), trusted)).cloned().collect();
    for name in stripped {
        headers.remove(name);
    }
    let list = |headers: &HeaderMap, name: &str, separator: &str, last: Option<&str>| {
        let texts = headers.get_all(name).iter().map(|value| value.to_str().unwrap());
        let texts: Vec<&str> = texts.chain(last).collect();
        (!texts.is_empty()).then(|| HeaderValue::from_str(&texts.join(separator)).unwrap())
    };
    let ours = [
        ("x-forwarded-for", "10.0.0.9"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "a.example"),
        ("forwarded", "for=10.0.0.9;host=a.example;proto=http"),
    ];
    for (name, own) in ours {
        let value = list(&headers, name, ", ", Some(own)).unwrap();
        headers.insert(name, value);
    }
    if let Some(cookies) = list(&headers, "cookie", "; ", None) {
        headers.insert("cookie", cookies);
    }
    let mut set =
        |name, value| headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    set("host", "a.example");
    set("x-request-id", "id-1");
    if identity {
        set("x-customer-id", "c-42");
    }
    if trailers {
        set("te", "trailers");
    }
    if websocket {
        set("upgrade", "websocket");
        set("connection", "Upgrade");
    }
    headers
}

fn parsed(lines: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in std::str::from_utf8(lines).unwrap().split_inclusive("\r\n") {
        let (name, value) = line.strip_suffix("\r\n").unwrap().split_once(": ").unwrap();
        headers.append(HeaderName::from_lowercase(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    headers
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => prop::sample::select(NAMES).prop_map(str::to_owned),
        1 => "[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,20}",
        1 => "x[-_.]forwarded[-_.][a-z_-]{0,5}",
        1 => "[lL]{63,66}",
    ]
}

fn field() -> impl Strategy<Value = (String, String)> {
    let options = prop::collection::vec(prop_oneof![name(), "[ a-zA-Z;=]{0,6}"], 0..4);
    let connection = options.prop_map(|options| ("Connection".to_owned(), options.join(", ")));
    let te = prop_oneof![Just("trailers"), Just("gzip, Trailers"), Just("gzip"), Just("trailers;q=1")];
    prop_oneof![
        10 => (name(), "[a-z]{0,3}"),
        3 => connection,
        1 => te.prop_map(|value| ("te".to_owned(), value.to_owned())),
    ]
}

fn map(fields: &[(String, String)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.trim().parse().unwrap());
    }
    headers
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn the_one_pass_agrees_with_the_plain_rules(
        fields in prop::collection::vec(field(), 0..24),
        trusted: bool,
        identity: bool,
        websocket: bool,
    ) {
        let headers = map(&fields);
        let mut expected = reference(headers.clone(), trusted, identity, websocket);
        let peer = Peer { address: Some("10.0.0.9:1".parse().unwrap()), scheme: Scheme::Http, trusted };
        let provenance = Provenance::new(&peer);
        let prepared = prepared();
        let cleaning = Cleaning {
            provenance: &provenance,
            host: HeaderValue::from_static("a.example"),
            request_id: HeaderValue::from_static("id-1"),
            trace: None,
            identity: identity.then_some(&prepared),
            assertion: None,
        certificate: None,
            entitled: None,
            websocket,
        };
        let clean = hygiene().clean(Method::GET, "/".parse().unwrap(), headers, cleaning);
        let mut lines = Vec::new();
        clean.write_fields(&mut lines);
        prop_assert_eq!(clean.into_parts().2, expected.clone());
        expected.remove("te");
        // Whoever frames the message says how long it is.
        expected.remove("content-length");
        prop_assert_eq!(parsed(&lines), expected);
    }

    #[test]
    fn responses_lose_what_is_hop_by_hop_or_named(fields in prop::collection::vec(field(), 0..24)) {
        let mut headers = map(&fields);
        let named = headers.get_all("connection").iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        let named: Vec<String> =
            named.map(|option| String::from_utf8_lossy(option.trim_ascii()).to_lowercase()).collect();
        let goes = |name: &str| HOP_BY_HOP.contains(&name) || named.iter().any(|option| option == name);
        let kept: Vec<_> = fields.iter().filter(|(name, _)| !goes(&name.to_lowercase())).cloned().collect();
        remove(&mut headers, |_| false);
        prop_assert_eq!(headers, map(&kept));
    }

    #[test]
    fn trailers_lose_what_heads_lose_and_what_comes_too_late(fields in prop::collection::vec(field(), 0..24)) {
        let late = ["authorization", "x-api-key", "cookie", "set-cookie", "host", "content-length", "trailer"];
        let goes = |name: &str| {
            let header = HeaderName::from_bytes(name.as_bytes()).unwrap();
            HOP_BY_HOP.contains(&header.as_str())
                || late.contains(&header.as_str())
                || is_stripped(header.as_str(), false)
        };
        let kept: Vec<_> = fields.iter().filter(|(name, _)| !goes(name)).cloned().collect();
        let mut trailers = map(&fields);
        hygiene().clean_trailers(&mut trailers);
        prop_assert_eq!(trailers, map(&kept));
    }

    #[test]
    fn what_the_sieve_stops_is_no_suspect(name in name(), prefix in "[a-z_-]{0,3}") {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        let strip = [format!("{prefix}*"), "x-tenant".to_owned(), "l".repeat(64)];
        let hygiene = Hygiene::new([].iter(), &strip, vec![HeaderName::from_static("x-api-key")]);
        let suspect = HOP_BY_HOP.contains(&name.as_str()) || hygiene.strips(&name, false);
        prop_assert!(hygiene.suspects.passes(name.as_str()) || !suspect);
    }
}
