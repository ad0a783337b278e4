//! Reads a chunked body (RFC 9112 §7.1) as it streams, more strictly than any reader behind us.
//!
//! Lax chunk parsing is the second half of request smuggling: a bare LF after a chunk size or inside an extension
//! (CVE-2025-22871), blanks around the size, a size that overflows (CVE-2021-32714), and framing fields in trailers each
//! made two readers disagree about the end of a body. Here a line is `1*16HEXDIG [";" …] CRLF`, and nothing else.

use super::head::{self, Limits};
use crate::denial::Reason;
use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use http_body::Frame;

/// How many bytes of chunk extensions a body may hold (RFC 9112 §7.1.1 asks for a limit). Nobody reads them.
const EXTENSION_BYTES: u16 = 4 << 10;
/// The longest trailer section, whatever the limit of a head.
const TRAILER_BYTES: usize = 16 << 10;
/// The most trailer fields, whatever the limit of a head.
const TRAILER_FIELDS: usize = 100;
/// Sixteen hexadecimal digits are what 64 bits hold.
const SIZE_DIGITS: u8 = 16;

/// What the next byte must be.
#[derive(Clone, Copy, Debug)]
enum Expect {
    Size { size: u64, digits: u8 },
    Padding { size: u64 },
    Extension { size: u64 },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    Trailers { seen: usize },
    Nothing,
}

impl Expect {
    const SIZE: Self = Self::Size { size: 0, digits: 0 };
}

/// A chunked body on its way.
#[derive(Debug)]
pub(super) struct Chunked {
    expect: Expect,
    extension_bytes: u16,
    trailer_bytes: usize,
    trailer_fields: usize,
    /// Whether blanks may stand behind a size: some services pad, and nobody is asked to authorize their responses.
    padded: bool,
}

impl Chunked {
    /// A client's body that begins with the next byte.
    pub(super) fn request(limits: Limits) -> Self {
        Self {
            expect: Expect::SIZE,
            extension_bytes: 0,
            trailer_bytes: limits.header_bytes.min(TRAILER_BYTES),
            trailer_fields: limits.headers.min(TRAILER_FIELDS),
            padded: false,
        }
    }

    /// A service's body that begins with the next byte.
    pub(super) const fn response() -> Self {
        Self {
            expect: Expect::SIZE,
            extension_bytes: 0,
            trailer_bytes: TRAILER_BYTES,
            trailer_fields: TRAILER_FIELDS,
            padded: true,
        }
    }

    /// Whether its last byte was taken.
    pub(super) const fn is_complete(&self) -> bool {
        matches!(self.expect, Expect::Nothing)
    }

    /// Takes what it can of the bytes: up to one piece of data, or the trailers. None if it needs more, or is complete.
    pub(super) fn next(&mut self, bytes: &mut BytesMut) -> Result<Option<Frame<Bytes>>, Reason> {
        loop {
            match self.expect {
                Expect::Nothing => return Ok(None),
                Expect::Data { left } => {
                    let Some(data) = take(bytes, left) else { return Ok(None) };
                    let left = left.saturating_sub(u64::try_from(data.len()).unwrap_or(u64::MAX));
                    self.expect = if left == 0 { Expect::DataCr } else { Expect::Data { left } };
                    return Ok(Some(Frame::data(data)));
                }
                Expect::Trailers { seen } => {
                    let Some(trailers) = self.trailers(bytes, seen)? else { return Ok(None) };
                    self.expect = Expect::Nothing;
                    let frame = Frame::trailers(trailers);
                    return Ok(
                        Some(frame).filter(|frame| frame.trailers_ref().is_some_and(|map| !map.is_empty()))
                    );
                }
                Expect::Size { .. }
                | Expect::Padding { .. }
                | Expect::Extension { .. }
                | Expect::SizeLf { .. }
                | Expect::DataCr
                | Expect::DataLf => {
                    let Some(byte) = bytes.first() else { return Ok(None) };
                    self.expect = self.line_byte(*byte).ok_or(Reason::HeadMalformed)?;
                    bytes.advance(1);
                }
            }
        }
    }

