//! The copy of what replicas share: every revocation is a key of Redis, which is what counts, and an entry of a log there, which
//! tells others soon.
//!
//! The log is read several times a second. Every few seconds, and whenever something went wrong, all keys are read: so what others
//! write without the log is found, and what the log lost. What is held here and lacks there is written there again: a Redis that
//! comes back empty forgets nothing.

use super::list::{Full, List, SAME_END, Term};
use super::mark::{Mark, Watched, attribute_number};
use super::wire;
use crate::clock::{Clock, UnixTime};
use crate::redis::{Redis, Script, Unavailable, Value, cmd};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often the log is read.
const POLL: Duration = Duration::from_millis(200);

/// How long after all keys were read they are read again, at least; and how many times as long as the reading took.
const REST: (Duration, u32) = (Duration::from_secs(3), 10);

/// How many entries of the log are read at once.
const BATCH: usize = 500;

/// One of so many parts of the list is added at once, if it is large.
const PARTS: usize = 16;

/// How many keys are written back at once.
const TOGETHER: usize = 32;

/// What ends so soon is not worth being written back.
const SOON: Duration = Duration::from_secs(5);

/// A key without an end counts so long after it was last seen.
const SIGHT: Duration = Duration::from_secs(3600);

/// One step through all keys: the next cursor, and name, value and time to live of those found.
const STEP: &str = "\
local page = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', 500)
local found = {}
for _, key in ipairs(page[2]) do
  local value = redis.pcall('GET', key)
  if type(value) ~= 'string' or #value > 64 then value = '' end
  table.insert(found, {key, value, redis.call('PTTL', key)})
end
return {page[1], found}";

const NO_KEYS: [&str; 0] = [];

/// Why the copy is not whole.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Away(#[from] Unavailable),
    #[error(transparent)]
    Full(#[from] Full),
    #[error("Redis answers what nobody asked")]
    Odd,
}

/// How the log is read beside something that takes its time.
struct Polling {
    last: Instant,
    /// Whether the copy was whole before, and is so as long as the log is read.
    keeps_whole: bool,
}

