//! One connection, one reading: whatever two parsers could frame in two ways is refused, the connection is closed,
//! and the service receives nothing of it (RFC 9112 §§5.2, 6.3, 11.2).

use crate::support::client::Client;
use crate::support::gate::Gate;
use crate::support::request::get;
use crate::support::service::Service;
use crate::support::setup::Setup;

/// What every attack tries to get through.
const PREY: &str = "GET /smuggled HTTP/1.1\r\nHost: gate.test\r\n\r\n";

/// A POST whose framing is in doubt, with what could be read as its body and as the next request.
fn doubtful(framing: &str) -> String {
    format!("POST /doubtful HTTP/1.1\r\nHost: gate.test\r\n{framing}\r\n\r\n0\r\n\r\n{PREY}")
}

/// Heads of requests that must be refused as a whole.
fn refused_heads() -> Vec<(&'static str, Vec<u8>)> {
    let framings = [
        ("CL and TE", "Content-Length: 5\r\nTransfer-Encoding: chunked"),
        ("TE and CL", "Transfer-Encoding: chunked\r\nContent-Length: 5"),
        ("CL 0 and TE", "Content-Length: 0\r\nTransfer-Encoding: chunked"),
        ("TE and CL in odd case", "tRANSFER-eNCODING: chunked\r\ncONTENT-lENGTH: 5"),
        ("two lengths", "Content-Length: 5\r\nContent-Length: 50"),
        ("two lengths in a list", "Content-Length: 5, 50"),
        ("length with a plus", "Content-Length: +5"),
        ("length with a minus", "Content-Length: -5"),
        ("length with a space in it", "Content-Length: 5 0"),
        ("length in hex", "Content-Length: 0x5"),
        ("length with a fraction", "Content-Length: 5.0"),
        ("empty length", "Content-Length:"),
        ("length of letters", "Content-Length: five"),
        ("length with a vertical tab", "Content-Length: \x0b5"),
        ("length beyond 64 bits", "Content-Length: 18446744073709551621"),
        ("space before the colon", "Content-Length : 5"),
        ("tab before the colon", "Transfer-Encoding\t: chunked"),
        ("xchunked", "Transfer-Encoding: xchunked"),
        ("chunkedx", "Transfer-Encoding: chunkedx"),
        ("identity", "Transfer-Encoding: identity"),
        ("chunked twice", "Transfer-Encoding: chunked, chunked"),
        ("chunked in two fields", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        ("chunked, then identity", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
        ("identity, then chunked", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked"),
        ("chunked not last", "Transfer-Encoding: chunked, gzip"),
        ("chunked after what we cannot read", "Transfer-Encoding: gzip, chunked"),
        ("chunked with a parameter", "Transfer-Encoding: chunked;q=1"),
        ("quoted", "Transfer-Encoding: \"chunked\""),
        ("empty coding", "Transfer-Encoding:"),
        ("vertical tab in front", "Transfer-Encoding: \x0bchunked"),
        ("NUL behind", "Transfer-Encoding: chunked\0"),
        ("folded", "Transfer-Encoding:\r\n chunked"),
        ("folded behind", "Transfer-Encoding: chunked\r\n , identity"),
        ("folded otherwise", "X-A: 1\r\n Content-Length: 5"),
        ("folded with a tab", "X-A: 1\r\n\tX-B: 2"),
        ("folded first", " X-A: 1"),
        ("a bare CR in a value", "X-A: 1\rTransfer-Encoding: chunked"),
        ("NUL in a value", "X-A: 1\0"),
        ("control character in a value", "X-A: 1\x01"),
        ("DEL in a value", "X-A: 1\x7f"),
        ("space in a name", "X A: 1"),
        ("control character in a name", "X\x01A: 1"),
        ("empty name", ": 1"),
        ("no colon", "X-A"),
        ("parentheses in a name", "X(A): 1"),
    ];
    framings.into_iter().map(|(case, framing)| (case, doubtful(framing).into_bytes())).collect()
}

/// Request lines that are none.
const REFUSED_LINES: &[&str] = &[
    "GET  / HTTP/1.1",
    "GET /  HTTP/1.1",
    "GET\t/ HTTP/1.1",
    "GET / HTTP/1.1 ",
    " GET / HTTP/1.1",
    "GET /",
    "GET",
    "GET / HTTP/1.2",
    "GET / HTTP/2.0",
    "GET / HTTP/3",
    "GET / http/1.1",
    "GET / HTTP/1.1x",
    "GET / HTTP/01.1",
    "GET / FTP/1.1",
    "G(T / HTTP/1.1",
    "G\x01T / HTTP/1.1",
    "GET / HTTP/1.1\0",
    "\x16\x03\x01\x02 / HTTP/1.1",
];

/// Sends a good request and then these bytes on the same connection.
#[track_caller]
fn assert_refused_behind_a_good_one(gate: &Gate, service: &Service, case: &str, bytes: &[u8]) {
    let before = service.requests().len();
    let mut client = gate.connect();
    let good = get("/good").bytes();
    client.send_anyway([good.as_slice(), bytes].concat());
    client.try_reply("GET").unwrap_or_else(|error| panic!("{case}: the good one: {error}")).expect(200, case);
    if let Ok(reply) = client.try_reply("GET") {
        assert!([400, 501, 505].contains(&reply.status), "{case}: {reply:?}");
    }
    client.assert_closed(case);
    let targets = service.targets().split_off(before);
    assert_eq!(targets, ["/good"], "{case}");
}

/// Sends these bytes on a connection of their own.
#[track_caller]
fn assert_refused(gate: &Gate, service: &Service, case: &str, bytes: &[u8]) {
    let before = service.received();
    let mut client = gate.connect();
    client.send_anyway(bytes);
    let reply = client.try_reply("GET").unwrap_or_else(|error| panic!("{case}: no answer: {error}"));
    assert!([400, 501, 505].contains(&reply.status), "{case}: {reply:?}");
    client.assert_closed(case);
    assert_eq!(service.received(), before, "{case}: the service received something");
}

#[test]
fn heads_in_doubt_are_refused_and_the_connection_is_closed() {
    let service = Service::ok("");
    let gate = Setup::public(&service).start();
    for (case, bytes) in refused_heads() {
        assert_refused(&gate, &service, case, &bytes);
    }
}

#[test]
fn so_are_they_behind_a_good_request() {
    let service = Service::ok("");
    let gate = Setup::public(&service).start();
    for (case, bytes) in refused_heads() {
        assert_refused_behind_a_good_one(&gate, &service, case, &bytes);
    }
}

#[test]
fn request_lines_that_are_none_are_refused() {
    let service = Service::ok("");
    let gate = Setup::public(&service).start();
    for line in REFUSED_LINES {
        let bytes = format!("{line}\r\nHost: gate.test\r\n\r\n{PREY}");
        assert_refused(&gate, &service, line, bytes.as_bytes());
    }
}

#[test]
fn the_log_says_what_was_malformed() {
    let service = Service::ok("");
    let gate = Setup::public(&service).start();
    for framing in
        ["Content-Length: 5\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5"]
    {
        let mut client = gate.connect();
        client.send_anyway(doubtful(framing));
        let reply = client.reply().expect(400, framing);
        assert_eq!(gate.reason(&reply), "head_malformed", "{framing}");
    }
    gate.wait_metric("decisions_total", &[("reason", "head_malformed")], 2);
}

#[test]
fn old_versions_have_no_chunks() {
    let service = Service::ok("");
    let gate = Setup::public(&service).start();
    let bytes =
        format!("POST / HTTP/1.0\r\nHost: gate.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{PREY}");
    assert_refused(&gate, &service, "HTTP/1.0 with chunks", bytes.as_bytes());
}

/// What may be refused or put right, but must never be passed on in doubt: if anything reaches the service, it is
/// this one request in strict framing (the service checks that), with this body.
#[test]
fn what_is_tolerated_is_put_right() {
    let service = Service::ok("");
    let gate = Setup::public(&service).start();
    for (case, bytes, body) in [
        (
            "the same length twice",
            "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
            "hi",
        ),
        ("the same length in a list", "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2, 2\r\n\r\nhi", "hi"),
        ("leading zeros", "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0002\r\n\r\nhi", "hi"),
        ("bare LF", "POST /x HTTP/1.1\nHost: a\nContent-Length: 2\n\nhi", "hi"),
        ("one bare LF", "POST /x HTTP/1.1\r\nHost: a\nContent-Length: 2\r\n\r\nhi", "hi"),
        ("bare LF at the end", "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\nhi", "hi"),
        ("empty lines in front", "\r\n\r\nPOST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", "hi"),
        (
            "CHUNKED",
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            "hi",
        ),
        (
            "space after chunked",
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked \t\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            "hi",
        ),
        (
            "zeros before the size",
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0002\r\nhi\r\n000\r\n\r\n",
            "hi",
        ),
        (
            "a chunk extension",
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;a=\"b\"\r\nhi\r\n0;c\r\n\r\n",
            "hi",
        ),
        (
            "space after the size",
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2 \r\nhi\r\n0\r\n\r\n",
            "hi",
        ),
    ] {
        let before = service.requests().len();
        let mut client = gate.connect();
        client.send_anyway([bytes, PREY].concat());
        let first = client.try_reply("GET").map(|reply| reply.status);
        let requests = service.requests().split_off(before);
        if first.is_ok_and(|status| status == 200) {
            assert_eq!(
                (requests[0].target.as_str(), requests[0].body.as_slice()),
                ("/x", body.as_bytes()),
                "{case}"
            );
            client.reply().expect(200, "the next request is a request of its own");
        } else {
            assert!(
                requests.iter().all(|request| !request.complete && request.target == "/x"),
                "{case}: {requests:?}"
            );
            client.assert_closed(case);
        }
    }
}

#[test]
fn chunks_in_doubt_end_the_request_unfinished() {
    let service = Service::ok("");
    let gate = Setup::public(&service).start();
    for (case, chunks) in [
        ("size in 0x", "0x2\r\nhi\r\n0\r\n\r\n"),
        ("size with a plus", "+2\r\nhi\r\n0\r\n\r\n"),
        ("size with a minus", "-2\r\nhi\r\n0\r\n\r\n"),
        ("space in front", " 2\r\nhi\r\n0\r\n\r\n"),
        ("no size", "\r\nhi\r\n0\r\n\r\n"),
        ("no digits", "g\r\nhi\r\n0\r\n\r\n"),
        ("size beyond 64 bits", "10000000000000002\r\nhi\r\n0\r\n\r\n"),
        ("size of many digits", "fffffffffffffffffffffffffffffffff\r\nhi\r\n0\r\n\r\n"),
        ("bare LF after the size", "2\nhi\r\n0\r\n\r\n"),
        ("bare CR after the size", "2\rhi\r\n0\r\n\r\n"),
        ("LF in an extension", "2;a\nb\r\nhi\r\n0\r\n\r\n"),
        ("CR in an extension", "2;a\rb\r\nhi\r\n0\r\n\r\n"),
        ("data longer than its size", "2\r\nhi!\r\n0\r\n\r\n"),
        ("no end of the data", "2\r\nhi0\r\n\r\n"),
        ("bare LF after the data", "2\r\nhi\n0\r\n\r\n"),
        ("trailer without a colon", "2\r\nhi\r\n0\r\nX-A\r\n\r\n"),
        ("trailer with a space in its name", "2\r\nhi\r\n0\r\nX A: 1\r\n\r\n"),
    ] {
        let before = service.requests().len();
        let mut client = gate.connect();
        let head = "POST /chunks HTTP/1.1\r\nHost: gate.test\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.send_anyway([head, chunks, PREY].concat());
        if let Ok(reply) = client.try_reply("POST") {
            assert!((400..500).contains(&reply.status), "{case}: {reply:?}");
        }
        client.assert_closed(case);
        for request in service.requests().split_off(before) {
            assert_eq!(request.target, "/chunks", "{case}");
            assert!(!request.complete, "{case}: the service took it for whole: {request:?}");
        }
    }
}

#[test]
fn trailers_cannot_frame_route_or_authenticate() {
    let service = Service::ok("");
    let gate = Setup::public(&service).start();
    for name in ["Content-Length", "Transfer-Encoding", "Host", "Authorization", "Connection", "Cookie", "TE"]
    {
        let mut client: Client = gate.connect();
        client.send_anyway(format!(
            "POST / HTTP/1.1\r\nHost: gate.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n{name}: 5\r\nX-Ok: 1\r\n\r\n"
        ));
        if client.try_reply("POST").is_ok_and(|reply| reply.status == 200) {
            let trailers = service.last().trailers;
            assert!(!trailers.has(name), "{name} reached the service as a trailer: {trailers:?}");
        }
    }
    service.requests();
}

#[test]
fn a_body_is_a_body_whatever_it_looks_like() {
    let service = Service::ok("");
    let gate = Setup::public(&service).start();
    let mut client = gate.connect();
    for method in ["POST", "GET", "DELETE", "OPTIONS"] {
        let before = service.requests().len();
        crate::support::request::ask(method, "/with-body").body(PREY).on(&mut client).expect(200, method);
        let requests = service.requests().split_off(before);
        assert_eq!(requests.len(), 1, "{method}: {requests:?}");
        assert_eq!(requests[0].body, PREY.as_bytes(), "{method}");
    }
}

#[test]
fn a_refused_request_takes_its_body_with_it() {
    let service = Service::ok("");
    let gate = Setup::public(&service).route("/denied", "access = \"deny\"").start();
    let mut client = gate.connect();
    client.send_anyway(crate::support::request::ask("POST", "/denied").body(PREY).bytes());
    client.reply().expect(403, "denied");
    // The connection is closed, or goes on behind the body.
    client.send_anyway(get("/next").bytes());
    if let Ok(reply) = client.try_reply("GET") {
        assert_eq!(reply.status, 200);
    }
    assert!(!service.targets().contains(&"/smuggled".to_owned()), "{:?}", service.targets());
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let service = Service::start(|exchange| {
        let target = exchange.target();
        exchange.ok(&target)
    });
    let gate = Setup::public(&service).route("/2", "access = \"deny\"").start();
    let mut client = gate.connect();
    client.send([get("/1").bytes(), get("/2").bytes(), get("/3").bytes()].concat());
    assert_eq!(client.reply().expect(200, "1").text(), "/1");
    client.reply().expect(403, "2");
    assert_eq!(client.reply().expect(200, "3").text(), "/3");
    assert_eq!(service.targets(), ["/1", "/3"]);
}
