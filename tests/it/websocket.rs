//! WebSocket handshakes: judged before anything is upgraded, completed only by the service's own good answer.

use crate::support::frames::{KEY, Socket, accepted, echo, handshake};
use crate::support::idp::Idp;
use crate::support::request::{Ask, ask, get};
use crate::support::service::Service;
use crate::support::setup::Setup;
use tokio_tungstenite::tungstenite;

#[test]
fn frames_go_both_ways_untouched() {
    let (service, idp) = (Service::start(echo), Idp::start());
    let gate = Setup::guarded(&service, &idp).start();
    let mut socket = Socket::open(&gate, &handshake("/ws?a=%2f").bearer(&idp.token().build()));
    socket.echo("hello");
    socket.echo(&"long ".repeat(40_000));
    let seen = service.begun(0);
    assert_eq!((seen.target.as_str(), seen.header("sec-websocket-key")), ("/ws?a=%2f", Some(KEY)));
    assert_eq!(seen.header("sec-websocket-version"), Some("13"));
    assert!(
        seen.headers.lists("connection", "upgrade") && seen.headers.lists("upgrade", "websocket"),
        "{seen:?}"
    );
    assert_eq!(seen.header("x-customer-id"), Some("user-1"));
    gate.wait_metric("tunnels", &[], 1);
    drop(socket);
    service.wait_closed(0);
    gate.wait_metric("tunnels", &[], 0);
    let entry = gate.access_to("/ws");
    assert_eq!((&entry["status"], &entry["decision"]), (&101.into(), &"allow".into()));
}

#[test]
fn a_real_client_is_content() {
    let (service, idp) = (Service::start(echo), Idp::start());
    let gate = Setup::guarded(&service, &idp).start();
    let stream = std::net::TcpStream::connect(gate.address()).unwrap();
    let request = http::Request::get(format!("ws://{}/ws", gate.address()))
        .header("host", "gate.test")
        .header("connection", "keep-alive, Upgrade")
        .header("upgrade", "WebSocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", KEY)
        .header("sec-websocket-extensions", "permessage-deflate; client_max_window_bits")
        .header("authorization", format!("Bearer {}", idp.token().build()))
        .body(())
        .unwrap();
    let (mut socket, _) = tungstenite::client(request, stream).unwrap();
    for message in ["one", "two", "three"] {
        socket.send(tungstenite::Message::text(message)).unwrap();
        assert_eq!(socket.read().unwrap().to_text().unwrap(), message);
    }
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
    service.wait_closed(0);
}

#[test]
fn what_comes_with_the_handshake_is_not_lost() {
    // The service's first frame in one packet with its 101, and the client's with its request.
    let service = Service::start(|exchange| {
        let answer = accepted(&exchange.request(), "");
        let frame = crate::support::frames::Frame::text("early").bytes();
        exchange.write([answer.as_bytes(), &frame].concat())?;
        let wire = exchange.wire();
        let frame = crate::support::frames::Frame::read(wire)?;
        wire.write(&crate::support::frames::Frame { masked: false, ..frame }.bytes())
    });
    let gate = Setup::public(&service).start();
    let mut client = gate.connect();
    let eager = crate::support::frames::Frame::text("eager").masked().bytes();
    client.send([handshake("/ws").bytes(), eager].concat());
    assert_eq!(client.head().0.status, 101);
    for expected in ["early", "eager"] {
        let frame = crate::support::frames::Frame::read(client.wire()).unwrap();
        assert_eq!(frame.payload, expected.as_bytes());
    }
    client.assert_closed("the service has ended");
}

