//! HTTP/1.1 framing read strictly, for both ends: what the service receives and what the client gets back.
//!
//! It tolerates nothing that RFC 9112 lets a recipient tolerate, so that sloppy bytes from the gate fail a test.

use super::wait::PATIENCE;
use rustls::{ClientConnection, ServerConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A connection of whatever kind.
pub trait Duplex: Read + Write + Send {
    /// How long one read or write may block; none = for ever.
    fn set_patience(&self, patience: Option<Duration>);
    /// Sends the end of our bytes and goes on reading.
    fn end_writing(&mut self);
    /// Makes the coming close a reset.
    fn reset_on_close(&self);
}

impl Duplex for TcpStream {
    fn set_patience(&self, patience: Option<Duration>) {
        self.set_read_timeout(patience).unwrap();
        self.set_write_timeout(patience).unwrap();
    }
    fn end_writing(&mut self) {
        self.shutdown(Shutdown::Write).ok();
    }
    fn reset_on_close(&self) {
        socket2::SockRef::from(self).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

impl Duplex for UnixStream {
    fn set_patience(&self, patience: Option<Duration>) {
        self.set_read_timeout(patience).unwrap();
        self.set_write_timeout(patience).unwrap();
    }
    fn end_writing(&mut self) {
        self.shutdown(Shutdown::Write).ok();
    }
    fn reset_on_close(&self) {}
}

macro_rules! duplex_over_tls {
    ($connection:ty) => {
        impl Duplex for StreamOwned<$connection, TcpStream> {
            fn set_patience(&self, patience: Option<Duration>) {
                self.sock.set_patience(patience);
            }
            fn end_writing(&mut self) {
                self.conn.send_close_notify();
                self.flush().ok();
                self.sock.end_writing();
            }
            fn reset_on_close(&self) {
                self.sock.reset_on_close();
            }
        }
    };
}
duplex_over_tls!(ClientConnection);
duplex_over_tls!(ServerConnection);

/// Each byte as the character of that number, so that nothing is lost and everything can be printed.
pub fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// Header fields in the order and the spelling in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// Every value of the field, whatever its letter case.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let named = self.0.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// The field's only value; fails if there are several.
    #[track_caller]
    pub fn one(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} is repeated: {all:?}");
        all.first().copied()
    }

    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// The names in lower case.
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| name.to_ascii_lowercase()).collect()
    }

    /// Whether a comma-separated field holds this element.
    pub fn lists(&self, name: &str, element: &str) -> bool {
        let elements = self.all(name).into_iter().flat_map(|value| value.split(','));
        elements.map(str::trim).any(|found| found.eq_ignore_ascii_case(element))
    }
}

/// A start line and its fields.
#[derive(Clone, Debug, Default)]
pub struct Head {
    pub line: String,
    pub headers: Headers,
}

/// What is left of a body on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(u64),
    ChunkHead,
    ChunkData(u64),
    UntilClose,
    Ended,
}

/// A body that is being read.
#[derive(Debug)]
pub struct Body {
    framing: Framing,
    pub trailers: Headers,
}

impl Body {
    const fn with(framing: Framing) -> Self {
        Self { framing, trailers: Headers(Vec::new()) }
    }

    pub const fn none() -> Self {
        Self::with(Framing::Ended)
    }

    pub fn ended(&self) -> bool {
        self.framing == Framing::Ended
    }

    /// The body of a request with these fields.
    pub fn of_request(headers: &Headers) -> io::Result<Self> {
        Ok(Self::declared(headers)?.unwrap_or(Self::none()))
    }

    /// The body of the response to a request with this method.
    pub fn of_response(method: &str, status: u16, headers: &Headers) -> io::Result<Self> {
        let bare = method == "HEAD" || status < 200 || status == 204 || status == 304;
        let declared = Self::declared(headers)?;
        Ok(if bare { Self::none() } else { declared.unwrap_or(Self::with(Framing::UntilClose)) })
    }

    fn declared(headers: &Headers) -> io::Result<Option<Self>> {
        match (headers.all("transfer-encoding").as_slice(), headers.all("content-length").as_slice()) {
            ([], []) => Ok(None),
            (["chunked"], []) => Ok(Some(Self::with(Framing::ChunkHead))),
            ([], [length]) if !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit()) => {
                let length = length.parse().map_err(|_| bad("content-length"))?;
                Ok(Some(Self::with(if length == 0 { Framing::Ended } else { Framing::Length(length) })))
            }
            (codings, lengths) => Err(bad(&format!("framing {codings:?} {lengths:?}"))),
        }
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed {what}"))
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the other side closed too early")
}

type Tap = Box<dyn FnMut(&[u8]) + Send>;

/// A connection with what was read ahead.
pub struct Wire {
    stream: Box<dyn Duplex>,
    buffer: Vec<u8>,
    tap: Option<Tap>,
}

