//! What the gate must not waste: the memory of connections that say nothing, and the cores that it has.

use crate::support::client::Client;
use crate::support::frames::{Socket, echo, handshake};
use crate::support::gate::Gate;
use crate::support::http2::Http2;
use crate::support::request::get;
use crate::support::service::Service;
use crate::support::setup::Setup;
use std::time::Duration;

/// As many as the usual limit of open files allows, on both sides of the gate.
const CONNECTIONS: u64 = 300;

/// By how many bytes the gate grows with each of them.
fn growth(gate: &Gate, open: impl FnOnce()) -> u64 {
    let before = gate.memory();
    open();
    gate.memory().saturating_sub(before) / CONNECTIONS
}

#[test]
fn a_parked_connection_holds_next_to_nothing() {
    let service = Service::ok("served");
    let gate = Setup::public(&service).start();
    get("/warm-up").send(&gate).expect(200, "warm-up");
    let mut clients: Vec<Client> = Vec::new();
    let growth = growth(&gate, || {
        for _ in 0..CONNECTIONS {
            let mut client = gate.connect();
            get("/").on(&mut client).expect(200, "once");
            clients.push(client);
        }
    });
    assert!(growth < 5000, "{growth} bytes a connection");
    for client in &mut clients {
        get("/").on(client).expect(200, "and again");
    }
}

#[test]
fn a_silent_tunnel_holds_next_to_nothing() {
    let service = Service::start(echo);
    let gate = Setup::public(&service).start();
    let mut sockets = vec![Socket::open(&gate, &handshake("/warm-up"))];
    let growth = growth(&gate, || {
        for _ in 0..CONNECTIONS {
            let mut socket = Socket::open(&gate, &handshake("/ws"));
            socket.echo("a word");
            sockets.push(socket);
        }
    });
    // Less than half of what a copy of both buffers would take; the figure itself is measured in benches/peers.
    assert!(growth < 12_000, "{growth} bytes a tunnel");
    for socket in &mut sockets {
        socket.echo("another");
    }
}

#[test]
fn a_few_long_connections_use_every_worker() {
    let service = Service::ok("served");
    let gate = Setup::public(&service).workers(2).start();
    let mut clients: Vec<Http2> = (0..4).map(|_| Http2::connect(gate.address())).collect();
    let before = gate.worker_times();
    for _ in 0..50 {
        for client in &mut clients {
            assert_eq!(client.get("/", &[]).status, 200);
        }
    }
    let worked: Vec<Duration> =
        gate.worker_times().iter().zip(&before).map(|(now, then)| now.saturating_sub(*then)).collect();
    let [one, other] = worked[..] else { panic!("two workers: {worked:?}") };
    assert!(one.min(other) * 3 > one.max(other), "the work is shared: {worked:?}");
}
