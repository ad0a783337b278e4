//! A service's response head: read as a client would, and refused where its framing is in doubt.

use super::body::Framing;
use super::head::{self, content_length, has_option};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Response, StatusCode, Version};
use std::mem::MaybeUninit;

/// What every response begins with.
const START: &[u8] = b"HTTP/1.";
/// The longest head of a response, in bytes.
const HEAD_BYTES: usize = 128 << 10;
/// The most fields of a response.
const FIELDS: usize = 200;

/// Why what a service answered is no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseFault {
    /// The status line or a field is malformed.
    #[error("the head of the response is malformed")]
    Head,
    /// It has more bytes or fields than anybody needs.
    #[error("the head of the response is too large")]
    TooLarge,
    /// Where the body ends can be read in two ways.
    #[error("the framing of the response is in doubt")]
    Framing,
    /// The connection ended in the middle.
    #[error("the connection ended before the response did")]
    Incomplete,
}

/// A response head, and what it says about the bytes that follow it.
#[derive(Debug)]
pub struct ResponseHead {
    /// Status and fields.
    pub response: Response<()>,
    /// How the body ends.
    pub framing: Framing,
    /// Whether the connection can serve another request.
    pub reusable: bool,
}

/// Takes the response head that the bytes begin with; none while it is incomplete. `seen` is how many bytes were
/// looked at before, `to_head` whether the request was a HEAD.
///
/// # Errors
/// Why it is no response.
pub fn read(
    bytes: &mut BytesMut,
    seen: &mut usize,
    to_head: bool,
) -> Result<Option<ResponseHead>, ResponseFault> {
    // What does not begin so can never be one, nor need it be waited for; no empty line stands before it either.
    if !START.starts_with(bytes.get(..START.len()).unwrap_or(bytes)) {
        return Err(ResponseFault::Head);
    }
    let Some(end) = head::end(bytes, *seen) else {
        *seen = bytes.len();
        return if bytes.len() >= HEAD_BYTES { Err(ResponseFault::TooLarge) } else { Ok(None) };
    };
    *seen = 0;
    if end > HEAD_BYTES {
        return Err(ResponseFault::TooLarge);
    }
    parse(&bytes.split_to(end).freeze(), to_head).map(Some)
}

fn parse(head: &Bytes, to_head: bool) -> Result<ResponseHead, ResponseFault> {
    let mut room = [const { MaybeUninit::uninit() }; FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut parsed, head, &mut room) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Err(httparse::Error::TooManyHeaders) => return Err(ResponseFault::TooLarge),
        Ok(_) | Err(_) => return Err(ResponseFault::Head),
    }
    let (Some(code), Some(minor)) = (parsed.code, parsed.version) else { return Err(ResponseFault::Head) };
    let status = StatusCode::from_u16(code).map_err(|_| ResponseFault::Head)?;
    let facts = Facts::of(parsed.headers)?;
    let bodiless = to_head
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let framing = match (facts.chunked, facts.length) {
        _ if bodiless => Framing::Empty,
        (true, _) if minor == 0 => return Err(ResponseFault::Framing),
        // Chunks have the last word about the length (RFC 9112 §6.3).
        (true, _) => Framing::Chunked,
        (false, Some(0)) => Framing::Empty,
        (false, Some(length)) => Framing::Length(length),
        (false, None) => Framing::Close,
    };
    let stays = if minor == 0 { facts.keep_alive } else { true };
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.version_mut() = Version::HTTP_11;
    *response.headers_mut() = head::fields(head, parsed.headers).ok_or(ResponseFault::Head)?;
    put_right(response.headers_mut(), facts, framing);
    // Behind a 101 another protocol is spoken, whether anybody asked for it or not.
    let switched = status == StatusCode::SWITCHING_PROTOCOLS;
    let reusable = stays && !facts.close && !switched && framing != Framing::Close;
    Ok(ResponseHead { response, framing, reusable })
}

/// The length that stands in the head is the one that holds, or none does.
fn put_right(headers: &mut HeaderMap, facts: Facts, framing: Framing) {
    if facts.chunked {
        headers.remove(CONTENT_LENGTH);
        headers.remove(TRANSFER_ENCODING);
    } else if facts.lengths > 1
        && framing != Framing::Close
        && let Some(first) = headers.get(CONTENT_LENGTH).cloned()
    {
        headers.insert(CONTENT_LENGTH, first);
    }
}

/// What the fields of a response say about framing.
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    length: Option<u64>,
    lengths: usize,
    chunked: bool,
    close: bool,
    keep_alive: bool,
}

impl Facts {
    fn of(fields: &[httparse::Header<'_>]) -> Result<Self, ResponseFault> {
        let mut facts = Self::default();
        for field in fields {
            let (name, value) = (field.name, field.value);
            match name.len() {
                10 if name.eq_ignore_ascii_case("connection") => {
                    facts.close = facts.close || has_option(value, b"close");
                    facts.keep_alive = facts.keep_alive || has_option(value, b"keep-alive");
                }
                14 if name.eq_ignore_ascii_case("content-length") => {
                    let length = content_length(value).ok_or(ResponseFault::Framing)?;
                    if facts.length.is_some_and(|known| known != length) {
                        return Err(ResponseFault::Framing);
                    }
                    facts.length = Some(length);
                    facts.lengths = facts.lengths.saturating_add(1);
                }
                17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                    if facts.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                        return Err(ResponseFault::Framing);
                    }
                    facts.chunked = true;
                }
                _ => {}
            }
        }
        Ok(facts)
    }
}
