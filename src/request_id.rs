//! Ids of requests: `UUIDv7` (RFC 9562 §5.7), sortable by time, with randomness drawn in batches.

use crate::clock::UnixTime;
use crate::random::Random;
use bytes::Bytes;
use http::HeaderValue;

/// Random bytes of one id.
const RANDOM: usize = 10;

/// Makes ids for one worker.
#[derive(Debug, Default)]
pub struct RequestIds {
    random: Random<RANDOM>,
}

impl RequestIds {
    /// A new id.
    #[must_use]
    pub fn next(&self, now: UnixTime) -> HeaderValue {
        // Should the system have nothing random, time alone still tells ids apart.
        let id = uuid::Builder::from_unix_timestamp_millis(now.millis(), &self.random.next()).into_uuid();
        let mut text = [0_u8; uuid::fmt::Hyphenated::LENGTH];
        id.hyphenated().encode_lower(&mut text);
        // Text and counter of handles in one allocation: an id is cloned for the service and for the client.
        let text = Bytes::from_owner(text);
        HeaderValue::from_maybe_shared(text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
    }
}

#[cfg(test)]
mod tests {
    use super::RequestIds;
    use crate::clock::UnixTime;
    use std::collections::HashSet;

    #[test]
    fn ids_are_version_seven_and_do_not_repeat() {
        let ids = RequestIds::default();
        let made: HashSet<String> = (0..1000)
            .map(|_| ids.next(UnixTime::from_seconds(1_800_000_000)).to_str().unwrap().to_owned())
            .collect();
        assert_eq!(made.len(), 1000);
        assert!(made.iter().all(|id| uuid::Uuid::parse_str(id).unwrap().get_version_num() == 7));
    }
}
