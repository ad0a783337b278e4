//! What services answer: which heads are responses, and where their bodies end.

use super::{Answered, Message, Outcome, Reads, Responses, feed};
use crate::wire::body::Framing;
use crate::wire::response::ResponseFault::{self, Framing as Doubt, Head, TooLarge};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const EMPTY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// What becomes of the responses to GETs.
fn to_gets(stream: impl AsRef<[u8]>) -> Outcome<Answered, ResponseFault> {
    feed(Responses::reader(&[false; 8]), [stream.as_ref()])
}

/// What becomes of the response to a HEAD.
fn to_head(stream: impl AsRef<[u8]>) -> Outcome<Answered, ResponseFault> {
    feed(Responses::reader(&[true]), [stream.as_ref()])
}

/// The first of them.
#[track_caller]
fn first(outcome: Outcome<Answered, ResponseFault>) -> Message<Answered> {
    assert_eq!(outcome.refused, None, "{outcome:?}");
    outcome.messages.into_iter().next().unwrap()
}

/// Nothing comes of the bad part, in whatever pieces it comes.
#[track_caller]
fn assert_refused(good: &str, bad: impl AsRef<[u8]>, fault: ResponseFault) {
    let stream = [good.as_bytes(), bad.as_ref()].concat();
    let expected = to_gets(good);
    assert_eq!(expected.refused, None, "{good:?}");
    for outcome in [to_gets(&stream), feed(Responses::reader(&[false; 8]), stream.chunks(1))] {
        assert_eq!(outcome.refused, Some(fault), "{:?}: {outcome:?}", String::from_utf8_lossy(&stream));
        assert_eq!(outcome.messages, expected.messages, "{:?}", String::from_utf8_lossy(&stream));
    }
}

#[test]
fn status_lines_are_read_as_clients_do() {
    for (line, status) in [
        ("HTTP/1.1 200 OK\r\n", 200),
        ("HTTP/1.1 200 \r\n", 200),
        ("HTTP/1.1 200\r\n", 200),
        ("HTTP/1.0 404 Not Found\r\n", 404),
        ("HTTP/1.1 299 \u{e9} \t!\r\n", 299),
        ("HTTP/1.1 999 OK\r\n", 999),
        ("HTTP/1.1 500 OK\n", 500),
        ("HTTP/1.1 501\n", 501),
    ] {
        for end in ["\r\n", "\n", "A: b\r\n\r\n", "A: b\n\n", "A:b \t\r\nB:\r\n\n"] {
            let head = line.to_owned() + end;
            let read = first(to_gets(&head));
            assert_eq!(read.start.status.as_u16(), status, "{head:?}");
            assert!(read.fields.get("a").is_none_or(|value| value == "b"), "{head:?}");
            assert_eq!(first(feed(Responses::reader(&[false]), head.as_bytes().chunks(1))), read);
        }
    }
    for line in [
        "HTTP/1.1 099 OK\r\n",
        "HTTP/1.1 000 OK\r\n",
        "HTTP/1.1 1000 OK\r\n",
        "HTTP/1.1 20 OK\r\n",
        "HTTP/1.1 2x0 OK\r\n",
        "HTTP/1.1 +20 OK\r\n",
        "HTTP/1.1  200 OK\r\n",
        "HTTP/1.1\t200 OK\r\n",
        "HTTP/1.1 200\tOK\r\n",
        "HTTP/1.1 200 O\0K\r\n",
        "HTTP/1.1 200 O\u{7f}K\r\n",
        "HTTP/1.1 200 OK\rX\r\n",
        "HTTP/1.1\r\n",
        "HTTP/1.2 200 OK\r\n",
        "HTTP/2.0 200 OK\r\n",
        "HTTP/2 200 OK\r\n",
        "HTTP/0.9 200 OK\r\n",
        "http/1.1 200 OK\r\n",
        " HTTP/1.1 200 OK\r\n",
        "ICY 200 OK\r\n",
        "200 OK\r\n",
        "GET / HTTP/1.1\r\n",
        "<html>\r\n",
        "\r\n",
        "\r\nHTTP/1.1 200 OK\r\n",
        "\nHTTP/1.1 200 OK\r\n",
        "\r\n\r\nHTTP/1.1 200 OK\r\n",
    ] {
        assert_refused("", line.to_owned() + "A: b\r\n\r\n", Head);
        assert_refused(EMPTY, line.to_owned() + "A: b\r\n\r\n", Head);
    }
}

