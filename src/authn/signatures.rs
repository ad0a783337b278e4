//! Which signatures one worker verified lately, and how that ended: the costly half of what it knows about a token, in
//! sixteen bytes.
//!
//! A session takes a thousand bytes or more, so a worker keeps only some; how a signature was found can be remembered for all.
//! What is kept is a fact about a token and a key, and never that the token is good: whoever finds a token here reads and
//! judges all of it again, and is only spared the arithmetic. Bad signatures have a place of their own, so that a flood of
//! them drives out no good one, while a client that sends a bad token again and again costs little.

use super::key::Key;
use super::signed::Signed;
use crate::clock::UnixTime;
use aws_lc_rs::digest;
use foldhash::quality::RandomState;
use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

/// A signature is remembered for so long after it was last asked for, and for no longer than twice that, if there is room:
/// most clients that are still there have come back by then.
const TURN: Duration = Duration::from_secs(60);

/// How many bad signatures are remembered.
const BAD: usize = 14_336;

/// The length of a block of SHA-256: the secret is absorbed once, and not for every token.
const SECRET_BYTES: usize = 64;

/// What stands for one token and the key that it is verified with: 120 bits of a SHA-256 hash over a secret of this worker,
/// the key's thumbprint, the hash of what is signed and the signature. Nobody outside can compute it, let alone find two tokens
/// that share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark([u8; 15]);

/// The signatures that were verified lately.
pub struct Signatures {
    keyed: Option<digest::Context>,
    good: Marks,
    bad: Marks,
    turned: UnixTime,
}

impl Signatures {
    /// None yet; `good` good ones are remembered at most, and the latest third of them in any case.
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
    pub fn mark(&self, key: &Key, signed: &Signed<'_>) -> Option<Mark> {
        let mut context = self.keyed.clone()?;
        let hash = signed.hash().as_ref();
        context.update(key.thumbprint());
        // Hashes differ in length, and so do signatures: it is told where one ends.
        context.update(&hash.len().to_be_bytes());
        context.update(hash);
        context.update(signed.signature());
        let hash = context.finish();
        hash.as_ref().first_chunk().map(|bytes| Mark(*bytes))
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
            self.good.turn();
            self.bad.turn();
        }
    }
}

impl fmt::Debug for Signatures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Signatures").finish_non_exhaustive()
    }
}

/// Marks with the epoch in which each was last asked for, in one table. An epoch ends with a [`TURN`], or when half the table was
/// asked for in it. Where a table is full, those go that were asked for in none of the last two epochs, and else those that
/// were not in this one. As long as there are no more than the table holds, all are known, in whatever order they come.
struct Marks {
    known: HashMap<Mark, u8, RandomState>,
    epoch: u8,
    /// How many were asked for in this epoch.
    fresh: usize,
    limit: usize,
}

impl Marks {
    fn new(limit: usize) -> Self {
        Self { known: HashMap::default(), epoch: 0, fresh: 0, limit }
    }

    fn recall(&mut self, mark: Mark) -> bool {
        let Some(epoch) = self.known.get_mut(&mark) else { return false };
        if std::mem::replace(epoch, self.epoch) != self.epoch {
            self.count();
        }
        true
    }

    fn keep(&mut self, mark: Mark) {
        if self.recall(mark) {
            return;
        }
        if self.known.len() >= self.limit {
            self.forget(2);
            let crowded = self.limit.saturating_sub(self.limit / 8);
            if self.known.len() > crowded {
                self.forget(1);
            }
        }
        self.known.insert(mark, self.epoch);
        self.count();
    }

    fn count(&mut self) {
        self.fresh = self.fresh.saturating_add(1);
        if self.fresh >= (self.limit / 2).max(1) {
            self.next_epoch();
        }
    }

    fn next_epoch(&mut self) {
        (self.epoch, self.fresh) = (self.epoch.wrapping_add(1), 0);
    }

    /// Forgets what was last asked for so many epochs ago, or earlier.
    fn forget(&mut self, epochs: u8) {
        let now = self.epoch;
        self.known.retain(|_, epoch| now.wrapping_sub(*epoch) < epochs);
    }

    fn turn(&mut self) {
        self.next_epoch();
        self.forget(2);
        self.known.shrink_to(self.known.len().saturating_mul(2));
    }
}

#[cfg(test)]
mod tests;
