//! Attacks that once got through: each of these failed before it was mended.

use crate::support::frames::handshake;
use crate::support::http2::{Answer, Frames, Http2, Http2Service};
use crate::support::idp::Idp;
use crate::support::request::{ask, get};
use crate::support::service::Service;
use crate::support::setup::{IDENTITY, PUBLIC, Setup};
use crate::support::wait::until_true;
use serde_json::json;
use std::time::{Duration, Instant};

/// A token that two authenticators could take must be judged by the same one on every route that both serve,
/// whatever was verified before.
#[test]
fn the_cache_follows_the_choice_of_authenticator() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let authenticators = format!(
        "[authenticators.strict]\nkind = \"jwt\"\nissuer = \"{0}\"\naudience = \"api\"\nmax_lifetime = \"5m\"\n\
         claims.roles = \"api_roles\"\n\
         [authenticators.portal]\nkind = \"jwt\"\nissuer = \"{0}\"\naudience = \"portal\"\nclaims.roles = \"portal_roles\"\n",
        idp.issuer()
    );
    let gate = Setup::new(service.url())
        .with(&authenticators)
        .route("/portal/**", "authenticators = [\"portal\"]")
        .route("/admin/**", "require.roles = [\"admin\"]")
        .start();
    let token = idp
        .token()
        .expires_in(3600)
        .claim("aud", json!(["api", "portal"]))
        .claim("portal_roles", json!(["admin"]))
        .claim("api_roles", json!(["user"]))
        .build();
    for round in ["cold", "warm"] {
        get("/admin/x").bearer(&token).send(&gate).expect(401, round);
        get("/portal/x").bearer(&token).send(&gate).expect(200, round);
    }
    assert!(service.requests().iter().all(|request| request.target == "/portal/x"));
}

#[test]
fn connection_cannot_take_away_what_was_judged() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let authenticator = format!("{}credentials = [{{ cookie = \"access\" }}]\n", idp.authenticator("main"));
    let gate = Setup::new(service.url()).with(&authenticator).with(IDENTITY).start();
    let cookie = format!("access={}", idp.token().build());
    get("/").header("Cookie", &cookie).header("Connection", "cookie").send(&gate).expect(200, "cookie");
    assert_eq!(service.last().header("cookie"), Some(cookie.as_str()));
}

#[test]
fn credentials_do_not_come_in_trailers() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = Setup::guarded(&service, &idp).start();
    let token = idp.token().build();
    for late in ["authorization", "Authorization", "cookie", "host", "content-length"] {
        let mut client = gate.connect();
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: gate.test\r\nAuthorization: Bearer {token}\r\nTransfer-Encoding: chunked\r\n\
             Trailer: X-Checksum, {late}\r\n\r\n2\r\nhi\r\n0\r\nX-Checksum: 1\r\n{late}: 5\r\n\r\n"
        ));
        let status = client.reply().status;
        // Framing fields are refused as a whole; the others are left out.
        assert!(matches!(status, 200 | 400), "{late}: {status}");
        let seen = service.requests();
        assert!(seen.iter().all(|request| !request.trailers.has(late)), "{late}: {seen:?}");
    }
}

#[test]
fn a_request_behind_one_that_asks_to_upgrade_is_answered_at_once() {
    let service = Service::ok("served");
    let gate = Setup::public(&service).start();
    for protocol in ["h2c", "websocket", "x"] {
        let mut client = gate.connect();
        let begin = Instant::now();
        client.send(format!(
            "GET /1 HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: {protocol}\r\n\r\n\
             GET /2 HTTP/1.1\r\nHost: a\r\n\r\n"
        ));
        let first = client.reply();
        if first.status == 200 {
            client.reply().expect(200, protocol);
        }
        assert!(begin.elapsed() < Duration::from_secs(5), "{protocol}: {:?}", begin.elapsed());
    }
    // A handshake that the service declines leaves the connection usable as well.
    let mut client = gate.connect();
    client.send([handshake("/ws").bytes(), get("/3").bytes()].concat());
    client.reply().expect(200, "declined");
    client.reply().expect(200, "behind it");
}

#[test]
fn answers_before_the_end_of_a_request_do_not_use_up_connections() {
    let service = Service::start(|exchange| {
        if exchange.target() == "/early" {
            exchange.write("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
            return exchange.hold();
        }
        exchange.ok("served")
    });
    let gate = Setup::public(&service).upstream("connections = 2\nqueue_timeout = \"5s\"").start();
    let mut held = Vec::new();
    for number in 0..6 {
        let mut client = gate.connect();
        client.send("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n0123456789");
        client.reply().expect(404, "early");
        held.push(client);
        get("/other").send(&gate).expect(200, &format!("after {number} early answers"));
    }
    until_true("the gate gives up connections that nobody can use", || {
        service.connections().iter().filter(|connection| !connection.closed).count() <= 2
    });
}

#[test]
fn the_length_of_chunks_is_the_chunks_own() {
    let service = Service::raw(
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    );
    let gate = Setup::public(&service).start();
    let reply = get("/").send(&gate);
    assert!(reply.status == 502 || (reply.header("content-length").is_none() && reply.text() == "hello"));
}

#[test]
fn requests_follow_each_other_on_a_multiplexed_connection() {
    let service = Http2Service::start(|_| Answer::ok("served"));
    let gate = Setup::new(service.url()).upstream("http2 = true").with(PUBLIC).start();
    let mut client = Http2::connect(gate.address());
    for _ in 0..20 {
        assert_eq!(client.send("POST", "/", &[], Frames::new(&[b"x"], &[])).status, 200);
    }
}

#[test]
fn a_silent_http2_client_does_not_hold_up_the_end() {
    let service = Service::ok("served");
    let gate = Setup::public(&service).with("[server.shutdown]\ngrace = \"20s\"").start();
    let mut client = gate.connect();
    // A preface and empty settings, and never an answer to a ping.
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".as_slice());
    until_true("the connection is counted", || gate.metric("connections", &[]) >= 1.0);
    let begin = Instant::now();
    gate.terminate();
    assert_eq!(gate.wait_exit(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(12), "{:?}", begin.elapsed());
}

#[test]
fn trace_and_connect_in_any_case_go_nowhere() {
    let service = Service::ok("");
    let gate = Setup::public(&service).start();
    for method in ["trace", "Trace", "TRACE", "connect", "CONNECT"] {
        let status = ask(method, "/").send(&gate).status;
        assert!(matches!(status, 400 | 405), "{method}: {status}");
    }
    service.assert_untouched("no method");
}
