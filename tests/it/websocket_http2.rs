//! WebSockets over HTTP/2 (RFC 8441): judged and carried as those over HTTP/1.1 are.

use crate::support::frames::{Frame, echo};
use crate::support::gate::Gate;
use crate::support::http2::{Channel, Http2, Message};
use crate::support::idp::Idp;
use crate::support::service::Service;
use crate::support::setup::Setup;
use crate::support::wait::{throughout, until};
use std::time::Duration;

const WS: &str = "http://gate.test/ws?a=%2f";

/// Connected, and with the gate's settings at hand: they say whether the extension is there.
fn connect(gate: &Gate) -> Http2 {
    let mut client = Http2::connect(gate.address());
    client.get("http://gate.test/nothing", &[]);
    client
}

fn ask(client: &mut Http2, uri: &str, headers: &[(&str, &str)]) -> (Message, Option<Channel>) {
    let version = [("sec-websocket-version", "13")];
    client.connect_to(uri, Some("websocket"), &[headers, &version].concat()).unwrap()
}

fn frame(channel: &mut Channel) -> Frame {
    let head = channel.exactly(2).unwrap();
    let payload = channel.exactly(usize::from(head[1] & 0x7f)).unwrap();
    Frame { last: head[0] & 0x80 != 0, opcode: head[0] & 0x0f, masked: head[1] & 0x80 != 0, payload }
}

fn echoes(channel: &mut Channel, text: &str) {
    channel.send(&Frame::text(text).masked().bytes());
    assert_eq!(frame(channel).payload, text.as_bytes());
}

/// Only the services' requests for a WebSocket.
fn handshakes(service: &Service) -> usize {
    service.targets().iter().filter(|target| target.starts_with("/ws")).count()
}

#[test]
fn frames_go_both_ways_on_several_streams_of_one_connection() {
    let (service, idp) = (Service::start(echo), Idp::start());
    let gate = Setup::guarded(&service, &idp).start();
    let bearer = format!("Bearer {}", idp.token().build());
    let mut client = connect(&gate);
    let headers =
        [("authorization", bearer.as_str()), ("x-customer-id", "forged"), ("sec-websocket-key", "mine")];
    let (reply, one) = ask(&mut client, WS, &headers);
    assert_eq!(reply.status, 200);
    for name in ["sec-websocket-accept", "upgrade", "connection", "content-length"] {
        assert_eq!(reply.header(name), None, "{name}");
    }
    let (_, other) = ask(&mut client, WS, &headers);
    let (mut one, mut other) = (one.unwrap(), other.unwrap());
    echoes(&mut one, "one");
    echoes(&mut other, "other");
    echoes(&mut one, "one again");
    let seen =
        until("the handshake", || service.requests().into_iter().find(|seen| seen.target.starts_with("/ws")));
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/ws?a=%2f"));
    assert_eq!(seen.header("x-customer-id"), Some("user-1"));
    assert_eq!((seen.header("sec-websocket-version"), seen.header("host")), (Some("13"), Some("gate.test")));
    assert_ne!(seen.header("sec-websocket-key"), Some("mine"), "a key of our own");
    gate.wait_metric("tunnels", &[], 2);
    drop(one);
    gate.wait_metric("tunnels", &[], 1);
    echoes(&mut other, "still there");
    let line = gate.access_to("/ws");
    assert_eq!(
        (&line["status"], &line["method"], &line["decision"]),
        (&200.into(), &"GET".into(), &"allow".into())
    );
    assert!(line["bytes"].as_u64().unwrap() > 0);
}

#[test]
fn refused_as_a_get_would_be_and_without_a_word_to_the_service() {
    let (service, idp) = (Service::start(echo), Idp::start());
    let gate = Setup::guarded(&service, &idp)
        .route("/ws", "methods = [\"GET\"]\nrequire.roles = [\"admin\"]")
        .route("/ws/origin", "websocket.allowed_origins = [\"https://app.example\"]")
        .route("/ws/close", "websocket.on_denied = \"close\"")
        .start();
    let bearer = format!("Bearer {}", idp.token().build());
    let auth = ("authorization", bearer.as_str());
    let mut client = connect(&gate);
    for (case, uri, protocol, headers, status) in [
        ("no token", "http://gate.test/ws", Some("websocket"), vec![("sec-websocket-version", "13")], 401),
        (
            "no role",
            "http://gate.test/ws",
            Some("websocket"),
            vec![("sec-websocket-version", "13"), auth],
            403,
        ),
        (
            "origin",
            "http://gate.test/ws/origin",
            Some("websocket"),
            vec![("sec-websocket-version", "13"), auth],
            403,
        ),
        ("no version", "http://gate.test/ws", Some("websocket"), vec![auth], 400),
        (
            "version 8",
            "http://gate.test/ws",
            Some("websocket"),
            vec![("sec-websocket-version", "8"), auth],
            400,
        ),
        ("another protocol", "http://gate.test/ws", Some("connect-udp"), vec![auth], 405),
        ("no protocol", "gate.test:80", None, vec![auth], 405),
    ] {
        let (reply, channel) = client.connect_to(uri, protocol, &headers).unwrap();
        assert_eq!((reply.status, channel.is_some()), (status, false), "{case}: {reply:?}");
    }
    let (reply, channel) = ask(&mut client, "http://gate.test/ws/close", &[]);
    assert_eq!(reply.status, 200, "on_denied = close");
    assert_eq!(frame(&mut channel.unwrap()).code(), Some(1008));
    assert_eq!(gate.access_to("/ws/close")["status"], 401);
    assert_eq!(handshakes(&service), 0);
}

