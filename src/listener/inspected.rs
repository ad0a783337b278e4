//! A client's byte stream as hyper sees it: only bytes that the inspector has let pass.

use super::inspect::{Inspector, Limits, Phase, Step};
use crate::denial::Reason;
use crate::stream::Stream;
use hyper::rt::{Read, ReadBufCursor, Write};
use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
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
        };
        conversation.inspect_held();
        Rc::new(conversation)
    }

    /// Why the client's next head is refused, once hyper has nothing more to write.
    #[must_use]
    pub fn refusal(&self) -> Option<Reason> {
        self.refusal.get().filter(|_| !self.write_blocked.get())
    }

    /// What the connection is in the middle of.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.inspector.borrow().phase()
    }

    /// A handshake was answered with something else than 101: further requests may follow.
    pub fn upgrade_refused(&self) {
        let mut inspector = self.inspector.borrow_mut();
        if inspector.phase() == Phase::Upgrade {
            inspector.upgrade_refused();
            drop(inspector);
            self.inspect_held();
        }
    }

    /// The stream and what was read of it but not given to hyper; for tunnels and last words.
    #[must_use]
    pub fn into_parts(self) -> (Stream, Vec<u8>) {
        (self.stream.into_inner(), self.held.into_inner())
    }

    fn inspect_held(&self) {
        let held = self.held.borrow();
        let step = self.inspector.borrow_mut().offer(&held);
        self.approved.set(self.judged(step));
    }

    /// How many bytes may pass; a refusal is noted.
    fn judged(&self, step: Step) -> usize {
        match step {
            Step::Pass(count) => count,
            Step::Refuse(reason) => {
                self.refusal.set(Some(reason));
                0
            }
            Step::Discard => 0,
        }
    }

    /// Whether more bytes could be of use: not after a refusal, nor while a tunnel's fate is open.
    fn wants_bytes(&self) -> bool {
        match self.phase() {
            Phase::Last => false,
            Phase::Upgrade => self.held.borrow().is_empty(),
            Phase::Idle | Phase::Head | Phase::Body | Phase::Raw => true,
        }
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
            if !self.wants_bytes() {
                return Poll::Pending;
            }
            match ready!(self.poll_fill(cx, &mut buffer))? {
                Filled::Delivered | Filled::Ended => return Poll::Ready(Ok(())),
                Filled::Held => {}
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

    /// Reads once and inspects what came.
    fn poll_fill(&self, cx: &mut Context<'_>, buffer: &mut ReadBufCursor<'_>) -> Poll<io::Result<Filled>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut read = ReadBuf::new(scratch);
            ready!(Pin::new(&mut *self.stream.borrow_mut()).poll_read(cx, &mut read))?;
            let read = read.filled();
            if read.is_empty() {
                return Poll::Ready(Ok(Filled::Ended));
            }
            let mut held = self.held.borrow_mut();
            if !held.is_empty() {
                held.extend_from_slice(read);
                drop(held);
                self.inspect_held();
                return Poll::Ready(Ok(Filled::Held));
            }
            // The usual case: everything passes at once, and nothing is kept.
            let passed = self.judged(self.inspector.borrow_mut().offer(read));
            let delivered = passed.min(buffer.remaining());
            buffer.put_slice(read.get(..delivered).unwrap_or_default());
            held.extend_from_slice(read.get(delivered..).unwrap_or_default());
            self.approved.set(passed.saturating_sub(delivered));
            Poll::Ready(Ok(if delivered > 0 { Filled::Delivered } else { Filled::Held }))
        })
    }

    fn written<T>(&self, poll: Poll<T>) -> Poll<T> {
        self.write_blocked.set(poll.is_pending());
        poll
    }
}

enum Filled {
    Delivered,
    Held,
    Ended,
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
