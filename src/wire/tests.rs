//! Each rule, in tables; that pieces of a stream make no difference; that the server library agrees.

mod agreement;
mod heads;

use super::{Inspector, Limits, Phase, Step, is_http2_preface};
use crate::denial::Reason::{self, HeadMalformed, HeadTooLarge, MethodRefused};

const LIMITS: Limits = Limits { header_bytes: 2048, headers: 8 };
const WIDE: Limits = Limits { header_bytes: 1 << 20, headers: usize::MAX };
const HEAD: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// What became of a stream, seen from a caller that keeps what may not pass yet.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    passed: Vec<u8>,
    held: Vec<u8>,
    refused: Option<Reason>,
    phase: Phase,
    requests: u64,
}

/// Offers the pieces one after the other. Whatever could become a tunnel does not.
fn feed<'a>(limits: Limits, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut inspector = Inspector::new(limits);
    let (mut passed, mut held, mut refused) = (Vec::new(), Vec::new(), None);
    for piece in pieces {
        held.extend_from_slice(piece);
        loop {
            match inspector.offer(&held) {
                Step::Pass(0) if inspector.phase() == Phase::Upgrade => inspector.upgrade_refused(),
                Step::Pass(0) => break,
                Step::Pass(count) => passed.extend(held.drain(..count)),
                Step::Discard => held.clear(),
                Step::Refuse(reason) => {
                    refused = Some(reason);
                    break;
                }
            }
        }
    }
    Outcome { passed, held, refused, phase: inspector.phase(), requests: inspector.requests() }
}

fn whole(stream: impl AsRef<[u8]>) -> Outcome {
    feed(LIMITS, [stream.as_ref()])
}

/// A head with a good request line and Host, and more fields.
fn with_fields(fields: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

#[track_caller]
fn assert_passes(stream: &str, requests: u64, phase: Phase) {
    let outcome = whole(stream);
    assert_eq!(String::from_utf8_lossy(&outcome.passed), stream, "{outcome:?}");
    assert_eq!((outcome.refused, outcome.requests, outcome.phase), (None, requests, phase), "{stream:?}");
}

/// The good part of a stream passes, and nothing of the rest, however long one waits.
#[track_caller]
fn assert_refused(good: &str, bad: impl AsRef<[u8]>, reason: Reason) {
    let stream = [good.as_bytes(), bad.as_ref()].concat();
    let outcome = whole(&stream);
    assert_eq!(outcome.refused, Some(reason), "{:?}: {outcome:?}", String::from_utf8_lossy(&stream));
    assert_eq!(String::from_utf8_lossy(&outcome.passed), good);
}

#[test]
fn bodies_end_where_they_say() {
    assert_passes(&(with_fields("Content-Length: 5\r\n") + "\r\n\r\nx" + HEAD), 2, Phase::Idle);
    assert_passes(&(with_fields("Content-Length: 5\r\n") + "GET "), 1, Phase::Body);
    assert_passes(&with_fields("Expect: 100-continue\r\nContent-Length: 5\r\n"), 1, Phase::Body);
    for body in [
        "0\r\n\r\n",
        "5\r\nab\r\nc\r\n00a\r\n0123456789\r\n0\r\n\r\n",
        "0000000000000001\r\nx\r\n0000000000000000\r\n\r\n",
        "A;a=b;c=\"d e\\\"\t\"\r\n0123456789\r\n0;x\r\n\r\n",
        "0\r\nX-Sum: abc\r\nX-Empty:\r\n\r\n",
    ] {
        assert_passes(&[CHUNKED, body, HEAD].concat(), 2, Phase::Idle);
    }
    assert_passes(&[CHUNKED, "ffffffffffffffff\r\nabc"].concat(), 1, Phase::Body);
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
        ("", "g\r\n"),
        ("0", "x1\r\n"),
        ("1", "\n"),
        ("1", " \r\n"),
        ("1", "\t;a\r\n"),
        ("1", ",1\r\n"),
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
    let outcome = whole([CHUNKED, "x"].concat());
    assert_eq!((outcome.phase, outcome.requests), (Phase::Body, 1), "the server has that request");
}

#[test]
fn chunk_extensions_have_a_limit_for_the_whole_body() {
    let chunk = |extension: usize| format!("1;{}\r\nx\r\n", "e".repeat(extension));
    assert_passes(&[CHUNKED, &chunk(2048), &chunk(2048), "0\r\n\r\n"].concat(), 1, Phase::Idle);
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
        "X: y\n\n",
        "X : y\r\n\r\n",
        " X: y\r\n\r\n",
        "X: y\r\n z\r\n\r\n",
        "X: \0\r\n\r\n",
        "X\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "\rX",
    ] {
        assert_refused(&start, trailers, HeadMalformed);
    }
    assert_passes(&[start.as_str(), &"X: y\r\n".repeat(8), "\r\n"].concat(), 1, Phase::Idle);
    assert_refused(&start, "X: y\r\n".repeat(9) + "\r\n", HeadTooLarge);
    let section = |bytes: usize| format!("X: {}\r\n\r\n", "y".repeat(bytes - 7));
    assert_passes(&[start.as_str(), &section(LIMITS.header_bytes - 1), HEAD].concat(), 2, Phase::Idle);
    assert_refused(&start, section(LIMITS.header_bytes), HeadTooLarge);
}

