//! The list of what is revoked, read by workers without a lock. It is many small tables, of which a change copies one.

use super::mark::{Mark, Marked};
use crate::clock::UnixTime;
use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many tables there are: of 100 000 entries, a change copies about a hundred.
const SHARDS: usize = 1024;

/// How many entries there may be: beyond, no more are taken. It is about 200 MB.
pub const MAX_ENTRIES: usize = 1_000_000;

/// An end that was read from Redis and comes no more than so much later than the one that is known is the same: it is told as time
/// to live, and read again and again.
pub(super) const SAME_END: Duration = Duration::from_secs(2);

/// How long a revocation counts, and for which credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// Until then it counts.
    pub until: UnixTime,
    /// It hits what was issued then or earlier, and what does not say when it was; none = everything.
    pub before: Option<UnixTime>,
}

impl Term {
    fn hits(&self, issued: Option<UnixTime>, now: UnixTime) -> bool {
        now < self.until
            && match (self.before, issued) {
                (Some(before), Some(issued)) => issued <= before,
                (None, _) | (Some(_), None) => true,
            }
    }

    /// Both at once, or more: a revocation is never narrowed.
    fn widened(self, other: Self) -> Self {
        let before = match (self.before, other.before) {
            (Some(one), Some(another)) => Some(one.max(another)),
            (None, _) | (_, None) => None,
        };
        Self { until: self.until.max(other.until), before }
    }

    /// What it becomes, if there is anything new in `other`, whose end may be inexact by `slack`.
    fn changed_by(self, other: Self, slack: Duration, now: UnixTime) -> Option<Self> {
        if now >= self.until {
            return Some(other);
        }
        let widened = self.widened(other);
        let is_same = widened.before == self.before && widened.until <= self.until.plus(slack);
        (!is_same).then_some(widened)
    }
}

/// There is no room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the list of revocations is full")]
pub struct Full;

type Shard = HashMap<Mark, Term, RandomState>;

/// Everything that is revoked.
#[derive(Debug)]
pub struct List {
    shards: Box<[ArcSwap<Shard>]>,
    /// How many entries there are, those that have ended and were not removed yet included.
    held: AtomicUsize,
    /// Counts the changes.
    version: AtomicU64,
    /// When it was known to be whole, for lists that are copies; in milliseconds since the epoch, 0 = never.
    whole: AtomicU64,
    /// Whether nobody else has a list like this.
    alone: AtomicBool,
    writing: Mutex<()>,
    room: usize,
}

impl Default for List {
    fn default() -> Self {
        Self::with_room(MAX_ENTRIES)
    }
}

