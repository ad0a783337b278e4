//! Which key ids were asked for lately, so that the same unknown one is not asked for again and again.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;
use tokio::time::Instant;

/// How many ids are remembered. Those beyond are forgotten early, which costs one fetch a second at most.
const MAX_REMEMBERED: usize = 1000;

/// How long one is remembered.
pub(super) const COOL_DOWN: Duration = Duration::from_secs(10);

/// Remembers a keyed hash of each id, since an attacker chooses what the ids are and how long.
#[derive(Debug, Default)]
pub(super) struct Memory {
    hasher: RandomState,
    asked: HashMap<u64, Instant>,
    order: VecDeque<u64>,
}

impl Memory {
    /// When the id was last asked for, if that was within the cool-down.
    pub(super) fn asked(&self, kid: Option<&str>, now: Instant) -> Option<Instant> {
        let asked = *self.asked.get(&self.hasher.hash_one(kid))?;
        (now.saturating_duration_since(asked) < COOL_DOWN).then_some(asked)
    }

    /// Notes that the id is being asked for now.
    pub(super) fn note(&mut self, kid: Option<&str>, now: Instant) {
        let hash = self.hasher.hash_one(kid);
        if self.asked.insert(hash, now).is_none() {
            self.order.push_back(hash);
        }
        if self.order.len() > MAX_REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.asked.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{COOL_DOWN, MAX_REMEMBERED, Memory};
    use tokio::time::{Instant, advance};

    #[tokio::test(start_paused = true)]
    async fn an_id_is_remembered_for_the_cool_down() {
        let mut memory = Memory::default();
        let start = Instant::now();
        memory.note(Some("a"), start);
        assert_eq!(memory.asked(Some("a"), start), Some(start));
        assert_eq!(memory.asked(Some("b"), start), None);
        assert_eq!(memory.asked(None, start), None);
        advance(COOL_DOWN).await;
        assert_eq!(memory.asked(Some("a"), Instant::now()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_memory_is_bounded() {
        let mut memory = Memory::default();
        for number in 0..MAX_REMEMBERED * 3 {
            memory.note(Some(&number.to_string()), Instant::now());
        }
        assert_eq!(memory.asked.len(), MAX_REMEMBERED);
        assert_eq!(memory.order.len(), MAX_REMEMBERED);
        assert!(memory.asked(Some("0"), Instant::now()).is_none());
        assert!(memory.asked(Some("2999"), Instant::now()).is_some());
    }
}
