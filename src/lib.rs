//! sidegate: an authentication sidecar in front of an unmodified service.

pub mod clock;
pub mod config;
pub mod denial;
pub mod headers;
pub mod identity;
pub mod peer;
pub mod secret;
pub mod telemetry;
