//! The reader and writer of HTTP/1.1 under peers that answer early, read late, or leave: what is one request's stays so.

use crate::support::frames::{echo, handshake};
use crate::support::gate::Gate;
use crate::support::request::get;
use crate::support::service::Service;
use crate::support::setup::{PUBLIC, Setup};
use crate::support::wait::{let_pass, until_true};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// Frames of HTTP/2 (RFC 9113 §6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const END: u8 = 1;
const HEADERS_END: u8 = 4;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// One HTTP/2 connection from the gate, frame by frame.
struct Frames(TcpStream);

impl Frames {
    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame)
    }

    /// A 200 with this many bytes; `flags` says whether they are to come.
    fn head(&mut self, stream: u32, flags: u8, length: &str) -> io::Result<()> {
        let mut block = vec![0x88, 0x0f, 0x0d, u8::try_from(length.len()).unwrap()];
        block.extend(length.as_bytes());
        self.send(HEADERS, flags | HEADERS_END, stream, &block)
    }

    fn open(&mut self, stream: u32, window: u32) -> io::Result<()> {
        self.send(WINDOW_UPDATE, 0, stream, &window.to_be_bytes())
    }

    fn next(&mut self) -> io::Result<Seen> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.0.read_exact(&mut payload)?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Ok(Seen { kind: head[3], flags: head[4], stream, payload })
    }
}

/// A service that answers HTTP/2 as the test says, and lets nobody send a body until the test opens the window.
struct Deaf {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Deaf {
    /// `answer` is called with each request's stream, from the second request on; the first one is answered.
    fn start(answer: impl Fn(&mut Frames, u32) -> io::Result<()> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let log = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                converse(stream, &log, &answer).ok();
            }
        });
        Self { url, seen }
    }

    /// A gate before it whose connection knows that the window is shut.
    fn gate(&self) -> Gate {
        let gate = Setup::new(&self.url).upstream("http2 = true").with(PUBLIC).start();
        get("/first").send(&gate).expect(200, "first");
        let_pass(Duration::from_millis(100));
        gate
    }

    fn body(&self, stream: u32) -> String {
        let seen = self.seen.lock().unwrap();
        let data = seen.iter().filter(|frame| frame.kind == DATA && frame.stream == stream);
        String::from_utf8(data.flat_map(|frame| frame.payload.clone()).collect()).unwrap()
    }

    fn has(&self, kind: u8, stream: u32) -> bool {
        self.seen.lock().unwrap().iter().any(|frame| (frame.kind, frame.stream) == (kind, stream))
    }
}

fn converse(
    stream: TcpStream,
    log: &Mutex<Vec<Seen>>,
    answer: &impl Fn(&mut Frames, u32) -> io::Result<()>,
) -> io::Result<()> {
    let mut frames = Frames(stream);
    frames.0.read_exact(&mut [0; 24])?;
    frames.send(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])?;
    loop {
        let frame = frames.next()?;
        log.lock().unwrap().push(frame.clone());
        match frame.kind {
            SETTINGS if frame.flags == 0 => frames.send(SETTINGS, 1, 0, &[])?,
            PING if frame.flags == 0 => frames.send(PING, 1, 0, &frame.payload)?,
            HEADERS if frame.stream == 1 => frames.head(1, END, "0")?,
            HEADERS => answer(&mut frames, frame.stream)?,
            _ => {}
        }
    }
}

#[test]
fn a_body_never_goes_to_the_request_before_it() {
    let service = Deaf::start(|frames, stream| {
        if stream > 3 {
            frames.open(3, 1000)?;
            let_pass(Duration::from_millis(300));
            frames.open(stream, 1000)?;
        }
        frames.head(stream, END, "0")
    });
    let gate = service.gate();
    let mut client = gate.connect();
    client.send(
        "POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n",
    );
    client.reply().expect(200, "early");
    client.send_anyway("POST /3 HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n");
    let_pass(Duration::from_millis(100));
    client.send_anyway("SEC");
    let_pass(Duration::from_millis(500));
    client.send_anyway("RET");
    client.try_reply("POST").ok();
    let_pass(Duration::from_millis(300));
    assert!("abcdef".starts_with(&service.body(3)), "{:?}", service.body(3));
    assert!("SECRET".starts_with(&service.body(5)), "{:?}", service.body(5));
}

