//! Generated and mutated streams: pieces make no difference, and the server library reads what the inspector does.

use super::{CHUNKED, HEAD, LIMITS, Limits, Outcome, WIDE, feed, whole};
use crate::listener::inspect::{Inspector, Phase, Step};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::cell::RefCell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

/// What the server library made of a request: method, target, and the decoded body with its trailers.
type Seen = (String, String, usize, usize);

/// The server library over memory, driven by hand: no runtime, no time, no threads.
struct Server<'a> {
    connection: Pin<&'a mut dyn Future<Output = hyper::Result<()>>>,
    client: DuplexStream,
    seen: Rc<RefCell<Vec<Seen>>>,
    answer: Vec<u8>,
    ended: bool,
}

impl Server<'_> {
    /// Gives it bytes and lets it run until it has nothing more to do.
    fn take(&mut self, bytes: &[u8]) {
        let mut context = Context::from_waker(Waker::noop());
        if !bytes.is_empty() && !self.ended {
            let written = Pin::new(&mut self.client).poll_write(&mut context, bytes);
            assert!(matches!(written, Poll::Ready(Ok(count)) if count == bytes.len()), "{written:?}");
        }
        for _ in 0..16 {
            self.ended = self.ended || self.connection.as_mut().poll(&mut context).is_ready();
        }
        let mut room = vec![0; 1 << 16];
        let mut buffer = ReadBuf::new(&mut room);
        let read = Pin::new(&mut self.client).poll_read(&mut context, &mut buffer);
        assert!(!matches!(read, Poll::Ready(Err(_))));
        self.answer.extend_from_slice(buffer.filled());
    }

    fn count(&self) -> u64 {
        u64::try_from(self.seen.borrow().len()).unwrap()
    }
}

fn with_server<T>(builder: &http1::Builder, test: impl FnOnce(Server<'_>) -> T) -> T {
    let (client, server) = tokio::io::duplex(1 << 20);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&seen);
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let log = Rc::clone(&log);
        async move {
            let (method, target) = (request.method().to_string(), request.uri().to_string());
            let body = request.into_body().collect().await?;
            let trailers = body.trailers().map_or(0, http::HeaderMap::len);
            log.borrow_mut().push((method, target, body.to_bytes().len(), trailers));
            Ok::<_, hyper::Error>(hyper::Response::new(Empty::<Bytes>::new()))
        }
    });
    let connection = pin!(builder.serve_connection(TokioIo::new(server), service));
    test(Server { connection, client, seen, answer: Vec::new(), ended: false })
}

/// The server as the listener sets it up.
fn configured(limits: Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_header_size(limits.header_bytes).max_headers(limits.headers);
    builder
}

/// Streams byte by byte through both: a request is complete for the server at the very byte where the inspector
/// says so, and not before; and the server never answers in its own name.
fn agree(stream: &[u8]) -> (Outcome, Vec<Seen>) {
    with_server(&configured(LIMITS), |mut server| {
        let mut inspector = Inspector::new(LIMITS);
        let (mut held, mut passed, mut refused) = (Vec::new(), Vec::new(), None);
        for byte in stream {
            held.push(*byte);
            match inspector.offer(&held) {
                Step::Pass(count) => {
                    // All but the last byte must not complete anything: it is the last that does.
                    let (most, last) = held.split_at(count.saturating_sub(1));
                    let before = server.count();
                    server.take(most);
                    assert_eq!(server.count(), before, "complete too early");
                    server.take(&last[..count.min(1)]);
                    passed.extend(held.drain(..count));
                }
                Step::Discard => held.clear(),
                Step::Refuse(reason) => refused = refused.or(Some(reason)),
            }
            if inspector.phase() == Phase::Upgrade {
                inspector.upgrade_refused();
            }
            let open = u64::from(inspector.phase() == Phase::Body);
            assert_eq!(
                server.count(),
                inspector.requests().saturating_sub(open),
                "after {:?}",
                String::from_utf8_lossy(&passed)
            );
            assert_eq!(
                server.ended,
                inspector.phase() == Phase::Last,
                "{:?}",
                String::from_utf8_lossy(&passed)
            );
        }
        let answer = String::from_utf8(server.answer).unwrap();
        assert!(!answer.contains("HTTP/1.1 4"), "the server answered by itself: {answer}");
        let (phase, requests) = (inspector.phase(), inspector.requests());
        let seen = server.seen.borrow().clone();
        (Outcome { passed, held, refused, phase, requests }, seen)
    })
}

fn field() -> impl Strategy<Value = String> {
    let rare = select(vec![
        "Upgrade: websocket",
        "Connection: close",
        "Connection: keep-alive",
        "Content-Length: 3",
        "Content-Length: 0",
        "Transfer-Encoding: chunked",
        "Host: b",
        "Expect: 100-continue",
        "TE: trailers",
        "Trailer: X-Sum",
    ]);
    let usual = "[A-Za-z-]{1,8}: ?[ -~\t]{0,12}";
    prop_oneof![3 => usual.prop_map(|field| field + "\r\n"), 1 => rare.prop_map(|field| format!("{field}\r\n"))]
}

fn body() -> impl Strategy<Value = String> {
    let chunk = ("[ -~\r\n]{1,20}", "(|;[ -~]{0,6})")
        .prop_map(|(data, extension)| format!("{:x}{extension}\r\n{data}\r\n", data.len()));
    let trailers =
        prop::collection::vec("[A-Za-z]{1,4}: [ -~]{0,5}\r\n", 0..3).prop_map(|lines| lines.concat());
    let chunked = (prop::collection::vec(chunk, 0..4), trailers).prop_map(|(chunks, trailers)| {
        format!("Transfer-Encoding: chunked\r\n\r\n{}0\r\n{trailers}\r\n", chunks.concat())
    });
    let length = "[ -~\r\n]{0,40}".prop_map(|data| format!("Content-Length: {}\r\n\r\n{data}", data.len()));
    prop_oneof![2 => Just("\r\n".to_owned()), 2 => chunked, 2 => length]
}

