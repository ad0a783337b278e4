//! The request body on its way to the service: streamed frame by frame, never buffered.

use crate::headers::Hygiene;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::time::Instant;

/// Why a request body broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// It is longer than the limit.
    #[error("the request body is larger than the limit")]
    TooLarge,
    /// Its framing is broken.
    #[error("the framing of the request body is broken")]
    Malformed,
    /// The client went away.
    #[error("the client went away in mid body")]
    Aborted,
}

/// How far the request body has come, as the one who waits for the response sees it.
#[derive(Debug, Default)]
pub struct Progress {
    ended: Cell<Option<Instant>>,
    fault: Cell<Option<BodyFault>>,
}

impl Progress {
    /// When the last byte was handed over, if it was.
    #[must_use]
    pub const fn ended(&self) -> Option<Instant> {
        self.ended.get()
    }

    /// Why it broke off, if it did.
    #[must_use]
    pub const fn fault(&self) -> Option<BodyFault> {
        self.fault.get()
    }
}

/// A request body on its way to the service.
#[derive(Debug)]
pub struct RequestBody {
    inner: Incoming,
    /// Bytes that may still come.
    allowance: u64,
    hygiene: Arc<Hygiene>,
    progress: Rc<Progress>,
}

impl RequestBody {
    /// A body of at most `limit` bytes; 0 = unlimited.
    #[must_use]
    pub fn new(inner: Incoming, limit: u64, hygiene: Arc<Hygiene>) -> Self {
        let progress = Rc::new(Progress::default());
        if inner.is_end_stream() {
            progress.ended.set(Some(Instant::now()));
        }
        Self { inner, allowance: if limit == 0 { u64::MAX } else { limit }, hygiene, progress }
    }

    /// Whether the head already says that the body is too large.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        self.inner.size_hint().lower() > self.allowance
    }

    /// A handle that tells how far the body has come.
    #[must_use]
    pub fn progress(&self) -> Rc<Progress> {
        Rc::clone(&self.progress)
    }

    fn fail(&self, fault: BodyFault) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        self.progress.fault.set(Some(fault));
        Poll::Ready(Some(Err(fault)))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let frame = match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => {
                self.progress.ended.set(Some(Instant::now()));
                return Poll::Ready(None);
            }
            Poll::Ready(Some(Err(error))) => return self.fail(classify(&error)),
            Poll::Ready(Some(Ok(frame))) => frame,
        };
        let frame = match frame.into_data() {
            Ok(data) => {
                let Some(rest) = self.allowance.checked_sub(length(&data)) else {
                    return self.fail(BodyFault::TooLarge);
                };
                self.allowance = rest;
                Frame::data(data)
            }
            Err(frame) => match frame.into_trailers() {
                Ok(mut trailers) => {
                    self.hygiene.clean_trailers(&mut trailers);
                    Frame::trailers(trailers)
                }
                Err(other) => other,
            },
        };
        if self.inner.is_end_stream() {
            self.progress.ended.set(Some(Instant::now()));
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Our own connection reports broken framing as `InvalidData`; everything else is a client that went away.
fn classify(error: &hyper::Error) -> BodyFault {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|io| io.kind() == std::io::ErrorKind::InvalidData)
        {
            return BodyFault::Malformed;
        }
        source = cause.source();
    }
    BodyFault::Aborted
}

/// How many bytes a piece of a body has.
pub(super) fn length(data: &Bytes) -> u64 {
    u64::try_from(data.len()).unwrap_or(u64::MAX)
}
