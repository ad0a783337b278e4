//! Rate limits: how many requests in how much time, counted in this process or in Redis.
//!
//! The algorithm is GCRA (ITU-T I.371): of each limit only one number is kept, the time at which it will be whole again.

mod local;
mod shared;

pub use local::Local;

use crate::allowance::Allowance;
use crate::config::rate_limit::OnError;
use crate::denial::{Denial, Reason};
use crate::redis::Redis;
use crate::telemetry::tally::Tally;
use aws_lc_rs::digest::{SHA256, digest};
use shared::Shared;
use std::sync::Arc;
use std::time::Duration;

/// Whose limit: 128 bits of the SHA-256 of the rule and the value, so that no value stands in memory or in Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(u128);

impl Key {
    /// That of a value under the limit that is known as `scope`.
    #[must_use]
    pub fn of(scope: &str, value: &str) -> Self {
        // No scope holds a zero byte, so that no two pairs are the same text.
        let text = [scope, value].join("\0");
        let hash = digest(&SHA256, text.as_bytes());
        Self(hash.as_ref().first_chunk().map_or(0, |bytes| u128::from_be_bytes(*bytes)))
    }
}

/// How many requests in how much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests in a window.
    pub limit: u64,
    /// Requests above that at once.
    pub burst: u64,
    /// The window.
    pub window: Duration,
}

impl Rate {
    /// How long one request weighs, in nanoseconds; rounded up, so that never more pass than may.
    fn interval(&self) -> u64 {
        let window = u64::try_from(self.window.as_nanos()).unwrap_or(u64::MAX);
        window.div_ceil(self.limit.max(1)).max(1)
    }

    /// How much may weigh at once.
    fn capacity(&self) -> u64 {
        self.interval().saturating_mul(self.limit.saturating_add(self.burst))
    }

    /// What the client is told when it weighs so much; `refused` if one more was too much.
    fn allowance(&self, weight: u64, refused: bool) -> Allowance {
        let (interval, capacity) = (self.interval(), self.capacity());
        let remaining = capacity.saturating_sub(weight).checked_div(interval).unwrap_or_default();
        let over = weight.saturating_add(interval).saturating_sub(capacity);
        let wait = if self.limit == 0 { self.window } else { Duration::from_nanos(over) };
        Allowance {
            limit: self.limit,
            remaining: if refused { 0 } else { remaining },
            reset: Duration::from_nanos(weight),
            wait: refused.then_some(wait),
        }
    }
}

/// One limit that a request counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Whose.
    pub key: Key,
    /// How much.
    pub rate: Rate,
}

/// Of several the tightest: the one with the longest wait, else the one with the least left.
fn tightest(allowances: impl Iterator<Item = Allowance>) -> Option<Allowance> {
    let order = |allowance: &Allowance| (allowance.wait, std::cmp::Reverse(allowance.remaining));
    allowances.max_by_key(order)
}

/// Counts requests.
#[derive(Debug)]
pub struct Limiter {
    local: Arc<Local>,
    shared: Option<Shared>,
    on_error: OnError,
}

impl Limiter {
    /// One that counts in `redis` where there is one, and else in this process.
    #[must_use]
    pub fn new(local: Arc<Local>, redis: Option<Arc<Redis>>, on_error: OnError) -> Self {
        Self { local, shared: redis.map(Shared::new), on_error }
    }

    /// Counts a request against every limit, or against none if one of them has no room; none is told when nobody counts.
    ///
    /// # Errors
    /// `authority_unavailable` while Redis is away, with `on_error = "deny"`.
    pub async fn charge(&self, charges: &[Charge], tally: &Tally) -> Result<Option<Allowance>, Denial> {
        let Some(shared) = &self.shared else { return Ok(self.local.charge(charges)) };
        let unavailable = match shared.charge(charges).await {
            Ok(allowance) => return Ok(allowance),
            Err(unavailable) => unavailable,
        };
        tally.rate_limit_errors.increment();
        match self.on_error {
            OnError::Local => Ok(self.local.charge(charges)),
            OnError::Allow => Ok(None),
            OnError::Deny => Err(Denial::new(Reason::AuthorityUnavailable).because(unavailable)),
        }
    }
}

#[cfg(test)]
mod tests;
