//! Where the bodies of requests end, how chunks are spelled, what trailers may be, and what follows.

use super::{
    Asked, CHUNKED, HEAD, LIMITS, Message, Requests, WIDE, assert_refused, assert_taken, refusal, whole,
    with_fields,
};
use crate::denial::Reason::{HeadMalformed, HeadTooLarge};
use crate::wire::body::{Decoder, Framing};
use crate::wire::request::After;
use bytes::BytesMut;

/// The first request of a stream.
#[track_caller]
fn first(stream: impl AsRef<[u8]>) -> Message<Asked> {
    let mut outcome = whole(&stream);
    assert!(!outcome.messages.is_empty(), "{:?}: {outcome:?}", String::from_utf8_lossy(stream.as_ref()));
    outcome.messages.remove(0)
}

#[test]
fn bodies_end_where_they_say() {
    assert_taken(&(with_fields("Content-Length: 5\r\n") + "\r\n\r\nx" + HEAD), 2, true);
    assert_taken(&(with_fields("Content-Length: 5\r\n") + "GET "), 1, false);
    assert_taken(&with_fields("Expect: 100-continue\r\nContent-Length: 5\r\n"), 1, false);
    for (body, data) in [
        ("0\r\n\r\n", ""),
        ("5\r\nab\r\nc\r\n00a\r\n0123456789\r\n0\r\n\r\n", "ab\r\nc0123456789"),
        ("0000000000000001\r\nx\r\n0000000000000000\r\n\r\n", "x"),
        ("A;a=b;c=\"d e\\\"\t\"\r\n0123456789\r\n0;x\r\n\r\n", "0123456789"),
        ("a;\r\n0123456789\r\n0;\r\n\r\n", "0123456789"),
        ("0\r\nX-Sum: abc\r\nX-Empty:\r\n\r\n", ""),
    ] {
        let stream = [CHUNKED, body, HEAD].concat();
        assert_taken(&stream, 2, true);
        assert_eq!(first(&stream).data, data.as_bytes(), "{body:?}");
    }
    let trailers = first([CHUNKED, "0\r\nX-Sum: abc\r\nX-Empty:\r\n\r\n"].concat()).trailers.unwrap();
    assert!(trailers.len() == 2 && trailers["x-sum"] == "abc" && trailers["x-empty"].is_empty());
    assert_eq!(first([CHUNKED, "0\r\n\r\n"].concat()).trailers, None, "none are not an empty section");
    assert_taken(&[CHUNKED, "ffffffffffffffff\r\nabc"].concat(), 1, false);
}

#[test]
fn a_head_says_where_its_body_ends() {
    for (fields, framing) in [
        ("", Framing::Empty),
        ("Content-Length: 0\r\n", Framing::Empty),
        ("Content-Length: 00\r\n", Framing::Empty),
        ("Content-Length: 7\r\n", Framing::Length(7)),
        ("Content-Length: \t007 \r\n", Framing::Length(7)),
        ("Content-Length: 9223372036854775807\r\n", Framing::Length(9_223_372_036_854_775_807)),
        ("Transfer-Encoding: chunked\r\n", Framing::Chunked),
        ("tRANSFER-eNCODING:CHUNKED\r\n", Framing::Chunked),
        ("X-Content-Length: 7\r\nContent_Length: 7\r\n", Framing::Empty),
    ] {
        assert_eq!(first(with_fields(fields)).framing, framing, "{fields:?}");
    }
}

#[test]
fn what_is_left_of_a_length_is_known() {
    let mut body = Decoder::request(Framing::Length(5), LIMITS);
    assert_eq!((body.left(), body.size_hint().exact(), body.has_ended()), (Some(5), Some(5), false));
    assert!(body.next(&mut BytesMut::from(&b"abc"[..])).unwrap().is_some());
    assert_eq!((body.left(), body.end()), (Some(2), false), "the connection cannot end it");
    assert!(body.next(&mut BytesMut::from(&b"dex"[..])).unwrap().is_some());
    assert_eq!((body.left(), body.end(), body.has_ended()), (Some(0), true, true));
    assert!(body.next(&mut BytesMut::from(&b"x"[..])).unwrap().is_none(), "that is not its own");

    let mut body = Decoder::request(Framing::Chunked, LIMITS);
    assert_eq!((body.left(), body.size_hint().exact(), body.end()), (None, None, false));
    for framing in [Framing::Empty, Framing::Length(0)] {
        assert!(Decoder::request(framing, LIMITS).has_ended());
    }
}

