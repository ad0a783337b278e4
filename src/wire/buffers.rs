//! Buffers that the connections of a thread lend each other: an idle connection holds none.

use bytes::BytesMut;
use std::cell::RefCell;

/// What is read at once, unless more is known to come.
pub const USUAL: usize = 16 << 10;

/// What is read at once of a body that is long.
pub const LARGE: usize = 64 << 10;

/// How many bytes of buffers a thread keeps for later.
const KEPT: usize = 1 << 20;

#[derive(Default)]
struct Spare {
    reading: Vec<BytesMut>,
    writing: Vec<Vec<u8>>,
    bytes: usize,
}

thread_local! {
    static SPARE: RefCell<Spare> = RefCell::default();
}

/// A buffer to read into.
#[must_use]
pub fn to_read() -> BytesMut {
    SPARE.with_borrow_mut(|spare| match spare.reading.pop() {
        Some(buffer) => {
            spare.bytes = spare.bytes.saturating_sub(buffer.capacity());
            buffer
        }
        None => BytesMut::with_capacity(USUAL),
    })
}

/// A buffer to write into.
#[must_use]
pub fn to_write() -> Vec<u8> {
    SPARE.with_borrow_mut(|spare| match spare.writing.pop() {
        Some(buffer) => {
            spare.bytes = spare.bytes.saturating_sub(buffer.capacity());
            buffer
        }
        None => Vec::with_capacity(2048),
    })
}

/// Takes a buffer back if it was read to its end and nobody holds a part of it any more; else it stays.
pub fn read(buffer: &mut BytesMut) {
    if buffer.is_empty() && buffer.try_reclaim(USUAL) {
        let buffer = std::mem::take(buffer);
        SPARE.with_borrow_mut(|spare| {
            let bytes = spare.bytes.saturating_add(buffer.capacity());
            if bytes <= KEPT {
                spare.bytes = bytes;
                spare.reading.push(buffer);
            }
        });
    }
}

/// Takes back a buffer that was written.
pub fn written(mut buffer: Vec<u8>) {
    buffer.clear();
    SPARE.with_borrow_mut(|spare| {
        let bytes = spare.bytes.saturating_add(buffer.capacity());
        if bytes <= KEPT && buffer.capacity() > 0 {
            spare.bytes = bytes;
            spare.writing.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::{KEPT, LARGE, USUAL, read, to_read, to_write, written};
    use bytes::BytesMut;

    #[test]
    fn buffers_come_back_unless_somebody_holds_a_part() {
        let mut buffer = to_read();
        buffer.extend_from_slice(b"part and rest");
        let place = buffer.as_ptr();
        let part = buffer.split_to(4).freeze();
        drop(buffer.split());
        read(&mut buffer);
        assert!(buffer.capacity() > 0, "it is held, so it stays");
        drop(part);
        read(&mut buffer);
        assert_eq!((buffer.capacity(), to_read().as_ptr()), (0, place));

        let mut buffer = to_write();
        buffer.extend_from_slice(b"gone");
        written(buffer);
        assert!(to_write().is_empty());
    }

    #[test]
    fn not_more_than_so_many_are_kept() {
        (0..100).for_each(|_| read(&mut BytesMut::with_capacity(LARGE)));
        (0..100).for_each(|_| written(Vec::with_capacity(LARGE)));
        super::SPARE.with_borrow(|spare| {
            let held: usize = spare.reading.iter().map(BytesMut::capacity).sum();
            let written: usize = spare.writing.iter().map(Vec::capacity).sum();
            assert_eq!(held + written, spare.bytes);
            assert!(spare.bytes <= KEPT);
        });
    }
}
