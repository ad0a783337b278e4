//! THE STRAIGHT LINE: what happens to a request between its head's arrival and its answer.
//!
//! [`decide`] holds everything that admits or refuses, in the order in which it happens. What it lets through is forwarded
//! or becomes a tunnel in `Local::serve`. There is one exit for refusals and one finish for the record.

use crate::allowance::Allowance;
use crate::authn::cache::Bounds;
use crate::certificate::Certificate;
use crate::clock::UnixTime;
use crate::config::policy::OnDenied;
use crate::decide::{Arrival, Authorities, Decision, Manner, Observer, decide};
use crate::denial::{Denial, Reason};
use crate::generation::Generation;
use crate::headers::forwarded::{Provenance, X_REQUEST_ID, sent_request_id};
use crate::leases::{Lease, Leases};
use crate::peer::Peer;
use crate::policy::Route;
use crate::proxy::connect::Upstream;
use crate::proxy::forward::{Answer, Forward, Outgoing, ServiceEnd};
use crate::proxy::frames::CloseCode;
use crate::proxy::pool::Pool;
use crate::proxy::rate_fields::tell;
use crate::proxy::request_body::{ClientBody, RequestBody};
use crate::proxy::respond::{self, Style, is_grpc};
use crate::proxy::response_body::ResponseBody;
use crate::proxy::websocket::Extended;
use crate::sessions::{Session, Sessions};
use crate::target::Target;
use crate::telemetry::record::{Record, Recorder};
use crate::telemetry::tally::{RouteTally, Tally};
use crate::telemetry::tracing::{Came, Trace};
use http::header::{HeaderMap, HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use http::{Method, Request, Response, StatusCode, Version};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use tokio::time::Instant;

/// What the requests of one client connection have in common.
#[derive(Debug)]
pub struct Via {
    /// The other end.
    pub peer: Peer,
    /// Where its requests come from, as the service is told.
    pub provenance: Provenance,
    /// The client's certificate, where it has shown one and somebody wants to know.
    pub certificate: Option<Box<Certificate>>,
    /// The tunnel that the connection becomes once its 101 is written.
    pub opening: RefCell<Option<Box<Opening>>>,
}

/// A tunnel about to open.
#[derive(Debug)]
pub struct Opening {
    /// Where it leads to.
    pub end: End,
    /// The handshake's record; it ends with the tunnel.
    pub record: Record,
}

/// Where a tunnel leads to.
#[derive(Debug)]
pub enum End {
    /// To a service, as long as the lease holds, where there is one.
    Service(Box<ServiceEnd>, Option<Rc<Lease>>),
    /// Nowhere: it is closed with these words.
    Nowhere(CloseCode, String),
}

/// One worker's gateway.
#[derive(Debug)]
pub struct Gateway {
    local: RefCell<Rc<Local>>,
    recorder: Rc<Recorder>,
    bounds: Bounds,
    leases: Leases,
}

impl Gateway {
    /// A gateway that judges by `generation`.
    #[must_use]
    pub fn new(generation: Arc<Generation>, recorder: Rc<Recorder>, sessions: Bounds) -> Self {
        let local = Local::new(generation, &recorder, sessions, None);
        Self { local: RefCell::new(Rc::new(local)), recorder, bounds: sessions, leases: Leases::default() }
    }

    /// What this worker records with.
    #[must_use]
    pub fn recorder(&self) -> &Rc<Recorder> {
        &self.recorder
    }

    /// Judges by `generation` from now on. Requests on their way are judged to their end by the one they met.
    pub fn renew(&self, generation: Arc<Generation>) {
        let before = self.snapshot();
        let local = Local::new(generation, &self.recorder, self.bounds, Some(&before));
        *self.local.borrow_mut() = Rc::new(local);
    }

    /// The configuration that requests arriving now are judged by.
    #[must_use]
    pub fn snapshot(&self) -> Rc<Local> {
        Rc::clone(&self.local.borrow())
    }

    /// Ends what is open of sessions that are worth nothing any more.
    pub fn review(&self, now: UnixTime) {
        let local = self.snapshot();
        self.leases.review(Instant::now(), |session| local.sessions.stands(session, now));
    }

    /// Answers a request: with the service's response, or with a refusal.
    pub async fn handle(&self, via: &Via, request: Request<ClientBody>) -> Response<ResponseBody> {
        let local = self.snapshot();
        let mut record = self.begin(&local, via, (request.method(), request.version()), request.headers());
        record.sent_for(request.uri());
        let style = local.style(request.version(), request.headers());
        let reader = local.reader(request.headers());
        let mut closing = None;
        match local.serve((via, &self.leases), request, (&mut record, &mut closing), style).await {
            Ok(Served::Response(response)) => local.share(local.finish(response, record), reader),
            Ok(Served::Preflight(response)) => local.finish(response, record),
            Ok(Served::Tunnel(mut response, service, lease)) => {
                local.dress(&mut response, &mut record);
                record.opened();
                let end = End::Service(service, lease);
                *via.opening.borrow_mut() = Some(Box::new(Opening { end, record }));
                response
            }
            Err(denial) if denial.is_departure() => nobody(&denial, record, style),
            Err(denial) => {
                record.denied(&denial);
                if let Some(mut head) = closing {
                    local.dress(&mut head, &mut record);
                    record.status(denial.reason().status());
                    let end = End::Nowhere(close_code(&denial), denial.text().to_owned());
                    *via.opening.borrow_mut() = Some(Box::new(Opening { end, record }));
                    return head;
                }
                let response = respond::denied(&denial, style);
                record.status(denial.reason().status());
                let (head, body) = response.into_parts();
                local.share(local.finish(Response::from_parts(head, ResponseBody::own(body)), record), reader)
            }
        }
    }

    /// Refuses a head that never became a request, and returns the answer for the wire.
    #[must_use]
    pub fn refuse_head(&self, via: &Via, denial: &Denial) -> Vec<u8> {
        let local = self.snapshot();
        let headers = HeaderMap::new();
        let mut record = self.begin(&local, via, (&Method::default(), Version::HTTP_11), &headers);
        record.unread();
        record.denied(denial);
        record.status(denial.reason().status());
        let mut fields = local.generation.response_headers.clone();
        fields.insert(X_REQUEST_ID, record.request_id().clone());
        if let Some(cors) = &local.generation.cors {
            cors.dress(&mut fields, cors.reader(&headers));
        }
        let (answer, body) = respond::raw(denial, local.generation.denial_body, &fields);
        record.sent(body);
        answer
    }

    fn begin(
        &self,
        local: &Local,
        via: &Via,
        (method, version): (&Method, Version),
        headers: &HeaderMap,
    ) -> Record {
        let now = self.recorder.clock.now();
        let sent = if via.peer.trusted { sent_request_id(headers) } else { None };
        let id = sent.unwrap_or_else(|| self.recorder.ids.next(now));
        let mut record = Record::start(&self.recorder, method.clone(), id, now);
        if let Some(tracer) = &local.generation.tracer {
            let came = Came { scheme: via.peer.scheme.as_str(), version };
            record.traced(tracer.begin(headers, via.peer.trusted, came, &self.recorder.trace_ids));
        }
        record.client(via.provenance.client(headers, |address| local.generation.trusts(address)));
        record
    }
}

/// What a request that was let through led to.
enum Served {
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
    generation: Arc<Generation>,
    sessions: Sessions,
    forward: Forward,
    tally: Arc<Tally>,
    tallies: Vec<Arc<RouteTally>>,
}

impl Local {
    /// What the configuration `before` had goes on as far as it is the same.
    fn new(generation: Arc<Generation>, recorder: &Recorder, bounds: Bounds, before: Option<&Self>) -> Self {
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

    async fn serve(
        &self,
        (via, leases): (&Via, &Leases),
        request: Request<ClientBody>,
        (record, closing): (&mut Record, &mut Option<Response<ResponseBody>>),
        style: Style,
    ) -> Result<Served, Denial> {
        let (mut head, body) = request.into_parts();
        let is_extended = head.extensions.get::<Extended>().is_some();
        let arrival = Arrival {
            head: &mut head,
            is_empty: body.is_end_stream(),
            provenance: &via.provenance,
            client: record.address(),
            certificate: via.certificate.as_deref(),
            at: record.at(),
            request_id: record.request_id().clone(),
            trace: record.trace().map(Trace::fields),
        };
        let authorities = Authorities {
            sessions: &self.sessions,
            entitlements: self.generation.entitlements.as_ref(),
            limiter: self.generation.limiter.as_deref(),
            tally: &self.tally,
        };
        let mut recording = Recording { local: self, record: &mut *record, closes: false, closing };
        let decided = decide(&self.generation, &authorities, arrival, &mut recording).await?;
        let Decision { permit, head, manner, word, preflight, shadow, session } = decided;
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

    fn style(&self, version: Version, headers: &HeaderMap) -> Style {
        Style { body: self.generation.denial_body, grpc: is_grpc(headers), http1: version < Version::HTTP_2 }
    }

    /// The origin that may read the answer to a request; with `[cors]` only.
    fn reader(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        self.generation.cors.as_ref().and_then(|cors| cors.reader(headers))
    }

    /// Tells the browser who may read a response; without `[cors]` that is the service's own business.
    fn share(
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
    fn finish(&self, mut response: Response<ResponseBody>, mut record: Record) -> Response<ResponseBody> {
        self.dress(&mut response, &mut record);
        response.body_mut().keep(record);
        response
    }

    /// Sets what every response has from us.
    fn dress(&self, response: &mut Response<ResponseBody>, record: &mut Record) {
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

/// What nobody is there to read any more.
fn nobody(denial: &Denial, mut record: Record, style: Style) -> Response<ResponseBody> {
    record.departed(denial);
    // Whoever has only stopped to send may read it all the same.
    let mut response = respond::denied(denial, style).map(ResponseBody::own);
    response.body_mut().keep(record);
    response
}

/// Puts what is decided about a request on its record.
struct Recording<'a> {
    local: &'a Local,
    record: &'a mut Record,
    /// Whether the rule refuses handshakes behind a 101.
    closes: bool,
    /// The 101 in front of a refusal.
    closing: &'a mut Option<Response<ResponseBody>>,
}

impl Observer for Recording<'_> {
    fn target(&mut self, target: &Target) {
        self.record.target(target);
    }

    fn route(&mut self, place: usize, route: &Route) {
        self.closes = route.websocket.on_denied == OnDenied::Close;
        if let Some(tally) = self.local.tallies.get(place) {
            self.record.route(tally);
        }
    }

    fn manner(&mut self, manner: &Manner) {
        if let (true, Manner::WebSocket(handshake)) = (self.closes, manner) {
            let authenticators = &self.local.generation.authenticators;
            let is_word =
                |name: &str| authenticators.iter().any(|known| known.places.is_subprotocol_word(name));
            let mut response = Response::new(ResponseBody::empty());
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            *response.headers_mut() = handshake.accepted(is_word);
            *self.closing = Some(response);
        }
    }

    fn authenticator(&mut self, place: usize) {
        if let Some(authenticator) = self.local.generation.authenticators.get(place) {
            self.record.authenticator(&authenticator.name);
        }
    }

    fn identified(&mut self, session: &Session) {
        self.record.identified(&session.identity, &session.subject);
    }

    fn limited(&mut self, allowance: &Allowance) {
        self.record.limited(*allowance);
    }

    fn allowed(&mut self) {
        self.record.allowed();
    }

    fn would_deny(&mut self, denial: &Denial) {
        self.record.would_deny(denial);
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

/// How a refusal is told behind a 101.
fn close_code(denial: &Denial) -> CloseCode {
    if denial.reason().status() == StatusCode::SERVICE_UNAVAILABLE {
        CloseCode::TryAgainLater
    } else {
        CloseCode::PolicyViolation
    }
}