#[test]
fn a_chunk_has_one_spelling() {
    for (good, bad) in [
        ("", "\r\n"),
        ("", "\n"),
        ("", ";a\r\n"),
        ("", " 1\r\n"),
        ("", "+1\r\n"),
        ("", "-1\r\n"),
        ("", "0x1\r\n"),
        ("", "g\r\n"),
        ("0", "x1\r\n"),
        ("1", "\n"),
        ("1", " \r\n"),
        ("1", "\t\r\n"),
        ("1", " ;a\r\n"),
        ("1", "\t;a\r\n"),
        ("1", ",1\r\n"),
        ("1", "_0\r\n"),
        ("0000000000000000", "0\r\n"),
        ("1000000000000000", "0\r\n"),
        ("1\r", "x"),
        ("1\r", "\r\n"),
        ("1;a", "\n"),
        ("1;a=\"", "\0"),
        ("1;a=\"", "\u{7f}"),
        ("1;", "\u{e9}"),
        ("1;a\r", "b\r\n"),
        ("1\r\nx", "\n"),
        ("1\r\nx", "y\r\n"),
        ("1\r\nx\r", "\r"),
        ("1\r\nx\r", "0"),
        ("1\r\nx\r\n", "\r\n"),
        ("0\r", "\r"),
    ] {
        assert_refused(&[CHUNKED, good].concat(), bad, HeadMalformed);
        assert_refused(&[HEAD, CHUNKED, good].concat(), bad, HeadMalformed);
    }
    assert_eq!(whole([CHUNKED, "x"].concat()).messages.len(), 1, "that request was on its way");
}

#[test]
fn nothing_is_believed_behind_broken_framing() {
    let mut body = Decoder::request(Framing::Chunked, LIMITS);
    let mut bytes = BytesMut::from(&b"1\r\nxy1\r\nx\r\n0\r\n\r\n"[..]);
    assert!(body.next(&mut bytes).unwrap().is_some());
    assert_eq!(body.next(&mut bytes).unwrap_err(), HeadMalformed);
    let mut bytes = BytesMut::from(&b"\r\n1\r\nx\r\n0\r\n\r\n"[..]);
    assert_eq!(body.next(&mut bytes).unwrap_err(), HeadMalformed);
    assert_eq!((body.left(), body.end(), body.has_ended()), (None, false, false));
}

#[test]
fn chunk_extensions_have_a_limit_for_the_whole_body() {
    let chunk = |extension: usize| format!("1;{}\r\nx\r\n", "e".repeat(extension));
    assert_taken(&[CHUNKED, &chunk(2048), &chunk(2048), "0\r\n\r\n"].concat(), 1, true);
    let good = [CHUNKED, &chunk(2048), &chunk(2048), "1;"].concat();
    assert_refused(&good, "e\r\n", HeadMalformed);
}

#[test]
fn trailers_are_judged_like_heads() {
    let start = [CHUNKED, "1\r\nx\r\n0\r\n"].concat();
    for trailers in [
        "Content-Length: 3\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n",
        "X: y\r\nhOST: b\r\n\r\n",
        "X: y\n\r\n",
        "X: y\r\n\n",
        "\n",
        "\n\n",
        "\n\r\n",
        "X: y\n\n",
        "X : y\r\n\r\n",
        " X: y\r\n\r\n",
        "\tX: y\r\n\r\n",
        "X: y\r\n z\r\n\r\n",
        "X: y\rZ: y\r\n\r\n",
        "X: \0\r\n\r\n",
        "X\r\n\r\n",
        ": y\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "\rX",
        "\r\r\n",
    ] {
        assert_refused(&start, trailers, HeadMalformed);
    }
    assert_taken(&[start.as_str(), &"X: y\r\n".repeat(8), "\r\n"].concat(), 1, true);
    assert_refused(&start, "X: y\r\n".repeat(9) + "\r\n", HeadTooLarge);
    let section = |bytes: usize| format!("X: {}\r\n\r\n", "y".repeat(bytes - 7));
    assert_taken(&[start.as_str(), &section(LIMITS.header_bytes), HEAD].concat(), 2, true);
    assert_refused(&start, section(LIMITS.header_bytes + 1), HeadTooLarge);
    // What can be no trailers whatever follows is not waited for.
    let long = "z".repeat(LIMITS.header_bytes);
    for line in ["\n", " ", "\t", "\r"] {
        assert_refused(&start, line.to_owned() + &long, HeadMalformed);
    }
}

