//! A gRPC service and its client, both tonic, with messages that are plain bytes: no code is generated.

use super::certificates::Certificates;
use super::http2::runtime;
use bytes::{Buf as _, BufMut as _, Bytes};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{Receiver, channel};
use tokio_stream::{Stream, StreamExt as _};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::Service;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status, Streaming};

/// Messages as they are.
#[derive(Clone, Copy, Default)]
pub struct Plain;

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// What the service has seen of calls.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The metadata of each.
    pub calls: Vec<MetadataMap>,
    /// How many streams of responses nobody wants any more.
    pub cancelled: usize,
}

/// A recording service with a method of each kind; see [`Method`].
pub struct GrpcService {
    url: String,
    seen: Arc<Mutex<Seen>>,
}

type Messages = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

/// One call of the service.
#[derive(Clone)]
struct Method {
    path: String,
    seen: Arc<Mutex<Seen>>,
}

/// Counts when it is dropped.
struct Watched {
    messages: Receiver<Result<Bytes, Status>>,
    seen: Arc<Mutex<Seen>>,
    ended: bool,
}

impl Stream for Watched {
    type Item = Result<Bytes, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.messages.poll_recv(cx);
        self.ended = matches!(polled, Poll::Ready(None));
        polled
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.ended {
            self.seen.lock().unwrap().cancelled += 1;
        }
    }
}

/// What every answer says besides.
fn answered<T>(message: T) -> Response<T> {
    let mut response = Response::new(message);
    response.metadata_mut().insert("x-service", MetadataValue::from_static("tonic"));
    response.metadata_mut().insert_bin("x-blob-bin", MetadataValue::from_bytes(b"\x00\xff\x01"));
    response
}

/// A failure with everything that one can have.
fn failure() -> Status {
    let mut status =
        Status::with_details(Code::NotFound, "no such thing: 100 %", Bytes::from_static(b"\x08\x05"));
    status.metadata_mut().insert("x-why", MetadataValue::from_static("it is gone"));
    status
}

impl Method {
    fn record<T>(&self, request: &Request<T>) {
        self.seen.lock().unwrap().calls.push(request.metadata().clone());
    }

    /// The messages, as the method says: `echo` as they come, `ticks` for ever, anything else a failure after the first.
    fn messages(
        &self,
        mut requests: impl Stream<Item = Result<Bytes, Status>> + Send + Unpin + 'static,
    ) -> Messages {
        let (sender, messages) = channel(1);
        let path = self.path.clone();
        tokio::spawn(async move {
            while let Some(Ok(message)) = requests.next().await {
                if sender.send(Ok(message)).await.is_err() {
                    return;
                }
                if path.ends_with("ticks") {
                    while sender.send(Ok(Bytes::from_static(b"tick"))).await.is_ok() {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    return;
                }
                if path.ends_with("fails") {
                    sender.send(Err(failure())).await.ok();
                    return;
                }
            }
        });
        Box::pin(Watched { messages, seen: Arc::clone(&self.seen), ended: false })
    }
}

type Answering<T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;

impl tonic::server::UnaryService<Bytes> for Method {
    type Response = Bytes;
    type Future = Answering<Bytes>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        self.record(&request);
        let (fails, hangs) = (self.path.ends_with("fails"), self.path.ends_with("hangs"));
        Box::pin(async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            if fails { Err(failure()) } else { Ok(answered(request.into_inner())) }
        })
    }
}

impl tonic::server::ClientStreamingService<Bytes> for Method {
    type Response = Bytes;
    type Future = Answering<Bytes>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        self.record(&request);
        Box::pin(async move {
            let (mut messages, mut all) = (request.into_inner(), Vec::new());
            while let Some(message) = messages.next().await {
                all.extend_from_slice(&message?);
            }
            Ok(answered(all.into()))
        })
    }
}

impl tonic::server::ServerStreamingService<Bytes> for Method {
    type Response = Bytes;
    type ResponseStream = Messages;
    type Future = Answering<Messages>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        self.record(&request);
        let messages = self.messages(tokio_stream::once(Ok(request.into_inner())));
        Box::pin(async move { Ok(answered(messages)) })
    }
}

impl tonic::server::StreamingService<Bytes> for Method {
    type Response = Bytes;
    type ResponseStream = Messages;
    type Future = Answering<Messages>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        self.record(&request);
        let messages = self.messages(request.into_inner());
        Box::pin(async move { Ok(answered(messages)) })
    }
}

impl GrpcService {
    /// With prior knowledge. The first word of a method is its kind: `/pkg.Service/unary_echo`.
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            runtime().block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, Arc::clone(&shared)));
                }
            });
        });
        Self { url, seen }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(stream: TcpStream, seen: Arc<Mutex<Seen>>) {
    let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let method = Method { path: request.uri().path().to_owned(), seen: Arc::clone(&seen) };
        let kind =
            method.path.rsplit('/').next().and_then(|name| name.split('_').next()).unwrap_or("").to_owned();
        async move {
            let mut server = tonic::server::Grpc::new(Plain);
            Ok::<_, Infallible>(match kind.as_str() {
                "unary" => server.unary(method, request).await,
                "collect" => server.client_streaming(method, request).await,
                "list" => server.server_streaming(method, request).await,
                _ => server.streaming(method, request).await,
            })
        }
    });
    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder.serve_connection(TokioIo::new(stream), service).await.ok();
}

/// TLS to one address, whatever is asked for.
struct Connector {
    address: String,
    config: Arc<rustls::ClientConfig>,
}

type Connected = TokioIo<tokio_rustls::client::TlsStream<TcpStream>>;

impl Service<http::Uri> for Connector {
    type Response = Connected;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<Connected>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        let (address, config) = (self.address.clone(), Arc::clone(&self.config));
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            let name = "localhost".try_into().unwrap();
            let stream = tokio_rustls::TlsConnector::from(config).connect(name, stream).await?;
            Ok(TokioIo::new(stream))
        })
    }
}

/// A client of the gate: in clear with prior knowledge, or over TLS by ALPN.
pub async fn client(address: &str, certificates: Option<&Certificates>) -> tonic::client::Grpc<Channel> {
    let channel = match certificates {
        None => Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await,
        Some(certificates) => {
            let config = certificates.client_config(false, &[b"h2"]);
            let address = address.to_owned();
            let connector = Connector { address, config };
            let endpoint = Endpoint::from_static("http://gate.test");
            endpoint.origin("https://gate.test".parse().unwrap()).connect_with_connector(connector).await
        }
    };
    let client = tonic::client::Grpc::new(channel.unwrap());
    client.max_decoding_message_size(64 << 20).max_encoding_message_size(64 << 20)
}
