//! The actor that reads keys: in the background, and sooner when a token names a key that is not there.

use super::memory::Memory;
use super::source::{LoadError, Loaded, Reader};
use super::{Ask, MAX_ASKS, Shared, Unavailable};
use crate::clock::{Clock, after};
use crate::outbound::HttpClient;
use std::future::{self, Future};
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

/// The least time between the beginnings of two readings.
const SPACING: Duration = Duration::from_secs(1);

/// The longest pause between attempts while reading fails.
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// When a reading is given up, whatever it waits for: discovery and the set, five seconds each, and some air.
const READ_TIMEOUT: Duration = Duration::from_secs(12);

type Flight = Pin<Box<dyn Future<Output = Result<Loaded, LoadError>> + Send>>;

/// Keeps one store's keys fresh.
pub struct Refresher {
    shared: Arc<Shared>,
    reader: Arc<Reader>,
    clock: Arc<dyn Clock>,
    asks: mpsc::Receiver<Ask>,
    /// The reading that is under way, and who waits for it.
    flight: Option<Flight>,
    passengers: Vec<Ask>,
    /// Who came too late for it.
    waiting: Vec<Ask>,
    memory: Memory,
    next: Instant,
    earliest: Instant,
    last_success: Option<Instant>,
    failures: u32,
}

impl Refresher {
    pub(super) fn new(
        shared: Arc<Shared>,
        asks: mpsc::Receiver<Ask>,
        client: Arc<dyn HttpClient>,
        clock: Arc<dyn Clock>,
        is_read: bool,
    ) -> Self {
        let settings = &shared.settings;
        let reader = Reader::new(settings.source.clone(), settings.algorithms.clone(), client);
        let now = Instant::now();
        let next = if is_read { after(now, jittered(settings.refresh)) } else { now };
        Self {
            reader: Arc::new(reader),
            shared,
            clock,
            asks,
            flight: None,
            passengers: Vec::new(),
            waiting: Vec::new(),
            memory: Memory::default(),
            next,
            earliest: now,
            last_success: is_read.then_some(now),
            failures: 0,
        }
    }

    /// Runs until the store is dropped.
    pub async fn run(mut self) {
        if self.reader.source().is_constant() && self.last_success.is_some() {
            return;
        }
        loop {
            tokio::select! {
                biased;
                read = landing(&mut self.flight) => self.landed(read),
                () = sleep_until(self.next), if self.flight.is_none() => self.start(),
                ask = self.asks.recv() => match ask {
                    Some(ask) => self.hear(ask),
                    None => return,
                },
            }
        }
    }

    fn has_keys(&self) -> bool {
        self.shared.current(self.clock.now()).is_some()
    }

    fn knows(&self, ask: &Ask) -> bool {
        let set = self.shared.current(self.clock.now());
        ask.kid.as_deref().is_some_and(|kid| set.is_some_and(|set| set.knows(kid)))
    }

    fn is_full(&self) -> bool {
        self.waiting.len().saturating_add(self.passengers.len()) >= MAX_ASKS
    }

    fn hear(&mut self, ask: Ask) {
        if self.knows(&ask) {
            return answer(ask, Ok(()));
        }
        if self.is_full() {
            self.waiting.retain(|ask| !ask.reply.is_closed());
            self.passengers.retain(|ask| !ask.reply.is_closed());
            if self.is_full() {
                return answer(ask, Err(Unavailable));
            }
        }
        // Without keys every question counts; the spacing alone holds it back.
        if self.has_keys()
            && let Some(asked) = self.memory.asked(ask.kid.as_deref(), Instant::now())
        {
            if self.passengers.iter().any(|passenger| passenger.kid == ask.kid) {
                return self.passengers.push(ask);
            }
            let was_told = self.last_success.is_some_and(|success| success >= asked);
            return answer(ask, if was_told { Ok(()) } else { Err(Unavailable) });
        }
        self.waiting.push(ask);
        self.next = self.next.min(self.earliest);
    }

