//! Open WebSockets: they end when the token does, when the gate does, and when either side does.

use crate::support::frames::{CLOSE, Frame, PING, PONG, Socket, TEXT, echo, handshake};
use crate::support::gate::Gate;
use crate::support::idp::Idp;
use crate::support::service::Service;
use crate::support::setup::Setup;
use crate::support::wait::{PATIENCE, let_pass, throughout};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A gate without leeway, so that a tunnel ends at `exp` itself.
fn exact(service: &Service, idp: &Idp) -> Setup {
    let authenticator = format!("{}leeway = \"0s\"\n", idp.authenticator("main"));
    Setup::new(service.url()).with(&authenticator)
}

/// Opens a tunnel with a token that expires in so many seconds.
#[track_caller]
fn open(gate: &Gate, idp: &Idp, seconds: i64) -> Socket {
    Socket::open(gate, &handshake("/ws").bearer(&idp.token().expires_in(seconds).build()))
}

#[test]
fn a_tunnel_ends_with_its_token() {
    let (service, idp) = (Service::start(echo), Idp::start());
    let gate = exact(&service, &idp).start();
    let begin = Instant::now();
    let mut socket = open(&gate, &idp, 3);
    socket.echo("before");
    let last = socket.read();
    assert_eq!(last.code(), Some(1008), "{last:?}");
    assert!(!last.masked, "a server's frames are not masked");
    let took = begin.elapsed();
    assert!((Duration::from_secs(1)..Duration::from_secs(6)).contains(&took), "it took {took:?}");
    socket.client().assert_closed("after 1008");
    service.wait_closed(0);
    gate.wait_metric("tunnels", &[], 0);
}

#[test]
fn leeway_counts_for_tunnels_too() {
    let (service, idp) = (Service::start(echo), Idp::start());
    let authenticator = format!("{}leeway = \"4s\"\n", idp.authenticator("main"));
    let gate = Setup::new(service.url()).with(&authenticator).start();
    let mut socket = open(&gate, &idp, 1);
    throughout("open within the leeway", Duration::from_secs(3), || {
        socket.echo("still");
        true
    });
    assert_eq!(socket.read().code(), Some(1008));
}

/// Lets the rest of this second pass: `exp` has no fractions, and the test below no time to lose.
fn at_the_full_second() {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let_pass(Duration::from_nanos(u64::from(1_000_000_000 - since.subsec_nanos())));
}

#[test]
fn it_ends_at_a_frame_border() {
    let (service, idp) = (Service::start(echo), Idp::start());
    let gate = exact(&service, &idp).start();
    at_the_full_second();
    let mut socket = open(&gate, &idp, 2);
    // Begun half a second before the end, finished half a second after it: within the second that it has.
    let bytes = Frame::text("finished in time").masked().bytes();
    let (head, rest) = bytes.split_at(4);
    let_pass(Duration::from_millis(1400));
    socket.client().send(head);
    let_pass(Duration::from_secs(1));
    socket.client().send_anyway(rest);
    let mut frames = Vec::new();
    while let Ok(frame) = socket.try_read() {
        frames.push(frame);
    }
    let last = frames.pop().expect("a close frame");
    assert_eq!(last.code(), Some(1008), "{last:?}");
    assert!(frames.iter().all(|frame| frame.payload == b"finished in time"), "{frames:?}");
    service.wait_closed(0);
    let raw = service.connections()[0].raw.clone();
    let head_end = raw.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    assert!(raw[head_end..].starts_with(&bytes), "the service did not get the whole frame: {raw:?}");
}

#[test]
fn a_frame_that_never_ends_is_cut() {
    let (service, idp) = (Service::start(echo), Idp::start());
    let gate = exact(&service, &idp).start();
    let mut socket = open(&gate, &idp, 2);
    let begin = Instant::now();
    let bytes = Frame::new(TEXT, vec![b'x'; 1000]).masked().bytes();
    socket.client().send(&bytes[..500]);
    while socket.try_read().is_ok() {}
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(8), "it took {took:?}");
    service.wait_closed(0);
}

#[test]
fn a_busy_service_cannot_keep_it_open() {
    let (service, idp) = (
        Service::start(|exchange| {
            let answer = crate::support::frames::accepted(&exchange.request(), "");
            exchange.write(answer)?;
            let frame = Frame::text(&"tick ".repeat(100)).bytes();
            loop {
                exchange.write(&frame)?;
            }
        }),
        Idp::start(),
    );
    let gate = exact(&service, &idp).start();
    let mut socket = open(&gate, &idp, 3);
    let begin = Instant::now();
    let last = loop {
        assert!(begin.elapsed() < PATIENCE, "it is still open");
        let frame = socket.read();
        if frame.opcode == CLOSE {
            break frame;
        }
        assert_eq!(frame.payload.len(), 500, "only whole frames");
    };
    assert_eq!(last.code(), Some(1008));
}

#[test]
fn a_rule_may_ignore_the_expiry() {
    let (service, idp) = (Service::start(echo), Idp::start());
    let gate = exact(&service, &idp).route("/ws", "websocket.on_expiry = \"ignore\"").start();
    let mut socket = open(&gate, &idp, 2);
    throughout("it stays open", Duration::from_secs(4), || {
        socket.echo("still");
        true
    });
}

#[test]
fn public_tunnels_have_no_end() {
    let service = Service::start(echo);
    let gate = Setup::public(&service)
        .server("[server.limits]\nidle_timeout = \"300ms\"\nheader_timeout = \"300ms\"")
        .start();
    let mut socket = Socket::open(&gate, &handshake("/ws"));
    let_pass(Duration::from_secs(1));
    socket.echo("idle timeouts are for requests");
}

#[test]
fn control_frames_pass_untouched() {
    let service = Service::start(echo);
    let gate = Setup::public(&service).start();
    let mut socket = Socket::open(&gate, &handshake("/ws"));
    for frame in [
        Frame::new(PING, "ping"),
        Frame::new(PONG, ""),
        Frame::text("first ").unfinished(),
        Frame::new(PING, "in the middle"),
        Frame::new(0, "last"),
        Frame::new(2, [0, 255, 127]),
    ] {
        socket.send(frame.clone());
        assert_eq!(socket.read(), frame);
    }
    socket.send(Frame::close(4321));
    assert_eq!(socket.read().code(), Some(4321), "the service's own close code");
    socket.client().assert_closed("after the close");
}

#[test]
fn either_end_ends_it() {
    let service = Service::start(echo);
    let gate = Setup::public(&service).start();
    let socket = Socket::open(&gate, &handshake("/client-goes"));
    drop(socket);
    service.wait_closed(0);

    let service = Service::start(|exchange| {
        let answer = crate::support::frames::accepted(&exchange.request(), "");
        exchange.write(answer)?;
        exchange.close()
    });
    let gate = Setup::public(&service).start();
    let mut socket = Socket::open(&gate, &handshake("/service-goes"));
    assert!(socket.try_read().is_err());
    gate.wait_metric("tunnels", &[], 0);
}

#[test]
fn a_drain_closes_tunnels_with_1001() {
    let service = Service::start(echo);
    let gate = Setup::public(&service).with("[server.shutdown]\ngrace = \"3s\"").start();
    let mut socket = Socket::open(&gate, &handshake("/ws"));
    socket.echo("open");
    gate.terminate();
    let frame = socket.read();
    assert_eq!(frame.code(), Some(1001), "{frame:?}");
    socket.client().assert_closed("after 1001");
    assert_eq!(gate.wait_exit(), Some(0));
}
