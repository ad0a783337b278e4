//! Spans on their way to a collector: OTLP over HTTP, in batches, from the control thread.
//!
//! A collector that is slow or away costs spans, which are counted, and never holds up a request.

use super::spans::text;
use crate::outbound::{HttpClient, HttpError};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Request, Response, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::sleep;

/// How many requests may wait with their spans, a few KiB each at most.
const QUEUE: usize = 2048;

/// How many spans are sent at once, at most.
const BATCH: usize = 512;

/// How long spans are collected before they are sent.
const LINGER: Duration = Duration::from_millis(100);

/// How long a collector may take to answer (the default of OpenTelemetry's exporters).
const TIMEOUT: Duration = Duration::from_secs(10);

/// How often a batch is sent before it is given up, and how long the pauses are: the first, then twice that, …
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);

/// The longest pause that a collector may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Spans that wait to be sent.
#[derive(Debug)]
pub struct Queue {
    sender: Sender<Vec<Span>>,
    counts: Arc<Counts>,
}

/// What became of spans.
#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    lost: AtomicU64,
    /// Spans that nobody knows the fate of yet.
    pending: AtomicU64,
    /// Somebody waits for all of them.
    hurry: Notify,
    settled: Notify,
}

/// What has become of spans, for the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanFigures {
    /// How many the collector took.
    pub sent: u64,
    /// How many were lost: the queue was full, or the collector did not take them.
    pub lost: u64,
}

/// Where spans go, and as whose.
#[derive(Debug)]
pub struct Settings {
    /// The whole URL.
    pub url: String,
    /// The field that the collector wants to see, if it wants one.
    pub authorization: Option<HeaderValue>,
    /// Who the spans are from: `service.name`, and more.
    pub resource: Vec<(String, String)>,
}

/// Takes spans out of the queue, and sends them.
#[derive(Debug)]
pub struct Exporter {
    receiver: Receiver<Vec<Span>>,
    counts: Arc<Counts>,
    settings: Settings,
    client: Arc<dyn HttpClient>,
    is_away: bool,
}

impl Queue {
    /// A queue, and whoever empties it. It must run on the control runtime; it ends when the queue is gone, and what was in there
    /// was sent.
    #[must_use]
    pub fn open(settings: Settings, client: Arc<dyn HttpClient>) -> (Arc<Self>, Exporter) {
        let (sender, receiver) = channel(QUEUE);
        let counts = Arc::new(Counts::default());
        let exporter = Exporter { receiver, counts: Arc::clone(&counts), settings, client, is_away: false };
        (Arc::new(Self { sender, counts }), exporter)
    }

    /// Puts the spans of a request there; they are lost if there is no room.
    pub(super) fn push(&self, spans: Vec<Span>) {
        let count = u64::try_from(spans.len()).unwrap_or_default();
        self.counts.pending.fetch_add(count, Ordering::Relaxed);
        if self.sender.try_send(spans).is_err() {
            self.counts.settle(count, 0);
        }
    }

    /// What has become of spans so far.
    #[must_use]
    pub fn figures(&self) -> SpanFigures {
        SpanFigures {
            sent: self.counts.sent.load(Ordering::Relaxed),
            lost: self.counts.lost.load(Ordering::Relaxed),
        }
    }

    /// Waits until the collector has all spans, at most `limit`.
    pub async fn flush(&self, limit: Duration) {
        let settled = async {
            while self.counts.pending.load(Ordering::Relaxed) > 0 {
                self.counts.hurry.notify_one();
                self.counts.settled.notified().await;
            }
        };
        // What is late is lost.
        tokio::time::timeout(limit, settled).await.ok();
    }
}

impl Counts {
    /// The fate of so many spans is known; the collector took `taken` of them.
    fn settle(&self, count: u64, taken: u64) {
        self.sent.fetch_add(taken, Ordering::Relaxed);
        self.lost.fetch_add(count.saturating_sub(taken), Ordering::Relaxed);
        self.pending.fetch_sub(count, Ordering::Relaxed);
        self.settled.notify_one();
    }
}

