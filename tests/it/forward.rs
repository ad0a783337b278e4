//! Forwarding: what the client sent is what the service gets, and the other way round.

use crate::support::client::Client;
use crate::support::idp::Idp;
use crate::support::request::{ask, get};
use crate::support::service::Service;
use crate::support::setup::Setup;
use std::time::Duration;

#[test]
fn a_request_arrives_as_it_was_sent() {
    let service = Service::ok("hello");
    let gate = Setup::public(&service).start();
    let reply = ask("POST", "/a/b/?c=d&e=%2F")
        .header("Accept", "*/*")
        .header("Cookie", "a=1; b=\"2\"")
        .header("X-Twice", "1")
        .header("X-Twice", "2")
        .line(b"X-Latin: caf\xe9")
        .header("X-Long", &"v".repeat(8000))
        .body(vec![0, 255, 13, 10, 0])
        .send(&gate)
        .expect(200, "post");
    assert_eq!((reply.text().as_str(), reply.header("content-length")), ("hello", Some("5")));
    let seen = service.only();
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str(), seen.version.as_str()),
        ("POST", "/a/b/?c=d&e=%2F", "HTTP/1.1")
    );
    assert_eq!(seen.headers.all("x-twice"), ["1", "2"]);
    assert_eq!((seen.header("accept"), seen.header("cookie")), (Some("*/*"), Some("a=1; b=\"2\"")));
    assert_eq!(
        (seen.header("x-latin"), seen.header("x-long").map(str::len)),
        (Some("caf\u{e9}"), Some(8000))
    );
    assert_eq!(seen.body, [0, 255, 13, 10, 0]);
}

#[test]
fn a_response_arrives_as_it_was_sent() {
    let service = Service::raw(
        b"HTTP/1.1 418 I'm a teapot\r\nContent-Length: 3\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\nX-Latin: caf\xe9\r\n\
          X-Empty:\r\nServer: tea\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n\x00\xff\n"
            .as_slice(),
    );
    let gate = Setup::public(&service).start();
    let reply = get("/").send(&gate).expect(418, "teapot");
    assert_eq!(reply.headers.all("set-cookie"), ["a=1; Path=/", "b=2"]);
    assert_eq!((reply.header("x-latin"), reply.header("x-empty")), (Some("caf\u{e9}"), Some("")));
    assert_eq!(
        (reply.header("server"), reply.header("date")),
        (Some("tea"), Some("Thu, 01 Jan 1970 00:00:00 GMT"))
    );
    assert_eq!(reply.body, [0, 255, 10]);
}

#[test]
fn responses_without_a_body() {
    let service = Service::start(|exchange| match exchange.target().as_str() {
        "/204" => exchange.reply("HTTP/1.1 204 No Content\r\n\r\n"),
        "/304" => exchange.reply("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 1000\r\n\r\n"),
        "/205" => exchange.reply("HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n"),
        "/chunked" => exchange.reply("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        _ => exchange.reply("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
    });
    let gate = Setup::public(&service).start();
    let mut client = gate.connect();
    for (method, target, status, length) in [
        ("GET", "/204", 204, None),
        ("GET", "/304", 304, Some("1000")),
        ("GET", "/205", 205, Some("0")),
        ("HEAD", "/", 200, Some("1000")),
        ("HEAD", "/chunked", 200, None),
        ("HEAD", "/304", 304, Some("1000")),
        ("HEAD", "/", 200, Some("1000")),
    ] {
        let reply = ask(method, target).on(&mut client).expect(status, target);
        let found = reply.header("content-length");
        // A 304 may say how long the response would have been, or not.
        assert!(found == length || (status == 304 && found.is_none()), "{method} {target}: {found:?}");
        assert!(reply.body.is_empty(), "{method} {target}: {reply:?}");
    }
    assert_eq!(service.connections().len(), 1, "one connection did");
}

#[test]
fn interim_responses_come_before_the_final_one() {
    let service = Service::raw(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let gate = Setup::public(&service).start();
    let mut client = gate.connect();
    for _ in 0..2 {
        let reply = get("/").on(&mut client).expect(200, "final");
        assert_eq!(reply.text(), "ok");
        assert!(reply.interim.iter().all(|status| [102, 103].contains(status)), "{:?}", reply.interim);
    }
}

#[test]
fn a_body_may_end_with_the_connection() {
    let service = Service::start(|exchange| {
        exchange.reply("HTTP/1.1 200 OK\r\n\r\nuntil the end")?;
        exchange.close()
    });
    let gate = Setup::public(&service).start();
    let mut client = gate.connect();
    for _ in 0..2 {
        assert_eq!(get("/").on(&mut client).expect(200, "until close").text(), "until the end");
    }
    assert_eq!(service.connections().len(), 2);
}

#[test]
fn connections_are_reused_on_both_sides() {
    let service = Service::ok("hello");
    let gate = Setup::public(&service).start();
    let mut client = gate.connect();
    for number in 0..10 {
        ask("POST", &format!("/{number}")).body("x").on(&mut client).expect(200, "kept alive");
    }
    // Another client of the same worker takes over the service's connection.
    get("/other").send(&gate).expect(200, "another client");
    assert_eq!(service.connections().len(), 1);
    let mut client = gate.connect();
    get("/last").header("Connection", "close").on(&mut client).expect(200, "close");
    client.assert_closed("after connection: close");
    assert!(service.requests().iter().all(|request| !request.headers.lists("connection", "close")));
}

#[test]
fn one_clients_connection_is_not_anothers() {
    // The service answers with what only this connection's first request said.
    let service = Service::start(|exchange| {
        let name = exchange.request().header("x-name").unwrap_or_default().to_owned();
        exchange.reply(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len()))
    });
    let gate = Setup::public(&service).start();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let gate = &gate;
            scope.spawn(move || {
                let mut client = gate.connect();
                for number in 0..50 {
                    let name = format!("{thread}-{number}");
                    assert_eq!(get("/").header("X-Name", &name).on(&mut client).text(), name);
                }
            });
        }
    });
    assert_eq!(service.requests().len(), 400);
}

