//! The rules: which of them holds for a request, and what it demands. Pure: nothing here does I/O.

pub mod requirement;
pub mod router;
