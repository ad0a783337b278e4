//! `rate_limit` and `[rate_limits]` → whom rules count, and who counts.

use super::World;
use super::identity::is_established;
use super::judges::places;
use crate::config::Config;
use crate::config::policy::{Access, Route as Written};
use crate::config::problem::{KeyPath, Problems};
use crate::config::rate_limit::{Amount as WrittenAmount, RateLimit as WrittenLimit};
use crate::config::units::OneOrMany;
use crate::policy::Policy;
use crate::policy::rate::{Amount, Per, RateLimit};
use crate::rates::{Limiter, Local};
use crate::redis::Redis;
use crate::standing::{Fingerprint, Kept};
use serde::Serialize;
use std::sync::Arc;

/// What `per` says for addresses.
const CLIENT: &str = "client_ip";

/// The limits of the policy.
pub(super) fn of_policy(config: &Config, problems: &mut Problems) -> Arc<[RateLimit]> {
    let at = KeyPath::root("policy").key("rate_limit");
    let written = config.policy.rate_limit.as_ref();
    let limits = written.map(|written| limits(written, &"policy", config, &at, problems));
    limits.unwrap_or_default().into()
}

/// The limits of a route, or the policy's.
pub(super) fn of_route(
    written: &Written,
    (access, inherited): (Access, &Arc<[RateLimit]>),
    config: &Config,
    at: &KeyPath,
    problems: &mut Problems,
) -> Arc<[RateLimit]> {
    let Some(own) = &written.rate_limit else { return Arc::clone(inherited) };
    let at = at.key("rate_limit");
    // What tells routes apart; a name may change without anybody getting a new limit.
    let scope = (&written.path, &written.methods, &written.hosts);
    for (index, limit) in own.iter().enumerate() {
        let at = position(own, &at, index);
        if matches!(access, Access::Public | Access::Deny) && limit.per != CLIENT {
            problems.warning(
                at.key("per"),
                "nobody has an identity here: everybody is counted by address",
                "write per = \"client_ip\", or set access = \"authenticated\"",
            );
        }
    }
    limits(own, &scope, config, &at, problems).into()
}

fn position(written: &OneOrMany<WrittenLimit>, at: &KeyPath, index: usize) -> KeyPath {
    if written.0.len() == 1 { at.clone() } else { at.index(index) }
}

fn limits(
    written: &OneOrMany<WrittenLimit>,
    scope: &impl Serialize,
    config: &Config,
    at: &KeyPath,
    problems: &mut Problems,
) -> Vec<RateLimit> {
    let one = |(index, limit): (usize, &WrittenLimit)| {
        let at = position(written, at, index);
        for (key, attribute) in attributes(limit) {
            if !is_established(attribute, &config.authenticators) {
                problems.error(
                    at.key(key),
                    format!("no authenticator establishes the attribute {attribute:?}"),
                    format!("add it to an authenticator's claims, e.g. claims.{attribute} = \"sub\", or write \"{CLIENT}\""),
                );
            }
        }
        let authenticators = limit.authenticators.as_ref().map(|names| {
            if names.is_empty() {
                let hint = "name at least one authenticator, or remove the key";
                problems.error(at.key("authenticators"), "a limit that holds for nobody", hint);
            }
            places(names, config, &at.key("authenticators"), problems).to_vec()
        });
        let scope = serde_json::to_string(&(scope, &limit.per, &limit.authenticators, index));
        RateLimit {
            scope: scope.unwrap_or_default(),
            per: if limit.per == CLIENT { Per::Client } else { Per::Attribute(limit.per.as_str().into()) },
            amount: match &limit.limit {
                WrittenAmount::Fixed(limit) => Amount::Fixed(*limit),
                WrittenAmount::Tier(tier) => Amount::Attribute(tier.attribute.as_str().into(), tier.default),
            },
            burst: limit.burst,
            window: limit.window.0,
            authenticators,
        }
    };
    written.iter().enumerate().map(one).collect()
}

fn attributes(limit: &WrittenLimit) -> impl Iterator<Item = (&'static str, &str)> {
    let tier = match &limit.limit {
        WrittenAmount::Fixed(_) => None,
        WrittenAmount::Tier(tier) => Some(("limit", tier.attribute.as_str())),
    };
    std::iter::once(("per", limit.per.as_str())).filter(|(_, per)| *per != CLIENT).chain(tier)
}

/// Who counts, where anything is counted.
pub(super) fn limiter(
    config: &Config,
    policy: &Policy,
    redis: Option<&Kept<Redis>>,
    world: &World,
) -> Option<Arc<Limiter>> {
    if policy.routes().all(|route| route.rate_limits.is_empty()) {
        return None;
    }
    // What was counted goes on, whatever else changes.
    let local = world.making.keep_always("rate_limits", Fingerprint::of(&()), || {
        let (local, running) = Local::open();
        (local, Some(running))
    });
    let redis = redis.map(|redis| Arc::clone(&redis.value));
    Some(Arc::new(Limiter::new(local.value, redis, config.rate_limits.on_error)))
}
