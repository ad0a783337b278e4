//! Streams that are made up: requests and responses as peers write them, and as attackers do.

use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Bytes, shown as text.
#[derive(Clone)]
pub(super) struct Raw(Vec<u8>);

impl std::ops::Deref for Raw {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Raw {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "b\"{}\"", self.0.escape_ascii())
    }
}

/// Bytes and words that framing hangs on.
const WORDS: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    "\0",
    " ",
    "\t",
    ":",
    ";",
    ",",
    "#",
    "0",
    "F",
    "\u{7f}",
    "\u{80}",
    "0\r\n\r\n",
    "1\r\n",
    "5;a\r\n",
    "ffffffffffffffff\r\n",
    "Content-Length: 3\r\n",
    "Content-Length: 0\r\n",
    "Transfer-Encoding: chunked\r\n",
    "transfer-encoding:\tCHUNKED \r\n",
    "Transfer-Encoding: gzip\r\n",
    "Connection: close\r\n",
    "Connection: keep-alive\r\n",
    "Host: a\r\n",
    "GET / HTTP/1.1\r\n",
    "POST /a?b HTTP/1.0\r\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 100 \r\n",
    "HTTP/1.0 304\n",
];

fn lines(line: impl Strategy<Value = String>, most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(line, 0..most).prop_map(|lines| lines.concat())
}

fn field(rare: &'static [&'static str]) -> impl Strategy<Value = String> {
    let usual = "[A-Za-z-]{1,8}: ?[ -~\t]{0,12}";
    let rare = select(rare).prop_map(str::to_owned);
    prop_oneof![6 => usual.prop_map(|field| field), 1 => rare].prop_map(|field| field + "\r\n")
}

/// A body in chunks, with what precedes it in its head. Between a size and its line end may stand `padding`.
fn chunked(padding: &'static str) -> impl Strategy<Value = String> {
    let chunk = ("[ -~\r\n]{1,20}", padding, "(|;[ -~]{0,6})")
        .prop_map(|(data, padding, extension)| format!("{:x}{padding}{extension}\r\n{data}\r\n", data.len()));
    let trailers = lines("[A-Za-z]{1,4}: [ -~]{0,5}\r\n".prop_map(|line| line), 3);
    (lines(chunk, 4), padding, trailers).prop_map(|(chunks, padding, trailers)| {
        format!("Transfer-Encoding: chunked\r\n\r\n{chunks}0{padding}\r\n{trailers}\r\n")
    })
}

fn measured() -> impl Strategy<Value = String> {
    "[ -~\r\n]{0,40}".prop_map(|data| format!("Content-Length: {}\r\n\r\n{data}", data.len()))
}

fn request() -> impl Strategy<Value = String> {
    let methods = select(vec!["GET", "GET", "POST", "PUT", "HEAD", "OPTIONS", "BREW", "TRACE", "CONNECT"]);
    let targets = prop_oneof![
        8 => "/[!$-;=?-_a-~]{0,12}".prop_map(|target| target),
        1 => "/[!-~]{0,12}".prop_map(|target| target),
        1 => select(vec!["*", "http://a/b", "a:80", "/a#b"]).prop_map(str::to_owned)
    ];
    let version = prop_oneof![8 => Just("1.1"), 1 => Just("1.0")];
    let empty_lines = prop_oneof![6 => Just(""), 1 => Just("\r\n")];
    let rare = &[
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
    ];
    let body = prop_oneof![2 => Just("\r\n".to_owned()), 2 => chunked(""), 2 => measured()];
    (empty_lines, methods, targets, version, lines(field(rare), 3), body).prop_map(
        |(lines, method, target, version, fields, body)| {
            format!("{lines}{method} {target} HTTP/{version}\r\nHost: a\r\n{fields}{body}")
        },
    )
}

fn response() -> impl Strategy<Value = String> {
    let statuses = select(vec![
        "200 OK",
        "200 OK",
        "200",
        "200 ",
        "204 None",
        "304 Same",
        "404 \u{e9}",
        "100 Go on",
        "103",
        "101 Other",
        "500 Oh no",
        "299 ?",
        "999 !",
        "099 x",
    ]);
    let version = prop_oneof![6 => Just("1.1"), 1 => Just("1.0")];
    let rare = &[
        "Upgrade: websocket",
        "Connection: close",
        "Connection: keep-alive",
        "Content-Length: 3",
        "Content-Length: 0",
        "Content-Length: 3, 3",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: gzip",
        "Date: now",
    ];
    let bare = "[ -~\r\n]{0,20}".prop_map(|data| format!("\r\n{data}"));
    let body =
        prop_oneof![2 => Just("\r\n".to_owned()), 2 => chunked("[ \t]{0,2}"), 3 => measured(), 1 => bare];
    let line_ends = prop_oneof![8 => Just("\r\n"), 1 => Just("\n")];
    let empty_lines = prop_oneof![20 => Just(""), 1 => Just("\r\n")];
    let line = (empty_lines, version, statuses, line_ends)
        .prop_map(|(lines, version, status, end)| format!("{lines}HTTP/{version} {status}{end}"));
    (line, lines(field(rare), 3), body).prop_map(|(line, fields, body)| line + &fields + &body)
}

/// A few messages; half of the streams have something replaced, inserted, removed, repeated or moved.
fn stream(message: impl Strategy<Value = String>) -> impl Strategy<Value = Raw> {
    let word = prop_oneof![
        select(WORDS).prop_map(|word| word.as_bytes().to_vec()),
        any::<u8>().prop_map(|byte| vec![byte])
    ];
    let mutation = (any::<Index>(), any::<Index>(), 0..5_u8, word);
    let mutations = prop_oneof![Just(Vec::new()), prop::collection::vec(mutation, 1..4)];
    (prop::collection::vec(message, 1..4), mutations).prop_map(|(messages, mutations)| {
        let mut stream = messages.concat().into_bytes();
        for (place, other, kind, word) in mutations {
            let place = place.index(stream.len() + 1);
            let end = other.index((stream.len() - place).min(12) + 1) + place;
            let part = stream[place..end].to_vec();
            match kind {
                0 => drop(stream.splice(place..end.min(place + 1), word)),
                1 => drop(stream.splice(place..place, word)),
                2 => drop(stream.drain(place..end)),
                3 => drop(stream.splice(place..place, part)),
                _ => {
                    stream.drain(place..end);
                    let place = other.index(stream.len() + 1);
                    stream.splice(place..place, part);
                }
            }
        }
        Raw(stream)
    })
}

/// What a client sends.
pub(super) fn requests() -> impl Strategy<Value = Raw> {
    stream(request())
}

/// What a service sends.
pub(super) fn responses() -> impl Strategy<Value = Raw> {
    stream(response())
}

/// What nobody sends: words that mean something, in any order, and any bytes between them.
pub(super) fn noise() -> impl Strategy<Value = Raw> {
    let piece = prop_oneof![
        4 => select(WORDS).prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
        1 => "[ -~]{0,10}".prop_map(String::into_bytes),
    ];
    let start = select(vec!["", "GET / HTTP/1.1\r\nHost: a\r\n", "HTTP/1.1 200 OK\r\n"]);
    (start, prop::collection::vec(piece, 0..24))
        .prop_map(|(start, pieces)| Raw([start.as_bytes(), &pieces.concat()].concat()))
}