fn message() -> impl Strategy<Value = String> {
    let methods = select(vec!["GET", "GET", "POST", "PUT", "HEAD", "OPTIONS", "BREW", "TRACE", "CONNECT"]);
    let targets = prop_oneof![6 => "/[!-~]{0,12}", 1 => select(vec!["*", "http://a/b", "a:80", "/a#b"]).prop_map(str::to_owned)];
    let version = prop_oneof![8 => Just("1.1"), 1 => Just("1.0")];
    let empty_lines = prop_oneof![6 => Just(""), 1 => Just("\r\n")];
    let fields = prop::collection::vec(field(), 0..3).prop_map(|fields| fields.concat());
    (empty_lines, methods, targets, version, fields, body()).prop_map(
        |(lines, method, target, version, fields, body)| {
            format!("{lines}{method} {target} HTTP/{version}\r\nHost: a\r\n{fields}{body}")
        },
    )
}

/// A few messages; half of the streams have some bytes replaced, inserted or removed.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![select(b"\r\n\0 \t:;,#0aF/\x7f\x80\xff".to_vec()), any::<u8>()];
    let mutation = (any::<Index>(), 0..3_u8, byte);
    let mutations = prop_oneof![Just(Vec::new()), prop::collection::vec(mutation, 1..3)];
    (prop::collection::vec(message(), 1..4), mutations).prop_map(|(messages, mutations)| {
        let mut stream = messages.concat().into_bytes();
        for (place, kind, byte) in mutations {
            let place = place.index(stream.len());
            match kind {
                0 => stream[place] = byte,
                1 => stream.insert(place, byte),
                _ => drop(stream.remove(place)),
            }
        }
        stream
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_make_no_difference(stream in stream(), cuts in prop::collection::vec(any::<Index>(), 0..6)) {
        let expected = whole(&stream);
        prop_assert_eq!(&feed(LIMITS, stream.chunks(1)), &expected);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.index(stream.len().saturating_add(1))).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]);
        prop_assert_eq!(&feed(LIMITS, pieces), &expected);
    }

    #[test]
    fn pieces_make_no_difference_to_limits(stream in stream(), bytes in 1..120_usize, headers in 0..4_usize) {
        let limits = Limits { header_bytes: bytes, headers };
        prop_assert_eq!(feed(limits, stream.chunks(1)), feed(limits, [&stream[..]]));
    }

    #[test]
    fn the_server_reads_the_same_requests(stream in stream()) {
        let (outcome, _) = agree(&stream);
        prop_assert_eq!(&outcome.passed, &whole(&stream).passed);
    }

    #[test]
    fn any_bytes_are_survived(stream in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(feed(LIMITS, stream.chunks(3)), whole(&stream));
        agree(&stream);
    }
}

#[test]
fn every_cut_of_a_stream_gives_the_same() {
    let chunked =
        "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nX: y\r\n\r\n";
    let length = "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n\r\n\r\n";
    for end in ["", "GET / HTTP/1.1\nHost: a\r\n\r\n", "GET /#"] {
        let stream = [HEAD, chunked, length, HEAD, end].concat();
        let expected = whole(&stream);
        for first in 0..stream.len() {
            for second in first..stream.len() {
                let bytes = stream.as_bytes();
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(feed(LIMITS, pieces), expected, "{first} {second}");
            }
        }
        let (_, seen) = agree(stream.as_bytes());
        let sizes: Vec<_> =
            seen.iter().map(|(_, target, body, trailers)| (target.as_str(), *body, *trailers)).collect();
        assert_eq!(sizes, [("/", 0, 0), ("/a", 3, 1), ("/b", 4, 0), ("/", 0, 0)]);
    }
}

/// What passes under the widest limits suits a server that was told none.
#[test]
fn the_widest_messages_suit_the_server() {
    let extension = format!("1;{}\r\nx\r\n", "e".repeat(4096));
    let trailers = format!("{}Y: {}\r\n", "X: y\r\n".repeat(99), "z".repeat(16_383 - 99 * 6 - 7));
    for stream in [
        format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", "/".repeat(65_534)),
        format!("GET / HTTP/1.1\r\nHost: a\r\n{}: y\r\n\r\n", "x".repeat(65_535)),
        format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "x: y\r\n".repeat(99)),
        format!("{CHUNKED}{extension}0\r\n{trailers}\r\n"),
    ] {
        assert_eq!(feed(WIDE, [stream.as_bytes()]).passed, stream.as_bytes());
        with_server(&http1::Builder::new(), |mut server| {
            server.take(stream.as_bytes());
            assert_eq!(server.count(), 1, "{:?}", String::from_utf8_lossy(&server.answer));
        });
    }
}

/// What the inspector is for: the server library alone takes these.
#[test]
fn the_server_alone_is_too_lenient() {
    for (head, target) in [
        (
            "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "/a",
        ),
        ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", "/a"),
        ("GET /a HTTP/1.1\nHost: a\n\n", "/a"),
        ("GET /a HTTP/1.1\r\n\r\n", "/a"),
    ] {
        with_server(&configured(LIMITS), |mut server| {
            server.take(head.as_bytes());
            assert_eq!(server.seen.borrow()[0].1, target);
        });
        assert!(whole(head).refused.is_some(), "{head:?}");
    }
}
