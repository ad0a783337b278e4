//! The way between a client connection and the gateway: what is known of the connection, and the tunnel that it becomes.

use crate::certificate::Certificate;
use crate::headers::forwarded::Provenance;
use crate::leases::Lease;
use crate::peer::Peer;
use crate::proxy::forward::ServiceEnd;
use crate::proxy::frames::CloseCode;
use crate::telemetry::record::Record;
use std::cell::RefCell;
use std::rc::Rc;

/// What the requests of one client connection have in common.
#[derive(Debug)]
pub struct Via {
    /// The other end.
    pub peer: Peer,
    /// Where its requests come from, as the service is told.
    pub provenance: Provenance,
    /// The client's certificate, where it has shown one and somebody wants to know.
    pub certificate: Option<Box<Certificate>>,
    /// The tunnel that the connection becomes once its 101 is written.
    pub opening: RefCell<Option<Box<Opening>>>,
}

/// A tunnel about to open.
#[derive(Debug)]
pub struct Opening {
    /// Where it leads to.
    pub end: End,
    /// The handshake's record; it ends with the tunnel.
    pub record: Record,
}

/// Where a tunnel leads to.
#[derive(Debug)]
pub enum End {
    /// To a service, as long as the lease holds, where there is one.
    Service(Box<ServiceEnd>, Option<Rc<Lease>>),
    /// Nowhere: it is closed with these words.
    Nowhere(CloseCode, String),
}
