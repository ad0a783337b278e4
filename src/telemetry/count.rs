//! Numbers that one thread writes, and any other reads.
//!
//! With one writer a number is counted up by reading and writing it: no lock, and no locked instruction. Were there two,
//! counts would be lost, and nothing worse.

use std::iter::successors;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets of durations, in seconds.
pub const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// A number that one worker counts up, or up and down.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more.
    pub fn increment(&self) {
        self.0.store(self.value().wrapping_add(1), Ordering::Relaxed);
    }

    /// One less.
    pub fn decrement(&self) {
        self.0.store(self.value().wrapping_sub(1), Ordering::Relaxed);
    }

    /// How many.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Numbers by key, in the order in which the keys were first met; few keys, so they are searched one by one.
#[derive(Debug)]
pub(super) struct Counts<K>(OnceLock<Box<Counted<K>>>);

#[derive(Debug)]
struct Counted<K> {
    key: K,
    count: Count,
    next: Counts<K>,
}

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<K: Copy + PartialEq> Counts<K> {
    /// One more for this key.
    pub(super) fn increment(&self, key: K) {
        let mut place = self;
        loop {
            let make = || Box::new(Counted { key, count: Count::default(), next: Self::default() });
            let counted = place.0.get_or_init(make);
            if counted.key == key {
                return counted.count.increment();
            }
            place = &counted.next;
        }
    }

    /// Every key and its number.
    pub(super) fn values(&self) -> Vec<(K, u64)> {
        let all = successors(self.first(), |counted| counted.next.first());
        all.map(|counted| (counted.key, counted.count.value())).collect()
    }

    fn first(&self) -> Option<&Counted<K>> {
        self.0.get().map(Box::as_ref)
    }
}

/// How long something took, by bucket.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Durations {
    /// How many fell into each bucket, not cumulative; the last is beyond all bounds.
    pub buckets: [u64; BUCKETS.len() + 1],
    /// All together, in seconds.
    pub sum: f64,
}

impl Durations {
    /// Adds the figures of another worker.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, more) in self.buckets.iter_mut().zip(other.buckets) {
            *bucket = bucket.saturating_add(more);
        }
        self.sum += other.sum;
    }
}

/// [`Durations`] that are being counted.
#[derive(Debug, Default)]
pub(super) struct Timing {
    buckets: [Count; BUCKETS.len() + 1],
    /// The bits of the sum.
    sum: AtomicU64,
}

impl Timing {
    /// Counts something that took so long.
    pub(super) fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let place = BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS.len());
        if let Some(bucket) = self.buckets.get(place) {
            bucket.increment();
        }
        let sum = f64::from_bits(self.sum.load(Ordering::Relaxed)) + seconds;
        self.sum.store(sum.to_bits(), Ordering::Relaxed);
    }

    /// What was counted so far.
    pub(super) fn values(&self) -> Durations {
        Durations {
            buckets: self.buckets.each_ref().map(Count::value),
            sum: f64::from_bits(self.sum.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Counts, Timing};
    use std::time::Duration;

    #[test]
    fn every_key_has_its_own_number() {
        let counts = Counts::default();
        assert_eq!(counts.values(), []);
        for key in ["a", "b", "a", "c", "a", "b"] {
            counts.increment(key);
        }
        assert_eq!(counts.values(), [("a", 3), ("b", 2), ("c", 1)]);
    }

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let timing = Timing::default();
        for micros in [0, 1000, 1001, 10_000_000, 10_000_001] {
            timing.observe(Duration::from_micros(micros));
        }
        let durations = timing.values();
        assert_eq!(durations.buckets, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert!((durations.sum - 20.002_002).abs() < 1e-9);
    }
}
