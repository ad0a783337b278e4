//! The audit log: one JSON line for each decision that matters, in a file of its own that is kept for a while.
//!
//! It is written by a thread of its own. A disk that is slow or full costs lines, which are counted, and never holds up a request.

mod file;

pub use file::RotatingFile;

use super::access_log::{Line, stamped};
use super::sink::Sink;
use super::tally::Decision;
use crate::clock::{Clock, UnixTime};
use crate::config::log::Audit as Written;
use http::Method;
use serde_json::{Map, Value, json};
use std::fmt;
use std::io;
use std::sync::Arc;

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A request was refused.
    Denied,
    /// A request would have been refused, but for shadow mode.
    WouldDeny,
    /// A request was let through that may change something: its method is neither GET nor HEAD nor OPTIONS.
    Mutation,
    /// A tunnel was opened.
    TunnelOpened,
    /// A tunnel has ended.
    TunnelClosed,
}

impl Event {
    /// What it is called.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::WouldDeny => "would_deny",
            Self::Mutation => "mutation",
            Self::TunnelOpened => "tunnel_opened",
            Self::TunnelClosed => "tunnel_closed",
        }
    }

    /// What a request is that has ended; none if it does not matter.
    #[must_use]
    pub fn of_request(decision: Decision, method: Option<&Method>, tunnel: bool) -> Option<Self> {
        let safe = [&Method::GET, &Method::HEAD, &Method::OPTIONS];
        match decision {
            Decision::Deny => Some(Self::Denied),
            Decision::WouldDeny => Some(Self::WouldDeny),
            Decision::Allow if tunnel => Some(Self::TunnelClosed),
            Decision::Allow if method.is_some_and(|method| !safe.contains(&method)) => Some(Self::Mutation),
            Decision::Allow => None,
        }
    }
}

/// The audit log of this process.
pub struct Audit {
    sink: Sink,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Audit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Audit").finish_non_exhaustive()
    }
}

impl Audit {
    /// Opens the file, and begins a thread that writes it.
    ///
    /// # Errors
    /// The file cannot be opened for writing.
    pub fn open(written: &Written, clock: Arc<dyn Clock>) -> io::Result<Arc<Self>> {
        let file = RotatingFile::open(written, Arc::clone(&clock))?;
        Ok(Arc::new(Self { sink: Sink::new(file), clock }))
    }

    /// An entry about a request.
    pub fn request(&self, event: Event, line: &Line<'_>) {
        let mut entry = Map::new();
        let mut put = |name: &str, value: Value| entry.insert(name.to_owned(), value);
        put("timestamp", stamped(line.timestamp).into());
        put("event", event.label().into());
        put("request_id", line.request_id.into());
        if let Some(trace) = line.trace_id {
            put("trace_id", trace.into());
        }
        put("client", line.client.map(|client| client.to_string()).into());
        put("method", line.method.into());
        put("host", line.host.into());
        put("path", line.path.into());
        put("status", line.status.into());
        put("route", line.route.into());
        put("decision", line.decision.label().into());
        put("reason", line.reason.label().into());
        if let Some(cause) = line.cause {
            put("cause", cause.into());
        }
        put("authenticator", line.authenticator.into());
        put("subject", line.subject.into());
        if let Some(customer) = line.customer_id {
            put("customer_id", customer.to_json());
        }
        self.write(&entry.into());
    }

    /// An entry about the process: what has happened, and what there is to say about it.
    pub fn event(&self, event: &str, details: &Value) {
        let mut entry = json!({ "timestamp": stamped(self.clock.now()), "event": event });
        if let (Some(entry), Some(details)) = (entry.as_object_mut(), details.as_object()) {
            entry.extend(details.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        self.write(&entry);
    }

    fn write(&self, entry: &Value) {
        self.sink.write(format!("{entry}\n").into_bytes());
    }

    /// How many entries were lost.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.sink.lost()
    }

    /// Waits until everything is written, at most a second.
    pub fn flush(&self) {
        self.sink.flush();
    }
}

/// The days of entries, for tests and the names of files: `2026-11-26`.
fn day(time: UnixTime) -> String {
    stamped(time).chars().take(10).collect()
}
