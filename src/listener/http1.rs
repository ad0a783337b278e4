//! HTTP/1.1 towards a client: one request after the other, each answered before the next is read.
//!
//! Between requests a connection is parked: it holds no buffer and nothing of a request, only its socket and a timer.

mod answer;
mod watch;

use super::context::Context;
use crate::denial::{Denial, Reason};
use crate::gateway::{End, Opening};
use crate::proxy::forward::ServiceEnd;
use crate::proxy::frames::{CloseCode, close_frame};
use crate::proxy::tunnel::Tunnel;
use crate::stream::Stream;
use crate::wire::head::Limits;
use crate::wire::inbound::Inbound;
use crate::wire::request::{HeadReader, RequestHead};
use answer::answer;
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use watch::Watch;

/// How long a closing connection may go on talking, so that our last answer is not lost to a reset.
const LINGER: Duration = Duration::from_secs(1);

/// How long a connection may take for what.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From the first byte of a head to its last.
    pub head: Duration,
    /// Without a request.
    pub idle: Duration,
    /// Without taking any of the response that we have for it.
    pub write: Duration,
}

/// Bounds of an HTTP/1.1 connection.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Bounds of a head.
    pub limits: Limits,
    /// Time-outs.
    pub timeouts: Timeouts,
}

/// How a conversation goes on, or ends.
#[derive(Debug)]
enum Next {
    /// The client has said nothing more: the connection is parked.
    Park,
    /// The next request is there, or a part of it.
    Request,
    /// The connection ends, and the client knows.
    Close,
    /// The connection ends, and the client may still be talking.
    Linger,
    /// The client went away.
    Gone,
    /// The next head must be refused.
    Refuse(Reason),
    /// A handshake has opened a tunnel.
    Tunnel(Box<Opening>),
}

/// Serves a client until it has no more requests, becomes a tunnel, or must be refused.
pub async fn serve(inbound: Inbound, context: Rc<Context>, settings: Settings) {
    let mut watch = Watch::new(settings.timeouts.idle);
    let mut heads = HeadReader::new(settings.limits);
    let shared = Rc::new(RefCell::new(inbound));
    let mut next = Next::Request;
    loop {
        next = match next {
            Next::Park => park(&shared, &context, &mut watch, settings.timeouts.idle).await,
            // In a box, so that a parked connection does not carry along what only a request needs.
            Next::Request => Box::pin(converse(&shared, &mut heads, &context, &mut watch, settings)).await,
            Next::Close | Next::Linger | Next::Gone | Next::Refuse(_) | Next::Tunnel(_) => break,
        }
    }
    drop(watch);
    shared.borrow_mut().end_turn();
    let Some(inbound) = Rc::into_inner(shared) else { return };
    match next {
        Next::Tunnel(opening) => Box::pin(tunnel(inbound.into_inner(), opening, context)).await,
        next @ (Next::Park | Next::Request | Next::Close | Next::Linger | Next::Gone | Next::Refuse(_)) => {
            Box::pin(finish(next, inbound.into_inner(), context)).await;
        }
    }
}

/// Waits for the client to say something.
async fn park(shared: &RefCell<Inbound>, context: &Context, watch: &mut Watch, idle: Duration) -> Next {
    watch.begin_lately(idle);
    let mut draining = pin!(context.drain.begun());
    poll_fn(|cx| {
        match shared.borrow_mut().poll_fill(cx) {
            Poll::Ready(Ok(1..)) => return Poll::Ready(Next::Request),
            Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Next::Gone),
            Poll::Pending => {}
        }
        if context.drain.has_begun() || draining.as_mut().poll(cx).is_ready() {
            // A request that is already on its way to us is still answered.
            watch.hurry(context.drain.patience());
        }
        watch.poll(cx).map(|()| Next::Close)
    })
    .await
}

