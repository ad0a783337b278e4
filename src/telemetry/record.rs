//! The record of one request: filled in on its way, counted and logged once, when its response has ended.

use super::access_log::{AccessLog, Line};
use super::audit::{Audit, Event};
use super::tally::{Decision, Finished, RouteTally, Tally, method_label};
use super::tracing::spans::Times;
use super::tracing::{Trace, TraceIds};
use crate::allowance::Allowance;
use crate::clock::{Clock, UnixTime};
use crate::denial::{Denial, Reason};
use crate::identity::{Attribute, Identity};
use crate::request_id::RequestIds;
use crate::target::Target;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, StatusCode, Uri};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The status on record when the client went away before it got one (as nginx counts it).
const CLIENT_CLOSED: u16 = 499;

/// What one worker records with.
#[derive(Debug)]
pub struct Recorder {
    /// The worker's counters.
    pub tally: Arc<Tally>,
    /// The access log, unless it is switched off.
    pub log: Option<AccessLog>,
    /// The audit log, if there is one.
    pub audit: Option<Arc<Audit>>,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Ids for requests.
    pub ids: RequestIds,
    /// Ids for their traces.
    pub trace_ids: TraceIds,
    /// The route on record for requests that no rule was looked up for.
    pub unrouted: Arc<RouteTally>,
}

impl Recorder {
    /// A recorder around a worker's counters.
    #[must_use]
    pub fn new(
        tally: Arc<Tally>,
        (log, audit): (Option<AccessLog>, Option<Arc<Audit>>),
        clock: Arc<dyn Clock>,
    ) -> Self {
        let unrouted = tally.route(&"none".into());
        let (ids, trace_ids) = (RequestIds::default(), TraceIds::default());
        Self { tally, log, audit, clock, ids, trace_ids, unrouted }
    }
}

/// What the log says besides the counters; not collected when there is no log, and not copied where it need not be.
#[derive(Debug, Default)]
struct Words {
    aim: Aim,
    cause: Option<String>,
    authenticator: Option<Arc<str>>,
    subject: Option<Arc<str>>,
    customer_id: Option<Attribute>,
}

/// What a request asks for, as far as it is known.
#[derive(Debug, Default)]
enum Aim {
    #[default]
    Unknown,
    Sent(PathAndQuery),
    Parsed(Target),
}

impl Aim {
    /// The host without port, and the path without query.
    fn words(&self) -> (&str, &str) {
        match self {
            Self::Unknown => ("", ""),
            Self::Sent(sent) => ("", sent.path()),
            Self::Parsed(target) => (target.host(), target.path()),
        }
    }
}

/// The record of one request; written when it is dropped.
#[derive(Debug)]
pub struct Record {
    recorder: Rc<Recorder>,
    started: Instant,
    at: UnixTime,
    request_id: HeaderValue,
    client: Option<IpAddr>,
    method: Option<Method>,
    /// None until one was looked up.
    route: Option<Arc<RouteTally>>,
    status: Option<StatusCode>,
    decision: Decision,
    reason: Reason,
    upstream_duration: Option<Duration>,
    bytes: u64,
    tunnel: bool,
    allowance: Option<Box<Allowance>>,
    words: Option<Box<Words>>,
    trace: Option<Box<Trace>>,
}

impl Record {
    /// Begins the record of a request whose head has arrived.
    #[must_use]
    pub fn start(recorder: &Rc<Recorder>, method: Method, request_id: HeaderValue, at: UnixTime) -> Self {
        Self {
            started: Instant::now(),
            at,
            request_id,
            client: None,
            method: Some(method),
            route: None,
            status: None,
            decision: Decision::Deny,
            reason: Reason::HeadMalformed,
            upstream_duration: None,
            bytes: 0,
            tunnel: false,
            allowance: None,
            words: (recorder.log.is_some() || recorder.audit.is_some()).then(Box::default),
            trace: None,
            recorder: Rc::clone(recorder),
        }
    }

    /// The id of this request.
    #[must_use]
    pub const fn request_id(&self) -> &HeaderValue {
        &self.request_id
    }

    /// When the head had arrived.
    #[must_use]
    pub const fn at(&self) -> UnixTime {
        self.at
    }

    /// There is no request: its head was refused before it could be read.
    pub fn unread(&mut self) {
        self.method = None;
    }

    /// It is part of this trace.
    pub fn traced(&mut self, trace: Trace) {
        if trace.is_sampled() && self.words.is_none() {
            self.words = Some(Box::default());
        }
        self.trace = Some(Box::new(trace));
    }

    /// The trace that it is part of.
    #[must_use]
    pub fn trace(&self) -> Option<&Trace> {
        self.trace.as_deref()
    }

    /// It is about to be sent to that service.
    pub fn calling(&mut self, upstream: &Arc<str>) {
        if let Some(trace) = &mut self.trace {
            trace.calling(upstream);
        }
    }

    /// Who sent it.
    pub const fn client(&mut self, client: Option<IpAddr>) {
        self.client = client;
    }

    /// Where it comes from.
    #[must_use]
    pub const fn address(&self) -> Option<IpAddr> {
        self.client
    }

    /// What it asks for, as it was sent.
    pub fn sent_for(&mut self, uri: &Uri) {
        if let (Some(words), Some(sent)) = (&mut self.words, uri.path_and_query()) {
            words.aim = Aim::Sent(sent.clone());
        }
    }

    /// What it asks for, now that it was read.
    pub fn target(&mut self, target: &Target) {
        if let Some(words) = &mut self.words {
            words.aim = Aim::Parsed(target.clone());
        }
    }

    /// The rule that holds.
    pub fn route(&mut self, tally: &Arc<RouteTally>) {
        self.route = Some(Arc::clone(tally));
    }

