//! The circuit breaker: who is down is not asked by everybody, and those who wait are not kept waiting.

use super::answers::Key;
use crate::clock::after;
use std::time::Duration;
use tokio::time::Instant;

/// After so many questions in a row that failed it opens.
const FAILURES: usize = 5;

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
    /// The questions that failed since the last answer, each once: one that makes the authority stumble proves nothing about the
    /// others, however often it is put.
    failed: Vec<Key>,
    answered: Option<Instant>,
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
    pub(super) fn succeeded(&mut self, now: Instant) -> Change {
        self.failed.clear();
        self.answered = Some(now);
        if self.probe.take().is_some() { Change::Closed } else { Change::Nothing }
    }

    /// The authority has not.
    pub(super) fn failed(&mut self, now: Instant, question: Key) -> Change {
        if self.failed.len() < FAILURES && !self.failed.contains(&question) {
            self.failed.push(question);
        }
        // Who has answered others a moment ago is not down.
        let is_alive = self.answered.is_some_and(|answered| now < after(answered, PROBE_PERIOD));
        if self.failed.len() < FAILURES || self.probe.is_some() || is_alive {
            return Change::Nothing;
        }
        self.probe = Some(after(now, PROBE_PERIOD));
        Change::Opened
    }
}

#[cfg(test)]
mod tests {
    use super::{Breaker, Change, FAILURES, PROBE_PERIOD};
    use crate::inquiry::answers::Key;
    use std::time::Duration;
    use tokio::time::Instant;

    fn key(number: usize) -> Key {
        Key::of(&number.to_string())
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_lets_one_probe_a_second_through() {
        let mut breaker = Breaker::default();
        let start = Instant::now();
        for number in 1..FAILURES {
            assert_eq!(breaker.failed(start, key(number)), Change::Nothing);
        }
        assert_eq!(
            breaker.succeeded(start),
            Change::Nothing,
            "a success in between: counted from the beginning"
        );
        let now = start + PROBE_PERIOD;
        for number in 1..FAILURES {
            assert_eq!(breaker.failed(now, key(number)), Change::Nothing);
            assert!(breaker.admits(now));
        }
        assert_eq!(breaker.failed(now, key(0)), Change::Opened);
        assert!(!breaker.admits(now));
        assert!(!breaker.admits(now + PROBE_PERIOD - Duration::from_millis(1)));
        assert!(breaker.admits(now + PROBE_PERIOD));
        assert!(!breaker.admits(now + PROBE_PERIOD), "one is enough");
        assert_eq!(breaker.failed(now + PROBE_PERIOD, key(9)), Change::Nothing, "said once");
        assert!(breaker.admits(now + PROBE_PERIOD * 2));
        assert_eq!(breaker.succeeded(now + PROBE_PERIOD * 2), Change::Closed);
        assert!(breaker.admits(now) && breaker.admits(now));
    }

    #[test]
    fn one_question_alone_does_not_open_it() {
        let mut breaker = Breaker::default();
        let now = Instant::now();
        for _ in 0..100 {
            assert_eq!(breaker.failed(now, key(1)), Change::Nothing);
        }
    }

    #[test]
    fn who_answers_others_is_not_down() {
        let mut breaker = Breaker::default();
        let now = Instant::now();
        breaker.succeeded(now);
        for number in 0..100 {
            assert_eq!(breaker.failed(now + PROBE_PERIOD / 2, key(number)), Change::Nothing);
        }
        assert_eq!(breaker.failed(now + PROBE_PERIOD, key(1)), Change::Opened);
    }
}
