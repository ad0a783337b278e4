//! What operators see: metrics, the access log and events.

pub mod access_log;
pub mod audit;
pub mod count;
pub mod events;
pub mod metrics;
pub mod record;
pub mod sink;
pub mod tally;
pub mod tracing;
