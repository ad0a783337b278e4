//! What all parts of one client connection share.

use crate::certificate::Certificate;
use crate::clock::after;
use crate::gateway::{Gateway, Via};
use crate::headers::forwarded::Provenance;
use crate::peer::Peer;
use crate::proxy::response_body::InFlight;
use std::cell::Cell;
use std::rc::Rc;
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
    /// Tunnels that are no connections, but streams of one.
    multiplexed: Cell<usize>,
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

    /// Counts a tunnel that is a stream of a connection: one more, or one less.
    pub fn multiplexed(&self, change: isize) {
        self.multiplexed.set(self.multiplexed.get().saturating_add_signed(change));
    }

    /// How many tunnels are streams of a connection.
    #[must_use]
    pub const fn multiplexed_tunnels(&self) -> usize {
        self.multiplexed.get()
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
    in_flight: Rc<Cell<usize>>,
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
            via: Via { peer, provenance, certificate, opening: std::cell::RefCell::default() },
            in_flight: Rc::default(),
        }
    }

    /// Counts a request until the answer is dropped.
    #[must_use]
    pub fn request(&self) -> InFlight {
        InFlight::new(&self.in_flight)
    }

    /// Whether no request is on its way.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.in_flight.get() == 0
    }
}
