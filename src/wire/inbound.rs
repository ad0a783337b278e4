//! A connection that messages come in on: what was read of it, and the body that is on its way.

use super::body::Decoder;
use super::buffers;
use crate::denial::Reason;
use crate::stream::Stream;
use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncReadExt, AsyncWrite};

/// A read needs at least this much room to be worth it.
const LEAST: usize = 2 << 10;

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Failed(#[from] io::Error),
    /// The connection ended in the middle of the body.
    #[error("the connection ended in the middle of the body")]
    Incomplete,
    /// Nobody knows where the body ends.
    #[error("the framing of the body is broken")]
    Malformed(Reason),
}

/// One connection's incoming half, with the stream that the outgoing half uses as well.
#[derive(Debug)]
pub struct Inbound {
    /// The connection.
    pub stream: Stream,
    /// What was read, and belongs to nothing yet.
    pub unread: BytesMut,
    /// The body that is on its way.
    pub body: Decoder,
    /// Whether requests come in: what is awaited between bodies is a head then, and hardly more.
    requests: bool,
    /// What the sender wants to hear before it sends the body.
    owed: &'static [u8],
    /// Which body this is: whoever was to read an earlier one must not get a byte of it.
    turn: u32,
    /// Who waits for more of the body.
    reader: Option<Waker>,
    /// Who waits for its end.
    watcher: Option<Waker>,
}

/// What a sender that waits for leave to send its body is told.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

impl Inbound {
    /// For a connection that requests come in on, of which `first` was already read.
    #[must_use]
    pub const fn of_client(stream: Stream, first: BytesMut) -> Self {
        Self::new(stream, first, true)
    }

    /// For a connection that responses come in on.
    #[must_use]
    pub fn of_service(stream: Stream) -> Self {
        Self::new(stream, BytesMut::new(), false)
    }

    const fn new(stream: Stream, first: BytesMut, requests: bool) -> Self {
        let (body, owed) = (Decoder::ENDED, b"");
        Self { stream, unread: first, body, requests, owed, turn: 0, reader: None, watcher: None }
    }

    /// A body begins. A sender that waits for a 100 gets one as soon as the body is asked for.
    pub fn begin_body(&mut self, body: Decoder, expects: bool) {
        self.body = body;
        self.owed = if expects { CONTINUE } else { b"" };
    }

    /// The answer begins, and no 100 may stand in it: what is left of one that was begun has to go first.
    pub const fn answer(&mut self) -> &'static [u8] {
        let begun = self.owed.len() < CONTINUE.len();
        let owed = std::mem::replace(&mut self.owed, b"");
        if begun { owed } else { b"" }
    }

    /// Nobody may read the rest of the body any more; who waits for it is told.
    pub fn end_turn(&mut self) {
        self.turn = self.turn.wrapping_add(1);
        self.reader.take().into_iter().for_each(Waker::wake);
    }

    /// Wakes this task when the body has ended, if another one reads it.
    pub fn watch(&mut self, cx: &Context<'_>) {
        keep(&mut self.watcher, cx);
    }

    /// The next piece of the body.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            match self.body.next(&mut self.unread) {
                Ok(Some(frame)) => {
                    // Who sends does not wait (RFC 9110 §10.1.1); but a line that was begun has to be finished.
                    if self.owed.len() == CONTINUE.len() {
                        self.owed = b"";
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                Ok(None) if self.body.has_ended() => return Poll::Ready(None),
                Ok(None) => {}
                Err(reason) => return Poll::Ready(Some(Err(BodyError::Malformed(reason)))),
            }
            ready!(self.poll_owed(cx))?;
            if ready!(self.poll_fill(cx))? == 0 && !self.body.end() {
                return Poll::Ready(Some(Err(BodyError::Incomplete)));
            }
        }
    }

    fn poll_owed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.owed.is_empty() {
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, self.owed))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.owed = self.owed.get(count..).unwrap_or_default();
            // So few bytes never wait in a TLS session; were they to, the response would push them out.
            drop(Pin::new(&mut self.stream).poll_flush(cx));
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once; how many bytes came, zero at the end of the stream.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.make_room();
        let polled = pin!(self.stream.read_buf(&mut self.unread)).poll(cx);
        if polled.is_pending() {
            self.rest();
        }
        polled
    }

    fn make_room(&mut self) {
        let awaits_head = self.requests && self.body.has_ended();
        if self.requests && !awaits_head {
            // A body is not read through the small window of the head before it.
            self.rest();
        }
        if self.unread.capacity() == 0 {
            self.unread = if awaits_head { buffers::to_read_head() } else { buffers::to_read() };
        }
        // What was read before is mostly written by now: then the whole buffer is free again.
        let size = if awaits_head { buffers::SMALL } else { buffers::SIZE };
        let whole = self.unread.is_empty() && self.unread.try_reclaim(size);
        if !whole && self.unread.capacity().saturating_sub(self.unread.len()) < LEAST {
            self.unread.reserve(buffers::SIZE);
        }
    }

    /// Gives the buffer back while there is nothing in it.
    pub fn rest(&mut self) {
        if self.unread.is_empty() && self.unread.capacity() > 0 {
            buffers::read(&mut self.unread);
        }
    }
}

fn keep(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *place = Some(cx.waker().clone()),
    }
}

/// The leave to read one body of a connection, until its turn ends. It does not keep the connection open.
///
/// It may be read by another task than the connection's: that of a multiplexed connection to a service.
#[derive(Debug)]
pub struct Turn {
    inbound: Weak<RefCell<Inbound>>,
    number: u32,
}

impl Turn {
    /// For the body that has just begun.
    #[must_use]
    pub fn new(inbound: &Rc<RefCell<Inbound>>) -> Self {
        Self { number: inbound.borrow().turn, inbound: Rc::downgrade(inbound) }
    }

    fn inbound(&self) -> Option<Rc<RefCell<Inbound>>> {
        self.inbound.upgrade().filter(|inbound| inbound.borrow().turn == self.number)
    }

    /// Whether the body has ended; one that nobody may read any more has not.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.inbound().is_some_and(|inbound| inbound.borrow().body.has_ended())
    }

    /// What is known of its length.
    #[must_use]
    pub fn size_hint(&self) -> SizeHint {
        self.inbound().map_or_else(SizeHint::new, |inbound| inbound.borrow().body.size_hint())
    }

    /// The next piece of the body.
    pub fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(inbound) = self.inbound() else { return Poll::Ready(Some(Err(BodyError::Incomplete))) };
        let mut inbound = inbound.borrow_mut();
        let polled = inbound.poll_frame(cx);
        if polled.is_pending() {
            keep(&mut inbound.reader, cx);
        } else if inbound.body.has_ended() {
            inbound.reader = None;
            let watcher = inbound.watcher.take().filter(|watcher| !watcher.will_wake(cx.waker()));
            watcher.into_iter().for_each(Waker::wake);
        }
        polled
    }
}
