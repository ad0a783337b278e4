//! Which signatures one worker found good lately: the costly half of what it knows about a token, in sixteen bytes.
//!
//! A session takes a thousand bytes or more, so a worker keeps only some; a signature that was found good can be remembered
//! for all. What is kept is a fact about a token and a key, and never that the token is good: whoever finds a token here
//! reads and judges all of it again, and is only spared the arithmetic.

use super::key::Key;
use crate::clock::UnixTime;
use aws_lc_rs::digest;
use foldhash::quality::RandomState;
use std::collections::HashSet;
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

/// How long a signature is remembered at least that nobody asks for, if there is room, and half as long as it is at most:
/// a client that is still there has come back by then.
const TURN: Duration = Duration::from_secs(60);

/// The length of a block of SHA-256: the secret is absorbed once, and not for every token.
const SECRET_BYTES: usize = 64;

/// What stands for one token and the key that it was found good with: 128 bits of a SHA-256 hash over a secret of this
/// worker, the key's thumbprint and the whole token. Nobody outside can compute it, let alone find two tokens that share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark(u128);

type Marks = HashSet<Mark, RandomState>;

/// The signatures that were found good lately, in two halves: what is asked for moves into the recent one, and when that is
/// full or a [`TURN`] is over, it becomes the older one, and what still was in the older one is forgotten.
pub struct Signatures {
    keyed: Option<digest::Context>,
    recent: Marks,
    older: Marks,
    limit: usize,
    turned: UnixTime,
}

impl Signatures {
    /// None yet; as many as `limit` are remembered at least, and twice as many at most.
    #[must_use]
    pub fn new(limit: NonZeroU32) -> Self {
        let mut secret = [0; SECRET_BYTES];
        // Without a secret nothing is remembered. It comes from the system: AWS-LC's own generator takes 20 ms to start.
        let keyed = getrandom::fill(&mut secret).ok().map(|()| {
            let mut context = digest::Context::new(&digest::SHA256);
            context.update(&secret);
            context
        });
        let limit = usize::try_from(limit.get()).unwrap_or(usize::MAX);
        Self { keyed, recent: Marks::default(), older: Marks::default(), limit, turned: UnixTime::default() }
    }

    /// What stands for a token whose signature is the key's, if it is.
    #[must_use]
    pub fn mark(&self, key: &Key, token: &str) -> Option<Mark> {
        let mut context = self.keyed.clone()?;
        context.update(key.thumbprint());
        context.update(token.as_bytes());
        let hash = context.finish();
        hash.as_ref().first_chunk().map(|bytes| Mark(u128::from_ne_bytes(*bytes)))
    }

    /// Whether that signature was found good.
    pub fn knows(&mut self, mark: Mark) -> bool {
        if self.recent.contains(&mark) {
            return true;
        }
        let known = self.older.remove(&mark);
        if known {
            self.note(mark);
        }
        known
    }

    /// Remembers that it was found good.
    pub fn note(&mut self, mark: Mark) {
        if self.recent.len() >= self.limit {
            let fresh = Marks::with_capacity_and_hasher(self.limit, RandomState::default());
            self.older = std::mem::replace(&mut self.recent, fresh);
        }
        self.recent.insert(mark);
    }

    /// Forgets what nobody has asked for since the last but one [`TURN`].
    pub fn purge(&mut self, now: UnixTime) {
        if now < self.turned || now >= self.turned.plus(TURN) {
            self.turned = now;
            self.older = std::mem::take(&mut self.recent);
        }
    }
}

impl fmt::Debug for Signatures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Signatures").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
