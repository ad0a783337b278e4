//! Every metric family that sidegate exports is named here and only here.
//!
//! Label values come from the configuration, from fixed tables or from statuses, never from what clients send.

use super::audit::Audit;
use super::sink::Sink;
use super::tally::{BUCKETS, Durations, RouteFigures, Tally};
use super::tracing::export::SpanFigures;
use prometheus::TextEncoder;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How the keys of one authenticator are kept fresh.
#[derive(Clone, Debug)]
pub struct KeyFigures {
    /// The authenticator.
    pub authenticator: Arc<str>,
    /// How often its keys were read.
    pub successes: u64,
    /// How often that failed.
    pub errors: u64,
    /// When they were last read, in seconds since the epoch.
    pub last_success: Option<u64>,
    /// Keys of the current set that are not used.
    pub ignored: u64,
}

/// How often a file was read again because it had changed.
#[derive(Clone, Copy, Debug)]
pub struct ReloadFigures {
    /// It could be used.
    pub successes: u64,
    /// It could not, and what was read before still counts.
    pub errors: u64,
}

/// How the asking of one authority goes.
#[derive(Clone, Debug)]
pub struct AuthorityFigures {
    /// The authenticator that asks; none = the entitlements.
    pub authenticator: Option<Arc<str>>,
    /// How often there was an answer.
    pub successes: u64,
    /// How often there was none.
    pub errors: u64,
}

/// How the key file of one authenticator is kept fresh.
#[derive(Clone, Debug)]
pub struct FileFigures {
    /// The authenticator.
    pub authenticator: Arc<str>,
    /// How often the changed file was taken over.
    pub successes: u64,
    /// How often it could not be used.
    pub errors: u64,
}

/// How the asking of Redis goes.
#[derive(Clone, Copy, Debug)]
pub struct RedisFigures {
    /// Whether there is a connection that answers.
    pub is_up: bool,
    /// How many commands were answered.
    pub successes: u64,
    /// How many were not, or with an error.
    pub errors: u64,
}

/// The list of what is revoked.
#[derive(Clone, Copy, Debug)]
pub struct RevocationFigures {
    /// How many entries it has.
    pub held: usize,
    /// How long ago it was last known to be whole, if it is a copy of what is in Redis.
    pub age: Option<Duration>,
}

/// How everything goes that the control thread does beside the requests.
#[derive(Clone, Debug, Default)]
pub struct Upkeep {
    /// The keys of JWT authenticators.
    pub keys: Vec<KeyFigures>,
    /// The asking of authorities.
    pub authorities: Vec<AuthorityFigures>,
    /// The key files.
    pub files: Vec<FileFigures>,
    /// Redis.
    pub redis: Option<RedisFigures>,
    /// The list of what is revoked.
    pub revocations: Option<RevocationFigures>,
    /// The spans of requests, where they are traced.
    pub spans: Option<SpanFigures>,
    /// The key of assertions.
    pub assertion_key: Option<ReloadFigures>,
    /// The configuration, and when it was last taken over, in seconds since the epoch.
    pub configuration: Option<(ReloadFigures, u64)>,
}

/// The metrics of one gate.
#[derive(Debug)]
pub struct Metrics {
    workers: Mutex<Vec<Arc<Tally>>>,
    sink: Sink,
    audit: Option<Arc<Audit>>,
    bypass: bool,
}

