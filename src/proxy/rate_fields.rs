//! The response fields that tell a client how much it may still ask for.

use crate::allowance::Allowance;
use crate::clock::UnixTime;
use crate::config::rate_limit::Fields;
use http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use std::time::Duration;

/// `RateLimit-*` of draft-ietf-httpapi-ratelimit-headers-03, and the older names that many clients know.
const NAMES: [[HeaderName; 3]; 2] = [
    [
        HeaderName::from_static("ratelimit-limit"),
        HeaderName::from_static("ratelimit-remaining"),
        HeaderName::from_static("ratelimit-reset"),
    ],
    [
        HeaderName::from_static("x-ratelimit-limit"),
        HeaderName::from_static("x-ratelimit-remaining"),
        HeaderName::from_static("x-ratelimit-reset"),
    ],
];

/// Tells what is left at that time, in place of what the service may say; and when to come again, to a request that was refused.
pub fn tell(
    headers: &mut HeaderMap,
    allowance: &Allowance,
    (fields, now): (Fields, UnixTime),
    refused: bool,
) {
    let [plain, older] = NAMES;
    let reset = seconds(allowance.reset);
    let (names, reset) = match fields {
        Fields::RateLimit => (plain, reset),
        Fields::XRateLimit => (older, now.plus(Duration::from_secs(reset)).seconds()),
    };
    for (name, value) in names.into_iter().zip([allowance.limit, allowance.remaining, reset]) {
        headers.insert(name, HeaderValue::from(value));
    }
    if let Some(wait) = allowance.wait.filter(|_| refused) {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds(wait).max(1)));
    }
}

/// Whole seconds, rounded up: whoever waits so long has waited long enough.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}
