//! When the service fails: each failure has its status and reason, is answered once, and spoils no other request.

use crate::support::client::Reply;
use crate::support::gate::Gate;
use crate::support::request::{ask, get};
use crate::support::service::{ClosedPort, Service};
use crate::support::setup::{PUBLIC, Setup};
use crate::support::wait::until_true;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[track_caller]
fn assert_failed(gate: &Gate, reply: Reply, case: &str, status: u16, reason: &str) {
    let reply = reply.expect(status, case);
    let entry = gate.access(&reply);
    assert_eq!((&entry["reason"], &entry["status"]), (&reason.into(), &status.into()), "{case}: {entry}");
    assert_eq!(reply.json()["status"], status, "{case}");
}

#[test]
fn a_service_that_is_not_there() {
    let port = ClosedPort::new();
    let gate = Setup::new(&format!("http://{}", port.address())).with(PUBLIC).start();
    for method in ["GET", "POST"] {
        let reply = ask(method, "/").send(&gate);
        assert_failed(&gate, reply, method, 502, "upstream_unreachable");
    }
    // And is back.
    let service = Service::on(port.open(), |exchange| exchange.ok("back"));
    assert_eq!(get("/").send(&gate).expect(200, "back").text(), "back");
    service.only();

    let gate = Setup::new("unix:/nonexistent/service.sock").with(PUBLIC).start();
    assert_failed(&gate, get("/").send(&gate), "no socket", 502, "upstream_unreachable");
    let gate = Setup::new("http://no-such-host.invalid:80").with(PUBLIC).start();
    assert_failed(&gate, get("/").send(&gate), "no such name", 502, "upstream_unreachable");
}

#[test]
fn answers_that_are_none() {
    for (case, answer) in [
        ("nothing", ""),
        ("garbage", "hello, this is no HTTP\r\n\r\n"),
        ("binary", "\x16\x03\x01\x00\x00"),
        ("half a head", "HTTP/1.1 200 OK\r\nContent-Le"),
        ("another protocol", "SSH-2.0-OpenSSH_9.6\r\n"),
        ("no status", "HTTP/1.1\r\n\r\n"),
        ("status of letters", "HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n"),
        ("status 99", "HTTP/1.1 99 Low\r\nContent-Length: 0\r\n\r\n"),
        ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc"),
        ("a length that is none", "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nab"),
        ("space before the colon", "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nab"),
        ("NUL in a value", "HTTP/1.1 200 OK\r\nX-A: \0\r\nContent-Length: 0\r\n\r\n"),
        ("an endless head", ""),
    ] {
        let service = Service::start(move |exchange| {
            exchange.finish()?;
            if case == "an endless head" {
                exchange.write("HTTP/1.1 200 OK\r\n")?;
                let line = format!("X-Long: {}\r\n", "x".repeat(1000));
                for _ in 0..10_000 {
                    exchange.write(&line)?;
                }
            }
            exchange.write(answer)?;
            exchange.close()
        });
        let gate = Setup::public(&service).start();
        for method in ["GET", "POST"] {
            let before = service.requests().len();
            let reply = ask(method, "/").send(&gate);
            assert_failed(&gate, reply, case, 502, "upstream_failed");
            assert_eq!(service.requests().len(), before + 1, "{case}: {method} was sent again");
        }
    }
}

#[test]
fn a_reset_is_a_failure() {
    let service = Service::start(|exchange| {
        exchange.finish()?;
        exchange.reset()
    });
    let gate = Setup::public(&service).start();
    for method in ["GET", "POST", "PUT"] {
        let before = service.requests().len();
        let reply = ask(method, "/").body("x").send(&gate);
        assert_failed(&gate, reply, method, 502, "upstream_failed");
        assert_eq!(service.requests().len(), before + 1, "{method} was sent again");
    }
}

#[test]
fn a_service_that_is_too_slow() {
    let service = Service::start(|exchange| match exchange.target().as_str() {
        "/slow-body" => {
            exchange.reply("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")?;
            crate::support::wait::let_pass(Duration::from_millis(1200));
            exchange.write("cd")
        }
        _ => exchange.hold(),
    });
    let gate = Setup::public(&service).upstream("response_timeout = \"500ms\"").start();
    let begin = Instant::now();
    let reply = get("/never").send(&gate);
    assert!(
        (Duration::from_millis(400)..Duration::from_secs(10)).contains(&begin.elapsed()),
        "{:?}",
        begin.elapsed()
    );
    assert_failed(&gate, reply, "never", 504, "upstream_timeout");
    service.wait_closed(0);
    assert_eq!(get("/slow-body").send(&gate).expect(200, "bodies have no deadline").text(), "abcd");
    // The time begins with the last byte of the request.
    let mut client = gate.connect();
    client.send("POST /never HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na");
    assert!(client.silent_for(Duration::from_millis(1200)), "it ran while the client was sending");
    client.send("b");
    client.reply().expect(504, "after the last byte");
}