impl Metrics {
    /// Metrics of a gate that logs to `sink` and has no workers yet; whether it judges nobody, for development.
    #[must_use]
    pub fn new(sink: Sink, audit: Option<Arc<Audit>>, bypass: bool) -> Self {
        Self { workers: Mutex::default(), sink, audit, bypass }
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
    pub fn render(&self, upkeep: &Upkeep) -> String {
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut families = worker_families(&workers);
        families.extend(key_families(&upkeep.keys));
        families.extend(authority_families(&upkeep.authorities));
        families.push(file_family(&upkeep.files));
        families.extend(redis_families(upkeep.redis));
        families.extend(revocation_families(upkeep.revocations));
        families.push(span_family(upkeep.spans));
        families.push(reload_family(
            "sidegate_assertion_key_reloads_total",
            "Readings of the key of assertions after its file had changed.",
            upkeep.assertion_key,
        ));
        families.push(reload_family(
            "sidegate_config_reloads_total",
            "Readings of the configuration after the first one.",
            upkeep.configuration.map(|(reloads, _)| reloads),
        ));
        families.push(family(
            "sidegate_config_last_reload_success_timestamp_seconds",
            "When the configuration that holds was taken over.",
            MetricType::GAUGE,
            upkeep.configuration.map(|(_, at)| gauge(&[], at)).into_iter().collect(),
        ));
        families.push(family(
            "sidegate_build_info",
            "The version that is running.",
            MetricType::GAUGE,
            vec![gauge(&[("version", env!("CARGO_PKG_VERSION"))], 1)],
        ));
        families.push(family(
            "sidegate_insecure_bypass",
            "1 when nobody is judged (--insecure-bypass), else 0.",
            MetricType::GAUGE,
            vec![gauge(&[], self.bypass.into())],
        ));
        families.push(family(
            "sidegate_log_lines_lost_total",
            "Log lines that were not written, because the reader or the disk did not keep up, or failed.",
            MetricType::COUNTER,
            std::iter::once(counter(&[("log", "stdout")], self.sink.lost()))
                .chain(self.audit.iter().map(|audit| counter(&[("log", "audit")], audit.lost())))
                .collect(),
        ));
        // The encoder refuses all families when one is empty.
        families.retain(|family| !family.get_metric().is_empty());
        families.sort_by(|left, right| left.name().cmp(right.name()));
        TextEncoder::new().encode_to_string(&families).unwrap_or_default()
    }
}

fn key_families(keys: &[KeyFigures]) -> [MetricFamily; 3] {
    let refreshes = keys.iter().flat_map(|figures| {
        [("error", figures.errors), ("success", figures.successes)].map(|(result, count)| {
            counter(&[("authenticator", &figures.authenticator), ("result", result)], count)
        })
    });
    let read = keys.iter().filter_map(|figures| {
        Some(gauge(&[("authenticator", figures.authenticator.as_ref())], figures.last_success?))
    });
    let ignored = keys
        .iter()
        .map(|figures| gauge(&[("authenticator", figures.authenticator.as_ref())], figures.ignored));
    [
        family(
            "sidegate_jwks_refreshes_total",
            "Readings of keys.",
            MetricType::COUNTER,
            refreshes.collect(),
        ),
        family(
            "sidegate_jwks_last_success_timestamp_seconds",
            "When keys were last read.",
            MetricType::GAUGE,
            read.collect(),
        ),
        family(
            "sidegate_jwks_keys_ignored",
            "Keys of the current set that are not used.",
            MetricType::GAUGE,
            ignored.collect(),
        ),
    ]
}

fn reload_family(name: &str, help: &str, figures: Option<ReloadFigures>) -> MetricFamily {
    let results = figures.map(|figures| [("error", figures.errors), ("success", figures.successes)]);
    let metrics = results.into_iter().flatten().map(|(result, count)| counter(&[("result", result)], count));
    family(name, help, MetricType::COUNTER, metrics.collect())
}

fn authority_families(authorities: &[AuthorityFigures]) -> [MetricFamily; 2] {
    let (mut requests, mut fetches) = (Vec::new(), Vec::new());
    for figures in authorities {
        for (result, count) in [("error", figures.errors), ("success", figures.successes)] {
            match &figures.authenticator {
                Some(name) => {
                    requests.push(counter(&[("authenticator", name.as_ref()), ("result", result)], count));
                }
                None => fetches.push(counter(&[("result", result)], count)),
            }
        }
    }
    [
        family(
            "sidegate_authority_requests_total",
            "Questions about credentials that went out to authorities.",
            MetricType::COUNTER,
            requests,
        ),
        family(
            "sidegate_entitlement_fetches_total",
            "Questions about customers that went out to the entitlements service.",
            MetricType::COUNTER,
            fetches,
        ),
    ]
}

fn file_family(files: &[FileFigures]) -> MetricFamily {
    let reloads = files.iter().flat_map(|figures| {
        [("error", figures.errors), ("success", figures.successes)].map(|(result, count)| {
            counter(&[("authenticator", &figures.authenticator), ("result", result)], count)
        })
    });
    family(
        "sidegate_api_key_reloads_total",
        "Readings of key files that have changed.",
        MetricType::COUNTER,
        reloads.collect(),
    )
}

fn redis_families(figures: Option<RedisFigures>) -> [MetricFamily; 2] {
    let commands = figures.map(|figures| [("error", figures.errors), ("success", figures.successes)]);
    let commands =
        commands.into_iter().flatten().map(|(result, count)| counter(&[("result", result)], count));
    [
        family(
            "sidegate_redis_commands_total",
            "Commands that were given to Redis.",
            MetricType::COUNTER,
            commands.collect(),
        ),
        family(
            "sidegate_redis_up",
            "1 while Redis answers, 0 while it is away.",
            MetricType::GAUGE,
            figures.map(|figures| gauge(&[], figures.is_up.into())).into_iter().collect(),
        ),
    ]
}

fn revocation_families(figures: Option<RevocationFigures>) -> [MetricFamily; 2] {
    let held = figures.map(|figures| u64::try_from(figures.held).unwrap_or(u64::MAX));
    let age = figures.and_then(|figures| figures.age);
    [
        family(
            "sidegate_revocations",
            "Entries of the list of what is revoked.",
            MetricType::GAUGE,
            held.map(|held| gauge(&[], held)).into_iter().collect(),
        ),
        family(
            "sidegate_revocation_list_age_seconds",
            "How long ago the copy of the list was last known to be whole.",
            MetricType::GAUGE,
            age.map(|age| gauge(&[], age.as_secs())).into_iter().collect(),
        ),
    ]
}

fn span_family(figures: Option<SpanFigures>) -> MetricFamily {
    let results = figures.map(|figures| [("error", figures.lost), ("success", figures.sent)]);
    let metrics = results.into_iter().flatten().map(|(result, count)| counter(&[("result", result)], count));
    family(
        "sidegate_spans_total",
        "Spans of traced requests, by whether the collector took them.",
        MetricType::COUNTER,
        metrics.collect(),
    )
}

/// Sums what every worker counted.
fn worker_families(workers: &[Arc<Tally>]) -> Vec<MetricFamily> {
    let sum = |pick: fn(&Tally) -> u64| workers.iter().map(|tally| pick(tally)).fold(0, u64::saturating_add);
    let mut families = route_families(workers);
    families.push(upstream_family(workers));
    families.push(authenticator_family(workers));
    for (name, help, hits, misses) in [
        (
            "sidegate_token_cache_lookups_total",
            "Lookups in the cache of verified tokens.",
            sum(|tally| tally.cache_hits.value()),
            sum(|tally| tally.cache_misses.value()),
        ),
        (
            "sidegate_entitlement_cache_lookups_total",
            "Requests that needed facts about a customer, by whether they were at hand.",
            sum(|tally| tally.entitlement_hits.value()),
            sum(|tally| tally.entitlement_misses.value()),
        ),
    ] {
        let metrics = vec![counter(&[("result", "hit")], hits), counter(&[("result", "miss")], misses)];
        families.push(family(name, help, MetricType::COUNTER, metrics));
    }
    families.push(family(
        "sidegate_entitlement_fallbacks_total",
        "Requests judged by the token's own facts, since nobody could be asked for more (on_error = \"allow\").",
        MetricType::COUNTER,
        vec![counter(&[], sum(|tally| tally.entitlement_fallbacks.value()))],
    ));
    families.push(family(
        "sidegate_rate_limit_errors_total",
        "Requests with a rate limit that Redis did not count (rate_limits.on_error says what becomes of them).",
        MetricType::COUNTER,
        vec![counter(&[], sum(|tally| tally.rate_limit_errors.value()))],
    ));
    families.push(family(
        "sidegate_connections_refused_total",
        "Client connections that were closed before a request, by what they failed at.",
        MetricType::COUNTER,
        vec![
            counter(&[("reason", "proxy_protocol")], sum(|tally| tally.unintroduced.value())),
            counter(&[("reason", "tls_handshake")], sum(|tally| tally.handshakes_failed.value())),
        ],
    ));
    for (name, help, value) in [
        ("sidegate_connections", "Open client connections.", sum(|tally| tally.connections.value())),
        ("sidegate_tunnels", "Open WebSocket tunnels.", sum(|tally| tally.tunnels.value())),
    ] {
        families.push(family(name, help, MetricType::GAUGE, vec![gauge(&[], value)]));
    }
    families
}

fn route_families(workers: &[Arc<Tally>]) -> Vec<MetricFamily> {
    let mut routes: BTreeMap<Arc<str>, Vec<RouteFigures>> = BTreeMap::new();
    for (name, figures) in workers.iter().flat_map(|tally| tally.route_figures()) {
        routes.entry(name).or_default().push(figures);
    }
    let (mut requests, mut decisions, mut durations) = (Vec::new(), Vec::new(), Vec::new());
    let mut comparisons = Vec::new();
    for (route, figures) in &routes {
        let (mut by_code, mut by_reason, mut by_verdicts) =
            (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut took = Durations::default();
        for figure in figures {
            add_all(&mut by_code, &figure.requests);
            add_all(&mut by_reason, &figure.decisions);
            add_all(&mut by_verdicts, &figure.comparisons);
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
        for ((gate, service), count) in by_verdicts {
            let labels = [("gate", verdict(gate)), ("route", route), ("service", verdict(service))];
            comparisons.push(counter(&labels, count));
        }
        durations.push(histogram(&[("route", route)], &took));
    }
    vec![
        family("sidegate_requests_total", "Requests that have ended.", MetricType::COUNTER, requests),
        family("sidegate_decisions_total", "What was decided, and why.", MetricType::COUNTER, decisions),
        family(
            "sidegate_shadow_total",
            "In shadow mode, the gate's verdict beside the service's own.",
            MetricType::COUNTER,
            comparisons,
        ),
        family(
            "sidegate_request_duration_seconds",
            "From the arrival of a request's head to the end of its response.",
            MetricType::HISTOGRAM,
            durations,
        ),
    ]
}

const fn verdict(allows: bool) -> &'static str {
    if allows { "allow" } else { "deny" }
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

fn gauge(labels: &[(&str, &str)], value: u64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(float(value));
    let mut metric = labelled(labels);
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
    use super::{
        AuthorityFigures, FileFigures, KeyFigures, Metrics, RedisFigures, ReloadFigures, RevocationFigures,
        SpanFigures, Upkeep,
    };
    use crate::denial::Reason;
    use crate::telemetry::sink::Sink;
    use crate::telemetry::tally::{Decision, Finished};
    use std::time::Duration;

    #[test]
    #[expect(clippy::too_many_lines, reason = "one scrape, line by line")]
    fn the_figures_of_all_workers_are_summed() {
        let metrics = Metrics::new(Sink::new(std::io::sink()), None, false);
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
        let keys = KeyFigures {
            authenticator: "auth0".into(),
            successes: 3,
            errors: 1,
            last_success: Some(1_800_000_000),
            ignored: 2,
        };
        let figures = |name: Option<&str>| AuthorityFigures {
            authenticator: name.map(Into::into),
            successes: 5,
            errors: 0,
        };
        let file = FileFigures { authenticator: "keys".into(), successes: 2, errors: 1 };
        let authorities = vec![figures(Some("opaque")), figures(None)];
        let text = metrics.render(&Upkeep {
            keys: vec![keys],
            authorities,
            files: vec![file],
            redis: Some(RedisFigures { is_up: true, successes: 3, errors: 6 }),
            revocations: Some(RevocationFigures { held: 8, age: Some(Duration::from_millis(9900)) }),
            spans: Some(SpanFigures { sent: 11, lost: 12 }),
            assertion_key: Some(ReloadFigures { successes: 4, errors: 2 }),
            configuration: Some((ReloadFigures { successes: 7, errors: 1 }, 1_800_000_001)),
        });
        for line in [
            "sidegate_connections 2",
            "sidegate_requests_total{code=\"403\",method=\"GET\",route=\"/a\"} 2",
            "sidegate_decisions_total{decision=\"deny\",reason=\"role_missing\",route=\"/a\"} 2",
            "sidegate_request_duration_seconds_bucket{route=\"/a\",le=\"0.001\"} 0",
            "sidegate_request_duration_seconds_bucket{route=\"/a\",le=\"0.0025\"} 2",
            "sidegate_request_duration_seconds_count{route=\"/a\"} 2",
            "sidegate_authentications_total{authenticator=\"auth0\",result=\"success\"} 2",
            "sidegate_token_cache_lookups_total{result=\"hit\"} 0",
            "sidegate_api_key_reloads_total{authenticator=\"keys\",result=\"success\"} 2",
            "sidegate_jwks_refreshes_total{authenticator=\"auth0\",result=\"error\"} 1",
            "sidegate_authority_requests_total{authenticator=\"opaque\",result=\"success\"} 5",
            "sidegate_entitlement_fetches_total{result=\"error\"} 0",
            "sidegate_jwks_last_success_timestamp_seconds{authenticator=\"auth0\"} 1800000000",
            "sidegate_assertion_key_reloads_total{result=\"error\"} 2",
            "sidegate_redis_up 1",
            "sidegate_spans_total{result=\"error\"} 12",
            "sidegate_revocations 8",
            "sidegate_revocation_list_age_seconds 9",
            "sidegate_redis_commands_total{result=\"error\"} 6",
            "sidegate_config_reloads_total{result=\"success\"} 7",
            "sidegate_config_last_reload_success_timestamp_seconds 1800000001",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
        }
    }
}
