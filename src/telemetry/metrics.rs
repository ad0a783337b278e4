//! Every metric family that sidegate exports is named here and only here.
//!
//! Label values come from the configuration, from fixed tables or from statuses, never from what clients send.

use super::sink::Sink;
use super::tally::{BUCKETS, Durations, RouteFigures, Tally};
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{GaugeVec, IntCounterVec, Opts, Registry, TextEncoder};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The metrics of one gate.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// `jwks_refreshes_total`.
    pub jwks_refreshes: IntCounterVec,
    /// `jwks_last_success_timestamp_seconds`.
    pub jwks_last_success: GaugeVec,
    /// `jwks_keys_ignored`.
    pub jwks_keys_ignored: GaugeVec,
    workers: Mutex<Vec<Arc<Tally>>>,
    sink: Sink,
}

impl Metrics {
    /// Registers every family.
    ///
    /// # Errors
    /// None in practice: names and labels are fixed here.
    pub fn new(sink: Sink) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name, help, labels: &[&str]| -> Result<IntCounterVec, prometheus::Error> {
            let family = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok(family)
        };
        let gauge = |name, help, labels: &[&str]| -> Result<GaugeVec, prometheus::Error> {
            let family = GaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok(family)
        };
        let info = gauge("sidegate_build_info", "The version that is running.", &["version"])?;
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        let by_result = &["authenticator", "result"];
        Ok(Self {
            jwks_refreshes: counter("sidegate_jwks_refreshes_total", "Fetches of key sets.", by_result)?,
            jwks_last_success: gauge(
                "sidegate_jwks_last_success_timestamp_seconds",
                "When a key set was last fetched.",
                &["authenticator"],
            )?,
            jwks_keys_ignored: gauge(
                "sidegate_jwks_keys_ignored",
                "Keys of the current key set that are not used, by why.",
                &["authenticator", "reason"],
            )?,
            registry,
            workers: Mutex::default(),
            sink,
        })
    }

    /// The counters of one more worker.
    #[must_use]
    pub fn worker(&self) -> Arc<Tally> {
        let tally = Arc::new(Tally::default());
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&tally));
        tally
    }

    /// All families in the Prometheus text format.
    #[must_use]
    pub fn render(&self) -> String {
        let mut families = self.registry.gather();
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        families.extend(worker_families(&workers));
        families.push(family(
            "sidegate_log_lines_lost_total",
            "Log lines dropped because standard output did not keep up.",
            MetricType::COUNTER,
            vec![counter(&[], self.sink.lost())],
        ));
        // The encoder refuses all families when one is empty.
        families.retain(|family| !family.get_metric().is_empty());
        families.sort_by(|left, right| left.name().cmp(right.name()));
        TextEncoder::new().encode_to_string(&families).unwrap_or_default()
    }
}

/// Sums what every worker counted.
fn worker_families(workers: &[Arc<Tally>]) -> Vec<MetricFamily> {
    let sum = |pick: fn(&Tally) -> u64| workers.iter().map(|tally| pick(tally)).fold(0, u64::saturating_add);
    let mut families = route_families(workers);
    families.push(upstream_family(workers));
    families.push(authenticator_family(workers));
    families.push(family(
        "sidegate_token_cache_lookups_total",
        "Lookups in the cache of verified tokens.",
        MetricType::COUNTER,
        vec![
            counter(&[("result", "hit")], sum(|tally| tally.cache_hits.value())),
            counter(&[("result", "miss")], sum(|tally| tally.cache_misses.value())),
        ],
    ));
    for (name, help, value) in [
        ("sidegate_connections", "Open client connections.", sum(|tally| tally.connections.value())),
        ("sidegate_tunnels", "Open WebSocket tunnels.", sum(|tally| tally.tunnels.value())),
    ] {
        families.push(family(name, help, MetricType::GAUGE, vec![gauge(value)]));
    }
    families
}

fn route_families(workers: &[Arc<Tally>]) -> Vec<MetricFamily> {
    let mut routes: BTreeMap<Arc<str>, Vec<RouteFigures>> = BTreeMap::new();
    for (name, figures) in workers.iter().flat_map(|tally| tally.route_figures()) {
        routes.entry(name).or_default().push(figures);
    }
    let (mut requests, mut decisions, mut durations) = (Vec::new(), Vec::new(), Vec::new());
    for (route, figures) in &routes {
        let (mut by_code, mut by_reason) = (BTreeMap::new(), BTreeMap::new());
        let mut took = Durations::default();
        for figure in figures {
            add_all(&mut by_code, &figure.requests);
            add_all(&mut by_reason, &figure.decisions);
            took.merge(&figure.durations);
        }
        for ((method, code), count) in by_code {
            requests
                .push(counter(&[("code", &code.to_string()), ("method", method), ("route", route)], count));
        }
        for ((decision, reason), count) in by_reason {
            let labels = [("decision", decision.label()), ("reason", reason.label()), ("route", route)];
            decisions.push(counter(&labels, count));
        }
        durations.push(histogram(&[("route", route)], &took));
    }
    vec![
        family("sidegate_requests_total", "Requests that have ended.", MetricType::COUNTER, requests),
        family("sidegate_decisions_total", "What was decided, and why.", MetricType::COUNTER, decisions),
        family(
            "sidegate_request_duration_seconds",
            "From the arrival of a request's head to the end of its response.",
            MetricType::HISTOGRAM,
            durations,
        ),
    ]
}

