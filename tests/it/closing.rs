//! What is closed rather than refused, and what is closed before its own end: WebSockets, long responses, whatever a
//! revoked credential has opened.

use crate::support::authority::{Authority, Mode};
use crate::support::client::Reply;
use crate::support::frames::{Frame, Socket, echo, handshake};
use crate::support::gate::Gate;
use crate::support::http2::{Frames, Http2};
use crate::support::idp::Idp;
use crate::support::keys::sha256_hex;
use crate::support::request::{Ask, get};
use crate::support::service::Service;
use crate::support::setup::Setup;
use crate::support::wait::until_true;
use serde_json::json;
use std::time::{Duration, Instant};

const CLOSES: &str = "[routes.websocket]\non_denied = \"close\"";

/// Opens a WebSocket that is closed at once: the handshake's answer, the close code and the reason.
#[track_caller]
fn closed(gate: &Gate, request: &Ask) -> (Reply, Option<u16>, String) {
    let mut socket = Socket::open(gate, request);
    let frame = socket.read();
    assert!(frame.payload.len() >= 2, "{frame:?}");
    let reason = String::from_utf8(frame.payload[2..].to_vec()).unwrap();
    socket.send(Frame::close(1000));
    socket.client().assert_closed("behind the close frame");
    (socket.reply, frame.code(), reason)
}

#[test]
fn a_handshake_is_refused_where_browsers_can_read_it() {
    let (idp, service) = (Idp::start(), Service::start(echo));
    let authority = Authority::start(Mode::Down);
    let gate = Setup::guarded(&service, &idp)
        .with(&authority.introspection("opaque"))
        .env("INTROSPECTION_SECRET", "s")
        .route("/ws", &format!("authenticators = [\"main\"]\nrequire.roles = [\"sailor\"]\n{CLOSES}\nallowed_origins = [\"https://app.example\"]"))
        .route("/opaque", &format!("authenticators = [\"opaque\"]\n{CLOSES}"))
        .route("/limited", &format!("access = \"public\"\nrate_limit = {{ per = \"client_ip\", limit = 1, window = \"1h\" }}\n{CLOSES}"))
        .route("/plain", "")
        .start();
    let ws = || handshake("/ws").header("Origin", "https://app.example");
    let (reply, code, reason) = closed(&gate, &ws());
    assert_eq!((code, reason.as_str()), (Some(1008), "Missing credentials"));
    let record = gate.access(&reply);
    assert_eq!(
        (record["status"].as_u64(), record["reason"].as_str()),
        (Some(401), Some("credential_missing")),
        "{record}"
    );
    assert_eq!(record["decision"], "deny");
    let expired = idp.token().expires_in(-3600).build();
    assert_eq!(closed(&gate, &ws().bearer(&expired)).1, Some(1008));
    let (_, code, reason) = closed(&gate, &ws().bearer(&idp.token().build()));
    assert_eq!((code, reason.as_str()), (Some(1008), "Missing roles: sailor"));
    let sailor = idp.token().claim("roles", json!(["sailor"])).build();
    let foreign = handshake("/ws").header("Origin", "https://evil.example").bearer(&sailor);
    assert_eq!(closed(&gate, &foreign).1, Some(1008));
    assert_eq!(closed(&gate, &handshake("/opaque").bearer("opaque")).1, Some(1013), "nobody can say");
    service.assert_untouched("refused");
    Socket::open(&gate, &ws().bearer(&sailor)).echo("who may, may");
    Socket::open(&gate, &handshake("/limited")).echo("the first");
    assert_eq!(closed(&gate, &handshake("/limited")).1, Some(1008), "too many");
    handshake("/plain").send(&gate).expect(401, "the default");
    get("/ws").send(&gate).expect(401, "no handshake");
    handshake("/ws").header("Sec-WebSocket-Version", "8").send(&gate).expect(400, "no valid handshake");
    assert!(gate.metric("tunnels", &[]) < 2.5, "what is refused is no tunnel");
}

