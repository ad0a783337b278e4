//! Long-lived traffic ends with what it was opened with: the token, the API key, the key that signed it.

use crate::support::client::Client;
use crate::support::frames::{CLOSE, Frame, Socket, TEXT, echo, handshake};
use crate::support::gate::Gate;
use crate::support::http2::{Answer, Frames, Http2, Http2Service};
use crate::support::idp::Idp;
use crate::support::keys::Key;
use crate::support::request::{Ask, get};
use crate::support::service::Service;
use crate::support::setup::Setup;
use crate::support::wait::{PATIENCE, throughout, until_true};
use aws_lc_rs::digest::{SHA256, digest};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const KEYS: &str = "\n[authenticators.keys]\nkind = \"api_key\"\nfile = \"api-keys.toml\"\n";

fn entry(id: &str, lines: &str) -> String {
    let hex = digest(&SHA256, id.as_bytes()).as_ref().iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    });
    format!("[[keys]]\nid = \"{id}\"\nsha256 = \"{hex}\"\n{lines}\n")
}

fn exact(service: &Service, idp: &Idp) -> Setup {
    let authenticator = format!("{}leeway = \"0s\"\n", idp.authenticator("main"));
    Setup::new(service.url()).with(&authenticator)
}

#[test]
fn a_tunnel_ends_when_its_api_key_is_taken_away_or_changed() {
    let service = Service::start(echo);
    let file = [entry("gone", ""), entry("changed", "plan = \"pro\""), entry("stays", "")].concat();
    let gate = Setup::new(service.url()).file("api-keys.toml", file).with(KEYS).start();
    let open = |key: &str| Socket::open(&gate, &handshake("/ws").header("x-api-key", key));
    let (mut gone, mut changed, mut stays) = (open("gone"), open("changed"), open("stays"));
    gone.echo("a");
    gate.setup.dir.write("api-keys.toml", [entry("changed", "plan = \"free\""), entry("stays", "")].concat());
    for socket in [&mut gone, &mut changed] {
        let last = socket.read();
        assert_eq!(last.code(), Some(1008), "{last:?}");
        assert_eq!(&last.payload[2..], b"the session was revoked");
        socket.client().assert_closed("after 1008");
    }
    throughout("the others stay", Duration::from_millis(600), || {
        stays.echo("still");
        true
    });
    gate.wait_metric("tunnels", &[], 1);
}

#[test]
fn a_tunnel_ends_when_the_key_that_signed_its_token_is_withdrawn() {
    let (service, idp) = (Service::start(echo), Idp::start());
    let authenticator = format!("{}jwks_refresh = \"1s\"\n", idp.authenticator("main"));
    let gate = Setup::new(service.url()).with(&authenticator).start();
    let mut socket = Socket::open(&gate, &handshake("/ws").bearer(&idp.token().build()));
    socket.echo("before");
    idp.publish(&[Key::rsa_other().kid("new").jwk()]);
    assert_eq!(socket.read().code(), Some(1008));
}

#[test]
fn where_an_expiry_is_ignored_a_revocation_is_not() {
    let service = Service::start(echo);
    let gate = Setup::new(service.url())
        .file("api-keys.toml", entry("gone", ""))
        .with(KEYS)
        .route("/ws", "websocket.on_expiry = \"ignore\"")
        .start();
    let mut socket = Socket::open(&gate, &handshake("/ws").header("x-api-key", "gone"));
    gate.setup.dir.write("api-keys.toml", entry("another", ""));
    assert_eq!(socket.read().code(), Some(1008));
}

#[test]
fn data_both_ways_and_a_client_that_does_not_read_hold_up_nothing() {
    let service = Service::start(|exchange| {
        let answer = crate::support::frames::accepted(&exchange.request(), "");
        exchange.write(answer)?;
        let frame = Frame::new(TEXT, vec![b'x'; 100_000]).bytes();
        loop {
            exchange.write(&frame)?;
        }
    });
    let idp = Idp::start();
    let gate = exact(&service, &idp).start();
    let mut socket = Socket::open(&gate, &handshake("/ws").bearer(&idp.token().expires_in(2).build()));
    let begin = Instant::now();
    // It never reads, and the service never ends: a second after the end of the token both are rid of each other.
    service.wait_closed(0);
    gate.wait_metric("tunnels", &[], 0);
    assert!(begin.elapsed() < Duration::from_secs(8), "it took {:?}", begin.elapsed());
    let mut whole = 0;
    while let Ok(frame) = socket.try_read() {
        assert!(frame.opcode == CLOSE || frame.payload.len() == 100_000, "inside a frame: {frame:?}");
        whole += 1;
    }
    assert!(whole > 0);
}

/// Sends events until nobody takes them any more.
fn ticking(running: &Arc<AtomicBool>) -> Service {
    let running = Arc::clone(running);
    Service::start(move |exchange| {
        running.store(true, Ordering::SeqCst);
        exchange.write(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        )?;
        while exchange.write("8\r\ndata: 1\n\r\n").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
        running.store(false, Ordering::SeqCst);
        Ok(())
    })
}

const CLOSES: &str = "on_expiry = \"close\"";

fn stream(gate: &Gate, ask: &Ask) -> (Client, crate::support::wire::Body) {
    let mut client = gate.connect();
    client.send(ask.bytes());
    let (reply, body) = client.head();
    assert_eq!(reply.status, 200);
    (client, body)
}