    /// What follows a byte of a chunk's line, or of the line end after its data.
    fn line_byte(&mut self, byte: u8) -> Option<Expect> {
        match (self.expect, byte) {
            (
                Expect::Size { size, digits: 1.. } | Expect::Padding { size } | Expect::Extension { size },
                b'\r',
            ) => Some(Expect::SizeLf { size }),
            (Expect::Size { size, digits: 1.. } | Expect::Padding { size }, b';') => {
                Some(Expect::Extension { size })
            }
            (Expect::Size { size, digits: 1.. } | Expect::Padding { size }, b' ' | b'\t') if self.padded => {
                self.extend()?;
                Some(Expect::Padding { size })
            }
            (Expect::Size { size, digits: digits @ 0..SIZE_DIGITS }, byte) => {
                let digit = char::from(byte).to_digit(16)?;
                let size = size.checked_mul(16)?.checked_add(u64::from(digit))?;
                Some(Expect::Size { size, digits: digits.saturating_add(1) })
            }
            (Expect::Extension { size }, b'\t' | b' '..=b'~') => {
                self.extend()?;
                Some(Expect::Extension { size })
            }
            (Expect::SizeLf { size: 0 }, b'\n') => Some(Expect::Trailers { seen: 0 }),
            (Expect::SizeLf { size }, b'\n') => Some(Expect::Data { left: size }),
            (Expect::DataCr, b'\r') => Some(Expect::DataLf),
            (Expect::DataLf, b'\n') => Some(Expect::SIZE),
            _ => None,
        }
    }

    /// Counts a byte that nobody reads; none when there were too many.
    fn extend(&mut self) -> Option<()> {
        self.extension_bytes =
            self.extension_bytes.checked_add(1).filter(|bytes| *bytes <= EXTENSION_BYTES)?;
        Some(())
    }

    /// The trailer fields, once the empty line behind them is there.
    fn trailers(&mut self, bytes: &mut BytesMut, seen: usize) -> Result<Option<HeaderMap>, Reason> {
        if bytes.starts_with(b"\r\n") {
            bytes.advance(2);
            return Ok(Some(HeaderMap::new()));
        }
        let window = bytes.get(..self.trailer_bytes).unwrap_or(bytes);
        // An empty line cannot come first any more, nor can a line begin with a blank.
        if matches!(window, [b'\n' | b' ' | b'\t', ..] | [b'\r', _, ..]) {
            return Err(Reason::HeadMalformed);
        }
        let Some(end) = head::end(window, seen) else {
            if window.len() >= self.trailer_bytes {
                return Err(Reason::HeadTooLarge);
            }
            self.expect = Expect::Trailers { seen: window.len() };
            return Ok(None);
        };
        let section = bytes.split_to(end).freeze();
        let mut fields = vec![httparse::EMPTY_HEADER; self.trailer_fields];
        match httparse::parse_headers(&section, &mut fields) {
            Ok(httparse::Status::Complete((length, fields))) if length == section.len() => {
                let crs = memchr::memchr_iter(b'\r', &section).count();
                // As many CRs as lines: no line ends with a bare LF (the parser lets no CR stand elsewhere).
                let sound = crs == fields.len().saturating_add(1) && !fields.iter().any(is_framing);
                let map = head::fields(&section, fields).filter(|_| sound);
                map.map(Some).ok_or(Reason::HeadMalformed)
            }
            Err(httparse::Error::TooManyHeaders) => Err(Reason::HeadTooLarge),
            Ok(_) | Err(_) => Err(Reason::HeadMalformed),
        }
    }
}

/// Up to so many of the bytes there are; none if there are none.
pub(super) fn take(bytes: &mut BytesMut, most: u64) -> Option<Bytes> {
    let count = usize::try_from(most).unwrap_or(usize::MAX).min(bytes.len());
    (count > 0).then(|| bytes.split_to(count).freeze())
}

/// Fields that frame or route a message, which a trailer must not hold (RFC 9110 §6.5.1).
fn is_framing(field: &httparse::Header<'_>) -> bool {
    ["content-length", "host", "transfer-encoding"].iter().any(|name| field.name.eq_ignore_ascii_case(name))
}
