//! Follows a chunked body (RFC 9112 §7.1) as it streams, more strictly than any reader behind us.
//!
//! Lax chunk parsing is the second half of request smuggling: a bare LF after a chunk size or inside an
//! extension, blanks around the size, a size that overflows, and framing fields in trailers each made two readers
//! disagree about the end of a body. Here a line is `1*16HEXDIG [";" …] CRLF`, and nothing else.

use crate::denial::Reason;

/// How many bytes of chunk extensions a body may hold (RFC 9112 §7.1.1 asks for a limit). Nobody reads them.
const EXTENSION_BYTES: u16 = 4 << 10;
/// The server library refuses a trailer section that has more bytes than this, whatever the limit of a head.
const TRAILER_BYTES: usize = 16 << 10;
/// The server library refuses more trailer fields than this unless it is told otherwise.
const TRAILER_FIELDS: usize = 100;
/// Sixteen hexadecimal digits are what 64 bits hold.
const SIZE_DIGITS: u8 = 16;

/// What the next byte must be.
#[derive(Clone, Copy, Debug)]
enum Expect {
    Size { size: u64, digits: u8 },
    Extension { size: u64 },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    Trailers,
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
}

impl Chunked {
    /// For a body that begins with the next byte, whose trailers are bound by the limits of a head.
    pub(super) fn new(header_bytes: usize, headers: usize) -> Self {
        Self {
            expect: Expect::SIZE,
            extension_bytes: 0,
            // The server library stops at its limit, not beyond it.
            trailer_bytes: header_bytes.min(TRAILER_BYTES).saturating_sub(1),
            trailer_fields: headers.min(TRAILER_FIELDS),
        }
    }

    /// Whether its last byte has passed.
    pub(super) const fn is_complete(&self) -> bool {
        matches!(self.expect, Expect::Nothing)
    }

    /// Takes some bytes of the body: one of a line, all there are of the data, or the trailer section as a whole.
    pub(super) fn step(&mut self, bytes: &[u8]) -> Result<usize, Reason> {
        let Some(first) = bytes.first() else { return Ok(0) };
        match self.expect {
            Expect::Data { left } => {
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                let left = left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
                self.expect = if left == 0 { Expect::DataCr } else { Expect::Data { left } };
                Ok(count)
            }
            Expect::Trailers => {
                let count = self.trailers(bytes)?;
                if count > 0 {
                    self.expect = Expect::Nothing;
                }
                Ok(count)
            }
            Expect::Size { .. }
            | Expect::Extension { .. }
            | Expect::SizeLf { .. }
            | Expect::DataCr
            | Expect::DataLf
            | Expect::Nothing => {
                self.expect = self.line_byte(*first).ok_or(Reason::HeadMalformed)?;
                Ok(1)
            }
        }
    }

    /// What follows a byte of a chunk's line, or of the line end after its data.
    fn line_byte(&mut self, byte: u8) -> Option<Expect> {
        match (self.expect, byte) {
            (Expect::Size { size, digits: 1.. } | Expect::Extension { size }, b'\r') => {
                Some(Expect::SizeLf { size })
            }
            (Expect::Size { size, digits: 1.. }, b';') => Some(Expect::Extension { size }),
            (Expect::Size { size, digits: digits @ 0..SIZE_DIGITS }, byte) => {
                let digit = char::from(byte).to_digit(16)?;
                let size = size.checked_mul(16)?.checked_add(u64::from(digit))?;
                Some(Expect::Size { size, digits: digits.saturating_add(1) })
            }
            (Expect::Extension { size }, b'\t' | b' '..=b'~') if self.extension_bytes < EXTENSION_BYTES => {
                self.extension_bytes = self.extension_bytes.saturating_add(1);
                Some(Expect::Extension { size })
            }
            (Expect::SizeLf { size: 0 }, b'\n') => Some(Expect::Trailers),
            (Expect::SizeLf { size }, b'\n') => Some(Expect::Data { left: size }),
            (Expect::DataCr, b'\r') => Some(Expect::DataLf),
            (Expect::DataLf, b'\n') => Some(Expect::SIZE),
            _ => None,
        }
    }

    /// The length of the trailer section and the empty line behind it; zero while it is incomplete.
    fn trailers(&self, bytes: &[u8]) -> Result<usize, Reason> {
        if bytes.starts_with(b"\r\n") {
            return Ok(2);
        }
        let window = bytes.get(..self.trailer_bytes).unwrap_or(bytes);
        let mut fields = vec![httparse::EMPTY_HEADER; self.trailer_fields];
        match httparse::parse_headers(window, &mut fields) {
            Ok(httparse::Status::Complete((length, fields))) => {
                let section = window.get(..length).unwrap_or_default();
                let crs = memchr::memchr_iter(b'\r', section).count();
                // As many CRs as lines: no line ends with a bare LF (the parser lets no CR stand elsewhere).
                let sound = crs == fields.len().saturating_add(1) && !fields.iter().any(is_framing);
                if sound { Ok(length) } else { Err(Reason::HeadMalformed) }
            }
            Ok(httparse::Status::Partial) if bytes.len() < self.trailer_bytes => Ok(0),
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => Err(Reason::HeadTooLarge),
            Err(
                httparse::Error::HeaderName
                | httparse::Error::HeaderValue
                | httparse::Error::NewLine
                | httparse::Error::Status
                | httparse::Error::Token
                | httparse::Error::Version,
            ) => Err(Reason::HeadMalformed),
        }
    }
}

/// Fields that frame or route a message, which a trailer must not hold (RFC 9110 §6.5.1).
fn is_framing(field: &httparse::Header<'_>) -> bool {
    ["content-length", "host", "transfer-encoding"].iter().any(|name| field.name.eq_ignore_ascii_case(name))
}