#[test]
fn fields_are_what_the_grammar_says() {
    for fields in [
        "A : b\r\n",
        " A: b\r\n",
        "A: b\r\n c\r\n",
        "A:\r\n\tc\r\n",
        "A\r\n",
        ": b\r\n",
        "A(: b\r\n",
        "\u{e9}: b\r\n",
        "A: b\0\r\n",
        "A: b\rC: d\r\n",
        "A: b\u{7f}\r\n",
        "A: b\u{1}\r\n",
    ] {
        assert_refused("", format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 0\r\n\r\n"), Head);
    }
}

/// Fields, their framing, and whether the connection can be used again.
const FRAMINGS: &[(&str, Framing, bool)] = &[
    ("", Framing::Close, false),
    ("Connection: keep-alive\r\n", Framing::Close, false),
    ("Content-Length: 0\r\n", Framing::Empty, true),
    ("Content-Length: 3\r\n", Framing::Length(3), true),
    ("Content-Length:\t003 \r\n", Framing::Length(3), true),
    ("Content-Length: 3\r\nContent-Length: 3\r\n", Framing::Length(3), true),
    ("Content-Length: 3\r\ncontent-length: 03\r\n", Framing::Length(3), true),
    ("Content-Length: 9223372036854775807\r\n", Framing::Length(9_223_372_036_854_775_807), true),
    ("Content-Length: 3\r\nConnection: close\r\n", Framing::Length(3), false),
    ("Content-Length: 3\r\nConnection: x , Close\r\n", Framing::Length(3), false),
    ("Content-Length: 3\r\nConnection: close\r\nConnection: keep-alive\r\n", Framing::Length(3), false),
    ("Content-Length: 3\r\nConnection: closed\r\n", Framing::Length(3), true),
    ("Transfer-Encoding: chunked\r\n", Framing::Chunked, true),
    ("transfer-encoding:CHUNKED \r\n", Framing::Chunked, true),
    ("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", Framing::Chunked, true),
    ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", Framing::Chunked, true),
    ("Transfer-Encoding: chunked\r\nConnection: close\r\n", Framing::Chunked, false),
];

#[test]
fn a_head_says_where_its_body_ends() {
    for (fields, framing, reusable) in FRAMINGS {
        let head = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        let read = first(to_gets(&head));
        assert_eq!((read.framing, read.start.reusable), (*framing, *reusable), "{fields:?}");
        let read = first(to_head(&head));
        let says_close = ["close\r\n", "Close\r\n"].iter().any(|close| fields.contains(close));
        assert_eq!(
            (read.framing, read.start.reusable),
            (Framing::Empty, !says_close),
            "{fields:?} to a HEAD"
        );
    }
    for (fields, framing, reusable) in [
        ("", Framing::Close, false),
        ("Connection: keep-alive\r\n", Framing::Close, false),
        ("Content-Length: 3\r\n", Framing::Length(3), false),
        ("Content-Length: 3\r\nConnection: Keep-Alive\r\n", Framing::Length(3), true),
        ("Content-Length: 3\r\nConnection: x,keep-alive\r\n", Framing::Length(3), true),
        ("Content-Length: 3\r\nConnection: keep-alive, close\r\n", Framing::Length(3), false),
        ("Content-Length: 3\r\nConnection: close\r\nConnection: keep-alive\r\n", Framing::Length(3), false),
    ] {
        let read = first(to_gets(format!("HTTP/1.0 200 OK\r\n{fields}\r\n")));
        assert_eq!((read.framing, read.start.reusable), (framing, reusable), "{fields:?} of an old one");
    }
}

#[test]
fn some_responses_have_no_body_whatever_they_say() {
    for status in [100, 101, 103, 199, 204, 304] {
        for fields in ["", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n"] {
            let read = first(to_gets(format!("HTTP/1.1 {status} x\r\n{fields}\r\n")));
            assert_eq!((read.framing, read.whole), (Framing::Empty, true), "{status} {fields:?}");
        }
    }
    let outcome = to_head(["HTTP/1.1 100 x\r\n\r\n", "HTTP/1.1 200 x\r\nContent-Length: 3\r\n\r\n"].concat());
    assert_eq!(outcome.messages.iter().map(|message| message.whole).collect::<Vec<_>>(), [true, true]);
}

#[test]
fn framing_that_could_be_read_in_two_ways_is_refused() {
    for fields in [
        "Content-Length: 3\r\nContent-Length: 4\r\n",
        "Content-Length: 3\r\nX: y\r\nContent-Length: 0\r\n",
        "Content-Length: 3, 3\r\n",
        "Content-Length: 3,4\r\n",
        "Content-Length: +3\r\n",
        "Content-Length: -3\r\n",
        "Content-Length: 0x3\r\n",
        "Content-Length: 3 3\r\n",
        "Content-Length: 3;\r\n",
        "Content-Length: \u{663}\r\n",
        "Content-Length:\r\n",
        "Content-Length: 3\r\nContent-Length:\r\n",
        "Content-Length: 9223372036854775808\r\n",
        "Content-Length: 00000000000000000003\r\n",
        "Content-Length: x\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding:\r\n",
    ] {
        for status in [200, 204, 304] {
            assert_refused("", format!("HTTP/1.1 {status} OK\r\n{fields}\r\n"), Doubt);
        }
        assert_eq!(to_head(format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).refused, Some(Doubt), "{fields:?}");
    }
    assert_refused("", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Doubt);
}

#[test]
fn one_length_is_passed_on_or_none() {
    let lengths = |outcome| {
        let fields = first(outcome).fields;
        assert!(!fields.contains_key(TRANSFER_ENCODING));
        let values = fields.get_all(CONTENT_LENGTH).iter();
        values.map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for (fields, kept) in [
        ("Content-Length: 3\r\n", &["3"][..]),
        ("Content-Length: 03\r\nX: y\r\nContent-Length: 3\r\n", &["03"]),
        ("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", &[]),
        ("Content-Length: 3\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n", &[]),
    ] {
        for status in [200, 304] {
            let head = format!("HTTP/1.1 {status} OK\r\n{fields}\r\n");
            assert_eq!(lengths(to_gets(&head)), kept, "{head:?}");
            assert_eq!(lengths(to_head(&head)), kept, "{head:?}");
        }
    }
}

#[test]
fn bodies_end_where_they_say() {
    let next = [EMPTY, "HTTP/1.1 204 x\r\n\r\n"].concat();
    for (message, data, trailers) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP/".to_owned(), "HTTP/", 0),
        (CHUNKED.to_owned() + "0\r\n\r\n", "", 0),
        (
            CHUNKED.to_owned() + "5\r\nab\r\nc\r\n00A;x=\"\t\"\r\n0123456789\r\n0;y\r\n\r\n",
            "ab\r\nc0123456789",
            0,
        ),
        (CHUNKED.to_owned() + "1 \r\na\r\n1\t \t;x\r\nb\r\n0    \r\n\r\n", "ab", 0),
        (CHUNKED.to_owned() + "1\r\nx\r\n0\r\nX-Sum: abc\r\nX-Empty:\r\n\r\n", "x", 2),
    ] {
        let outcome = to_gets(message.clone() + &next);
        assert_eq!((outcome.refused, outcome.messages.len()), (None, 3), "{message:?}: {outcome:?}");
        let read = &outcome.messages[0];
        assert_eq!(
            (read.data.as_slice(), read.trailer_count(), read.whole),
            (data.as_bytes(), trailers, true)
        );
        for length in 0..message.len() {
            let mut reader = Responses::reader(&[false]);
            reader.read(&message.as_bytes()[..length]);
            let begun = !reader.side.messages.is_empty();
            assert_eq!((reader.count(), begun && reader.side.end()), (0, false), "{:?}", &message[..length]);
        }
    }
    let mut reader = Responses::reader(&[false, false]);
    reader.read(b"HTTP/1.1 200 OK\r\n\r\nall that comes\r\n\r\n");
    assert_eq!((reader.count(), reader.side.end(), reader.count()), (0, true, 1));
    assert!(!reader.side.goes_on());
    assert_eq!(reader.outcome().messages[0].data, b"all that comes\r\n\r\n");
}

#[test]
fn a_chunk_may_be_padded_behind_its_size_only() {
    for (good, bad) in [
        ("", "\r\n"),
        ("", "\n"),
        ("", " 1\r\n"),
        ("", ";a\r\n"),
        ("", "+1\r\n"),
        ("", "g\r\n"),
        ("1", "\n"),
        ("1 ", "\n"),
        ("1 ", "1\r\n"),
        ("1\t", "x\r\n"),
        ("1 \r", "\r\n"),
        ("0000000000000000", "0\r\n"),
        ("1000000000000000", "0\r\n"),
        ("1;a", "\n"),
        ("1;a", "\0"),
        ("1;", "\u{e9}"),
        ("1\r\nx", "\n"),
        ("1\r\nx", " \r\n"),
        ("1\r\nx\r", "1"),
        ("0\r\n", " \r\n"),
        ("0\r\n", "X: y\n\r\n"),
        ("0\r\n", "\n"),
        ("0\r\n", "X : y\r\n\r\n"),
        ("0\r\n", "Content-Length: 3\r\n\r\n"),
        ("0\r\n", "Transfer-Encoding: chunked\r\n\r\n"),
        ("0\r\n", "HTTP/1.1 200 OK\r\n\r\n"),
    ] {
        assert_refused(&[CHUNKED, good].concat(), bad, Doubt);
    }
    let padded = |blanks: usize| [CHUNKED, "1", &" ".repeat(blanks), "\r\nx\r\n1;x"].concat();
    assert_refused(&padded(4095), "x", Doubt);
}

#[test]
fn a_head_keeps_to_its_limits() {
    let head_of = |bytes: usize| {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: \r\n\r\n";
        head.replace("X: ", &format!("X: {}", "x".repeat(bytes - head.len())))
    };
    let refused = |stream: String| {
        let pieces = feed(Responses::reader(&[false; 8]), stream.as_bytes().chunks(1000)).refused;
        assert_eq!(to_gets(&stream).refused, pieces);
        pieces
    };
    assert_eq!(refused(head_of(128 << 10).repeat(2)), None);
    assert_eq!(refused(head_of((128 << 10) + 1)), Some(TooLarge));
    let endless = |bytes: usize| "HTTP/1.1 200 ".to_owned() + &"x".repeat(bytes - 13);
    assert_eq!(refused(endless((128 << 10) - 1)), None);
    assert_eq!(refused(endless(128 << 10)), Some(TooLarge));
    assert_refused("", "HTTX", Head);
    assert_refused(EMPTY, "\r", Head);
    let fields = |count: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(count));
    assert_eq!((refused(fields(200)), refused(fields(201))), (None, Some(TooLarge)));
    let trailers = |count: usize| format!("{CHUNKED}0\r\n{}\r\n", "X: y\r\n".repeat(count));
    assert_eq!((refused(trailers(100)), refused(trailers(101))), (None, Some(Doubt)));
    let section = |bytes: usize| format!("{CHUNKED}0\r\nX: {}\r\n\r\n", "y".repeat(bytes - 7));
    assert_eq!((refused(section(16_384)), refused(section(16_385))), (None, Some(Doubt)));
}