#[test]
fn no_interim_response_stands_in_a_final_one() {
    let service = Deaf::start(|frames, stream| {
        frames.head(stream, 0, "10")?;
        frames.send(DATA, 0, stream, b"01234")?;
        let_pass(Duration::from_millis(200));
        frames.open(stream, 1000)?;
        let_pass(Duration::from_millis(200));
        frames.send(DATA, END, stream, b"56789")
    });
    let gate = service.gate();
    let mut client = gate.connect();
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    );
    assert_eq!(client.reply().expect(200, "early").text(), "0123456789");
}

#[test]
fn a_connection_closes_behind_an_early_answer_though_the_service_would_read_on() {
    let service = Deaf::start(|frames, stream| {
        frames.head(stream, END, "0")?;
        frames.open(stream, 100_000)
    });
    let gate = service.gate();
    let mut client = gate.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc");
    client.reply().expect(200, "early");
    assert!(client.one_head().is_err(), "it is closed");
    until_true("the service is told that no more comes", || service.has(RESET, 3));
}

#[test]
fn a_client_that_leaves_behind_its_body_is_missed_over_http2_too() {
    let service = Deaf::start(|frames, stream| frames.open(stream, 1000));
    let gate = service.gate();
    for pieces in [["ab", "c"], ["abc", ""]] {
        let mut client = gate.connect();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n");
        for piece in pieces {
            client.send(piece);
        }
        let stream = if pieces[1].is_empty() { 5 } else { 3 };
        until_true("the body arrives", || service.body(stream) == "abc");
        let_pass(Duration::from_millis(100));
        drop(client);
        until_true("the service is told", || service.has(RESET, stream));
    }
}

/// A service that writes and reads at the same time, whatever the other side does.
fn both_ways(total: u64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut reader, _) = listener.accept().unwrap();
        let mut writer = reader.try_clone().unwrap();
        reader.read_exact(&mut [0; 16]).unwrap();
        std::thread::spawn(move || io::copy(&mut reader, &mut io::sink()));
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\n");
        writer.write_all(head.as_bytes()).unwrap();
        io::copy(&mut io::repeat(b'y').take(total), &mut writer).unwrap();
        // The connection stays.
        std::mem::forget(writer);
    });
    url
}

#[test]
fn who_sends_everything_before_it_reads_is_served() {
    let total = 32 * MIB;
    let gate = Setup::new(&both_ways(total)).with(PUBLIC).start();
    let mut client = gate.connect();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {total}\r\n\r\n"));
    let piece = vec![b'x'; 1 << 16];
    for _ in 0..total / piece.len() as u64 {
        client.send(&piece);
    }
    assert_eq!(client.reply().expect(200, "all of it").body.len() as u64, total);
}

