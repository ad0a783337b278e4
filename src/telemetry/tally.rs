//! Counters of one worker: written by one thread, read by whoever scrapes.
//!
//! Every worker has its own, so that counting a request touches no memory that another core writes; the locks
//! are free except while a scrape copies the figures.

use crate::denial::Reason;
use http::{Method, StatusCode};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Upper bounds of the buckets of durations, in seconds.
pub const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// What was decided about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decision {
    /// It was let through to the service.
    Allow,
    /// It was refused.
    Deny,
}

impl Decision {
    /// The label's value.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// The value of the label `method`: bounded, whatever clients send.
#[must_use]
pub fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// How long something took, by bucket.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Durations {
    /// How many fell into each bucket, not cumulative; the last is beyond all bounds.
    pub buckets: [u64; BUCKETS.len() + 1],
    /// All together, in seconds.
    pub sum: f64,
}

impl Durations {
    fn observe(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let place = BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS.len());
        if let Some(bucket) = self.buckets.get_mut(place) {
            *bucket = bucket.saturating_add(1);
        }
        self.sum += seconds;
    }

    /// Adds the figures of another worker.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, more) in self.buckets.iter_mut().zip(other.buckets) {
            *bucket = bucket.saturating_add(more);
        }
        self.sum += other.sum;
    }
}

/// A finished request, as counters see it.
#[derive(Clone, Copy, Debug)]
pub struct Finished {
    /// The value of the label `method`.
    pub method: &'static str,
    /// The status that the client got.
    pub status: StatusCode,
    /// What was decided.
    pub decision: Decision,
    /// Why.
    pub reason: Reason,
    /// From the head's arrival to the end of the response.
    pub duration: Duration,
}

/// What one route did.
#[derive(Clone, Debug, Default)]
pub struct RouteFigures {
    /// By method and status.
    pub requests: Vec<((&'static str, u16), u64)>,
    /// By decision and reason.
    pub decisions: Vec<((Decision, Reason), u64)>,
    /// From the head's arrival to the end of the response.
    pub durations: Durations,
}

fn increment<K: PartialEq>(counters: &mut Vec<(K, u64)>, key: K) {
    match counters.iter_mut().find(|(known, _)| *known == key) {
        Some((_, count)) => *count = count.saturating_add(1),
        None => counters.push((key, 1)),
    }
}

/// The counters of one route in one worker.
#[derive(Debug, Default)]
pub struct RouteTally(Mutex<RouteFigures>);

impl RouteTally {
    /// Counts a request that has ended.
    pub fn finished(&self, request: &Finished) {
        let mut figures = lock(&self.0);
        increment(&mut figures.requests, (request.method, request.status.as_u16()));
        increment(&mut figures.decisions, (request.decision, request.reason));
        figures.durations.observe(request.duration);
    }
}

/// The counters of one upstream in one worker.
#[derive(Debug, Default)]
pub struct UpstreamTally(Mutex<Durations>);

impl UpstreamTally {
    /// Counts a response head that came after `duration`.
    pub fn answered(&self, duration: Duration) {
        lock(&self.0).observe(duration);
    }
}

/// A number that one worker counts up, or up and down.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more.
    pub fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One less.
    pub fn decrement(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one authenticator in one worker.
#[derive(Debug, Default)]
pub struct AuthenticatorTally {
    /// Credentials that were good.
    pub success: Count,
    /// Credentials that were refused, or that nobody could be asked about.
    pub error: Count,
}

/// Everything that one worker counts.
#[derive(Debug, Default)]
pub struct Tally {
    /// Open client connections.
    pub connections: Count,
    /// Open tunnels.
    pub tunnels: Count,
    /// Tokens found in the cache.
    pub cache_hits: Count,
    /// Tokens not found in the cache.
    pub cache_misses: Count,
    routes: Mutex<BTreeMap<Arc<str>, Arc<RouteTally>>>,
    upstreams: Mutex<BTreeMap<Arc<str>, Arc<UpstreamTally>>>,
    authenticators: Mutex<BTreeMap<Arc<str>, Arc<AuthenticatorTally>>>,
}

impl Tally {
    /// The counters of the route of that name; kept when the configuration is reloaded.
    #[must_use]
    pub fn route(&self, name: &Arc<str>) -> Arc<RouteTally> {
        lock(&self.routes).entry(Arc::clone(name)).or_default().clone()
    }

    /// The counters of the upstream of that name.
    #[must_use]
    pub fn upstream(&self, name: &Arc<str>) -> Arc<UpstreamTally> {
        lock(&self.upstreams).entry(Arc::clone(name)).or_default().clone()
    }

    /// The counters of the authenticator of that name.
    #[must_use]
    pub fn authenticator(&self, name: &Arc<str>) -> Arc<AuthenticatorTally> {
        lock(&self.authenticators).entry(Arc::clone(name)).or_default().clone()
    }

    /// The figures of every route.
    #[must_use]
    pub fn route_figures(&self) -> Vec<(Arc<str>, RouteFigures)> {
        let routes = lock(&self.routes).clone();
        routes.into_iter().map(|(name, tally)| (name, lock(&tally.0).clone())).collect()
    }

    /// The figures of every upstream.
    #[must_use]
    pub fn upstream_figures(&self) -> Vec<(Arc<str>, Durations)> {
        let upstreams = lock(&self.upstreams).clone();
        upstreams.into_iter().map(|(name, tally)| (name, lock(&tally.0).clone())).collect()
    }

    /// The successes and errors of every authenticator.
    #[must_use]
    pub fn authenticator_figures(&self) -> Vec<(Arc<str>, u64, u64)> {
        let authenticators = lock(&self.authenticators).clone();
        authenticators
            .into_iter()
            .map(|(name, tally)| (name, tally.success.value(), tally.error.value()))
            .collect()
    }
}

/// Counters stay usable after a panic elsewhere.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
