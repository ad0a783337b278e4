//! Buffers that the connections of a thread lend each other: an idle connection holds none.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue};
use std::cell::RefCell;

/// What is read at most at once: 64 KiB of a body, and the head before it. Only what is used of it takes memory.
pub const SIZE: usize = 68 << 10;

/// The same where a request's head is awaited: it is held for as long as the request takes, by each that is on its way.
pub const SMALL: usize = 8 << 10;

/// What a buffer to write into begins with; heads are hardly longer.
const HEAD: usize = 2 << 10;

/// Pieces up to this size are copied rather than shared where they wait: that takes less than a hundred nanoseconds, and the buffer
/// serves the next connection at once, instead of being held for a few bytes of it.
const COPIED: usize = 4 << 10;

/// About how many bytes a map needs for a field: name, value, their hash and their place.
const FIELD: usize = 112;

/// A map with room for more fields than this is not kept: few heads have as many.
const MOST_FIELDS: usize = 64;

/// How many bytes of buffers a thread keeps for later.
const KEPT: usize = 16 << 20;

/// What can hold bytes.
trait Room {
    /// How many.
    fn room(&self) -> usize;
}

impl Room for BytesMut {
    fn room(&self) -> usize {
        self.capacity()
    }
}

impl Room for Vec<u8> {
    fn room(&self) -> usize {
        self.capacity()
    }
}

impl Room for HeaderMap {
    /// About as many as it occupies.
    fn room(&self) -> usize {
        self.capacity().saturating_mul(FIELD)
    }
}

/// Buffers of one kind that nobody uses now.
struct Pile<B> {
    spare: Vec<B>,
    /// The fewest since the last look: so many were not needed.
    idle: usize,
}

impl<B> Default for Pile<B> {
    fn default() -> Self {
        Self { spare: Vec::new(), idle: 0 }
    }
}

impl<B: Room> Pile<B> {
    /// Lends one; `bytes` is how many all piles hold.
    fn lend(&mut self, bytes: &mut usize) -> Option<B> {
        let buffer = self.spare.pop()?;
        *bytes = bytes.saturating_sub(buffer.room());
        self.idle = self.idle.min(self.spare.len());
        Some(buffer)
    }

    /// Takes one back, if the piles may hold as much.
    fn keep(&mut self, buffer: B, bytes: &mut usize) {
        let more = bytes.saturating_add(buffer.room());
        if more <= KEPT {
            *bytes = more;
            self.spare.push(buffer);
        }
    }

    /// Lets go of those that nobody has needed.
    fn trim(&mut self, bytes: &mut usize) {
        let unneeded = self.spare.drain(..self.idle.min(self.spare.len()));
        let freed = unneeded.map(|buffer| buffer.room()).sum();
        *bytes = bytes.saturating_sub(freed);
        self.idle = self.spare.len();
    }
}

#[derive(Default)]
struct Spare {
    reading: Pile<BytesMut>,
    small: Pile<BytesMut>,
    writing: Pile<Vec<u8>>,
    fields: Pile<HeaderMap>,
    bytes: usize,
}

thread_local! {
    static SPARE: RefCell<Spare> = RefCell::default();
}

/// A buffer to read into.
#[must_use]
pub fn to_read() -> BytesMut {
    let spare = SPARE.with_borrow_mut(|spare| spare.reading.lend(&mut spare.bytes));
    spare.unwrap_or_else(|| BytesMut::with_capacity(SIZE))
}

/// A buffer to read a request's head into.
#[must_use]
pub fn to_read_head() -> BytesMut {
    let spare = SPARE.with_borrow_mut(|spare| spare.small.lend(&mut spare.bytes));
    spare.unwrap_or_else(|| BytesMut::with_capacity(SMALL))
}

/// A piece that holds no buffer unless it fills a good part of one.
#[must_use]
pub fn own(piece: Bytes) -> Bytes {
    if piece.len() <= COPIED { Bytes::copy_from_slice(&piece) } else { piece }
}

/// Fields that hold no buffer: their values share one allocation of their own.
pub fn own_fields(fields: &mut HeaderMap) {
    let whole: usize = fields.values().map(HeaderValue::len).fold(0, usize::saturating_add);
    let mut copy = BytesMut::with_capacity(whole);
    fields.values().for_each(|value| copy.extend_from_slice(value.as_bytes()));
    let mut copy = copy.freeze();
    for value in fields.values_mut() {
        let is_sensitive = value.is_sensitive();
        let bytes = copy.split_to(value.len().min(copy.len()));
        // What was valid is so again.
        if let Ok(mut owned) = HeaderValue::from_maybe_shared(bytes) {
            owned.set_sensitive(is_sensitive);
            *value = owned;
        }
    }
}

/// A buffer to write into.
#[must_use]
pub fn to_write() -> Vec<u8> {
    let spare = SPARE.with_borrow_mut(|spare| spare.writing.lend(&mut spare.bytes));
    spare.unwrap_or_else(|| Vec::with_capacity(HEAD))
}

/// An empty map with room for so many fields.
#[must_use]
pub fn fields(count: usize) -> HeaderMap {
    let spare = SPARE.with_borrow_mut(|spare| spare.fields.lend(&mut spare.bytes));
    spare.filter(|map| map.capacity() >= count).unwrap_or_else(|| HeaderMap::with_capacity(count))
}

