//! One JSON object (or one line for people) a request, written when its response has ended.
//!
//! Queries and credentials never get here: the line is made from the canonical path and from verified facts.

use super::sink::Sink;
use super::tally::Decision;
use crate::clock::UnixTime;
use crate::config::log::LogFormat;
use crate::denial::Reason;
use serde::{Serialize, Serializer};
use std::cell::RefCell;
use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How many bytes of lines a worker collects before it hands them to the writer.
const CHUNK: usize = 16 << 10;

/// What the access log says of one request.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    /// When the request's head had arrived (RFC 3339, UTC).
    #[serde(serialize_with = "rfc3339")]
    pub timestamp: UnixTime,
    /// Always "INFO": refusals are business as usual.
    pub level: &'static str,
    /// Always "request".
    pub message: &'static str,
    /// The id that the service and the client got.
    pub request_id: &'a str,
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
    #[serde(serialize_with = "decision")]
    pub decision: Decision,
    /// Why.
    #[serde(serialize_with = "reason")]
    pub reason: Reason,
    /// What went wrong inside, where something did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<&'a str>,
    /// Who vouched for the identity.
    pub authenticator: Option<&'a str>,
    /// Who asked.
    pub subject: Option<&'a str>,
    /// The identity's `customer_id`, where the configuration has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<String>,
    /// Bytes of the response body, or of both directions of a tunnel.
    pub bytes: u64,
    /// Seconds from the arrival of the head to the end of the response.
    #[serde(serialize_with = "seconds")]
    pub duration: Duration,
    /// Seconds from forwarding to the head of the service's response.
    #[serde(serialize_with = "optional_seconds")]
    pub upstream_duration: Option<Duration>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn rfc3339<S: Serializer>(time: &UnixTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&formatted(*time))
}

fn formatted(time: UnixTime) -> String {
    let nanoseconds = i128::from(time.millis()).saturating_mul(1_000_000);
    let date = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    date.format(&Rfc3339).unwrap_or_default()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn decision<S: Serializer>(decision: &Decision, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(decision.label())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn reason<S: Serializer>(reason: &Reason, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(reason.label())
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

#[expect(clippy::ref_option, reason = "the signature is serde's")]
fn optional_seconds<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => seconds(duration, serializer),
        None => serializer.serialize_none(),
    }
}

/// One worker's end of the access log: a buffer that is reused, and handed over in chunks.
#[derive(Debug)]
pub struct AccessLog {
    format: LogFormat,
    sink: Sink,
    buffer: RefCell<Vec<u8>>,
}

impl AccessLog {
    /// A log in front of `sink`.
    #[must_use]
    pub fn new(format: LogFormat, sink: Sink) -> Self {
        Self { format, sink, buffer: RefCell::default() }
    }

    /// Writes one line.
    pub fn write(&self, line: &Line<'_>) {
        let mut buffer = self.buffer.borrow_mut();
        let start = buffer.len();
        let written = match self.format {
            LogFormat::Json => serde_json::to_writer(&mut *buffer, line).is_ok(),
            LogFormat::Pretty => pretty(&mut buffer, line).is_ok(),
        };
        if written {
            buffer.push(b'\n');
        } else {
            buffer.truncate(start);
        }
        if buffer.len() >= CHUNK {
            self.sink.write(std::mem::take(&mut buffer));
        }
    }

    /// Hands over what has collected; called by the worker's tick and at its end.
    pub fn flush(&self) {
        let mut buffer = self.buffer.borrow_mut();
        if !buffer.is_empty() {
            self.sink.write(std::mem::take(&mut buffer));
        }
    }
}

/// What is cut off at the end of the grace is on record as well.
impl Drop for AccessLog {
    fn drop(&mut self) {
        self.flush();
    }
}

fn pretty(buffer: &mut Vec<u8>, line: &Line<'_>) -> std::io::Result<()> {
    write!(
        buffer,
        "{} {} {} {} {} {} {} {:.1}ms",
        formatted(line.timestamp),
        line.status,
        line.method.escape_debug(),
        line.path.escape_debug(),
        line.decision.label(),
        line.reason.label(),
        line.route,
        line.duration.as_secs_f64() * 1000.0,
    )?;
    if let Some(subject) = line.subject {
        write!(buffer, " {}", subject.escape_debug())?;
    }
    Ok(())
}
