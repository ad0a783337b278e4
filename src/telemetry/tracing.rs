//! Distributed tracing: which requests are recorded as spans, and what the service is told of the trace.
//!
//! A request's spans are made of its [`Record`](super::record::Record) when it has ended. What is not recorded costs an id, and
//! without `[tracing]` nothing at all: the fields of the client pass through then.

pub mod context;
pub mod export;
pub(super) mod spans;

use crate::random::Random;
use context::{Context, SpanId, TRACEPARENT, TRACESTATE, TraceId, trace_id};
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
    /// Trace ids are recorded whose 63 bits that are looked at are below it.
    threshold: u64,
    queue: Arc<Queue>,
}

/// A request that is part of a trace.
#[derive(Debug)]
pub struct Trace {
    queue: Arc<Queue>,
    id: TraceId,
    /// The `traceparent` that the service gets.
    told: HeaderValue,
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
    /// A tracer that records into `queue`; of traces that begin here, or come from anybody who is not trusted, one of so many (0 =
    /// none).
    #[must_use]
    pub fn new(one_in: u32, queue: Arc<Queue>) -> Self {
        const ALL: u64 = 1 << 63;
        Self { threshold: ALL.checked_div(one_in.into()).unwrap_or(0), queue }
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
        // Where nothing is recorded, the caller's span stays the parent.
        let parent = caller.map_or(*call, |caller| if sampled { *call } else { caller.span });
        Trace {
            queue: Arc::clone(&self.queue),
            id: trace,
            told: Context { trace, span: parent, sampled }.header(),
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
        trace_id(&self.told)
    }

    /// Whether its spans are recorded.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// What the service is told.
    #[must_use]
    pub fn fields(&self) -> TraceFields {
        TraceFields { parent: self.told.clone(), keeps_state: self.parent.is_some() }
    }

    /// The request is about to be sent to that service.
    pub fn calling(&mut self, upstream: &Arc<str>) {
        self.called = Some(Call { upstream: Arc::clone(upstream), at: Instant::now() });
    }
}

#[cfg(test)]
mod tests;
