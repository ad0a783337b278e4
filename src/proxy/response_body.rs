//! The response body on its way to the client: streamed frame by frame, never buffered.

use super::pool::Lease;
use super::request_body::length;
use crate::telemetry::record::Record;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

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
}

#[derive(Debug)]
enum Source {
    Empty,
    Own(Bytes),
    Service { body: Incoming, lease: Option<Lease> },
}

impl ResponseBody {
    /// Nothing.
    #[must_use]
    pub const fn empty() -> Self {
        Self { source: Source::Empty, record: None, in_flight: None }
    }

    /// A body of our own.
    #[must_use]
    pub const fn own(bytes: Bytes) -> Self {
        Self { source: Source::Own(bytes), record: None, in_flight: None }
    }

    /// The service's; its connection goes back to the pool when it was read to its end.
    #[must_use]
    pub fn service(body: Incoming, lease: Option<Lease>) -> Self {
        if body.is_end_stream() {
            give_back(lease);
            return Self::empty();
        }
        Self { source: Source::Service { body, lease }, record: None, in_flight: None }
    }

    /// Counts the request as long as the service's response is on its way. An answer of our own does not count: a
    /// client that will not take it must not hold its connection open with it.
    pub fn hold(&mut self, in_flight: InFlight) {
        if matches!(self.source, Source::Service { .. }) {
            self.in_flight = Some(in_flight);
        }
    }

    /// Keeps the request's record until the body has ended.
    pub fn keep(&mut self, record: Record) {
        self.record = Some(record);
    }
}

fn give_back(lease: Option<Lease>) {
    if let Some(lease) = lease {
        lease.give_back();
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let polled = match &mut this.source {
            Source::Empty => Poll::Ready(None),
            Source::Own(bytes) => {
                let bytes = std::mem::take(bytes);
                this.source = Source::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Source::Service { body, lease } => {
                let polled = Pin::new(&mut *body).poll_frame(cx);
                let ended = matches!(polled, Poll::Ready(None | Some(Ok(_)))) && body.is_end_stream();
                if ended {
                    give_back(lease.take());
                }
                polled
            }
        };
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
            Source::Empty => true,
            Source::Own(bytes) => bytes.is_empty(),
            Source::Service { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Empty => SizeHint::with_exact(0),
            Source::Own(bytes) => SizeHint::with_exact(length(bytes)),
            Source::Service { body, .. } => body.size_hint(),
        }
    }
}
