//! The answers that are known, by a digest of the question: a token that was asked about is not kept.
//!
//! Bounded by bytes, and so by number, since each weighs something. Built so that a flood of questions that come once does
//! not drive out those that come often. Belongs to one actor; there is no lock.

use super::{Answer, Heard};
use crate::clock::UnixTime;
use crate::footprint::{ARC_BYTES, allocated};
use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use foldhash::quality::RandomState;
use quick_cache::Weighter;
use quick_cache::unsync::{Cache, DefaultLifecycle};
use std::sync::Arc;
use std::time::Duration;

/// How many bytes the answers of one authority may take.
pub(super) const MAX_BYTES: u64 = 8 << 20;

/// What an entry costs in the cache's own tables, in bytes.
const SLOT_BYTES: usize = 160;

/// What an entry takes at the very least.
const LEAST_BYTES: u64 = 256;

/// How long an answer that serves in place of a new one is handed out without asking again.
const RESPITE: Duration = Duration::from_secs(1);

/// A question, as answers are kept by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; SHA256_OUTPUT_LEN]);

impl Key {
    pub(super) fn of(question: &str) -> Self {
        let mut bytes = [0; SHA256_OUTPUT_LEN];
        for (byte, hashed) in bytes.iter_mut().zip(digest(&SHA256, question.as_bytes()).as_ref()) {
            *byte = *hashed;
        }
        Self(bytes)
    }
}

struct Entry<T> {
    answer: Arc<Answer<T>>,
    fallback_until: UnixTime,
    weight: u64,
}

#[derive(Clone, Copy)]
struct Weigh;

impl<T> Weighter<Key, Entry<T>> for Weigh {
    fn weight(&self, _: &Key, entry: &Entry<T>) -> u64 {
        entry.weight
    }
}

type Entries<T> = Cache<Key, Entry<T>, Weigh, RandomState, DefaultLifecycle<Key, Entry<T>>>;

/// Answers to many questions.
pub(super) struct Answers<T>(Entries<T>);

impl<T: Clone> Answers<T> {
    pub(super) fn new(bytes: u64) -> Self {
        let expected =
            usize::try_from(bytes.checked_div(LEAST_BYTES).unwrap_or_default()).unwrap_or(usize::MAX);
        Self(Cache::with(expected, bytes, Weigh, RandomState::default(), DefaultLifecycle::default()))
    }

    /// The answer to a question, if it still counts as new.
    pub(super) fn fresh(&self, key: &Key, now: UnixTime) -> Option<Arc<Answer<T>>> {
        let entry = self.0.get(key)?;
        (now < entry.answer.fresh_until).then(|| Arc::clone(&entry.answer))
    }

    /// Keeps an answer, unless it counts no longer.
    pub(super) fn keep(&mut self, key: Key, heard: Heard<T>, now: UnixTime) -> Arc<Answer<T>> {
        let answer = Arc::new(heard.answer);
        let weight = allocated(size_of::<Answer<T>>().saturating_add(ARC_BYTES))
            .saturating_add(heard.bytes)
            .saturating_add(SLOT_BYTES);
        let weight = u64::try_from(weight).unwrap_or(u64::MAX).max(LEAST_BYTES);
        let fallback_until = heard.fallback_until;
        if now < answer.fresh_until.max(fallback_until) {
            self.0.insert(key, Entry { answer: Arc::clone(&answer), fallback_until, weight });
        } else {
            drop(self.0.remove(&key));
        }
        answer
    }

    /// The old answer, if it may serve since there is no new one: fresh again, but not for long.
    pub(super) fn fallback(&mut self, key: &Key, now: UnixTime) -> Option<Arc<Answer<T>>> {
        let entry = self.0.get(key)?;
        let (fallback_until, weight) = (entry.fallback_until, entry.weight);
        if now >= fallback_until {
            drop(self.0.remove(key));
            return None;
        }
        if now < entry.answer.fresh_until {
            return Some(Arc::clone(&entry.answer));
        }
        let fresh_until = now.plus(RESPITE).min(fallback_until);
        let stale_until = entry.answer.stale_until.max(fresh_until);
        let old = &*entry.answer;
        let answer =
            Arc::new(Answer { value: old.value.clone(), received: old.received, fresh_until, stale_until });
        self.0.insert(*key, Entry { answer: Arc::clone(&answer), fallback_until, weight });
        Some(answer)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::{Answers, Key, LEAST_BYTES};
    use crate::clock::UnixTime;
    use crate::inquiry::Heard;

    const fn at(seconds: u64) -> UnixTime {
        UnixTime::from_seconds(seconds)
    }

    #[test]
    fn their_number_is_bounded_and_a_flood_does_not_drive_out_what_is_asked_often() {
        let mut answers = Answers::new(LEAST_BYTES * 100);
        let often = Key::of("often");
        answers.keep(often, Heard::until(0, (at(1), at(10)), 0), at(1));
        for number in 0..10_000 {
            answers.keep(Key::of(&number.to_string()), Heard::until(number, (at(1), at(10)), 0), at(1));
            assert!(answers.fresh(&often, at(1)).is_some(), "after {number}");
            assert!(answers.len() <= 100);
        }
    }

    #[test]
    fn one_that_is_too_large_is_not_kept_and_neither_is_one_that_is_over() {
        let mut answers = Answers::new(LEAST_BYTES * 100);
        let key = Key::of("x");
        answers.keep(key, Heard::until(1, (at(1), at(10)), 1 << 20), at(1));
        assert!(answers.fresh(&key, at(1)).is_none());
        assert_eq!(answers.keep(key, Heard::until(2, (at(1), at(10)), 0), at(10)).value, 2);
        assert_eq!(answers.len(), 0);
    }
}