    /// The authenticator that is asked.
    pub fn authenticator(&mut self, name: &Arc<str>) {
        if let Some(words) = &mut self.words {
            words.authenticator = Some(Arc::clone(name));
        }
    }

    /// Who asks, now that it is verified.
    pub fn identified(&mut self, identity: &Identity, subject: &Arc<str>) {
        if let Some(words) = &mut self.words {
            words.subject = Some(Arc::clone(subject));
            let id = identity.attribute("customer_id");
            words.customer_id =
                id.filter(|id| matches!(id, Attribute::Text(_) | Attribute::Integer(_))).cloned();
        }
    }

    /// What is left of the tightest rate limit.
    pub fn limited(&mut self, allowance: Allowance) {
        // Of two stages the tighter one is told.
        let tighter = |told: &Allowance| allowance.wait >= told.wait && allowance.remaining <= told.remaining;
        if self.allowance.as_deref().is_none_or(tighter) {
            self.allowance = Some(Box::new(allowance));
        }
    }

    /// The same, for the response.
    #[must_use]
    pub fn allowance(&self) -> Option<&Allowance> {
        self.allowance.as_deref()
    }

    /// Whether it was refused for a rate limit.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.reason == Reason::RateLimited && self.decision == Decision::Deny
    }

    /// The request was let through.
    pub const fn allowed(&mut self) {
        self.decision = Decision::Allow;
        self.reason = Reason::Allowed;
    }

    /// The request was let through, and then refused before anything of it was forwarded.
    pub const fn withdrawn(&mut self) {
        self.decision = Decision::Deny;
    }

    /// The request would have been refused for that, but passes in shadow mode.
    pub fn would_deny(&mut self, denial: &Denial) {
        self.decision = Decision::WouldDeny;
        self.reason = denial.reason();
        self.cause(denial);
    }

    /// What the service itself says to a request in shadow mode: 401 and 403 (or their like in gRPC) are refusals.
    pub fn compare(&self, service_allows: bool) {
        self.tally().compared((self.decision == Decision::Allow, service_allows));
    }

    /// The request is answered by us.
    ///
    /// A request that was let through and then met a service that failed stays an allowed one, and one that passed in shadow
    /// mode keeps the reason that it would have been refused for.
    pub fn denied(&mut self, denial: &Denial) {
        if self.decision != Decision::WouldDeny {
            self.reason = denial.reason();
        }
        self.cause(denial);
    }

    fn cause(&mut self, denial: &Denial) {
        if let (Some(words), Some(source)) = (&mut self.words, denial.source()) {
            words.cause = Some(source.to_owned());
        }
    }

    /// The client went away before it got an answer.
    pub fn departed(&mut self, denial: &Denial) {
        self.status = None;
        self.cause(denial);
    }

    /// The service's response broke off when the client had its head already.
    pub fn broke_off(&mut self, cause: &dyn std::fmt::Display) {
        self.denied(&Denial::new(Reason::UpstreamFailed).because(cause));
    }

    /// The head of the service's response came after `duration`.
    pub const fn upstream_answered(&mut self, duration: Duration) {
        self.upstream_duration = Some(duration);
    }

    /// The client gets this status.
    pub const fn status(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// So many bytes more of the response went to the client.
    pub const fn sent(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn tally(&self) -> &RouteTally {
        self.route.as_ref().unwrap_or(&self.recorder.unrouted)
    }

    /// A tunnel has opened; its end is that of the record.
    pub fn opened(&mut self) {
        self.tunnel = true;
        if let (Some(audit), Some(words)) = (&self.recorder.audit, &self.words) {
            audit.request(
                Event::TunnelOpened,
                &self.line(words, StatusCode::SWITCHING_PROTOCOLS, Duration::ZERO),
            );
        }
    }

    fn write(&self, words: &Words, status: StatusCode, duration: Duration) {
        let line = self.line(words, status, duration);
        if let Some(log) = &self.recorder.log {
            log.write(&line);
        }
        if let Some(audit) = &self.recorder.audit
            && let Some(event) = Event::of_request(self.decision, self.method.as_ref(), self.tunnel)
        {
            audit.request(event, &line);
        }
        if let Some(trace) = self.trace().filter(|trace| trace.is_sampled()) {
            let method = self.method.as_ref().map_or("other", method_label);
            let times = Times { started: self.started, ended: self.recorder.clock.nanos() };
            trace.record(&line, method, times);
        }
    }

    fn line<'a>(&'a self, words: &'a Words, status: StatusCode, duration: Duration) -> Line<'a> {
        let (host, path) = words.aim.words();
        Line {
            timestamp: self.at,
            request_id: str::from_utf8(self.request_id.as_bytes()).unwrap_or_default(),
            trace_id: self.trace().map(Trace::id),
            client: self.client,
            method: self.method.as_ref().map_or("", Method::as_str),
            host,
            path,
            status: status.as_u16(),
            route: self.tally().name(),
            decision: self.decision,
            reason: self.reason,
            cause: words.cause.as_deref(),
            authenticator: words.authenticator.as_deref(),
            subject: words.subject.as_deref(),
            customer_id: words.customer_id.as_ref(),
            bytes: self.bytes,
            duration,
            upstream_duration: self.upstream_duration,
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let duration = self.started.elapsed();
        let closed = StatusCode::from_u16(CLIENT_CLOSED).unwrap_or(StatusCode::BAD_REQUEST);
        let status = self.status.unwrap_or(closed);
        self.tally().finished(&Finished {
            method: self.method.as_ref().map_or("other", method_label),
            status,
            decision: self.decision,
            reason: self.reason,
            duration,
        });
        if let Some(words) = &self.words {
            self.write(words, status, duration);
        }
    }
}
