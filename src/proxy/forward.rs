//! Sends a permitted, cleaned request to its service.

use super::connect::Upstream;
use super::pool::{ConnectError, Lease, Pool, Sender};
use super::request_body::{Progress, RequestBody};
use super::response_body::ResponseBody;
use super::websocket::Handshake;
use crate::clock::after;
use crate::denial::{Denial, Reason};
use crate::headers::{CleanHead, hop_by_hop};
use crate::policy::Permit;
use crate::stream::Stream;
use crate::telemetry::record::Record;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Uri};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::spawn_local;
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
    pub early: Bytes,
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
pub struct Outgoing<'a> {
    /// Nothing is sent without one.
    pub permit: &'a Permit,
    /// The head, stripped and set.
    pub head: CleanHead,
    /// The body.
    pub body: RequestBody,
}

type SendError = TrySendError<Request<RequestBody>>;

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
    pub async fn send(
        &self,
        outgoing: Outgoing<'_>,
        record: &mut Record,
    ) -> Result<Response<ResponseBody>, Denial> {
        let Outgoing { permit, head, body } = outgoing;
        let pool = self.pools.get(permit.upstream()).ok_or(Denial::new(Reason::UpstreamUnreachable))?;
        let progress = body.progress();
        let request = request(pool.upstream(), head, body)?;
        let lease = pool.lease().await.map_err(|error| unconnected(&error))?;
        let started = Instant::now();
        let (response, lease) = exchange(pool, lease, request, &progress).await?;
        answered(pool, started, record);
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Denial::new(Reason::UpstreamFailed).because("a 101 that nobody asked for"));
        }
        Ok(received(response, Some(lease)))
    }

    /// Sends a WebSocket handshake on a connection of its own.
    ///
    /// # Errors
    /// As [`Forward::send`]; a 101 that does not accept this handshake is `upstream_failed`.
    pub async fn open(
        &self,
        outgoing: Outgoing<'_>,
        handshake: &Handshake,
        record: &mut Record,
    ) -> Result<Answer, Denial> {
        let Outgoing { permit, head, body } = outgoing;
        let pool = self.pools.get(permit.upstream()).ok_or(Denial::new(Reason::UpstreamUnreachable))?;
        let request = upgrade_request(head, body);
        let (stream, place) = pool.open_raw().await.map_err(|error| unconnected(&error))?;
        let (mut sender, mut connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
        let mut ended = false;
        let started = Instant::now();
        let response = {
            let mut sent = pin!(sender.send_request(request));
            let both = poll_fn(|cx| {
                // The end of this connection is the beginning of the tunnel; errors reach `sent` as well.
                ended = ended || connection.poll_without_shutdown(cx).is_ready();
                sent.as_mut().poll(cx)
            });
            let deadline = after(Instant::now(), pool.upstream().response_timeout);
            let answered = timeout_at(deadline, both).await;
            answered.map_err(|_| Denial::new(Reason::UpstreamTimeout))?.map_err(|error| failed(&error))?
        };
        answered(pool, started, record);
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            drop(spawn_local(async move {
                let _place = place;
                connection.await.ok();
            }));
            return Ok(Answer::Response(received(response, None)));
        }
        if !handshake.is_accepted_by(response.headers()) {
            return Err(
                Denial::new(Reason::UpstreamFailed).because("a 101 that does not accept the handshake")
            );
        }
        if !ended {
            poll_fn(|cx| connection.poll_without_shutdown(cx)).await.map_err(|error| failed(&error))?;
        }
        let parts = connection.into_parts();
        let end = ServiceEnd { stream: parts.io.into_inner(), early: parts.read_buf, permit: place };
        Ok(Answer::Tunnel(received(response, None), Box::new(end)))
    }
}

