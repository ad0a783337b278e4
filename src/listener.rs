//! From the socket to a request: TLS, protocol, time-outs, and the way back.

pub mod accepted;
pub mod connection;
pub mod context;
pub mod http1;
pub mod http2;
mod proxy_protocol;
