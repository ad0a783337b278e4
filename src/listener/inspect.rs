//! Follows the framing of HTTP/1.1 requests on a connection's raw bytes, before the server library sees them.
//!
//! Request smuggling (RFC 9112 §11.2, CWE-444) lives on two readers that disagree about where a request ends.
//! A gate that authorizes one reading and forwards another is no gate. The server library is lenient where it
//! harms us, and silent about it:
//!
//! - `Content-Length` beside `Transfer-Encoding` is dropped, in either order, before a service could see it. RFC
//!   9112 §6.1 calls that "an attempt to perform request smuggling" that "ought to be handled as an error".
//! - A fragment in the request target is cut off, so that what is decided upon is not what was sent.
//! - A bare LF ends a line (RFC 9112 §2.2 allows it; it is how chunk lines were smuggled in CVE-2025-22871).
//!   Its own past has an overflowing chunk size (CVE-2021-32714) and a signed length (CVE-2021-32715).
//! - Its own 400, 414 and 431 answers never pass our code: no reason, no log line, no body.
//!
//! So each byte of a client is offered to an [`Inspector`] first. It does no I/O and keeps no bytes: it says how many
//! of those that it was shown may go on. Its one promise is that it is **stricter** than the server library:
//! whatever it lets pass, the library reads as the same requests, which end at the same bytes, and never answers on
//! its own. Hence a head passes whole or not at all; half of one is held back by the caller and shown again.
//! Where it refuses, the connection ends, since nobody knows where the next request would begin (RFC 9112 §9.6).
//!
//! The bytes of heads and trailers are read by `httparse`, exactly as the server library does, and then judged;
//! only the framing of chunks, which must be followed as it streams, is read here.

mod chunked;
mod head;
#[cfg(test)]
mod tests;

use crate::denial::Reason;
use chunked::Chunked;
use head::{Framing, HeadReader};

pub use head::{Limits, MOST_FIELDS};

/// What may be done with the bytes that were offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many of them, from the first on, may go to the server. The others must be kept and offered again, in
    /// front of what arrives later. After a number above zero it pays to offer the rest at once; zero says
    /// that more bytes are needed, or that a tunnel's fate is not decided ([`Phase::Upgrade`]).
    Pass(usize),
    /// None of them may, nor any later ones: answer with this reason as soon as the earlier requests are
    /// answered, and close. It stays so for good.
    Refuse(Reason),
    /// None of them may, but nothing is wrong either: they follow the last request of the connection and are to
    /// be thrown away (RFC 9112 §9.6).
    Discard,
}

/// What the connection is in the middle of: it tells which timer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Between requests; nothing of the next one has come.
    Idle,
    /// Some bytes of a head have come.
    Head,
    /// A head has passed, and its body is not complete.
    Body,
    /// A request that may become a tunnel has passed; what follows waits for [`Inspector::upgraded`] or
    /// [`Inspector::upgrade_refused`].
    Upgrade,
    /// A tunnel: everything passes.
    Raw,
    /// The last request of the connection has passed whole: it asked to close.
    Last,
}

/// Where the next byte belongs.
#[derive(Debug)]
enum State {
    Head { begun: bool },
    Length { left: u64 },
    Chunked(Chunked),
    Upgrade,
    Raw,
    Last,
    Refused { reason: Reason, phase: Phase },
}

/// Follows the requests of one client connection.
#[derive(Debug)]
pub struct Inspector {
    limits: Limits,
    head: HeadReader,
    state: State,
    requests: u64,
    last: bool,
}

