//! Client identity headers never survive, whatever their spelling and whatever `Connection` says.

mod agreement;

use super::forwarded::Provenance;
use super::trusted::{Content, IdentityHeader, IdentityHeaders, Prepared};
use super::{Cleaning, Hygiene};
use crate::identity::{Attribute, Identity};
use crate::peer::{Peer, Scheme};
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use proptest::prelude::*;

fn hygiene() -> Hygiene {
    let identity = [HeaderName::from_static("x-customer-id")];
    let credentials = vec![HeaderName::from_static("authorization"), HeaderName::from_static("x-api-key")];
    Hygiene::new(identity.iter(), &["x-auth-*".to_owned(), "x-tenant".to_owned()], credentials)
}

fn prepared() -> Prepared {
    let mut identity = Identity::default();
    identity.insert("customer_id", Attribute::Text("c-42".into()));
    let name = HeaderName::from_static("x-customer-id");
    let headers = IdentityHeaders(vec![IdentityHeader {
        name,
        content: Content::named("customer_id"),
        optional: false,
        entitled: false,
    }]);
    headers.prepare(&identity).unwrap()
}

fn clean(pairs: &[(&str, &str)], trusted: bool, identity: Option<&Prepared>) -> HeaderMap {
    let headers = pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    let peer = Peer { address: Some("10.0.0.9:1".parse().unwrap()), scheme: Scheme::Http, trusted };
    let cleaning = Cleaning {
        provenance: &Provenance::new(&peer),
        host: HeaderValue::from_static("a.example"),
        request_id: HeaderValue::from_static("id-1"),
        trace: None,
        identity,
        assertion: None,
        certificate: None,
        entitled: None,
        websocket: false,
    };
    let (_, _, headers) = hygiene().clean(Method::GET, "/".parse().unwrap(), headers, cleaning).into_parts();
    headers
}

#[test]
fn the_identity_replaces_whatever_the_client_said() {
    let sent = [
        ("x-customer-id", "evil"),
        ("x_customer_id", "evil"),
        ("x.customer.id", "evil"),
        ("x-auth-user", "root"),
    ];
    let headers = clean(&sent, false, Some(&prepared()));
    assert_eq!(headers["x-customer-id"], "c-42");
    assert!(!headers.values().any(|value| value == "evil" || value == "root"));
    assert!(
        clean(&sent, true, None).values().all(|value| value != "evil"),
        "nor on public routes, nor from proxies"
    );
}

#[test]
fn connection_can_neither_remove_nor_keep_what_is_ours() {
    for option in ["x-customer-id", "X-Customer-Id, x-request-id, x-forwarded-for, host, authorization"] {
        let sent = [("connection", option), ("x-customer-id", "evil"), ("authorization", "Bearer a")];
        let headers = clean(&sent, false, Some(&prepared()));
        assert_eq!(headers["x-customer-id"], "c-42");
        assert_eq!(headers["x-request-id"], "id-1");
        assert_eq!(headers["x-forwarded-for"], "10.0.0.9");
        assert_eq!(headers["host"], "a.example");
        assert_eq!(headers["authorization"], "Bearer a");
        assert!(!headers.contains_key("connection"));
    }
}

#[test]
fn provenance_is_believed_only_from_trusted_proxies_in_its_own_spelling() {
    let sent = [
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-port", "99"),
        ("x_forwarded_for", "6.6.6.6"),
        ("x-real-ip", "6.6.6.6"),
        ("x_request_id", "6.6.6.6"),
    ];
    let headers = clean(&sent, false, None);
    assert!(!headers.values().any(|value| value == "6.6.6.6" || value == "99"));
    let headers = clean(&sent, true, None);
    assert_eq!(headers["x-forwarded-for"], "6.6.6.6, 10.0.0.9");
    assert_eq!(headers["x-forwarded-port"], "99");
    assert!(!headers.values().any(|value| value == "6.6.6.6"));
}

#[test]
fn aliases_of_credential_headers_are_removed_but_not_the_headers() {
    let headers = clean(&[("x-api-key", "good"), ("x_api_key", "other")], false, None);
    assert_eq!(headers["x-api-key"], "good");
    assert!(!headers.contains_key("x_api_key"));
}

#[test]
fn split_cookies_are_joined() {
    let headers = clean(&[("cookie", "a=1"), ("cookie", "b=2")], false, None);
    assert_eq!(headers.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2"]);
}

#[test]
fn trailers_are_cleaned_like_heads() {
    let mut trailers = HeaderMap::new();
    for name in
        ["x-customer-id", "x_customer_id", "x-forwarded-for", "x-auth-me", "grpc-status", "connection"]
    {
        trailers.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static("1"));
    }
    hygiene().clean_trailers(&mut trailers);
    assert_eq!(trailers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["grpc-status"]);
}

proptest! {
    #[test]
    fn no_spelling_of_an_identity_header_survives(
        separators in proptest::collection::vec(prop::sample::select(b"-_.!#$%&'*+^`|~".to_vec()), 2),
        cases in proptest::collection::vec(any::<bool>(), 13),
    ) {
        let mut name = b"x-customer-id".to_vec();
        name[1] = separators[0];
        name[10] = separators[1];
        for (byte, upper) in name.iter_mut().zip(cases) {
            if upper { byte.make_ascii_uppercase(); }
        }
        let name = String::from_utf8(name).unwrap();
        let headers = clean(&[(&name, "evil")], false, Some(&prepared()));
        prop_assert!(headers.values().all(|value| value != "evil"));
        prop_assert_eq!(&headers["x-customer-id"], "c-42");
    }
}