impl List {
    pub(super) fn with_room(room: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| ArcSwap::default()).collect(),
            held: AtomicUsize::new(0),
            version: AtomicU64::new(0),
            whole: AtomicU64::new(0),
            alone: AtomicBool::new(false),
            writing: Mutex::default(),
            room,
        }
    }

    /// How many entries there are.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// When it was last known to be whole.
    #[must_use]
    pub fn whole_at(&self) -> Option<UnixTime> {
        Some(self.whole.load(Ordering::Acquire)).filter(|at| *at != 0).map(UnixTime::from_millis)
    }

    /// It is a copy from now on, or the only one; where it was the only one, it was whole until now.
    pub(super) fn becomes(&self, copy: bool, now: UnixTime) {
        if self.alone.swap(!copy, Ordering::Relaxed) && copy {
            self.is_whole(now);
        }
    }

    pub(super) fn is_whole(&self, at: UnixTime) {
        self.whole.fetch_max(at.millis(), Ordering::Release);
    }

    /// Whether a credential is revoked. One of which nothing was found in this version of the list costs one comparison.
    #[must_use]
    pub fn hits(&self, marked: &Marked, now: UnixTime) -> bool {
        // Read before the tables: what is added meanwhile is looked for next time.
        let version = self.version.load(Ordering::Acquire);
        if marked.seen.get() == version {
            return false;
        }
        let is_hit = |shard: &ArcSwap<Shard>, mark| {
            shard.load().get(mark).is_some_and(|term| term.hits(marked.issued, now))
        };
        // There is a table for every mark.
        if marked.marks.iter().any(|mark| self.shard(mark).is_none_or(|shard| is_hit(shard, mark))) {
            return true;
        }
        marked.seen.set(version);
        false
    }

    /// Adds these, or widens what is there. Marks of one table are written at once.
    ///
    /// # Errors
    /// There is no room for all of them; those that were there already are widened all the same.
    pub(super) fn add(&self, entries: Vec<(Mark, Term)>, now: UnixTime) -> Result<(), Full> {
        self.add_inexact(entries, Duration::ZERO, now)
    }

    /// The same for ends that may be inexact by `slack`.
    pub(super) fn add_inexact(
        &self,
        mut entries: Vec<(Mark, Term)>,
        slack: Duration,
        now: UnixTime,
    ) -> Result<(), Full> {
        if self.held().saturating_add(entries.len()) > self.room {
            // What has ended makes room.
            self.purge_all(now);
        }
        let _writing = self.writing();
        entries.retain(|(_, term)| now < term.until);
        entries.sort_unstable_by_key(|(mark, _)| place(mark));
        let mut outcome = Ok(());
        for group in entries.chunk_by(|(one, _), (other, _)| place(one) == place(other)) {
            let Some(shard) = group.first().and_then(|(first, _)| self.shard(first)) else { continue };
            let current = shard.load_full();
            let mut next: Option<Shard> = None;
            for (mark, term) in group {
                let table = next.as_ref().unwrap_or(&current);
                let changed = match table.get(mark) {
                    Some(held) => held.changed_by(*term, slack, now),
                    None if self.held() < self.room => {
                        self.held.fetch_add(1, Ordering::Relaxed);
                        Some(*term)
                    }
                    None => {
                        outcome = Err(Full);
                        None
                    }
                };
                if let Some(term) = changed {
                    next.get_or_insert_with(|| Shard::clone(&current)).insert(*mark, term);
                }
            }
            if let Some(next) = next {
                shard.store(Arc::new(next));
                self.version.fetch_add(1, Ordering::Release);
            }
        }
        outcome
    }

    /// Removes what has ended from one table in turn; returns how many entries that were.
    pub(super) fn purge(&self, turn: usize, now: UnixTime) -> usize {
        let _writing = self.writing();
        let Some(shard) = turn.checked_rem(SHARDS).and_then(|place| self.shards.get(place)) else { return 0 };
        let current = shard.load_full();
        let ended = current.values().filter(|term| now >= term.until).count();
        if ended > 0 {
            let left = current.iter().filter(|(_, term)| now < term.until);
            shard.store(Arc::new(left.map(|(mark, term)| (*mark, *term)).collect()));
            self.held.fetch_sub(ended, Ordering::Relaxed);
        }
        ended
    }

    /// Removes everything that has ended.
    pub(super) fn purge_all(&self, now: UnixTime) {
        for turn in 0..SHARDS {
            self.purge(turn, now);
        }
    }

    /// Every entry that still counts after `then`.
    pub(super) fn lasting(&self, then: UnixTime) -> Vec<(Mark, Term)> {
        let shards = self.shards.iter().map(ArcSwap::load_full);
        let lasting = |shard: Arc<Shard>| {
            let entries = shard.iter().filter(|(_, term)| then < term.until);
            entries.map(|(mark, term)| (*mark, *term)).collect::<Vec<_>>()
        };
        shards.flat_map(lasting).collect()
    }

    fn shard(&self, mark: &Mark) -> Option<&ArcSwap<Shard>> {
        self.shards.get(place(mark))
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which table a mark belongs to.
fn place(mark: &Mark) -> usize {
    let number = mark.digest.last_chunk().map_or(0, |end| u16::from_be_bytes(*end));
    usize::from(number).checked_rem(SHARDS).unwrap_or_default()
}
