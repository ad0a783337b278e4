//! Revocation: credentials that do not count any more, though they are still good by themselves.
//!
//! A revocation names an attribute and the SHA-256 of a value, and ends at some time. The list of them is held in this process, where
//! workers read it without a lock. With `[redis]` it is a copy of what replicas share; while Redis is away the copy serves for a
//! while, and then nobody is let in who has a credential.

mod follow;
mod list;
mod mark;
mod twin;
mod wire;

pub use list::{Full, List, MAX_ENTRIES, Term};
pub use mark::{
    Digest, LOGOUT, LOGOUT_CLAIMS, Mark, Marked, TOKEN, Traces, Watched, digest_of, logout_digest,
};

use crate::clock::{Clock, UnixTime};
use crate::denial::Reason;
use crate::redis::Redis;
use crate::standing::Running;
use follow::Follower;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// How often entries that have ended are removed from some tables.
const PURGE_PERIOD: Duration = Duration::from_millis(500);

/// From how many tables.
const PURGED: usize = 4;

/// A revocation, on its way into the list.
#[derive(Clone, Debug)]
pub struct Revocation<'a> {
    /// The attribute.
    pub attribute: &'a str,
    /// The digest of its value.
    pub digest: Digest,
    /// How long it counts, and for what.
    pub term: Term,
}

/// Why a revocation was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// There are too many.
    #[error("there are {MAX_ENTRIES} revocations already")]
    Full,
    /// Redis is away: it counts here, but other replicas do not know it yet.
    #[error("Redis is away: it counts in this process, and will be written when Redis is back")]
    Unshared,
}

/// Where the list is shared, and how long the copy serves when it is not.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Redis.
    pub redis: Arc<Redis>,
    /// So long after it was last known to be whole.
    pub max_stale: Duration,
}

/// The list, as one configuration looks at it.
#[derive(Debug)]
pub struct Revocations {
    list: Arc<List>,
    watched: Arc<Watched>,
    shared: Option<Shared>,
}

impl Revocations {
    /// That list, looked at for these attributes; and what keeps the copy, if it is one.
    #[must_use]
    pub fn open(
        list: Arc<List>,
        watched: Arc<Watched>,
        shared: Option<Shared>,
        clock: Arc<dyn Clock>,
    ) -> (Arc<Self>, Option<Running>) {
        list.becomes(shared.is_some(), clock.now());
        let running = shared.clone().map(|shared| {
            let (list, watched) = (Arc::clone(&list), Arc::clone(&watched));
            let running: Running = Box::pin(Follower { redis: shared.redis, list, watched, clock }.run());
            running
        });
        (Arc::new(Self { list, watched, shared }), running)
    }

    /// What credentials are looked at for.
    #[must_use]
    pub const fn watched(&self) -> &Arc<Watched> {
        &self.watched
    }

    /// The list itself.
    #[must_use]
    pub const fn list(&self) -> &Arc<List> {
        &self.list
    }

    /// Why a credential does not count any more, or cannot be judged: `token_revoked` or `authority_unavailable`.
    #[must_use]
    pub fn refusal(&self, marked: &Marked, now: UnixTime) -> Option<Reason> {
        if self.list.hits(marked, now) {
            return Some(Reason::TokenRevoked);
        }
        match &self.shared {
            Some(shared) if !self.serves(shared, now) => Some(Reason::AuthorityUnavailable),
            Some(_) | None => None,
        }
    }

    fn serves(&self, shared: &Shared, now: UnixTime) -> bool {
        self.list.whole_at().is_some_and(|at| now < at.plus(shared.max_stale))
    }

    /// Whether the list was ever whole.
    #[must_use]
    pub fn has_been_whole(&self) -> bool {
        self.shared.is_none() || self.list.whole_at().is_some()
    }

    /// How long ago the list was last known to be whole; none where it is no copy, or never was.
    #[must_use]
    pub fn age(&self, now: UnixTime) -> Option<Duration> {
        self.shared.as_ref()?;
        self.list.whole_at().map(|at| at.until(now))
    }

    /// Revokes; with `[redis]` it is written there before this returns.
    ///
    /// # Errors
    /// There is no room, or others cannot be told.
    pub async fn revoke(&self, revocation: Revocation<'_>, now: UnixTime) -> Result<(), NotTaken> {
        let Revocation { attribute, digest, term } = revocation;
        // Here first: whatever becomes of the rest, this process lets nobody in with it.
        let entry = (Mark::new(attribute, digest), term);
        self.list.add(vec![entry], now).map_err(|Full| NotTaken::Full)?;
        if let Some(shared) = &self.shared {
            let written = wire::write(&shared.redis, (attribute, &digest), term, now).await;
            written.map_err(|_| NotTaken::Unshared)?;
        }
        Ok(())
    }
}

/// Removes what has ended from the list, a little at a time, for as long as it is polled.
pub async fn tidy(list: Arc<List>, clock: Arc<dyn Clock>) {
    let mut tick = interval(PURGE_PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut turn = 0_usize;
    loop {
        tick.tick().await;
        if list.held() == 0 {
            continue;
        }
        for _ in 0..PURGED {
            list.purge(turn, clock.now());
            turn = turn.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests;
