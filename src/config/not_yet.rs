//! What the contract promises and this release does not do yet: refused by name, never ignored.
//!
//! Whoever builds one of these deletes its line; a test fails when a line and the types disagree.

use super::problem::KeyPath;
use super::shape::matches;

/// A key, or one value of a key.
pub(super) struct NotYet {
    /// The key's path, as [`super::shape::Shape::paths`] writes it.
    pub(super) pattern: &'static str,
    /// The value, if the key itself is supported.
    pub(super) value: Option<&'static str>,
    /// What to do without it.
    pub(super) hint: &'static str,
}

const fn key(pattern: &'static str, hint: &'static str) -> NotYet {
    NotYet { pattern, value: None, hint }
}

const fn value(pattern: &'static str, value: &'static str, hint: &'static str) -> NotYet {
    NotYet { pattern, value: Some(value), hint }
}

const RATE_LIMITS: &str = "remove it, and limit rates in front of sidegate or in the service";

/// Everything that is refused so.
pub(super) const TABLE: &[NotYet] = &[
    value(
        "routes.websocket.on_denied",
        "close",
        "use \"http\": the handshake is refused with a status, before the upgrade",
    ),
    key("routes.rate_limit", RATE_LIMITS),
    key("rate_limits", RATE_LIMITS),
    key("redis", "remove the table; this release keeps no state that replicas would have to share"),
    key("revocation", "remove the table, and keep tokens short-lived (authenticators.NAME.max_lifetime)"),
    key(
        "log.audit",
        "remove the table; log.access writes one line a request, with the decision and its reason",
    ),
    key(
        "tracing",
        "remove the table; the service still gets the trace headers of the client, and X-Request-Id",
    ),
];

/// The hint for a key that is not supported yet.
pub(super) fn key_hint(path: &KeyPath) -> Option<&'static str> {
    TABLE.iter().find(|row| row.value.is_none() && matches(row.pattern, path)).map(|row| row.hint)
}

/// The hint for a value that is not supported yet.
pub(super) fn value_hint(path: &KeyPath, value: &str) -> Option<&'static str> {
    TABLE.iter().find(|row| row.value == Some(value) && matches(row.pattern, path)).map(|row| row.hint)
}
