//! Sends a permitted, cleaned request to its service.

use super::connect::Upstream;
use super::exchange::{Exchange, ExchangeError, Upload};
use super::pool::{ConnectError, Multiplexing, Pool};
use super::request_body::{BodyFault, Progress, RequestBody};
use super::response_body::ResponseBody;
use super::websocket::Handshake;
use crate::clock::after;
use crate::denial::{Denial, Reason};
use crate::headers::{CleanHead, hop_by_hop};
use crate::policy::Permit;
use crate::stream::Stream;
use crate::telemetry::record::Record;
use crate::wire::buffers;
use crate::wire::response::ResponseHead;
use bytes::BytesMut;
use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Uri};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use hyper::client::conn::TrySendError;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

/// One worker's ways to every service, in the order of the configuration.
#[derive(Debug, Default)]
pub struct Forward {
    pools: Vec<Rc<Pool>>,
}

/// The service's end of a tunnel that is about to open.
#[derive(Debug)]
pub struct ServiceEnd {
    /// The stream, behind the service's 101.
    pub stream: Stream,
    /// What the service sent right behind it.
    pub early: BytesMut,
    /// The tunnel's place among the connections to the service.
    pub permit: Option<OwnedSemaphorePermit>,
}

/// What the service answered to a handshake.
#[derive(Debug)]
pub enum Answer {
    /// An ordinary response.
    Response(Response<ResponseBody>),
    /// A valid 101: the head for the client, and the other end of the tunnel.
    Tunnel(Response<ResponseBody>, Box<ServiceEnd>),
}

/// A request that may be sent, and the leave to do so.
#[derive(Debug)]
pub struct Outgoing {
    /// Nothing is sent without one.
    pub permit: Permit,
    /// The head, stripped and set.
    pub head: CleanHead,
    /// The body.
    pub body: RequestBody,
}

/// A request on its way, in the protocol that its service speaks.
enum Way {
    Http1((Upload, bool)),
    Http2(Box<Outgoing>),
}

impl Forward {
    /// Ways through these pools.
    #[must_use]
    pub const fn new(pools: Vec<Rc<Pool>>) -> Self {
        Self { pools }
    }

    /// The pools, for upkeep.
    #[must_use]
    pub fn pools(&self) -> &[Rc<Pool>] {
        &self.pools
    }

    /// Sends the request and waits for the head of the response.
    ///
    /// # Errors
    /// `upstream_*` when the service fails, `body_too_large` or `head_malformed` when the request's body does.
    pub fn send(
        &self,
        outgoing: Outgoing,
        record: &mut Record,
    ) -> impl Future<Output = Result<Response<ResponseBody>, Denial>> {
        let started = Instant::now();
        let pool = self.pool(&outgoing.permit);
        // The head is written before there is a future, which need not have room for it then.
        let way = match pool {
            Ok(pool) if pool.upstream().http2 => Way::Http2(Box::new(outgoing)),
            Ok(_) | Err(_) => Way::Http1(upload(outgoing)),
        };
        async move {
            let pool = pool?;
            record.calling(&pool.upstream().name);
            let mut response = match way {
                Way::Http1(upload) => exchange(pool, upload, started).await?,
                Way::Http2(outgoing) => Box::pin(multiplexed(pool, *outgoing)).await?,
            };
            answered(pool, started, record);
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                return Err(Denial::new(Reason::UpstreamFailed).because("a 101 that nobody asked for"));
            }
            clean(&mut response);
            Ok(response)
        }
    }

    /// Sends a WebSocket handshake on a connection of its own.
    ///
    /// # Errors
    /// As [`Forward::send`]; a 101 that does not accept this handshake is `upstream_failed`.
    pub async fn open(
        &self,
        outgoing: Outgoing,
        handshake: &Handshake,
        record: &mut Record,
    ) -> Result<Answer, Denial> {
        let pool = self.pool(&outgoing.permit)?;
        record.calling(&pool.upstream().name);
        let connection = pool.connect_anew().await.map_err(|error| unconnected(&error))?;
        let started = Instant::now();
        let limit = pool.upstream().response_timeout;
        let (upload, to_head) = upload(outgoing);
        let mut exchange = Exchange::new(connection, upload, to_head, (started, limit));
        let head = poll_fn(|cx| exchange.poll_head(cx)).await.map_err(|error| unanswered(&error))?;
        answered(pool, started, record);
        if head.response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let mut response = answer(head, exchange, pool);
            clean(&mut response);
            return Ok(Answer::Response(response));
        }
        if !handshake.is_accepted_by(head.response.headers()) {
            return Err(
                Denial::new(Reason::UpstreamFailed).because("a 101 that does not accept the handshake")
            );
        }
        let (stream, early, permit) = exchange.into_connection().into_parts();
        let mut response = head.response.map(|()| ResponseBody::empty());
        clean(&mut response);
        Ok(Answer::Tunnel(response, Box::new(ServiceEnd { stream, early, permit })))
    }

    fn pool(&self, permit: &Permit) -> Result<&Rc<Pool>, Denial> {
        self.pools.get(permit.upstream()).ok_or(Denial::new(Reason::UpstreamUnreachable))
    }
}

