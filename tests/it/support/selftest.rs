//! The tools, tried on each other: a test that fails must have found something in the gate.

use super::certificates::Certificates;
use super::client::Client;
use super::frames::{Frame, echo, handshake};
use super::http2::{Answer, Frames, Http2, Http2Service};
use super::idp::{Idp, Mode};
use super::keys::{ASYMMETRIC, Key};
use super::metrics::Metrics;
use super::request::{Ask, ask, get};
use super::service::{ClosedPort, Service, accepts};
use super::tokens::{Token, non_canonical, with_signature};
use serde_json::json;

fn on(service: &Service, request: &Ask) -> super::client::Reply {
    request.on(&mut Client::connect(service.address()))
}

#[test]
fn what_is_sent_is_recorded_to_the_byte() {
    let service = Service::ok("hello");
    let request = ask("POST", "/a?b=%2f").header("X-Odd_Name", "v").body("12345");
    let reply = on(&service, &request).expect(200, "post");
    assert_eq!(
        (reply.version.as_str(), reply.reason.as_str(), reply.text().as_str()),
        ("HTTP/1.1", "OK", "hello")
    );
    let seen = service.only();
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str(), seen.version.as_str()),
        ("POST", "/a?b=%2f", "HTTP/1.1")
    );
    assert_eq!(seen.headers.0[1], ("X-Odd_Name".to_owned(), "v".to_owned()));
    assert_eq!((seen.body.as_slice(), seen.length), (b"12345".as_slice(), 5));
    assert_eq!(service.connections()[0].raw, request.bytes());
    assert_eq!(service.received(), request.bytes().len() as u64);
}

#[test]
fn connections_are_kept_and_pipelined_requests_answered_in_order() {
    let service = Service::start(|exchange| {
        let target = exchange.target();
        exchange.ok(&target)
    });
    let mut client = Client::connect(service.address());
    client.send([get("/1").bytes(), get("/2").bytes()].concat());
    assert_eq!((client.reply().text(), client.reply().text()), ("/1".to_owned(), "/2".to_owned()));
    let bare = ask("HEAD", "/3").on(&mut client);
    assert_eq!((bare.header("content-length"), bare.body.len()), (Some("2"), 0));
    get("/4").header("Connection", "close").on(&mut client).expect(200, "last");
    client.assert_closed("after connection: close");
    assert_eq!(service.connections().len(), 1);
}

#[test]
fn chunked_bodies_and_trailers_go_both_ways() {
    let service =
        Service::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-Sum: 1\r\n\r\n");
    let mut client = Client::connect(service.address());
    client.send(
        "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n1\r\nd\r\n0\r\nX-T: 2\r\n\r\n",
    );
    let reply = client.reply();
    assert_eq!((reply.text().as_str(), reply.trailers.one("x-sum")), ("ab", Some("1")));
    let seen = service.only();
    assert_eq!((seen.body.as_slice(), seen.trailers.one("x-t")), (b"abcd".as_slice(), Some("2")));
}

#[test]
fn sloppy_requests_are_breaches() {
    for bytes in [
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nBad Name: 1\r\n\r\n",
        "GET  / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n 1\r\na\r\n",
    ] {
        let service = Service::ok("");
        let mut client = Client::connect(service.address());
        client.send(bytes);
        assert!(client.try_reply("GET").is_err(), "{bytes:?}");
        let outcome = std::panic::catch_unwind(|| service.requests());
        assert!(outcome.is_err(), "{bytes:?} was not noticed");
    }
}

#[test]
fn the_end_of_a_connection_is_seen() {
    let service = Service::start(|exchange| match exchange.target().as_str() {
        "/close" => exchange.close(),
        "/reset" => exchange.reset(),
        _ => exchange.hold(),
    });
    for target in ["/close", "/reset"] {
        let mut client = Client::connect(service.address());
        client.send(get(target).bytes());
        assert!(client.try_reply("GET").is_err());
    }
    let mut client = Client::connect(service.address());
    client.send(get("/hold").bytes());
    service.begun(2);
    assert!(!service.connections()[2].closed);
    drop(client);
    service.wait_closed(2);
    let untouched = Service::ok("");
    drop(Client::connect(untouched.address()));
    untouched.assert_untouched("no byte");
}

#[test]
fn closed_ports_refuse_until_they_are_opened() {
    let port = ClosedPort::new();
    let address = port.address();
    assert!(!accepts(&address));
    let service = Service::on(port.open(), |exchange| exchange.ok("up"));
    assert_eq!(service.address(), address);
    on(&service, &get("/")).expect(200, "open");
}

#[test]
fn unix_sockets_and_tls_work() {
    let service = Service::unix(|exchange| exchange.ok("unix"));
    let path = service.url().strip_prefix("unix:").unwrap();
    let mut client = Client::unix(path.as_ref());
    assert_eq!(get("/").on(&mut client).text(), "unix");

    let certificates = Certificates::new();
    let service = Service::tls(&certificates, true, |exchange| exchange.ok("tls"));
    let mut client = Client::tls(service.address(), &certificates, true);
    assert_eq!(get("/").on(&mut client).text(), "tls");
    let mut stranger = Client::tls(service.address(), &certificates, false);
    stranger.send_anyway(get("/").bytes());
    assert!(stranger.try_reply("GET").is_err(), "without a certificate");
}

