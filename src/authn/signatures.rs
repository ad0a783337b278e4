//! Which signatures one worker verified lately, and how that ended: the costly half of what it knows about a token, in
//! sixteen bytes.
//!
//! A session takes a thousand bytes or more, so a worker keeps only some; how a signature was found can be remembered for all.
//! What is kept is a fact about a token and a key, and never that the token is good: whoever finds a token here reads and
//! judges all of it again, and is only spared the arithmetic. Bad signatures have a place of their own, so that a flood of
//! them drives out no good one, while a client that sends a bad token again and again costs little.

use super::key::Key;
use crate::clock::UnixTime;
use aws_lc_rs::digest;
use foldhash::quality::RandomState;
use std::collections::HashSet;
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

/// A signature is remembered for so long after it was last asked for, and for no longer than twice that, if there is room:
/// most clients that are still there have come back by then.
const TURN: Duration = Duration::from_secs(60);

/// How many bad signatures are remembered at least.
const BAD: usize = 10_000;

/// The length of a block of SHA-256: the secret is absorbed once, and not for every token.
const SECRET_BYTES: usize = 64;

/// What stands for one token and the key that it is verified with: 128 bits of a SHA-256 hash over a secret of this worker,
/// the key's thumbprint and the whole token. Nobody outside can compute it, let alone find two tokens that share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark(u128);

/// The signatures that were verified lately.
pub struct Signatures {
    keyed: Option<digest::Context>,
    good: Marks,
    bad: Marks,
    turned: UnixTime,
}

impl Signatures {
    /// None yet; as many as `good` good ones are remembered at least, and twice as many at most.
    #[must_use]
    pub fn new(good: NonZeroU32) -> Self {
        let mut secret = [0; SECRET_BYTES];
        // Without a secret nothing is remembered. It comes from the system: AWS-LC's own generator takes 20 ms to start.
        let keyed = getrandom::fill(&mut secret).ok().map(|()| {
            let mut context = digest::Context::new(&digest::SHA256);
            context.update(&secret);
            context
        });
        let good = usize::try_from(good.get()).unwrap_or(usize::MAX);
        Self { keyed, good: Marks::new(good), bad: Marks::new(BAD), turned: UnixTime::default() }
    }

    /// What stands for a token that is verified with the key.
    #[must_use]
    pub fn mark(&self, key: &Key, token: &str) -> Option<Mark> {
        let mut context = self.keyed.clone()?;
        context.update(key.thumbprint());
        context.update(token.as_bytes());
        let hash = context.finish();
        hash.as_ref().first_chunk().map(|bytes| Mark(u128::from_ne_bytes(*bytes)))
    }

    /// Whether that signature was found good, or bad, if it is remembered.
    pub fn verdict(&mut self, mark: Mark) -> Option<bool> {
        if self.good.recall(mark) {
            return Some(true);
        }
        self.bad.recall(mark).then_some(false)
    }

    /// Remembers how a signature was found.
    pub fn note(&mut self, mark: Mark, is_good: bool) {
        let marks = if is_good { &mut self.good } else { &mut self.bad };
        marks.keep(mark);
    }

    /// Forgets what nobody has asked for in one or two minutes.
    pub fn purge(&mut self, now: UnixTime) {
        if now < self.turned || now >= self.turned.plus(TURN) {
            self.turned = now;
            self.good.turn(0);
            self.bad.turn(0);
        }
    }
}

impl fmt::Debug for Signatures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Signatures").finish_non_exhaustive()
    }
}

/// Marks in two halves: what is asked for moves into the recent one, and when that is full or a [`TURN`] is over, it becomes
/// the older one, and what still was in the older one is forgotten.
struct Marks {
    recent: HashSet<Mark, RandomState>,
    older: HashSet<Mark, RandomState>,
    limit: usize,
}

impl Marks {
    fn new(limit: usize) -> Self {
        Self { recent: HashSet::default(), older: HashSet::default(), limit }
    }

    fn recall(&mut self, mark: Mark) -> bool {
        if self.recent.contains(&mark) {
            return true;
        }
        let known = self.older.remove(&mark);
        if known {
            self.keep(mark);
        }
        known
    }

    fn keep(&mut self, mark: Mark) {
        if self.recent.len() >= self.limit {
            // It has been full, and will be again.
            self.turn(self.limit);
        }
        self.recent.insert(mark);
    }

    fn turn(&mut self, room: usize) {
        let fresh = HashSet::with_capacity_and_hasher(room, RandomState::default());
        self.older = std::mem::replace(&mut self.recent, fresh);
    }
}

#[cfg(test)]
mod tests;
