//! `[response_headers]` → fields for every response.

use crate::config::problem::{KeyPath, Problems};
use crate::policy::Bypass;
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use indexmap::IndexMap;

/// Fields that belong to each message; one value for all would break it.
const OF_EACH_MESSAGE: [&str; 15] = [
    "allow",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "keep-alive",
    "location",
    "retry-after",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "www-authenticate",
    "x-request-id",
];

fn belongs_to_each_message(name: &str) -> bool {
    OF_EACH_MESSAGE.contains(&name) || name.starts_with("grpc-") || name.starts_with("sec-websocket-")
}

/// Tells whoever looks at a response that nobody was judged.
const BYPASS: HeaderName = HeaderName::from_static("x-sidegate-insecure-bypass");

pub(super) fn headers(
    written: &IndexMap<String, String>,
    bypass: Option<Bypass>,
    problems: &mut Problems,
) -> HeaderMap {
    let at = KeyPath::root("response_headers");
    let mut headers = HeaderMap::new();
    for (text, value) in written {
        let at = at.key(text);
        let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
            problems.error(at, format!("{text:?} is not a header name"), "use letters, digits and \"-\"");
            continue;
        };
        if belongs_to_each_message(name.as_str()) {
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
    if bypass.is_some() {
        headers.insert(BYPASS, HeaderValue::from_static("on"));
    }
    headers
}
