//! Limits counted in this process, for all workers together.

use super::{Charge, Key, tightest};
use crate::allowance::Allowance;
use crate::standing::Running;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Tables with a lock each. It is held for some ten nanoseconds, and workers seldom want the same one.
const TABLES: usize = 64;

/// How many values are counted at once. When there are more, the one that is nearest to being whole again is forgotten of
/// some that stand at hand: a flood of values cannot grow without bound, and locks nobody out.
pub(super) const MOST_VALUES: usize = 1 << 17;

/// How many stand at hand.
const AT_HAND: usize = 16;

/// How often a table is looked through for values that are whole again.
const PURGE_PERIOD: Duration = Duration::from_millis(250);

/// When the limit of a value will be whole again, in nanoseconds since the beginning.
type Table = HashMap<Key, u64>;

/// Limits counted in this process.
#[derive(Debug)]
pub struct Local {
    tables: Box<[Mutex<Table>]>,
    /// Never needed: every place has a table.
    spare: Mutex<Table>,
    most: usize,
    begun: Instant,
}

impl Local {
    /// None counted yet; and what forgets those that are whole again.
    #[must_use]
    pub fn open() -> (Arc<Self>, Running) {
        let local = Arc::new(Self::with(MOST_VALUES));
        let purged = Arc::downgrade(&local);
        (local, Box::pin(purge(purged)))
    }

    pub(super) fn with(most: usize) -> Self {
        let tables = (0..TABLES).map(|_| Mutex::default()).collect();
        let most = most.checked_div(TABLES).unwrap_or_default().max(1);
        Self { tables, spare: Mutex::default(), most, begun: Instant::now() }
    }

    /// Counts a request against every limit, or against none if one of them has no room.
    #[must_use]
    pub fn charge(&self, charges: &[Charge]) -> Option<Allowance> {
        let now = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut told = Vec::with_capacity(charges.len());
        for charge in charges {
            let allowance = self.charge_one(charge, now);
            told.push(allowance);
            if allowance.wait.is_some() {
                // Those that had room get it back.
                let taken = charges.iter().zip(&told).filter(|(_, told)| told.wait.is_none());
                taken.for_each(|(charge, _)| self.give_back(charge));
                break;
            }
        }
        tightest(told.into_iter())
    }

    fn charge_one(&self, charge: &Charge, now: u64) -> Allowance {
        let rate = &charge.rate;
        let mut table = self.table(charge.key);
        let whole_at = table.get(&charge.key).copied().unwrap_or_default().max(now);
        let weight = whole_at.saturating_sub(now);
        let after = weight.saturating_add(rate.interval());
        if after > rate.capacity() {
            return rate.allowance(weight, true);
        }
        if table.len() >= self.most && !table.contains_key(&charge.key) {
            make_room(&mut table);
        }
        table.insert(charge.key, whole_at.saturating_add(rate.interval()));
        rate.allowance(after, false)
    }

    fn give_back(&self, charge: &Charge) {
        if let Some(whole_at) = self.table(charge.key).get_mut(&charge.key) {
            *whole_at = whole_at.saturating_sub(charge.rate.interval());
        }
    }

    fn table(&self, key: Key) -> MutexGuard<'_, Table> {
        let [first, ..] = key.0.to_be_bytes();
        let place = usize::from(first).checked_rem(TABLES).unwrap_or_default();
        lock(self.tables.get(place).unwrap_or(&self.spare))
    }

    /// How many values are counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tables.iter().map(|table| lock(table).len()).sum()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

fn make_room(table: &mut Table) {
    let nearest = table.iter().take(AT_HAND).min_by_key(|(_, whole_at)| **whole_at).map(|(key, _)| *key);
    if let Some(nearest) = nearest {
        table.remove(&nearest);
    }
}

/// Forgets values that are whole again, one table after the other.
async fn purge(local: Weak<Local>) {
    let mut tick = interval(PURGE_PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut place = 0_usize;
    loop {
        tick.tick().await;
        let Some(local) = local.upgrade() else { return };
        let now = u64::try_from(local.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if let Some(table) = local.tables.get(place) {
            let mut table = lock(table);
            table.retain(|_, whole_at| *whole_at > now);
            let room = table.len().saturating_mul(2);
            table.shrink_to(room);
        }
        place = place.saturating_add(1) % TABLES;
    }
}
