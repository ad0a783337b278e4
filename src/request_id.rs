//! Ids of requests: `UUIDv7` (RFC 9562 §5.7), sortable by time, with randomness drawn in batches.

use crate::clock::UnixTime;
use bytes::Bytes;
use http::HeaderValue;
use std::cell::RefCell;

/// Random bytes of one id.
const RANDOM: usize = 10;
/// Ids that one call to the random generator is good for.
const BATCH: usize = 64;

/// Makes ids for one worker.
#[derive(Debug, Default)]
pub struct RequestIds {
    random: RefCell<Vec<[u8; RANDOM]>>,
}

impl RequestIds {
    /// A new id.
    #[must_use]
    pub fn next(&self, now: UnixTime) -> HeaderValue {
        let id = uuid::Builder::from_unix_timestamp_millis(now.millis(), &self.random()).into_uuid();
        let mut text = [0_u8; uuid::fmt::Hyphenated::LENGTH];
        id.hyphenated().encode_lower(&mut text);
        // Text and counter of handles in one allocation: an id is cloned for the service and for the client.
        let text = Bytes::from_owner(text);
        HeaderValue::from_maybe_shared(text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
    }

    fn random(&self) -> [u8; RANDOM] {
        let mut pool = self.random.borrow_mut();
        if pool.is_empty() {
            let mut bytes = [0_u8; RANDOM * BATCH];
            // Ids need not be secret: should the system have none, time alone still tells them apart. Not from AWS-LC, whose
            // own generator takes tens of milliseconds to start, in the middle of a thread's first request.
            getrandom::fill(&mut bytes).ok();
            pool.extend(bytes.as_chunks::<RANDOM>().0);
        }
        pool.pop().unwrap_or_default()
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