#[test]
fn wide_limits_of_heads_are_not_those_of_trailers() {
    let refused = |trailers: String| refusal(WIDE, [CHUNKED, "0\r\n", &trailers, "\r\n"].concat());
    assert_eq!(refused("X: y\r\n".repeat(100)), None);
    assert_eq!(refused("X: y\r\n".repeat(101)), Some(HeadTooLarge));
    let section = |bytes: usize| format!("X: {}\r\n", "y".repeat(bytes - 7));
    assert_eq!((refused(section(16_384)), refused(section(16_385))), (None, Some(HeadTooLarge)));
}

#[test]
fn nothing_follows_the_last_request() {
    let last = [
        with_fields("Connection: close\r\n"),
        with_fields("Connection: keep-alive\r\nConnection: x, Close \r\nConnection: keep-alive\r\n"),
        with_fields("Connection: close\r\nContent-Length: 2\r\n") + "ab",
        with_fields("Connection: close\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n",
        with_fields("Upgrade: x\r\nConnection: upgrade, close\r\n").replace("POST", "GET"),
        with_fields("").replace("/1.1", "/1.0"),
        with_fields("Connection: keep-alives\r\n").replace("/1.1", "/1.0"),
        with_fields("Connection: close\r\nConnection: keep-alive\r\n").replace("/1.1", "/1.0"),
        with_fields("Connection: keep-alive, close\r\n").replace("/1.1", "/1.0"),
        "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n".to_owned(),
    ];
    for head in last {
        let rest = format!("\0 no request {HEAD}");
        let outcome = whole(format!("{head}{rest}"));
        assert_eq!((outcome.refused, outcome.messages.len()), (None, 1), "{head:?}");
        assert_eq!((outcome.messages[0].start.after, outcome.messages[0].whole), (After::Close, true));
        assert_eq!(outcome.left, rest.as_bytes(), "{head:?}");
    }
}

#[test]
fn who_stays_is_told_apart() {
    let after = |fields: &str, version: &str| first(with_fields(fields).replace("/1.1", version)).start.after;
    assert_eq!(after("", "/1.1"), After::Stay);
    assert_eq!(after("Connection: keep-alive\r\n", "/1.1"), After::Stay);
    assert_eq!(after("Connection: closed, x-close\r\n", "/1.1"), After::Stay);
    assert_eq!(after("Connection: Keep-Alive\r\n", "/1.0"), After::StayAsAsked);
    assert_eq!(after("Connection: x\r\nConnection: y ,\tkeep-alive\r\n", "/1.0"), After::StayAsAsked);
}

#[test]
fn a_client_waits_for_a_100_only_if_there_is_a_body_that_could_come() {
    let expects = |head: &str| first(head).start.expects;
    let of = |expect: &str| with_fields(&format!("Content-Length: 1\r\nExpect: {expect}\r\n"));
    assert!(expects(&of("100-continue")) && expects(&of("100-Continue")));
    assert!(expects(&with_fields("Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n")));
    assert!(!expects(&of("200-ok")) && !expects(&of("100-continue, x")) && !expects(&of("")));
    assert!(!expects(&of("100-continue").replace("/1.1", "/1.0")), "an old client knows no 100");
    assert!(!expects(&with_fields("Expect: 100-continue\r\n")));
    assert!(!expects(&with_fields("Expect: 100-continue\r\nContent-Length: 0\r\n")));
}

#[test]
fn good_requests_before_a_bad_one_come_first() {
    let mut reader = Requests::reader(LIMITS);
    reader.read([HEAD, HEAD, "GET / HTTP/1.1\r\n\r\n", HEAD].concat().as_bytes());
    assert_eq!((reader.count(), reader.refused, reader.taken), (2, Some(HeadMalformed), HEAD.len() * 2));
}
