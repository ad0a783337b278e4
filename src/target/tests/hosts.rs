//! Exactly one valid host, and what it is.

use super::{assert_refused, http1, parse_as};
use crate::denial::Reason;
use crate::target::{HostFault, normal_host};
use http::{Uri, Version};

#[test]
fn hosts_have_one_spelling_for_matching() {
    for (sent, host) in [
        ("a.example", "a.example"),
        ("A.Example", "a.example"),
        ("a.example.", "a.example"),
        ("a.example:", "a.example"),
        ("a.example:0", "a.example"),
        ("a.example:65535", "a.example"),
        ("a.example:00080", "a.example"),
        ("A.EXAMPLE.:8443", "a.example"),
        ("localhost", "localhost"),
        ("my_service-1:80", "my_service-1"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[::1]", "[::1]"),
        ("[::1]:", "[::1]"),
        ("[0:0:0:0:0:0:0:1]:80", "[::1]"),
        ("[2001:DB8::A]", "[2001:db8::a]"),
    ] {
        let target = http1("/", sent).unwrap();
        assert_eq!(target.host(), host, "{sent}");
        assert_eq!(target.authority(), sent, "the authority is forwarded as it was sent");
    }
}

#[test]
fn invalid_hosts_are_malformed() {
    let long = format!("{}.example", "a".repeat(250));
    for sent in [
        "",
        ".",
        "..",
        ".a",
        "a..b",
        "a..",
        ":",
        ":80",
        "a:b",
        "a:80:80",
        "a:65536",
        "a:-1",
        "a:+80",
        "a:8o",
        "a:80 ",
        "a: 80",
        "user@a",
        "user:pw@a",
        "@",
        "a@",
        "a b",
        "a/b",
        "a?b",
        "a#b",
        "a\\b",
        "a,b",
        "a;b",
        "a%41",
        "a*",
        "*",
        "\"a\"",
        "a\tb",
        "[::1",
        "::1",
        "[]",
        "[::1]x",
        "[::1]:x",
        "[::1]]",
        "[fe80::1%25eth0]",
        "[v1.a]",
        "[a]",
        "a]",
        "[127.0.0.1]",
        "é",
        &long,
    ] {
        assert_refused(http1("/", sent), Reason::HeadMalformed);
    }
}

#[test]
fn there_is_exactly_one_host() {
    for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
        assert_refused(parse_as(version, "/", &[]), Reason::HeadMalformed);
        assert_refused(parse_as(version, "/", &[b"a.example", b"a.example"]), Reason::HeadMalformed);
        assert_refused(parse_as(version, "/", &[b"a.example", b""]), Reason::HeadMalformed);
        assert_refused(
            parse_as(version, "http://a.example/", &[b"a.example", b"a.example"]),
            Reason::HeadMalformed,
        );
        assert_refused(parse_as(version, "/", &[b"a.example\xff"]), Reason::HeadMalformed);
        assert_eq!(parse_as(version, "/", &[b"a.example"]).unwrap().host(), "a.example");
    }
}

#[test]
fn absolute_form_replaces_host() {
    let target = http1("http://B.example:81/x?y", "a.example").unwrap();
    assert_eq!((target.host(), target.authority().to_str().unwrap()), ("b.example", "B.example:81"));
    assert_eq!(target.path_and_query().as_str(), "/x?y");
    assert_eq!(http1("HTTPS://b.example", "a.example").unwrap().path(), "/");
    let target = http1("http://b.example?y=z", "a.example").unwrap();
    assert_eq!((target.path(), target.query()), ("/", Some("y=z")));
    assert_eq!(target.path_and_query().as_str(), "/?y=z");
}

#[test]
fn absolute_form_does_not_excuse_the_host_header() {
    assert_refused(parse_as(Version::HTTP_11, "http://b.example/", &[]), Reason::HeadMalformed);
    assert_refused(http1("http://b.example/", ""), Reason::HeadMalformed);
    assert_refused(http1("http://b.example/", "a b"), Reason::HeadMalformed);
    assert_refused(http1("http://b.example/", "user@a"), Reason::HeadMalformed);
}

#[test]
fn absolute_form_is_valid_itself() {
    for uri in [
        "http://b_,c.example/",
        "http://b..c/",
        "http://b:65536/",
        "http://b:x/",
        "http://[::g]/",
        "http://:80/",
    ] {
        let Ok(uri) = uri.parse::<Uri>() else { continue };
        assert_refused(http1(&uri.to_string(), "a.example"), Reason::HeadMalformed);
    }
    assert_refused(http1("ftp://b.example/", "a.example"), Reason::HeadMalformed);
    assert_refused(http1("ws://b.example/", "a.example"), Reason::HeadMalformed);
}

#[test]
fn userinfo_in_the_target_is_refused() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        for uri in ["http://user@b.example/", "http://user:pw@b.example/", "http://a.example:80@b.example/"] {
            assert_refused(parse_as(version, uri, &[b"a.example"]), Reason::PathRefused);
        }
    }
}

#[test]
fn authority_and_host_agree_in_http2() {
    let http2 = |hosts: &[&[u8]]| parse_as(Version::HTTP_2, "http://a.example:80/x", hosts);
    assert_eq!(http2(&[]).unwrap().authority(), "a.example:80");
    assert_eq!(http2(&[b"A.example:80"]).unwrap().host(), "a.example");
    for other in
        [&b"b.example:80"[..], b"a.example", b"a.example:81", b"a.example:80.", b"", b"a.example.:80"]
    {
        assert_refused(http2(&[other]), Reason::HeadMalformed);
    }
}

#[test]
fn http2_wants_the_slash_of_an_empty_path() {
    assert_refused(parse_as(Version::HTTP_2, "http://a.example?x", &[]), Reason::PathRefused);
}

#[test]
fn hosts_of_the_configuration_have_the_same_form_without_port() {
    assert_eq!(normal_host("A.example.").unwrap(), "a.example");
    assert_eq!(normal_host("[::0:1]").unwrap(), "[::1]");
    assert_eq!(normal_host("a.example:80"), Err(HostFault::Name));
    assert_eq!(normal_host("[::1]:80"), Err(HostFault::Address));
    assert_eq!(normal_host(""), Err(HostFault::Empty));
}
