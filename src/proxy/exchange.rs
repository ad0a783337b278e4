//! One request and its response on one HTTP/1.1 connection to a service.
//!
//! It runs inside the task of the client's connection: no channel, no second task, no wake-up in between. The request is
//! written as the service takes it, and goes on being written while the response is read.

use super::request_body::{BodyFault, RequestBody};
use crate::clock::after;
use crate::headers::CleanHead;
use crate::stream::Stream;
use crate::wire::body::Decoder;
use crate::wire::encode::{self, Sending};
use crate::wire::inbound::{BodyError, Inbound};
use crate::wire::outbound::Outbound;
use crate::wire::response::{self, ResponseFault, ResponseHead};
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body::{Body as _, Frame};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};

/// Interim responses before a final one; a service that sends more is not answering.
const MOST_INTERIM: u8 = 32;

/// A connection to a service, and its place among all of them.
#[derive(Debug)]
pub struct Connection {
    inbound: Inbound,
    /// Moved only when it fires, so that a request costs no timer.
    timer: Pin<Box<Sleep>>,
    place: Option<OwnedSemaphorePermit>,
}

impl Connection {
    /// A connection that has just been opened.
    #[must_use]
    pub fn new(stream: Stream, place: Option<OwnedSemaphorePermit>) -> Self {
        let timer = Box::pin(sleep_until(Instant::now()));
        Self { inbound: Inbound::of_service(stream), timer, place }
    }

    /// Whether the service has neither closed it nor said anything unasked; `asked` makes sure by asking the kernel.
    pub fn is_sound(&mut self, asked: bool) -> bool {
        if !self.inbound.unread.is_empty() || (asked && !self.inbound.stream.is_silent()) {
            return false;
        }
        let mut context = Context::from_waker(Waker::noop());
        self.inbound.poll_fill(&mut context).is_pending()
    }

    /// The stream, what was read of it and not used, and its place.
    #[must_use]
    pub fn into_parts(self) -> (Stream, BytesMut, Option<OwnedSemaphorePermit>) {
        (self.inbound.stream, self.inbound.unread, self.place)
    }
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The request's body broke off.
    #[error(transparent)]
    Body(#[from] BodyFault),
    /// The request's body was not as long as its head had said.
    #[error(transparent)]
    Misfit(#[from] crate::wire::outbound::Misfit),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(#[source] io::Error),
    /// What came is no response.
    #[error(transparent)]
    Response(#[from] ResponseFault),
    /// None came within the time.
    #[error("no response within the time")]
    Slow,
}

/// A request on its way to a service.
#[derive(Debug)]
pub struct Upload {
    out: Outbound,
    body: Option<RequestBody>,
}

impl Upload {
    /// A request: its head is written at once, its body as it comes.
    #[must_use]
    pub fn new(head: &CleanHead, body: RequestBody) -> Self {
        let sending = framing(head, &body);
        let mut out = Outbound::default();
        out.begin(sending, |bytes| {
            encode::request_head(bytes, head.method(), head.path(), sending, |bytes| {
                head.write_fields(bytes);
            });
        });
        // What the head announces has to end: chunks, even if there are none.
        let body = Some(body).filter(|_| !matches!(sending, Sending::Nothing | Sending::Length(0)));
        Self { out, body }
    }

    /// Whether all of it was sent.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.body.is_none() && self.out.is_empty()
    }

    /// Sends as much as the service takes.
    fn poll(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<Result<(), ExchangeError>> {
        loop {
            let mut waits = false;
            while let Some(body) = self.body.as_mut().filter(|_| self.out.has_room()) {
                match Pin::new(body).poll_frame(cx) {
                    Poll::Ready(Some(frame)) => self.out.push(frame?)?,
                    Poll::Ready(None) => {
                        self.body = None;
                        self.out.end()?;
                    }
                    Poll::Pending => {
                        waits = true;
                        break;
                    }
                }
            }
            ready!(self.out.poll_flush(cx, stream)).map_err(ExchangeError::Broken)?;
            if self.body.is_none() {
                return Poll::Ready(Ok(()));
            }
            if waits {
                return Poll::Pending;
            }
        }
    }
}

/// How the service is told where the body ends.
fn framing(head: &CleanHead, body: &RequestBody) -> Sending {
    match body.size_hint().exact() {
        // A length of nothing is passed on if the client said so.
        Some(0) if !head.tells_length() => Sending::Nothing,
        Some(length) => Sending::Length(length),
        None => Sending::Chunked,
    }
}

/// A request on its way, and the response that is waited for.
#[derive(Debug)]
pub struct Exchange {
    connection: Connection,
    upload: Upload,
    to_head: bool,
    begun: Instant,
    /// Whether the request could not be sent in one go.
    waited: bool,
    /// How long the service may take once it has the whole request.
    limit: Duration,
    deadline: Option<Instant>,
    seen: usize,
    interim: u8,
    /// Why the service takes no more of the request; it may have answered all the same.
    write_error: Option<io::Error>,
}

impl Exchange {
    /// Begins to send on `connection`, at `now`.
    #[must_use]
    pub const fn new(
        connection: Connection,
        upload: Upload,
        to_head: bool,
        (now, limit): (Instant, Duration),
    ) -> Self {
        Self {
            connection,
            upload,
            to_head,
            begun: now,
            waited: false,
            limit,
            deadline: None,
            seen: 0,
            interim: 0,
            write_error: None,
        }
    }

    /// The request, if no byte of it was sent: it may be tried on another connection.
    #[must_use]
    pub fn into_unsent(self) -> Option<Upload> {
        Some(self.upload).filter(|upload| !upload.out.has_begun())
    }

    /// Sends, and waits for the head of the final response.
    ///
    /// # Errors
    /// Why none came.
    pub fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, ExchangeError>> {
        self.poll_upload(cx)?;
        if !self.upload.out.has_begun() {
            return match self.write_error.take() {
                Some(error) => Poll::Ready(Err(ExchangeError::Broken(error))),
                None => Poll::Pending,
            };
        }
        loop {
            if let Some(head) = self.read_head()? {
                return Poll::Ready(Ok(head));
            }
            match self.connection.inbound.poll_fill(cx) {
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(match self.write_error.take() {
                        Some(error) => ExchangeError::Broken(error),
                        None => ResponseFault::Incomplete.into(),
                    }));
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(ExchangeError::Broken(error))),
                Poll::Pending => return self.poll_deadline(cx),
            }
        }
    }

    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), ExchangeError> {
        if self.deadline.is_some() || self.write_error.is_some() {
            return Ok(());
        }
        match self.upload.poll(cx, &mut self.connection.inbound.stream) {
            // From now on it takes longer than a moment.
            Poll::Pending => self.waited = true,
            Poll::Ready(Ok(())) => {
                let now = if self.waited { Instant::now() } else { self.begun };
                self.deadline = Some(after(now, self.limit));
            }
            Poll::Ready(Err(ExchangeError::Broken(error))) => {
                // It may have answered before it stopped to listen.
                self.write_error = Some(error);
                self.deadline = Some(after(Instant::now(), self.limit));
            }
            Poll::Ready(Err(error)) => return Err(error),
        }
        Ok(())
    }

