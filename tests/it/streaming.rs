//! Bodies flow: both ways at once, without waiting for an end, without piling up, and with their trailers.

use crate::support::client::Client;
use crate::support::service::Service;
use crate::support::setup::Setup;
use crate::support::wait::{let_pass, until_true};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

const MIB: u64 = 1 << 20;

#[test]
fn pieces_arrive_as_they_are_sent() {
    let service = Service::start(|exchange| {
        // Answers each piece at once, before the request has ended.
        exchange.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        while let Some(piece) = exchange.piece()? {
            exchange.write(format!("{:x}\r\n", piece.len()))?;
            exchange.write([piece.as_slice(), b"\r\n"].concat())?;
        }
        exchange.write("0\r\n\r\n")
    });
    let gate = Setup::public(&service).start();
    let mut client = gate.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
    let (reply, mut body) = client.head();
    assert_eq!(reply.status, 200);
    assert_eq!(client.piece(&mut body).unwrap().unwrap(), b"one");
    for word in ["two", "six", "ten"] {
        client.send(format!("3\r\n{word}\r\n"));
        assert_eq!(client.piece(&mut body).unwrap().unwrap(), word.as_bytes());
    }
    client.send("0\r\n\r\n");
    assert!(client.piece(&mut body).unwrap().is_none());
    assert_eq!(service.only().body, b"onetwosixten");
}

#[test]
fn events_arrive_one_by_one() {
    let (sender, receiver) = mpsc::channel::<&str>();
    let receiver = std::sync::Mutex::new(receiver);
    let service = Service::start(move |exchange| {
        exchange.reply("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")?;
        while let Ok(event) = receiver.lock().unwrap().recv() {
            exchange.write(event)?;
        }
        exchange.close()
    });
    let gate = Setup::public(&service).start();
    let mut client = gate.connect();
    client.send(crate::support::request::get("/events").bytes());
    let (reply, mut body) = client.head();
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/event-stream")));
    for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
        sender.send(event).unwrap();
        assert_eq!(client.piece(&mut body).unwrap().unwrap(), event.as_bytes());
    }
    drop(sender);
    assert!(client.piece(&mut body).unwrap().is_none());
}

#[test]
fn trailers_go_both_ways() {
    let service = Service::raw(
        "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 42\r\nX-Other: 1\r\n\r\n",
    );
    let gate = Setup::public(&service).start();
    let mut client = gate.connect();
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\nTrailer: X-Check\r\nTransfer-Encoding: chunked\r\n\r\n\
         2\r\nhi\r\n0\r\nX-Check: 7\r\n\r\n",
    );
    let reply = client.reply().expect(200, "trailers");
    assert_eq!((reply.text().as_str(), reply.trailers.one("x-sum")), ("ok", Some("42")));
    let seen = service.only();
    assert_eq!((seen.body.as_slice(), seen.trailers.one("x-check")), (b"hi".as_slice(), Some("7")));
}

#[test]
fn large_bodies_go_through_at_flat_memory() {
    let piece = vec![b'x'; 1 << 16];
    let download = Arc::new(piece.clone());
    let service = Service::start(move |exchange| {
        exchange.finish()?;
        exchange.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 64 * MIB))?;
        for _ in 0..64 * MIB / download.len() as u64 {
            exchange.write(download.as_slice())?;
        }
        Ok(())
    });
    let gate = Setup::public(&service).start();
    let mut client = gate.connect();
    crate::support::request::get("/warm-up").on(&mut client).expect(200, "warm-up");
    let before = gate.peak_memory();
    client.send(format!("POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 64 * MIB));
    for _ in 0..64 * MIB / piece.len() as u64 {
        client.send(&piece);
    }
    let (reply, mut body) = client.head();
    assert_eq!(reply.status, 200);
    let mut length = 0;
    while let Some(piece) = client.piece(&mut body).unwrap() {
        length += piece.len() as u64;
    }
    assert_eq!((length, service.request(1).length), (64 * MIB, 64 * MIB));
    let grown = gate.peak_memory().saturating_sub(before);
    assert!(grown < 8 * MIB, "the gate grew by {grown} bytes");
}

/// Writes until nothing more is taken, and says how much was.
fn fill_up(client: &mut Client) -> u64 {
    let piece = vec![b'x'; 1 << 16];
    let stream = client.wire().stream();
    stream.set_patience(Some(Duration::from_millis(700)));
    let mut taken = 0;
    loop {
        match stream.write(&piece) {
            Ok(count) => taken += count as u64,
            Err(_) => return taken,
        }
        assert!(taken < 200 * MIB, "there is no back-pressure");
    }
}

#[test]
fn a_service_that_does_not_read_stops_the_client() {
    let release = Arc::new(AtomicBool::new(false));
    let released = Arc::clone(&release);
    let service = Service::start(move |exchange| {
        until_true("the test lets the service read", || released.load(Ordering::SeqCst));
        exchange.ok("read")
    });
    let gate = Setup::public(&service).start();
    let mut client = gate.connect();
    let total = 256 * MIB;
    let before = gate.peak_memory();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {total}\r\n\r\n"));
    let taken = fill_up(&mut client);
    let grown = gate.peak_memory().saturating_sub(before);
    // The rest is in the kernel's buffers.
    assert!(grown < 8 * MIB, "{taken} bytes were taken and the gate grew by {grown}");
    release.store(true, Ordering::SeqCst);
    client.wire().stream().set_patience(Some(Duration::from_secs(30)));
    let piece = vec![b'x'; 1 << 16];
    let mut left = total - taken;
    while left > 0 {
        let count = left.min(piece.len() as u64);
        client.send(&piece[..usize::try_from(count).unwrap()]);
        left -= count;
    }
    client.reply().expect(200, "after all");
    assert_eq!(service.only().length, total);
}

#[test]
fn a_client_that_does_not_read_stops_the_service() {
    let sent = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let count = Arc::clone(&sent);
    let service = Service::start(move |exchange| {
        exchange.reply("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
        let piece = vec![b'x'; 1 << 16];
        loop {
            exchange.write(&piece)?;
            count.fetch_add(piece.len() as u64, Ordering::SeqCst);
        }
    });
    let gate = Setup::public(&service).start();
    let mut client = gate.connect();
    let before = gate.peak_memory();
    client.send(crate::support::request::get("/").bytes());
    until_true("the service cannot send more", || {
        let now = sent.load(Ordering::SeqCst);
        assert!(now < 200 * MIB, "there is no back-pressure");
        let_pass(Duration::from_millis(300));
        now > 0 && sent.load(Ordering::SeqCst) == now
    });
    let grown = gate.peak_memory().saturating_sub(before);
    assert!(grown < 8 * MIB, "the gate grew by {grown}");
    drop(client);
    service.wait_closed(0);
}
