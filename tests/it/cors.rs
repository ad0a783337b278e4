//! `[cors]`: who may read an answer across origins is said by the gate alone, to preflights before anybody is judged and on
//! every other response (Fetch §3.2).

use crate::support::client::Reply;
use crate::support::frames::{Socket, echo, handshake};
use crate::support::http2::{Frames, Http2};
use crate::support::idp::Idp;
use crate::support::request::{Ask, ask, get};
use crate::support::service::Service;
use crate::support::setup::{PUBLIC, Setup};
use crate::support::wire::Headers;

const APP: &str = "https://app.example";

const CORS: &str = "\n[cors]\nallowed_origins = [\"https://app.example\", \"http://localhost:3000\"]\n\
    allowed_methods = [\"GET\", \"PUT\"]\nallowed_headers = [\"Authorization\", \"x-b\"]\nexposed_headers = [\"X-Request-Id\"]\n\
    allow_credentials = true\nmax_age = \"5m\"\n";

/// Origins that only look like one that is allowed.
const TRICKS: &[&str] = &[
    "null",
    "",
    "*",
    "https://evil.example",
    "https://app.example.evil",
    "https://evil-app.example",
    "https://app.example:443",
    "https://app.example/",
    "http://app.example",
    "HTTPS://APP.EXAMPLE",
    "https://App.example",
    "https://app.example, https://evil.example",
    "https://app.example https://evil.example",
    "https://user@app.example",
];

fn preflight(target: &str) -> Ask {
    ask("OPTIONS", target)
        .header("Origin", APP)
        .header("Access-Control-Request-Method", "PUT")
        .header("Access-Control-Request-Headers", "authorization")
}

fn preflight_of(origin: &str) -> Ask {
    ask("OPTIONS", "/").header("Origin", origin).header("Access-Control-Request-Method", "GET")
}

/// What a response says of origins, but for the `Vary` field.
fn said(headers: &Headers) -> Vec<(String, String)> {
    let about = |name: &str| name.to_ascii_lowercase().starts_with("access-control-");
    let fields = headers.0.iter().filter(|(name, _)| about(name));
    let mut said: Vec<_> = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
    said.sort();
    said
}

fn varies(headers: &Headers) -> bool {
    headers.lists("vary", "origin")
}

#[track_caller]
fn assert_readable(reply: &Reply, case: &str) {
    let wanted = [
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-origin", APP),
        ("access-control-expose-headers", "x-request-id"),
    ];
    let wanted = wanted.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(said(&reply.headers), wanted, "{case}");
    assert!(varies(&reply.headers), "{case}: {:?}", reply.headers);
}

