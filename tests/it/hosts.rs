//! Whom the request is for: exactly one valid Host, and no second opinion.

use crate::support::client::exchange;
use crate::support::http2::{Frames, Http2, request};
use crate::support::request::{Ask, ask, get};
use crate::support::service::Service;
use crate::support::setup::Setup;

#[test]
fn hosts_that_are_not_exactly_one_valid_host_are_refused() {
    let service = Service::ok("");
    let gate = Setup::public(&service).start();
    let host = |value: &str| get("/").host(value);
    let cases: Vec<(&str, Ask)> = vec![
        ("none", get("/").without_host()),
        ("twice the same", get("/").header("Host", "gate.test")),
        ("two", get("/").header("hOST", "other.test")),
        ("empty", host("")),
        ("spaces", host("  ")),
        ("userinfo", host("user@gate.test")),
        ("userinfo with a password", host("user:secret@gate.test")),
        ("empty userinfo", host("@gate.test")),
        ("two ports", host("gate.test:80:81")),
        ("port of letters", host("gate.test:http")),
        ("negative port", host("gate.test:-1")),
        ("port with a sign", host("gate.test:+80")),
        ("only a port", host(":80")),
        ("a list", host("gate.test, other.test")),
        ("two words", host("gate.test other.test")),
        ("a path", host("gate.test/x")),
        ("a query", host("gate.test?x")),
        ("a fragment", host("gate.test#x")),
        ("a backslash", host("gate.test\\x")),
        ("a URL", host("http://gate.test")),
        ("open bracket", host("[::1")),
        ("empty brackets", host("[]")),
        ("brackets around a name", host("[gate.test]")),
        ("after the brackets", host("[::1]x")),
        ("quotes", host("\"gate.test\"")),
    ];
    let mut replies = Vec::new();
    for (case, ask) in cases {
        let (reply, mut client) = exchange(gate.address(), &ask.bytes());
        let reply = reply.expect(case).expect(400, case);
        client.assert_closed(case);
        service.assert_untouched(case);
        replies.push((case, reply));
    }
    for (case, reply) in replies {
        assert_eq!(gate.reason(&reply), "head_malformed", "{case}");
    }
}

#[test]
fn valid_hosts_reach_the_service_as_they_were_sent() {
    let service = Service::ok("");
    let gate = Setup::public(&service).start();
    for host in [
        "gate.test",
        "GATE.test",
        "gate.test.",
        "gate.test:80",
        "gate.test:",
        "gate.test.:8080",
        "localhost",
        "my_app",
        "127.0.0.1",
        "127.0.0.1:8080",
        "[::1]",
        "[::1]:80",
        "[2001:db8::1]:",
        "a-b.c",
        "xn--bcher-kva.example",
    ] {
        get("/").host(host).send(&gate).expect(200, host);
        assert_eq!(service.last().header("host"), Some(host));
    }
}

#[test]
fn in_absolute_form_the_target_says_the_host() {
    let service = Service::ok("");
    let gate = Setup::public(&service).start();
    for (target, form, host) in [
        ("http://other.test/a?b", "/a?b", "other.test"),
        ("http://other.test:8080/a/", "/a/", "other.test:8080"),
        ("http://other.test", "/", "other.test"),
        ("http://other.test?x=1", "/?x=1", "other.test"),
        ("HTTP://other.test/%61", "/a", "other.test"),
        ("http://[::1]:1/a", "/a", "[::1]:1"),
    ] {
        get(target).send(&gate).expect(200, target);
        let seen = service.last();
        assert_eq!((seen.target.as_str(), seen.header("host")), (form, Some(host)), "{target}");
    }
    let before = service.requests().len();
    for target in [
        "http://user@other.test/",
        "http://user:secret@other.test/",
        "http://@other.test/",
        "http:///a",
        "http://",
        "http://other.test/a/../b",
        "http://other.test//a",
        "http://other.test/#a",
        "http://other.test\\@gate.test/",
        "http://other.test:port/",
        "http:other.test/a",
        "gate.test/a",
        "a",
        "../a",
    ] {
        get(target).send(&gate).expect(400, target);
    }
    get("http://other.test/").without_host().send(&gate).expect(400, "absolute form without Host");
    assert_eq!(service.requests().len(), before, "{:?}", service.targets());
}

