//! HTTP/2 on either side, gRPC, and what one version says that the other does not.

use crate::support::http2::{Answer, Frames, Http2, Http2Service};
use crate::support::idp::{Idp, Mode};
use crate::support::request::{ask, get};
use crate::support::service::{ClosedPort, Service};
use crate::support::setup::{PUBLIC, Setup};
use crate::support::wait::until_true;

#[test]
fn from_http2_to_http1() {
    let service = Service::raw(
        "HTTP/1.1 201 Created\r\nX-A: 1\r\nTrailer: X-Sum\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n",
    );
    let gate = Setup::public(&service).start();
    let mut client = Http2::connect(gate.address());
    let body = Frames::new(&[b"12", b"345"], &[("x-check", "7")]);
    // HTTP/1.1 carries only trailers that were announced (RFC 9110 §6.6.2).
    let headers =
        [("x-b", "2"), ("te", "trailers"), ("trailer", "x-check"), ("cookie", "a=1"), ("cookie", "b=2")];
    let reply = client.send("POST", "/a%62?c=%64", &headers, body);
    assert_eq!(
        (reply.status, reply.body.as_slice(), reply.header("x-a")),
        (201, b"ok".as_slice(), Some("1"))
    );
    assert_eq!(reply.trailers.one("x-sum"), Some("1"));
    assert!(!reply.headers.has("connection") && !reply.headers.has("transfer-encoding"), "{reply:?}");
    let seen = service.only();
    assert_eq!(
        (seen.target.as_str(), seen.version.as_str(), seen.header("host")),
        ("/ab?c=%64", "HTTP/1.1", Some("gate.test"))
    );
    assert_eq!((seen.body.as_slice(), seen.trailers.one("x-check")), (b"12345".as_slice(), Some("7")));
    // Several cookie fields are one in HTTP/1.1 (RFC 9113 §8.2.3).
    assert_eq!((seen.header("cookie"), seen.header("x-b")), (Some("a=1; b=2"), Some("2")));
    assert!(!seen.headers.names().iter().any(|name| name.starts_with(':')), "{seen:?}");
}

#[test]
fn a_length_stays_a_length() {
    let service = Service::ok("hello");
    let gate = Setup::public(&service).start();
    let mut client = Http2::connect(gate.address());
    let reply = client.send("POST", "/", &[("content-length", "3")], Frames::new(&[b"abc"], &[]));
    assert_eq!((reply.status, reply.header("content-length")), (200, Some("5")));
    assert_eq!(service.only().header("content-length"), Some("3"));
    // A body that is not as long as it says is no request.
    let lying = crate::support::http2::request(
        "POST",
        "http://gate.test/lie",
        &[("content-length", "5")],
        Frames::new(&[b"abc"], &[]),
    );
    let reply = client.try_request(lying);
    assert!(reply.is_err() || reply.unwrap().status >= 400);
    assert!(service.requests().iter().all(|request| request.target != "/lie" || !request.complete));
}

#[test]
fn from_http1_to_http2() {
    let service = Http2Service::start(|_| Answer {
        headers: vec![("x-a", "1".to_owned()), ("trailer", "x-sum".to_owned())],
        body: Frames::new(&[b"o", b"k"], &[("x-sum", "1")]),
        ..Answer::ok("")
    });
    let gate = Setup::new(service.url()).upstream("http2 = true").with(PUBLIC).start();
    let mut client = gate.connect();
    client.send(
        "POST /a%62?c=%64 HTTP/1.1\r\nHost: gate.test\r\nX-B: 2\r\nTE: trailers\r\nConnection: TE, X-Hop\r\nTrailer: X-Check\r\nX-Hop: 1\r\n\
         Keep-Alive: timeout=1\r\nProxy-Connection: x\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\n12345\r\n0\r\nX-Check: 7\r\n\r\n",
    );
    let reply = client.reply().expect(200, "post");
    assert_eq!(
        (reply.text().as_str(), reply.header("x-a"), reply.trailers.one("x-sum")),
        ("ok", Some("1"), Some("1"))
    );
    let seen = service.only();
    assert_eq!((seen.method.as_str(), seen.body.as_slice()), ("POST", b"12345".as_slice()));
    assert!(seen.uri.ends_with("gate.test/ab?c=%64"), "{}", seen.uri);
    assert_eq!(
        (seen.header("x-b"), seen.header("te"), seen.trailers.one("x-check")),
        (Some("2"), Some("trailers"), Some("7"))
    );
    for name in ["connection", "keep-alive", "proxy-connection", "upgrade", "transfer-encoding", "x-hop"] {
        assert!(!seen.headers.has(name), "{name}: {seen:?}");
    }
    assert!(seen.headers.all("host").iter().all(|host| *host == "gate.test"), "{seen:?}");
}