/// Sends over HTTP/1.1: on a connection that was used before if there is one, and once more on a fresh one when not a
/// byte of the request was sent.
fn exchange(
    pool: &Rc<Pool>,
    (mut upload, to_head): (Upload, bool),
    started: Instant,
) -> impl Future<Output = Result<Response<ResponseBody>, Denial>> {
    let limit = pool.upstream().response_timeout;
    let mut now = started;
    let mut idle = pool.take_idle(now);
    async move {
        loop {
            let retryable = idle.is_some();
            let connection = if let Some(connection) = idle.take() {
                connection
            } else {
                // In a box, since few requests open a connection, and all would carry the room for it.
                let connection = Box::pin(pool.connect()).await.map_err(|error| unconnected(&error))?;
                now = Instant::now();
                connection
            };
            let mut exchange = Exchange::new(connection, upload, to_head, (now, limit));
            let error = match poll_fn(|cx| exchange.poll_head(cx)).await {
                Ok(head) => return Ok(answer(head, exchange, pool)),
                Err(error) => error,
            };
            let retryable = retryable && matches!(error, ExchangeError::Broken(_));
            upload = exchange.into_unsent().filter(|_| retryable).ok_or_else(|| unanswered(&error))?;
        }
    }
}

fn upload(outgoing: Outgoing) -> (Upload, bool) {
    let Outgoing { head, body, .. } = outgoing;
    let upload = (Upload::new(&head, body), *head.method() == Method::HEAD);
    buffers::spent(head.into_spent());
    upload
}

/// Sends over HTTP/2, and once more when not a byte of the request was sent.
async fn multiplexed(pool: &Pool, outgoing: Outgoing) -> Result<Response<ResponseBody>, Denial> {
    let Outgoing { head, mut body, .. } = outgoing;
    let limit = pool.upstream().response_timeout;
    let progress = body.watched();
    let mut request = multiplexed_request(pool.upstream(), head, body)?;
    for first in [true, false] {
        let place = pool.multiplex().await.map_err(|error| unconnected(&error))?;
        let Multiplexing { mut sender, stream } = place;
        let sent = within(sender.try_send_request(request), &progress, limit).await;
        let mut error = match sent.ok_or(Denial::new(Reason::UpstreamTimeout))? {
            Ok(response) => {
                progress.answer();
                return Ok(response.map(|body| ResponseBody::http2(body, stream)));
            }
            Err(error) => error,
        };
        request = match error.take_message() {
            Some(unsent) if first => unsent,
            Some(_) | None => return Err(broken(&error, &progress)),
        };
    }
    Err(Denial::new(Reason::UpstreamFailed))
}