#[test]
fn a_service_that_is_full() {
    let release = Arc::new(AtomicBool::new(false));
    let released = Arc::clone(&release);
    let service = Service::start(move |exchange| {
        if exchange.target() == "/first" {
            until_true("the test lets it go", || released.load(Ordering::SeqCst));
        }
        exchange.ok("served")
    });
    let gate = Setup::public(&service).upstream("connections = 1\nqueue_timeout = \"400ms\"").start();
    let mut first = gate.connect();
    first.send(get("/first").bytes());
    service.begun(0);
    let begin = Instant::now();
    let reply = get("/second").send(&gate);
    assert!(begin.elapsed() >= Duration::from_millis(350), "it waits before it gives up");
    assert_failed(&gate, reply, "full", 503, "upstream_overloaded");
    let mut third = gate.connect();
    third.send(get("/third").bytes());
    release.store(true, Ordering::SeqCst);
    first.reply().expect(200, "first");
    third.reply().expect(200, "who waited is served");
    assert_eq!(service.targets(), ["/first", "/third"]);
    assert_eq!(service.connections().len(), 1);
}

#[test]
fn a_response_that_breaks_off_is_not_passed_on_as_whole() {
    for (case, beginning) in [
        ("length", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"),
        ("chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
        ("in a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhalf"),
        ("bad chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n"),
    ] {
        let service = Service::start(move |exchange| {
            exchange.reply(beginning)?;
            exchange.close()
        });
        let gate = Setup::public(&service).start();
        let mut client = gate.connect();
        client.send(get("/").bytes());
        let outcome = client.try_reply("GET");
        // Either the head had not been passed on yet, or the client sees that the end is missing.
        assert!(outcome.as_ref().is_err() || outcome.as_ref().unwrap().status == 502, "{case}: {outcome:?}");
    }
}

#[test]
fn a_broken_connection_is_never_used_again() {
    for (case, answer) in [
        (
            "more than its length",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned",
        ),
        ("garbage behind", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\r\n\r\ngarbage"),
        ("a body for HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        (
            "a body with 204",
            "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned",
        ),
        ("close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"),
    ] {
        let service = Service::start(move |exchange| match exchange.target().as_str() {
            "/second" => exchange.ok("second"),
            _ => exchange.reply(answer),
        });
        let gate = Setup::public(&service).start();
        let method = if case == "a body for HEAD" { "HEAD" } else { "GET" };
        for _ in 0..3 {
            let first = ask(method, "/first").send(&gate);
            assert!(!first.text().contains("poisoned"), "{case}");
            let second = get("/second").send(&gate).expect(200, case);
            assert_eq!(second.text(), "second", "{case}");
        }
        let requests = service.requests();
        let second_after_first = |pair: &[crate::support::service::Request]| {
            pair[0].target == "/first"
                && pair[1].target == "/second"
                && pair[0].connection == pair[1].connection
        };
        assert!(!requests.windows(2).any(second_after_first), "{case}: {requests:?}");
    }
}

#[test]
fn a_connection_that_went_away_while_idle_is_replaced() {
    let service = Service::start(|exchange| {
        exchange.ok("hello")?;
        exchange.close()
    });
    let gate = Setup::public(&service).start();
    for number in 0..10 {
        ask("POST", "/").body("x").send(&gate).expect(200, "after the service closed an idle connection");
        service.wait_closed(number);
    }
    assert_eq!(service.requests().len(), 10);
}

#[test]
fn idle_connections_are_given_up() {
    let service = Service::ok("hello");
    let gate = Setup::public(&service).upstream("idle_timeout = \"300ms\"").start();
    get("/").send(&gate).expect(200, "first");
    service.wait_closed(0);
    get("/").send(&gate).expect(200, "second");
    assert_eq!(service.connections().len(), 2);
}

#[test]
fn one_failing_service_does_not_concern_another() {
    let (good, port) = (Service::ok("good"), ClosedPort::new());
    let gate = Setup::public(&good)
        .with(&format!("[upstreams.bad]\nurl = \"http://{}\"", port.address()))
        .route("/bad", "upstream = \"bad\"")
        .start();
    for _ in 0..3 {
        get("/bad").send(&gate).expect(502, "bad");
        get("/").send(&gate).expect(200, "good");
    }
    gate.wait_metric("decisions_total", &[("reason", "upstream_unreachable")], 3);
    gate.wait_metric("requests_total", &[("code", "502")], 3);
}