#[test]
fn a_response_breaks_off_when_its_token_expires() {
    let (running, idp) = (Arc::default(), Idp::start());
    let service = ticking(&running);
    let gate = exact(&service, &idp).route("/events", CLOSES).start();
    let begin = Instant::now();
    let ask = get("/events").bearer(&idp.token().expires_in(2).build());
    let (mut client, mut body) = stream(&gate, &ask);
    let end = loop {
        match client.piece(&mut body) {
            Ok(Some(_)) => assert!(begin.elapsed() < PATIENCE, "it goes on"),
            other => break other,
        }
    };
    assert!(end.is_err(), "it must not look like the end: {end:?}");
    until_true("the service is told", || !running.load(Ordering::SeqCst));
    let line = gate.access_to("/events");
    assert_eq!(
        (&line["status"], &line["reason"], &line["decision"]),
        (&200.into(), &"token_expired".into(), &"allow".into())
    );
}

#[test]
fn a_response_breaks_off_when_its_session_is_revoked_even_if_nothing_comes() {
    let service = Service::start(|exchange| {
        exchange.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")?;
        exchange.hold()
    });
    let gate = Setup::new(service.url())
        .file("api-keys.toml", entry("gone", ""))
        .with(KEYS)
        .route("/events", CLOSES)
        .start();
    let (mut client, mut body) = stream(&gate, &get("/events").header("x-api-key", "gone"));
    assert_eq!(client.piece(&mut body).unwrap().unwrap(), b"one");
    gate.setup.dir.write("api-keys.toml", entry("another", ""));
    assert!(client.piece(&mut body).is_err(), "it must not look like the end");
    service.wait_closed(0);
    assert_eq!(gate.access_to("/events")["reason"], "token_revoked");
}

#[test]
fn responses_go_on_unless_a_rule_says_otherwise() {
    let (running, idp) = (Arc::default(), Idp::start());
    let service = ticking(&running);
    let gate = exact(&service, &idp).start();
    let (mut client, mut body) = stream(&gate, &get("/events").bearer(&idp.token().expires_in(1).build()));
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(3) {
        client.piece(&mut body).unwrap().unwrap();
    }
}

#[test]
fn a_request_that_is_still_being_sent_stops_and_is_answered() {
    let (service, idp) = (Service::start(|exchange| exchange.finish().and(Ok(()))), Idp::start());
    let gate = exact(&service, &idp).route("/upload", CLOSES).start();
    let token = idp.token().expires_in(2).build();
    let mut client = gate.connect();
    client.send(format!(
        "POST /upload HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Length: 1000000\r\n\r\nbegun"
    ));
    let reply = client.reply().expect(401, "no answer had begun");
    assert_eq!(gate.reason(&reply), "token_expired");
    service.wait_closed(0);
}

#[test]
fn short_responses_under_a_lease_are_whole_and_connections_are_reused() {
    let (service, idp) = (Service::ok("whole"), Idp::start());
    let gate = exact(&service, &idp).route("/**", CLOSES).start();
    let token = idp.token().build();
    let mut client = gate.connect();
    for _ in 0..5 {
        let reply = get("/a").bearer(&token).on(&mut client).expect(200, "short");
        assert_eq!(reply.text(), "whole");
    }
    assert_eq!(service.connections().len(), 1);
}

#[test]
fn over_http2_a_grpc_call_is_told_in_trailers_and_others_are_reset() {
    let (running, idp) = (Arc::default(), Idp::start());
    let service = ticking(&running);
    let gate = exact(&service, &idp).route("/**", CLOSES).start();
    let mut client = Http2::connect(gate.address());
    let bearer = || format!("Bearer {}", idp.token().expires_in(2).build());
    let token = bearer();
    let headers =
        [("content-type", "application/grpc"), ("te", "trailers"), ("authorization", token.as_str())];
    let reply = client.send("POST", "/pkg.S/M", &headers, Frames::default());
    assert_eq!(reply.trailers.one("grpc-status"), Some("16"), "{reply:?}");
    until_true("the service is told", || !running.load(Ordering::SeqCst));
    let token = bearer();
    let plain = crate::support::http2::request(
        "GET",
        "http://gate.test/events",
        &[("authorization", token.as_str())],
        Frames::default(),
    );
    assert!(client.try_request(plain).is_err(), "it must not look like the end");
    assert_eq!(gate.access_to("/events")["reason"], "token_expired");
}

#[test]
fn a_client_that_goes_away_in_mid_body_is_on_record_as_gone() {
    let (service, idp) = (Service::start(|exchange| exchange.finish().and(Ok(()))), Idp::start());
    let gate = Setup::guarded(&service, &idp).start();
    let mut client = gate.connect();
    let token = idp.token().build();
    client.send(format!(
        "POST /upload HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Length: 1000000\r\n\r\nbegun"
    ));
    service.begun(0);
    let begin = Instant::now();
    drop(client);
    service.wait_closed(0);
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    let line = gate.access_to("/upload");
    assert_eq!(
        (&line["status"], &line["reason"], &line["decision"]),
        (&499.into(), &"allowed".into(), &"allow".into())
    );
}

#[test]
fn short_responses_of_an_http2_service_are_whole_too() {
    let idp = Idp::start();
    let service = Http2Service::start(|_| Answer::ok("short"));
    let authenticator = format!("{}leeway = \"0s\"\n", idp.authenticator("main"));
    let gate =
        Setup::new(service.url()).upstream("http2 = true").with(&authenticator).route("/**", CLOSES).start();
    let token = format!("Bearer {}", idp.token().build());
    let mut client = Http2::connect(gate.address());
    let reply = client.get("/a", &[("authorization", &token)]);
    assert_eq!((reply.status, reply.body.as_slice()), (200, b"short".as_slice()), "whole under a lease");
}