    fn start(&mut self) {
        let now = Instant::now();
        if now < self.earliest {
            self.next = self.earliest;
            return;
        }
        self.earliest = after(now, SPACING);
        self.waiting.retain(|ask| !ask.reply.is_closed());
        self.passengers = std::mem::take(&mut self.waiting);
        for passenger in &self.passengers {
            self.memory.note(passenger.kid.as_deref(), now);
        }
        let load = Arc::clone(&self.reader).load(!self.passengers.is_empty());
        let bounded = timeout(READ_TIMEOUT, load);
        self.flight = Some(Box::pin(async move { bounded.await.unwrap_or(Err(LoadError::Timeout)) }));
    }

    fn landed(&mut self, read: Result<Loaded, LoadError>) {
        self.flight = None;
        let now = Instant::now();
        let outcome = match read {
            Ok(loaded) => {
                self.succeeded(loaded);
                self.last_success = Some(now);
                self.failures = 0;
                self.next = after(now, jittered(self.shared.settings.refresh));
                Ok(())
            }
            Err(error) => {
                self.failed(&error);
                self.failures = self.failures.saturating_add(1);
                let pause = backoff(self.failures).min(self.shared.settings.refresh);
                self.next = after(now, jittered(pause));
                Err(Unavailable)
            }
        };
        for passenger in std::mem::take(&mut self.passengers) {
            answer(passenger, outcome);
        }
        // Who asked while the reading was under way may mean a key that is newer than what was read.
        for ask in std::mem::take(&mut self.waiting) {
            self.hear(ask);
        }
    }

    fn succeeded(&self, loaded: Loaded) {
        let settings = &self.shared.settings;
        let (keys, ignored) = (loaded.set.len(), loaded.ignored.clone());
        let changed = self.shared.take_over(loaded, self.clock.now());
        if changed && ignored.total() > 0 {
            tracing::warn!(authenticator = &*settings.name, source = %settings.source, keys, %ignored, "some keys are ignored");
        }
        if changed || self.failures > 0 {
            tracing::info!(authenticator = &*settings.name, source = %settings.source, keys, "keys were read");
        }
    }

    fn failed(&self, error: &LoadError) {
        let settings = &self.shared.settings;
        self.shared.refreshes.errors.fetch_add(1, Ordering::Relaxed);
        if self.failures == 0 {
            let serving = self.has_keys();
            tracing::warn!(authenticator = &*settings.name, %error, serving, "keys cannot be read; trying again");
        } else {
            tracing::debug!(authenticator = &*settings.name, %error, "keys still cannot be read");
        }
    }
}

async fn landing(flight: &mut Option<Flight>) -> Result<Loaded, LoadError> {
    match flight {
        Some(flight) => flight.await,
        None => future::pending().await,
    }
}

fn answer(ask: Ask, outcome: Result<(), Unavailable>) {
    if ask.reply.send(outcome).is_err() {
        tracing::trace!("whoever asked for a key has given up");
    }
}

/// 1 s, 2 s, 4 s … 30 s.
fn backoff(failures: u32) -> Duration {
    let factor = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    SPACING.saturating_mul(factor).min(MAX_BACKOFF)
}

/// Up to a tenth less, so that many replicas do not ask at the same moment.
fn jittered(period: Duration) -> Duration {
    let random = u32::try_from(RandomState::new().hash_one(()) & 0xff).unwrap_or_default();
    let part = period.checked_div(2560).unwrap_or_default().saturating_mul(random);
    period.saturating_sub(part)
}

#[cfg(test)]
mod tests {
    use super::{backoff, jittered};
    use std::time::Duration;

    #[test]
    fn the_pause_after_failures_doubles_up_to_half_a_minute() {
        let pauses: Vec<u64> = [1, 2, 3, 4, 5, 6, 7, 33, u32::MAX].map(|n| backoff(n).as_secs()).into();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30, 30]);
    }

    #[test]
    fn jitter_takes_away_a_tenth_at_most() {
        for _ in 0..1000 {
            let period = jittered(Duration::from_secs(300));
            assert!(period <= Duration::from_secs(300) && period >= Duration::from_secs(270), "{period:?}");
        }
    }
}
