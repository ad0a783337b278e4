//! Where a request came from, and whose word for it counts.

use crate::support::client::Client;
use crate::support::http2::Http2;
use crate::support::idp::Idp;
use crate::support::request::get;
use crate::support::service::{Request, Service};
use crate::support::setup::Setup;

const CLAIMS: &[(&str, &str)] = &[
    ("X-Forwarded-For", "203.0.113.9"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "public.test"),
    ("Forwarded", "for=203.0.113.9;proto=https;host=public.test"),
    ("X-Request-Id", "client-sent-id"),
    ("X-Real-IP", "203.0.113.9"),
    ("X-Forwarded-Port", "4433"),
    ("X-Forwarded-User", "203.0.113.9"),
    ("X-Forwarded-Prefix", "/203.0.113.9"),
];

#[track_caller]
fn assert_ours(case: &str, seen: &Request) {
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"), "{case}");
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"), "{case}");
    assert_eq!(seen.header("x-forwarded-host"), Some("gate.test"), "{case}");
    let forwarded = seen.header("forwarded").expect("forwarded");
    assert_eq!(forwarded.split(',').count(), 1, "{case}: {forwarded}");
    for part in ["for=127.0.0.1", "proto=http", "host=gate.test"] {
        let parts: Vec<String> = forwarded.replace('"', "").split(';').map(str::to_owned).collect();
        assert!(parts.iter().any(|found| found.trim() == part), "{case}: {forwarded}");
    }
    for (name, value) in &seen.headers.0 {
        assert!(!value.contains("203.0.113.9") && !value.contains("client-sent"), "{case}: {name}: {value}");
        // A random id may hold any digits.
        let is_id = name.eq_ignore_ascii_case("x-request-id");
        assert!(
            (is_id || !value.contains("4433")) && !value.contains("public.test"),
            "{case}: {name}: {value}"
        );
    }
    let id = seen.header("x-request-id").expect("x-request-id");
    let parsed: uuid::Uuid = id.parse().unwrap_or_else(|_| panic!("{case}: {id}"));
    assert_eq!(parsed.get_version_num(), 7, "{case}: {id}");
}

#[test]
fn what_a_stranger_says_is_replaced() {
    let service = Service::ok("");
    let gate = Setup::public(&service).start();
    get("/").send(&gate).expect(200, "nothing said");
    assert_ours("nothing said", &service.last());
    for (name, value) in CLAIMS {
        for alias in [(*name).to_owned(), name.replace('-', "_"), name.replace('-', "."), name.to_uppercase()]
        {
            let reply = get("/").header(&alias, value).send(&gate).expect(200, &alias);
            assert_ours(&alias, &service.last());
            assert_eq!(Some(reply.request_id().as_str()), service.last().header("x-request-id"), "{alias}");
        }
    }
    let all = CLAIMS.iter().fold(get("/"), |ask, (name, value)| ask.header(name, value).header(name, value));
    let reply = all.send(&gate).expect(200, "everything twice");
    assert_ours("everything twice", &service.last());
    assert_eq!(gate.access(&reply)["client"], "127.0.0.1");
}

#[test]
fn what_a_trusted_proxy_says_stays_in_front_of_ours() {
    let service = Service::ok("");
    let gate = Setup::public(&service).server("trusted_proxies = [\"127.0.0.0/8\", \"::1/128\"]").start();
    let all = CLAIMS.iter().take(5).fold(get("/"), |ask, (name, value)| ask.header(name, value));
    let reply = all.send(&gate).expect(200, "trusted");
    let seen = service.last();
    assert_eq!(seen.header("x-forwarded-for"), Some("203.0.113.9, 127.0.0.1"));
    let first = |name| seen.header(name).unwrap().split(',').next().unwrap().to_owned();
    assert_eq!(
        (first("x-forwarded-proto").as_str(), first("x-forwarded-host").as_str()),
        ("https", "public.test")
    );
    let forwarded: Vec<&str> = seen.header("forwarded").unwrap().split(',').map(str::trim).collect();
    assert_eq!(forwarded.len(), 2, "{forwarded:?}");
    assert_eq!(forwarded[0], "for=203.0.113.9;proto=https;host=public.test");
    assert!(forwarded[1].contains("for=127.0.0.1"), "{forwarded:?}");
    assert_eq!(
        (seen.header("x-request-id"), reply.header("x-request-id")),
        (Some("client-sent-id"), Some("client-sent-id"))
    );
    let entry = gate.access(&reply);
    assert_eq!(entry["client"], "203.0.113.9");

    let several = get("/").header("X-Forwarded-For", "198.51.100.1").header("X-Forwarded-For", "203.0.113.9");
    several.send(&gate).expect(200, "two fields");
    let list: Vec<String> = service
        .last()
        .headers
        .all("x-forwarded-for")
        .join(",")
        .split(',')
        .map(|item| item.trim().to_owned())
        .collect();
    assert_eq!(list, ["198.51.100.1", "203.0.113.9", "127.0.0.1"]);

    for alias in ["X_Forwarded_For", "x.forwarded.for", "X-Forwarded_For"] {
        get("/").header(alias, "203.0.113.9").send(&gate).expect(200, alias);
        assert_ours(alias, &service.last());
    }
}

#[test]
fn a_proxy_outside_the_list_is_a_stranger() {
    let service = Service::ok("");
    let gate = Setup::public(&service).server("trusted_proxies = [\"127.0.0.2\", \"10.0.0.0/8\"]").start();
    let all = CLAIMS.iter().fold(get("/"), |ask, (name, value)| ask.header(name, value));
    all.send(&gate).expect(200, "stranger");
    assert_ours("stranger", &service.last());
}

#[test]
fn request_ids_differ_and_denials_have_them_too() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = Setup::guarded(&service, &idp).route("/public", "access = \"public\"").start();
    let mut seen = std::collections::HashSet::new();
    let mut client = gate.connect();
    for target in ["/public", "/public", "/", "//", "/public"] {
        let reply = get(target).header("x-request-id", "client-sent-id").on(&mut client);
        assert!(seen.insert(reply.request_id()), "{target}: twice the same id");
        assert!(reply.request_id().parse::<uuid::Uuid>().is_ok(), "{target}");
        gate.access(&reply);
    }
    let reply = Http2::connect(gate.address()).get("/", &[]);
    assert_eq!(reply.status, 401);
    assert!(seen.insert(reply.header("x-request-id").unwrap().to_owned()));
}

#[test]
fn over_a_unix_socket_there_is_no_address() {
    let service = Service::ok("");
    let dir = crate::support::temp::TempDir::new();
    let path = dir.file("gate.sock");
    let gate = Setup::public(&service).listen(&format!("unix:{}", path.display())).start();
    get("/").header("X-Forwarded-For", "203.0.113.9").on(&mut Client::unix(&path)).expect(200, "unix");
    let seen = service.only();
    assert!(!format!("{:?}", seen.headers).contains("203.0.113.9"), "{seen:?}");
    drop(gate);
}
