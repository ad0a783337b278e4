//! A client's request head, read strictly: what two readers could understand in two ways is refused.
//!
//! Request smuggling (RFC 9112 §11.2, CWE-444) lives on two readers that disagree about where a request ends. So
//! `Content-Length` beside `Transfer-Encoding` is refused (RFC 9112 §6.1: it "ought to be handled as an error"), as are
//! repeated lengths, codings other than `chunked`, lines that end with a bare LF, folded lines, fragments in the target,
//! and everything that a field name or value may not hold. After a refusal nobody knows where the next request would
//! begin, so the connection ends (RFC 9112 §9.6).

use super::body::Framing;
use super::head::{self, Limits, content_length, has_option};
use crate::denial::Reason;
use bytes::{Buf, Bytes, BytesMut};
use http::{Method, Request, Uri, Version};
use std::mem::MaybeUninit;

/// No head has more fields than this, whatever the limits say.
pub const MOST_FIELDS: usize = 1000;
/// Room for the fields of a head under the usual limits: a tenth of the stack.
const USUAL_FIELDS: usize = 100;
/// How many empty lines may stand before a request line (RFC 9112 §2.2: a server should ignore "at least one").
const EMPTY_LINES: usize = 8;
/// The longest request target that `http::Uri` holds.
const TARGET_BYTES: usize = 65_534;
/// The longest field name that `http::HeaderName` holds.
const NAME_BYTES: usize = 65_535;

/// A request head that has one reading, and what it says about the bytes that follow it.
#[derive(Debug)]
pub struct RequestHead {
    /// Method, target, version and fields.
    pub request: Request<()>,
    /// How the body ends.
    pub framing: Framing,
    /// What becomes of the connection.
    pub after: After,
    /// Whether the client waits for a 100 before it sends its body (RFC 9110 §10.1.1).
    pub expects: bool,
}

/// What becomes of the connection after a request (RFC 9112 §9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It stays open: HTTP/1.1 did not say otherwise.
    Stay,
    /// It stays open: HTTP/1.0 asked for it, and must be told.
    StayAsAsked,
    /// It closes: the client said so, or is an old one.
    Close,
}

/// Reads the heads of one connection, one after the other.
#[derive(Debug)]
pub struct HeadReader {
    limits: Limits,
    /// How many bytes of an incomplete head were looked at.
    seen: usize,
    /// How many empty lines came before it.
    empty_lines: usize,
}

impl HeadReader {
    /// For a connection that has just begun.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        let headers = if limits.headers < MOST_FIELDS { limits.headers } else { MOST_FIELDS };
        Self { limits: Limits { headers, ..limits }, seen: 0, empty_lines: 0 }
    }

    /// Takes the head that the bytes begin with; none while it is incomplete.
    ///
    /// A head that comes in pieces costs no more than one that comes at once: no byte is looked at twice until the last
    /// one is there.
    ///
    /// # Errors
    /// What the request is refused for.
    pub fn read(&mut self, bytes: &mut BytesMut) -> Result<Option<RequestHead>, Reason> {
        if self.seen == 0 && !self.has_begun(bytes)? {
            return Ok(None);
        }
        let window = bytes.get(..self.limits.header_bytes).unwrap_or(bytes);
        let Some(end) = head::end(window, self.seen) else {
            let fresh = window.iter().skip(self.seen);
            if let Some(sound) = fresh.copied().position(is_control) {
                let lost = self.seen.saturating_add(sound).saturating_add(1);
                return Err(lost_fault(window.get(..lost).unwrap_or_default(), self.limits.headers));
            }
            if window.len() >= self.limits.header_bytes {
                return Err(Reason::HeadTooLarge);
            }
            self.seen = window.len();
            return Ok(None);
        };
        (self.seen, self.empty_lines) = (0, 0);
        let head = bytes.split_to(end).freeze();
        if self.limits.headers <= USUAL_FIELDS {
            parse::<USUAL_FIELDS>(&head, self.limits.headers).map(Some)
        } else {
            parse::<MOST_FIELDS>(&head, self.limits.headers).map(Some)
        }
    }

    /// Throws away the empty lines before a request line, and says whether one has begun. A bare LF is refused.
    fn has_begun(&mut self, bytes: &mut BytesMut) -> Result<bool, Reason> {
        while bytes.starts_with(b"\r\n") {
            bytes.advance(2);
            self.empty_lines = self.empty_lines.saturating_add(1);
        }
        if self.empty_lines > EMPTY_LINES || bytes.starts_with(b"\n") {
            return Err(Reason::HeadMalformed);
        }
        Ok(!matches!(**bytes, [] | [b'\r']))
    }
}

