//! What one worker knows about tokens that it verified lately.
//!
//! Only successes are kept, under the whole token and until its `exp`: a fact about the token, never a verdict about a
//! request. Bounded by number and by bytes, and built so that a flood of tokens that come once does not drive out those that
//! come often. Belongs to one worker; there is no lock.

use crate::clock::UnixTime;
use foldhash::quality::RandomState;
use quick_cache::Weighter;
use quick_cache::unsync::{Cache, DefaultLifecycle};
use std::fmt;
use std::num::NonZeroU32;

/// About what an entry costs besides the token and the value, in bytes.
const OVERHEAD_BYTES: u64 = 128;

/// How much a cache may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How many tokens.
    pub entries: NonZeroU32,
    /// How many bytes, with the tokens themselves.
    pub bytes: u64,
}

struct Entry<V> {
    value: V,
    expires: UnixTime,
    weight: u64,
}

/// Weighs an entry in bytes, but no less than an equal share: so the number is bounded by the weight as well.
#[derive(Clone, Copy)]
struct Weigh {
    least: u64,
}

impl<V> Weighter<Box<str>, Entry<V>> for Weigh {
    fn weight(&self, _: &Box<str>, entry: &Entry<V>) -> u64 {
        entry.weight.max(self.least)
    }
}

/// A cache of verified tokens. The hash is keyed with a seed of this process, so that nobody outside can make tokens
/// collide, and the whole token is compared.
pub struct TokenCache<V> {
    entries: Entries<V>,
}

type Lifecycle<V> = DefaultLifecycle<Box<str>, Entry<V>>;
type Entries<V> = Cache<Box<str>, Entry<V>, Weigh, RandomState, Lifecycle<V>>;

impl<V: Clone> TokenCache<V> {
    /// An empty cache.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        let number = u64::from(bounds.entries.get());
        let least = bounds.bytes.checked_div(number).unwrap_or_default().max(1);
        let expected = usize::try_from(bounds.entries.get()).unwrap_or(usize::MAX);
        let capacity = least.saturating_mul(number);
        let weigh = Weigh { least };
        let entries = Cache::with(expected, capacity, weigh, RandomState::default(), Lifecycle::default());
        Self { entries }
    }

    /// What is known about a token at that time, if it is still good: not past its `exp`, and `holds` says so (the key that
    /// signed it is still in the set). What is not good is dropped.
    pub fn get(&mut self, token: &str, now: UnixTime, holds: impl FnOnce(&V) -> bool) -> Option<V> {
        let entry = self.entries.get(token)?;
        if now < entry.expires && holds(&entry.value) {
            return Some(entry.value.clone());
        }
        drop(self.entries.remove(token));
        None
    }

    /// Remembers a verified token until `expires`; `bytes` is about what the value occupies.
    pub fn insert(&mut self, token: &str, value: V, expires: UnixTime, bytes: usize) {
        let size = u64::try_from(token.len().saturating_add(bytes)).unwrap_or(u64::MAX);
        let weight = size.saturating_add(OVERHEAD_BYTES);
        self.entries.insert(token.into(), Entry { value, expires, weight });
    }

    /// Forgets what `keep` does not want to keep: revoked tokens, facts whose key is gone.
    pub fn retain(&mut self, keep: impl Fn(&V) -> bool) {
        self.entries.retain(|_, entry| keep(&entry.value));
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// How many tokens are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<V> fmt::Debug for TokenCache<V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TokenCache").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{Bounds, TokenCache};
    use crate::clock::UnixTime;
    use std::num::NonZeroU32;
    use std::rc::Rc;

    fn cache(entries: u32, bytes: u64) -> TokenCache<Rc<str>> {
        TokenCache::new(Bounds { entries: NonZeroU32::new(entries).unwrap(), bytes })
    }

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_seconds(seconds)
    }

    #[test]
    fn a_token_is_known_until_it_expires() {
        let mut cache = cache(10, 10_000);
        cache.insert("token", "facts".into(), at(100), 5);
        assert_eq!(cache.get("token", UnixTime::from_millis(99_999), |_| true).as_deref(), Some("facts"));
        assert_eq!(cache.get("token", at(100), |_| true), None);
        assert!(cache.is_empty());
        // Not even after the clock was set back.
        assert_eq!(cache.get("token", at(1), |_| true), None);
    }

    #[test]
    fn the_whole_token_counts() {
        let mut cache = cache(10, 10_000);
        cache.insert("token", "facts".into(), at(100), 5);
        for other in ["token ", "toke", "Token", "", "tokem"] {
            assert_eq!(cache.get(other, at(1), |_| true), None);
        }
    }

    #[test]
    fn what_no_longer_holds_is_dropped() {
        let mut cache = cache(10, 10_000);
        cache.insert("token", "facts".into(), at(100), 5);
        assert_eq!(cache.get("token", at(1), |_| false), None);
        assert_eq!(cache.get("token", at(1), |_| true), None);
        cache.insert("one", "a".into(), at(100), 1);
        cache.insert("two", "b".into(), at(100), 1);
        cache.retain(|value| &**value == "a");
        assert_eq!(cache.len(), 1);
        assert!(cache.get("one", at(1), |_| true).is_some());
        cache.clear();
        assert!(cache.is_empty());
    }

    #[test]
    fn the_number_and_the_bytes_are_bounded() {
        let mut few = cache(10, 1 << 20);
        for number in 0..1000 {
            few.insert(&format!("token {number}"), "facts".into(), at(100), 5);
        }
        assert!((1..=10).contains(&few.len()), "{}", few.len());
        let mut small = cache(1000, 20_000);
        for number in 0..1000 {
            small.insert(&format!("{number} {}", "x".repeat(1000)), "facts".into(), at(100), 5);
        }
        assert!((1..=20).contains(&small.len()), "{}", small.len());
        let mut tiny = cache(10, 1000);
        tiny.insert(&"x".repeat(5000), "facts".into(), at(100), 5);
        assert!(tiny.is_empty());
    }

    #[test]
    fn tokens_that_come_once_do_not_drive_out_those_that_come_often() {
        let mut cache = cache(100, 1 << 20);
        for number in 0..10_000 {
            cache.insert(&format!("once {number}"), "x".into(), at(100), 1);
            if cache.get("often", at(1), |_| true).is_none() {
                cache.insert("often", "facts".into(), at(100), 5);
            }
            if number > 1000 {
                assert!(cache.get("often", at(1), |_| true).is_some(), "{number}");
            }
        }
    }
}
