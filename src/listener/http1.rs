//! HTTP/1.1 towards a client: hyper speaks it, the inspector guards it, and the timers are ours.

use super::context::Context;
use super::inspect::{Limits, Phase};
use super::inspected::{Conversation, Inspected};
use crate::clock::after;
use crate::denial::{Denial, Reason};
use crate::gateway::Opening;
use crate::proxy::tunnel::Tunnel;
use crate::stream::Stream;
use http::StatusCode;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

/// The fields that hyper parses without an allocation.
const INLINE_FIELDS: u16 = 100;

/// How long a closing connection may go on talking, so that our last answer is not lost to a reset.
const LINGER: Duration = Duration::from_secs(1);

/// How long a connection may take for what.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From the first byte of a head to its last.
    pub head: Duration,
    /// Without a request.
    pub idle: Duration,
}

/// Bounds of an HTTP/1.1 connection.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Bounds of a head.
    pub limits: Limits,
    /// Time-outs.
    pub timeouts: Timeouts,
}

/// How hyper's part of a connection ended.
enum End {
    /// By itself: closed, or upgraded.
    Finished,
    /// The next head must be refused.
    Refused(Reason),
    /// Nobody has said anything for too long.
    Idle,
}

/// Serves a client until it has no more requests, becomes a tunnel, or must be refused.
pub async fn serve(stream: Stream, first: Vec<u8>, context: Rc<Context>, settings: Settings) {
    let conversation = Conversation::new(stream, first, settings.limits);
    // In a box, so that a tunnel does not carry along what only the conversation needed.
    let end = Box::pin(converse(&conversation, &context, settings)).await;
    let unread = conversation.phase() == Phase::Body;
    let Some(conversation) = Rc::into_inner(conversation) else { return };
    let (stream, rest) = conversation.into_parts();
    let opening = context.via.opening.take();
    match (end, opening) {
        (End::Finished, Some(opening)) => tunnel(stream, &rest, *opening, &context).await,
        (End::Finished, None) | (End::Idle, _) if unread => linger(stream).await,
        (End::Finished | End::Idle, _) => {}
        (End::Refused(reason), _) => refuse(stream, reason, &context).await,
    }
}

async fn converse(conversation: &Rc<Conversation>, context: &Rc<Context>, settings: Settings) -> End {
    let mut builder = Builder::new();
    builder
        .header_read_timeout(None)
        .max_header_size(settings.limits.header_bytes)
        .max_buf_size(settings.limits.header_bytes.saturating_add(64 << 10));
    if settings.limits.headers > usize::from(INLINE_FIELDS) {
        builder.max_headers(settings.limits.headers);
    }
    let service = service_fn(|request| {
        let (conversation, context) = (Rc::clone(conversation), Rc::clone(context));
        async move {
            let number = conversation.begin();
            let in_flight = context.request();
            let mut response = context.gateway.handle(&context.via, request).await;
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                conversation.answered(number);
            }
            response.body_mut().hold(in_flight);
            Ok::<_, Infallible>(response)
        }
    });
    let mut connection = pin!(builder.serve_connection(Inspected(Rc::clone(conversation)), service));
    let mut draining = pin!(context.drain.begun());
    let mut patience = pin!(context.drain.patience());
    let mut watch = pin!(Watch::new(settings.timeouts));
    let (mut begun, mut told) = (false, false);
    poll_fn(|cx| {
        // An error here is a client that went away; its request has been recorded.
        if connection.as_mut().poll(cx).is_ready() {
            return Poll::Ready(End::Finished);
        }
        let quiet = context.is_quiet();
        begun = begun || draining.as_mut().poll(cx).is_ready();
        if begun && !told {
            // A request that is already on its way to us is still answered.
            let busy = !quiet || conversation.phase() != Phase::Idle;
            if busy || patience.as_mut().poll(cx).is_ready() {
                told = true;
                connection.as_mut().graceful_shutdown();
                cx.waker().wake_by_ref();
            }
        }
        if let Some(reason) = conversation.refusal().filter(|_| quiet) {
            return Poll::Ready(End::Refused(reason));
        }
        watch.as_mut().poll(cx, if quiet { Some(conversation.phase()) } else { None })
    })
    .await
}

/// The timer of a connection: one, and it is moved only when it fires or a head stays unfinished.
#[derive(Debug)]
struct Watch {
    timeouts: Timeouts,
    phase: Option<Phase>,
    since: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Watch {
    fn new(timeouts: Timeouts) -> Self {
        let now = Instant::now();
        Self { timeouts, phase: None, since: now, sleep: Box::pin(sleep_until(after(now, timeouts.head))) }
    }

    /// Notes what the connection is in the middle of, none while a request is served; ready when that took too long.
    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>, phase: Option<Phase>) -> Poll<End> {
        if phase != self.phase {
            self.phase = phase;
            self.since = Instant::now();
        }
        let deadline = match phase {
            // A body that nobody waits for any more, since the answer is out, is no reason to stay.
            Some(Phase::Head | Phase::Body) => Some(after(self.since, self.timeouts.head)),
            Some(Phase::Idle) => Some(after(self.since, self.timeouts.idle)),
            Some(Phase::Upgrade | Phase::Raw | Phase::Last) | None => None,
        };
        if matches!(phase, Some(Phase::Head | Phase::Body))
            && deadline.is_some_and(|deadline| deadline < self.sleep.deadline())
        {
            let deadline = deadline.unwrap_or(self.since);
            self.sleep.as_mut().reset(deadline);
        }
        while self.sleep.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            match deadline {
                Some(passed) if passed <= now => {
                    let slow = phase == Some(Phase::Head);
                    return Poll::Ready(if slow { End::Refused(Reason::HeadTimeout) } else { End::Idle });
                }
                Some(deadline) => self.sleep.as_mut().reset(deadline),
                None => {
                    let next = after(now, self.timeouts.idle.min(self.timeouts.head));
                    self.sleep.as_mut().reset(next);
                }
            }
        }
        Poll::Pending
    }
}

/// Answers what cannot be made a request, and closes.
pub async fn refuse(mut stream: Stream, reason: Reason, context: &Context) {
    let answer = context.gateway.refuse_head(&context.via, &Denial::new(reason));
    // A client that does not listen gets no answer.
    if stream.write_all(&answer).await.is_ok() {
        linger(stream).await;
    }
}

/// Closes our side, and lets the client finish: unread bytes would turn the close into a reset, and the reset
/// would take our answer with it (RFC 9112 §9.6).
async fn linger(mut stream: Stream) {
    drop(timeout(LINGER, discard(&mut stream)).await);
}

async fn discard(stream: &mut Stream) -> io::Result<()> {
    stream.shutdown().await?;
    let mut discarded = vec![0; 8 << 10];
    while stream.read(&mut discarded).await? > 0 {}
    Ok(())
}

/// Runs a tunnel that a handshake has opened.
async fn tunnel(client: Stream, early: &[u8], opening: Opening, context: &Context) {
    let tunnel = Tunnel::new(client, opening.service.stream, &opening.service.early);
    let tally = &context.gateway.recorder().tally;
    tally.tunnels.increment();
    let bytes = tunnel.run(early, opening.until, context.drain.tunnels_ended()).await;
    tally.tunnels.decrement();
    let mut record = opening.record;
    record.sent(bytes);
}