#[test]
fn a_subprotocol_is_selected_as_browsers_want_it() {
    let (idp, service) = (Idp::start(), Service::start(echo));
    let credentials = "credentials = [{ subprotocol = \"bearer\" }]";
    let gate = Setup::guarded(&service, &idp)
        .with(&format!("[authenticators.other]\nkind = \"jwt\"\nissuer = \"https://other.example\"\n{credentials}\njwks_file = \"keys.json\""))
        .file("keys.json", crate::support::keys::key_set(&[idp.key.jwk()]).to_string())
        .route("/ws", &format!("authenticators = [\"other\"]\n{CLOSES}"))
        .start();
    let offer = |protocols: &str| handshake("/ws").header("Sec-WebSocket-Protocol", protocols);
    let (reply, code, _) = closed(&gate, &offer("bearer, not-a-token"));
    assert_eq!((code, reply.header("sec-websocket-protocol")), (Some(1008), Some("bearer")));
    let (reply, ..) = closed(&gate, &offer("chat, superchat"));
    assert_eq!(reply.header("sec-websocket-protocol"), Some("chat"));
    assert_eq!(closed(&gate, &handshake("/ws")).0.header("sec-websocket-protocol"), None);
    service.assert_untouched("refused");
}

#[test]
fn a_real_client_reads_why() {
    let service = Service::start(echo);
    let gate = Setup::public(&service).route("/ws", &format!("access = \"deny\"\n{CLOSES}")).start();
    let stream = std::net::TcpStream::connect(gate.address()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        use futures_util::StreamExt as _;
        stream.set_nonblocking(true).unwrap();
        let stream = tokio::net::TcpStream::from_std(stream).unwrap();
        let (mut socket, _) = tokio_tungstenite::client_async("ws://gate.test/ws", stream).await.unwrap();
        let message = socket.next().await.unwrap().unwrap();
        let tokio_tungstenite::tungstenite::Message::Close(Some(frame)) = message else {
            panic!("{message:?}")
        };
        assert_eq!(u16::from(frame.code), 1008);
        assert_eq!(frame.reason.as_str(), "Access to this resource is not allowed");
    });
    service.assert_untouched("refused");
}

fn keys(entries: &[(&str, &str)]) -> String {
    let entry = |(id, key): &(&str, &str)| {
        let hex = sha256_hex(key);
        format!("[[keys]]\nid = \"{id}\"\nsha256 = \"{hex}\"\nsubject = \"{id}\"\n")
    };
    entries.iter().map(entry).collect()
}

