//! Distributed tracing: which requests are recorded as spans, and what the service is told of the trace.
//!
//! A request's spans are made of its [`Record`](super::record::Record) when it has ended. What is not recorded costs an id, and
//! without `[tracing]` nothing at all: the fields of the client pass through then.

pub mod context;
pub mod export;
pub(super) mod spans;

use crate::random::Random;
use context::{Context, SpanId, TRACEPARENT, TRACESTATE, TraceId, hex};
use export::Queue;
use http::{HeaderMap, HeaderValue, Version};
use std::sync::Arc;
use std::time::Instant;

/// Random bytes for one request: a trace, our span, and that of the call to the service.
const IDS: usize = 32;

/// A `tracestate` up to this length stands in spans (W3C Trace Context §3.3.1.5); a longer one passes to the service only.
const LONGEST_STATE: usize = 512;

/// One worker's store of ids.
pub type TraceIds = Random<IDS>;

/// How requests are traced.
#[derive(Debug)]
pub struct Tracer {
    threshold: u64,
    queue: Arc<Queue>,
}

/// The share of traces that is recorded of those that begin here, or come from anybody who is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// One of so many; 0 = none.
    pub one_in: u32,
}

impl Share {
    /// The 63 bits of a trace id that are looked at are below it if it is recorded.
    fn threshold(self) -> u64 {
        const ALL: u64 = 1 << 63;
        ALL.checked_div(self.one_in.into()).unwrap_or(0)
    }
}

/// A request that is part of a trace.
#[derive(Debug)]
pub struct Trace {
    queue: Arc<Queue>,
    id: TraceId,
    text: String,
    sampled: bool,
    /// The caller's span, and what it says besides.
    parent: Option<SpanId>,
    state: Option<HeaderValue>,
    span: SpanId,
    /// The span of the call to the service.
    call: SpanId,
    called: Option<Call>,
    came: Came,
}

/// How a request came in.
#[derive(Clone, Copy, Debug)]
pub struct Came {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The protocol's version.
    pub version: Version,
}

/// The call to the service.
#[derive(Debug)]
struct Call {
    upstream: Arc<str>,
    at: Instant,
}

/// What the service is told of the trace.
#[derive(Clone, Debug)]
pub struct TraceFields {
    parent: HeaderValue,
    keeps_state: bool,
}

impl TraceFields {
    /// Removes from a client's fields what does not hold any more.
    pub fn clean(&self, headers: &mut HeaderMap) {
        headers.remove(TRACEPARENT);
        if !self.keeps_state {
            headers.remove(TRACESTATE);
        }
    }

    /// The `traceparent` that the service gets.
    #[must_use]
    pub fn into_parent(self) -> HeaderValue {
        self.parent
    }
}

impl Tracer {
    /// A tracer that records this share of traces into `queue`.
    #[must_use]
    pub fn new(share: Share, queue: Arc<Queue>) -> Self {
        Self { threshold: share.threshold(), queue }
    }

    /// Where its spans wait.
    #[must_use]
    pub const fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// The part of a request in a trace: in the caller's, if it names one, else in a new one.
    ///
    /// A caller who does not record the trace is followed in that. One who does is followed if it is trusted; of others only
    /// our share is recorded, by the trace's id, lest anybody make us record everything.
    #[must_use]
    pub fn begin(&self, headers: &HeaderMap, trusted: bool, came: Came, ids: &TraceIds) -> Trace {
        let random = ids.next();
        let (new, random) = random.split_first_chunk().unwrap_or((&[0; 16], &[]));
        let (span, random) = random.split_first_chunk().unwrap_or((&[0; 8], &[]));
        let call = random.first_chunk().unwrap_or(&[0; 8]);
        let caller = Context::of(headers);
        let trace = caller.map_or(*new, |caller| caller.trace);
        let sampled = match caller {
            Some(caller) => caller.sampled && (trusted || self.is_in_share(&trace)),
            None => self.is_in_share(&trace),
        };
        let is_short = |state: &&HeaderValue| state.len() <= LONGEST_STATE;
        let state = headers.get(TRACESTATE).filter(|_| sampled && caller.is_some()).filter(is_short).cloned();
        Trace {
            queue: Arc::clone(&self.queue),
            id: trace,
            text: hex(&trace),
            sampled,
            parent: caller.map(|caller| caller.span),
            state,
            span: *span,
            call: *call,
            called: None,
            came,
        }
    }

    /// Whether traces of that id are recorded, as OpenTelemetry's `TraceIdRatioBased` decides.
    fn is_in_share(&self, trace: &TraceId) -> bool {
        let (_, low) = trace.split_last_chunk().unwrap_or((&[], &[0; 8]));
        (u64::from_be_bytes(*low) >> 1) < self.threshold
    }
}

impl Trace {
    /// The id of the trace, in hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.text
    }

    /// Whether its spans are recorded.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// What the service is told. Where nothing is recorded, the caller's span stays the parent.
    #[must_use]
    pub fn fields(&self) -> TraceFields {
        let span = match self.parent {
            Some(parent) if !self.sampled => parent,
            Some(_) | None => self.call,
        };
        let context = Context { trace: self.id, span, sampled: self.sampled };
        TraceFields { parent: context.header(), keeps_state: self.parent.is_some() }
    }

    /// The request is about to be sent to that service.
    pub fn calling(&mut self, upstream: &Arc<str>) {
        self.called = Some(Call { upstream: Arc::clone(upstream), at: Instant::now() });
    }
}

#[cfg(test)]
mod tests;
