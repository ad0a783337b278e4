//! Wall time enters the program here and nowhere else, so that a test can put its own in.

pub mod patience;

use std::cell::Cell;
use std::fmt::Debug;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// A point in wall time, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(u64);

impl UnixTime {
    /// The latest representable time: "never".
    pub const NEVER: Self = Self(u64::MAX);

    /// A time given in whole seconds, the `NumericDate` of RFC 7519 §2.
    #[must_use]
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// A time given in milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Whole seconds since the epoch, rounded down.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// This time moved into the future; stops at [`UnixTime::NEVER`].
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long until `later`; zero if it has passed.
    #[must_use]
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(later.0.saturating_sub(self.0))
    }
}

/// Where wall time comes from.
pub trait Clock: Debug + Send + Sync {
    /// The time now.
    fn now(&self) -> UnixTime;

    /// The time now in nanoseconds since the epoch, as exactly as it is known.
    fn nanos(&self) -> u64 {
        self.now().millis().saturating_mul(1_000_000)
    }
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn nanos(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// How often a worker keeps house: closes what is unused for too long, hands over its log, and looks at the clock.
pub const TICK: Duration = Duration::from_millis(200);

thread_local! {
    static LATELY: Cell<Option<(Instant, UnixTime)>> = const { Cell::new(None) };
}

/// Notes the time for [`lately`], on this thread; called every now and then by whoever keeps house there.
pub fn strike(clock: &dyn Clock) {
    LATELY.set(Some((Instant::now(), clock.now())));
}

/// The time when this thread's clock struck last: for what need not be exact, since reading the clock is not free.
#[must_use]
pub fn lately() -> (Instant, UnixTime) {
    LATELY.get().unwrap_or_else(|| (Instant::now(), SystemClock.now()))
}

/// A moment on the monotonic clock, `duration` after `from`; `from` itself where there is no such moment.
#[must_use]
pub fn after(from: Instant, duration: Duration) -> Instant {
    from.checked_add(duration).unwrap_or(from)
}