#[test]
fn tunnels_end_with_what_their_credential_rests_on() {
    let (idp, service) = (Idp::start(), Service::start(echo));
    let gate = Setup::guarded(&service, &idp)
        .with("[authenticators.keys]\nkind = \"api_key\"\nfile = \"keys.toml\"\ncredentials = [{ header = \"x-api-key\" }]")
        .with("[revocation]\nattributes = [\"jti\"]\ntoken_env = \"REVOKE\"")
        .env("REVOKE", "the-secret-of-revocations")
        .file("keys.toml", keys(&[("goes", "key-goes"), ("stays", "key-stays")]))
        .route("/forever", "[routes.websocket]\non_expiry = \"ignore\"")
        .start();
    let by_key = |key: &str| handshake("/ws").header("x-api-key", key);
    let by_token = |path: &str, jti: &str| handshake(path).bearer(&idp.token().claim("jti", jti).build());
    let mut goes = Socket::open(&gate, &by_key("key-goes"));
    let mut stays = Socket::open(&gate, &by_key("key-stays"));
    let mut revoked =
        [Socket::open(&gate, &by_token("/ws", "one")), Socket::open(&gate, &by_token("/forever", "one"))];
    let mut another = Socket::open(&gate, &by_token("/ws", "two"));
    gate.setup.dir.write("keys.toml", keys(&[("stays", "key-stays")]));
    assert_eq!(goes.read().code(), Some(1008), "its key is gone");
    let until = crate::support::tokens::now() + 600;
    let body = json!({ "attribute": "jti", "value": "one", "until": until }).to_string();
    let begun = Instant::now();
    let ask = crate::support::request::ask("POST", "/revocations")
        .header("Authorization", "Bearer the-secret-of-revocations");
    let reply = ask.header("Content-Type", "application/json").body(body).send_admin(&gate);
    assert!((200..300).contains(&reply.status), "{reply:?}");
    for socket in &mut revoked {
        let frame = socket.read();
        assert_eq!((frame.code(), &frame.payload[2..]), (Some(1008), &b"the session was revoked"[..]));
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    stays.echo("still");
    another.echo("still");
}

/// A service that sends an event and never ends.
fn events() -> Service {
    Service::start(move |exchange| {
        exchange.write(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        )?;
        exchange.write("8\r\ndata: 1\n\r\n")?;
        exchange.hold()
    })
}

#[test]
fn long_responses_end_with_their_token_where_that_is_wanted() {
    let idp = Idp::start();
    let service = events();
    let gate = Setup::guarded(&service, &idp)
        .with("[policy]\nauthenticators = [\"main\"]")
        .route("/closes", "on_expiry = \"close\"")
        .route("/goes-on", "")
        .start();
    let token = || {
        // Ten seconds of leeway.
        idp.token().expires_in(-8).build()
    };
    let open = |path: &str| {
        let mut client = gate.connect();
        client.send(get(path).bearer(&token()).bytes());
        let (reply, mut body) = client.head();
        assert_eq!(reply.status, 200);
        assert_eq!(client.piece(&mut body).unwrap().unwrap(), b"data: 1\n");
        (client, body)
    };
    let (mut closes, mut body) = open("/closes");
    let (mut goes_on, _) = open("/goes-on");
    let begun = Instant::now();
    let end = closes.piece(&mut body);
    assert!(end.is_err(), "it breaks off, and does not end as if that were all: {end:?}");
    assert!((500..4000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    assert!(goes_on.silent_for(Duration::from_millis(500)), "the other one goes on");
    until_true("the service is told", || service.connections().iter().any(|connection| connection.closed));
    let record = gate.access_to("/closes");
    assert_eq!(
        (record["status"].as_u64(), record["decision"].as_str()),
        (Some(200), Some("allow")),
        "{record}"
    );
    assert!(record["reason"] == "token_expired", "{record}");
}

#[test]
fn a_grpc_stream_is_told_why_it_ends() {
    let idp = Idp::start();
    let service = events();
    let gate = Setup::guarded(&service, &idp).route("/grpc", "on_expiry = \"close\"").start();
    let mut http2 = Http2::connect(gate.address());
    let bearer = format!("Bearer {}", idp.token().expires_in(-8).build());
    let headers = [("content-type", "application/grpc"), ("authorization", bearer.as_str())];
    let reply = http2.send("POST", "/grpc", &headers, Frames::default());
    assert_eq!(reply.status, 200);
    assert_eq!(reply.trailers.one("grpc-status"), Some("16"), "{reply:?}");
}

#[test]
fn a_client_that_goes_away_is_on_record_as_such() {
    let service = Service::start(|exchange| {
        if exchange.target() == "/held" {
            return exchange.hold();
        }
        exchange.finish()?;
        exchange.ok("hello")
    });
    let gate = Setup::public(&service).start();
    let mut client = gate.connect();
    client.send("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nten bytes.");
    until_true("it has begun", || !service.requests().is_empty());
    drop(client);
    let record = gate.access_to("/body");
    assert_eq!(
        (record["status"].as_u64(), record["decision"].as_str()),
        (Some(499), Some("allow")),
        "{record}"
    );
    let mut client = gate.connect();
    client.send(get("/held").bytes());
    until_true("it is on its way", || service.targets().contains(&"/held".to_owned()));
    let begun = Instant::now();
    drop(client);
    until_true("the service is told", || {
        service.connections().iter().filter(|connection| connection.closed).count() == 2
    });
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(gate.access_to("/held")["status"], 499);
}
