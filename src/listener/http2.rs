//! HTTP/2 towards a client.

mod extended;
mod streams;

use super::context::Context;
use super::http1::Settings;
use crate::clock::after;
use crate::proxy::request_body::ClientBody;
use crate::proxy::response_body::ResponseBody;
use crate::stream::Stream;
use crate::wire::buffers;
use crate::wire::inbound::Inbound;
use bytes::{Buf, BytesMut};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::rt::ReadBufCursor;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use streams::{Making, Streams, Told};
use tokio::time::{Instant, sleep_until};

/// How often a silent client is asked whether it is still there, and how long it may take to answer.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));

/// What may wait in one stream for its client to take it, in bytes, so that a client which takes nothing of many responses
/// does not fill the memory: this, times `streams`, for each connection.
const SEND_BUFFER: usize = 64 << 10;

/// How many streams a client may reset before we have begun with them; then the connection is closed (CVE-2023-44487).
const MOST_RESETS: usize = 20;

/// How many streams may be reset because the client broke the protocol; then the connection is closed (CVE-2025-8671).
const MOST_ERRORS: usize = 64;

/// How long a client that was told to go may take to do so.
const FAREWELL: Duration = Duration::from_secs(3);

/// Serves a client until it has no more requests.
pub async fn serve(inbound: Inbound, context: Rc<Context>, settings: Settings, streams: u32) {
    let Inbound { stream, unread: first, .. } = inbound;
    let service = service_fn(|request: Request<Incoming>| {
        let context = Rc::clone(&context);
        async move { Ok::<_, Infallible>(answer(&context, request).await) }
    });
    let mut connection = pin!(
        Builder::new(Streams(settings.timeouts.write))
            .timer(TokioTimer::new())
            .keep_alive_interval(PING.0)
            .keep_alive_timeout(PING.1)
            .max_concurrent_streams(streams)
            .max_send_buf_size(SEND_BUFFER)
            .max_pending_accept_reset_streams(MOST_RESETS)
            .max_local_error_reset_streams(MOST_ERRORS)
            .enable_connect_protocol()
            .max_header_list_size(header_list(settings.limits.header_bytes))
            .serve_connection(Replayed { first, stream: TokioIo::new(stream) }, service)
    );
    let mut draining = pin!(context.drain.begun());
    let idle = settings.timeouts.idle;
    let mut timer = pin!(sleep_until(Instant::now()));
    let mut quiet_since = None;
    let mut told = false;
    poll_fn(|cx| {
        if !told && draining.as_mut().poll(cx).is_ready() {
            told = true;
            connection.as_mut().graceful_shutdown();
            timer.as_mut().reset(Instant::now());
        }
        // An error here is a client that went away or broke the protocol; h2 has told it so.
        if connection.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        quiet_since = if context.is_quiet() { quiet_since.or_else(|| Some(Instant::now())) } else { None };
        while timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let patience = if told { FAREWELL } else { idle };
            let deadline = after(quiet_since.unwrap_or(now), patience);
            if deadline > now {
                timer.as_mut().reset(deadline);
            } else if told {
                // It was told to go, and neither asks for anything nor goes.
                return Poll::Ready(());
            } else {
                told = true;
                connection.as_mut().graceful_shutdown();
                timer.as_mut().reset(after(now, FAREWELL));
            }
        }
        Poll::Pending
    })
    .await;
}

/// What h2 refuses by itself, without a record: twice what the gate does, which answers as it answers everybody.
fn header_list(limit: usize) -> u32 {
    u32::try_from(limit.saturating_mul(2)).unwrap_or(u32::MAX)
}

/// Answers one stream.
async fn answer(context: &Rc<Context>, mut request: Request<Incoming>) -> Response<Told<ResponseBody>> {
    let in_flight = context.request();
    let upgrade = extended::handshake(&mut request);
    let answer = context.gateway.handle(&context.via, request.map(ClientBody::Http2));
    let mut response = Making { answer }.await;
    // What was opened is taken before any other stream of the connection has its turn.
    if let (Some(upgrade), Some(opening)) = (upgrade, context.via.opening.take()) {
        extended::open(&mut response, opening, upgrade, (context, in_flight));
    } else {
        response.body_mut().hold(in_flight);
        response.body_mut().leave_upload();
    }
    buffers::own_fields(response.headers_mut());
    response.map(|body| Told { body })
}

/// A stream of which the first bytes were already read.
#[derive(Debug)]
struct Replayed {
    first: BytesMut,
    stream: TokioIo<Stream>,
}

impl hyper::rt::Read for Replayed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let count = self.first.len().min(buffer.remaining());
        buffer.put_slice(self.first.get(..count).unwrap_or_default());
        self.first.advance(count);
        if self.first.is_empty() {
            self.first = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Replayed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }
}