impl Wire {
    pub fn new(stream: impl Duplex + 'static) -> Self {
        stream.set_patience(Some(PATIENCE));
        Self { stream: Box::new(stream), buffer: Vec::new(), tap: None }
    }

    /// Shows every byte that arrives to `tap` as well.
    pub fn tapped(mut self, tap: impl FnMut(&[u8]) + Send + 'static) -> Self {
        self.tap = Some(Box::new(tap));
        self
    }

    pub fn stream(&mut self) -> &mut dyn Duplex {
        self.stream.as_mut()
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Reads once; false at the end.
    pub fn fill(&mut self) -> io::Result<bool> {
        let mut piece = [0_u8; 16 << 10];
        let count = loop {
            match self.stream.read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A TLS peer that ends without close_notify.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break 0,
                other => break other?,
            }
        };
        let read = &piece[..count];
        if let Some(tap) = &mut self.tap {
            tap(read);
        }
        self.buffer.extend_from_slice(read);
        Ok(count > 0)
    }

    /// What was read and belongs to nothing yet.
    pub fn buffered(&self) -> &[u8] {
        &self.buffer
    }

    /// Exactly `count` bytes.
    pub fn exactly(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < count {
            if !self.fill()? {
                return Err(cut());
            }
        }
        Ok(self.buffer.drain(..count).collect())
    }

    fn line(&mut self) -> io::Result<String> {
        let mut searched = 0;
        loop {
            if let Some(offset) = self.buffer[searched..].iter().position(|byte| *byte == b'\n') {
                let whole: Vec<u8> = self.buffer.drain(..=searched + offset).collect();
                let line = whole.strip_suffix(b"\r\n").ok_or_else(|| bad("line end"))?;
                if line.iter().any(|byte| matches!(byte, b'\r' | 0)) {
                    return Err(bad("line"));
                }
                return Ok(latin1(line));
            }
            searched = self.buffer.len();
            if !self.fill()? {
                return Err(cut());
            }
        }
    }

    /// The next head; none when the connection ended before it began.
    pub fn head(&mut self) -> io::Result<Option<Head>> {
        while self.buffer.is_empty() {
            if !self.fill()? {
                return Ok(None);
            }
        }
        let line = self.line()?;
        Ok(Some(Head { line, headers: self.fields()? }))
    }

    fn fields(&mut self) -> io::Result<Headers> {
        let mut headers = Headers::default();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(headers);
            }
            let (name, value) = line.split_once(':').ok_or_else(|| bad("field"))?;
            let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            if name.is_empty() || !name.bytes().all(token) {
                return Err(bad("field name"));
            }
            headers.0.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
        }
    }

    /// The next piece of the body as it arrives; none at its end.
    pub fn piece(&mut self, body: &mut Body) -> io::Result<Option<Vec<u8>>> {
        loop {
            match body.framing {
                Framing::Ended => return Ok(None),
                Framing::UntilClose => {
                    if self.buffer.is_empty() && !self.fill()? {
                        body.framing = Framing::Ended;
                        return Ok(None);
                    }
                    return Ok(Some(std::mem::take(&mut self.buffer)));
                }
                Framing::Length(left) => {
                    let piece = self.up_to(left)?;
                    let left = left - piece.len() as u64;
                    body.framing = if left == 0 { Framing::Ended } else { Framing::Length(left) };
                    return Ok(Some(piece));
                }
                Framing::ChunkHead => self.chunk_head(body)?,
                Framing::ChunkData(left) => {
                    let piece = self.up_to(left)?;
                    let left = left - piece.len() as u64;
                    body.framing = Framing::ChunkData(left);
                    if left == 0 {
                        if !self.line()?.is_empty() {
                            return Err(bad("end of a chunk"));
                        }
                        body.framing = Framing::ChunkHead;
                    }
                    return Ok(Some(piece));
                }
            }
        }
    }

    fn chunk_head(&mut self, body: &mut Body) -> io::Result<()> {
        let line = self.line()?;
        let digits = line.split(';').next().unwrap_or_default();
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(bad("chunk size"));
        }
        let size = u64::from_str_radix(digits, 16).map_err(|_| bad("chunk size"))?;
        body.framing = Framing::ChunkData(size);
        if size == 0 {
            body.trailers = self.fields()?;
            body.framing = Framing::Ended;
        }
        Ok(())
    }

    fn up_to(&mut self, limit: u64) -> io::Result<Vec<u8>> {
        if self.buffer.is_empty() && !self.fill()? {
            return Err(cut());
        }
        let count = usize::try_from(limit).unwrap_or(usize::MAX).min(self.buffer.len());
        if count == self.buffer.len() {
            return Ok(std::mem::take(&mut self.buffer));
        }
        Ok(self.buffer.drain(..count).collect())
    }
}