/// Sends on `lease`, and once more on a fresh connection when not a byte of the request was sent.
async fn exchange(
    pool: &Rc<Pool>,
    mut lease: Lease,
    request: Request<RequestBody>,
    progress: &Rc<Progress>,
) -> Result<(Response<Incoming>, Lease), Denial> {
    let timeout = pool.upstream().response_timeout;
    lease.carries(Rc::clone(progress));
    let unsent = match attempt(&mut lease, request, progress, timeout).await? {
        Ok(response) => return Ok((response, lease)),
        Err(error) => retryable(error, progress)?,
    };
    lease = pool.lease_new().await.map_err(|error| unconnected(&error))?;
    lease.carries(Rc::clone(progress));
    match attempt(&mut lease, unsent, progress, timeout).await? {
        Ok(response) => Ok((response, lease)),
        Err(error) => Err(unanswered(error.error(), progress)),
    }
}

async fn attempt(
    lease: &mut Lease,
    request: Request<RequestBody>,
    progress: &Progress,
    timeout: Duration,
) -> Result<Result<Response<Incoming>, SendError>, Denial> {
    let answer = match lease.sender() {
        Sender::Http1(sender) => within(sender.try_send_request(request), progress, timeout).await,
        Sender::Http2(sender, _) => within(sender.try_send_request(request), progress, timeout).await,
    };
    answer.ok_or(Denial::new(Reason::UpstreamTimeout))
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

/// The request, if not a byte of it was sent.
fn retryable(mut error: SendError, progress: &Progress) -> Result<Request<RequestBody>, Denial> {
    error.take_message().ok_or_else(|| unanswered(error.error(), progress))
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
fn unanswered(error: &hyper::Error, progress: &Progress) -> Denial {
    use super::request_body::BodyFault::{Aborted, Malformed, TooLarge};
    match progress.fault() {
        Some(TooLarge) => Denial::new(Reason::BodyTooLarge),
        Some(fault @ (Malformed | Aborted)) => Denial::new(Reason::HeadMalformed).because(fault),
        None => failed(error),
    }
}

fn failed(error: &hyper::Error) -> Denial {
    let cause = std::error::Error::source(error)
        .map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
    Denial::new(Reason::UpstreamFailed).because(cause)
}

/// The service's response without what concerns only the connection to it.
fn received(response: Response<Incoming>, lease: Option<Lease>) -> Response<ResponseBody> {
    let (mut head, body) = response.into_parts();
    // Chunks have the last word about the length (RFC 9112 §6.3); the other one would mislead the client.
    if head.headers.contains_key(TRANSFER_ENCODING) {
        head.headers.remove(CONTENT_LENGTH);
    }
    hop_by_hop::remove(&mut head.headers, |_| false);
    head.version = Version::HTTP_11;
    head.extensions.clear();
    Response::from_parts(head, ResponseBody::service(body, lease))
}

/// The request in the form that the service's protocol wants.
fn request(upstream: &Upstream, head: CleanHead, body: RequestBody) -> Result<Request<RequestBody>, Denial> {
    let (method, path, mut headers) = head.into_parts();
    if !upstream.http2 {
        // `TE` would have to be named in `Connection`, and HTTP/1.1 needs no leave to send trailers.
        headers.remove(TE);
        return Ok(assemble(method, Uri::from(path), headers, body, Version::HTTP_11));
    }
    let uri = absolute(upstream, path, &mut headers)
        .ok_or_else(|| Denial::new(Reason::HeadMalformed).because("the host is no authority"))?;
    Ok(assemble(method, uri, headers, body, Version::HTTP_2))
}

fn upgrade_request(head: CleanHead, body: RequestBody) -> Request<RequestBody> {
    let (method, path, mut headers) = head.into_parts();
    headers.remove(TE);
    assemble(method, Uri::from(path), headers, body, Version::HTTP_11)
}

/// HTTP/2 carries the host in `:authority` (RFC 9113 §8.3.1).
fn absolute(upstream: &Upstream, path: PathAndQuery, headers: &mut HeaderMap) -> Option<Uri> {
    let host = headers.remove(HOST)?;
    let authority = Authority::try_from(host.as_bytes()).ok()?;
    Uri::builder().scheme(upstream.scheme()).authority(authority).path_and_query(path).build().ok()
}

fn assemble(
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: RequestBody,
    version: Version,
) -> Request<RequestBody> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    *request.version_mut() = version;
    request
}
