//! One request from its head to the last byte of its response.

use super::watch::Watch;
use super::{Next, Settings};
use crate::clock::lately;
use crate::gateway::Opening;
use crate::listener::context;
use crate::proxy::request_body::ClientBody;
use crate::proxy::response_body::ResponseBody;
use crate::wire::body::{Decoder, Framing};
use crate::wire::buffers;
use crate::wire::encode::{self, Connection, Sending};
use crate::wire::inbound::{Inbound, Turn};
use crate::wire::outbound::Outbound;
use crate::wire::request::{After, RequestHead};
use http::header::CONNECTION;
use http::response::Parts;
use http::{Method, Response, StatusCode, Version};
use http_body::Body as _;
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// What the head of a request means for its answer.
#[derive(Clone, Copy, Debug)]
struct Asked {
    head_only: bool,
    version: Version,
    after: After,
}

/// Hands a request over and answers it.
///
/// No `async fn`, which would have room for the head twice.
pub(super) fn answer(
    shared: &Rc<RefCell<Inbound>>,
    head: RequestHead,
    context: &context::Context,
    watch: &mut Watch,
    settings: Settings,
) -> impl Future<Output = Next> {
    let RequestHead { request, framing, after, expects } = head;
    let asked = Asked { head_only: *request.method() == Method::HEAD, version: request.version(), after };
    let body = if framing == Framing::Empty {
        ClientBody::Empty
    } else {
        shared.borrow_mut().begin_body(Decoder::request(framing, settings.limits), expects);
        ClientBody::Http1(Turn::new(shared))
    };
    let request = request.map(|()| body);
    async move {
        let response = {
            let mut handled = pin!(context.gateway.handle(&context.via, request));
            poll_fn(|cx| match handled.as_mut().poll(cx) {
                Poll::Ready(response) => Poll::Ready(Some(response)),
                Poll::Pending => poll_gone(shared, cx).map(|()| None),
            })
            .await
        };
        let Some(response) = response else { return Next::Gone };
        let opening = context.via.opening.take();
        let pressing = Pressing { watch, most: settings.timeouts.write, taken: None, over: false };
        respond(shared, response, asked, (context, opening), pressing).await
    }
}

/// Ready when the client goes away; what it says meanwhile is kept, up to a buffer full. While its body is on its way,
/// whoever reads the body finds out.
fn poll_gone(shared: &RefCell<Inbound>, cx: &mut Context<'_>) -> Poll<()> {
    let mut inbound = shared.borrow_mut();
    if !inbound.body.has_ended() {
        inbound.watch(cx);
    }
    while inbound.body.has_ended() && inbound.unread.len() < buffers::SIZE {
        match ready!(inbound.poll_fill(cx)) {
            Ok(1..) => {}
            Ok(0) | Err(_) => return Poll::Ready(()),
        }
    }
    Poll::Pending
}

/// Writes the answer; its head before there is a future, which need not have room for it then.
fn respond(
    shared: &RefCell<Inbound>,
    response: Response<ResponseBody>,
    asked: Asked,
    (context, opening): (&context::Context, Option<Box<Opening>>),
    pressing: Pressing<'_>,
) -> impl Future<Output = Next> {
    let (mut parts, body) = response.into_parts();
    let sending = sending(&parts, &body, asked);
    // Only what we say ourselves has this field here; a service's was taken off.
    let told = parts.headers.remove(CONNECTION).is_some() && opening.is_none();
    // A service that has answered may still want the rest of the request.
    let skipped = body.is_on_its_way() || skip_body(shared);
    let asked_to = asked.after == After::Close;
    let closes = told || asked_to || !skipped || sending == Sending::Close || context.drain.has_begun();
    let connection = match asked.after {
        _ if opening.is_some() => Connection::Upgrade,
        _ if closes => Connection::Close,
        After::StayAsAsked => Connection::KeepAlive,
        After::Stay | After::Close => Connection::Silent,
    };
    let (_, now) = lately();
    let mut out = Outbound::default();
    let owed = shared.borrow_mut().answer();
    out.begin(sending, |bytes| {
        bytes.extend_from_slice(owed);
        encode::response_head(bytes, parts.status, &parts.headers, sending, (connection, now));
    });
    buffers::spent(parts.headers);
    let bodiless = matches!(sending, Sending::Nothing | Sending::Described);
    let mut writing = Writing { out, body: Some(body).filter(|_| !bodiless), whole: true, pressing };
    async move {
        let whole = poll_fn(|cx| writing.poll(cx, shared)).await;
        if !whole && (sending == Sending::Close || writing.pressing.over) {
            shared.borrow().stream.reset_on_close();
        }
        match opening {
            _ if !whole => Next::Gone,
            Some(opening) => Next::Tunnel(opening),
            // The client may be at it still, after an early answer.
            None if !skip_body(shared) => Next::Linger,
            None if asked_to => Next::Close,
            // Nor can it know yet that nothing more is answered.
            None if closes => Next::Linger,
            None => Next::Request,
        }
    }
}

