//! HTTP/2 with prior knowledge, or by ALPN: a client in front of the gate and a recording service behind it.

use super::certificates::Certificates;
use super::wait;
use super::wire::Headers;
use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// A body of ready-made frames.
#[derive(Debug, Default)]
pub struct Frames(VecDeque<Frame<Bytes>>);

impl Frames {
    /// These bytes, then these trailers.
    pub fn new(data: &[&[u8]], trailers: &[(&str, &str)]) -> Self {
        let mut frames: VecDeque<_> =
            data.iter().map(|piece| Frame::data(Bytes::copy_from_slice(piece))).collect();
        if !trailers.is_empty() {
            let mut map = http::HeaderMap::new();
            for (name, value) in trailers {
                map.append(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
            }
            frames.push_back(Frame::trailers(map));
        }
        Self(frames)
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

/// What came over a stream, in either direction.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// Requests only.
    pub method: String,
    /// Requests only: the whole URI, with `:authority` where there was one.
    pub uri: String,
    /// Responses only.
    pub status: u16,
    pub headers: Headers,
    pub body: Vec<u8>,
    pub trailers: Headers,
}

impl Message {
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.one(name)
    }
}

fn fields(map: &http::HeaderMap) -> Headers {
    let text = |value: &http::HeaderValue| super::wire::latin1(value.as_bytes());
    Headers(map.iter().map(|(name, value)| (name.to_string(), text(value))).collect())
}

async fn read(message: &mut Message, mut body: Incoming) -> Result<(), hyper::Error> {
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => message.body.extend_from_slice(&data),
            Err(other) => message.trailers = fields(&other.into_trailers().unwrap_or_default()),
        }
    }
    Ok(())
}

/// A stream that carries another protocol.
pub struct Channel {
    runtime: Arc<Runtime>,
    stream: TokioIo<hyper::upgrade::Upgraded>,
}

impl Channel {
    pub fn send(&mut self, bytes: &[u8]) {
        self.runtime.block_on(self.stream.write_all(bytes)).unwrap();
        self.runtime.block_on(self.stream.flush()).unwrap();
    }

    /// So many bytes, or an error when it ends before.
    pub fn exactly(&mut self, count: usize) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        let read = self.runtime.block_on(async {
            tokio::time::timeout(wait::PATIENCE, self.stream.read_exact(&mut bytes)).await.unwrap()
        });
        read.map(|_| bytes)
    }
}

/// An HTTP/2 connection to the gate.
pub struct Http2 {
    runtime: Arc<Runtime>,
    sender: SendRequest<Frames>,
}

impl Http2 {
    /// With prior knowledge.
    #[track_caller]
    pub fn connect(address: &str) -> Self {
        let runtime = Arc::new(runtime());
        let stream = runtime.block_on(TcpStream::connect(address)).unwrap();
        let sender = prepared(&runtime, stream);
        Self { runtime, sender }
    }

    /// Over TLS, chosen by ALPN.
    #[track_caller]
    pub fn tls(address: &str, certificates: &Certificates) -> Self {
        Self::tls_as(address, certificates, false)
    }

    /// The same; `own` shows the client certificate too.
    #[track_caller]
    pub fn tls_as(address: &str, certificates: &Certificates, own: bool) -> Self {
        let runtime = Arc::new(runtime());
        let config = certificates.client_config(own, &[b"h2"]);
        let stream = runtime.block_on(async {
            let stream = TcpStream::connect(address).await.unwrap();
            let name = "localhost".try_into().unwrap();
            let stream = tokio_rustls::TlsConnector::from(config).connect(name, stream).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
            stream
        });
        let sender = prepared(&runtime, stream);
        Self { runtime, sender }
    }

    /// A request to `http://gate.test`; sends it and reads the response to its end.
    #[track_caller]
    pub fn send(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: Frames) -> Message {
        let uri = format!("http://gate.test{target}");
        self.request(request(method, &uri, headers, body))
    }

    #[track_caller]
    pub fn get(&mut self, target: &str, headers: &[(&str, &str)]) -> Message {
        self.send("GET", target, headers, Frames::default())
    }

    /// Sends any request and reads the response to its end.
    #[track_caller]
    pub fn request(&mut self, request: http::Request<Frames>) -> Message {
        self.try_request(request).unwrap_or_else(|error| panic!("no whole response: {error:?}"))
    }

