//! How the process ends: probes first, then what is in flight, then nothing is left.

use crate::support::client::Client;
use crate::support::gate::Gate;
use crate::support::http2::Http2;
use crate::support::request::get;
use crate::support::service::{Service, accepts};
use crate::support::setup::Setup;
use crate::support::wait::{let_pass, until, until_true};
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A service that answers `/held` when it is told to.
fn holding() -> (Service, Arc<AtomicBool>) {
    let release = Arc::new(AtomicBool::new(false));
    let released = Arc::clone(&release);
    let service = Service::start(move |exchange| {
        if exchange.target() == "/held" {
            exchange.finish()?;
            until_true("the test lets it go", || released.load(Ordering::SeqCst));
        }
        exchange.ok("done")
    });
    (service, release)
}

/// A request in flight.
#[track_caller]
fn held(gate: &Gate, service: &Service) -> Client {
    let mut client = gate.connect();
    client.send(get("/held").bytes());
    until("the request is in flight", || service.targets().contains(&"/held".to_owned()).then_some(()));
    client
}

#[test]
fn requests_in_flight_are_completed() {
    for signal in ["TERM", "INT"] {
        let (service, release) = holding();
        let gate = Setup::public(&service).start();
        let mut client = held(&gate, &service);
        gate.signal(signal);
        until_true("nobody is accepted any more", || !accepts(gate.address()));
        assert!(!gate.exited());
        release.store(true, Ordering::SeqCst);
        let reply = client.reply().expect(200, signal);
        assert_eq!(reply.text(), "done");
        assert!(reply.headers.lists("connection", "close"), "{signal}: the client is told: {reply:?}");
        client.assert_closed(signal);
        assert_eq!(gate.wait_exit(), Some(0), "{signal}");
        let entry = gate.access(&reply);
        assert_eq!(entry["status"], 200, "{signal}: the last line is not lost");
    }
}

