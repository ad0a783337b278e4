//! Bounds on what a client may send and hold.

use crate::support::client::{Client, Reply};
use crate::support::gate::Gate;
use crate::support::http2::{Frames, Http2};
use crate::support::request::{ask, get};
use crate::support::service::Service;
use crate::support::setup::Setup;
use crate::support::wait::{let_pass, until_true};
use std::time::{Duration, Instant};

fn limited(service: &Service, limits: &str) -> Gate {
    Setup::public(service).with(&format!("[server.limits]\n{limits}")).start()
}

#[track_caller]
fn assert_limited(gate: &Gate, reply: Reply, case: &str, status: u16, reason: &str) {
    let reply = reply.expect(status, case);
    assert_eq!(gate.reason(&reply), reason, "{case}");
    assert_eq!(reply.json()["status"], status, "{case}");
}

#[test]
fn heads_of_too_many_bytes() {
    let service = Service::ok("");
    let gate = limited(&service, "header_bytes = \"4KiB\"");
    get("/").header("X-Long", &"x".repeat(3500)).send(&gate).expect(200, "within");
    let before = service.received();
    for (case, ask) in [
        ("one long field", get("/").header("X-Long", &"x".repeat(5000))),
        (
            "many short ones",
            (0..90).fold(get("/"), |ask, number| ask.header(&format!("X-{number}"), &"x".repeat(50))),
        ),
        ("far too long", get("/").header("X-Long", &"x".repeat(200_000))),
    ] {
        let mut client = gate.connect();
        client.send_anyway(ask.bytes());
        let reply = client.reply().expect(431, case);
        assert_eq!(gate.reason(&reply), "head_too_large", "{case}");
        client.assert_closed(case);
    }
    let mut client = gate.connect();
    client.send_anyway(get(&format!("/{}", "x".repeat(5000))).bytes());
    let status = client.reply().status;
    assert!(status == 431 || status == 414, "a long target: {status}");
    assert_eq!(service.received(), before);
    // Over HTTP/2 as well.
    let mut client = Http2::connect(gate.address());
    assert_eq!(client.get("/", &[("x-long", &"x".repeat(3000))]).status, 200);
    let reply = client.get("/h2", &[("x-long", &"x".repeat(5000))]);
    assert_eq!((reply.status, reply.header("content-type")), (431, Some("application/problem+json")));
    assert_eq!(gate.access_to("/h2")["reason"], "head_too_large");
    // Each field counts 32 bytes more (RFC 9113 §6.5.2).
    let short: Vec<(String, String)> =
        (0..80).map(|number| (format!("x-{number}"), "x".repeat(20))).collect();
    let short: Vec<(&str, &str)> = short.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(client.get("/h2", &short).status, 431);
    // Twice as much is refused before it is read.
    let far = "x".repeat(20_000);
    let request =
        crate::support::http2::request("GET", "http://gate.test/", &[("x-long", &far)], Frames::default());
    let reply = client.try_request(request);
    assert!(reply.is_err() || reply.unwrap().status == 431);
    assert_eq!(service.requests().len(), 2);
}

#[test]
fn heads_of_too_many_fields() {
    let service = Service::ok("");
    let gate = limited(&service, "headers = 20");
    let fields =
        |count: usize| (0..count).fold(get("/"), |ask, number| ask.header(&format!("X-{number}"), "1"));
    // Host is one of them.
    fields(19).send(&gate).expect(200, "just enough");
    let before = service.received();
    for count in [20, 50, 1000] {
        let mut client = gate.connect();
        client.send_anyway(fields(count).bytes());
        let reply = client.reply();
        assert_limited(&gate, reply, &format!("{count} fields"), 431, "head_too_large");
    }
    let mut client = Http2::connect(gate.address());
    let headers: Vec<(String, &str)> = (0..50).map(|number| (format!("x-{number}"), "1")).collect();
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    assert_eq!(client.get("/", &headers).status, 431);
    assert_eq!(service.received(), before);
}

#[test]
fn the_default_limits() {
    let service = Service::ok("");
    let gate = Setup::public(&service).start();
    get("/").header("X-Long", &"x".repeat(60_000)).send(&gate).expect(200, "60 kB");
    let mut client = Http2::connect(gate.address());
    assert_eq!(client.get("/", &[("x-long", &"x".repeat(60_000))]).status, 200, "60 kB over HTTP/2");
    let many = (0..99).fold(get("/"), |ask, number| ask.header(&format!("X-{number}"), "1"));
    many.send(&gate).expect(200, "100 fields");
    let mut client = gate.connect();
    client.send_anyway(get("/").header("X-Long", &"x".repeat(70_000)).bytes());
    client.reply().expect(431, "70 kB");
}

