//! The other end of a client connection: what is known of it before it has said anything.

use std::net::{IpAddr, SocketAddr};

/// The scheme that a client connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Cleartext.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// The scheme as URIs spell it (RFC 9110 §4.2).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// The other end of one client connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address; none on a unix socket.
    pub address: Option<SocketAddr>,
    /// What the connection speaks.
    pub scheme: Scheme,
    /// Whether its `X-Forwarded-*` and `X-Request-Id` are believed.
    pub trusted: bool,
}

impl Peer {
    /// The address without the port; an IPv4 address that came in through an IPv6 socket is IPv4 again.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.address.map(|address| address.ip().to_canonical())
    }
}
