//! Buffers that the connections of a thread lend each other: an idle connection holds none.

use bytes::BytesMut;
use std::cell::RefCell;

/// What is read at most at once: 64 KiB of a body, and the head before it. Only what is used of it takes memory.
pub const SIZE: usize = 68 << 10;

/// What a buffer to write into begins with; heads are hardly longer.
const HEAD: usize = 2 << 10;

/// How many bytes of buffers a thread keeps for later.
const KEPT: usize = 16 << 20;

#[derive(Default)]
struct Spare {
    reading: Vec<BytesMut>,
    writing: Vec<Vec<u8>>,
    bytes: usize,
    /// The fewest buffers to read into, and to write into, since the last look: so many were not needed.
    idle: (usize, usize),
}

thread_local! {
    static SPARE: RefCell<Spare> = RefCell::default();
}

/// A buffer to read into.
#[must_use]
pub fn to_read() -> BytesMut {
    SPARE.with_borrow_mut(|spare| {
        let Some(buffer) = spare.reading.pop() else { return BytesMut::with_capacity(SIZE) };
        spare.bytes = spare.bytes.saturating_sub(buffer.capacity());
        spare.idle.0 = spare.idle.0.min(spare.reading.len());
        buffer
    })
}

/// A buffer to write into.
#[must_use]
pub fn to_write() -> Vec<u8> {
    SPARE.with_borrow_mut(|spare| {
        let Some(buffer) = spare.writing.pop() else { return Vec::with_capacity(HEAD) };
        spare.bytes = spare.bytes.saturating_sub(buffer.capacity());
        spare.idle.1 = spare.idle.1.min(spare.writing.len());
        buffer
    })
}

/// Takes a buffer back if it was read to its end and nobody holds a part of it any more; else it stays.
pub fn read(buffer: &mut BytesMut) {
    if buffer.is_empty() && buffer.try_reclaim(SIZE) {
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

/// Lets go of the buffers that nobody has needed since the last call.
pub fn trim() {
    SPARE.with_borrow_mut(|spare| {
        let (reading, writing) = spare.idle;
        let unneeded = spare.reading.drain(..reading.min(spare.reading.len()));
        let freed: usize = unneeded.map(|buffer| buffer.capacity()).sum();
        let unneeded = spare.writing.drain(..writing.min(spare.writing.len()));
        let freed = freed.saturating_add(unneeded.map(|buffer| buffer.capacity()).sum());
        spare.bytes = spare.bytes.saturating_sub(freed);
        spare.idle = (spare.reading.len(), spare.writing.len());
    });
}

#[cfg(test)]
mod tests {
    use super::{KEPT, SIZE, SPARE, read, to_read, to_write, trim, written};
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
    fn not_more_than_so_many_are_kept_and_what_nobody_needs_goes() {
        let held = || {
            SPARE.with_borrow(|spare| {
                let reading: usize = spare.reading.iter().map(BytesMut::capacity).sum();
                let writing: usize = spare.writing.iter().map(Vec::capacity).sum();
                assert_eq!(reading + writing, spare.bytes);
                (spare.reading.len(), spare.writing.len())
            })
        };
        (0..1000).for_each(|_| read(&mut BytesMut::with_capacity(SIZE)));
        assert_eq!(held(), (KEPT / SIZE, 0));
        (0..1000).for_each(|_| written(Vec::with_capacity(100)));
        trim();
        let in_use: Vec<BytesMut> = (0..3).map(|_| to_read()).collect();
        for mut buffer in in_use {
            read(&mut buffer);
        }
        trim();
        assert_eq!(held(), (3, 0));
        trim();
        assert_eq!(held(), (0, 0));
    }
}