#[test]
fn wide_limits_do_not_reach_beyond_those_of_the_server_for_trailers() {
    let refused =
        |trailers: String| feed(WIDE, [[CHUNKED, "0\r\n", &trailers, "\r\n"].concat().as_bytes()]).refused;
    assert_eq!(refused("X: y\r\n".repeat(100)), None);
    assert_eq!(refused("X: y\r\n".repeat(101)), Some(HeadTooLarge));
    let section = |bytes: usize| format!("X: {}\r\n", "y".repeat(bytes - 7));
    assert_eq!((refused(section(16_383)), refused(section(16_384))), (None, Some(HeadTooLarge)));
}

#[test]
fn a_request_that_may_become_a_tunnel_holds_back_what_follows() {
    let head = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let start = || {
        let mut inspector = Inspector::new(LIMITS);
        inspector.upgraded();
        assert_eq!(inspector.phase(), Phase::Idle, "nothing may become a tunnel yet");
        assert_eq!(inspector.offer(&[head.as_bytes(), b"\x81\x01x"].concat()), Step::Pass(head.len()));
        assert_eq!((inspector.phase(), inspector.offer(b"\x81\x01x")), (Phase::Upgrade, Step::Pass(0)));
        inspector
    };
    let mut inspector = start();
    inspector.upgraded();
    assert_eq!((inspector.offer(b"\x81\x01x"), inspector.phase()), (Step::Pass(3), Phase::Raw));
    inspector.upgrade_refused();
    assert_eq!(inspector.phase(), Phase::Raw, "a tunnel stays one");

    let mut inspector = start();
    inspector.upgrade_refused();
    assert_eq!(inspector.phase(), Phase::Idle);
    inspector.upgraded();
    assert_eq!(inspector.offer(b"\x81\x01x"), Step::Refuse(HeadMalformed));

    for (from, to) in [
        ("GET", "POST"),
        ("/1.1", "/1.0"),
        ("\r\n\r\n", "\r\nContent-Length: 1\r\n\r\n"),
        ("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ] {
        let mut inspector = Inspector::new(LIMITS);
        inspector.offer(head.replace(from, to).as_bytes());
        assert_ne!(inspector.phase(), Phase::Upgrade, "{to:?}");
    }
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
        with_fields("Connection: close\r\nConnection: keep-alive\r\n").replace("/1.1", "/1.0"),
    ];
    for head in last {
        let outcome = whole(format!("{head}\0 no request {HEAD}"));
        assert_eq!(String::from_utf8_lossy(&outcome.passed), head);
        assert_eq!((outcome.phase, outcome.refused, outcome.requests), (Phase::Last, None, 1), "{head:?}");
    }
    let mut inspector = Inspector::new(LIMITS);
    let head = with_fields("Connection: close\r\n");
    assert_eq!(inspector.offer(head.as_bytes()), Step::Pass(head.len()));
    assert_eq!((inspector.offer(b""), inspector.offer(b"\0")), (Step::Pass(0), Step::Discard));
}

#[test]
fn phases_tell_which_timer_runs() {
    let mut inspector = Inspector::new(LIMITS);
    assert_eq!(inspector.phase(), Phase::Idle);
    assert_eq!((inspector.offer(b""), inspector.phase()), (Step::Pass(0), Phase::Idle));
    assert_eq!((inspector.offer(b"\r\n"), inspector.phase()), (Step::Pass(0), Phase::Head));
    let head = with_fields("Content-Length: 2\r\n");
    assert_eq!((inspector.offer(head.as_bytes()), inspector.phase()), (Step::Pass(head.len()), Phase::Body));
    assert_eq!((inspector.offer(b"a"), inspector.phase()), (Step::Pass(1), Phase::Body));
    assert_eq!((inspector.offer(b"bGET"), inspector.phase()), (Step::Pass(1), Phase::Head));
    assert_eq!((inspector.offer(b"GET\0"), inspector.phase()), (Step::Refuse(HeadMalformed), Phase::Head));
    assert_eq!(inspector.offer(HEAD.as_bytes()), Step::Refuse(HeadMalformed), "a refusal is for good");
}

#[test]
fn good_requests_before_a_bad_one_pass_first() {
    let mut inspector = Inspector::new(LIMITS);
    let stream = [HEAD, HEAD, "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
    assert_eq!(inspector.offer(stream.as_bytes()), Step::Pass(HEAD.len() * 2));
    assert_eq!((inspector.requests(), inspector.phase()), (2, Phase::Head));
    assert_eq!(inspector.offer(b""), Step::Refuse(MethodRefused));
}

#[test]
fn the_preface_of_http2_is_told_from_its_first_bytes() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for length in 0..preface.len() {
        assert_eq!(is_http2_preface(&preface[..length]), None);
    }
    assert_eq!(is_http2_preface(preface), Some(true));
    assert_eq!(is_http2_preface(&[&preface[..], b"\0\0"].concat()), Some(true));
    for other in ["G", "PRI * HTTP/1", "PRI * HTTP/2.0\r\n\r\nSX", HEAD] {
        assert_eq!(is_http2_preface(other.as_bytes()), Some(false), "{other:?}");
    }
}