#[test]
fn who_sends_everything_before_it_reads_is_served_over_http2_too() {
    let total = 8 * MIB;
    let gate = Setup::new(&both_ways(total)).with(PUBLIC).start();
    let mut frames = Frames(TcpStream::connect(gate.address()).unwrap());
    frames.0.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    frames.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    frames.send(SETTINGS, 0, 0, &[]).unwrap();
    // POST http / with the authority `a`; our own windows stay as small as they are in the beginning.
    frames.send(HEADERS, HEADERS_END, 1, b"\x83\x86\x84\x41\x01a").unwrap();
    let (mut window, mut sent) = ([65_535_u64; 2], 0);
    while sent < total {
        let piece = window[0].min(window[1]).min(16_384).min(total - sent);
        if piece > 0 {
            frames.send(DATA, 0, 1, &vec![b'x'; usize::try_from(piece).unwrap()]).unwrap();
            sent += piece;
            window = window.map(|left| left - piece);
            continue;
        }
        let frame = frames.next().unwrap_or_else(|error| panic!("{error} after {sent} bytes"));
        match frame.kind {
            WINDOW_UPDATE => {
                let more = u32::from_be_bytes(frame.payload.try_into().unwrap());
                window[usize::from(frame.stream > 0)] += u64::from(more);
            }
            SETTINGS if frame.flags == 0 => {
                for setting in frame.payload.chunks(6).filter(|setting| setting[..2] == [0, 4]) {
                    let value = u32::from_be_bytes(setting[2..].try_into().unwrap());
                    window[1] = window[1] + u64::from(value) - 65_535;
                }
                frames.send(SETTINGS, 1, 0, &[]).unwrap();
            }
            _ => {}
        }
    }
}

#[test]
fn a_connection_that_changed_its_protocol_unasked_serves_nobody_else() {
    let service = Service::start(|exchange| {
        if exchange.target() == "/switch" {
            return exchange
                .reply("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n");
        }
        exchange.ok("served")
    });
    let gate = Setup::public(&service).start();
    get("/switch").send(&gate).expect(502, "a 101 that nobody asked for");
    get("/other").send(&gate).expect(200, "another request");
    assert_eq!(service.request(1).connection, 1);
}

#[test]
fn a_handshake_is_answered_with_each_field_once() {
    let service = Service::start(echo);
    let gate = Setup::public(&service).start();
    let mut client = gate.connect();
    client.send(handshake("/ws").bytes());
    let (reply, _) = client.head();
    // Browsers refuse a handshake with two of them.
    assert_eq!((reply.status, reply.header("upgrade")), (101, Some("websocket")));
    assert_eq!(reply.header("connection"), Some("Upgrade"));
}

#[test]
fn leave_to_send_a_body_is_not_left_over_for_the_next_request() {
    let service = Service::ok("served");
    let gate = Setup::public(&service).start();
    let mut client = gate.connect();
    client.send("POST /1 HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc");
    client.reply().expect(200, "a body that did not wait");
    client.send("POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n");
    let_pass(Duration::from_millis(200));
    client.send("abc");
    let reply = client.reply().expect(200, "nothing was expected");
    assert!(reply.interim.is_empty(), "{:?}", reply.interim);
}

#[test]
fn nothing_behind_a_malformed_body_becomes_a_request() {
    let service = Service::start(|exchange| {
        exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")?;
        let_pass(Duration::from_millis(300));
        exchange.write("early")?;
        exchange.hold()
    });
    let gate = Setup::public(&service).start();
    let mut client = gate.connect();
    client.send("POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n");
    service.begun(0);
    let (_, mut body) = client.head();
    client.send("0\r\nContent-Length: 3\r\n\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
    while client.piece(&mut body).unwrap().is_some() {}
    assert!(client.one_head().is_err(), "the connection ends");
    assert_eq!(service.targets(), ["/1"]);
}

#[test]
fn what_came_before_a_body_broke_off_arrives() {
    let service = Service::start(|exchange| {
        exchange.finish()?;
        exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nlast w")?;
        exchange.close()
    });
    let gate = Setup::public(&service).start();
    let mut client = gate.connect();
    client.send(get("/").bytes());
    let (reply, mut body) = client.head();
    assert_eq!(reply.status, 200);
    assert_eq!(client.piece(&mut body).unwrap().unwrap(), b"last w");
    assert!(client.piece(&mut body).is_err(), "it is not whole");
}

#[test]
fn an_old_client_does_not_take_a_part_for_the_whole() {
    let service = Service::start(|exchange| {
        exchange.finish()?;
        exchange.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n")?;
        exchange.close()
    });
    let gate = Setup::public(&service).start();
    let mut client = gate.connect();
    client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    let error = client.try_reply("GET").expect_err("it is not whole");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}
