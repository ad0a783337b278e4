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

/// Everything that is refused so.
pub(super) const TABLE: &[NotYet] = &[key(
    "tracing",
    "remove the table; the service still gets the trace headers of the client, and X-Request-Id",
)];

/// The hint for a key that is not supported yet.
pub(super) fn key_hint(path: &KeyPath) -> Option<&'static str> {
    TABLE.iter().find(|row| row.value.is_none() && matches(row.pattern, path)).map(|row| row.hint)
}

/// The hint for a value that is not supported yet.
pub(super) fn value_hint(path: &KeyPath, value: &str) -> Option<&'static str> {
    TABLE.iter().find(|row| row.value == Some(value) && matches(row.pattern, path)).map(|row| row.hint)
}
