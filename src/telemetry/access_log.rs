//! One JSON object (or one line for people) a request, written when its response has ended.
//!
//! Queries and credentials never get here: the line is made from the canonical path and from verified facts.

mod json;
mod stamp;

use super::sink::Sink;
use super::tally::Decision;
use crate::clock::UnixTime;
use crate::config::log::LogFormat;
use crate::denial::Reason;
use crate::identity::Attribute;
use stamp::Stamp;
use std::cell::RefCell;
use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

/// How many bytes of lines a worker collects before it hands them to the writer.
const CHUNK: usize = 16 << 10;

/// What the access log says of one request. In JSON there are two more members behind the timestamp, always the same:
/// refusals are business as usual.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// When the request's head had arrived (RFC 3339, UTC).
    pub timestamp: UnixTime,
    /// The id that the service and the client got.
    pub request_id: &'a str,
    /// The trace that the request is part of, with `[tracing]`.
    pub trace_id: Option<&'a str>,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// The method.
    pub method: &'a str,
    /// The host that was asked for, without port.
    pub host: &'a str,
    /// The canonical path, without the query.
    pub path: &'a str,
    /// The status that the client got.
    pub status: u16,
    /// The rule that held.
    pub route: &'a str,
    /// Whether the request was let through.
    pub decision: Decision,
    /// Why.
    pub reason: Reason,
    /// What went wrong inside, where something did.
    pub cause: Option<&'a str>,
    /// Who vouched for the identity.
    pub authenticator: Option<&'a str>,
    /// Who asked.
    pub subject: Option<&'a str>,
    /// The identity's `customer_id`, where the configuration has one.
    pub customer_id: Option<&'a Attribute>,
    /// Bytes of the response body, or of both directions of a tunnel.
    pub bytes: u64,
    /// From the arrival of the head to the end of the response; written in seconds.
    pub duration: Duration,
    /// From forwarding to the head of the service's response; written in seconds.
    pub upstream_duration: Option<Duration>,
}

/// A moment as the log writes it.
#[must_use]
pub fn stamped(time: UnixTime) -> String {
    let mut text = Vec::new();
    Stamp::default().write(&mut text, time);
    String::from_utf8(text).unwrap_or_default()
}

/// One worker's end of the access log: a buffer that is reused, and handed over in chunks.
#[derive(Debug)]
pub struct AccessLog {
    format: LogFormat,
    sink: Sink,
    collected: RefCell<Collected>,
}

#[derive(Debug, Default)]
struct Collected {
    lines: Vec<u8>,
    stamp: Stamp,
}

impl AccessLog {
    /// A log in front of `sink`.
    #[must_use]
    pub fn new(format: LogFormat, sink: Sink) -> Self {
        Self { format, sink, collected: RefCell::default() }
    }

    /// Writes one line.
    pub fn write(&self, line: &Line<'_>) {
        let mut collected = self.collected.borrow_mut();
        let Collected { lines, stamp } = &mut *collected;
        let start = lines.len();
        let written = match self.format {
            LogFormat::Json => json::write(lines, line, stamp),
            LogFormat::Pretty => pretty(lines, line, stamp),
        };
        if written.is_ok() {
            lines.push(b'\n');
        } else {
            lines.truncate(start);
        }
        if lines.len() >= CHUNK {
            self.hand_over(lines);
        }
    }

    /// Hands over what has collected; called by the worker's tick and at its end.
    pub fn flush(&self) {
        let mut collected = self.collected.borrow_mut();
        if !collected.lines.is_empty() {
            self.hand_over(&mut collected.lines);
        }
    }

    /// A copy is handed over, no larger than the lines are: a large buffer must not wait in the queue for few of them,
    /// nor must the next lines grow one anew.
    fn hand_over(&self, lines: &mut Vec<u8>) {
        self.sink.write(lines.as_slice().to_vec());
        lines.clear();
    }
}

/// What is cut off at the end of the grace is on record as well.
impl Drop for AccessLog {
    fn drop(&mut self) {
        self.flush();
    }
}

fn pretty(lines: &mut Vec<u8>, line: &Line<'_>, stamp: &mut Stamp) -> std::io::Result<()> {
    stamp.write(lines, line.timestamp);
    write!(
        lines,
        " {} {} {} {} {} {} {:.1}ms",
        line.status,
        line.method.escape_debug(),
        line.path.escape_debug(),
        line.decision.label(),
        line.reason.label(),
        line.route,
        line.duration.as_secs_f64() * 1000.0,
    )?;
    if let Some(subject) = line.subject {
        write!(lines, " {}", subject.escape_debug())?;
    }
    Ok(())
}
