//! Floods: what costs a client little must not cost the gate much, nor anybody else anything.

use crate::support::gate::Gate;
use crate::support::raw_http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GET, GOAWAY, HEADERS, PING, POST, RST_STREAM, RawHttp2,
    SETTINGS, WINDOW_UPDATE, frame,
};
use crate::support::request::get;
use crate::support::service::Service;
use crate::support::setup::Setup;
use crate::support::wait::{let_pass, until_true};
use std::io;
use std::process::Command;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;

/// Sends this so often, whatever the gate does, and reads nothing meanwhile.
fn flood(client: &mut RawHttp2, piece: &[u8], times: usize) {
    client.0.wire().stream().set_patience(Some(Duration::from_secs(1)));
    let many = piece.repeat((64 << 10) / piece.len() + 1);
    let rounds = times * piece.len() / many.len() + 1;
    for _ in 0..rounds {
        if client.0.wire().write(&many).is_err() {
            return;
        }
    }
}

/// The gate has not grown by more than that, and answers others at once.
#[track_caller]
fn assert_unharmed(gate: &Gate, before: u64, most: u64, case: &str) {
    let begin = Instant::now();
    get("/").send(gate).expect(200, case);
    assert!(begin.elapsed() < Duration::from_secs(2), "{case}: {:?}", begin.elapsed());
    let grown = gate.peak_memory().saturating_sub(before);
    assert!(grown < most, "{case}: {} KiB more", grown >> 10);
}

fn started(service: &Service) -> (Gate, u64) {
    let gate = Setup::public(service).start();
    get("/").send(&gate).expect(200, "before");
    let before = gate.peak_memory();
    (gate, before)
}

#[test]
fn rapid_resets() {
    // CVE-2023-44487.
    let service = Service::ok("");
    let (gate, before) = started(&service);
    let mut client = RawHttp2::connect(&gate, &[]);
    let many: Vec<u8> = (0..10_000_u32)
        .flat_map(|number| {
            let stream = number * 2 + 1;
            let cancel = frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
            [frame(HEADERS, END_HEADERS | END_STREAM, stream, GET), cancel].concat()
        })
        .collect();
    client.send(&many);
    match client.until(|frame| frame.kind == GOAWAY) {
        Ok(goaway) => assert_eq!(goaway.code(), 11, "ENHANCE_YOUR_CALM"),
        Err(error) => assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "still open"),
    }
    assert_unharmed(&gate, before, 16 * MIB, "rapid resets");
    assert!(service.requests().len() < 5000, "{}", service.requests().len());
}

#[test]
fn heads_without_an_end() {
    // CVE-2024-27316.
    let service = Service::ok("");
    let (gate, before) = started(&service);
    let mut client = RawHttp2::connect(&gate, &[]);
    client.send(&frame(HEADERS, END_STREAM, 1, GET));
    // A literal field of 16 000 bytes, never indexed; and frames with nothing in them.
    let field = [&[0x10, 1, b'x', 0x7f, 0x81, 0x7c][..], &[b'y'; 16_000]].concat();
    flood(&mut client, &frame(CONTINUATION, 0, 1, &field), 5000);
    assert_unharmed(&gate, before, 16 * MIB, "CONTINUATION");
    let mut client = RawHttp2::connect(&gate, &[]);
    client.send(&frame(HEADERS, END_STREAM, 1, GET));
    flood(&mut client, &frame(CONTINUATION, 0, 1, b""), 500_000);
    assert_unharmed(&gate, before, 16 * MIB, "empty CONTINUATION");
    assert!(client.until(|frame| frame.kind == GOAWAY).is_ok_and(|goaway| goaway.code() != 0));
    assert_eq!(service.requests().len(), 3);
}

#[test]
fn heads_that_grow_when_they_are_read() {
    // One field of 4000 bytes goes into the table, and is named ten thousand times over (CVE-2016-6581).
    let service = Service::ok("");
    let (gate, before) = started(&service);
    let mut client = RawHttp2::connect(&gate, &[]);
    let entry = [&[0x40, 1, b'x', 0x7f, 0xa1, 0x1e][..], &[b'y'; 4000]].concat();
    let head = [GET, &entry, &[0xbe; 10_000]].concat();
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &head));
    let end = client.until(|frame| matches!(frame.kind, HEADERS | RST_STREAM | GOAWAY));
    assert!(end.is_ok(), "{end:?}");
    assert_unharmed(&gate, before, 16 * MIB, "a head that grows");
    assert_eq!(service.requests().len(), 2, "it is not forwarded");
}

#[test]
fn frames_that_want_an_answer_which_nobody_reads() {
    // CVE-2019-9512, CVE-2019-9515.
    let service = Service::ok("");
    let (gate, before) = started(&service);
    for (case, piece) in [("PING", frame(PING, 0, 0, &[0; 8])), ("SETTINGS", frame(SETTINGS, 0, 0, &[]))] {
        let mut client = RawHttp2::connect(&gate, &[]);
        flood(&mut client, &piece, 1_000_000);
        assert_unharmed(&gate, before, 16 * MIB, case);
    }
}