/// Takes back a map whose fields nobody needs any more. They are forgotten here and now.
pub fn spent(mut map: HeaderMap) {
    map.clear();
    if (1..=MOST_FIELDS).contains(&map.capacity()) {
        SPARE.with_borrow_mut(|spare| spare.fields.keep(map, &mut spare.bytes));
    }
}

/// Takes a buffer back if it was read to its end and nobody holds a part of it any more; else it stays.
pub fn read(buffer: &mut BytesMut) {
    // What is left of a large one that somebody holds a part of is larger than a small one.
    let is_whole = buffer.try_reclaim(SIZE) || (buffer.capacity() <= SMALL && buffer.try_reclaim(SMALL));
    if buffer.is_empty() && is_whole {
        let buffer = std::mem::take(buffer);
        SPARE.with_borrow_mut(|spare| {
            let pile = if buffer.capacity() < SIZE { &mut spare.small } else { &mut spare.reading };
            pile.keep(buffer, &mut spare.bytes);
        });
    }
}

/// Takes back a buffer that was written.
pub fn written(mut buffer: Vec<u8>) {
    buffer.clear();
    if buffer.capacity() > 0 {
        SPARE.with_borrow_mut(|spare| spare.writing.keep(buffer, &mut spare.bytes));
    }
}

/// Lets go of the buffers that nobody has needed since the last call.
pub fn trim() {
    SPARE.with_borrow_mut(|Spare { reading, small, writing, fields, bytes }| {
        reading.trim(bytes);
        small.trim(bytes);
        writing.trim(bytes);
        fields.trim(bytes);
    });
}

#[cfg(test)]
mod tests {
    use super::{
        COPIED, KEPT, MOST_FIELDS, Room, SIZE, SMALL, SPARE, Spare, fields, own, own_fields, read, spent,
        to_read, to_read_head, to_write, trim, written,
    };
    use bytes::BytesMut;
    use http::{HeaderMap, HeaderValue};

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

        let mut small = to_read_head();
        let place = small.as_ptr();
        small.extend_from_slice(b"head");
        drop(small.split());
        read(&mut small);
        assert!(to_read().capacity() >= SIZE, "a small one is for heads only");
        assert_eq!((to_read_head().as_ptr(), small.capacity()), (place, 0));

        let mut buffer = to_write();
        buffer.extend_from_slice(b"gone");
        written(buffer);
        assert!(to_write().is_empty());
    }

    #[test]
    fn a_map_comes_back_empty() {
        let mut map = fields(20);
        let room = map.capacity();
        for name in ["a", "b", "a"] {
            map.append(name, HeaderValue::from_static("of another request"));
        }
        spent(map);
        let map = fields(room + 1);
        assert!(map.capacity() > room, "one that is too small is not lent");
        spent(HeaderMap::with_capacity(10 * MOST_FIELDS));
        assert!(fields(0).capacity() <= 10, "nor is a large one kept");
        spent(map);
        let map = fields(room);
        assert!(map.capacity() > room && map.is_empty() && map.iter().next().is_none());
        assert!(["a", "b"].iter().all(|name| !map.contains_key(*name)));
        trim();
        trim();
    }

    #[test]
    fn what_waits_holds_no_buffer() {
        let mut buffer = to_read();
        buffer.extend_from_slice(b"a body");
        let place = buffer.as_ptr();
        let body = own(buffer.split().freeze());
        let mut fields = HeaderMap::new();
        let mut shared = BytesMut::from("one");
        let value = HeaderValue::from_maybe_shared(shared.split().freeze()).unwrap();
        fields.append("a", value.clone());
        fields.append("a", "two".parse().unwrap());
        fields.append("b", HeaderValue::from_static(""));
        fields.get_mut("b").unwrap().set_sensitive(true);
        own_fields(&mut fields);
        drop(value);
        assert!(shared.try_reclaim(3), "the values are their own");
        read(&mut buffer);
        assert_eq!((&*body, buffer.capacity()), (&b"a body"[..], 0));
        assert_eq!(to_read().as_ptr(), place);
        assert_eq!(fields.get_all("a").iter().collect::<Vec<_>>(), ["one", "two"]);
        assert!(fields["b"].is_empty() && fields["b"].is_sensitive());
        let large = BytesMut::zeroed(COPIED + 1).freeze();
        let place = large.as_ptr();
        assert_eq!(own(large).as_ptr(), place, "what is large is not copied");
    }

    #[test]
    fn not_more_than_so_many_are_kept_and_what_nobody_needs_goes() {
        let held = || {
            SPARE.with_borrow(|spare| {
                let Spare { reading, small, writing, fields, bytes } = spare;
                let (reading, small, writing) = (&reading.spare, &small.spare, &writing.spare);
                let to_read: usize = reading.iter().chain(small).map(BytesMut::capacity).sum();
                let to_write: usize = writing.iter().map(Vec::capacity).sum();
                let of_fields: usize = fields.spare.iter().map(Room::room).sum();
                assert_eq!(to_read + to_write + of_fields, *bytes);
                (reading.len(), writing.len())
            })
        };
        (0..1000).for_each(|_| read(&mut BytesMut::with_capacity(SIZE)));
        assert_eq!(held(), (KEPT / SIZE, 0));
        (0..1000).for_each(|_| read(&mut BytesMut::with_capacity(SMALL)));
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
