//! The demo's service: answers with what reached it. It knows nothing of tokens.
//!
//! `/events` is a stream of server-sent events; a WebSocket handshake on any path gets a greeting that names the
//! customer, and then every message back; everything else gets the request as JSON.

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::body::{Body, Frame, Incoming};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Interval, interval};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

/// How many events `/events` sends.
pub(super) const EVENTS: usize = 5;
const PACE: Duration = Duration::from_millis(200);
const BODY_LIMIT: usize = 64 << 10;

/// The answer to one request.
pub(super) async fn answer(request: Request<Incoming>) -> Response<Either<Full<Bytes>, Events>> {
    if let Some(key) = handshake(&request) {
        return tunnel(request, &key).map(Either::Left);
    }
    if request.uri().path() == "/events" {
        return typed("text/event-stream", Either::Right(Events { sent: 0, pace: interval(PACE) }));
    }
    let text = format!("{:#}\n", mirror(request).await);
    typed("application/json", Either::Left(Full::from(text)))
}

fn typed<B>(kind: &'static str, body: B) -> Response<B> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

async fn mirror(request: Request<Incoming>) -> Value {
    let (head, body) = request.into_parts();
    let mut headers = Map::new();
    for name in head.headers.keys() {
        let values = head.headers.get_all(name).iter();
        let texts: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        headers.insert(name.to_string(), texts.join(", ").into());
    }
    let body = match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(whole) => String::from_utf8_lossy(&whole.to_bytes()).into_owned(),
        Err(error) => format!("({error})"),
    };
    json!({
        "method": head.method.as_str(),
        "path": head.uri.path(),
        "query": head.uri.query(),
        "headers": headers,
        "body": body,
    })
}

/// Server-sent events, one at a time.
pub(super) struct Events {
    sent: usize,
    pace: Interval,
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.sent >= EVENTS {
            return Poll::Ready(None);
        }
        ready!(self.pace.poll_tick(context));
        self.sent = self.sent.saturating_add(1);
        let event = format!("id: {0}\ndata: {{\"event\": {0}, \"of\": {EVENTS}}}\n\n", self.sent);
        Poll::Ready(Some(Ok(Frame::data(event.into()))))
    }
}

/// The key of a WebSocket handshake (RFC 6455 §4.2.1), if the request is one.
fn handshake(request: &Request<Incoming>) -> Option<HeaderValue> {
    let headers = request.headers();
    let upgrades = headers.get(header::UPGRADE)?.as_bytes().eq_ignore_ascii_case(b"websocket");
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?.clone();
    (upgrades && request.version() == Version::HTTP_11).then_some(key)
}

fn tunnel(mut request: Request<Incoming>, key: &HeaderValue) -> Response<Full<Bytes>> {
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()));
    let greeting = greeting(request.headers());
    let upgrade = hyper::upgrade::on(&mut request);
    drop(tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            converse(TokioIo::new(upgraded), greeting).await;
        }
    }));
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(accept) = accept {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

fn greeting(headers: &HeaderMap) -> String {
    let customer = headers.get("x-customer-id").map(|value| String::from_utf8_lossy(value.as_bytes()));
    format!("welcome, {}", customer.unwrap_or("whoever you are".into()))
}

async fn converse(stream: TokioIo<hyper::upgrade::Upgraded>, greeting: String) {
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
    let mut answer = Some(Message::from(greeting));
    loop {
        if let Some(message) = answer.take()
            && socket.send(message).await.is_err()
        {
            return;
        }
        match socket.next().await {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => answer = Some(message),
            // Pings and closes are answered underneath; a closed socket ends the stream.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_))) => {}
            Some(Err(_)) | None => return,
        }
    }
}
