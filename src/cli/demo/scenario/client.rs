//! Sends one request, byte for byte the path that was asked for, and collects what comes back and when.

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, Message, protocol::Role};

const PATIENCE: Duration = Duration::from_secs(10);

/// What came back, piece by piece, each with the time since the request was sent.
pub(super) type Pieces = Vec<(Duration, String)>;

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("cannot connect: {0}")]
    Connect(#[from] std::io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("{0}")]
    WebSocket(#[from] tungstenite::Error),
    #[error("nothing for {PATIENCE:?}")]
    Slow(#[from] tokio::time::error::Elapsed),
}

/// Sends `request` to `address`. Pieces are the parts of the body as they arrive; in a WebSocket they are messages:
/// one is awaited, `word` is said, another is awaited.
pub(super) async fn exchange(
    address: SocketAddr,
    request: Request<Full<Bytes>>,
    word: &str,
) -> Result<Response<Pieces>, ClientError> {
    tokio::time::timeout(PATIENCE, attempt(address, request, word)).await?
}

async fn attempt(
    address: SocketAddr,
    request: Request<Full<Bytes>>,
    word: &str,
) -> Result<Response<Pieces>, ClientError> {
    let stream = TokioIo::new(TcpStream::connect(address).await?);
    let (mut sender, connection) = http1::handshake(stream).await?;
    // Ends with the exchange: nothing else holds the connection open.
    drop(tokio::spawn(connection.with_upgrades()));
    let start = Instant::now();
    let mut response = sender.send_request(request).await?;
    let pieces = if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let upgraded = hyper::upgrade::on(&mut response).await?;
        converse(TokioIo::new(upgraded), word, start).await?
    } else {
        collect(response.body_mut(), start).await?
    };
    Ok(response.map(|_| pieces))
}

async fn collect(body: &mut Incoming, start: Instant) -> Result<Pieces, ClientError> {
    let mut pieces = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            pieces.push((start.elapsed(), String::from_utf8_lossy(&data).into_owned()));
        }
    }
    Ok(pieces)
}

async fn converse(
    stream: TokioIo<hyper::upgrade::Upgraded>,
    word: &str,
    start: Instant,
) -> Result<Pieces, ClientError> {
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
    let mut pieces = Vec::new();
    let mut words = [Message::from(word), Message::Close(None)].into_iter();
    while let Some(message) = socket.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            pieces.push((start.elapsed(), message.into_text()?.to_string()));
            if let Some(next) = words.next() {
                socket.send(next).await?;
            }
        }
    }
    Ok(pieces)
}
