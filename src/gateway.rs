//! THE STRAIGHT LINE: what happens to a request between its head's arrival and its answer.
//!
//! [`decide`](crate::decide) holds everything that admits or refuses, in the order in which it happens. What it lets through is forwarded
//! or becomes a tunnel in `Local::serve` (local.rs). There is one exit for refusals and one finish for the record.

mod local;
mod recording;
mod via;

pub use local::Local;
pub use via::{End, Opening, Via};

use crate::authn::cache::Bounds;
use crate::clock::UnixTime;
use crate::denial::Denial;
use crate::generation::Generation;
use crate::headers::forwarded::{X_REQUEST_ID, sent_request_id};
use crate::leases::Leases;
use crate::proxy::frames::CloseCode;
use crate::proxy::request_body::ClientBody;
use crate::proxy::respond::{self, Style};
use crate::proxy::response_body::ResponseBody;
use crate::telemetry::record::{Record, Recorder};
use crate::telemetry::tracing::Came;
use http::header::HeaderMap;
use http::{Method, Request, Response, StatusCode, Version};
use local::Served;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use tokio::time::Instant;

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
    pub fn handle(
        &self,
        via: &Via,
        request: Request<ClientBody>,
    ) -> impl Future<Output = Response<ResponseBody>> {
        let (mut head, body) = request.into_parts();
        // No `async fn`, which would have room for the request twice; the future of every request is allocated and moved.
        async move {
            let local = self.snapshot();
            let mut record = self.begin(&local, via, (&head.method, head.version), &head.headers);
            record.sent_for(&head.uri);
            let style = local.style(head.version, &head.headers);
            let reader = local.reader(&head.headers);
            let mut closing = None;
            let about = (&mut record, &mut closing);
            match local.serve((via, &self.leases), (&mut head, body), about, style).await {
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
                Err(denial) => match closing {
                    Some(head) => close_behind(*head, &denial, (&local, via), record),
                    None => local.share(refused(&denial, &local, record, style), reader),
                },
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

/// The answer to a request that is refused.
fn refused(denial: &Denial, local: &Local, mut record: Record, style: Style) -> Response<ResponseBody> {
    record.denied(denial);
    record.status(denial.reason().status());
    local.finish(respond::denied(denial, style).map(ResponseBody::own), record)
}

/// The 101 in front of a refusal, which is told behind it.
fn close_behind(
    mut head: Response<ResponseBody>,
    denial: &Denial,
    (local, via): (&Local, &Via),
    mut record: Record,
) -> Response<ResponseBody> {
    record.denied(denial);
    local.dress(&mut head, &mut record);
    record.status(denial.reason().status());
    let end = End::Nowhere(close_code(denial), denial.text().to_owned());
    *via.opening.borrow_mut() = Some(Box::new(Opening { end, record }));
    head
}

/// What nobody is there to read any more.
fn nobody(denial: &Denial, mut record: Record, style: Style) -> Response<ResponseBody> {
    record.departed(denial);
    // Whoever has only stopped to send may read it all the same.
    let mut response = respond::denied(denial, style).map(ResponseBody::own);
    response.body_mut().keep(record);
    response
}

/// How a refusal is told behind a 101.
fn close_code(denial: &Denial) -> CloseCode {
    if denial.reason().status() == StatusCode::SERVICE_UNAVAILABLE {
        CloseCode::TryAgainLater
    } else {
        CloseCode::PolicyViolation
    }
}
