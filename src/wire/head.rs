//! What request heads, response heads and trailer sections have in common: where they end, their fields and limits.

use super::buffers;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use httparse::Header;

/// The largest body that a peer with signed lengths can count.
const LENGTH_DIGITS: usize = 19;

/// Fields that are added to a message on its way; room for them saves the map from growing.
const ADDED_FIELDS: usize = 12;

/// The limits of a request head and of a trailer section.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many bytes a head may have, from the request line to the empty line, both included.
    pub header_bytes: usize,
    /// How many fields it may have; at most 1000 count.
    pub headers: usize,
}

/// Where the head ends that begins the bytes: behind its first empty line, however its lines end. `seen` is how many
/// bytes were looked at before.
pub(super) fn end(bytes: &[u8], seen: usize) -> Option<usize> {
    // The end may straddle what was seen and what is new.
    let from = seen.saturating_sub(3);
    let fresh = bytes.get(from..)?;
    memchr::memchr_iter(b'\n', fresh).find_map(|place| {
        let behind = from.saturating_add(place).saturating_add(1);
        match bytes.get(behind..)? {
            [b'\n', ..] => behind.checked_add(1),
            [b'\r', b'\n', ..] => behind.checked_add(2),
            _ => None,
        }
    })
}

/// The fields of a head as a map; their values share its bytes. None if a name or value cannot stand in one.
pub(super) fn fields(head: &Bytes, fields: &[Header<'_>]) -> Option<HeaderMap> {
    let mut map = buffers::fields(fields.len().saturating_add(ADDED_FIELDS));
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(field.value)).ok()?;
        map.try_append(name, value).ok()?;
    }
    Some(map)
}

/// Whether a `Connection` field holds that option, letter case ignored (RFC 9110 §7.6.1).
pub(super) fn has_option(value: &[u8], option: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|part| part.trim_ascii().eq_ignore_ascii_case(option))
}

/// A length of decimal digits only (RFC 9110 §8.6), small enough for every peer to count.
pub(super) fn content_length(value: &[u8]) -> Option<u64> {
    let digits = value.len() <= LENGTH_DIGITS && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| digits)?;
    text.parse().ok().filter(|length| i64::try_from(*length).is_ok())
}

#[cfg(test)]
mod tests {
    use super::end;

    #[test]
    fn a_head_ends_behind_its_first_empty_line() {
        for (head, rest) in [
            ("GET / HTTP/1.1\r\nA: b\r\n\r\n", "body\r\n\r\n"),
            ("GET / HTTP/1.1\nA: b\n\n", "\n"),
            ("A\r\n\n", ""),
            ("A\n\r\n", "\r\n"),
        ] {
            let bytes = [head, rest].concat();
            for seen in 0..head.len() {
                assert_eq!(end(bytes.as_bytes(), seen), Some(head.len()), "{head:?} after {seen}");
            }
            for length in 0..head.len() {
                assert_eq!(end(&bytes.as_bytes()[..length], 0), None, "{length} bytes of {bytes:?}");
            }
        }
    }
}