#[test]
fn many_streams_share_connections() {
    let service = Http2Service::start(|request| Answer::ok(&request.uri));
    let gate = Setup::new(service.url()).upstream("http2 = true").with(PUBLIC).start();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let gate = &gate;
            scope.spawn(move || {
                let mut client = Http2::connect(gate.address());
                for number in 0..25 {
                    let target = format!("/{thread}/{number}");
                    let reply = client.get(&target, &[]);
                    assert_eq!(
                        (reply.status, String::from_utf8(reply.body).unwrap().ends_with(&target)),
                        (200, true)
                    );
                }
            });
        }
    });
    assert_eq!(service.requests().len(), 100);
}

#[test]
fn a_service_without_http2_is_a_failure() {
    let service = Service::ok("http/1.1 only");
    let gate = Setup::new(service.url()).upstream("http2 = true").with(PUBLIC).start();
    let reply = get("/").send(&gate).expect(502, "HTTP/1.1 where h2c was promised");
    assert!(gate.reason(&reply).starts_with("upstream_"));
}

#[test]
fn grpc_goes_through() {
    let idp = Idp::start();
    let message = b"\x00\x00\x00\x00\x02\x08\x01";
    let service = Http2Service::start(|_| Answer {
        headers: vec![("content-type", "application/grpc".to_owned())],
        body: Frames::new(&[b"\x00\x00\x00\x00\x01\x00"], &[("grpc-status", "0"), ("grpc-message", "fine")]),
        ..Answer::ok("")
    });
    let gate = Setup::new(service.url()).upstream("http2 = true").with(&idp.authenticator("main")).start();
    let token = format!("Bearer {}", idp.token().build());
    let headers = [("content-type", "application/grpc+proto"), ("te", "trailers"), ("authorization", &token)];
    let mut client = Http2::connect(gate.address());
    let reply = client.send("POST", "/pkg.Service/Method", &headers, Frames::new(&[message], &[]));
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/grpc")));
    assert_eq!(
        (reply.trailers.one("grpc-status"), reply.trailers.one("grpc-message")),
        (Some("0"), Some("fine"))
    );
    let seen = service.only();
    assert_eq!((seen.header("te"), seen.body.as_slice()), (Some("trailers"), message.as_slice()));
}

#[test]
fn grpc_denials_are_trailers_only() {
    let idp = Idp::start();
    let service = Http2Service::start(|_| Answer::ok(""));
    let port = ClosedPort::new();
    let away = Idp::start();
    away.mode(Mode::Down);
    let gate = Setup::new(service.url())
        .upstream("http2 = true")
        .with(&idp.authenticator("main"))
        .with(&away.authenticator("away"))
        .with(&format!("[upstreams.dead]\nurl = \"http://{}\"\nhttp2 = true", port.address()))
        .route("/admin.S/M", "require.roles = [\"admin\"]")
        .route("/closed.S/M", "access = \"deny\"")
        .route("/dead.S/M", "access = \"public\"\nupstream = \"dead\"")
        .route("/away.S/M", "authenticators = [\"away\"]")
        .start_unready();
    let token = format!("Bearer {}", idp.token().build());
    let fetched = [("authenticator", "main"), ("result", "success")];
    until_true("the good issuer's keys are there", || gate.metric("jwks_refreshes_total", &fetched) > 0.5);
    let other = format!("Bearer {}", away.token().build());
    let mut client = Http2::connect(gate.address());
    for (case, target, token, code) in [
        ("no token", "/pkg.S/M", "", "16"),
        ("bad token", "/pkg.S/M", "Bearer abc", "16"),
        ("no role", "/admin.S/M", token.as_str(), "7"),
        ("no rule", "/closed.S/M", token.as_str(), "7"),
        ("service away", "/dead.S/M", "", "14"),
        ("issuer away", "/away.S/M", other.as_str(), "14"),
    ] {
        for kind in ["application/grpc", "application/grpc+json", "application/grpc;x=y"] {
            let mut headers = vec![("content-type", kind), ("te", "trailers")];
            if !token.is_empty() {
                headers.push(("authorization", token));
            }
            let reply = client.send("POST", target, &headers, Frames::new(&[b"\0\0\0\0\0"], &[]));
            assert_eq!(
                (reply.status, reply.header("grpc-status")),
                (200, Some(code)),
                "{case} {kind}: {reply:?}"
            );
            assert!(reply.header("grpc-message").is_some_and(|text| !text.is_empty()), "{case}: {reply:?}");
            assert!(
                reply.header("content-type").unwrap().starts_with("application/grpc"),
                "{case}: {reply:?}"
            );
            assert!(reply.body.is_empty() && reply.trailers.0.is_empty(), "{case}: {reply:?}");
        }
    }
    assert!(service.requests().is_empty());
    // What only begins like gRPC is not gRPC.
    let web = ask("POST", "/pkg.S/M").header("Content-Type", "application/grpc-web").body("x").send(&gate);
    web.expect(401, "grpc-web");
    let entry = gate.access_to("/admin.S/M");
    assert_eq!(entry["reason"], "role_missing");
}