#[test]
fn http2_goes_both_ways() {
    let certificates = Certificates::new();
    let answer = |_: &_| Answer { body: Frames::new(&[b"a", b"b"], &[("x-sum", "1")]), ..Answer::ok("") };
    let plain = Http2Service::start(answer);
    let tls = Http2Service::tls(&certificates, answer);
    let port = tls.url().rsplit_once(':').unwrap().1;
    let clients = [
        Http2::connect(plain.url().strip_prefix("http://").unwrap()),
        Http2::tls(&format!("127.0.0.1:{port}"), &certificates),
    ];
    for (mut client, service) in clients.into_iter().zip([&plain, &tls]) {
        let body = Frames::new(&[b"12", b"3"], &[("x-t", "2")]);
        let reply = client.send("POST", "/p?q", &[("x-a", "b")], body);
        assert_eq!(
            (reply.status, reply.body.as_slice(), reply.trailers.one("x-sum")),
            (200, b"ab".as_slice(), Some("1"))
        );
        let seen = service.only();
        assert_eq!((seen.method.as_str(), seen.uri.as_str()), ("POST", "http://gate.test/p?q"));
        assert_eq!((seen.body.as_slice(), seen.trailers.one("x-t")), (b"123".as_slice(), Some("2")));
        assert_eq!(seen.header("x-a"), Some("b"));
    }
}

#[test]
fn frames_are_echoed() {
    let service = Service::start(echo);
    let mut client = Client::connect(service.address());
    handshake("/ws").on(&mut client).expect(101, "handshake");
    for size in [0, 1, 125, 126, 65_535, 65_536] {
        let frame = Frame::new(super::frames::BINARY, vec![7; size]);
        client.send(frame.clone().masked().bytes());
        assert_eq!(Frame::read(client.wire()).unwrap(), frame);
    }
    client.send(Frame::close(1000).masked().bytes());
    assert_eq!(Frame::read(client.wire()).unwrap().code(), Some(1000));
    client.assert_closed("after close");
}

#[test]
fn tokens_of_every_algorithm_verify() {
    let keys = [Key::rsa(), Key::p256(), Key::p384(), Key::ed25519()];
    for alg in ASYMMETRIC {
        let key = match alg {
            "ES256" => keys[1].clone(),
            "ES384" => keys[2].clone(),
            "EdDSA" => keys[3].clone(),
            _ => keys[0].clone().alg(alg),
        };
        let token = Token::new("me", &key).build();
        let jwk = serde_json::from_value(key.jwk()).unwrap();
        let by_jwk = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
        verify(&token, alg, &by_jwk);
        let pem = key.public_pem();
        let by_pem = match alg {
            "ES256" | "ES384" => jsonwebtoken::DecodingKey::from_ec_pem(pem.as_bytes()),
            "EdDSA" => jsonwebtoken::DecodingKey::from_ed_pem(pem.as_bytes()),
            _ => jsonwebtoken::DecodingKey::from_rsa_pem(pem.as_bytes()),
        };
        verify(&token, alg, &by_pem.unwrap());
    }
    let secret = [b's'; 64];
    for alg in ["HS256", "HS384", "HS512"] {
        let token = Token::new("me", &Key::secret(secret).alg(alg)).build();
        verify(&token, alg, &jsonwebtoken::DecodingKey::from_secret(&secret));
    }
}

fn verify(token: &str, alg: &str, key: &jsonwebtoken::DecodingKey) {
    let mut validation = jsonwebtoken::Validation::new(alg.parse().unwrap());
    validation.set_audience(&["api"]);
    let data = jsonwebtoken::decode::<serde_json::Value>(token, key, &validation);
    assert_eq!(data.unwrap_or_else(|error| panic!("{alg}: {error}")).claims["sub"], "user-1");
}

#[test]
fn malformed_tokens_are_malformed_as_meant() {
    let token = Token::new("me", &Key::p256()).build();
    let signature = token.rsplit_once('.').unwrap().1;
    let odd = non_canonical(signature);
    assert_ne!(odd, signature);
    assert_eq!(odd.len(), signature.len());
    assert_eq!(with_signature(&token, signature), token);
}

#[test]
fn the_issuer_fails_as_asked() {
    let idp = Idp::start();
    let ask_keys = || {
        let mut client = Client::connect(idp.jwks_url().split('/').nth(2).unwrap());
        client.send(get("/keys").header("Connection", "close").bytes());
        client.try_reply("GET")
    };
    assert_eq!(ask_keys().unwrap().json()["keys"][0]["kid"], "rsa");
    idp.publish(&[json!({ "kid": "other" })]);
    assert_eq!(ask_keys().unwrap().json()["keys"][0]["kid"], "other");
    for (mode, status) in
        [(Mode::Failing, 500), (Mode::Redirect, 302), (Mode::Garbage, 200), (Mode::Huge, 200)]
    {
        idp.mode(mode);
        assert_eq!(ask_keys().unwrap().status, status);
    }
    idp.mode(Mode::Down);
    assert!(ask_keys().is_err());
    assert_eq!((idp.fetches(), idp.discoveries()), (7, 0));
    assert!(idp.since_fetch().as_secs() < 10);
}

#[test]
fn metrics_are_read() {
    let text = "# TYPE sidegate_a counter\nsidegate_a{x=\"1\",y=\"a\\\"}b\"} 2\nsidegate_a{x=\"2\",y=\"c\"} 3\nsidegate_b 1e3\n";
    let metrics = Metrics::parse(text);
    assert!((metrics.sum("a", &[]) - 5.0).abs() < 0.1);
    assert!((metrics.sum("a", &[("y", "a\"}b")]) - 2.0).abs() < 0.1);
    assert!((metrics.sum("b", &[]) - 1000.0).abs() < 0.1);
    assert_eq!(metrics.families(), ["sidegate_a"]);
    assert_eq!(metrics.label_names("a"), ["x", "y"]);
}
