//! What the workers have counted.

use super::encode::{counter, family, gauge, histogram};
use crate::telemetry::tally::{Durations, RouteFigures, Tally};
use prometheus::proto::{MetricFamily, MetricType};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Sums what every worker counted.
pub(super) fn families(workers: &[Arc<Tally>]) -> Vec<MetricFamily> {
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