/// What no head holds, so that nobody need wait for the end of one that does.
const fn is_control(byte: u8) -> bool {
    byte.is_ascii_control() && !matches!(byte, b'\r' | b'\n' | b'\t')
}

/// What a head is refused for that ends with what it must not hold: the same as if all of it had come.
fn lost_fault(text: &[u8], most: usize) -> Reason {
    let mut room = vec![httparse::EMPTY_HEADER; most];
    let mut request = httparse::Request::new(&mut room);
    match request.parse(text) {
        Err(httparse::Error::Token) => token_fault(&request, text),
        Err(error) => fault(error),
        Ok(_) => Reason::HeadMalformed,
    }
}

fn parse<const FIELDS: usize>(head: &Bytes, most: usize) -> Result<RequestHead, Reason> {
    let mut room = [const { MaybeUninit::uninit() }; FIELDS];
    let room = room.get_mut(..most).unwrap_or_default();
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(head, room) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {
            // As many CRs as lines: no line ends with a bare LF (the parser lets no CR stand elsewhere).
            let lines = request.headers.len().saturating_add(2);
            if memchr::memchr_iter(b'\r', head).count() != lines {
                return Err(Reason::HeadMalformed);
            }
            judge(&request, head)
        }
        Ok(_) => Err(Reason::HeadMalformed),
        Err(httparse::Error::Token) => Err(token_fault(&request, head)),
        Err(error) => Err(fault(error)),
    }
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

fn judge(parsed: &httparse::Request<'_, '_>, head: &Bytes) -> Result<RequestHead, Reason> {
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(Reason::HeadMalformed);
    };
    if target.len() > TARGET_BYTES {
        return Err(Reason::HeadTooLarge);
    }
    let modern = minor == 1;
    let facts = Facts::of(parsed.headers, modern)?;
    // Whatever the answer to a CONNECT, what follows it may be meant for the tunnel.
    let after = if method == "CONNECT" { After::Close } else { facts.after };
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
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method.as_bytes()).map_err(|_| Reason::HeadMalformed)?;
    *request.uri_mut() = uri(target, head)?;
    *request.version_mut() = if modern { Version::HTTP_11 } else { Version::HTTP_10 };
    *request.headers_mut() = head::fields(head, parsed.headers).ok_or(Reason::HeadMalformed)?;
    let expects = facts.expects && modern && framing != Framing::Empty;
    Ok(RequestHead { request, framing, after, expects })
}

/// The request target. `http::Uri` would cut a fragment off, and takes an empty scheme, and a port without a host.
fn uri(target: &str, head: &Bytes) -> Result<Uri, Reason> {
    if memchr::memchr(b'#', target.as_bytes()).is_some() || target.starts_with(':') || !target.is_ascii() {
        return Err(Reason::PathRefused);
    }
    Uri::from_maybe_shared(head.slice_ref(target.as_bytes())).map_err(|_| Reason::PathRefused)
}

/// What the fields of a head say about framing.
#[derive(Debug)]
struct Facts {
    host: bool,
    length: Option<u64>,
    chunked: bool,
    expects: bool,
    after: After,
}

impl Facts {
    fn of(fields: &[httparse::Header<'_>], modern: bool) -> Result<Self, Reason> {
        let after = if modern { After::Stay } else { After::Close };
        let mut facts = Self { host: false, length: None, chunked: false, expects: false, after };
        let mut close = false;
        for field in fields {
            facts.note(field, modern, &mut close)?;
        }
        if close {
            facts.after = After::Close;
        }
        Ok(facts)
    }

    fn note(&mut self, field: &httparse::Header<'_>, modern: bool, close: &mut bool) -> Result<(), Reason> {
        let (name, value) = (field.name, field.value);
        let sound = match name.len() {
            4 if name.eq_ignore_ascii_case("host") => {
                !std::mem::replace(&mut self.host, true) && !value.is_empty()
            }
            6 if name.eq_ignore_ascii_case("expect") => {
                self.expects = value.eq_ignore_ascii_case(b"100-continue");
                true
            }
            10 if name.eq_ignore_ascii_case("connection") => {
                *close = *close || has_option(value, b"close");
                if !modern && has_option(value, b"keep-alive") {
                    self.after = After::StayAsAsked;
                }
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
        if sound { Ok(()) } else { Err(Reason::HeadMalformed) }
    }
}
