//! The counters of one worker: written by one thread, read by whoever scrapes.

pub use super::count::{BUCKETS, Count, Durations};

use super::count::{Counts, Timing};
use crate::denial::Reason;
use http::{Method, StatusCode};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What was decided about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decision {
    /// It was let through to the service, or is a preflight that was answered.
    Allow,
    /// It was refused.
    Deny,
    /// It would have been refused, but for shadow mode.
    WouldDeny,
}

impl Decision {
    /// The label's value.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::WouldDeny => "would_deny",
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

/// The gate's verdict and the service's own, in shadow mode; true = both let the request pass.
pub type Comparison = (bool, bool);

/// What one route did.
#[derive(Clone, Debug, Default)]
pub struct RouteFigures {
    /// By method and status.
    pub requests: Vec<((&'static str, u16), u64)>,
    /// By decision and reason.
    pub decisions: Vec<((Decision, Reason), u64)>,
    /// In shadow mode, by the gate's verdict and the service's.
    pub comparisons: Vec<(Comparison, u64)>,
    /// From the head's arrival to the end of the response.
    pub durations: Durations,
}

/// The counters of one route in one worker.
#[derive(Debug)]
pub struct RouteTally {
    name: Arc<str>,
    requests: Counts<(&'static str, u16)>,
    decisions: Counts<(Decision, Reason)>,
    comparisons: Counts<Comparison>,
    durations: Timing,
}

impl RouteTally {
    fn new(name: &Arc<str>) -> Self {
        Self {
            name: Arc::clone(name),
            requests: Counts::default(),
            decisions: Counts::default(),
            comparisons: Counts::default(),
            durations: Timing::default(),
        }
    }

    /// The route's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Counts a request that has ended.
    pub fn finished(&self, request: &Finished) {
        self.requests.increment((request.method, request.status.as_u16()));
        self.decisions.increment((request.decision, request.reason));
        self.durations.observe(request.duration);
    }

    /// Counts how the gate's verdict compares with the service's own.
    pub fn compared(&self, comparison: Comparison) {
        self.comparisons.increment(comparison);
    }

    fn figures(&self) -> RouteFigures {
        RouteFigures {
            requests: self.requests.values(),
            decisions: self.decisions.values(),
            comparisons: self.comparisons.values(),
            durations: self.durations.values(),
        }
    }
}

/// The counters of one upstream in one worker.
#[derive(Debug, Default)]
pub struct UpstreamTally(Timing);

impl UpstreamTally {
    /// Counts a response head that came after `duration`.
    pub fn answered(&self, duration: Duration) {
        self.0.observe(duration);
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
    /// Connections that were closed because they did not begin with a PROXY header.
    pub unintroduced: Count,
    /// TLS handshakes that failed, or took too long.
    pub handshakes_failed: Count,
    /// Tokens found in the cache.
    pub cache_hits: Count,
    /// Tokens not found in the cache.
    pub cache_misses: Count,
    /// Requests whose facts were still good.
    pub entitlement_hits: Count,
    /// Requests that had to ask for facts.
    pub entitlement_misses: Count,
    /// Requests that went on without facts, since nobody could be asked (`on_error = "allow"`).
    pub entitlement_fallbacks: Count,
    /// Requests with a rate limit that Redis did not count.
    pub rate_limit_errors: Count,
    routes: Mutex<BTreeMap<Arc<str>, Arc<RouteTally>>>,
    upstreams: Mutex<BTreeMap<Arc<str>, Arc<UpstreamTally>>>,
    authenticators: Mutex<BTreeMap<Arc<str>, Arc<AuthenticatorTally>>>,
}

impl Tally {
    /// The counters of the route of that name; kept when the configuration is reloaded.
    #[must_use]
    pub fn route(&self, name: &Arc<str>) -> Arc<RouteTally> {
        lock(&self.routes).entry(Arc::clone(name)).or_insert_with(|| Arc::new(RouteTally::new(name))).clone()
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
        routes.into_iter().map(|(name, tally)| (name, tally.figures())).collect()
    }

    /// The figures of every upstream.
    #[must_use]
    pub fn upstream_figures(&self) -> Vec<(Arc<str>, Durations)> {
        let upstreams = lock(&self.upstreams).clone();
        upstreams.into_iter().map(|(name, tally)| (name, tally.0.values())).collect()
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
