//! One worker's part of a configuration, and what it does with a request: decides, then forwards or opens a tunnel.

use super::recording::Recording;
use super::via::Via;
use crate::authn::cache::Bounds;
use crate::clock::UnixTime;
use crate::decide::{Arrival, Authorities, Decision, Manner, decide};
use crate::denial::{Denial, Reason};
use crate::generation::Generation;
use crate::headers::forwarded::X_REQUEST_ID;
use crate::leases::{Lease, Leases};
use crate::proxy::connect::Upstream;
use crate::proxy::forward::{Answer, Forward, Outgoing, ServiceEnd};
use crate::proxy::pool::Pool;
use crate::proxy::rate_fields::tell;
use crate::proxy::request_body::{ClientBody, RequestBody};
use crate::proxy::respond::{self, Style, is_grpc};
use crate::proxy::response_body::ResponseBody;
use crate::proxy::websocket::Extended;
use crate::sessions::Sessions;
use crate::telemetry::record::{Record, Recorder};
use crate::telemetry::tally::{RouteTally, Tally};
use crate::telemetry::tracing::Trace;
use http::header::{HeaderMap, HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use http::request::Parts;
use http::{Response, Version};
use std::rc::Rc;
use std::sync::Arc;
use tokio::time::Instant;

/// What a request that was let through led to.
pub(super) enum Served {
    Response(Response<ResponseBody>),
    /// An answer of ours; no service was asked.
    Preflight(Response<ResponseBody>),
    Tunnel(Response<ResponseBody>, Box<ServiceEnd>, Option<Rc<Lease>>),
}

impl Served {
    /// Whether the service let the request pass, by its own judgement.
    fn is_admitted(&self) -> bool {
        match self {
            Self::Response(response) => !respond::is_refusal(response.status(), response.headers()),
            Self::Preflight(_) | Self::Tunnel(..) => true,
        }
    }
}

/// One worker's own part of a generation: what it has verified, its connections, its counters.
#[derive(Debug)]
pub struct Local {
    pub(super) generation: Arc<Generation>,
    pub(super) sessions: Sessions,
    forward: Forward,
    tally: Arc<Tally>,
    tallies: Vec<Arc<RouteTally>>,
}

impl Local {
    /// What the configuration `before` had goes on as far as it is the same.
    pub(super) fn new(
        generation: Arc<Generation>,
        recorder: &Recorder,
        bounds: Bounds,
        before: Option<&Self>,
    ) -> Self {
        let tally = &recorder.tally;
        let headers = Arc::clone(&generation.identity_headers);
        let sessions = Sessions::new(&generation.authenticators, headers, bounds, Arc::clone(tally))
            .with_assertions(generation.assertions.clone())
            .with_revocations(generation.revocations.clone())
            .keeping_claims(generation.policy.wants_claims())
            .keeping_first(generation.entitlements.is_some() || generation.assertions.is_some());
        let pool = |upstream: &Arc<Upstream>| {
            let known = before.into_iter().flat_map(|before| before.forward.pools());
            let same = known.into_iter().find(|pool| Arc::ptr_eq(pool.upstream(), upstream));
            same.map_or_else(|| Pool::new(Arc::clone(upstream), tally.upstream(&upstream.name)), Rc::clone)
        };
        Self {
            sessions: match before {
                Some(before) => sessions.taking_over(&before.sessions),
                None => sessions,
            },
            forward: Forward::new(generation.upstreams.iter().map(pool).collect()),
            tally: Arc::clone(tally),
            tallies: generation.policy.routes().map(|route| tally.route(&route.name)).collect(),
            generation,
        }
    }

    /// Closes connections to services that nobody has used for long, and forgets tokens that nobody sends any more.
    pub fn purge(&self, now: UnixTime) {
        self.forward.pools().iter().for_each(|pool| pool.purge());
        self.sessions.purge(now);
    }

    /// Who is asked while a decision is made.
    fn authorities(&self) -> Authorities<'_> {
        Authorities {
            sessions: &self.sessions,
            entitlements: self.generation.entitlements.as_ref(),
            limiter: self.generation.limiter.as_deref(),
            tally: &self.tally,
        }
    }

    /// Decides about a request, and forwards it or opens its tunnel if it may pass.
    pub(super) async fn serve(
        &self,
        (via, leases): (&Via, &Leases),
        (head, body): (&mut Parts, ClientBody),
        (record, closing): (&mut Record, &mut Option<Box<Response<ResponseBody>>>),
        style: Style,
    ) -> Result<Served, Denial> {
        let is_extended = head.extensions.get::<Extended>().is_some();
        let arrival = Arrival {
            head,
            is_empty: body.is_end_stream(),
            provenance: &via.provenance,
            client: record.address(),
            certificate: via.certificate.as_deref(),
            at: record.at(),
            request_id: record.request_id().clone(),
            trace: record.trace().map(Trace::fields),
        };
        let mut recording = Recording {
            generation: &self.generation,
            tallies: &self.tallies,
            record: &mut *record,
            closes: false,
            closing,
        };
        let Decision { permit, head, manner, word, preflight, shadow, session } =
            decide(&self.generation, &self.authorities(), arrival, &mut recording).await?;
        if let Some(answer) = preflight {
            return Ok(Served::Preflight(answer.map(|()| ResponseBody::empty())));
        }
        let body = self.body(body).inspect_err(|_| record.withdrawn())?;
        let tenure = if manner.is_websocket() { permit.tunnel() } else { permit.response() };
        let lease = tenure.and_then(|tenure| {
            let until = tenure.until.and_then(|end| Instant::now().checked_add(record.at().until(end)));
            leases.grant(until, session)
        });
        let outgoing = Outgoing { permit, head, body };
        let served = match (manner, lease) {
            (Manner::WebSocket(handshake), lease) => {
                let answer = Box::pin(self.forward.open(outgoing, &handshake, record)).await?;
                if is_extended
                    && matches!(&answer, Answer::Response(response) if response.status().is_success())
                {
                    // Over HTTP/2 it would open the stream (RFC 8441 §5).
                    return Err(Denial::new(Reason::UpstreamFailed).because("no 101 to a handshake"));
                }
                upgraded(answer, lease, word)
            }
            (Manner::Plain | Manner::Preflight, None) => {
                self.forward.send(outgoing, record).await.map(Served::Response)?
            }
            (Manner::Plain | Manner::Preflight, Some(lease)) => {
                let mut response = Box::pin(self.leased(outgoing, &lease, record)).await?;
                let calls = style.grpc && !style.http1;
                response.body_mut().rest_on(lease, calls);
                Served::Response(response)
            }
        };
        if shadow {
            record.compare(served.is_admitted());
        }
        Ok(served)
    }

    /// Forwards a request that must be answered before its lease is over.
    async fn leased(
        &self,
        mut outgoing: Outgoing,
        lease: &Rc<Lease>,
        record: &mut Record,
    ) -> Result<Response<ResponseBody>, Denial> {
        outgoing.body.rest_on(Rc::clone(lease));
        tokio::select! {
            biased;
            response = self.forward.send(outgoing, record) => response,
            over = lease.over() => Err(Denial::new(over.reason())),
        }
    }

    fn body(&self, body: ClientBody) -> Result<RequestBody, Denial> {
        let Generation { limits, hygiene, .. } = &*self.generation;
        let body = RequestBody::new(body, (limits.body_bytes, limits.body_timeout), Arc::clone(hygiene));
        if body.is_too_large() { Err(Denial::new(Reason::BodyTooLarge)) } else { Ok(body) }
    }

    pub(super) fn style(&self, version: Version, headers: &HeaderMap) -> Style {
        Style { body: self.generation.denial_body, grpc: is_grpc(headers), http1: version < Version::HTTP_2 }
    }

    /// The origin that may read the answer to a request; with `[cors]` only.
    pub(super) fn reader(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        self.generation.cors.as_ref().and_then(|cors| cors.reader(headers))
    }

    /// Tells the browser who may read a response; without `[cors]` that is the service's own business.
    pub(super) fn share(
        &self,
        mut response: Response<ResponseBody>,
        reader: Option<HeaderValue>,
    ) -> Response<ResponseBody> {
        if let Some(cors) = &self.generation.cors {
            cors.dress(response.headers_mut(), reader);
        }
        response
    }

    /// The head as the client gets it, the body tied to its record.
    pub(super) fn finish(
        &self,
        mut response: Response<ResponseBody>,
        mut record: Record,
    ) -> Response<ResponseBody> {
        self.dress(&mut response, &mut record);
        response.body_mut().keep(record);
        response
    }

    /// Sets what every response has from us.
    pub(super) fn dress(&self, response: &mut Response<ResponseBody>, record: &mut Record) {
        record.status(response.status());
        let headers = response.headers_mut();
        for (name, value) in &self.generation.response_headers {
            headers.insert(name.clone(), value.clone());
        }
        headers.insert(X_REQUEST_ID, record.request_id().clone());
        if let Some(allowance) = record.allowance() {
            tell(headers, allowance, (self.generation.rate_fields, record.at()), record.is_limited());
        }
    }
}

/// The service's answer to a handshake.
///
/// A browser that offered a subprotocol fails when none is selected, and its token was the offer: the word in
/// front of it is selected in the service's stead.
fn upgraded(answer: Answer, lease: Option<Rc<Lease>>, word: Option<HeaderValue>) -> Served {
    let (mut response, service) = match answer {
        Answer::Response(response) => return Served::Response(response),
        Answer::Tunnel(response, service) => (response, service),
    };
    let headers = response.headers_mut();
    if let (Some(word), false) = (word, headers.contains_key(SEC_WEBSOCKET_PROTOCOL)) {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, word);
    }
    Served::Tunnel(response, service, lease)
}