    /// The final response, if its head is there.
    fn read_head(&mut self) -> Result<Option<ResponseHead>, ExchangeError> {
        let unread = &mut self.connection.inbound.unread;
        while let Some(head) = response::read(unread, &mut self.seen, self.to_head)? {
            let status = head.response.status();
            if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                return Ok(Some(head));
            }
            self.interim = self.interim.saturating_add(1);
            if self.interim > MOST_INTERIM {
                return Err(ResponseFault::TooLarge.into());
            }
        }
        Ok(None)
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, ExchangeError>> {
        let Some(deadline) = self.deadline else { return Poll::Pending };
        let timer = &mut self.connection.timer;
        while timer.as_mut().poll(cx).is_ready() {
            if deadline <= Instant::now() {
                return Poll::Ready(Err(ExchangeError::Slow));
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    /// What comes behind the head.
    #[must_use]
    pub fn into_download(self, head: &ResponseHead) -> Download {
        let Self { mut connection, mut upload, write_error, .. } = self;
        upload.body.iter_mut().for_each(RequestBody::answer);
        connection.inbound.body = Decoder::response(head.framing);
        let upload = Some(upload).filter(|upload| !upload.is_complete());
        Download { connection, upload, alone: false, reusable: head.reusable && write_error.is_none() }
    }

    /// The connection, once it speaks another protocol.
    #[must_use]
    pub fn into_connection(self) -> Connection {
        self.connection
    }
}

/// A response body on its way, and what is left of the request.
#[derive(Debug)]
pub struct Download {
    connection: Connection,
    upload: Option<Upload>,
    /// Whether a task of its own sends what is left of the request, and must be the only one to wait for it.
    alone: bool,
    reusable: bool,
}

impl Download {
    /// The next piece of the body.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if !self.alone {
            self.poll_upload(cx);
        }
        self.connection.inbound.poll_frame(cx)
    }

    /// Leaves what is left of the request to [`Download::poll_alone`]; whether anything is.
    pub const fn leave_upload(&mut self) -> bool {
        self.alone = self.upload.is_some();
        self.alone
    }

    /// Ready when nothing is left of the request.
    pub fn poll_alone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_upload(cx);
        if self.upload.is_none() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// The service may answer before it has the whole request, and go on reading.
    pub fn poll_upload(&mut self, cx: &mut Context<'_>) {
        let Some(upload) = &mut self.upload else { return };
        match upload.poll(cx, &mut self.connection.inbound.stream) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.upload = None,
            Poll::Ready(Err(_)) => {
                // The response is on its way all the same; nobody can use the connection after it.
                self.upload = None;
                self.reusable = false;
            }
        }
    }

    /// The body.
    #[must_use]
    pub const fn body(&self) -> &Decoder {
        &self.connection.inbound.body
    }

    /// The connection, if it can serve another request: both bodies have ended, and nothing came behind them.
    #[must_use]
    pub fn into_reusable(mut self) -> Option<Connection> {
        let inbound = &mut self.connection.inbound;
        let clean = self.upload.is_none() && inbound.body.has_ended() && inbound.unread.is_empty();
        inbound.rest();
        Some(self.connection).filter(|_| self.reusable && clean)
    }
}
