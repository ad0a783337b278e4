//! The streams of an HTTP/2 connection as tasks, and an end for those whose client takes nothing of the response.
//!
//! A client that never opens the flow-control window (RFC 9113 §5.2) would hold a stream, its response and a connection to
//! the service for ever (CVE-2019-9511, CVE-2019-9517). While a window is closed nobody asks for more of the body, so the body
//! itself cannot notice. But the task can: it is polled, and neither we nor the service have anything to wait for.

use crate::clock::patience::Patience;
use crate::wire::buffers;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::task::spawn_local;

/// What was seen while a stream's task was polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// Nothing: it can only wait for its client.
    Nothing,
    /// A piece of the response was taken.
    Taken,
    /// It waits for us or for the service.
    Ours,
}

thread_local! {
    /// About the task that is being polled on this thread.
    static SEEN: Cell<Seen> = const { Cell::new(Seen::Nothing) };

    /// Whether a stream's task is being polled on this thread.
    static POLLED: Cell<bool> = const { Cell::new(false) };
}

/// Says that a stream's task is being polled, until it is dropped: also if that panics.
struct Polled;

impl Polled {
    fn now() -> Self {
        POLLED.set(true);
        Self
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        POLLED.set(false);
    }
}

/// Runs streams; a client may take so long to take any more of a response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streams(pub(super) Duration);

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, future: F) {
        // Requests come from the connection. What begins inside a stream's task is the sending end of a tunnel (RFC 8441), which may
        // be silent for as long as it likes.
        let patience = if POLLED.get() { None } else { Some(Patience::new(self.0)) };
        drop(spawn_local(Stream { future, patience }));
    }
}

pin_project! {
    /// One stream. It ends when its client has taken nothing for too long, and h2 resets it (CANCEL).
    struct Stream<F> {
        #[pin]
        future: F,
        patience: Option<Patience>,
    }
}

impl<F: Future<Output = ()>> Future for Stream<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        SEEN.set(Seen::Nothing);
        let polled = {
            let _polled = Polled::now();
            this.future.poll(cx)
        };
        if polled.is_ready() {
            return Poll::Ready(());
        }
        let Some(patience) = this.patience else { return Poll::Pending };
        match SEEN.get() {
            Seen::Ours => {
                patience.renew();
                return Poll::Pending;
            }
            Seen::Taken => patience.renew(),
            Seen::Nothing => {}
        }
        ready!(patience.poll(cx));
        tracing::debug!("a stream was reset: its client takes nothing of the response");
        Poll::Ready(())
    }
}

pin_project! {
    /// An answer in the making: as long as there is none, the client is not waited for. No `async fn`, which would keep room for
    /// the answer's future twice.
    pub(super) struct Making<F> {
        #[pin]
        pub(super) answer: F,
    }
}

impl<F: Future> Future for Making<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let polled = self.project().answer.poll(cx);
        SEEN.set(if polled.is_pending() { Seen::Ours } else { Seen::Taken });
        polled
    }
}

pin_project! {
    /// The body of a response, which tells whether it is waited for. Its pieces wait for the connection's turn, and hold no
    /// buffer meanwhile: with 100 streams whose client takes nothing that would be 7 MB.
    pub(super) struct Told<B> {
        #[pin]
        pub(super) body: B,
    }
}

impl<B: Body<Data = Bytes>> Body for Told<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let polled = self.project().body.poll_frame(cx);
        SEEN.set(if polled.is_pending() { Seen::Ours } else { Seen::Taken });
        polled.map_ok(|frame| frame.map_data(buffers::own))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