/// Keeps the copy.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) redis: Arc<Redis>,
    pub(super) list: Arc<List>,
    pub(super) watched: Arc<Watched>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Follower {
    /// Runs as long as it is polled.
    pub(super) async fn run(self) {
        let mut position = None;
        let mut is_whole = true;
        loop {
            let error = self.follow(&mut position).await.err();
            match (error, is_whole) {
                (Some(Fault::Away(_)), true) => {
                    tracing::warn!("revocations: the copy grows stale, Redis is away");
                }
                (Some(error @ (Fault::Full(_) | Fault::Odd)), true) => {
                    tracing::error!(%error, "revocations: the copy grows stale");
                }
                (None, false) => tracing::info!("revocations: the copy is whole again"),
                (Some(_), false) | (None, true) => {}
            }
            is_whole = error.is_none();
            if error.is_some() {
                position = None;
                sleep(POLL).await;
            }
        }
    }

    /// Reads all keys, and then the log until they are to be read again.
    async fn follow(&self, position: &mut Option<String>) -> Result<(), Fault> {
        let started = Instant::now();
        let began = self.clock.now();
        let mut polling = Polling { last: Instant::now(), keeps_whole: position.is_some() };
        if position.is_none() {
            *position = Some(self.end_of_log().await?);
        }
        let (mut seen, mut found) = (HashSet::new(), Vec::new());
        let step = Script::new(STEP);
        let pattern = format!("{}*", escaped(&self.redis.key(wire::KEY)));
        let mut cursor = "0".to_owned();
        loop {
            let answer = self.redis.evaluate(&step, &NO_KEYS, &[&*cursor, &*pattern]).await?;
            let (next, keys) = page(answer).ok_or(Fault::Odd)?;
            self.read_keys(keys, &mut seen, &mut found);
            // A part of the whole at once, since each addition copies tables.
            if next == "0"
                || found.len() >= BATCH.max(self.list.held().checked_div(PARTS).unwrap_or_default())
            {
                self.list.add_inexact(std::mem::take(&mut found), SAME_END, self.clock.now())?;
            }
            self.poll_if_due(&mut polling, position).await?;
            cursor = next;
            if cursor == "0" {
                break;
            }
        }
        // Whatever was written before this began is here now.
        self.list.is_whole(began);
        polling.keeps_whole = true;
        self.write_back(&seen, (&mut polling, position)).await?;
        let rest = REST.0.max(started.elapsed().saturating_mul(REST.1));
        let until = Instant::now();
        while until.elapsed() < rest {
            sleep(POLL).await;
            let now = self.clock.now();
            self.poll(position).await?;
            self.list.is_whole(now);
        }
        Ok(())
    }

    /// Where the log ends.
    async fn end_of_log(&self) -> Result<String, Fault> {
        let mut command = cmd("XREVRANGE");
        command.arg(self.redis.key(wire::LOG)).arg("+").arg("-").arg("COUNT").arg(1);
        let entries = wire::entries(self.redis.run(command).await?).ok_or(Fault::Odd)?;
        Ok(entries.into_iter().next().map_or_else(|| "0-0".to_owned(), |(id, _)| id))
    }

    async fn poll_if_due(&self, polling: &mut Polling, position: &mut Option<String>) -> Result<(), Fault> {
        if polling.last.elapsed() >= POLL {
            let now = self.clock.now();
            self.poll(position).await?;
            polling.last = Instant::now();
            if polling.keeps_whole {
                self.list.is_whole(now);
            }
        }
        Ok(())
    }

    /// Reads what is new in the log.
    async fn poll(&self, position: &mut Option<String>) -> Result<(), Fault> {
        loop {
            let mut command = cmd("XRANGE");
            let from = format!("({}", position.as_deref().unwrap_or("0-0"));
            command.arg(self.redis.key(wire::LOG)).arg(from).arg("+").arg("COUNT").arg(BATCH);
            let entries = wire::entries(self.redis.run(command).await?).ok_or(Fault::Odd)?;
            let count = entries.len();
            let mut added = Vec::new();
            for (id, fields) in entries {
                added.extend(
                    wire::logged(&fields)
                        .filter(|(name, ..)| self.is_watched(name))
                        .map(|(name, digest, term)| (Mark::new(&name, digest), term)),
                );
                *position = Some(id);
            }
            self.list.add(added, self.clock.now())?;
            if count < BATCH {
                return Ok(());
            }
        }
    }

    fn read_keys(&self, keys: Found, seen: &mut HashSet<u64>, found: &mut Vec<(Mark, Term)>) {
        let now = self.clock.now();
        let prefix = self.redis.key(wire::KEY);
        for (key, value, left) in keys {
            let Some((name, digest)) = key.strip_prefix(&prefix).and_then(wire::named) else { continue };
            if !self.is_watched(name) {
                continue;
            }
            let until = match u64::try_from(left) {
                Ok(left) => now.plus(Duration::from_millis(left)),
                // It has gone meanwhile.
                Err(_) if left == -2 => continue,
                Err(_) => sighted(now),
            };
            let mark = Mark::new(name, digest);
            seen.insert(mark.short());
            found.push((mark, Term { until, before: wire::before(&value) }));
        }
    }

    fn is_watched(&self, name: &str) -> bool {
        self.watched.shared_names().any(|watched| watched == name)
    }

    /// Writes what is held here and was not seen there.
    async fn write_back(
        &self,
        seen: &HashSet<u64>,
        (polling, position): (&mut Polling, &mut Option<String>),
    ) -> Result<(), Fault> {
        let names: HashMap<u128, &str> =
            self.watched.shared_names().map(|name| (attribute_number(name), name)).collect();
        let now = self.clock.now();
        let mut lacking = self.list.lasting(now.plus(SOON));
        lacking.retain(|(mark, _)| !seen.contains(&mark.short()) && names.contains_key(&mark.attribute));
        if !lacking.is_empty() {
            tracing::warn!(count = lacking.len(), "revocations: written to Redis again, where they lacked");
        }
        for some in lacking.chunks(TOGETHER) {
            let written = some.iter().filter_map(|(mark, term)| {
                let name = names.get(&mark.attribute)?;
                Some(wire::write(&self.redis, (name, &mark.digest), *term, now))
            });
            for outcome in futures_util::future::join_all(written).await {
                outcome?;
            }
            self.poll_if_due(polling, position).await?;
        }
        Ok(())
    }
}

/// When a key that has no end, and was seen now, ends here; in long steps, so that each sight is no change.
fn sighted(now: UnixTime) -> UnixTime {
    let step = u64::try_from(SIGHT.as_millis()).unwrap_or(u64::MAX);
    let steps = now.millis().checked_div(step).unwrap_or_default().saturating_add(2);
    UnixTime::from_millis(steps.saturating_mul(step))
}

/// A text that a pattern of Redis takes as it is.
fn escaped(text: &str) -> String {
    let mut pattern = String::new();
    for letter in text.chars() {
        if matches!(letter, '*' | '?' | '[' | ']' | '\\' | '^') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern
}

type Found = Vec<(String, String, i64)>;

fn page(answer: Value) -> Option<(String, Found)> {
    let Value::Array(parts) = answer else { return None };
    let [cursor, found] = <[Value; 2]>::try_from(parts).ok()?;
    let Value::Array(found) = found else { return None };
    let row = |row| {
        let Value::Array(parts) = row else { return None };
        let [key, value, left] = <[Value; 3]>::try_from(parts).ok()?;
        let Value::Int(left) = left else { return None };
        Some((wire::text(key)?, wire::text(value)?, left))
    };
    Some((wire::text(cursor)?, found.into_iter().map(row).collect::<Option<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::{SIGHT, escaped, sighted};
    use crate::clock::UnixTime;

    #[test]
    fn a_prefix_is_no_pattern() {
        assert_eq!(escaped("sidegate:revoked:"), "sidegate:revoked:");
        assert_eq!(escaped("a*b?[c]^\\"), "a\\*b\\?\\[c\\]\\^\\\\");
    }

    #[test]
    fn what_has_no_end_counts_an_hour_at_least_and_each_sight_is_no_change() {
        let now = UnixTime::from_seconds(1_800_000_123);
        assert!(now.until(sighted(now)) > SIGHT && now.until(sighted(now)) <= SIGHT * 2);
        assert_eq!(sighted(now), sighted(UnixTime::from_seconds(1_800_000_126)));
    }
}