#[test]
fn rules_are_found_by_the_host_of_the_target() {
    let service = Service::ok("");
    let gate = Setup::public(&service).route("/**", "hosts = [\"private.test\"]\naccess = \"deny\"").start();
    get("http://private.test/a").send(&gate).expect(403, "absolute form, another Host");
    get("http://gate.test/a").host("private.test").send(&gate).expect(200, "only the Host is private");
    for host in [
        "private.test",
        "PRIVATE.Test",
        "private.test.",
        "private.test:1",
        "private.test:",
        "private.test.:99",
    ] {
        get("/a").host(host).send(&gate).expect(403, host);
    }
    for host in ["private.test.evil", "xprivate.test", "private.test..", "private"] {
        let status = get("/a").host(host).send(&gate).status;
        assert_ne!(status, 403, "{host}");
    }
}

#[test]
fn over_http2_authority_and_host_must_agree() {
    let service = Service::ok("");
    let gate = Setup::public(&service).start();
    let mut client = Http2::connect(gate.address());
    assert_eq!(client.get("/", &[]).status, 200);
    assert_eq!(service.last().header("host"), Some("gate.test"));
    assert_eq!(client.get("/", &[("host", "gate.test")]).status, 200);
    let before = service.requests().len();
    for host in ["other.test", "gate.test:81", "", "user@gate.test", "gate.test, gate.test"] {
        assert_eq!(client.get("/", &[("host", host)]).status, 400, "{host:?}");
    }
    let doubled = [("host", "gate.test"), ("host", "gate.test")];
    assert_eq!(client.get("/", &doubled).status, 400, "two hosts");
    for uri in ["http://user@gate.test/", "http://gate.test:x/"] {
        if uri.parse::<http::Uri>().is_ok() {
            let reply = client.try_request(request("GET", uri, &[], Frames::default()));
            assert!(reply.is_err() || reply.unwrap().status == 400, "{uri}");
        }
    }
    assert_eq!(service.requests().len(), before);
}

#[test]
fn over_http2_host_alone_will_do_but_not_nothing() {
    let service = Service::ok("");
    let gate = Setup::public(&service).start();
    let bare = |headers: &[(&str, &str)]| {
        let mut request = request("GET", "/", headers, Frames::default());
        // The library leaves `:authority` out when it passes HTTP/1.1 requests on.
        *request.version_mut() = http::Version::HTTP_11;
        Http2::connect(gate.address()).request(request).status
    };
    assert_eq!(bare(&[]), 400);
    service.assert_untouched("neither :authority nor host");
    assert_eq!(bare(&[("host", "other.test")]), 200);
    assert_eq!(service.only().header("host"), Some("other.test"));
}

#[test]
fn methods_that_are_never_forwarded() {
    let service = Service::ok("");
    let gate = Setup::public(&service).start();
    for request in [
        ask("TRACE", "/"),
        ask("TRACE", "http://gate.test/"),
        ask("CONNECT", "gate.test:443").host("gate.test:443"),
        ask("CONNECT", "127.0.0.1:22").host("127.0.0.1:22"),
    ] {
        let case = format!("{request:?}");
        let (reply, _) = exchange(gate.address(), &request.bytes());
        let reply = reply.expect(&case).expect(405, &case);
        assert_eq!(gate.reason(&reply), "method_refused", "{case}");
    }
    let mut client = Http2::connect(gate.address());
    assert_eq!(client.send("TRACE", "/", &[], Frames::default()).status, 405);
    service.assert_untouched("CONNECT and TRACE");
}

#[test]
fn the_asterisk_is_no_path() {
    let service = Service::ok("");
    let gate = Setup::public(&service).start();
    for method in ["OPTIONS", "GET", "POST"] {
        ask(method, "*").send(&gate).expect(400, method);
    }
    service.assert_untouched("*");
}

#[test]
fn any_other_method_is_the_services_business() {
    let service = Service::ok("");
    let gate = Setup::public(&service).start();
    for method in
        ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "PURGE", "get", "M-SEARCH"]
    {
        ask(method, "/").send(&gate).expect(200, method);
        assert_eq!(service.last().method, method);
    }
}
