//! A connection that messages come in on: what was read of it, and the body that is on its way.

use super::body::Decoder;
use super::buffers;
use crate::denial::Reason;
use crate::stream::Stream;
use bytes::{Bytes, BytesMut};
use http_body::Frame;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncReadExt, AsyncWrite};

/// What a sender is told that waits for it.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

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
    /// What the sender wants to hear before it sends the body.
    owed: &'static [u8],
}

impl Inbound {
    /// For a connection of which `first` was already read.
    #[must_use]
    pub fn new(stream: Stream, first: BytesMut) -> Self {
        Self { stream, unread: first, body: Decoder::ENDED, owed: b"" }
    }

    /// The sender waits for a 100 before it sends the body: it gets one as soon as the body is asked for.
    pub const fn expect(&mut self) {
        self.owed = CONTINUE;
    }

    /// The response begins: a 100 that was not said by now would stand in the middle of it, or before that of the next
    /// request. Returns the rest of one that was said in part.
    pub fn answer(&mut self) -> &'static [u8] {
        self.withdraw();
        std::mem::take(&mut self.owed)
    }

    /// Leaves the 100 unsaid, unless a part of it was said.
    fn withdraw(&mut self) {
        if self.owed.len() == CONTINUE.len() {
            self.owed = b"";
        }
    }

    /// The next piece of the body.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            match self.body.next(&mut self.unread) {
                Ok(Some(frame)) => {
                    // Who sends does not wait (RFC 9110 §10.1.1).
                    self.withdraw();
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
        if self.unread.capacity() == 0 {
            self.unread = buffers::to_read();
        }
        // What was read before is mostly written by now: then the whole buffer is free again.
        let whole = self.unread.is_empty() && self.unread.try_reclaim(buffers::SIZE);
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
