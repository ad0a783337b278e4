//! The request body on its way to the service: streamed piece by piece, never buffered.

use crate::clock::patience::Patience;
use crate::headers::Hygiene;
use crate::leases::{Lease, Over};
use crate::wire::inbound::{BodyError, Turn};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Instant;

/// Why a request body broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFault {
    /// It is longer than the limit.
    TooLarge,
    /// Its framing is broken.
    Malformed,
    /// The client sends nothing any more.
    Stopped,
    /// The client went away.
    Aborted,
    /// Its lease is over.
    Over(Over),
}

impl fmt::Display for BodyFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::TooLarge => "the request body is larger than the limit",
            Self::Malformed => "the framing of the request body is broken",
            Self::Stopped => "the request body has stopped",
            Self::Aborted => "the client went away in mid body",
            Self::Over(_) => "the credential is not good any more",
        })
    }
}

/// Nobody wants the response any more (RFC 9113 §7).
static CANCEL: LazyLock<h2::Error> = LazyLock::new(|| h2::Reason::CANCEL.into());

/// What breaks off towards an HTTP/2 service is reset with the code that is found among its causes, and else with
/// `INTERNAL_ERROR`, which a gRPC service takes for a failure.
impl Error for BodyFault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*CANCEL)
    }
}

/// Where a client's body comes from.
#[derive(Debug)]
pub enum ClientBody {
    /// There is none.
    Empty,
    /// An HTTP/1.1 connection.
    Http1(Turn),
    /// A stream of an HTTP/2 connection.
    Http2(Incoming),
}

impl ClientBody {
    /// Whether nothing of it is left.
    #[must_use]
    pub fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Http1(turn) => turn.has_ended(),
            Self::Http2(incoming) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Http1(turn) => turn.size_hint(),
            Self::Http2(incoming) => incoming.size_hint(),
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Http1(turn) => turn.poll_frame(cx).map_err(|error| match error {
                BodyError::Malformed(_) => BodyFault::Malformed,
                BodyError::Failed(_) | BodyError::Incomplete => BodyFault::Aborted,
            }),
            Self::Http2(incoming) => Pin::new(incoming).poll_frame(cx).map_err(|_| BodyFault::Aborted),
        }
    }
}

/// How far the request body has come, as the one who waits for the response sees it.
#[derive(Debug, Default)]
pub struct Progress {
    ended: Cell<Option<Instant>>,
    fault: Cell<Option<BodyFault>>,
    answered: Cell<bool>,
}

impl Progress {
    /// When the last byte was handed over, if it was.
    #[must_use]
    pub const fn ended(&self) -> Option<Instant> {
        self.ended.get()
    }

    /// The response has begun: from now on the client may take its time, since both sides may be talking.
    pub fn answer(&self) {
        self.answered.set(true);
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
    source: ClientBody,
    /// Bytes that may still come.
    allowance: u64,
    hygiene: Arc<Hygiene>,
    /// How long the client may send nothing; none once the response has begun.
    patience: Option<Box<Patience>>,
    /// Told to whoever watches.
    progress: Option<Rc<Progress>>,
    /// It stops when this is over.
    lease: Option<Rc<Lease>>,
}

impl RequestBody {
    /// A body of at most `limit` bytes, 0 = unlimited, of which the client may send nothing for so long.
    #[must_use]
    pub fn new(source: ClientBody, (limit, pause): (u64, Duration), hygiene: Arc<Hygiene>) -> Self {
        let allowance = if limit == 0 { u64::MAX } else { limit };
        // In a box, since most requests have no body, and all would carry the room for it.
        let patience = (!source.is_end_stream()).then(|| Box::new(Patience::new(pause)));
        Self { source, allowance, hygiene, patience, progress: None, lease: None }
    }

    /// Whether the head already says that the body is too large.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        self.source.size_hint().lower() > self.allowance
    }

    /// Goes no further once the lease is over.
    pub fn rest_on(&mut self, lease: Rc<Lease>) {
        self.lease = Some(lease);
    }

    /// A handle that tells how far the body has come.
    #[must_use]
    pub fn watched(&mut self) -> Rc<Progress> {
        let progress = Rc::new(Progress::default());
        if self.source.is_end_stream() {
            progress.ended.set(Some(Instant::now()));
        }
        self.progress = Some(Rc::clone(&progress));
        progress
    }

    /// The response has begun, as [`Progress::answer`].
    pub fn answer(&mut self) {
        self.patience = None;
    }

    /// Ready when the client has sent nothing for too long.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.progress.as_ref().is_some_and(|progress| progress.answered.get()) {
            self.patience = None;
        }
        self.patience.as_mut().map_or(Poll::Pending, |patience| patience.poll(cx))
    }

    fn ended(&self) {
        if let Some(progress) = &self.progress {
            progress.ended.set(Some(Instant::now()));
        }
    }

    fn fail(&self, fault: BodyFault) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        if let Some(progress) = &self.progress {
            progress.fault.set(Some(fault));
        }
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
        if let Some(over) = self.lease.as_ref().and_then(|lease| lease.is_over()) {
            return self.fail(BodyFault::Over(over));
        }
        let frame = match self.source.poll_frame(cx) {
            Poll::Pending => {
                ready!(self.poll_patience(cx));
                return self.fail(BodyFault::Stopped);
            }
            Poll::Ready(None) => {
                self.ended();
                return Poll::Ready(None);
            }
            Poll::Ready(Some(Err(fault))) => return self.fail(fault),
            Poll::Ready(Some(Ok(frame))) => frame,
        };
        if let Some(patience) = &mut self.patience {
            patience.renew();
        }
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
        if self.source.is_end_stream() {
            self.ended();
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.source.size_hint()
    }
}

/// How many bytes a piece of a body has.
pub(super) fn length(data: &Bytes) -> u64 {
    u64::try_from(data.len()).unwrap_or(u64::MAX)
}
