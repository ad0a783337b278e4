//! The circuit breaker: who is down is not asked by everybody, and those who wait are not kept waiting.

use crate::clock::after;
use std::time::Duration;
use tokio::time::Instant;

/// After so many failures in a row it opens.
const FAILURES: u32 = 5;

/// How often an authority that is down is tried.
const PROBE_PERIOD: Duration = Duration::from_secs(1);

/// What a success or failure changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    Opened,
    Closed,
}

/// The state of one authority, as far as its answers show it.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    /// When the next probe is let through; set while it is open.
    probe: Option<Instant>,
}

impl Breaker {
    /// Whether a question may go out now. While the breaker is open, one in a second may.
    pub(super) fn admits(&mut self, now: Instant) -> bool {
        match self.probe {
            None => true,
            Some(next) if now >= next => {
                self.probe = Some(after(now, PROBE_PERIOD));
                true
            }
            Some(_) => false,
        }
    }

    /// The authority has answered.
    pub(super) const fn succeeded(&mut self) -> Change {
        self.failures = 0;
        if self.probe.take().is_some() { Change::Closed } else { Change::Nothing }
    }

    /// The authority has not.
    pub(super) fn failed(&mut self, now: Instant) -> Change {
        self.failures = self.failures.saturating_add(1);
        if self.failures < FAILURES || self.probe.is_some() {
            return Change::Nothing;
        }
        self.probe = Some(after(now, PROBE_PERIOD));
        Change::Opened
    }
}

#[cfg(test)]
mod tests {
    use super::{Breaker, Change, FAILURES, PROBE_PERIOD};
    use std::time::Duration;
    use tokio::time::Instant;

    #[test]
    fn it_opens_after_failures_in_a_row_and_lets_one_probe_a_second_through() {
        let mut breaker = Breaker::default();
        let now = Instant::now();
        for _ in 1..FAILURES {
            assert_eq!(breaker.failed(now), Change::Nothing);
        }
        assert_eq!(breaker.succeeded(), Change::Nothing, "a success in between: counted from the beginning");
        for _ in 1..FAILURES {
            assert_eq!(breaker.failed(now), Change::Nothing);
            assert!(breaker.admits(now));
        }
        assert_eq!(breaker.failed(now), Change::Opened);
        assert!(!breaker.admits(now));
        assert!(!breaker.admits(now + PROBE_PERIOD - Duration::from_millis(1)));
        assert!(breaker.admits(now + PROBE_PERIOD));
        assert!(!breaker.admits(now + PROBE_PERIOD), "one is enough");
        assert_eq!(breaker.failed(now + PROBE_PERIOD), Change::Nothing, "said once");
        assert!(breaker.admits(now + PROBE_PERIOD * 2));
        assert_eq!(breaker.succeeded(), Change::Closed);
        assert!(breaker.admits(now) && breaker.admits(now));
    }
}
