//! What one worker knows about tokens that it verified lately.
//!
//! Only successes are kept, under the whole token and until its `exp`: a fact about the token, never a verdict about a
//! request. Bounded by bytes, and built so that a flood of tokens that come once does not drive out those that come often.
//! Belongs to one worker; there is no lock.

use crate::clock::UnixTime;
use crate::footprint::allocated;
use foldhash::quality::RandomState;
use quick_cache::unsync::{Cache, DefaultLifecycle};
use quick_cache::{Equivalent, Weighter};
use std::cell::Cell;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::num::NonZeroU32;
use std::time::Duration;

/// What an entry costs in the cache's own tables, in bytes: its slot, a share of the slots that grow ahead of need, and of
/// those that remember what was driven out.
const SLOT_BYTES: usize = 128;

/// What an entry takes at the very least; the number of those that were driven out is remembered for so many.
const LEAST_BYTES: u64 = 1024;

/// How much of a token is hashed, from its end.
const HASHED_BYTES: usize = 64;

/// How long a token is kept that nobody sends: most clients that are still there have sent it again by then, and for the
/// others it is verified once more.
const UNUSED: Duration = Duration::from_secs(60);

/// How often unused tokens are looked for. All entries are visited, which takes about 10 ns each.
const PURGE_PERIOD: Duration = Duration::from_secs(5);

/// How many are forgotten in one go: freeing what an entry holds takes a few hundred nanoseconds, and requests wait.
const MAX_FORGOTTEN: usize = 500;

/// How much one worker may remember.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The signatures of how many tokens; see [`Signatures`](super::signatures::Signatures).
    pub signatures: NonZeroU32,
    /// How many bytes for what tokens lead to, with the tokens themselves.
    pub bytes: u64,
}

struct Entry<V> {
    value: V,
    expires: UnixTime,
    /// When it was last asked for.
    used: Cell<u32>,
    weight: u32,
}

#[derive(Clone, Copy)]
struct Weigh;

impl<V> Weighter<Token, Entry<V>> for Weigh {
    fn weight(&self, _: &Token, entry: &Entry<V>) -> u64 {
        entry.weight.into()
    }
}

struct Token(Box<str>);

impl Hash for Token {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Asked(&self.0).hash(state);
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Token {}

/// A token that is looked for. Only its end is hashed: that is the signature, and of tokens that were verified no two have
/// the same one. The whole token is compared.
struct Asked<'a>(&'a str);

impl Hash for Asked<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let bytes = self.0.as_bytes();
        state.write(bytes.get(bytes.len().saturating_sub(HASHED_BYTES)..).unwrap_or(bytes));
    }
}

impl Equivalent<Token> for Asked<'_> {
    fn equivalent(&self, token: &Token) -> bool {
        *self.0 == *token.0
    }
}

/// A cache of verified tokens. The hash is keyed with a seed of this process, so that nobody outside can make tokens
/// collide, and the whole token is compared.
pub struct TokenCache<V> {
    entries: Entries<V>,
    purged: UnixTime,
}

type Lifecycle<V> = DefaultLifecycle<Token, Entry<V>>;
type Entries<V> = Cache<Token, Entry<V>, Weigh, RandomState, Lifecycle<V>>;

impl<V: Clone> TokenCache<V> {
    /// An empty cache that may take so many bytes.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let expected =
            usize::try_from(bytes.checked_div(LEAST_BYTES).unwrap_or_default()).unwrap_or(usize::MAX);
        let entries = Cache::with(expected, bytes, Weigh, RandomState::default(), Lifecycle::default());
        Self { entries, purged: UnixTime::default() }
    }

    /// What is known about a token at that time, if it is still good: not past its `exp`, and `holds` says so (the key that
    /// signed it is still in the set). What is not good is dropped.
    pub fn get(&mut self, token: &str, now: UnixTime, holds: impl FnOnce(&V) -> bool) -> Option<V> {
        let entry = self.entries.get(&Asked(token))?;
        if now < entry.expires && holds(&entry.value) {
            entry.used.set(seconds(now));
            return Some(entry.value.clone());
        }
        drop(self.entries.remove(&Asked(token)));
        None
    }

    /// Remembers until `expires` a token that was verified `now`; `bytes` is what the value occupies.
    pub fn insert(&mut self, token: &str, value: V, (now, expires): (UnixTime, UnixTime), bytes: usize) {
        let weight = allocated(token.len()).saturating_add(bytes).saturating_add(SLOT_BYTES);
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        let entry = Entry { value, expires, used: Cell::new(seconds(now)), weight };
        self.entries.insert(Token(token.into()), entry);
    }

    /// Forgets tokens that nobody has sent for long; some of them each time, so that nobody waits for it.
    pub fn purge(&mut self, now: UnixTime) {
        if self.purged <= now && now < self.purged.plus(PURGE_PERIOD) {
            return;
        }
        let seconds = seconds(now);
        let unused = u32::try_from(UNUSED.as_secs()).unwrap_or(u32::MAX);
        let left = Cell::new(MAX_FORGOTTEN);
        self.entries.retain(|_, entry| {
            let is_used = seconds.saturating_sub(entry.used.get()) < unused;
            is_used || left.replace(left.get().saturating_sub(1)) == 0
        });
        if left.get() > 0 {
            self.purged = now;
        }
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

fn seconds(time: UnixTime) -> u32 {
    u32::try_from(time.seconds()).unwrap_or(u32::MAX)
}

impl<V> fmt::Debug for TokenCache<V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TokenCache").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