#[test]
fn the_service_must_really_accept() {
    for (case, answer) in [
        ("200", "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled"),
        (
            "wrong accept",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        ),
    ] {
        let service = Service::raw(answer);
        let gate = Setup::public(&service).start();
        let (reply, channel) = ask(&mut connect(&gate), WS, &[]);
        assert_eq!((reply.status, channel.is_some()), (502, false), "{case}");
    }
    let service = Service::raw("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    let gate = Setup::public(&service).start();
    let (reply, channel) = ask(&mut connect(&gate), WS, &[]);
    assert_eq!((reply.status, reply.body.as_slice(), channel.is_some()), (403, b"no".as_slice(), false));
}

#[test]
fn it_ends_with_its_token_and_with_the_gate() {
    let (service, idp) = (Service::start(echo), Idp::start());
    let authenticator = format!("{}leeway = \"0s\"\n", idp.authenticator("main"));
    let gate = Setup::new(service.url())
        .with(&authenticator)
        .with("[server.shutdown]\ngrace = \"2s\"")
        .route("/ws/public", "access = \"public\"")
        .start();
    let mut client = connect(&gate);
    let bearer = format!("Bearer {}", idp.token().expires_in(2).build());
    let (_, short) = ask(&mut client, WS, &[("authorization", &bearer)]);
    let (_, long) = ask(&mut client, "http://gate.test/ws/public", &[]);
    let (mut short, mut long) = (short.unwrap(), long.unwrap());
    echoes(&mut short, "before");
    assert_eq!(frame(&mut short).code(), Some(1008));
    assert!(short.exactly(1).is_err(), "nothing after a close");
    throughout("the other goes on", Duration::from_millis(300), || {
        echoes(&mut long, "still");
        true
    });
    gate.terminate();
    assert_eq!(frame(&mut long).code(), Some(1001));
    drop(long);
    assert_eq!(gate.wait_exit(), Some(0));
}

#[test]
fn a_drain_does_not_wait_for_tunnels_but_for_requests_beside_them() {
    let (release, held) = std::sync::mpsc::channel();
    let held = std::sync::Mutex::new(held);
    let service = Service::start(move |exchange| {
        if exchange.target() == "/held" {
            held.lock().unwrap().recv().ok();
            return exchange.ok("held");
        }
        echo(exchange)
    });
    let gate = Setup::public(&service).with("[server.shutdown]\ngrace = \"20s\"").start();
    let mut client = connect(&gate);
    let (_, tunnel) = ask(&mut client, WS, &[]);
    let mut tunnel = tunnel.unwrap();
    echoes(&mut tunnel, "open");
    let waiting = std::thread::spawn(move || client.get("/held", &[]));
    service.begun(1);
    gate.terminate();
    throughout("the tunnel goes on beside a request", Duration::from_millis(700), || {
        echoes(&mut tunnel, "still");
        true
    });
    let asked = std::time::Instant::now();
    release.send(()).unwrap();
    assert_eq!(waiting.join().unwrap().body, b"held");
    assert_eq!(frame(&mut tunnel).code(), Some(1001));
    assert_eq!(gate.wait_exit(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(10), "it waited for the grace");
}

#[test]
fn a_silent_tunnel_is_no_stalled_stream() {
    let service = Service::start(echo);
    let gate = Setup::public(&service).with("[server.limits]\nwrite_timeout = \"1s\"").start();
    let mut client = connect(&gate);
    let (_, tunnel) = ask(&mut client, WS, &[]);
    let mut tunnel = tunnel.unwrap();
    throughout("the tunnel is open", Duration::from_millis(2500), || gate.metric("tunnels", &[]) > 0.5);
    echoes(&mut tunnel, "still there");
}
