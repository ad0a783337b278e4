//! The client's side: what stands between the socket and the straight line of a request.

pub mod inspect;
