//! Clients that stop: in the middle of a body, or while there is a response for them.

use crate::support::gate::Gate;
use crate::support::raw_http2::{
    DATA, END_HEADERS, END_STREAM, GET, HEADERS, POST, RST_STREAM, RawHttp2, WINDOW_UPDATE, frame,
};
use crate::support::request::get;
use crate::support::service::Service;
use crate::support::setup::Setup;
use crate::support::wait::let_pass;
use std::time::{Duration, Instant};

const SHORT: &str = "[server.limits]\nbody_timeout = \"500ms\"\nwrite_timeout = \"500ms\"\n";

fn start(service: &Service) -> Gate {
    Setup::public(service).with(SHORT).start()
}

/// A service that sends megabytes as long as anybody takes them; `/small` is answered at once.
fn lavish() -> Service {
    Service::start(|exchange| {
        if exchange.target() == "/small" {
            return exchange.ok("small");
        }
        exchange.reply("HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n")?;
        for _ in 0..100 {
            exchange.write(vec![b'x'; 1 << 20])?;
        }
        Ok(())
    })
}

#[test]
fn a_body_that_stops_is_waited_for_no_longer() {
    let service = Service::ok("done");
    let gate = start(&service);
    for head in [
        "Content-Length: 10\r\n\r\nabc",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "Content-Length: 10\r\n\r\n",
    ] {
        let begin = Instant::now();
        let mut client = gate.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{head}"));
        let reply = client.reply().expect(408, head);
        assert_eq!(gate.reason(&reply), "body_timeout");
        assert!((400..3000).contains(&begin.elapsed().as_millis()), "{head}: {:?}", begin.elapsed());
        client.assert_closed(head);
    }
    // As long as something comes, it may take its time.
    let mut client = gate.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n");
    for _ in 0..8 {
        let_pass(Duration::from_millis(250));
        client.send("a");
    }
    client.reply().expect(200, "slow but steady");
    assert_eq!(service.last().body, b"aaaaaaaa");
}

#[test]
fn a_body_that_stops_over_http2() {
    let service = Service::ok("done");
    let gate = start(&service);
    let mut client = RawHttp2::connect(&gate, &[]);
    client.send(&frame(HEADERS, END_HEADERS, 1, POST));
    client.send(&frame(DATA, 0, 1, b"abc"));
    // Another stream does not mind.
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 3, GET));
    client.until(|frame| frame.kind == HEADERS && frame.stream == 3).unwrap();
    let begin = Instant::now();
    let head = client.until(|frame| frame.kind == HEADERS && frame.stream == 1).unwrap();
    // `:status 408` is no entry of the static table: a literal value behind its name.
    assert!(head.payload.windows(3).any(|part| part == b"408") || head.payload[0] == 0x48, "{head:?}");
    assert!((300..3000).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());
    gate.wait_metric("decisions_total", &[("reason", "body_timeout")], 1);
}

#[test]
fn once_the_response_has_begun_a_client_may_be_silent() {
    let service = Service::start(|exchange| {
        exchange.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        while let Some(piece) = exchange.piece()? {
            exchange.write(format!("{:x}\r\n", piece.len()))?;
            exchange.write([piece.as_slice(), b"\r\n"].concat())?;
        }
        exchange.write("0\r\n\r\n")
    });
    let gate = start(&service);
    let mut client = gate.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
    let (_, mut body) = client.head();
    assert_eq!(client.piece(&mut body).unwrap().unwrap(), b"one");
    let_pass(Duration::from_millis(1500));
    client.send("3\r\ntwo\r\n0\r\n\r\n");
    assert_eq!(client.piece(&mut body).unwrap().unwrap(), b"two");
}

#[test]
fn a_client_that_takes_nothing_is_cut_off() {
    let service = lavish();
    let gate = start(&service);
    let mut client = gate.connect();
    client.send(get("/").bytes());
    service.wait_closed(0);
    gate.wait_metric("connections", &[], 0);
    assert!(client.try_reply("GET").is_err(), "the rest must not seem whole");
    // One that takes a little now and then gets all.
    let mut client = gate.connect();
    client.send(get("/").bytes());
    let (_, mut body) = client.head();
    let (mut got, mut paused) = (0, 0);
    while let Some(piece) = client.piece(&mut body).unwrap() {
        got += piece.len();
        if got / (25 << 20) > paused {
            paused += 1;
            let_pass(Duration::from_millis(250));
        }
    }
    assert_eq!((got, paused), (100 << 20, 4));
}

#[test]
fn a_stream_that_takes_nothing_is_reset_and_no_other() {
    let service = lavish();
    let gate = start(&service);
    let small = [&[0x82, 0x86, 0x04, 6][..], b"/small", &[0x01, 0x01, b'a']].concat();
    // SETTINGS_INITIAL_WINDOW_SIZE is 0: nothing of a body may be sent until a window is opened.
    let mut client = RawHttp2::connect(&gate, &[(4, 0)]);
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, GET));
    client.until(|frame| frame.kind == HEADERS && frame.stream == 1).unwrap();
    let begin = Instant::now();
    let reset = client.until(|frame| frame.kind == RST_STREAM).unwrap();
    assert_eq!((reset.stream, reset.code()), (1, 8), "CANCEL");
    assert!((300..3000).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());
    service.wait_closed(0);
    // The connection goes on, and a stream whose window is open is served.
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &small));
    client.send(&frame(WINDOW_UPDATE, 0, 3, &1000_u32.to_be_bytes()));
    let data = client.until(|frame| frame.kind == DATA && frame.stream == 3).unwrap();
    assert_eq!(data.payload, b"small");
}

#[test]
fn a_silent_service_is_no_slow_client() {
    let service = Service::start(|exchange| {
        exchange.reply("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none")?;
        let_pass(Duration::from_millis(1500));
        exchange.write("two")
    });
    let gate = start(&service);
    let reply = get("/").send(&gate).expect(200, "HTTP/1.1");
    assert_eq!(reply.text(), "onetwo");
    let mut client = RawHttp2::connect(&gate, &[]);
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, GET));
    let mut body = Vec::new();
    while body.len() < 6 {
        let frame = client.until(|frame| frame.kind == DATA || frame.kind == RST_STREAM).unwrap();
        assert_eq!(frame.kind, DATA, "reset");
        body.extend(frame.payload);
    }
    assert_eq!(body, b"onetwo");
    // Nor is one that does not answer at all.
    let silent = Service::start(|exchange| {
        exchange.finish()?;
        let_pass(Duration::from_millis(1500));
        exchange.ok("late")
    });
    let gate = start(&silent);
    let mut client = RawHttp2::connect(&gate, &[]);
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, GET));
    let data = client.until(|frame| frame.kind == DATA || frame.kind == RST_STREAM).unwrap();
    assert_eq!((data.kind, data.payload.as_slice()), (DATA, &b"late"[..]));
}
