//! sidegate: an authentication sidecar in front of an unmodified service.

pub mod admin;
pub mod app;
pub mod authn;
pub mod clock;
pub mod compile;
pub mod config;
pub mod denial;
pub mod gateway;
pub mod generation;
pub mod headers;
pub mod identity;
pub mod listener;
pub mod outbound;
pub mod peer;
pub mod pem;
pub mod policy;
pub mod proxy;
pub mod request_id;
pub mod secret;
pub mod sessions;
pub mod shutdown;
pub mod stream;
pub mod target;
pub mod telemetry;
pub mod worker;
