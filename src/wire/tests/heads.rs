//! Which heads pass, and why the others do not.

use super::{HEAD, LIMITS, WIDE, assert_refused, assert_taken, refusal, whole, with_fields};
use super::{Message, Requests};
use crate::denial::Reason::{HeadMalformed, HeadTooLarge, PathRefused};
use crate::wire::body::Framing;

#[test]
fn good_heads_pass() {
    for head in [
        HEAD,
        "GET / HTTP/1.0\r\nhOST:a\r\nConnection: keep-alive\r\n\r\n",
        "\r\n\r\nGET /a%20\"b\"?c={'x'} HTTP/1.1\r\nHost:  a \t\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://user@a:80/b?c HTTP/1.1\r\nHost: b\r\n\r\n",
        "BREW a.example HTTP/1.1\r\nHost: two, hosts\r\n\r\n",
        &with_fields("Content-Length: 0\r\n"),
        &with_fields("X-Empty:\r\nX-Latin: \u{e9}\r\nX-Tab: a\tb\r\nConnection: upgrade\r\n"),
    ] {
        assert_taken(head, 1, true);
    }
}

#[test]
fn framing_that_could_be_read_in_two_ways_is_refused() {
    for fields in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
        "Content-Length: 3\r\nContent-Length: 4\r\n",
        "Content-Length: 3\r\ncontent-length: 3\r\n",
        "Content-Length: 0\r\nContent-Length: 0\r\n",
        "Content-Length: 3, 3\r\n",
        "Content-Length: +3\r\n",
        "Content-Length: -3\r\n",
        "Content-Length: 0x3\r\n",
        "Content-Length: 3 3\r\n",
        "Content-Length: 3;\r\n",
        "Content-Length: \u{663}\r\n",
        "Content-Length:\r\n",
        "Content-Length: 9223372036854775808\r\n",
        "Content-Length: 18446744073709551617\r\n",
        "Content-Length: 00000000000000000003\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: \u{b}chunked\r\n",
        "Transfer-Encoding:\r\n",
    ] {
        assert_refused("", with_fields(fields), HeadMalformed);
    }
    let old = "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_refused("", old, HeadMalformed);
    assert_taken(&with_fields("Content-Length: 9223372036854775807\r\n"), 1, false);
}

#[test]
fn a_head_has_exactly_one_host_that_says_something() {
    for version in ["1.0", "1.1"] {
        for fields in [
            "",
            "X-Host: a\r\n",
            "Host:\r\n",
            "Host: \t\r\n",
            "Host: a\r\nhost: a\r\n",
            "Host:\r\nHost: a\r\n",
        ] {
            assert_refused("", format!("GET / HTTP/{version}\r\n{fields}\r\n"), HeadMalformed);
        }
    }
}

