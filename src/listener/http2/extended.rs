//! WebSockets over HTTP/2 (RFC 8441): a CONNECT with `:protocol = websocket` is judged as the GET handshake that it stands for,
//! and becomes a stream of the connection that carries frames to an HTTP/1.1 service.
//!
//! The client sends no key and gets no accept: the key is ours, and the service's 101 must accept it as any other.

use crate::gateway::{End, Opening};
use crate::listener::context::Context;
use crate::listener::http1::close;
use crate::proxy::forward::ServiceEnd;
use crate::proxy::response_body::{InFlight, ResponseBody};
use crate::proxy::tunnel::Tunnel;
use crate::proxy::websocket::Extended;
use crate::stream::Stream;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use http::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::upgrade::{OnUpgrade, on};
use hyper_util::rt::TokioIo;
use std::rc::Rc;
use tokio::task::spawn_local;

/// Makes the handshake of a request that asks for a WebSocket; every other request stays as it is.
pub(super) fn handshake(request: &mut Request<Incoming>) -> Option<OnUpgrade> {
    let protocol = request.extensions().get::<Protocol>()?;
    // Any other protocol stays a CONNECT, which is refused.
    if *request.method() != Method::CONNECT || protocol.as_str() != "websocket" {
        return None;
    }
    let mut key = [0; 16];
    aws_lc_rs::rand::fill(&mut key).ok()?;
    let key = HeaderValue::from_str(&STANDARD.encode(key)).ok()?;
    let upgrade = on(&mut *request);
    request.extensions_mut().insert(Extended);
    *request.method_mut() = Method::GET;
    let headers = request.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_KEY, key);
    Some(upgrade)
}

/// Makes a 101 the 200 that opens the stream, and runs the tunnel once it is sent.
pub(super) fn open(
    response: &mut Response<ResponseBody>,
    opening: Box<Opening>,
    upgrade: OnUpgrade,
    (context, in_flight): (&Rc<Context>, InFlight),
) {
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    for name in [UPGRADE, CONNECTION, SEC_WEBSOCKET_ACCEPT] {
        headers.remove(name);
    }
    let context = Rc::clone(context);
    drop(spawn_local(async move {
        // A client that went away in this moment has no stream; the service's end is closed.
        if let Ok(upgraded) = upgrade.await {
            let stream = Stream::Multiplexed(Box::new(TokioIo::new(upgraded)));
            tunnel(stream, opening, &context).await;
        }
        drop(in_flight);
    }));
}

async fn tunnel(stream: Stream, opening: Box<Opening>, context: &Context) {
    let Opening { end, mut record } = *opening;
    let (service, lease) = match end {
        End::Service(service, lease) => (service, lease),
        End::Nowhere(code, reason) => return close(stream, code, &reason).await,
    };
    record.status(StatusCode::OK);
    let ServiceEnd { stream: to_service, early, permit } = *service;
    let tunnel = Tunnel::new((stream, BytesMut::new()), (to_service, early));
    let tally = &context.gateway.recorder().tally;
    tally.tunnels.increment();
    let multiplexed = context.multiplex();
    let bytes = tunnel.run(lease, context.drain.tunnels_ended()).await;
    drop(multiplexed);
    tally.tunnels.decrement();
    record.sent(bytes);
    drop(permit);
}
