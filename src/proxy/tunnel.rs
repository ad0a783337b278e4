//! A WebSocket after its handshake: bytes both ways until a side ends, the token expires, or the gate does.
//!
//! A silent tunnel holds no buffer: both directions read into one that the thread owns, and only what the other
//! side would not take at once is kept.

use super::frames::{CloseCode, FrameTracker, close_frame};
use crate::leases::Lease;
use crate::stream::Stream;
use crate::wire::buffers;
use bytes::BytesMut;
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout};

/// How long an unfinished frame may hold up our close frame, and how long the peers have to answer it.
const CLOSING: Duration = Duration::from_secs(1);

/// How long one side may go on after the other has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; 32 << 10].into_boxed_slice());
}

/// One direction of a tunnel.
#[derive(Debug, Default)]
struct Direction {
    frames: FrameTracker,
    /// Read, but not yet taken by the other side.
    pending: Vec<u8>,
    bytes: u64,
    ended: bool,
    shut: bool,
}

/// Both ends of a tunnel.
#[derive(Debug)]
pub struct Tunnel {
    client: Stream,
    service: Stream,
    up: Direction,
    down: Direction,
}

impl Tunnel {
    /// A tunnel between two streams, each with what was read of it behind the handshake.
    #[must_use]
    pub fn new((client, said): (Stream, BytesMut), (service, early): (Stream, BytesMut)) -> Self {
        Self { client, service, up: Direction::begun(said), down: Direction::begun(early) }
    }

    /// Carries bytes until a side ends, `expires` comes, `lease` is over, or `drained` ends; returns how many were carried.
    pub async fn run(
        mut self,
        expires: Option<Instant>,
        lease: Option<&Lease>,
        drained: impl Future<Output = ()>,
    ) -> u64 {
        let expiry = async {
            match expires {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let revoked = async {
            match lease {
                Some(lease) => lease.over().await,
                None => std::future::pending().await,
            }
        };
        let verdict = tokio::select! {
            () = poll_fn(|cx| self.poll_until_one_ends(cx)) => None,
            () = expiry => Some((CloseCode::PolicyViolation, "the token has expired")),
            () = revoked => Some((CloseCode::PolicyViolation, "the credential was revoked")),
            () = drained => Some((CloseCode::GoingAway, "the gate is shutting down")),
        };
        match verdict {
            // In boxes, so that a silent tunnel does not carry along what only its end needs.
            Some((code, reason)) => Box::pin(self.close(code, reason)).await,
            // One side has said its last word; the other may finish its own.
            None => drop(Box::pin(timeout(LAST_WORDS, poll_fn(|cx| self.poll_flow(cx, false)))).await),
        }
        self.up.bytes.saturating_add(self.down.bytes)
    }

    /// Lets both directions reach the border of a frame, then tells both sides why it ends.
    async fn close(&mut self, code: CloseCode, reason: &str) {
        // A frame that stays unfinished is cut without a word: a close frame inside it would be payload.
        drop(timeout(CLOSING, poll_fn(|cx| self.poll_flow(cx, true))).await);
        let mut mask = [0; 4];
        aws_lc_rs::rand::fill(&mut mask).ok();
        if self.down.is_clear() {
            self.down.pending = close_frame(code, reason, None);
        }
        if self.up.is_clear() {
            self.up.pending = close_frame(code, reason, Some(mask));
        }
        drop(timeout(CLOSING, poll_fn(|cx| self.poll_farewell(cx))).await);
    }

    /// Ready when a direction has ended, or a side has failed: there is nobody left to tell.
    fn poll_until_one_ends(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let flow = self.poll_flow(cx, false);
        if flow.is_ready() || self.up.shut || self.down.shut { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Ready when both directions have ended, or, when `closing`, stand at a border.
    fn poll_flow(&mut self, cx: &mut Context<'_>, closing: bool) -> Poll<io::Result<()>> {
        let up = self.up.poll(cx, &mut self.client, &mut self.service, closing)?;
        let down = self.down.poll(cx, &mut self.service, &mut self.client, closing)?;
        if up.is_ready() && down.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Sends what is pending, ends both streams, and waits until both peers have done the same.
    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let down = self.down.poll_farewell(cx, &mut self.client);
        let up = self.up.poll_farewell(cx, &mut self.service);
        if down.is_ready() && up.is_ready() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Direction {
    /// A direction whose first bytes came with the handshake.
    fn begun(mut bytes: BytesMut) -> Self {
        let mut direction = Self { pending: bytes.to_vec(), ..Self::default() };
        direction.frames.advance(&bytes, false);
        direction.bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        bytes.clear();
        buffers::read(&mut bytes);
        direction
    }

    /// Whether a frame of ours may be written now.
    fn is_clear(&self) -> bool {
        self.frames.at_border() && self.pending.is_empty() && !self.shut
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
        closing: bool,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_send(cx, to))?;
            if self.ended {
                if !self.shut {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.shut = true;
                }
                return Poll::Ready(Ok(()));
            }
            if closing && self.frames.at_border() {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_carry(cx, from, to, closing))?;
        }
    }

    /// Reads once and passes on what was read.
    fn poll_carry(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
        closing: bool,
    ) -> Poll<io::Result<()>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(from).poll_read(cx, &mut buffer))?;
            let read = buffer.filled();
            if read.is_empty() {
                self.ended = true;
                return Poll::Ready(Ok(()));
            }
            // What follows the border on which we close is never delivered.
            let passed = self.frames.advance(read, closing);
            let read = read.get(..passed).unwrap_or_default();
            self.bytes = self.bytes.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX));
            let written = match Pin::new(to).poll_write(cx, read) {
                Poll::Ready(written) => written?,
                Poll::Pending => 0,
            };
            self.pending.extend_from_slice(read.get(written..).unwrap_or_default());
            Poll::Ready(Ok(()))
        })
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, to: &mut Stream) -> Poll<io::Result<()>> {
        while !self.pending.is_empty() {
            let written = ready!(Pin::new(&mut *to).poll_write(cx, &self.pending))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.pending.drain(..written.min(self.pending.len()));
            if self.pending.is_empty() {
                self.pending = Vec::new();
            }
        }
        Pin::new(to).poll_flush(cx)
    }

    /// Sends what is pending to `peer`, ends that stream, and discards what it still says.
    fn poll_farewell(&mut self, cx: &mut Context<'_>, peer: &mut Stream) -> Poll<()> {
        if !self.shut {
            if ready!(self.poll_send(cx, peer)).is_err() {
                return Poll::Ready(());
            }
            if ready!(Pin::new(&mut *peer).poll_shutdown(cx)).is_err() {
                return Poll::Ready(());
            }
            self.shut = true;
        }
        SCRATCH.with_borrow_mut(|scratch| {
            loop {
                let mut buffer = ReadBuf::new(scratch);
                match ready!(Pin::new(&mut *peer).poll_read(cx, &mut buffer)) {
                    Ok(()) if !buffer.filled().is_empty() => {}
                    Ok(()) | Err(_) => return Poll::Ready(()),
                }
            }
        })
    }
}