#[test]
fn denied_before_the_upgrade_and_without_a_word_to_the_service() {
    let (service, idp) = (Service::start(echo), Idp::start());
    let gate = Setup::guarded(&service, &idp)
        .route("/admin", "require.roles = [\"admin\"]")
        .route("/closed", "access = \"deny\"")
        .start();
    let token = idp.token().build();
    let expired = idp.token().expires_in(-60).build();
    for (case, ask, status, reason) in [
        ("no token", handshake("/ws"), 401, "credential_missing"),
        ("bad token", handshake("/ws").bearer("abc"), 401, "token_malformed"),
        ("expired", handshake("/ws").bearer(&expired), 401, "token_expired"),
        ("no role", handshake("/admin").bearer(&token), 403, "role_missing"),
        ("no rule", handshake("/closed").bearer(&token), 403, "route_denied"),
        ("token in the query", handshake(&format!("/ws?token={token}")), 401, "credential_missing"),
    ] {
        let reply = ask.send(&gate).expect(status, case);
        assert_eq!(gate.reason(&reply), reason, "{case}");
        assert!(
            !reply.headers.has("sec-websocket-accept") && !reply.headers.has("upgrade"),
            "{case}: {reply:?}"
        );
        assert_eq!(reply.json()["status"], status, "{case}");
        service.assert_untouched(case);
    }
}