fn add_all<K: Ord + Copy>(sums: &mut BTreeMap<K, u64>, counters: &[(K, u64)]) {
    for (key, count) in counters {
        let sum = sums.entry(*key).or_default();
        *sum = sum.saturating_add(*count);
    }
}

fn upstream_family(workers: &[Arc<Tally>]) -> MetricFamily {
    let mut sums: BTreeMap<Arc<str>, Durations> = BTreeMap::new();
    for (name, durations) in workers.iter().flat_map(|tally| tally.upstream_figures()) {
        sums.entry(name).or_default().merge(&durations);
    }
    family(
        "sidegate_upstream_duration_seconds",
        "From the forwarding of a request to the head of the service's response.",
        MetricType::HISTOGRAM,
        sums.iter().map(|(name, durations)| histogram(&[("upstream", name)], durations)).collect(),
    )
}

fn authenticator_family(workers: &[Arc<Tally>]) -> MetricFamily {
    let mut sums: BTreeMap<(Arc<str>, &str), u64> = BTreeMap::new();
    for (name, success, error) in workers.iter().flat_map(|tally| tally.authenticator_figures()) {
        for (result, count) in [("success", success), ("error", error)] {
            let sum = sums.entry((Arc::clone(&name), result)).or_default();
            *sum = sum.saturating_add(count);
        }
    }
    let metrics = sums.iter().map(|((name, result), count)| {
        counter(&[("authenticator", name.as_ref()), ("result", *result)], *count)
    });
    family(
        "sidegate_authentications_total",
        "Credentials that were judged.",
        MetricType::COUNTER,
        metrics.collect(),
    )
}

fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

fn labelled(labels: &[(&str, &str)]) -> Metric {
    let pairs = labels.iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    let mut metric = Metric::default();
    metric.set_label(pairs.collect());
    metric
}

fn counter(labels: &[(&str, &str)], value: u64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(float(value));
    let mut metric = labelled(labels);
    metric.set_counter(counter);
    metric
}

fn gauge(value: u64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(float(value));
    let mut metric = labelled(&[]);
    metric.set_gauge(gauge);
    metric
}

fn histogram(labels: &[(&str, &str)], durations: &Durations) -> Metric {
    let mut cumulative = 0_u64;
    let mut buckets = Vec::with_capacity(BUCKETS.len());
    for (bound, count) in BUCKETS.iter().zip(durations.buckets) {
        cumulative = cumulative.saturating_add(count);
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(cumulative);
        buckets.push(bucket);
    }
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets);
    histogram.set_sample_sum(durations.sum);
    histogram.set_sample_count(durations.buckets.iter().copied().fold(0, u64::saturating_add));
    let mut metric = labelled(labels);
    metric.set_histogram(histogram);
    metric
}

#[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "Prometheus values are floats")]
const fn float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::Metrics;
    use crate::denial::Reason;
    use crate::telemetry::sink::Sink;
    use crate::telemetry::tally::{Decision, Finished};
    use std::time::Duration;

    #[test]
    fn the_figures_of_all_workers_are_summed() {
        let metrics = Metrics::new(Sink::new(std::io::sink())).unwrap();
        for _ in 0..2 {
            let tally = metrics.worker();
            tally.connections.increment();
            tally.authenticator(&"auth0".into()).success.increment();
            tally.route(&"/a".into()).finished(&Finished {
                method: "GET",
                status: http::StatusCode::FORBIDDEN,
                decision: Decision::Deny,
                reason: Reason::RoleMissing,
                duration: Duration::from_millis(2),
            });
        }
        let text = metrics.render();
        for line in [
            "sidegate_connections 2",
            "sidegate_requests_total{code=\"403\",method=\"GET\",route=\"/a\"} 2",
            "sidegate_decisions_total{decision=\"deny\",reason=\"role_missing\",route=\"/a\"} 2",
            "sidegate_request_duration_seconds_bucket{route=\"/a\",le=\"0.001\"} 0",
            "sidegate_request_duration_seconds_bucket{route=\"/a\",le=\"0.0025\"} 2",
            "sidegate_request_duration_seconds_count{route=\"/a\"} 2",
            "sidegate_authentications_total{authenticator=\"auth0\",result=\"success\"} 2",
            "sidegate_token_cache_lookups_total{result=\"hit\"} 0",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
        }
    }
}
