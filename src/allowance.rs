//! What a rate limit has left, as clients are told.

use std::time::Duration;

/// What a limit has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Requests in a window.
    pub limit: u64,
    /// How many more would pass now.
    pub remaining: u64,
    /// Until the limit is whole again.
    pub reset: Duration,
    /// Until the next one passes, if this one did not.
    pub wait: Option<Duration>,
}
