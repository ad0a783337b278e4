//! A head is parsed as the contract says, and in no other way.

mod hosts;
mod paths;
mod properties;

use super::{PathRules, Prefix, Target};
use crate::denial::{Denial, Reason};
use http::header::{HOST, HeaderMap, HeaderValue};
use http::{Method, Uri, Version};

const STRICT: PathRules = PathRules {
    resolve_dot_segments: false,
    merge_slashes: false,
    keep_encoded_slash: false,
    keep_semicolon: false,
};

/// Parses a GET with these Host headers.
fn parse_as(version: Version, uri: &str, hosts: &[&[u8]]) -> Result<Target, Denial> {
    let mut headers = HeaderMap::new();
    for host in hosts {
        headers.append(HOST, HeaderValue::from_bytes(host).unwrap());
    }
    Target::parse(STRICT, version, &Method::GET, &uri.parse::<Uri>().unwrap(), &headers)
}

fn http1(uri: &str, host: &str) -> Result<Target, Denial> {
    parse_as(Version::HTTP_11, uri, &[host.as_bytes()])
}

/// Parses a path as a client would send it.
fn with_rules(rules: PathRules, uri: &str) -> Result<Target, Denial> {
    let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("a.example"))]);
    Target::parse(rules, Version::HTTP_11, &Method::GET, &uri.parse::<Uri>().unwrap(), &headers)
}

#[track_caller]
fn assert_refused<T>(result: Result<T, Denial>, reason: Reason) {
    assert_eq!(result.err().map(|denial| denial.reason()), Some(reason));
}

#[test]
fn connect_and_trace_are_refused_in_any_case() {
    let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("a.example"))]);
    for method in ["CONNECT", "TRACE", "trace", "Connect"] {
        for uri in ["/", "a.example:443", "http://a.example/"] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let uri = uri.parse::<Uri>().unwrap();
            let parsed = Target::parse(STRICT, Version::HTTP_11, &method, &uri, &headers);
            assert_refused(parsed, Reason::MethodRefused);
        }
    }
}

#[test]
fn asterisk_and_authority_form_are_refused() {
    assert_refused(http1("*", "a.example"), Reason::PathRefused);
    assert_refused(http1("a.example", "a.example"), Reason::PathRefused);
    assert_refused(http1("a.example:80", "a.example"), Reason::PathRefused);
}

#[test]
fn the_usual_head_shares_the_clients_bytes() {
    let uri = Uri::from_maybe_shared(bytes::Bytes::from("/a/b%20c?d=%2e%2E&e=;//".to_owned())).unwrap();
    let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("a.example:8080"))]);
    let target = Target::parse(STRICT, Version::HTTP_11, &Method::GET, &uri, &headers).unwrap();
    assert_eq!(target.path(), "/a/b%20c");
    assert_eq!(target.query(), Some("d=%2e%2E&e=;//"));
    assert_eq!(target.path().as_ptr(), uri.path().as_ptr(), "the path was copied");
    assert_eq!(
        target.authority().as_bytes().as_ptr(),
        headers[HOST].as_bytes().as_ptr(),
        "the host was copied"
    );
    assert_eq!(target.host(), "a.example");
    assert_eq!(target.method(), Method::GET);
}

#[test]
fn the_query_stays_byte_by_byte() {
    for (sent, query) in [
        ("/%61?%61=%2e%2e&b=/../;\\|é", Some("%61=%2e%2e&b=/../;\\|é")),
        ("/%61?", Some("")),
        ("/%61??", Some("?")),
        ("/%61", None),
    ] {
        let target = http1(sent, "a.example").unwrap();
        assert_eq!(target.path(), "/a");
        assert_eq!(target.query(), query);
        let forwarded = query.map_or_else(|| "/a".to_owned(), |query| format!("/a?{query}"));
        assert_eq!(target.path_and_query().as_str(), forwarded);
    }
}

#[test]
fn a_fragment_is_neither_matched_nor_forwarded() {
    let target = http1("/a#/../b", "a.example").unwrap();
    assert_eq!(target.path_and_query().as_str(), "/a");
    let target = http1("/a?b#c", "a.example").unwrap();
    assert_eq!(target.path_and_query().as_str(), "/a?b");
}

#[test]
fn prefixes_are_replaced_by_whole_segments() {
    for (from, to, path, expected) in [
        ("/admin", "/internal/admin", "/admin", "/internal/admin"),
        ("/admin", "/internal/admin", "/admin/", "/internal/admin/"),
        ("/admin", "/internal/admin", "/admin/a/b?c=d", "/internal/admin/a/b?c=d"),
        ("/admin/", "/internal/admin/", "/admin/a", "/internal/admin/a"),
        ("/admin/", "/internal/", "/admin", "/internal"),
        ("/admin", "/x", "/administrator", "/administrator"),
        ("/admin", "/x", "/adm", "/adm"),
        ("/admin", "/", "/admin", "/"),
        ("/admin", "/", "/admin/", "/"),
        ("/admin", "/", "/admin?a", "/?a"),
        ("/admin", "/", "/admin/a", "/a"),
        ("/", "/v1", "/", "/v1/"),
        ("/", "/v1", "/a", "/v1/a"),
        ("/", "/", "/a", "/a"),
        ("/a:b", "/x", "/a%3Ab/c", "/x/c"),
        ("/a%3ab", "/x", "/a:b/c%3A", "/x/c%3A"),
    ] {
        let prefix = |text| Prefix::parse(text, STRICT).unwrap();
        let target = http1(path, "a.example").unwrap();
        let rewritten = target.rewritten(&prefix(from), &prefix(to)).unwrap();
        assert_eq!(rewritten.as_str(), expected, "{path} from {from} to {to}");
    }
}

#[test]
fn prefixes_are_canonical_themselves() {
    let lenient = PathRules { resolve_dot_segments: true, merge_slashes: true, ..STRICT };
    for bad in [
        "", "a", "/a/..", "/./a", "//", "/a//b", "/a?b", "/a#b", "/a%2Fb", "/a;b", "/é", "/a b", "/%", "/<a>",
    ] {
        assert!(Prefix::parse(bad, lenient).is_err(), "{bad}");
    }
    assert_eq!(Prefix::parse("/%61/%c3%a9/", STRICT), Prefix::parse("/a/%C3%A9", STRICT));
}

#[test]
fn a_rewritten_path_that_is_too_long_is_refused() {
    let to = Prefix::parse(&format!("/{}", "b".repeat(40_000)), STRICT).unwrap();
    let target = http1(&format!("/a/{}", "c".repeat(40_000)), "a.example").unwrap();
    assert_refused(target.rewritten(&Prefix::parse("/a", STRICT).unwrap(), &to), Reason::PathRefused);
}
