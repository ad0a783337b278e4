//! What certificates say, made by an authority that signs anything.

use super::{Certificate, is_spiffe_id};
use crate::clock::UnixTime;
use crate::identity::{Attribute, Identity};
use proptest::prelude::*;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

fn made(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    change(&mut params);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

fn text(identity: &Identity, name: &str) -> Option<String> {
    match identity.attribute(name) {
        Some(Attribute::Text(text)) => Some(text.to_string()),
        Some(other) => panic!("{other:?}"),
        None => None,
    }
}

fn uri(uri: &str) -> SanType {
    SanType::URI(uri.try_into().unwrap())
}

#[test]
fn everything_is_read() {
    let der = made(|params| {
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Example, Inc.");
        params.distinguished_name.push(DnType::CommonName, "billing+x");
        params.subject_alt_names = vec![
            SanType::DnsName("billing.example".try_into().unwrap()),
            SanType::Rfc822Name("ops@example".try_into().unwrap()),
            SanType::IpAddress("192.0.2.1".parse().unwrap()),
            SanType::IpAddress("2001:db8::1".parse().unwrap()),
            uri("spiffe://prod.example/ns/billing/sa/app"),
        ];
    });
    let certificate = Certificate::read(&der);
    let identity = certificate.identity(UnixTime::from_seconds(1_800_000_000)).unwrap();
    let subject = text(identity, "client_cert_subject").unwrap();
    // The last one first, and what has a meaning is escaped (RFC 4514).
    assert!(subject.contains(r"CN=billing\+x,O=Example\, Inc."), "{subject}");
    let san = identity.set("client_cert_san").unwrap();
    assert_eq!(
        san.iter().collect::<Vec<_>>(),
        [
            "DNS:billing.example",
            "IP:192.0.2.1",
            "IP:2001:db8::1",
            "URI:spiffe://prod.example/ns/billing/sa/app",
            "email:ops@example"
        ]
    );
    let spiffe = text(identity, "client_cert_spiffe_id").unwrap();
    assert_eq!(spiffe, "spiffe://prod.example/ns/billing/sa/app");
    let fingerprint = text(identity, "client_cert_fingerprint").unwrap();
    assert_eq!(fingerprint.len(), 64);
    assert!(fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase()));
}

#[test]
fn there_is_one_spiffe_id_or_none() {
    let id = |uris: &[&str]| {
        let der = made(|params| params.subject_alt_names = uris.iter().map(|text| uri(text)).collect());
        text(&Certificate::read(&der).identity, "client_cert_spiffe_id")
    };
    assert_eq!(id(&[]), None);
    assert_eq!(id(&["https://example/a"]), None);
    assert_eq!(id(&["spiffe://a/b"]).as_deref(), Some("spiffe://a/b"));
    assert_eq!(id(&["spiffe://a/b", "spiffe://a/c"]), None);
    assert_eq!(id(&["spiffe://a/b", "https://example/a"]), None);
}

#[test]
fn spiffe_ids_have_one_spelling() {
    for good in ["spiffe://a/b", "spiffe://prod.example/ns/x/sa/y", "spiffe://a-b_c.1/A.b_C-1"] {
        assert!(is_spiffe_id(good), "{good}");
    }
    for bad in [
        "spiffe://a",
        "spiffe://a/",
        "spiffe:///b",
        "spiffe://A/b",
        "SPIFFE://a/b",
        "spiffe://a/b/",
        "spiffe://a//b",
        "spiffe://a/./b",
        "spiffe://a/../b",
        "spiffe://a/%62",
        "spiffe://a/b?c",
        "spiffe://a/b#c",
        "spiffe://u@a/b",
        "spiffe://a:1/b",
        "spiffe://a/b c",
        "spiffe://a/ü",
        "xspiffe://a/b",
        " spiffe://a/b",
        "spiffe://a/b,c",
    ] {
        assert!(!is_spiffe_id(bad), "{bad}");
    }
    assert!(!is_spiffe_id(&format!("spiffe://a/{}", "b".repeat(2048))));
}

#[test]
fn an_expired_certificate_says_nothing() {
    let certificate = Certificate::read(&made(|params| params.not_after = rcgen::date_time_ymd(2030, 1, 1)));
    let new_year = 1_893_456_000;
    assert!(certificate.identity(UnixTime::from_seconds(new_year - 1)).is_some());
    assert!(certificate.identity(UnixTime::from_seconds(new_year)).is_none());
}

proptest! {
    #[test]
    fn whatever_is_shown_has_a_fingerprint_and_no_more(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let certificate = Certificate::read(&bytes);
        prop_assert_eq!(certificate.identity.attributes().count(), 1);
    }

    #[test]
    fn a_certificate_with_a_broken_byte_is_read_without_a_panic(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut der = made(|params| params.subject_alt_names = vec![uri("spiffe://a/b")]);
        let place = place.index(der.len());
        der[place] = byte;
        prop_assert!(Certificate::read(&der).identity.attributes().count() >= 1);
    }
}
