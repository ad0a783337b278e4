//! What a service records, and one request of it being answered.

use super::wire::{Body, Headers, Wire};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

/// Bodies and raw bytes are kept up to here; beyond, only their length counts.
pub const KEPT: usize = 1 << 20;

/// One request as it arrived.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Which connection it came on, in the order of acceptance.
    pub connection: usize,
    pub method: String,
    pub target: String,
    pub version: String,
    pub headers: Headers,
    pub body: Vec<u8>,
    /// Bytes of the body, kept or not.
    pub length: u64,
    pub trailers: Headers,
    /// Whether it arrived to its end.
    pub complete: bool,
}

impl Request {
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.one(name)
    }
}

/// One connection as it went.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    pub raw: Vec<u8>,
    pub received: u64,
    /// Whether it has ended, by whichever side.
    pub closed: bool,
}

/// What a service has recorded.
#[derive(Debug, Default)]
pub struct State {
    pub connections: Vec<Connection>,
    pub requests: Vec<Request>,
    pub breaches: Vec<String>,
}

/// The record of one service, shared by its connections.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<State>>);

impl Log {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

/// One request being answered.
pub struct Exchange<'a> {
    wire: &'a mut Wire,
    body: Body,
    number: usize,
    log: Log,
    ended: bool,
}

impl<'a> Exchange<'a> {
    /// The request of that number on this connection; `last` = the connection ends with it anyway.
    pub fn new(wire: &'a mut Wire, body: Body, number: usize, log: &Log, last: bool) -> Self {
        Self { wire, body, number, log: log.clone(), ended: last }
    }

    /// Whether the connection ends with it.
    pub fn ended(&self) -> bool {
        self.ended
    }
}

impl Exchange<'_> {
    /// What is known of the request by now.
    pub fn request(&self) -> Request {
        self.log.state().requests[self.number].clone()
    }

    pub fn target(&self) -> String {
        self.request().target
    }

    /// The next piece of the body; none at its end.
    pub fn piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        let piece = self.wire.piece(&mut self.body)?;
        let mut state = self.log.state();
        let request = &mut state.requests[self.number];
        if let Some(piece) = &piece {
            request.length += piece.len() as u64;
            let room = KEPT.saturating_sub(request.body.len()).min(piece.len());
            request.body.extend_from_slice(&piece[..room]);
        }
        if self.body.ended() {
            request.complete = true;
            request.trailers = self.body.trailers.clone();
        }
        Ok(piece)
    }

    /// Reads the request to its end.
    pub fn finish(&mut self) -> io::Result<()> {
        while self.piece()?.is_some() {}
        Ok(())
    }

    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.wire.write(bytes.as_ref())
    }

    /// Reads the request to its end and answers with these bytes.
    pub fn reply(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.finish()?;
        self.write(bytes)
    }

    /// Reads the request to its end and answers 200 with this body.
    pub fn ok(&mut self, body: &str) -> io::Result<()> {
        let bare = self.request().method == "HEAD";
        let sent = if bare { "" } else { body };
        self.reply(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{sent}", body.len()))
    }

    /// The connection ends after this request.
    #[expect(clippy::unnecessary_wraps, reason = "a handler ends with it")]
    pub fn close(&mut self) -> io::Result<()> {
        self.ended = true;
        Ok(())
    }

    /// The connection ends with a reset.
    pub fn reset(&mut self) -> io::Result<()> {
        self.wire.stream().reset_on_close();
        self.close()
    }

    /// Answers nothing more and stays until the other side goes.
    pub fn hold(&mut self) -> io::Result<()> {
        while self.wire.fill()? {}
        self.close()
    }

    /// The connection itself, for what is no HTTP any more.
    pub fn wire(&mut self) -> &mut Wire {
        self.ended = true;
        self.wire
    }
}
