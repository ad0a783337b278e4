//! hyper over memory, driven by hand: no runtime, no time, no threads. It is the second reader of everything.

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper_util::rt::TokioIo;
use std::cell::RefCell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

/// Room for all that one side says at once.
const ROOM: usize = 1 << 20;

/// Tells whether what was polled wants to be polled again.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Polls until nothing moves any more.
fn settle(mut poll: impl FnMut(&mut Context<'_>)) {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    loop {
        poll(&mut Context::from_waker(&waker));
        if !woken.0.swap(false, Ordering::Relaxed) {
            return;
        }
    }
}

fn send(stream: &mut DuplexStream, bytes: &[u8]) {
    if !bytes.is_empty() {
        let written = Pin::new(stream).poll_write(&mut Context::from_waker(Waker::noop()), bytes);
        assert!(matches!(written, Poll::Ready(Ok(count)) if count == bytes.len()), "{written:?}");
    }
}

/// What was said to us.
fn heard(stream: &mut DuplexStream, into: &mut Vec<u8>) {
    let mut room = [0; 4096];
    loop {
        let mut buffer = ReadBuf::new(&mut room);
        let read = Pin::new(&mut *stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer);
        match read {
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => into.extend_from_slice(buffer.filled()),
            Poll::Ready(_) | Poll::Pending => return,
        }
    }
}

/// What hyper's server made of a request.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) fields: HeaderMap,
    pub(super) data: Bytes,
    pub(super) trailers: HeaderMap,
}

/// hyper as the server of a client of ours.
pub(super) struct Server<'a> {
    connection: Pin<&'a mut dyn Future<Output = hyper::Result<()>>>,
    client: DuplexStream,
    pub(super) seen: Rc<RefCell<Vec<Seen>>>,
    /// What it has answered.
    pub(super) answer: Vec<u8>,
    pub(super) ended: bool,
}

impl Server<'_> {
    /// Gives it bytes and lets it run until it has nothing more to do.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        if !self.ended {
            send(&mut self.client, bytes);
        }
        settle(|cx| self.ended = self.ended || self.connection.as_mut().poll(cx).is_ready());
        heard(&mut self.client, &mut self.answer);
    }

    /// How many requests it has got whole.
    pub(super) fn count(&self) -> usize {
        self.seen.borrow().len()
    }
}

/// Runs hyper's server, which answers each request with nothing once it has its body.
pub(super) fn with_server<T>(builder: &server::Builder, test: impl FnOnce(Server<'_>) -> T) -> T {
    let (client, server) = tokio::io::duplex(ROOM);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&seen);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let log = Rc::clone(&log);
        async move {
            let (parts, body) = request.into_parts();
            let (method, target) = (parts.method.to_string(), parts.uri.to_string());
            let body = body.collect().await?;
            let trailers = body.trailers().cloned().unwrap_or_default();
            let (fields, data) = (parts.headers, body.to_bytes());
            log.borrow_mut().push(Seen { method, target, fields, data, trailers });
            Ok::<_, hyper::Error>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let connection = pin!(builder.serve_connection(TokioIo::new(server), service));
    test(Server { connection, client, seen, answer: Vec::new(), ended: false })
}

/// What hyper's client made of a response.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Got {
    pub(super) status: StatusCode,
    pub(super) fields: HeaderMap,
    pub(super) data: Bytes,
    pub(super) trailers: HeaderMap,
}

type Pending = Pin<Box<dyn Future<Output = hyper::Result<Got>>>>;

/// hyper as the client of a service of ours.
pub(super) struct Client<'a> {
    connection: Pin<&'a mut dyn Future<Output = hyper::Result<()>>>,
    sender: client::SendRequest<Empty<Bytes>>,
    pending: Option<Pending>,
    service: DuplexStream,
    /// The responses that it has got whole.
    pub(super) got: Vec<Got>,
    /// Why it has not got one.
    pub(super) failed: Option<hyper::Error>,
    ended: bool,
}

impl Client<'_> {
    /// Lets it ask; whether it can.
    pub(super) fn ask(&mut self, to_head: bool) -> bool {
        self.take(b"");
        let mut context = Context::from_waker(Waker::noop());
        if !matches!(self.sender.poll_ready(&mut context), Poll::Ready(Ok(()))) {
            return false;
        }
        let mut request = Request::new(Empty::new());
        *request.method_mut() = if to_head { Method::HEAD } else { Method::GET };
        let response = self.sender.send_request(request);
        self.pending = Some(Box::pin(async move {
            let (parts, body) = response.await?.into_parts();
            let body = body.collect().await?;
            let trailers = body.trailers().cloned().unwrap_or_default();
            Ok(Got { status: parts.status, fields: parts.headers, data: body.to_bytes(), trailers })
        }));
        self.take(b"");
        heard(&mut self.service, &mut Vec::new());
        true
    }

    /// Gives it bytes and lets it run until it has nothing more to do.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        if !self.ended {
            send(&mut self.service, bytes);
        }
        settle(|cx| {
            self.ended = self.ended || self.connection.as_mut().poll(cx).is_ready();
            if let Some(Poll::Ready(response)) =
                self.pending.as_mut().map(|pending| pending.as_mut().poll(cx))
            {
                self.pending = None;
                match response {
                    Ok(got) => self.got.push(got),
                    Err(error) => self.failed = Some(error),
                }
            }
        });
    }

    /// Ends the connection.
    pub(super) fn end(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut self.service).poll_shutdown(&mut context).is_ready());
        self.take(b"");
    }
}

/// Runs hyper's client.
pub(super) fn with_client<T>(test: impl FnOnce(Client<'_>) -> T) -> T {
    let (service, client) = tokio::io::duplex(ROOM);
    let handshake = client::Builder::new().max_headers(200).handshake(TokioIo::new(client));
    let (sender, connection) = handshake.now_or_never().unwrap().unwrap();
    let connection = pin!(connection);
    test(Client { connection, sender, pending: None, service, got: Vec::new(), failed: None, ended: false })
}
