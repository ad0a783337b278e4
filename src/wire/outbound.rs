//! What is on its way out of a connection: a head, and at most one piece of a body behind it.

use super::buffers;
use super::encode::{self, Sending};
use crate::stream::Stream;
use bytes::{Buf, Bytes};
use http_body::Frame;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// A piece up to this long is copied behind its head: one buffer to write is cheaper than two.
const COPIED: usize = 4 << 10;

/// So much may gather in front of a piece before it must be written.
const GATHERED: usize = 16 << 10;

/// Why a body cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is not as long as its head says")]
pub struct Misfit;

/// Bytes that wait to be written, and how the body that they belong to is framed.
#[derive(Debug)]
pub struct Outbound {
    front: Vec<u8>,
    /// How many bytes of `front` were written.
    written: usize,
    data: Bytes,
    back: &'static [u8],
    sending: Sending,
    /// How many bytes of this message the kernel has taken.
    taken: u64,
}

impl Default for Outbound {
    fn default() -> Self {
        Self {
            front: Vec::new(),
            written: 0,
            data: Bytes::new(),
            back: b"",
            sending: Sending::Nothing,
            taken: 0,
        }
    }
}

impl Outbound {
    /// Begins a message: `write` appends its head.
    pub fn begin(&mut self, sending: Sending, write: impl FnOnce(&mut Vec<u8>)) {
        self.sending = sending;
        self.taken = 0;
        self.gather(write);
    }

    fn gather(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.front.capacity() == 0 {
            self.front = buffers::to_write();
        }
        write(&mut self.front);
    }