impl Exporter {
    /// Sends until the queue is gone.
    pub async fn run(mut self) {
        while let Some(first) = self.receiver.recv().await {
            // Whoever puts something there now wakes nobody.
            tokio::select! {
                () = sleep(LINGER) => {}
                () = self.counts.hurry.notified() => {}
            }
            let mut batch = first;
            while let Ok(more) = self.receiver.try_recv() {
                batch.extend(more);
                if batch.len() >= BATCH {
                    self.send(std::mem::take(&mut batch)).await;
                }
            }
            if !batch.is_empty() {
                self.send(batch).await;
            }
        }
    }

    async fn send(&mut self, spans: Vec<Span>) {
        let count = u64::try_from(spans.len()).unwrap_or_default();
        let body = Bytes::from(self.settings.message(spans).encode_to_vec());
        let mut attempt = 1;
        let taken = loop {
            let error = match self.ask(body.clone()).await {
                Ok(rejected) => break count.saturating_sub(rejected),
                Err(error) => error,
            };
            if attempt >= ATTEMPTS || !error.is_passing {
                self.complain(&error.text);
                break 0;
            }
            sleep(error.pause.unwrap_or(PAUSE.saturating_mul(attempt))).await;
            attempt = attempt.saturating_add(1);
        };
        if taken > 0 && std::mem::take(&mut self.is_away) {
            tracing::info!("traces: the collector takes spans again");
        }
        self.counts.settle(count, taken);
    }

    /// Says so once for each time it is away.
    fn complain(&mut self, error: &str) {
        if std::mem::replace(&mut self.is_away, true) {
            tracing::debug!(error, "traces: the collector does not take spans");
        } else {
            tracing::warn!(error, "traces: the collector does not take spans; they are lost");
        }
    }

    /// Sends once; how many spans were rejected.
    async fn ask(&self, body: Bytes) -> Result<u64, Failure> {
        let mut request = Request::post(&self.settings.url).header(CONTENT_TYPE, "application/x-protobuf");
        if let Some(authorization) = &self.settings.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(body).map_err(|_| Failure::lasting(HttpError::Url.to_string()))?;
        let response = self.client.send(request, TIMEOUT).await;
        let response = response.map_err(|error| Failure {
            is_passing: matches!(error, HttpError::Connect(_) | HttpError::Exchange(_) | HttpError::Timeout),
            text: error.to_string(),
            pause: None,
        })?;
        if !response.status().is_success() {
            return Err(Failure::of(&response));
        }
        let answer = ExportTraceServiceResponse::decode(response.into_body()).unwrap_or_default();
        let rejected = answer.partial_success.map_or(0, |partly| partly.rejected_spans);
        Ok(u64::try_from(rejected).unwrap_or_default())
    }
}

/// Why a batch was not taken.
struct Failure {
    /// Whether it may be taken another time.
    is_passing: bool,
    text: String,
    pause: Option<Duration>,
}

impl Failure {
    const fn lasting(text: String) -> Self {
        Self { is_passing: false, text, pause: None }
    }

    /// A status that is no success (OTLP specification, "Failures").
    fn of(response: &Response<Bytes>) -> Self {
        let passing = [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::BAD_GATEWAY,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::GATEWAY_TIMEOUT,
        ];
        let after = response.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
        Self {
            is_passing: passing.contains(&response.status()),
            text: HttpError::Status(response.status()).to_string(),
            pause: after.map(|seconds| Duration::from_secs(seconds).min(LONGEST_PAUSE)),
        }
    }
}

impl Settings {
    fn message(&self, spans: Vec<Span>) -> ExportTraceServiceRequest {
        let attributes: Vec<KeyValue> = self.resource.iter().map(|(key, value)| text(key, value)).collect();
        let scope = InstrumentationScope {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }];
        let resource = Some(Resource { attributes, ..Resource::default() });
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }],
        }
    }
}

#[cfg(test)]
mod tests;