/// Answers requests as long as there are any.
async fn converse(
    shared: &Rc<RefCell<Inbound>>,
    heads: &mut HeadReader,
    context: &Context,
    watch: &mut Watch,
    settings: Settings,
) -> Next {
    loop {
        let head = match head(shared, heads, watch, settings.timeouts.head).await {
            Ok(head) => head,
            Err(next) => return next,
        };
        match answer(shared, head, context, watch, settings).await {
            Next::Request => {}
            next @ (Next::Park
            | Next::Close
            | Next::Linger
            | Next::Gone
            | Next::Refuse(_)
            | Next::Tunnel(_)) => return next,
        }
        let mut inbound = shared.borrow_mut();
        if inbound.unread.is_empty() {
            inbound.rest();
            return Next::Park;
        }
    }
}

/// Waits for the rest of a head.
async fn head(
    shared: &RefCell<Inbound>,
    heads: &mut HeadReader,
    watch: &mut Watch,
    most: Duration,
) -> Result<RequestHead, Next> {
    let mut waiting = false;
    poll_fn(|cx| {
        let mut inbound = shared.borrow_mut();
        loop {
            match heads.read(&mut inbound.unread) {
                Ok(Some(head)) => return Poll::Ready(Ok(head)),
                Ok(None) if inbound.unread.is_empty() => return Poll::Ready(Err(Next::Park)),
                Ok(None) => {}
                Err(reason) => return Poll::Ready(Err(Next::Refuse(reason))),
            }
            match inbound.poll_fill(cx) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Next::Gone)),
                Poll::Pending => break,
            }
        }
        if !std::mem::replace(&mut waiting, true) {
            watch.begin(most);
        }
        watch.poll(cx).map(|()| Err(Next::Refuse(Reason::HeadTimeout)))
    })
    .await
}

/// Ends a connection as it wants to be ended.
async fn finish(next: Next, inbound: Inbound, context: Rc<Context>) {
    let Inbound { mut stream, unread, .. } = inbound;
    match next {
        Next::Refuse(reason) => refuse(stream, reason, &context).await,
        Next::Linger => linger(stream).await,
        Next::Close if !unread.is_empty() => linger(stream).await,
        // A client that went away in this moment has all it will get.
        Next::Close => drop(timeout(LINGER, stream.shutdown()).await),
        Next::Park | Next::Request | Next::Gone | Next::Tunnel(_) => {}
    }
}

/// Answers what cannot be made a request, and closes.
pub async fn refuse(mut stream: Stream, reason: Reason, context: &Context) {
    let answer = context.gateway.refuse_head(&context.via, &Denial::new(reason));
    // A client that does not listen gets no answer.
    if matches!(timeout(LINGER, stream.write_all(&answer)).await, Ok(Ok(()))) {
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

/// Tells a client whose handshake was refused behind its back why there is no tunnel.
pub async fn close(mut stream: Stream, code: CloseCode, reason: &str) {
    let told = async {
        stream.write_all(&close_frame(code, reason, None)).await?;
        stream.flush().await
    };
    // A client that does not listen is not told.
    if matches!(timeout(LINGER, told).await, Ok(Ok(()))) {
        linger(stream).await;
    }
}

/// Runs a tunnel that a handshake has opened.
async fn tunnel(inbound: Inbound, opening: Box<Opening>, context: Rc<Context>) {
    let Opening { end, mut record } = *opening;
    let (service, lease) = match end {
        End::Service(service, lease) => (service, lease),
        End::Nowhere(code, reason) => {
            drop(record);
            return close(inbound.stream, code, &reason).await;
        }
    };
    let ServiceEnd { stream, early, permit } = *service;
    let tunnel = Tunnel::new((inbound.stream, inbound.unread), (stream, early));
    let tally = &context.gateway.recorder().tally;
    tally.tunnels.increment();
    let bytes = tunnel.run(lease, context.drain.tunnels_ended()).await;
    tally.tunnels.decrement();
    record.sent(bytes);
    drop(permit);
}
