//! `[response_headers]` → fields for every response.

use crate::config::problem::{KeyPath, Problems};
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use indexmap::IndexMap;

/// Fields that frame a message; setting them would break it.
const FRAMING: [&str; 10] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-request-id",
];

pub(super) fn headers(written: &IndexMap<String, String>, problems: &mut Problems) -> HeaderMap {
    let at = KeyPath::root("response_headers");
    let mut headers = HeaderMap::new();
    for (text, value) in written {
        let at = at.key(text);
        let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
            problems.error(at, format!("{text:?} is not a header name"), "use letters, digits and \"-\"");
            continue;
        };
        if FRAMING.contains(&name.as_str()) {
            problems.error(
                at,
                format!("{text} belongs to each message and cannot be the same for all"),
                "remove it",
            );
            continue;
        }
        match HeaderValue::from_str(value) {
            Ok(value) if !value.is_empty() => drop(headers.insert(name, value)),
            Ok(_) | Err(_) => {
                problems.error(at, "the value cannot stand in a header", "write visible ASCII characters");
            }
        }
    }
    headers
}