#[test]
fn frames_that_say_nothing() {
    // CVE-2019-9518, and window updates of one byte.
    let service = Service::ok("");
    let (gate, before) = started(&service);
    let mut client = RawHttp2::connect(&gate, &[]);
    client.send(&frame(HEADERS, END_HEADERS, 1, POST));
    flood(&mut client, &frame(DATA, 0, 1, b""), 1_000_000);
    assert_unharmed(&gate, before, 16 * MIB, "empty DATA");
    let mut client = RawHttp2::connect(&gate, &[]);
    client.send(&frame(HEADERS, END_HEADERS, 1, POST));
    flood(&mut client, &frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes()), 1_000_000);
    assert_unharmed(&gate, before, 16 * MIB, "WINDOW_UPDATE");
}

#[test]
fn many_connections_that_do_nothing() {
    let service = Service::ok("");
    let (gate, before) = started(&service);
    // As many as this process may open.
    let mut held = Vec::new();
    let mut raw = Vec::new();
    for number in 0..600 {
        match number % 3 {
            0 => held.push(gate.connect()),
            1 => {
                let mut client = gate.connect();
                client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX-A: {}", "x".repeat(500)));
                held.push(client);
            }
            _ => raw.push(RawHttp2::connect(&gate, &[])),
        }
    }
    gate.wait_metric("connections", &[], 600);
    assert_unharmed(&gate, before, 20 * MIB, "600 connections");
}

#[test]
fn without_descriptors_accepting_rests_and_begins_again() {
    let service = Service::ok("");
    let gate = Setup::public(&service).start();
    let mut known = gate.connect();
    let limit = format!("--nofile={0}:{0}", 48);
    let status = Command::new("prlimit").args([format!("--pid={}", gate.id()), limit]).status().unwrap();
    assert!(status.success());
    let held: Vec<_> = (0..80).map(|_| gate.connect()).collect();
    until_true("no descriptor is left", || {
        gate.log().iter().any(|line| line["message"] == "connections cannot be accepted")
    });
    let busy = || gate.worker_times().iter().sum::<Duration>();
    let before = busy();
    let_pass(Duration::from_secs(1));
    let spent = busy().saturating_sub(before);
    assert!(spent < Duration::from_millis(200), "{spent:?} of a second");
    // Whoever is there is answered: without a connection to the service it is a 502.
    let reply = get("/").on(&mut known).expect(502, "no descriptor for the service");
    assert_eq!(gate.reason(&reply), "upstream_unreachable");
    drop(held);
    until_true("it accepts again", || {
        let mut client = gate.connect();
        client.send_anyway(get("/").bytes());
        client.try_reply("GET").is_ok_and(|reply| reply.status == 200)
    });
    get("/").on(&mut known).expect(200, "again");
}

#[test]
fn streams_that_the_gate_is_made_to_reset() {
    // CVE-2025-8671: a window that overflows is an error of the stream (RFC 9113 §6.9.1), and it is ours to reset it.
    let service = Service::ok("");
    let (gate, before) = started(&service);
    let mut client = RawHttp2::connect(&gate, &[]);
    let overflow = |stream| frame(WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes());
    let many: Vec<u8> = (0..5000_u32)
        .flat_map(|number| {
            let stream = number * 2 + 1;
            [frame(HEADERS, END_HEADERS, stream, POST), overflow(stream)].concat()
        })
        .collect();
    client.send(&many);
    let end = client.until(|frame| frame.kind == GOAWAY);
    assert!(end.as_ref().is_ok_and(|goaway| goaway.code() == 11), "ENHANCE_YOUR_CALM: {end:?}");
    assert!(service.requests().len() < 500, "{}", service.requests().len());
    assert_unharmed(&gate, before, 16 * MIB, "resets of ours");
}

#[test]
fn room_is_made_for_as_many_connections_as_there_may_be() {
    let service = Service::ok("");
    let limit = |gate: &Gate| {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", gate.id())).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap().to_owned();
        line.split_whitespace().nth(3).unwrap().parse::<u64>().unwrap()
    };
    // A gate inherits the soft limit of whoever starts it, which is mostly 1024.
    let hard = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let many = Setup::public(&service).with("[server.limits]\nconnections = 3000").start();
    assert!(limit(&many) >= 6000.min(hard), "{}", limit(&many));
    assert!(hard < 6256 || !many.log_lines().join("").contains("file descriptors"));
    let too_many = Setup::public(&service).with("[server.limits]\nconnections = 4000000000").start();
    assert!(limit(&too_many) >= limit(&many).min(hard));
    if hard < 8_000_000_000 {
        until_true("it says that there are not enough", || {
            too_many.log_lines().join("").contains("file descriptors")
        });
    }
}
