//! The record of one request: filled in on its way, counted and logged once, when its response has ended.

use super::access_log::{AccessLog, Line};
use super::tally::{Decision, Finished, RouteTally, Tally, method_label};
use crate::clock::{Clock, UnixTime};
use crate::denial::{Denial, Reason};
use crate::identity::{Attribute, Identity};
use crate::request_id::RequestIds;
use http::{HeaderValue, Method, StatusCode};
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
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Ids for requests.
    pub ids: RequestIds,
    /// The route on record for requests that no rule was looked up for.
    pub unrouted: (Arc<str>, Arc<RouteTally>),
}

impl Recorder {
    /// A recorder around a worker's counters.
    #[must_use]
    pub fn new(tally: Arc<Tally>, log: Option<AccessLog>, clock: Arc<dyn Clock>) -> Self {
        let name: Arc<str> = "none".into();
        let unrouted = (Arc::clone(&name), tally.route(&name));
        Self { tally, log, clock, ids: RequestIds::default(), unrouted }
    }
}

/// What the log says besides the counters; not collected when there is no log.
#[derive(Debug, Default)]
struct Words {
    host: String,
    path: String,
    cause: Option<String>,
    authenticator: Option<Arc<str>>,
    subject: Option<Arc<str>>,
    customer_id: Option<String>,
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
    route: (Arc<str>, Arc<RouteTally>),
    status: Option<StatusCode>,
    decision: Decision,
    reason: Reason,
    upstream_duration: Option<Duration>,
    bytes: u64,
    words: Option<Box<Words>>,
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
            route: recorder.unrouted.clone(),
            status: None,
            decision: Decision::Deny,
            reason: Reason::HeadMalformed,
            upstream_duration: None,
            bytes: 0,
            words: recorder.log.is_some().then(Box::default),
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

    /// Who sent it.
    pub const fn client(&mut self, client: Option<IpAddr>) {
        self.client = client;
    }

    /// What it asks for, as far as it is known; the path without its query.
    pub fn target(&mut self, host: &str, path: &str) {
        if let Some(words) = &mut self.words {
            host.clone_into(&mut words.host);
            path.clone_into(&mut words.path);
        }
    }

    /// The rule that holds.
    pub fn route(&mut self, name: &Arc<str>, tally: &Arc<RouteTally>) {
        self.route = (Arc::clone(name), Arc::clone(tally));
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
            words.customer_id = match identity.attribute("customer_id") {
                Some(Attribute::Text(text)) => Some(text.to_string()),
                Some(Attribute::Integer(number)) => Some(number.to_string()),
                Some(Attribute::Boolean(_) | Attribute::Set(_)) | None => None,
            };
        }
    }

    /// The request was let through.
    pub const fn allowed(&mut self) {
        self.decision = Decision::Allow;
        self.reason = Reason::Allowed;
    }

    /// The request is answered by us.
    ///
    /// A request that was let through and then met a service that failed stays an allowed one.
    pub fn denied(&mut self, denial: &Denial) {
        self.reason = denial.reason();
        if let (Some(words), Some(source)) = (&mut self.words, denial.source()) {
            words.cause = Some(source.to_owned());
        }
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

    fn write(&self, words: &Words, status: StatusCode, duration: Duration) {
        let Some(log) = &self.recorder.log else { return };
        log.write(&Line {
            timestamp: self.at,
            level: "INFO",
            message: "request",
            request_id: self.request_id.to_str().unwrap_or_default(),
            client: self.client,
            method: self.method.as_ref().map_or("", Method::as_str),
            host: &words.host,
            path: &words.path,
            status: status.as_u16(),
            route: &self.route.0,
            decision: self.decision,
            reason: self.reason,
            cause: words.cause.as_deref(),
            authenticator: words.authenticator.as_deref(),
            subject: words.subject.as_deref(),
            customer_id: words.customer_id.clone(),
            bytes: self.bytes,
            duration,
            upstream_duration: self.upstream_duration,
        });
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let duration = self.started.elapsed();
        let closed = StatusCode::from_u16(CLIENT_CLOSED).unwrap_or(StatusCode::BAD_REQUEST);
        let status = self.status.unwrap_or(closed);
        self.route.1.finished(&Finished {
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
