//! A finished request as spans: one for what we served, and one for the call to the service, named as OpenTelemetry's semantic
//! conventions for HTTP name them.

use super::{Call, Trace};
use crate::telemetry::access_log::Line;
use crate::telemetry::tally::Decision;
use http::Version;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use std::time::Instant;

/// Longer texts are cut off, in bytes: a path may have as many as a head.
const LONGEST: usize = 512;

/// The method on record of those that are not well known.
const OTHER: &str = "_OTHER";

/// When a request came and went, on both clocks.
#[derive(Clone, Copy, Debug)]
pub(in crate::telemetry) struct Times {
    /// When its head had arrived.
    pub(in crate::telemetry) started: Instant,
    /// When its response had ended, in nanoseconds since the epoch.
    pub(in crate::telemetry) ended: u64,
}

impl Trace {
    /// Hands over the spans of a request that has ended.
    pub(in crate::telemetry) fn record(&self, line: &Line<'_>, method: &str, times: Times) {
        let method = if method == "other" { OTHER } else { method };
        let took = u64::try_from(line.duration.as_nanos()).unwrap_or(u64::MAX);
        let start = times.ended.saturating_sub(took);
        let mut spans = vec![self.served(line, method, (start, times.ended))];
        if let Some(call) = &self.called {
            let before = call.at.saturating_duration_since(times.started);
            let start = start.saturating_add(u64::try_from(before.as_nanos()).unwrap_or(u64::MAX));
            spans.push(self.forwarded(call, line, method, (start.min(times.ended), times.ended)));
        }
        self.queue.push(spans);
    }

    fn served(&self, line: &Line<'_>, method: &str, (start, end): (u64, u64)) -> Span {
        let is_error = line.status >= 500;
        let mut attributes = vec![
            text("http.request.method", method),
            text("url.scheme", self.came.scheme),
            text("url.path", line.path),
            number("http.response.status_code", line.status.into()),
            text("network.protocol.version", version(self.came.version)),
            text("sidegate.route", line.route),
            text("sidegate.decision", line.decision.label()),
            text("sidegate.reason", line.reason.label()),
            text("sidegate.request_id", line.request_id),
        ];
        if method == OTHER {
            attributes.push(text("http.request.method_original", line.method));
        }
        if !line.host.is_empty() {
            attributes.push(text("server.address", line.host));
        }
        if let Some(client) = line.client {
            attributes.push(text("client.address", &client.to_string()));
        }
        if let Some(authenticator) = line.authenticator {
            attributes.push(text("sidegate.authenticator", authenticator));
        }
        if is_error {
            attributes.push(text("error.type", &error_type(line)));
        }
        Span {
            span_id: self.span.to_vec(),
            parent_span_id: self.parent.map(|parent| parent.to_vec()).unwrap_or_default(),
            name: format!("{} {}", if method == OTHER { "HTTP" } else { method }, line.route),
            kind: SpanKind::Server.into(),
            status: status(is_error, line),
            ..self.span((start, end), attributes)
        }
    }

    fn forwarded(&self, call: &Call, line: &Line<'_>, method: &str, times: (u64, u64)) -> Span {
        let answered = line.upstream_duration.is_some();
        let is_error = !answered || line.status >= 400;
        let mut attributes =
            vec![text("http.request.method", method), text("sidegate.upstream", &call.upstream)];
        if let Some(duration) = line.upstream_duration {
            attributes.push(number("http.response.status_code", line.status.into()));
            attributes.push(double("sidegate.upstream.time_to_head", duration.as_secs_f64()));
        }
        if is_error {
            attributes.push(text("error.type", &error_type(line)));
        }
        Span {
            span_id: self.call.to_vec(),
            parent_span_id: self.span.to_vec(),
            name: format!("{} {}", if method == OTHER { "HTTP" } else { method }, call.upstream),
            kind: SpanKind::Client.into(),
            status: status(is_error, line),
            ..self.span(times, attributes)
        }
    }

    /// What all spans of a trace have in common.
    fn span(&self, (start, end): (u64, u64), attributes: Vec<KeyValue>) -> Span {
        let state = self.state.as_ref().and_then(|state| state.to_str().ok());
        Span {
            trace_id: self.id.to_vec(),
            trace_state: state.unwrap_or_default().to_owned(),
            flags: 1,
            start_time_unix_nano: start,
            end_time_unix_nano: end,
            attributes,
            ..Span::default()
        }
    }
}

/// Our reason where the error is ours, else the status.
fn error_type(line: &Line<'_>) -> String {
    let is_ours = line.decision == Decision::Deny || line.upstream_duration.is_none();
    if is_ours { line.reason.label().to_owned() } else { line.status.to_string() }
}

fn status(is_error: bool, line: &Line<'_>) -> Option<Status> {
    let message = line.cause.unwrap_or_default().to_owned();
    is_error.then(|| Status { message, code: StatusCode::Error.into() })
}

fn version(version: Version) -> &'static str {
    if version == Version::HTTP_2 {
        "2"
    } else if version == Version::HTTP_10 {
        "1.0"
    } else {
        "1.1"
    }
}

pub(super) fn text(key: &str, value: &str) -> KeyValue {
    let kept = (0..=LONGEST.min(value.len())).rev().find_map(|end| value.get(..end));
    attribute(key, Value::StringValue(kept.unwrap_or_default().to_owned()))
}

fn number(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn double(key: &str, value: f64) -> KeyValue {
    attribute(key, Value::DoubleValue(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}