/// How the client is told where the body ends.
fn sending(parts: &Parts, body: &ResponseBody, asked: Asked) -> Sending {
    let bodiless = parts.status.is_informational() || parts.status == StatusCode::NO_CONTENT;
    if bodiless {
        return Sending::Nothing;
    }
    if asked.head_only || parts.status == StatusCode::NOT_MODIFIED {
        return Sending::Described;
    }
    match body.size_hint().exact() {
        Some(length) => Sending::Length(length),
        None if asked.version == Version::HTTP_11 => Sending::Chunked,
        None => Sending::Close,
    }
}

/// Skips what has come of a request body that nobody is to read any more; whether that was all of it.
fn skip_body(shared: &RefCell<Inbound>) -> bool {
    let mut inbound = shared.borrow_mut();
    inbound.end_turn();
    let Inbound { body, unread, .. } = &mut *inbound;
    while !body.has_ended() {
        match body.next(unread) {
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return body.has_ended(),
        }
    }
    true
}

/// How long the client may take nothing of what is there for it.
struct Pressing<'a> {
    watch: &'a mut Watch,
    most: Duration,
    /// How much it had taken when it last stopped to.
    taken: Option<u64>,
    over: bool,
}

impl Pressing<'_> {
    /// The client does not take more than this. Ready when that has been so for too long.
    fn poll(&mut self, cx: &mut Context<'_>, taken: u64) -> Poll<()> {
        if self.taken != Some(taken) {
            self.taken = Some(taken);
            self.watch.begin_lately(self.most);
        }
        self.watch.poll(cx).map(|()| self.over = true)
    }
}

/// A response on its way out.
struct Writing<'a> {
    out: Outbound,
    body: Option<ResponseBody>,
    /// Whether the body has not broken off. If it has, the client must not take what it gets for the whole: the
    /// connection has to break off as well, behind what has come.
    whole: bool,
    pressing: Pressing<'a>,
}

impl Writing<'_> {
    /// Writes the response as its body comes; whether the client has got all of it.
    fn poll(&mut self, cx: &mut Context<'_>, shared: &RefCell<Inbound>) -> Poll<bool> {
        loop {
            let waits = self.gather(cx);
            let flushed = self.out.poll_flush(cx, &mut shared.borrow_mut().stream);
            if let (Poll::Pending, Some(body)) = (&flushed, &mut self.body) {
                // A client may want to send all it has before it reads.
                body.poll_upload(cx);
            }
            if flushed.is_pending() {
                return self.pressing.poll(cx, self.out.taken()).map(|()| false);
            }
            if ready!(flushed).is_err() {
                return Poll::Ready(false);
            }
            if self.body.is_none() {
                return Poll::Ready(self.whole);
            }
            if waits {
                return poll_gone(shared, cx).map(|()| false);
            }
        }
    }

    /// Takes what has come of the body; whether more is to be waited for.
    fn gather(&mut self, cx: &mut Context<'_>) -> bool {
        while let Some(body) = self.body.as_mut().filter(|_| self.out.has_room()) {
            let taken = match Pin::new(body).poll_frame(cx) {
                Poll::Pending => return true,
                Poll::Ready(Some(frame)) => frame.is_ok_and(|frame| self.out.push(frame).is_ok()),
                Poll::Ready(None) => {
                    self.body = None;
                    self.out.end().is_ok()
                }
            };
            if !taken {
                (self.body, self.whole) = (None, false);
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::{Asked, sending};
    use crate::proxy::response_body::ResponseBody;
    use crate::wire::encode::Sending;
    use crate::wire::request::After;
    use bytes::Bytes;
    use http::{Response, Version};

    #[test]
    fn the_end_of_a_body_is_told_as_the_client_understands_it() {
        let told = |status: u16, body: &'static str, head_only, version| {
            let body = ResponseBody::own(Bytes::from_static(body.as_bytes()));
            let (parts, body) = Response::builder().status(status).body(body).unwrap().into_parts();
            sending(&parts, &body, Asked { head_only, version, after: After::Stay })
        };
        let (old, new) = (Version::HTTP_10, Version::HTTP_11);
        assert_eq!(told(200, "abc", false, new), Sending::Length(3));
        assert_eq!(told(200, "", false, old), Sending::Length(0));
        assert_eq!(told(200, "abc", true, new), Sending::Described);
        assert_eq!(told(304, "", false, new), Sending::Described);
        assert_eq!(told(204, "abc", false, new), Sending::Nothing);
        assert_eq!(told(101, "", false, new), Sending::Nothing);
    }
}