#[test]
fn a_preflight_needs_no_token_and_reaches_nobody() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = Setup::guarded(&service, &idp).with(CORS).route("/open/**", "access = \"public\"").start();
    for target in ["/", "/open/x", "/deep/er?q=1"] {
        let reply = preflight(target)
            .header("Access-Control-Request-Private-Network", "true")
            .send(&gate)
            .expect(204, target);
        assert_eq!(
            said(&reply.headers),
            [
                ("access-control-allow-credentials", "true"),
                ("access-control-allow-headers", "authorization, x-b"),
                ("access-control-allow-methods", "GET, PUT"),
                ("access-control-allow-origin", APP),
                ("access-control-max-age", "300"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        for name in ["origin", "access-control-request-method", "access-control-request-headers"] {
            assert!(reply.headers.lists("vary", name), "{name}: {:?}", reply.headers);
        }
        assert!(reply.body.is_empty() && !reply.headers.has("content-length"), "{reply:?}");
        let line = gate.access(&reply);
        assert_eq!((&line["decision"], &line["reason"]), (&"allow".into(), &"allowed".into()), "{line}");
        assert_eq!((&line["status"], &line["bytes"]), (&204.into(), &0.into()), "{line}");
        assert!(line["upstream_duration"].is_null() && line["authenticator"].is_null(), "{line}");
    }
    service.assert_untouched("preflights");
    gate.wait_metric("requests_total", &[("method", "OPTIONS"), ("code", "204")], 3);
    gate.wait_metric("decisions_total", &[("decision", "allow"), ("reason", "allowed")], 3);
    assert!(gate.metric("upstream_duration_seconds_count", &[]) < 0.5);
}

#[test]
fn a_method_or_header_that_is_not_allowed_is_not_listed() {
    let service = Service::ok("");
    let gate = Setup::public(&service).with(CORS).start();
    let reply = ask("OPTIONS", "/")
        .header("Origin", APP)
        .header("Access-Control-Request-Method", "DELETE")
        .header("Access-Control-Request-Headers", "x-evil")
        .send(&gate)
        .expect(204, "the browser compares");
    assert_eq!(reply.header("access-control-allow-methods"), Some("GET, PUT"));
    assert_eq!(reply.header("access-control-allow-headers"), Some("authorization, x-b"));
    service.assert_untouched("a preflight");
}

#[test]
fn a_preflight_from_elsewhere_is_refused() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = Setup::guarded(&service, &idp).with(CORS).start();
    for origin in TRICKS {
        let reply = preflight_of(origin).send(&gate).expect(403, origin);
        assert_eq!(
            (said(&reply.headers), gate.reason(&reply).as_str()),
            (vec![], "origin_refused"),
            "{origin}"
        );
        assert!(varies(&reply.headers), "{origin}");
    }
    for second in [APP, "https://evil.example"] {
        let reply = preflight("/").header("Origin", second).send(&gate).expect(403, "two origins");
        assert_eq!((said(&reply.headers), gate.reason(&reply).as_str()), (vec![], "origin_refused"));
    }
    service.assert_untouched("refused preflights");
}

#[test]
fn what_is_closed_stays_closed_and_what_is_no_preflight_is_judged() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = Setup::guarded(&service, &idp).with(CORS).route("/closed", "access = \"deny\"").start();
    let reply = preflight("/closed").send(&gate).expect(403, "closed");
    assert_eq!(gate.reason(&reply), "route_denied");
    for (case, ask) in [
        ("a body", preflight("/").body("{}")),
        ("no method", ask("OPTIONS", "/").header("Origin", APP)),
        ("no origin", ask("OPTIONS", "/").header("Access-Control-Request-Method", "PUT")),
        ("a GET", get("/").header("Origin", APP).header("Access-Control-Request-Method", "PUT")),
    ] {
        let reply = ask.send(&gate).expect(401, case);
        assert_eq!(gate.reason(&reply), "credential_missing", "{case}");
    }
    service.assert_untouched("nothing of this");
}

#[test]
fn refusals_can_be_read_across_origins() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = Setup::guarded(&service, &idp).with(CORS).route("/closed", "access = \"deny\"").start();
    for (status, ask) in [
        (401, get("/")),
        (401, get("/").bearer("bad")),
        (403, get("/closed")),
        (400, get("//")),
        (400, get("/a/../b")),
        (405, ask("TRACE", "/")),
        (400, get("/").header("Upgrade", "websocket")),
    ] {
        let case = String::from_utf8(ask.bytes()).unwrap();
        assert_readable(&ask.clone().header("Origin", APP).send(&gate).expect(status, &case), &case);
        let reply = ask.clone().header("Origin", "https://evil.example").send(&gate).expect(status, &case);
        assert_eq!((said(&reply.headers), varies(&reply.headers)), (vec![], true), "{case}");
        let reply = ask.send(&gate).expect(status, &case);
        assert_eq!((said(&reply.headers), varies(&reply.headers)), (vec![], true), "{case}");
    }
    // What never became a request has no origin.
    let mut client = gate.connect();
    client.send(format!("GET / HTTP/1.1\r\nOrigin: {APP}\r\nBroken\r\n\r\n"));
    let reply = client.reply().expect(400, "no head");
    assert_eq!((said(&reply.headers), varies(&reply.headers)), (vec![], true));
}

const LOOSE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nAccess-Control-Allow-Origin: *\r\n\
    ACCESS-CONTROL-ALLOW-ORIGIN: https://evil.example\r\nAccess-Control-Allow-Credentials: true\r\n\
    Access-Control-Allow-Private-Network: true\r\nVary: Accept-Encoding, Cookie\r\n\r\n";

#[test]
fn what_the_service_says_of_origins_is_replaced() {
    let service = Service::raw(LOOSE);
    let gate = Setup::public(&service).with(CORS).start();
    let reply = get("/").header("Origin", APP).send(&gate).expect(200, "allowed");
    assert_readable(&reply, "allowed");
    for kept in ["accept-encoding", "cookie"] {
        assert!(reply.headers.lists("vary", kept), "{kept}: {:?}", reply.headers);
    }
    // The service still learns who asks.
    assert_eq!(service.last().header("origin"), Some(APP));
    for origin in TRICKS {
        let reply = get("/").header("Origin", origin).send(&gate).expect(200, origin);
        assert_eq!((said(&reply.headers), varies(&reply.headers)), (vec![], true), "{origin}");
    }
    let reply = get("/").header("Origin", APP).header("Origin", APP).send(&gate).expect(200, "two origins");
    assert_eq!(said(&reply.headers), []);
    let reply = get("/").send(&gate).expect(200, "no origin");
    assert_eq!((said(&reply.headers), varies(&reply.headers)), (vec![], true));
}

