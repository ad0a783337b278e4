//! What kind of request it is, where that changes how it is judged.

use crate::denial::{Denial, Reason};
use crate::proxy::websocket::{Extended, Handshake, Upgrade, upgrade};
use http::header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN};
use http::request::Parts;
use http::{Method, Version};

/// The manner of a request, where it changes how it is judged.
#[derive(Debug)]
pub enum Manner {
    /// Nothing of the kind.
    Plain,
    /// A CORS preflight (Fetch §4.8): OPTIONS with an origin and the method it asks about, and no body.
    Preflight,
    /// A valid WebSocket handshake.
    WebSocket(Handshake),
}

impl Manner {
    pub(super) fn of(head: &Parts, is_empty: bool) -> Result<Self, Denial> {
        // Over HTTP/2 no other request upgrades.
        let is_extended = head.extensions.get::<Extended>().is_some();
        let version = if is_extended { Version::HTTP_11 } else { head.version };
        match upgrade(&head.method, version, &head.headers) {
            Upgrade::WebSocket(handshake) => return Ok(Self::WebSocket(handshake)),
            Upgrade::Malformed => {
                return Err(Denial::new(Reason::HeadMalformed).detail("The WebSocket handshake is malformed"));
            }
            Upgrade::None => {}
        }
        let preflight = head.method == Method::OPTIONS
            && head.headers.contains_key(ORIGIN)
            && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
            && is_empty;
        Ok(if preflight { Self::Preflight } else { Self::Plain })
    }

    /// Whether it is a WebSocket handshake.
    #[must_use]
    pub const fn is_websocket(&self) -> bool {
        matches!(self, Self::WebSocket(_))
    }

    /// Whether it is a CORS preflight.
    #[must_use]
    pub const fn is_preflight(&self) -> bool {
        matches!(self, Self::Preflight)
    }
}