/// Waits for a response head, `limit` from the last byte of the request on.
async fn within<F: Future>(response: F, progress: &Progress, limit: Duration) -> Option<F::Output> {
    let mut response = pin!(response);
    loop {
        let from = progress.ended().unwrap_or_else(Instant::now);
        if let Ok(output) = timeout_at(after(from, limit), response.as_mut()).await {
            return Some(output);
        }
        // While the body is still on its way there is no deadline.
        if progress.ended().is_some_and(|ended| after(ended, limit) <= Instant::now()) {
            return None;
        }
    }
}

fn answered(pool: &Pool, started: Instant, record: &mut Record) {
    let duration = started.elapsed();
    pool.tally().answered(duration);
    record.upstream_answered(duration);
}

fn unconnected(error: &ConnectError) -> Denial {
    let reason = match error {
        ConnectError::Unreachable(_) => Reason::UpstreamUnreachable,
        ConnectError::Slow(_) => Reason::UpstreamTimeout,
        ConnectError::Broken(_) => Reason::UpstreamFailed,
        ConnectError::Overloaded => Reason::UpstreamOverloaded,
    };
    Denial::new(reason).because(error)
}

/// Whose fault it is that there is no response: the request body's, or the service's.
fn unanswered(error: &ExchangeError) -> Denial {
    match error {
        ExchangeError::Body(fault) => faulty(*fault),
        ExchangeError::Slow => Denial::new(Reason::UpstreamTimeout),
        ExchangeError::Misfit(_) | ExchangeError::Broken(_) | ExchangeError::Response(_) => {
            Denial::new(Reason::UpstreamFailed).because(error)
        }
    }
}

fn faulty(fault: BodyFault) -> Denial {
    match fault {
        BodyFault::TooLarge => Denial::new(Reason::BodyTooLarge),
        BodyFault::Stopped => Denial::new(Reason::BodyTimeout),
        BodyFault::Malformed => Denial::new(Reason::HeadMalformed).because(fault),
        BodyFault::Over(over) => Denial::new(over.reason()).because(fault),
        BodyFault::Aborted => Denial::departed().because(fault),
    }
}

/// The same over HTTP/2.
fn broken(error: &TrySendError<Request<RequestBody>>, progress: &Progress) -> Denial {
    let error = error.error();
    let cause = std::error::Error::source(error)
        .map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
    progress.fault().map_or_else(|| Denial::new(Reason::UpstreamFailed).because(cause), faulty)
}

/// The response whose head has come.
fn answer(head: ResponseHead, exchange: Exchange, pool: &Rc<Pool>) -> Response<ResponseBody> {
    let download = exchange.into_download(&head);
    head.response.map(|()| ResponseBody::http1(download, Rc::downgrade(pool)))
}

/// Takes from the service's response what concerns only the connection to it.
fn clean(response: &mut Response<ResponseBody>) {
    hop_by_hop::remove(response.headers_mut(), |_| false);
    *response.version_mut() = Version::HTTP_11;
    response.extensions_mut().clear();
}

/// The request as HTTP/2 wants it.
fn multiplexed_request(
    upstream: &Upstream,
    head: CleanHead,
    body: RequestBody,
) -> Result<Request<RequestBody>, Denial> {
    let (method, path, mut headers) = head.into_parts();
    let uri = absolute(upstream, path, &mut headers)
        .ok_or_else(|| Denial::new(Reason::HeadMalformed).because("the host is no authority"))?;
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    *request.version_mut() = Version::HTTP_2;
    Ok(request)
}

/// HTTP/2 carries the host in `:authority` (RFC 9113 §8.3.1).
fn absolute(upstream: &Upstream, path: PathAndQuery, headers: &mut HeaderMap) -> Option<Uri> {
    let host = headers.remove(HOST)?;
    let authority = Authority::try_from(host.as_bytes()).ok()?;
    Uri::builder().scheme(upstream.scheme()).authority(authority).path_and_query(path).build().ok()
}