    /// Asks to open a stream for another protocol (RFC 8441), or for none that is named; the stream, if it was opened.
    pub fn connect_to(
        &mut self,
        uri: &str,
        protocol: Option<&'static str>,
        headers: &[(&str, &str)],
    ) -> Result<(Message, Option<Channel>), hyper::Error> {
        let mut request = request("CONNECT", uri, headers, Frames::default());
        if let Some(protocol) = protocol {
            request.extensions_mut().insert(hyper::ext::Protocol::from_static(protocol));
        }
        self.runtime.block_on(async {
            self.sender.ready().await?;
            let mut response = self.sender.send_request(request).await?;
            let mut message = Message {
                status: response.status().as_u16(),
                headers: fields(response.headers()),
                ..Message::default()
            };
            if response.status().is_success() {
                let stream = TokioIo::new(hyper::upgrade::on(&mut response).await?);
                return Ok((message, Some(Channel { runtime: Arc::clone(&self.runtime), stream })));
            }
            read(&mut message, response.into_body()).await?;
            Ok((message, None))
        })
    }

    pub fn try_request(&mut self, request: http::Request<Frames>) -> Result<Message, hyper::Error> {
        let exchange = async {
            self.sender.ready().await?;
            let (head, body) = self.sender.send_request(request).await?.into_parts();
            let (status, headers) = (head.status.as_u16(), fields(&head.headers));
            let mut message = Message { status, headers, ..Message::default() };
            read(&mut message, body).await?;
            Ok(message)
        };
        let limited = async { tokio::time::timeout(wait::PATIENCE, exchange).await };
        self.runtime.block_on(limited).expect("a response in time")
    }
}

/// A request of these parts.
#[track_caller]
pub fn request(method: &str, uri: &str, headers: &[(&str, &str)], body: Frames) -> http::Request<Frames> {
    let mut builder = http::Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(body).unwrap()
}

pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Opens the connection and drives it on a thread of its own, so that it answers pings while the test waits.
fn prepared(
    runtime: &Arc<Runtime>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> SendRequest<Frames> {
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (sender, connection) = runtime.block_on(builder.handshake(TokioIo::new(stream))).unwrap();
    let driver = Arc::clone(runtime);
    std::thread::spawn(move || driver.block_on(connection).ok());
    sender
}

/// What a service answers.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Frames,
}

impl Answer {
    pub fn ok(body: &str) -> Self {
        Self { status: 200, headers: Vec::new(), body: Frames::new(&[body.as_bytes()], &[]) }
    }
}

type Responder = Arc<dyn Fn(&Message) -> Answer + Send + Sync>;

/// A recording HTTP/2 service.
#[derive(Debug)]
pub struct Http2Service {
    url: String,
    requests: Arc<Mutex<Vec<Message>>>,
}

impl Http2Service {
    /// With prior knowledge.
    pub fn start(answer: impl Fn(&Message) -> Answer + Send + Sync + 'static) -> Self {
        Self::run(None, Arc::new(answer))
    }

    /// Over TLS, by ALPN.
    pub fn tls(
        certificates: &Certificates,
        answer: impl Fn(&Message) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let config = certificates.server_config(false, &[b"h2"]);
        Self::run(Some(tokio_rustls::TlsAcceptor::from(config)), Arc::new(answer))
    }

    fn run(acceptor: Option<tokio_rustls::TlsAcceptor>, answer: Responder) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let url = match acceptor {
            Some(_) => format!("https://localhost:{}", address.port()),
            None => format!("http://{address}"),
        };
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || runtime().block_on(accept(listener, acceptor, seen, answer)));
        Self { url, requests }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn requests(&self) -> Vec<Message> {
        self.requests.lock().unwrap().clone()
    }

    /// The only request so far.
    #[track_caller]
    pub fn only(&self) -> Message {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests[0].clone()
    }
}

async fn accept(
    listener: std::net::TcpListener,
    acceptor: Option<tokio_rustls::TlsAcceptor>,
    seen: Arc<Mutex<Vec<Message>>>,
    answer: Responder,
) {
    let listener = TcpListener::from_std(listener).unwrap();
    while let Ok((stream, _)) = listener.accept().await {
        let (seen, answer, acceptor) = (Arc::clone(&seen), Arc::clone(&answer), acceptor.clone());
        tokio::spawn(async move {
            match acceptor {
                None => converse(stream, seen, answer).await,
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        converse(stream, seen, answer).await;
                    }
                }
            }
        });
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    seen: Arc<Mutex<Vec<Message>>>,
    answer: Responder,
) {
    let service = hyper::service::service_fn(move |request: http::Request<Incoming>| {
        let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
        async move {
            let (head, body) = request.into_parts();
            let mut message = Message {
                method: head.method.to_string(),
                uri: head.uri.to_string(),
                headers: fields(&head.headers),
                ..Message::default()
            };
            read(&mut message, body).await?;
            let answer = answer(&message);
            seen.lock().unwrap().push(message);
            let mut builder = http::Response::builder().status(answer.status);
            for (name, value) in answer.headers {
                builder = builder.header(name, value);
            }
            Ok::<_, hyper::Error>(builder.body(answer.body).unwrap())
        }
    });
    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder.serve_connection(TokioIo::new(stream), service).await.ok();
}
