//! What all parts of one client connection share.

use crate::certificate::Certificate;
use crate::clock::after;
use crate::gateway::{Gateway, Via};
use crate::headers::forwarded::Provenance;
use crate::peer::Peer;
use crate::proxy::response_body::InFlight;
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long a draining gate goes on listening to connections that are idle.
const PATIENCE: Duration = Duration::from_millis(500);

/// The worker's side of draining, as its connections see it.
#[derive(Debug, Default)]
pub struct Drain {
    begun: Cell<Option<Instant>>,
    begin: Notify,
    tunnels_end: Cell<bool>,
    end_tunnels: Notify,
    /// Connections with tunnels that are streams of theirs.
    multiplexed: RefCell<Vec<Weak<Streams>>>,
}

/// What goes on on one connection.
#[derive(Debug, Default)]
struct Streams {
    /// Requests on their way, tunnels among them.
    in_flight: Rc<Cell<usize>>,
    /// Tunnels that are no connections, but streams of this one.
    tunnels: Cell<usize>,
    /// Whether the worker's draining knows it.
    is_known: Cell<bool>,
}

/// A tunnel that is a stream of a connection, as long as it is open.
#[derive(Debug)]
pub struct Multiplexed(Rc<Streams>);

impl Drop for Multiplexed {
    fn drop(&mut self) {
        self.0.tunnels.set(self.0.tunnels.get().saturating_sub(1));
    }
}

impl Drain {
    /// Tells every connection to finish what it has begun, and no more.
    pub fn begin(&self) {
        self.begun.set(Some(Instant::now()));
        self.begin.notify_waiters();
    }

    /// Ends when that is said.
    pub async fn begun(&self) {
        let notified = self.begin.notified();
        if !self.has_begun() {
            notified.await;
        }
    }

    /// Whether that was said.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.begun.get().is_some()
    }

    /// When that was said; now, if it was not.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.begun.get().unwrap_or_else(Instant::now)
    }

    /// Until when an idle client may send what it had begun to send when it could not know yet.
    #[must_use]
    pub fn patience(&self) -> Instant {
        after(self.since(), PATIENCE)
    }

    /// How many tunnels are streams of a connection, and how many connections carry nothing but such tunnels.
    #[must_use]
    pub fn multiplexed(&self) -> (usize, usize) {
        let mut connections = self.multiplexed.borrow_mut();
        connections.retain(|streams| streams.strong_count() > 0);
        let all = connections.iter().filter_map(Weak::upgrade);
        all.fold((0, 0), |(tunnels, resting), streams| {
            let own = streams.tunnels.get();
            let rests = own > 0 && own == streams.in_flight.get();
            (tunnels.saturating_add(own), resting.saturating_add(rests.into()))
        })
    }

    /// Tells every tunnel to close.
    pub fn end_tunnels(&self) {
        self.tunnels_end.set(true);
        self.end_tunnels.notify_waiters();
    }

    /// Ends when tunnels must close.
    pub async fn tunnels_ended(&self) {
        let notified = self.end_tunnels.notified();
        if !self.tunnels_end.get() {
            notified.await;
        }
    }
}

/// What all parts of one client connection share.
#[derive(Debug)]
pub struct Context {
    /// The worker's gateway.
    pub gateway: Rc<Gateway>,
    /// The worker's draining.
    pub drain: Rc<Drain>,
    /// What requests of this connection have in common.
    pub via: Via,
    streams: Rc<Streams>,
}

impl Context {
    /// For a connection of `peer`, which may have shown a certificate.
    #[must_use]
    pub fn new(
        gateway: Rc<Gateway>,
        drain: Rc<Drain>,
        (peer, certificate): (Peer, Option<Box<Certificate>>),
    ) -> Self {
        let provenance = Provenance::new(&peer);
        Self {
            gateway,
            drain,
            via: Via { peer, provenance, certificate, opening: RefCell::default() },
            streams: Rc::default(),
        }
    }

    /// Counts a request until the answer is dropped.
    #[must_use]
    pub fn request(&self) -> InFlight {
        InFlight::new(&self.streams.in_flight)
    }

    /// Counts a tunnel that is a stream of this connection; its request is still counted.
    #[must_use]
    pub fn multiplex(&self) -> Multiplexed {
        self.streams.tunnels.set(self.streams.tunnels.get().saturating_add(1));
        if !self.streams.is_known.replace(true) {
            self.drain.multiplexed.borrow_mut().push(Rc::downgrade(&self.streams));
        }
        Multiplexed(Rc::clone(&self.streams))
    }

    /// Whether no request is on its way.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.streams.in_flight.get() == 0
    }
}