#[test]
fn idle_connections_are_closed_and_the_end_comes_soon() {
    let service = Service::ok("hello");
    let gate = Setup::public(&service).start();
    let mut client = gate.connect();
    get("/").on(&mut client).expect(200, "before");
    let mut silent = gate.connect();
    let mut http2 = Http2::connect(gate.address());
    assert_eq!(http2.get("/", &[]).status, 200);
    let begin = Instant::now();
    gate.terminate();
    client.assert_closed("idle");
    silent.assert_closed("silent");
    assert_eq!(gate.wait_exit(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(10), "it waited for nothing: {:?}", begin.elapsed());
}

#[test]
fn load_balancers_are_told_first() {
    let (service, release) = holding();
    let gate = Setup::public(&service).with("[server.shutdown]\ndelay = \"3s\"\ngrace = \"20s\"").start();
    let mut client = held(&gate, &service);
    assert_eq!(gate.readiness(), 200);
    let begin = Instant::now();
    gate.terminate();
    until_true("/readyz is 503", || gate.readiness() == 503);
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    get("/livez").send_admin(&gate).expect(200, "alive");
    let mut fresh = gate.connect();
    get("/new").on(&mut fresh).expect(200, "requests are still taken");
    get("/newer").on(&mut fresh).expect(200, "on the same connection, too");
    until_true("then no more", || !accepts(gate.address()));
    assert!(begin.elapsed() > Duration::from_millis(2500), "{:?}", begin.elapsed());
    release.store(true, Ordering::SeqCst);
    client.reply().expect(200, "in flight all the time");
    assert_eq!(gate.wait_exit(), Some(0));
}

#[test]
fn grace_is_over_some_time() {
    let (service, _release) = holding();
    let gate = Setup::public(&service).with("[server.shutdown]\ngrace = \"700ms\"").start();
    let mut client = held(&gate, &service);
    let begin = Instant::now();
    gate.terminate();
    gate.wait_exit();
    let took = begin.elapsed();
    assert!((Duration::from_millis(600)..Duration::from_secs(10)).contains(&took), "it took {took:?}");
    assert!(client.try_reply("GET").is_err() || !accepts(gate.address()));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (service, _release) = holding();
    let gate = Setup::public(&service).with("[server.shutdown]\ngrace = \"25s\"").start();
    let _client = held(&gate, &service);
    gate.terminate();
    until_true("the drain has begun", || !accepts(gate.address()));
    assert!(!gate.exited());
    let begin = Instant::now();
    gate.terminate();
    gate.wait_exit();
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

#[test]
fn a_body_in_flight_is_finished() {
    let service = Service::ok("done");
    let gate = Setup::public(&service).start();
    let mut client = gate.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo");
    service.begun(0);
    gate.terminate();
    until_true("the drain has begun", || !accepts(gate.address()));
    client.send("dy");
    client.reply().expect(200, "uploaded while draining");
    assert_eq!(service.only().body, b"body");
    assert_eq!(gate.wait_exit(), Some(0));
}

/// What became of the requests of one client.
#[derive(Debug, Default)]
struct Fate {
    answered: usize,
    /// The connection was refused, so there was no request.
    refused: bool,
}

/// Sends requests until nobody accepts a connection any more. Each that was sent must be answered, and whole; but a client
/// that waits between requests may find that its connection was closed in the meantime.
fn hammer(address: &str, on_one_connection: usize, pause: Duration) -> Result<Fate, String> {
    let mut fate = Fate::default();
    loop {
        let stream = TcpStream::connect(address);
        let Ok(stream) = stream else { return Ok(Fate { refused: true, ..fate }) };
        let mut stream = BufReader::new(stream);
        for number in 0..on_one_connection {
            if number > 0 && !pause.is_zero() {
                let_pass(pause);
                stream.get_ref().set_nonblocking(true).unwrap();
                let closed =
                    !matches!(stream.fill_buf(), Err(error) if error.kind() == ErrorKind::WouldBlock);
                stream.get_ref().set_nonblocking(false).unwrap();
                if closed {
                    break;
                }
            }
            let sent = stream.get_mut().write_all(b"GET /load HTTP/1.1\r\nHost: a\r\n\r\n");
            let mut told = String::new();
            let closes = sent.and_then(|()| answer(&mut stream, &mut told));
            match closes {
                Ok(closes) => {
                    fate.answered += 1;
                    if closes {
                        break;
                    }
                }
                Err(error) => return Err(format!("request {number} of a connection: {error}; {told:?}")),
            }
        }
    }
}

/// Reads one response of ours; whether the connection closes behind it.
fn answer(stream: &mut BufReader<TcpStream>, told: &mut String) -> std::io::Result<bool> {
    while !told.ends_with("\r\n\r\n") {
        if stream.read_line(told)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    let mut body = [0; 4];
    stream.read_exact(&mut body)?;
    let whole = told.starts_with("HTTP/1.1 200 ") && &body == b"done";
    if whole {
        Ok(told.to_lowercase().contains("connection: close"))
    } else {
        Err(ErrorKind::InvalidData.into())
    }
}

#[test]
fn sigterm_under_load_loses_no_request() {
    let service = Service::ok("done");
    for round in 0..5 {
        let gate = Setup::public(&service).workers(2).start();
        let address = gate.address();
        let fates: Vec<Result<Fate, String>> = std::thread::scope(|scope| {
            let pause = Duration::from_millis(3);
            let clients: Vec<_> = (0..12)
                .map(|client| match client % 3 {
                    // New connections all the time, busy connections, and connections with pauses.
                    0 => scope.spawn(move || hammer(address, 1, Duration::ZERO)),
                    1 => scope.spawn(move || hammer(address, usize::MAX, Duration::ZERO)),
                    _ => scope.spawn(move || hammer(address, usize::MAX, pause)),
                })
                .collect();
            let_pass(Duration::from_millis(300));
            gate.terminate();
            clients.into_iter().map(|client| client.join().unwrap()).collect()
        });
        assert_eq!(gate.wait_exit(), Some(0));
        for fate in fates {
            let fate = fate.unwrap_or_else(|lost| panic!("round {round}: a request was lost: {lost}"));
            assert!(fate.refused && fate.answered > 5, "{fate:?}");
        }
    }
}
