//! From the socket to a request: TLS, protocol, head inspection, time-outs, and the way back.

pub mod connection;
pub mod context;
pub mod http1;
pub mod http2;
pub mod inspect;
pub mod inspected;
pub mod tls;
