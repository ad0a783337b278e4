//! Where a body ends (RFC 9112 §6.3), and the pieces of it that have come.

use super::chunked::{Chunked, take};
use super::head::Limits;
use crate::denial::Reason;
use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    Empty,
    /// After so many bytes, at least one.
    Length(u64),
    /// After the last chunk and the trailers.
    Chunked,
    /// With the connection; only a response can end so.
    Close,
}

/// Takes a body out of the bytes that come.
#[derive(Debug)]
pub struct Decoder(State);

#[derive(Debug)]
enum State {
    Ended,
    /// After broken framing, nothing that follows is believed.
    Broken(Reason),
    Length(u64),
    Chunked(Box<Chunked>),
    Close,
}

impl Decoder {
    /// A body that has ended.
    pub const ENDED: Self = Self(State::Ended);

    /// For a client's body.
    #[must_use]
    pub fn request(framing: Framing, limits: Limits) -> Self {
        Self::new(framing, || Chunked::request(limits))
    }

    /// For a service's body.
    #[must_use]
    pub fn response(framing: Framing) -> Self {
        Self::new(framing, Chunked::response)
    }

    fn new(framing: Framing, chunked: impl FnOnce() -> Chunked) -> Self {
        Self(match framing {
            Framing::Empty | Framing::Length(0) => State::Ended,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Chunked(Box::new(chunked())),
            Framing::Close => State::Close,
        })
    }

    /// Whether its last byte was taken.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        matches!(self.0, State::Ended)
    }

    /// How many bytes are known to come.
    #[must_use]
    pub const fn left(&self) -> Option<u64> {
        match self.0 {
            State::Ended => Some(0),
            State::Length(left) => Some(left),
            State::Chunked(_) | State::Close | State::Broken(_) => None,
        }
    }

    /// What is known of its length.
    #[must_use]
    pub fn size_hint(&self) -> SizeHint {
        self.left().map_or_else(SizeHint::new, SizeHint::with_exact)
    }

    /// Takes the next piece out of the bytes; none if more must come, or the body has ended.
    ///
    /// # Errors
    /// Its framing is broken: nobody knows where it ends.
    pub fn next(&mut self, bytes: &mut BytesMut) -> Result<Option<Frame<Bytes>>, Reason> {
        let frame = match &mut self.0 {
            State::Ended => None,
            State::Broken(reason) => return Err(*reason),
            State::Length(left) => {
                let data = take(bytes, *left);
                let taken = data.as_ref().map_or(0, Bytes::len);
                *left = left.saturating_sub(u64::try_from(taken).unwrap_or(u64::MAX));
                if *left == 0 {
                    self.0 = State::Ended;
                }
                data.map(Frame::data)
            }
            State::Chunked(chunked) => {
                let next = chunked.next(bytes);
                match next {
                    Err(reason) => self.0 = State::Broken(reason),
                    Ok(_) if chunked.is_complete() => self.0 = State::Ended,
                    Ok(_) => {}
                }
                next?
            }
            State::Close => take(bytes, u64::MAX).map(Frame::data),
        };
        Ok(frame)
    }

    /// Notes that the connection has ended; whether the body has ended with it.
    pub fn end(&mut self) -> bool {
        if matches!(self.0, State::Close) {
            self.0 = State::Ended;
        }
        self.has_ended()
    }
}