impl Inspector {
    /// For a connection that has just begun.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let head = HeadReader::new(limits);
        Self { limits, head, state: State::Head { begun: false }, requests: 0, last: false }
    }

    /// Judges bytes: all that have not passed yet, beginning with the first of them.
    ///
    /// One call follows as many messages as the bytes hold. When good bytes are followed by bad ones, the good
    /// ones pass, and the next call refuses, even if it offers nothing.
    pub fn offer(&mut self, bytes: &[u8]) -> Step {
        let mut passed: usize = 0;
        loop {
            match self.advance(bytes.get(passed..).unwrap_or_default()) {
                Ok(0) => break,
                Ok(count) => passed = passed.saturating_add(count),
                Err(reason) => {
                    self.state = State::Refused { reason, phase: self.phase_of_refusal() };
                    break;
                }
            }
        }
        match self.state {
            State::Refused { reason, .. } if passed == 0 => Step::Refuse(reason),
            State::Last if passed == 0 && !bytes.is_empty() => Step::Discard,
            State::Head { .. }
            | State::Length { .. }
            | State::Chunked(_)
            | State::Upgrade
            | State::Raw
            | State::Last
            | State::Refused { .. } => Step::Pass(passed),
        }
    }

    /// What the connection is in the middle of. After a refusal: [`Phase::Head`] if a head was refused, which
    /// the server knows nothing of, or [`Phase::Body`] if it was the body of a request that the server has.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        match &self.state {
            State::Head { begun: false } => Phase::Idle,
            State::Head { begun: true } => Phase::Head,
            State::Length { .. } | State::Chunked(_) => Phase::Body,
            State::Upgrade => Phase::Upgrade,
            State::Raw => Phase::Raw,
            State::Last => Phase::Last,
            State::Refused { phase, .. } => *phase,
        }
    }

    /// How many requests the server was given: a refusal is answered after so many responses.
    #[must_use]
    pub const fn requests(&self) -> u64 {
        self.requests
    }

    /// The request that may become a tunnel was answered with 101: from here on everything passes.
    ///
    /// Without effect in any other phase than [`Phase::Upgrade`], so that a tunnel cannot be opened by mistake.
    pub fn upgraded(&mut self) {
        if matches!(self.state, State::Upgrade) {
            self.state = State::Raw;
        }
    }

    /// The request that might have become a tunnel was answered with another status: heads follow again.
    ///
    /// Without effect in any other phase than [`Phase::Upgrade`].
    pub fn upgrade_refused(&mut self) {
        if matches!(self.state, State::Upgrade) {
            self.state = self.after_request();
        }
    }

    /// Takes one step. Zero: these bytes lead no further, at least not yet.
    fn advance(&mut self, rest: &[u8]) -> Result<usize, Reason> {
        match &mut self.state {
            State::Refused { reason, .. } => Err(*reason),
            State::Upgrade | State::Last => Ok(0),
            State::Raw => Ok(rest.len()),
            State::Head { .. } if rest.is_empty() => Ok(0),
            State::Head { .. } => self.take_head(rest),
            State::Length { left } => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                *left = left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
                if *left == 0 {
                    self.state = self.after_request();
                }
                Ok(count)
            }
            State::Chunked(body) => {
                let count = body.step(rest)?;
                if body.is_complete() {
                    self.state = self.after_request();
                }
                Ok(count)
            }
        }
    }

    fn take_head(&mut self, rest: &[u8]) -> Result<usize, Reason> {
        let Some(head) = self.head.read(rest)? else {
            self.state = State::Head { begun: true };
            return Ok(0);
        };
        self.requests = self.requests.saturating_add(1);
        self.last = head.last;
        self.state = match head.framing {
            Framing::Empty if head.upgrade => State::Upgrade,
            Framing::Empty => self.after_request(),
            Framing::Length(left) => State::Length { left },
            Framing::Chunked => State::Chunked(Chunked::new(self.limits.header_bytes, self.limits.headers)),
        };
        Ok(head.length)
    }

    const fn after_request(&self) -> State {
        if self.last { State::Last } else { State::Head { begun: false } }
    }

    const fn phase_of_refusal(&self) -> Phase {
        if let State::Head { .. } = self.state { Phase::Head } else { self.phase() }
    }
}

/// Whether a connection begins with the preface of HTTP/2 (RFC 9113 §3.4); none if more bytes are needed to tell.
///
/// To be asked of the first bytes of a connection only: later on, the preface is a malformed head.
#[must_use]
pub fn is_http2_preface(bytes: &[u8]) -> Option<bool> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    if bytes.len() >= PREFACE.len() {
        Some(bytes.starts_with(PREFACE))
    } else if PREFACE.starts_with(bytes) {
        None
    } else {
        Some(false)
    }
}
