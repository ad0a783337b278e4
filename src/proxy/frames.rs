//! Where a WebSocket frame begins and ends (RFC 6455 §5.2), and the one frame that we write ourselves.
//!
//! A tunnel carries bytes and never looks into payloads; but to close it properly, our close frame must not land
//! inside a frame of somebody else.

/// The longest frame header: two bytes, an eight-byte length, a mask.
const LONGEST_HEADER: usize = 14;

/// Follows the frames of one direction.
#[derive(Debug, Default)]
pub struct FrameTracker {
    header: [u8; LONGEST_HEADER],
    have: usize,
    payload: u64,
}

impl FrameTracker {
    /// Whether the last byte seen was the last of a frame.
    #[must_use]
    pub const fn at_border(&self) -> bool {
        self.have == 0 && self.payload == 0
    }

    /// Follows `bytes`, and says how many of them may be passed on: all, or those up to the next border.
    pub fn advance(&mut self, bytes: &[u8], stop_at_border: bool) -> usize {
        let mut rest = bytes;
        while !(rest.is_empty() || stop_at_border && self.at_border()) {
            let skipped = usize::try_from(self.payload).unwrap_or(usize::MAX).min(rest.len());
            if skipped > 0 {
                self.payload = self.payload.saturating_sub(u64::try_from(skipped).unwrap_or(u64::MAX));
                rest = rest.get(skipped..).unwrap_or_default();
            } else if let Some((byte, after)) = rest.split_first() {
                self.push(*byte);
                rest = after;
            }
        }
        bytes.len().saturating_sub(rest.len())
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.header.get_mut(self.have) {
            *place = byte;
        }
        self.have = self.have.saturating_add(1);
        if self.have >= 2 && self.have >= self.header_length() {
            self.payload = self.payload_length();
            self.have = 0;
        }
    }

    fn header_length(&self) -> usize {
        let [_, second, ..] = self.header;
        let extended = match second & 0x7f {
            126 => 2_usize,
            127 => 8,
            _ => 0,
        };
        let mask = if second & 0x80 == 0 { 0_usize } else { 4 };
        extended.saturating_add(mask).saturating_add(2)
    }

    fn payload_length(&self) -> u64 {
        let [_, second, extended @ ..] = &self.header;
        let bytes = match second & 0x7f {
            126 => extended.get(..2),
            127 => extended.get(..8),
            short => return short.into(),
        };
        bytes.unwrap_or_default().iter().fold(0, |length, byte| (length << 8) | u64::from(*byte))
    }
}

/// Why a tunnel is closed (RFC 6455 §7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCode {
    /// 1001: the gate is shutting down.
    GoingAway,
    /// 1008: the token that opened the tunnel is not good any more.
    PolicyViolation,
    /// 1013: what the handshake must be judged by cannot be had at the moment.
    TryAgainLater,
}

impl CloseCode {
    const fn number(self) -> u16 {
        match self {
            Self::GoingAway => 1001,
            Self::PolicyViolation => 1008,
            Self::TryAgainLater => 1013,
        }
    }
}

/// A close frame; masked with `mask` when it goes to the service, as RFC 6455 §5.3 wants of clients.
#[must_use]
pub fn close_frame(code: CloseCode, reason: &str, mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut payload = code.number().to_be_bytes().to_vec();
    // A control frame carries at most 125 bytes (§5.5), and its reason is UTF-8 to the last one (§5.5.1).
    payload.extend(whole_characters(reason, 123).bytes());
    let length = u8::try_from(payload.len()).unwrap_or(125);
    let mut frame = vec![0x88, length];
    if let Some(mask) = mask {
        frame = vec![0x88, length | 0x80];
        frame.extend(mask);
        for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= key;
        }
    }
    frame.extend(payload);
    frame
}

/// The front of a text, at most so many bytes.
fn whole_characters(text: &str, most: usize) -> &str {
    let ends = text.char_indices().map(|(start, letter)| start.saturating_add(letter.len_utf8()));
    let end = ends.take_while(|end| *end <= most).last().unwrap_or_default();
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{CloseCode, FrameTracker, close_frame};
    use proptest::prelude::*;

    fn frame(length: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = vec![0x82];
        match length {
            0..=125 => frame.push(mask | u8::try_from(length).unwrap()),
            126..=65_535 => {
                frame.push(mask | 0x7e);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(mask | 0x7f);
                frame.extend(u64::try_from(length).unwrap().to_be_bytes());
            }
        }
        frame.extend(if masked { vec![1, 2, 3, 4] } else { vec![] });
        frame.extend(vec![0x81; length]);
        frame
    }

    #[test]
    fn a_close_frame_says_why() {
        assert_eq!(close_frame(CloseCode::GoingAway, "bye", None), b"\x88\x05\x03\xe9bye");
        let masked = close_frame(CloseCode::PolicyViolation, "", Some([1, 2, 3, 4]));
        assert_eq!(masked, [0x88, 0x82, 1, 2, 3, 4, 0x03 ^ 1, 0xf0 ^ 2]);
    }

    #[test]
    fn a_length_beyond_all_bounds_is_never_a_border() {
        let mut tracker = FrameTracker::default();
        let mut endless = vec![0x82, 127];
        endless.extend([0xff; 8]);
        endless.extend([0; 1000]);
        tracker.advance(&endless[..1], false);
        assert_eq!(tracker.advance(&endless[1..], true), endless.len().saturating_sub(1));
        assert!(!tracker.at_border());
    }

    proptest! {
        #[test]
        fn borders_are_found_however_the_bytes_are_split(
            lengths in proptest::collection::vec((prop_oneof![0_usize..130, Just(65_535), Just(65_536)], any::<bool>()), 1..4),
            cut in 1_usize..5000,
        ) {
            let frames: Vec<Vec<u8>> = lengths.iter().map(|(length, masked)| frame(*length, *masked)).collect();
            let stream = frames.concat();
            let mut tracker = FrameTracker::default();
            for part in stream.chunks(cut) {
                prop_assert_eq!(tracker.advance(part, false), part.len());
            }
            prop_assert!(tracker.at_border());

            let first = frames[0].len();
            let inside = cut.min(first.saturating_sub(1)).max(1);
            tracker.advance(&stream[..inside], false);
            prop_assert!(!tracker.at_border());
            prop_assert_eq!(tracker.advance(&stream[inside..], true), first.saturating_sub(inside));
            prop_assert!(tracker.at_border());
            prop_assert_eq!(tracker.advance(&stream[first..], true), 0);
        }
    }
}