#[test]
fn lines_are_what_the_grammar_says() {
    for head in [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\rGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX:\r\n\tb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost\t: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX(: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX\u{e9}: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\u{1}c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\u{7f}c\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\r\nHost: a\r\n\r\n",
        "GET\r\nHost: a\r\n\r\n",
        "G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/0.9\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        "GET / http/1.1\r\nHost: a\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        assert_refused("", head, HeadMalformed);
        assert_refused(HEAD, head, HeadMalformed);
    }
    assert_refused("", "\r\n".repeat(9) + HEAD, HeadMalformed);
    assert_taken(&("\r\n".repeat(8) + HEAD), 1, true);
    // They are counted for each request anew.
    assert_taken(&("\r\n".repeat(5) + HEAD).repeat(4), 4, true);
    // A TLS client that meets a plain port need not wait for a timeout.
    assert_refused("", b"\x16\x03\x01\x02\0", HeadMalformed);
}

#[test]
fn targets_that_would_be_cut_or_cannot_be_held_are_refused() {
    let targets: &[&[u8]] = &[
        b"/a#b",
        b"/#",
        b"#",
        b"*#",
        b"/a?b#c",
        b"http://a#b",
        b"http://a/b#c",
        b"/\0",
        b"/a\tb",
        b"/a\x7f",
        b"/\x0b",
        "/\u{e9}".as_bytes(),
        "/a?\u{e9}".as_bytes(),
        b"/\xff",
        b"/a?\xff",
        "http://\u{e9}/".as_bytes(),
        b"/<",
        b"/>",
        b"/`",
        b"/?<",
        b"/?>",
        b"/?\"",
        b"?a",
        b"a/b",
        b"http://",
        b"http:///a",
        b"://a",
    ];
    for target in targets {
        let head = [b"GET ", *target, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
        assert_refused("", &head, PathRefused);
        assert_refused(HEAD, &head, PathRefused);
    }
}

#[test]
fn each_byte_of_a_target_is_judged_as_the_library_does_or_more_strictly() {
    for prefix in ["/", "/?", "http://a/", "http://a/?", ""] {
        for byte in 0..=u8::MAX {
            let target = [prefix.as_bytes(), &[byte]].concat();
            let head = [b"GET ", &target[..], b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
            let taken =
                http::Uri::try_from(&target[..]).is_ok_and(|uri| uri.to_string().as_bytes() == target);
            let expected = taken && byte.is_ascii() && target != b":";
            assert_eq!(whole(head).refused.is_none(), expected, "{prefix:?} {byte:#x}");
        }
    }
}

#[test]
fn what_may_be_done_is_not_judged_here() {
    for head in ["TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", "connect a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"] {
        assert_taken(&(head.to_owned() + HEAD), 2, true);
    }
    assert_taken("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 1, true);
}

#[test]
fn a_head_is_handed_on_as_it_was() {
    let head = "pUT /%41/../b?c=%20&d HTTP/1.0\r\nHOST: a:80\r\nX-a:  b  c\t\r\nx-A: \u{e9},\"\r\nB:\r\n\r\n";
    let outcome = whole(head);
    let Message { start, fields, framing, .. } = &outcome.messages[0];
    assert_eq!((start.method.as_str(), start.target.as_str(), start.old), ("pUT", "/%41/../b?c=%20&d", true));
    assert_eq!((*framing, fields.len()), (Framing::Empty, 4));
    let of = |name: &str| fields.get_all(name).iter().map(http::HeaderValue::as_bytes).collect::<Vec<_>>();
    assert_eq!((of("host"), of("b")), (vec![b"a:80".as_slice()], vec![b"".as_slice()]));
    assert_eq!(of("x-a"), [b"b  c".as_slice(), "\u{e9},\"".as_bytes()]);
}

#[test]
fn a_head_keeps_to_its_limits() {
    let head_of = |bytes: usize| {
        let head = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n";
        head.replace("X: ", &format!("X: {}", "x".repeat(bytes - head.len())))
    };
    assert_taken(&head_of(LIMITS.header_bytes), 1, true);
    assert_taken(&head_of(LIMITS.header_bytes).repeat(3), 3, true);
    assert_refused("", head_of(LIMITS.header_bytes + 1), HeadTooLarge);
    // Empty lines are counted for themselves.
    assert_taken(&("\r\n".repeat(8) + &head_of(LIMITS.header_bytes)), 1, true);
    // What comes too late to matter is not looked at: a limit of bytes is a limit of work.
    assert_refused("", head_of(LIMITS.header_bytes + 1) + "\0", HeadTooLarge);
    assert_refused("", "A".repeat(LIMITS.header_bytes), HeadTooLarge);
    assert_taken(&with_fields(&"X: y\r\n".repeat(7)), 1, true);
    assert_refused("", with_fields(&"X: y\r\n".repeat(8)), HeadTooLarge);
}

#[test]
fn wide_limits_stop_at_what_can_be_held() {
    let refused = |head: String| refusal(WIDE, head);
    assert_eq!(refused(with_fields(&"X: y\r\n".repeat(999))), None);
    assert_eq!(refused(with_fields(&"X: y\r\n".repeat(1000))), Some(HeadTooLarge));
    let head = |length: usize| format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", "/".repeat(length));
    assert_eq!((refused(head(65_534)), refused(head(65_535))), (None, Some(HeadTooLarge)));
    let name = |length: usize| with_fields(&format!("{}: y\r\n", "x".repeat(length)));
    assert_eq!((refused(name(65_535)), refused(name(65_536))), (None, Some(HeadTooLarge)));
}

/// A control byte ends a head at once, for the reason that its end would have ended it for.
#[test]
fn an_incomplete_head_is_refused_as_soon_as_nothing_can_mend_it() {
    for (head, reason) in [
        ("\u{1}", HeadMalformed),
        ("GE\0", HeadMalformed),
        ("GET /\0", PathRefused),
        ("GET /a\u{7f}", PathRefused),
        ("GET / HTTP/1.\0", HeadMalformed),
        ("GET / HTTP/1.1\r\n\0", HeadMalformed),
        ("GET / HTTP/1.1\r\nHost: \0", HeadMalformed),
        ("GET / HTTP/1.1\r\nHost: a\r\nX:\r\nX:\r\nX:\r\nX:\r\nX:\r\nX:\r\nX:\r\nX:\r\nX:\0", HeadTooLarge),
    ] {
        assert_refused("", head, reason);
        assert_refused("", head.to_owned() + "\r\n\r\n", reason);
        let mut reader = Requests::reader(LIMITS);
        reader.read(&head.as_bytes()[..head.len() - 1]);
        assert_eq!(reader.refused, None, "{head:?}");
    }
}
