//! A client's byte stream as hyper sees it: only bytes that the inspector has let pass.

use super::inspect::{Inspector, Limits, Phase, Step};
use crate::denial::Reason;
use crate::stream::Stream;
use hyper::rt::{Read, ReadBufCursor, Write};
use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

thread_local! {
    /// Every connection of a thread reads through this, so that an idle one holds no buffer of ours.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; 64 << 10].into_boxed_slice());
}

/// What hyper's side of a connection and our own know together.
#[derive(Debug)]
pub struct Conversation {
    stream: RefCell<Stream>,
    inspector: RefCell<Inspector>,
    /// Read, but not yet given to hyper; the first `approved` bytes may be.
    held: RefCell<Vec<u8>>,
    approved: Cell<usize>,
    refusal: Cell<Option<Reason>>,
    write_blocked: Cell<bool>,
    /// Requests that hyper has handed to the service.
    begun: Cell<u64>,
    /// Who reads, while nothing may be read yet.
    reader: RefCell<Option<Waker>>,
}

impl Conversation {
    /// A conversation on `stream`, of which `first` was already read.
    #[must_use]
    pub fn new(stream: Stream, first: Vec<u8>, limits: Limits) -> Rc<Self> {
        let conversation = Self {
            stream: RefCell::new(stream),
            inspector: RefCell::new(Inspector::new(limits)),
            held: RefCell::new(first),
            approved: Cell::new(0),
            refusal: Cell::new(None),
            write_blocked: Cell::new(false),
            begun: Cell::new(0),
            reader: RefCell::new(None),
        };
        conversation.inspect_held();
        Rc::new(conversation)
    }

    /// Counts a request that hyper hands to the service, and returns its number.
    pub fn begin(&self) -> u64 {
        self.begun.set(self.begun.get().saturating_add(1));
        self.begun.get()
    }

    /// Why the client's next head is refused, once every request before it was handed over and hyper has nothing
    /// more to write.
    #[must_use]
    pub fn refusal(&self) -> Option<Reason> {
        let caught_up =
            || self.begun.get() == self.inspector.borrow().requests() && !self.write_blocked.get();
        self.refusal.get().filter(|_| caught_up())
    }

    /// What the connection is in the middle of.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.inspector.borrow().phase()
    }

    /// Request `number` was answered with something else than 101: if it was a handshake, further requests may follow.
    pub fn answered(&self, number: u64) {
        let mut inspector = self.inspector.borrow_mut();
        if inspector.phase() == Phase::Upgrade && inspector.requests() == number {
            inspector.upgrade_refused();
            drop(inspector);
            self.inspect_held();
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
    }

    /// The stream and what was read of it but not given to hyper; for tunnels and last words.
    #[must_use]
    pub fn into_parts(self) -> (Stream, Vec<u8>) {
        (self.stream.into_inner(), self.held.into_inner())
    }

    /// Offers everything that is held and not yet approved. A refusal shows only behind the last good byte, so the
    /// rest is offered until nothing more passes.
    fn inspect_held(&self) {
        let held = self.held.borrow();
        let mut approved = self.approved.get();
        loop {
            match self.inspector.borrow_mut().offer(held.get(approved..).unwrap_or_default()) {
                Step::Pass(0) | Step::Discard => break,
                Step::Pass(count) => approved = approved.saturating_add(count),
                Step::Refuse(reason) => {
                    self.refusal.set(Some(reason));
                    break;
                }
            }
        }
        self.approved.set(approved);
    }

    /// Whether what comes may be kept: while a tunnel's fate is open, a client's frames wait in the kernel.
    fn has_room(&self) -> bool {
        self.phase() != Phase::Upgrade || self.held.borrow().is_empty()
    }

    fn poll_read(&self, cx: &mut Context<'_>, mut buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        loop {
            let approved = self.approved.get();
            if approved > 0 {
                let mut held = self.held.borrow_mut();
                let count = approved.min(buffer.remaining());
                buffer.put_slice(held.get(..count).unwrap_or_default());
                held.drain(..count);
                if held.is_empty() {
                    *held = Vec::new();
                }
                self.approved.set(approved.saturating_sub(count));
                return Poll::Ready(Ok(()));
            }
            if self.refusal.get().is_some() {
                return self.poll_refused();
            }
            if !self.has_room() {
                self.reader.replace(Some(cx.waker().clone()));
                return Poll::Pending;
            }
            if ready!(self.poll_fill(cx, &mut buffer))? {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// A refused head is answered by us once hyper is quiet; a refused body must reach whoever reads it.
    fn poll_refused(&self) -> Poll<io::Result<()>> {
        if self.phase() == Phase::Body {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the framing of the body is broken",
            )));
        }
        Poll::Pending
    }

    /// Reads once and inspects what came; true when hyper may go on: it got bytes, or the stream has ended.
    fn poll_fill(&self, cx: &mut Context<'_>, buffer: &mut ReadBufCursor<'_>) -> Poll<io::Result<bool>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut read = ReadBuf::new(scratch);
            ready!(Pin::new(&mut *self.stream.borrow_mut()).poll_read(cx, &mut read))?;
            let read = read.filled();
            if read.is_empty() {
                return Poll::Ready(Ok(true));
            }
            if self.phase() == Phase::Last {
                // Nothing follows the last request; it is read only to notice when the client goes away.
                return Poll::Ready(Ok(false));
            }
            // The usual case: everything passes at once, and nothing is kept.
            let mut delivered = 0;
            if self.held.borrow().is_empty()
                && let Step::Pass(count) = self.inspector.borrow_mut().offer(read)
            {
                delivered = count.min(buffer.remaining());
                buffer.put_slice(read.get(..delivered).unwrap_or_default());
                self.approved.set(count.saturating_sub(delivered));
            }
            if delivered < read.len() {
                self.held.borrow_mut().extend_from_slice(read.get(delivered..).unwrap_or_default());
                self.inspect_held();
            }
            Poll::Ready(Ok(delivered > 0))
        })
    }

    fn written<T>(&self, poll: Poll<T>) -> Poll<T> {
        self.write_blocked.set(poll.is_pending());
        poll
    }
}

/// The half of a conversation that hyper holds.
#[derive(Debug)]
pub struct Inspected(pub Rc<Conversation>);

impl Read for Inspected {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.poll_read(cx, buffer)
    }
}

impl Write for Inspected {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut *self.0.stream.borrow_mut()).poll_write(cx, bytes);
        self.0.written(polled)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut *self.0.stream.borrow_mut()).poll_flush(cx);
        self.0.written(polled)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.stream.borrow().is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut *self.0.stream.borrow_mut()).poll_write_vectored(cx, parts);
        self.0.written(polled)
    }
}
