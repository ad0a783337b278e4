//! HTTP/1.1 on the wire, read and written for both sides: clients' requests and services' responses.
//!
//! One reader judges the framing of what comes in and hands it on; there is no second one that could see another
//! request in the same bytes (docs/adr/0011). Heads and trailers are parsed by `httparse`; what is ours is what
//! the gate promises: strict framing (RFC 9112 §6), no copy of a body, no buffer while nothing is said.

pub mod body;
pub mod buffers;
mod chunked;
pub mod date;
pub mod encode;
pub mod head;
pub mod inbound;
pub mod outbound;
pub mod request;
pub mod response;
#[cfg(test)]
mod tests;
