//! The response body on its way to the client: streamed frame by frame, never buffered.

use super::exchange::Download;
use super::pool::{Pool, StreamCount};
use super::request_body::length;
use crate::denial::{Denial, Reason};
use crate::leases::{Lease, Over};
use crate::telemetry::record::Record;
use crate::wire::buffers;
use crate::wire::inbound::BodyError;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use tokio::task::{JoinHandle, spawn_local};

/// Counts a request as long as it lives.
#[derive(Debug)]
pub struct InFlight(Rc<Cell<usize>>);

impl InFlight {
    /// Counts one more.
    #[must_use]
    pub fn new(counter: &Rc<Cell<usize>>) -> Self {
        counter.set(counter.get().saturating_add(1));
        Self(Rc::clone(counter))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// A response body on its way to the client; its end is the end of the request's record.
#[derive(Debug)]
pub struct ResponseBody {
    source: Source,
    record: Option<Record>,
    in_flight: Option<InFlight>,
    /// What it ends with, if it does not end before.
    bond: Option<Bond>,
}

/// The lease of a response, and how its end is told.
#[derive(Debug)]
struct Bond {
    lease: Rc<Lease>,
    /// Whether the client speaks gRPC, and can be told in trailers.
    calls: bool,
    /// Whether it has broken off, and the client was not told yet.
    broken: bool,
}

#[derive(Debug)]
enum Source {
    Empty,
    Own(Bytes),
    /// A service's, over HTTP/1.1; its connection goes back to the pool when the body was read to its end.
    Http1 {
        download: Rc<RefCell<Download>>,
        pool: Weak<Pool>,
        rest: Option<Rest>,
    },
    /// A service's, over HTTP/2.
    Http2 {
        body: Incoming,
        _stream: StreamCount,
    },
}

/// Sends what is left of a request that was answered early, as long as the answer is on its way.
#[derive(Debug)]
struct Rest(JoinHandle<()>);

impl Drop for Rest {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why a response body broke off.
#[derive(Debug, thiserror::Error)]
pub enum ResponseError {
    /// Over HTTP/1.1.
    #[error(transparent)]
    Http1(#[from] BodyError),
    /// Over HTTP/2.
    #[error(transparent)]
    Http2(#[from] hyper::Error),
    /// Its lease is over.
    #[error("the credential is not good any more")]
    Over,
}

impl ResponseBody {
    /// Nothing.
    #[must_use]
    pub const fn empty() -> Self {
        Self::of(Source::Empty)
    }

    /// A body of our own.
    #[must_use]
    pub const fn own(bytes: Bytes) -> Self {
        Self::of(Source::Own(bytes))
    }

    /// A service's, over HTTP/1.1.
    #[must_use]
    pub fn http1(download: Download, pool: Weak<Pool>) -> Self {
        if download.body().has_ended() {
            give_back(download, &pool);
            return Self::empty();
        }
        let download = Rc::new(RefCell::new(download));
        Self::of(Source::Http1 { download, pool, rest: None })
    }

    /// A service's, over HTTP/2.
    #[must_use]
    pub fn http2(body: Incoming, stream: StreamCount) -> Self {
        if body.is_end_stream() {
            return Self::empty();
        }
        Self::of(Source::Http2 { body, _stream: stream })
    }

    const fn of(source: Source) -> Self {
        Self { source, record: None, in_flight: None, bond: None }
    }

    /// Ends with the lease, if it does not end before: what is left of the request is not sent either. Where `calls`, a gRPC
    /// client is told in trailers; else the response breaks off, so that nobody takes it for whole.
    pub fn rest_on(&mut self, lease: Rc<Lease>, calls: bool) {
        if self.is_on_its_way() {
            self.bond = Some(Bond { lease, calls, broken: false });
        }
    }

    /// Whether its lease is over; then nothing more comes from the service, nor goes there.
    fn poll_over(&mut self, cx: &Context<'_>) -> Option<(Over, bool)> {
        let on_its_way = self.is_on_its_way();
        let bond = self.bond.as_mut().filter(|bond| on_its_way || bond.broken)?;
        let Poll::Ready(over) = bond.lease.poll_over(cx) else { return None };
        bond.broken = true;
        self.source = Source::Empty;
        Some((over, bond.calls))
    }

    /// Whether it is a service's, and not all of it has come.
    #[must_use]
    pub const fn is_on_its_way(&self) -> bool {
        matches!(self.source, Source::Http1 { .. } | Source::Http2 { .. })
    }

    /// Sends on what is left of the request, while nobody takes any of the response.
    pub fn poll_upload(&mut self, cx: &mut Context<'_>) {
        self.poll_over(cx);
        if let Source::Http1 { download, .. } = &self.source {
            download.borrow_mut().poll_upload(cx);
        }
    }

    /// Sends what is left of the request in a task of its own: an HTTP/2 client that takes none of the response would
    /// stop it, since nobody asks for the response's body then.
    pub fn leave_upload(&mut self) {
        if let Source::Http1 { download, rest, .. } = &mut self.source
            && download.borrow_mut().leave_upload()
        {
            let download = Rc::downgrade(download);
            *rest = Some(Rest(spawn_local(poll_fn(move |cx| match download.upgrade() {
                Some(download) => download.borrow_mut().poll_alone(cx),
                None => Poll::Ready(()),
            }))));
        }
    }

    /// Counts the request as long as the service's response is on its way. An answer of our own does not count: a
    /// client that will not take it must not hold its connection open with it.
    pub fn hold(&mut self, in_flight: InFlight) {
        if self.is_on_its_way() {
            self.in_flight = Some(in_flight);
        }
    }

    /// Keeps the request's record until the body has ended.
    pub fn keep(&mut self, record: Record) {
        self.record = Some(record);
    }
}

impl ResponseBody {
    /// The last that the client hears of a response whose lease is over.
    fn end(&mut self, over: Over, calls: bool) -> Result<Frame<Bytes>, ResponseError> {
        self.bond = None;
        let reason = over.reason();
        if let Some(mut record) = self.record.take() {
            record.denied(&Denial::new(reason).because("the response was still on its way"));
        }
        if calls { Ok(Frame::trailers(unauthenticated(reason))) } else { Err(ResponseError::Over) }
    }
}

/// What a gRPC client is told: `UNAUTHENTICATED`.
fn unauthenticated(reason: Reason) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("16"));
    trailers.insert("grpc-message", HeaderValue::from_static(reason.detail()));
    trailers
}

fn give_back(download: Download, pool: &Weak<Pool>) {
    if let (Some(pool), Some(connection)) = (pool.upgrade(), download.into_reusable()) {
        pool.give_back(connection);
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ResponseError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ResponseError>>> {
        let this = &mut *self;
        if let Some((over, calls)) = this.poll_over(cx) {
            return Poll::Ready(Some(this.end(over, calls)));
        }
        let polled = this.source.poll_frame(cx);
        match &polled {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some(record), Some(data)) = (&mut this.record, frame.data_ref()) {
                    record.sent(length(data));
                }
            }
            Poll::Ready(None) => drop(this.record.take()),
            Poll::Ready(Some(Err(error))) => {
                if let Some(mut record) = this.record.take() {
                    record.broke_off(error);
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            // What broke off still has to say so.
            Source::Empty => self.bond.as_ref().is_none_or(|bond| !bond.broken),
            Source::Own(bytes) => bytes.is_empty(),
            Source::Http1 { .. } => false,
            Source::Http2 { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Empty => SizeHint::with_exact(0),
            Source::Own(bytes) => SizeHint::with_exact(length(bytes)),
            Source::Http1 { download, .. } => download.borrow().body().size_hint(),
            Source::Http2 { body, .. } => body.size_hint(),
        }
    }
}

impl Source {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ResponseError>>> {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Own(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Http1 { download, .. } => {
                let mut polled = download.borrow_mut().poll_frame(cx);
                let ended = download.borrow().body().has_ended();
                if ended
                    && let Self::Http1 { download, pool, .. } = std::mem::replace(self, Self::Empty)
                    && let Some(download) = Rc::into_inner(download)
                {
                    // The connection is free for others before the client has the last piece, and so is its buffer.
                    polled = polled.map_ok(|frame| frame.map_data(buffers::own));
                    give_back(download.into_inner(), &pool);
                }
                polled.map_err(ResponseError::Http1)
            }
            Self::Http2 { body, .. } => Pin::new(body).poll_frame(cx).map_err(ResponseError::Http2),
        }
    }
}
