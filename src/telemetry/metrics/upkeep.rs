//! What the control thread does beside the requests.

use super::encode::{counter, family, gauge};
use crate::telemetry::tracing::export::SpanFigures;
use prometheus::proto::{MetricFamily, MetricType};
use std::sync::Arc;
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

/// Everything about it.
pub(super) fn families(upkeep: &Upkeep) -> Vec<MetricFamily> {
    let mut families = Vec::from(key_families(&upkeep.keys));
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
    families
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