#[test]
fn heads_that_come_too_slowly() {
    let service = Service::ok("");
    let gate = limited(&service, "header_timeout = \"500ms\"");
    for beginning in [
        "G",
        "GET / HT",
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX-A",
        "GET / HTTP/1.1\r\nHost: a\r\n",
    ] {
        let mut client = gate.connect();
        let begin = Instant::now();
        client.send(beginning);
        let reply = client.reply().expect(408, beginning);
        assert!(begin.elapsed() > Duration::from_millis(400), "{beginning}: {:?}", begin.elapsed());
        assert!(reply.headers.lists("connection", "close"), "{reply:?}");
        client.assert_closed(beginning);
    }
    // Drop by drop does not start the time anew.
    let mut client = gate.connect();
    let begin = Instant::now();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n");
    while begin.elapsed() < Duration::from_millis(1500) {
        client.send_anyway("X-A: 1\r\n");
        let_pass(Duration::from_millis(50));
    }
    client.send_anyway("\r\n");
    match client.try_reply("GET") {
        Ok(reply) => assert_eq!(reply.status, 408),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
    }
    // A slow head behind a good request, too.
    let mut client = gate.connect();
    get("/").on(&mut client).expect(200, "good");
    client.send("GET / HTTP/1.1\r\n");
    client.reply().expect(408, "the second");
    gate.wait_metric("decisions_total", &[("reason", "head_timeout")], 7);
    service.only();
}

#[test]
fn connections_without_a_request() {
    let service = Service::ok("");
    let gate = limited(&service, "idle_timeout = \"500ms\"");
    let mut client = gate.connect();
    get("/").on(&mut client).expect(200, "first");
    let begin = Instant::now();
    client.assert_closed("idle");
    assert!(begin.elapsed() > Duration::from_millis(300), "{:?}", begin.elapsed());
    let mut silent = gate.connect();
    silent.assert_closed("never said a word");
    // Who is busy is not idle.
    let mut client = gate.connect();
    for _ in 0..5 {
        get("/").on(&mut client).expect(200, "busy");
        let_pass(Duration::from_millis(200));
    }
}

#[test]
fn a_slow_body_is_not_a_slow_head() {
    let service = Service::ok("done");
    let gate = limited(&service, "header_timeout = \"300ms\"\nidle_timeout = \"300ms\"");
    let mut client = gate.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n");
    for byte in ["a", "b", "c"] {
        let_pass(Duration::from_millis(400));
        client.send(byte);
    }
    client.reply().expect(200, "slow body");
    assert_eq!(service.only().body, b"abc");
}

#[test]
fn bodies_of_too_many_bytes() {
    let service = Service::ok("");
    let gate = limited(&service, "body_bytes = \"1KiB\"");
    ask("POST", "/").body("x".repeat(1024)).send(&gate).expect(200, "just enough");
    let before = service.received();
    let mut client = gate.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\n\r\n");
    let reply = client.reply();
    assert_limited(&gate, reply, "by its length, before it is read", 413, "body_too_large");
    let mut client = gate.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n");
    let reply = client.reply();
    assert!(reply.interim.is_empty());
    assert_limited(&gate, reply, "expecting", 413, "body_too_large");
    assert_eq!(service.received(), before);

    let mut client = gate.connect();
    client.send("POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = format!("100\r\n{}\r\n", "x".repeat(256));
    for _ in 0..4 {
        client.send(&chunk);
    }
    client.send_anyway("1\r\nx\r\n0\r\n\r\n");
    let reply = client.reply();
    assert_limited(&gate, reply, "by what came in chunks", 413, "body_too_large");
    service.wait_closed(1.min(service.connections().len() - 1));
    let chunked = service.requests().into_iter().find(|request| request.target == "/chunked");
    assert!(
        chunked.is_none_or(|request| !request.complete && request.length <= 1024),
        "it took it for whole"
    );
    let mut client = Http2::connect(gate.address());
    let body = || Frames::new(&[&[b'x'; 800], &[b'x'; 800]], &[]);
    assert_eq!(client.send("POST", "/h2", &[("content-length", "1600")], body()).status, 413);
    assert_eq!(client.send("POST", "/h2", &[], body()).status, 413);
}

#[test]
fn more_connections_wait_and_none_is_dropped() {
    let service = Service::ok("");
    let gate = limited(&service, "connections = 2");
    let mut open: Vec<Client> = (0..2).map(|_| gate.connect()).collect();
    for client in &mut open {
        get("/").on(client).expect(200, "within the limit");
    }
    let mut waiting = gate.connect();
    waiting.send(get("/waiting").bytes());
    assert!(waiting.silent_for(Duration::from_millis(500)), "beyond the limit");
    assert!(!service.targets().contains(&"/waiting".to_owned()));
    for client in &mut open {
        get("/").on(client).expect(200, "who was there is served as before");
    }
    drop(open);
    waiting.reply().expect(200, "as soon as there is room");
    get("/livez").send_admin(&gate).expect(200, "probes do not count");
    until_true("the gauge says so", || gate.metric("connections", &[]) < 1.5);
}