#[test]
fn everybody_may_read_where_all_may() {
    let service = Service::raw(LOOSE);
    let gate = Setup::public(&service)
        .with("[cors]\nallowed_origins = [\"*\"]\nallowed_headers = [\"*\"]\nexposed_headers = [\"*\"]")
        .start();
    let wanted = [("access-control-allow-origin", "*"), ("access-control-expose-headers", "*")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    for ask in [get("/"), get("/").header("Origin", "null"), get("/").header("Origin", APP)] {
        let reply = ask.send(&gate).expect(200, "all");
        assert_eq!((said(&reply.headers), varies(&reply.headers)), (wanted.clone().into(), false));
    }
    let reply = preflight("/").header("Access-Control-Request-Headers", "X-Odd, ???").send(&gate);
    let reply = reply.expect(204, "a preflight");
    assert_eq!(reply.header("access-control-allow-headers"), Some("authorization, x-odd"));
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    assert!(!reply.headers.has("access-control-allow-credentials"), "{reply:?}");
}

#[test]
fn over_http2_as_well() {
    let (service, idp) = (Service::raw(LOOSE), Idp::start());
    let gate = Setup::guarded(&service, &idp).with(CORS).start();
    let mut client = Http2::connect(gate.address());
    let asked = [("origin", APP), ("access-control-request-method", "PUT")];
    let reply = client.send("OPTIONS", "/", &asked, Frames::default());
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (204, Some(APP)));
    let asked = [("origin", "https://app.example.evil"), ("access-control-request-method", "PUT")];
    let reply = client.send("OPTIONS", "/", &asked, Frames::default());
    assert_eq!((reply.status, said(&reply.headers)), (403, vec![]));
    let reply = client.get("/", &[("origin", APP)]);
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (401, Some(APP)));
    service.assert_untouched("nothing was let through");
    let token = format!("Bearer {}", idp.token().build());
    let reply = client.get("/", &[("origin", APP), ("authorization", &token)]);
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, Some(APP)));
    let reply = client.get("/", &[("origin", "null"), ("authorization", &token)]);
    assert_eq!((reply.status, said(&reply.headers), varies(&reply.headers)), (200, vec![], true));
}

#[test]
fn without_it_everything_is_the_services_business() {
    let service = Service::raw(LOOSE);
    let gate = Setup::public(&service).start();
    for ask in [get("/").header("Origin", APP), preflight("/")] {
        let reply = ask.send(&gate).expect(200, "the service's own");
        assert_eq!(reply.headers.all("access-control-allow-origin"), ["*", "https://evil.example"]);
        assert_eq!(reply.headers.all("vary"), ["Accept-Encoding, Cookie"]);
    }
    assert_eq!(service.requests().len(), 2);
    let reply = get("//").header("Origin", APP).send(&gate).expect(400, "ours");
    assert_eq!((said(&reply.headers), reply.headers.has("vary")), (vec![], false));
}

#[test]
fn shadow_mode_lets_a_preflight_from_elsewhere_pass() {
    let (service, idp) = (Service::raw(LOOSE), Idp::start());
    let gate = Setup::guarded(&service, &idp).with("[policy]\nmode = \"shadow\"").with(CORS).start();
    preflight("/").send(&gate).expect(204, "allowed");
    service.assert_untouched("an allowed one");
    let reply = preflight_of("https://evil.example").send(&gate).expect(200, "would be refused");
    let line = gate.access(&reply);
    assert_eq!((&line["decision"], &line["reason"]), (&"would_deny".into(), &"origin_refused".into()));
    assert_eq!(said(&reply.headers), []);
}

#[test]
fn websockets_have_their_own_rules() {
    let service = Service::start(echo);
    let gate = Setup::new(service.url())
        .with(PUBLIC)
        .with(CORS)
        .route("/own", "websocket.allowed_origins = [\"https://socket.example\"]")
        .start();
    Socket::open(&gate, &handshake("/").header("Origin", "https://evil.example")).echo("any");
    Socket::open(&gate, &handshake("/own").header("Origin", "https://socket.example")).echo("own");
    let reply = handshake("/own").header("Origin", APP).send(&gate).expect(403, "not the route's");
    assert_eq!(gate.reason(&reply), "origin_refused");
}