#[test]
fn handshakes_that_are_none_are_refused() {
    let service = Service::start(echo);
    let gate = Setup::public(&service).start();
    let base = || get("/ws").header("Upgrade", "websocket").header("Connection", "Upgrade");
    let key = |ask: Ask| ask.header("Sec-WebSocket-Key", KEY);
    let version = |ask: Ask| ask.header("Sec-WebSocket-Version", "13");
    let method = |name: &str| {
        let ask = ask(name, "/ws").header("Upgrade", "websocket").header("Connection", "Upgrade");
        version(key(ask))
    };
    let cases: Vec<(&str, Ask)> = vec![
        ("no key", version(base())),
        ("no version", key(base())),
        ("version 8", key(base()).header("Sec-WebSocket-Version", "8")),
        ("version twice", version(version(key(base())))),
        ("empty key", version(base()).header("Sec-WebSocket-Key", "")),
        ("short key", version(base()).header("Sec-WebSocket-Key", "c2hvcnQ=")),
        ("long key", version(base()).header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZXg=")),
        ("key that is no base64", version(base()).header("Sec-WebSocket-Key", "!!!!!!!!!!!!!!!!!!!!!!==")),
        ("two keys", version(key(key(base())))),
        ("a body", handshake("/ws").body("x")),
        ("chunks", handshake("/ws").header("Transfer-Encoding", "chunked")),
        ("POST", method("POST")),
        ("PUT", method("PUT")),
        ("OPTIONS", method("OPTIONS")),
        ("no Connection: upgrade", version(key(get("/ws").header("Upgrade", "websocket")))),
        (
            "Connection names something else",
            version(key(get("/ws").header("Upgrade", "websocket").header("Connection", "keep-alive"))),
        ),
    ];
    for (case, ask) in cases {
        let mut client = gate.connect();
        client.send_anyway(ask.bytes());
        let reply = client.reply().expect(400, case);
        assert_eq!(gate.reason(&reply), "head_malformed", "{case}");
        service.assert_untouched(case);
    }
    let mut client = gate.connect();
    let old = String::from_utf8(handshake("/ws").bytes()).unwrap().replace("HTTP/1.1", "HTTP/1.0");
    client.send(old);
    client.reply().expect(400, "HTTP/1.0");
    service.assert_untouched("HTTP/1.0");
}

#[test]
fn odd_but_valid_handshakes_pass() {
    let service = Service::start(echo);
    let gate = Setup::public(&service).start();
    for (case, upgrade, connection) in [
        ("plain", "websocket", "Upgrade"),
        ("letter case", "WebSocket", "upgrade"),
        ("a list", "websocket", "keep-alive, Upgrade"),
        ("no spaces", "websocket", "keep-alive,UPGRADE"),
    ] {
        let ask = get("/ws")
            .header("upgrade", upgrade)
            .header("connection", connection)
            .header("sec-websocket-key", KEY)
            .header("sec-websocket-version", "13");
        Socket::open(&gate, &ask).echo(case);
    }
}

#[test]
fn the_service_must_really_accept() {
    let accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    let switching = "HTTP/1.1 101 Switching Protocols\r\n";
    for (case, answer) in [
        ("no accept", format!("{switching}Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n")),
        (
            "wrong accept",
            format!(
                "{switching}Upgrade: websocket\r\nConnection: Upgrade\r\n{}\r\n",
                accept.replace("s3p", "x3p")
            ),
        ),
        ("no upgrade", format!("{switching}Connection: Upgrade\r\n{accept}\r\n")),
        ("another protocol", format!("{switching}Upgrade: h2c\r\nConnection: Upgrade\r\n{accept}\r\n")),
        (
            "two accepts",
            format!("{switching}Upgrade: websocket\r\nConnection: Upgrade\r\n{accept}{accept}\r\n"),
        ),
    ] {
        let service = Service::start(move |exchange| {
            exchange.write(&answer)?;
            // What a tunnel would let through.
            exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled")?;
            exchange.hold()
        });
        let gate = Setup::public(&service).start();
        let mut client = gate.connect();
        let reply = handshake("/ws").on(&mut client).expect(502, case);
        assert_eq!(gate.reason(&reply), "upstream_failed", "{case}");
        assert!(!reply.text().contains("smuggled"), "{case}");
        service.wait_closed(0);
    }
}

#[test]
fn the_services_refusal_is_passed_on() {
    let service = Service::raw(
        "HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 7\r\nContent-Length: 2\r\n\r\nno",
    );
    let gate = Setup::public(&service).start();
    let mut client = gate.connect();
    let reply = handshake("/ws").on(&mut client).expect(426, "refused by the service");
    assert_eq!((reply.header("sec-websocket-version"), reply.text().as_str()), (Some("7"), "no"));
    // It stays an HTTP connection, and bytes after the handshake stay requests.
    get("/next").on(&mut client).expect(426, "the next request");
    assert_eq!(service.requests().len(), 2);
}

#[test]
fn switching_unasked_is_a_failure() {
    let service =
        Service::raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
    let gate = Setup::public(&service).start();
    let reply = get("/").send(&gate).expect(502, "101 without an upgrade");
    assert_eq!(gate.reason(&reply), "upstream_failed");
}

#[test]
fn any_other_upgrade_is_a_request_without_it() {
    let service = Service::ok("plain");
    let gate = Setup::public(&service).start();
    for protocol in ["h2c", "TLS/1.0", "connect-udp", "websocketx", "spdy/3, h2c"] {
        let ask = get("/")
            .header("Upgrade", protocol)
            .header("Connection", "Upgrade, HTTP2-Settings")
            .header("HTTP2-Settings", "AAMAAABk");
        let reply = ask.send(&gate).expect(200, protocol);
        assert_eq!(reply.text(), "plain");
        let seen = service.last();
        assert!(
            !seen.headers.has("upgrade") && !seen.headers.lists("connection", "upgrade"),
            "{protocol}: {seen:?}"
        );
        assert!(!seen.headers.has("http2-settings"), "{protocol}: {seen:?}");
    }
}

#[test]
fn only_known_origins_where_they_are_listed() {
    let service = Service::start(echo);
    let gate = Setup::public(&service)
        .route("/ws", "[routes.websocket]\nallowed_origins = [\"https://app.test\", \"https://b.test:8443\"]")
        .start();
    for origin in ["https://app.test", "https://b.test:8443"] {
        Socket::open(&gate, &handshake("/ws").header("Origin", origin)).echo(origin);
    }
    let before = service.received();
    for (case, ask) in [
        ("another", handshake("/ws").header("Origin", "https://evil.test")),
        ("another scheme", handshake("/ws").header("Origin", "http://app.test")),
        ("another port", handshake("/ws").header("Origin", "https://app.test:8443")),
        ("a longer host", handshake("/ws").header("Origin", "https://app.test.evil.test")),
        ("a subdomain", handshake("/ws").header("Origin", "https://x.app.test")),
        ("null", handshake("/ws").header("Origin", "null")),
        ("empty", handshake("/ws").header("Origin", "")),
        ("two", handshake("/ws").header("Origin", "https://app.test").header("Origin", "https://evil.test")),
        ("a list", handshake("/ws").header("Origin", "https://app.test, https://evil.test")),
    ] {
        let reply = ask.send(&gate).expect(403, case);
        assert_eq!(gate.reason(&reply), "origin_refused", "{case}");
    }
    assert_eq!(service.received(), before);
    Socket::open(&gate, &handshake("/other").header("Origin", "https://evil.test")).echo("not listed");
    get("/ws").header("Origin", "https://evil.test").send(&gate).expect(200, "only handshakes are asked");
}
