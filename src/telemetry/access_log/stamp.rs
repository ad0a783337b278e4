//! Timestamps: date and time of day are written once a second, the rest for every line.

use crate::clock::UnixTime;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The text of the last second.
#[derive(Debug, Default)]
pub(super) struct Stamp {
    second: u64,
    /// Up to the seconds; empty before the first line.
    text: String,
}

impl Stamp {
    /// Writes a moment as RFC 3339 has it, in UTC and without needless zeros.
    pub(super) fn write(&mut self, lines: &mut Vec<u8>, time: UnixTime) {
        if self.second != time.seconds() || self.text.is_empty() {
            self.second = time.seconds();
            self.text = text(self.second);
        }
        lines.extend_from_slice(self.text.as_bytes());
        let digit = |number: u64| u8::try_from(number % 10).unwrap_or_default() | b'0';
        let millis = time.millis();
        let fraction = [b'.', digit(millis / 100), digit(millis / 10), digit(millis)];
        lines.extend_from_slice(match fraction.as_slice() {
            [_, b'0', b'0', b'0'] => &[],
            [rest @ .., b'0', b'0'] | [rest @ .., b'0'] | rest => rest,
        });
        lines.push(b'Z');
    }
}

fn text(second: u64) -> String {
    let second = i64::try_from(second).ok();
    let date = second.and_then(|second| OffsetDateTime::from_unix_timestamp(second).ok());
    let text = date.unwrap_or(OffsetDateTime::UNIX_EPOCH).format(&Rfc3339).unwrap_or_default();
    text.strip_suffix('Z').unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::Stamp;
    use crate::clock::UnixTime;
    use proptest::prelude::*;
    use std::time::Duration;
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;

    proptest! {
        #[test]
        fn it_is_what_the_library_writes(
            seconds in prop::collection::vec(0..253_402_300_800_u64, 1..4),
            millis in prop::collection::vec(prop_oneof![Just(0), Just(7), Just(70), Just(700), 0..1000_u16], 3),
        ) {
            let mut stamp = Stamp::default();
            for (second, milli) in seconds.iter().flat_map(|second| millis.iter().map(move |milli| (*second, *milli))) {
                let mut written = Vec::new();
                let time = UnixTime::from_seconds(second).plus(Duration::from_millis(milli.into()));
                stamp.write(&mut written, time);
                let date = OffsetDateTime::from_unix_timestamp(second.try_into().unwrap()).unwrap();
                let date = date.replace_millisecond(milli).unwrap().format(&Rfc3339).unwrap();
                prop_assert_eq!(String::from_utf8(written).unwrap(), date);
            }
        }
    }
}
