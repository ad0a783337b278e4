//! Families and samples of the Prometheus text format.

use crate::telemetry::tally::{BUCKETS, Durations};
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

pub(super) fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
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

pub(super) fn counter(labels: &[(&str, &str)], value: u64) -> Metric {
    sample(MetricType::COUNTER, labels, float(value))
}

pub(super) fn gauge(labels: &[(&str, &str)], value: u64) -> Metric {
    sample(MetricType::GAUGE, labels, float(value))
}

/// A counter, or else a gauge.
pub(super) fn sample(kind: MetricType, labels: &[(&str, &str)], value: f64) -> Metric {
    let mut metric = labelled(labels);
    if kind == MetricType::COUNTER {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    }
    metric
}

pub(super) fn histogram(labels: &[(&str, &str)], durations: &Durations) -> Metric {
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
pub(super) const fn float(value: u64) -> f64 {
    value as f64
}
