//! Reads one request head with the parser that the server library uses, and refuses what it is too lenient about.
//!
//! A head that arrives whole, as nearly all do, is parsed once, on the stack, without a copy. One that arrives in
//! pieces is shown again from its first byte each time, but finished lines are not parsed again until it is whole:
//! a client who sends single bytes makes us look again at one line, not at all of them.

use crate::denial::Reason;
use std::mem::MaybeUninit;

/// The limits of a request head and of a trailer section.
///
/// The server library must be given the same: as many header fields, if they are more than 100, a head of as
/// many bytes, and a read buffer that holds it. Else it would answer 431 on its own.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many bytes a head may have, from the request line to the empty line, both included.
    pub header_bytes: usize,
    /// How many fields it may have; at most [`MOST_FIELDS`] count.
    pub headers: usize,
}

/// No head has more fields than this, whatever the limits say.
pub const MOST_FIELDS: usize = 1000;
/// Room for the fields of a head under the usual limits: a tenth of the stack.
const USUAL_FIELDS: usize = 100;
/// How many empty lines may stand before a request line (RFC 9112 §2.2: a server should ignore "at least one").
const EMPTY_LINES: usize = 8;
/// The server library answers 414 to a longer request target.
const TARGET_BYTES: usize = 65_534;
/// The server library answers 431 to a longer field name.
const NAME_BYTES: usize = 65_535;
/// The largest body that a peer with signed lengths can count.
const LENGTH_DIGITS: usize = 19;

/// How a request's body ends (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    Empty,
    /// After so many bytes, at least one.
    Length(u64),
    /// After the last chunk and the trailers.
    Chunked,
}

/// What a good head says about the bytes that follow it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    /// Its length in bytes, empty lines before it included.
    pub(super) length: usize,
    /// How the body ends.
    pub(super) framing: Framing,
    /// Whether it may be answered with 101, if it has no body.
    pub(super) upgrade: bool,
    /// Whether the connection ends with it.
    pub(super) last: bool,
}

/// Reads heads, one after the other.
#[derive(Debug)]
pub(super) struct HeadReader {
    limits: Limits,
    /// Where the first unfinished line of an incomplete head begins; zero while that is the request line.
    line: usize,
    /// How many field lines are before it.
    fields: usize,
}

impl HeadReader {
    pub(super) const fn new(limits: Limits) -> Self {
        let headers = if limits.headers < MOST_FIELDS { limits.headers } else { MOST_FIELDS };
        Self { limits: Limits { headers, ..limits }, line: 0, fields: 0 }
    }

    /// Reads the head that the bytes begin with; none while it is incomplete.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<Option<Head>, Reason> {
        let window = bytes.get(..self.limits.header_bytes).unwrap_or(bytes);
        let head = if self.line > 0 && !self.is_whole(window)? {
            None
        } else if self.limits.headers <= USUAL_FIELDS {
            self.parse::<USUAL_FIELDS>(window)?
        } else {
            self.parse::<MOST_FIELDS>(window)?
        };
        if head.is_some() {
            (self.line, self.fields) = (0, 0);
        } else if window.len() >= self.limits.header_bytes {
            return Err(Reason::HeadTooLarge);
        } else {
            self.remember(window);
        }
        Ok(head)
    }

    fn parse<const FIELDS: usize>(&self, window: &[u8]) -> Result<Option<Head>, Reason> {
        let before = empty_lines(window)?;
        let text = window.get(before..).unwrap_or_default();
        let mut room = [const { MaybeUninit::uninit() }; FIELDS];
        let room = room.get_mut(..self.limits.headers).unwrap_or_default();
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(text, room) {
            Ok(httparse::Status::Complete(length)) => {
                let lines = request.headers.len().saturating_add(2);
                let text = text.get(..length).unwrap_or_default();
                // As many CRs as lines: no line ends with a bare LF (the parser lets no CR stand elsewhere).
                if memchr::memchr_iter(b'\r', text).count() != lines {
                    return Err(Reason::HeadMalformed);
                }
                judge(&request, before.saturating_add(length)).map(Some)
            }
            Ok(httparse::Status::Partial) => Ok(None),
            Err(httparse::Error::Token) => Err(token_fault(&request, text)),
            Err(error) => Err(fault(error)),
        }
    }

    /// Whether the lines that were unfinished so far complete the head; refuses what no more bytes could mend.
    fn is_whole(&self, window: &[u8]) -> Result<bool, Reason> {
        let rest = window.get(self.line..).unwrap_or_default();
        let mut room = vec![httparse::EMPTY_HEADER; self.limits.headers.saturating_sub(self.fields)];
        httparse::parse_headers(rest, &mut room).map(|status| status.is_complete()).map_err(fault)
    }

    /// Notes which lines are finished.
    fn remember(&mut self, window: &[u8]) {
        if self.line == 0 {
            let before = empty_lines(window).unwrap_or_default();
            let end = memchr::memchr(b'\n', window.get(before..).unwrap_or_default());
            let Some(end) = end else { return };
            self.line = before.saturating_add(end).saturating_add(1);
        }
        let fresh = window.get(self.line..).unwrap_or_default();
        if let Some(end) = memchr::memrchr(b'\n', fresh) {
            let lines = memchr::memchr_iter(b'\n', fresh).count();
            self.line = self.line.saturating_add(end).saturating_add(1);
            self.fields = self.fields.saturating_add(lines);
        }
    }
}

/// How many bytes the empty lines take that stand before the request line. One that is a bare LF is refused.
fn empty_lines(window: &[u8]) -> Result<usize, Reason> {
    let lines =
        window.chunks_exact(2).take_while(|line| *line == b"\r\n").take(EMPTY_LINES.saturating_add(1));
    let lines = lines.count();
    let length = lines.saturating_mul(2);
    if lines > EMPTY_LINES || window.get(length) == Some(&b'\n') {
        return Err(Reason::HeadMalformed);
    }
    Ok(length)
}

