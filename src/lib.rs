//! sidegate: an authentication sidecar in front of an unmodified service.

pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod console;
pub mod denial;
pub mod identity;
pub mod secret;