    /// Whether any byte of the message was sent.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.taken > 0
    }

    /// How many bytes of the message were sent.
    #[must_use]
    pub const fn taken(&self) -> u64 {
        self.taken
    }

    /// Whether another piece may be given before what is there was written.
    #[must_use]
    pub const fn has_room(&self) -> bool {
        self.data.is_empty() && self.back.is_empty() && self.front.len() < GATHERED
    }

    /// Whether everything was written.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.front.is_empty() && self.data.is_empty() && self.back.is_empty()
    }

    /// Adds a piece of the body, framed as the head has said; to be called only when there is room.
    ///
    /// # Errors
    /// It is more than the head has said.
    pub fn push(&mut self, frame: Frame<Bytes>) -> Result<(), Misfit> {
        match frame.into_data() {
            Ok(data) if data.is_empty() => Ok(()),
            Ok(data) => self.push_data(data),
            Err(frame) => {
                if let (Ok(trailers), Sending::Chunked) = (frame.into_trailers(), self.sending) {
                    self.gather(|out| encode::last_chunk(out, Some(&trailers)));
                    self.sending = Sending::Nothing;
                }
                Ok(())
            }
        }
    }

    fn push_data(&mut self, data: Bytes) -> Result<(), Misfit> {
        let length = data.len();
        let chunked = self.sending == Sending::Chunked;
        match &mut self.sending {
            Sending::Length(left) => {
                let length = u64::try_from(length).unwrap_or(u64::MAX);
                *left = left.checked_sub(length).ok_or(Misfit)?;
            }
            Sending::Chunked | Sending::Close => {}
            Sending::Nothing | Sending::Described => return Err(Misfit),
        }
        if chunked {
            self.gather(|out| encode::chunk(out, length));
        }
        let end: &[u8] = if chunked { b"\r\n" } else { b"" };
        if length <= COPIED {
            self.gather(|out| {
                out.extend_from_slice(&data);
                out.extend_from_slice(end);
            });
        } else {
            self.data = data;
            self.back = if chunked { b"\r\n" } else { b"" };
        }
        Ok(())
    }

    /// Adds the end of the body; to be called only when there is room.
    ///
    /// # Errors
    /// It was less than the head has said.
    pub fn end(&mut self) -> Result<(), Misfit> {
        match self.sending {
            Sending::Length(1..) => return Err(Misfit),
            Sending::Chunked => self.gather(|out| encode::last_chunk(out, None)),
            Sending::Nothing | Sending::Described | Sending::Length(0) | Sending::Close => {}
        }
        self.sending = Sending::Nothing;
        Ok(())
    }

    /// Writes until nothing is left.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let front = self.front.get(self.written..).unwrap_or_default();
            let count = if self.data.is_empty() && self.back.is_empty() {
                ready!(Pin::new(&mut *stream).poll_write(cx, front))?
            } else {
                let parts = [IoSlice::new(front), IoSlice::new(&self.data), IoSlice::new(self.back)];
                ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &parts))?
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(count);
        }
        Pin::new(stream).poll_flush(cx)
    }

    fn advance(&mut self, count: usize) {
        self.taken = self.taken.saturating_add(u64::try_from(count).unwrap_or_default());
        let front = self.front.len().saturating_sub(self.written).min(count);
        self.written = self.written.saturating_add(front);
        let behind = count.saturating_sub(front);
        let data = self.data.len().min(behind);
        self.data.advance(data);
        self.back = self.back.get(behind.saturating_sub(data)..).unwrap_or_default();
        if self.written == self.front.len() {
            self.written = 0;
            buffers::written(std::mem::take(&mut self.front));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{COPIED, Misfit, Outbound, Sending};
    use crate::stream::Stream;
    use bytes::Bytes;
    use http::HeaderMap;
    use http_body::Frame;
    use proptest::prelude::*;
    use proptest::sample::{Index, select};
    use std::future::poll_fn;
    use tokio::io::AsyncReadExt;
    use tokio::net::UnixStream;

    /// Sends the pieces, however little the reader takes at a time, and returns what it got.
    async fn sent(sending: Sending, pieces: Vec<Frame<Bytes>>) -> Vec<u8> {
        let (near, mut far) = UnixStream::pair().unwrap();
        let mut stream = Stream::Unix(near);
        let read = tokio::spawn(async move {
            let mut got = Vec::new();
            far.read_to_end(&mut got).await.unwrap();
            got
        });
        let mut out = Outbound::default();
        out.begin(sending, |out| out.extend_from_slice(b"HEAD\r\n\r\n"));
        for piece in pieces {
            if !out.has_room() {
                poll_fn(|cx| out.poll_flush(cx, &mut stream)).await.unwrap();
            }
            out.push(piece).unwrap();
        }
        if !out.has_room() {
            poll_fn(|cx| out.poll_flush(cx, &mut stream)).await.unwrap();
        }
        out.end().unwrap();
        poll_fn(|cx| out.poll_flush(cx, &mut stream)).await.unwrap();
        assert!(out.is_empty() && out.has_begun());
        drop(stream);
        read.await.unwrap()
    }

    #[tokio::test]
    async fn pieces_are_framed_as_the_head_says() {
        for size in [1, 4096, 4097, 3_000_000] {
            let data = vec![b'x'; size];
            let piece = || Frame::data(Bytes::from(data.clone()));
            let plain = [b"HEAD\r\n\r\n".as_slice(), &data, &data].concat();
            let twice = u64::try_from(size * 2).unwrap();
            assert_eq!(sent(Sending::Length(twice), vec![piece(), piece()]).await, plain);
            assert_eq!(sent(Sending::Close, vec![piece(), piece()]).await, plain);
            let chunk = [format!("{size:x}\r\n").as_bytes(), &data, b"\r\n"].concat();
            let whole = [b"HEAD\r\n\r\n".as_slice(), &chunk, &chunk, b"0\r\n\r\n"].concat();
            assert_eq!(
                sent(Sending::Chunked, vec![piece(), Frame::data(Bytes::new()), piece()]).await,
                whole
            );
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "1".parse().unwrap());
        let pieces = vec![Frame::data(Bytes::from_static(b"a")), Frame::trailers(trailers.clone())];
        assert_eq!(sent(Sending::Chunked, pieces).await, b"HEAD\r\n\r\n1\r\na\r\n0\r\nx-sum: 1\r\n\r\n");
        let pieces = vec![Frame::data(Bytes::from_static(b"a")), Frame::trailers(trailers)];
        assert_eq!(sent(Sending::Length(1), pieces).await, b"HEAD\r\n\r\na", "no place for trailers");
    }

    /// The kernel may take all of a piece, but not the line end behind it.
    #[test]
    fn nothing_overtakes_what_was_written_in_part() {
        let data = [b'x'; COPIED + 1];
        let chunk = [b"1001\r\n".as_slice(), &data, b"\r\n"].concat();
        for count in 0..=chunk.len() {
            let mut out = Outbound::default();
            out.begin(Sending::Chunked, |_| {});
            out.push(Frame::data(Bytes::copy_from_slice(&data))).unwrap();
            let mut written = waiting(&out)[..count].to_vec();
            assert!(!out.has_room());
            out.advance(count);
            assert_eq!(out.has_room(), count == chunk.len(), "after {count} of {}", chunk.len());
            written.extend(waiting(&out));
            assert_eq!(written, chunk);
        }
    }

    /// What would be written next.
    fn waiting(out: &Outbound) -> Vec<u8> {
        [&out.front[out.written..], &out.data, out.back].concat()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn pieces_keep_their_order_however_little_is_taken(
            pieces in prop::collection::vec((any::<u8>(), prop_oneof![3 => 0..40_usize, 1 => 4090..4110_usize, 1 => 0..20_000_usize]), 0..6),
            steps in prop::collection::vec(any::<Index>(), 1..20),
            sending in select(vec![Sending::Chunked, Sending::Close]),
        ) {
            let pieces: Vec<Vec<u8>> = pieces.into_iter().map(|(byte, length)| vec![byte; length]).collect();
            let mut expected = Vec::new();
            for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
                if sending == Sending::Close {
                    expected.extend_from_slice(piece);
                } else {
                    expected.extend([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
                }
            }
            expected.extend_from_slice(if sending == Sending::Close { b"" } else { b"0\r\n\r\n" });
            let (mut out, mut written, mut steps) = (Outbound::default(), Vec::new(), steps.iter().cycle());
            out.begin(sending, |_| {});
            let mut pieces = pieces.into_iter().map(Some).chain([None]).peekable();
            while pieces.peek().is_some() || !out.is_empty() {
                if let Some(piece) = if out.has_room() { pieces.next() } else { None } {
                    match piece {
                        Some(piece) => out.push(Frame::data(piece.into())).unwrap(),
                        None => out.end().unwrap(),
                    }
                }
                let waits = waiting(&out);
                // Often right up to the end of a part.
                let count = match steps.next().unwrap().index(waits.len().saturating_add(4)) {
                    0 => out.front.len().saturating_sub(out.written),
                    1 => waits.len().saturating_sub(out.back.len()),
                    count => count.min(waits.len()),
                };
                let count = count.clamp(usize::from(!waits.is_empty()), waits.len());
                written.extend_from_slice(&waits[..count]);
                out.advance(count);
            }
            prop_assert!(written == expected);
        }
    }

    #[test]
    fn a_body_of_another_length_is_not_sent_as_if_it_were_whole() {
        let data = || Frame::data(Bytes::from_static(b"abc"));
        let begun = |sending| {
            let mut out = Outbound::default();
            out.begin(sending, |_| {});
            out
        };
        for sending in [Sending::Length(2), Sending::Nothing, Sending::Described] {
            assert_eq!(begun(sending).push(data()), Err(Misfit), "{sending:?}");
        }
        let mut out = begun(Sending::Length(4));
        assert_eq!((out.push(data()), out.end()), (Ok(()), Err(Misfit)));
    }
}