const fn fault(error: httparse::Error) -> Reason {
    match error {
        httparse::Error::TooManyHeaders => Reason::HeadTooLarge,
        httparse::Error::HeaderName
        | httparse::Error::HeaderValue
        | httparse::Error::NewLine
        | httparse::Error::Status
        | httparse::Error::Token
        | httparse::Error::Version => Reason::HeadMalformed,
    }
}

/// Tells a target with a byte that no target may hold from a request line without three parts.
fn token_fault(request: &httparse::Request<'_, '_>, text: &[u8]) -> Reason {
    let target = request.method.and_then(|method| text.get(method.len().saturating_add(1)..));
    let stray = target.unwrap_or_default().iter().find(|byte| !byte.is_ascii_graphic());
    match stray {
        None | Some(b' ' | b'\r' | b'\n') => Reason::HeadMalformed,
        Some(_) => Reason::PathRefused,
    }
}

fn judge(request: &httparse::Request<'_, '_>, length: usize) -> Result<Head, Reason> {
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(Reason::HeadMalformed);
    };
    // CONNECT would make the server library treat the connection as a tunnel.
    if matches!(method, "CONNECT" | "TRACE") {
        return Err(Reason::MethodRefused);
    }
    if target.len() > TARGET_BYTES {
        return Err(Reason::HeadTooLarge);
    }
    if !is_target(target) {
        return Err(Reason::PathRefused);
    }
    let modern = minor == 1;
    let after = if modern { After::Stay } else { After::StayIfAsked };
    let mut facts = Facts { host: false, length: None, chunked: false, upgrade: false, after };
    for field in request.headers.iter() {
        facts.note(field, modern)?;
    }
    let framing = match (facts.length, facts.chunked) {
        // RFC 9112 §6.1: the classic of request smuggling.
        (Some(_), true) => return Err(Reason::HeadMalformed),
        (None, true) => Framing::Chunked,
        (None | Some(0), false) => Framing::Empty,
        (Some(length), false) => Framing::Length(length),
    };
    if !facts.host {
        return Err(Reason::HeadMalformed);
    }
    let upgrade = facts.upgrade && modern && method == "GET";
    Ok(Head { length, framing, upgrade, last: facts.after != After::Stay })
}

/// Whether the server library takes the request target as it is: it cuts fragments off, and answers 400 to bytes
/// that it does not know (`http::Uri` has the same lists).
fn is_target(target: &str) -> bool {
    if !target.starts_with('/') {
        let plain = target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        // `http::Uri` takes an empty scheme, and a port without a host.
        return plain && !target.starts_with(':') && http::Uri::try_from(target).is_ok();
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let in_path = |byte| matches!(byte, b'!'..=b'~') & !matches!(byte, b'#' | b'<' | b'>' | b'`');
    let in_query = |byte| matches!(byte, b'!'..=b'~') & !matches!(byte, b'"' | b'#' | b'<' | b'>');
    // Without an early exit, which would keep the compiler from looking at many bytes at once.
    path.bytes().fold(true, |sound, byte| sound & in_path(byte))
        & query.bytes().fold(true, |sound, byte| sound & in_query(byte))
}

/// What becomes of the connection after a request (RFC 9112 §9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// It stays open: HTTP/1.1 did not say otherwise.
    Stay,
    /// It closes: HTTP/1.0 has not asked for more yet.
    StayIfAsked,
    /// It closes: the client said so.
    Close,
}

/// What the fields of a head say about framing.
#[derive(Debug)]
struct Facts {
    host: bool,
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
    after: After,
}

impl Facts {
    fn note(&mut self, field: &httparse::Header<'_>, modern: bool) -> Result<(), Reason> {
        let (name, value) = (field.name, field.value);
        let known = match name.len() {
            4 if name.eq_ignore_ascii_case("host") => {
                !std::mem::replace(&mut self.host, true) && !value.is_empty()
            }
            7 if name.eq_ignore_ascii_case("upgrade") => {
                self.upgrade = true;
                true
            }
            10 if name.eq_ignore_ascii_case("connection") => {
                self.note_connection(value);
                true
            }
            14 if name.eq_ignore_ascii_case("content-length") => {
                let length = content_length(value);
                self.length.is_none() && length.inspect(|length| self.length = Some(*length)).is_some()
            }
            17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                let first = !std::mem::replace(&mut self.chunked, true);
                first && modern && value.eq_ignore_ascii_case(b"chunked")
            }
            length if length > NAME_BYTES => return Err(Reason::HeadTooLarge),
            _ => true,
        };
        if known { Ok(()) } else { Err(Reason::HeadMalformed) }
    }

    /// Reads the options exactly as the server library does: once it has read `close`, it stays so.
    fn note_connection(&mut self, value: &[u8]) {
        let has = |option: &[u8]| {
            value.is_ascii()
                && value
                    .split(|byte| *byte == b',')
                    .any(|part| part.trim_ascii().eq_ignore_ascii_case(option))
        };
        if has(b"close") {
            self.after = After::Close;
        } else if self.after == After::StayIfAsked && has(b"keep-alive") {
            self.after = After::Stay;
        }
    }
}

/// A length of decimal digits only (RFC 9110 §8.6), small enough for every peer to count.
fn content_length(value: &[u8]) -> Option<u64> {
    let digits = value.len() <= LENGTH_DIGITS && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| digits)?;
    text.parse().ok().filter(|length| i64::try_from(*length).is_ok())
}