#[test]
fn old_clients_are_served() {
    let service = Service::start(|exchange| {
        exchange.reply("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
    });
    let gate = Setup::public(&service).start();
    let mut client = gate.connect();
    client.send("GET /old HTTP/1.0\r\nHost: gate.test\r\n\r\n");
    let reply = client.reply().expect(200, "HTTP/1.0");
    assert!(!reply.headers.has("transfer-encoding"), "HTTP/1.0 knows no chunks: {reply:?}");
    assert_eq!(reply.text(), "ok");
    client.assert_closed("after an HTTP/1.0 response");
    assert_eq!(service.only().version, "HTTP/1.1");
}

#[test]
fn expectations_are_answered_when_the_request_is_admitted() {
    let (service, idp) = (Service::ok("done"), Idp::start());
    let gate = Setup::guarded(&service, &idp).start();
    let head = |token: &str| {
        format!(
            "POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
        )
    };
    let mut client = gate.connect();
    client.send(head(&idp.token().build()));
    assert_eq!(client.one_head().unwrap().status, 100, "go on");
    client.send("body");
    assert_eq!(client.reply().expect(200, "expected").text(), "done");
    assert_eq!(service.only().body, b"body");

    let before = service.received();
    let mut client = gate.connect();
    client.send(head("bad"));
    let reply = client.reply().expect(401, "refused without waiting for the body");
    assert!(reply.interim.is_empty(), "{:?}", reply.interim);
    assert_eq!(service.received(), before);
}

#[test]
fn who_does_not_wait_for_a_100_is_not_told_one_with_the_next_request() {
    let service = Service::ok("done");
    let gate = Setup::public(&service).start();
    let mut client = gate.connect();
    client.send("POST /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(client.reply().expect(200, "all at once").text(), "done");
    client.send("POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n");
    assert!(client.silent_for(Duration::from_millis(200)), "nobody has asked for a word");
    client.send("body");
    let reply = client.reply().expect(200, "the next one");
    assert!(reply.interim.is_empty(), "{:?}", reply.interim);
}

#[test]
fn an_early_answer_does_not_wait_for_the_body() {
    let service = Service::start(|exchange| {
        exchange
            .write("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig")?;
        exchange.hold()
    });
    let gate = Setup::public(&service).start();
    let mut client = gate.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nonly the beginning");
    assert_eq!(client.reply().expect(413, "early").text(), "big");
}

#[test]
fn a_vanished_client_cancels_its_request() {
    let service = Service::start(|exchange| {
        if exchange.target() == "/streaming" {
            exchange.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")?;
        }
        exchange.hold()
    });
    let gate = Setup::public(&service).start();
    for (number, target) in ["/waiting", "/streaming"].into_iter().enumerate() {
        let mut client = gate.connect();
        client.send(get(target).bytes());
        service.begun(number);
        if target == "/streaming" {
            assert_eq!(client.head().0.status, 200);
        }
        drop(client);
        service.wait_closed(number);
    }
    // In the middle of its own body, too.
    let mut client: Client = gate.connect();
    client.send("POST /uploading HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\npart");
    service.begun(2);
    drop(client);
    service.wait_closed(2);
    assert!(!service.requests()[2].complete);
}

#[test]
fn half_closed_clients_still_get_their_answer() {
    let service = Service::ok("hello");
    let gate = Setup::public(&service).start();
    let mut client = gate.connect();
    client.send(get("/").header("Connection", "close").bytes());
    client.wire().stream().end_writing();
    // Some proxies take a half-close for the client's end; then nothing may come, but never half an answer.
    if let Ok(reply) = client.try_reply("GET") {
        assert_eq!(reply.expect(200, "half-closed").text(), "hello");
    }
}
