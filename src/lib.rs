//! sidegate: an authentication sidecar in front of an unmodified service.

pub mod authn;
pub mod clock;
pub mod config;
pub mod denial;
pub mod identity;
pub mod outbound;
pub mod secret;
