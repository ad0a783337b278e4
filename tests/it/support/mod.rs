//! What the tests stand on: both ends of the wire, an issuer, tokens, and the gate as a child process.
//!
//! Everything blocks and runs on plain threads, so that a test decides when each byte moves.

pub mod authority;
pub mod certificates;
pub mod client;
pub mod exchange;
pub mod faulty;
pub mod frames;
pub mod gate;
pub mod grpc;
pub mod http2;
pub mod idp;
pub mod keys;
pub mod metrics;
pub mod programs;
pub mod raw_http2;
pub mod redis;
pub mod request;
pub mod service;
pub mod setup;
pub mod temp;
pub mod tokens;
pub mod wait;
pub mod wire;

mod selftest;
