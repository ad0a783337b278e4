//! Streams of requests, which hyper's server reads as we do.

use crate::wire::request::After;
use crate::wire::tests::peers::{Seen, with_server};
use crate::wire::tests::streams::{noise, requests};
use crate::wire::tests::{
    Asked, CHUNKED, HEAD, LIMITS, Limits, Message, Reads, Requests, WIDE, cut, feed, refusal, whole,
};
use hyper::server::conn::http1;
use proptest::prelude::*;
use proptest::sample::Index;

/// hyper with the same limits.
fn configured(limits: Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_header_size(limits.header_bytes).max_headers(limits.headers);
    builder
}

/// Both have read the same, but for the length that an HTTP library may write in another way.
fn is_same(ours: &Message<Asked>, theirs: &Seen) -> bool {
    ours.start.method == theirs.method
        && ours.start.target == theirs.target
        && ours.fields == theirs.fields
        && ours.data == theirs.data
        && ours.trailers.as_ref().unwrap_or(&http::HeaderMap::new()) == &theirs.trailers
}

/// Streams byte by byte through both: a request is complete for hyper at the very byte where it is for us, and not
/// before; and it never answers in its own name.
fn agree(stream: &[u8]) -> Vec<Message<Asked>> {
    with_server(&configured(LIMITS), |mut server| {
        let mut reader = Requests::reader(LIMITS);
        let mut given = 0;
        for byte in stream {
            reader.read(&[*byte]);
            let fresh = &stream[given..reader.taken];
            // All but the last byte must not complete anything: it is the last that does.
            let (most, last) = fresh.split_at(fresh.len().saturating_sub(1));
            let before = server.count();
            server.take(most);
            assert_eq!(server.count(), before, "complete too early");
            server.take(last);
            given = reader.taken;
            let taken = String::from_utf8_lossy(&stream[..given]);
            assert_eq!(server.count(), reader.count(), "after {taken:?}");
            let last = reader.side.messages.last();
            // hyper does not understand a list of options that holds more than ASCII.
            let odd = last.is_some_and(|last| last.start.after == After::StayAsAsked) && !stream.is_ascii();
            let closed = last.is_some_and(|last| last.whole && last.start.after == After::Close);
            assert!(!server.ended || closed || odd, "it reads no further after {taken:?}");
        }
        let answer = String::from_utf8(server.answer).unwrap();
        assert!(!answer.contains("HTTP/1.1 4"), "it answered by itself: {answer}");
        let wholes = reader.side.messages.iter().filter(|message| message.whole);
        for (ours, theirs) in wholes.zip(&*server.seen.borrow()) {
            assert!(is_same(ours, theirs), "{ours:?} {theirs:?}");
        }
        reader.outcome().messages
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_make_no_difference(stream in requests(), cuts in prop::collection::vec(any::<Index>(), 0..6)) {
        let expected = whole(&*stream);
        prop_assert_eq!(&feed(Requests::reader(LIMITS), stream.chunks(1)), &expected);
        prop_assert_eq!(&feed(Requests::reader(LIMITS), cut(&stream, &cuts)), &expected);
    }

    #[test]
    fn pieces_make_no_difference_to_limits(
        stream in requests(),
        bytes in 1..120_usize,
        headers in 0..4_usize,
        cuts in prop::collection::vec(any::<Index>(), 0..6),
    ) {
        let limits = Limits { header_bytes: bytes, headers };
        let expected = feed(Requests::reader(limits), [&stream[..]]);
        prop_assert_eq!(&feed(Requests::reader(limits), stream.chunks(1)), &expected);
        prop_assert_eq!(&feed(Requests::reader(limits), cut(&stream, &cuts)), &expected);
    }

    #[test]
    fn hyper_reads_the_same_requests(stream in requests()) {
        prop_assert_eq!(agree(&stream), whole(&*stream).messages);
    }

    #[test]
    fn any_bytes_are_survived(stream in noise(), cuts in prop::collection::vec(any::<Index>(), 0..6)) {
        let expected = whole(&*stream);
        prop_assert_eq!(&feed(Requests::reader(LIMITS), cut(&stream, &cuts)), &expected);
        prop_assert_eq!(agree(&stream), expected.messages);
    }

    /// However long a stream is, what is kept of it is a head or a trailer section within the limits.
    #[test]
    fn little_is_held(stream in prop_oneof![noise(), requests()], size in 1..40_usize) {
        let limits = Limits { header_bytes: 100, headers: 4 };
        let mut reader = Requests::reader(limits);
        for piece in stream.repeat(20).chunks(size) {
            reader.read(piece);
            let closed = reader.refused.is_some() || !reader.side.goes_on();
            prop_assert!(closed || reader.side.unread.len() < limits.header_bytes);
        }
    }
}

#[test]
fn every_cut_of_a_stream_gives_the_same() {
    let chunked =
        "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nX: y\r\n\r\n";
    let length = "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n\r\n\r\n";
    for end in ["", "GET / HTTP/1.1\nHost: a\r\n\r\n", "GET /#", "GET /\0"] {
        let stream = [HEAD, chunked, length, HEAD, end].concat();
        let expected = whole(&*stream);
        for first in 0..stream.len() {
            for second in first..stream.len() {
                let bytes = stream.as_bytes();
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(feed(Requests::reader(LIMITS), pieces), expected, "{first} {second}");
            }
        }
        let sizes: Vec<_> = agree(stream.as_bytes())
            .iter()
            .map(|read| (read.start.target.clone(), read.data.len(), read.trailer_count()))
            .collect();
        let sizes: Vec<_> =
            sizes.iter().map(|(target, data, count)| (target.as_str(), *data, *count)).collect();
        assert_eq!(sizes, [("/", 0, 0), ("/a", 3, 1), ("/b", 4, 0), ("/", 0, 0)]);
    }
}

/// What is taken under the widest limits suits a server that was told none.
#[test]
fn the_widest_messages_suit_hyper() {
    let extension = format!("1;{}\r\nx\r\n", "e".repeat(4096));
    let trailers = format!("{}Y: {}\r\n", "X: y\r\n".repeat(99), "z".repeat(16_383 - 99 * 6 - 7));
    for stream in [
        format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", "/".repeat(65_534)),
        format!("GET / HTTP/1.1\r\nHost: a\r\n{}: y\r\n\r\n", "x".repeat(65_535)),
        format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "x: y\r\n".repeat(99)),
        format!("{CHUNKED}{extension}0\r\n{trailers}\r\n"),
    ] {
        assert_eq!(refusal(WIDE, &stream), None);
        with_server(&http1::Builder::new(), |mut server| {
            server.take(stream.as_bytes());
            assert_eq!(server.count(), 1, "{:?}", String::from_utf8_lossy(&server.answer));
        });
    }
}

/// Why hyper alone would not do: it takes these.
#[test]
fn hyper_alone_is_too_lenient() {
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
            assert_eq!(server.seen.borrow()[0].target, target);
        });
        assert!(refusal(LIMITS, head).is_some(), "{head:?}");
    }
}
