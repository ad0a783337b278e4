//! `[policy]` and `[[routes]]` → [`Policy`].

use super::judges::places;
use super::{expressions, rate_limits, warnings};
use crate::config::Config;
use crate::config::identity::HeaderSource;
use crate::config::policy::{Access, OnExpiry, RewritePrefix, Route as Written, WebSocket};
use crate::config::problem::{KeyPath, Problems};
use crate::headers::cors::{ORIGIN_HINT, is_origin};
use crate::headers::trusted::Content;
use crate::policy::requirement::Requirements;
use crate::policy::route::WebSocketRules;
use crate::policy::router::{Pattern, Router, Rule, hosts, methods};
use crate::policy::{Policy, Route};
use crate::target::{PathRules, Prefix};
use std::sync::Arc;

/// The rules, and for each the authenticators that it tries.
type Compiled = (Policy, Vec<Arc<[usize]>>);

pub(super) fn compile(config: &Config, paths: PathRules, problems: &mut Problems) -> Option<Compiled> {
    let fallback = fallback(config, problems);
    let at = KeyPath::root("routes");
    let mut rules = Vec::new();
    let mut compiled = Vec::new();
    for (index, written) in config.routes.iter().enumerate() {
        let at = at.index(index);
        let route = route(written, config, &fallback, &at, problems);
        let rewrite = written.rewrite_prefix.as_ref();
        let rule = rule(written, index, paths, &at, problems);
        if let Some(rule) = &rule {
            let rewrite =
                rewrite.and_then(|rewrite| self::rewrite(rewrite, &rule.pattern, paths, &at, problems));
            let route = Route { rewrite, pattern: Some(rule.pattern.clone()), ..route };
            expressions::check(&route, &written.require, config, &at.key("require"), problems);
            compiled.push(route);
        }
        rules.extend(rule);
    }
    if rules.len() < config.routes.len() {
        return None;
    }
    let router = match Router::new(rules) {
        Ok(router) => router,
        Err(conflicts) => {
            for conflict in conflicts {
                let message = format!("{conflict}: routes[{}] and this one", conflict.first);
                problems.error(
                    at.index(conflict.second),
                    message,
                    "remove one, or tell them apart by path, method or host",
                );
            }
            return None;
        }
    };
    warnings::of_rules(&router, &compiled, &fallback, problems);
    warnings::of_routes(&config.routes, &router, &compiled, &fallback, problems);
    warnings::of_names(&config.routes, problems);
    warnings::of_quotas(config, problems);
    warnings::of_the_unprotected(&config.routes, &compiled, &fallback, problems);
    let used = compiled.iter().chain([&fallback]).map(|route| Arc::clone(&route.authenticators)).collect();
    Some((Policy::new(router, compiled, fallback), used))
}

fn fallback(config: &Config, problems: &mut Problems) -> Route {
    let at = KeyPath::root("policy");
    let authenticators = match &config.policy.authenticators {
        Some(names) => {
            refuse_nobody(names, config.policy.access, &at, problems);
            places(names, config, &at.key("authenticators"), problems)
        }
        None => (0..config.authenticators.len()).collect(),
    };
    let requirements = Requirements::compile(&config.policy.require, &at.key("require"), problems);
    if config.authenticators.is_empty()
        && matches!(config.policy.access, Access::Authenticated | Access::Optional)
    {
        problems.error(
            at.key("access"),
            "credentials are wanted, but there is nobody to judge them",
            "add an [authenticators.NAME] table, or set access = \"public\" or \"deny\"",
        );
    }
    let route = Route {
        name: "policy".into(),
        access: config.policy.access,
        mode: config.policy.mode,
        authenticators,
        entitled: entitled(&requirements, config),
        requirements,
        pattern: None,
        upstream: 0,
        rewrite: None,
        websocket: WebSocketRules::default(),
        on_expiry: OnExpiry::Ignore,
        rate_limits: rate_limits::of_policy(config, problems),
    };
    expressions::check(&route, &config.policy.require, config, &at.key("require"), problems);
    warnings::of_requirements(&route, true, &at.key("require"), problems);
    route
}

fn rule(
    written: &Written,
    index: usize,
    paths: PathRules,
    at: &KeyPath,
    problems: &mut Problems,
) -> Option<Rule<usize>> {
    let pattern = Pattern::parse(&written.path, paths);
    let pattern = pattern.map_err(|fault| problems.error(at.key("path"), fault.message, fault.hint)).ok();
    let methods = written.methods.as_ref().map(|list| methods(list, &at.key("methods"), problems));
    let hosts = written.hosts.as_ref().map(|list| hosts(list, &at.key("hosts"), problems));
    Some(Rule { pattern: pattern?, methods, hosts, value: index })
}

fn route(
    written: &Written,
    config: &Config,
    fallback: &Route,
    at: &KeyPath,
    problems: &mut Problems,
) -> Route {
    let access = written.access.unwrap_or(fallback.access);
    let own = crate::config::policy::Require { inherit: None, ..written.require.clone() };
    if own != crate::config::policy::Require::default() && !matches!(access, Access::Authenticated) {
        problems.error(
            at.key("require"),
            "requirements on a route that lets people in without an identity, or nobody",
            "set access = \"authenticated\", or remove the requirements",
        );
    }
    let authenticators = match &written.authenticators {
        Some(names) => {
            refuse_nobody(names, access, at, problems);
            places(names, config, &at.key("authenticators"), problems)
        }
        None => Arc::clone(&fallback.authenticators),
    };
    let upstream = written.upstream.as_ref().map_or(Some(0), |name| config.upstreams.get_index_of(name));
    if upstream.is_none() {
        let names: Vec<&str> = config.upstreams.keys().map(String::as_str).collect();
        problems.error(
            at.key("upstream"),
            "there is no such upstream",
            format!("there is {}", names.join(", ")),
        );
    }
    if let Some(name @ ("policy" | "none")) = written.name.as_deref() {
        let message = format!("{name:?} is what logs and metrics call requests without a route");
        problems.error(at.key("name"), message, "choose another name");
    }
    let requirements = fallback.requirements.for_route(&written.require, &at.key("require"), problems);
    let route = Route {
        name: written.name.as_deref().unwrap_or(&written.path).into(),
        access,
        mode: written.mode.unwrap_or(fallback.mode),
        authenticators,
        entitled: entitled(&requirements, config),
        requirements,
        pattern: None,
        upstream: upstream.unwrap_or_default(),
        rewrite: None,
        websocket: websocket(&written.websocket, &at.key("websocket"), problems),
        on_expiry: written.on_expiry,
        rate_limits: rate_limits::of_route(written, (access, &fallback.rate_limits), config, at, problems),
    };
    warnings::of_requirements(&route, false, at, problems);
    route
}

/// Whether facts about the customer are asked for: only where something depends on them.
fn entitled(requirements: &Requirements, config: &Config) -> bool {
    let told = |source: &HeaderSource| Content::named(source.attribute()).takes_facts();
    config.entitlements.is_some() && (requirements.need_facts() || config.identity.headers.values().any(told))
}

fn refuse_nobody(names: &[String], access: Access, at: &KeyPath, problems: &mut Problems) {
    if names.is_empty() && matches!(access, Access::Authenticated | Access::Optional) {
        let message = "credentials are wanted, but nobody is named to judge them";
        problems.error(at.key("authenticators"), message, "name at least one authenticator");
    }
}

fn websocket(written: &WebSocket, at: &KeyPath, problems: &mut Problems) -> WebSocketRules {
    for (index, origin) in written.allowed_origins.iter().enumerate() {
        if !is_origin(origin) {
            problems.error(
                at.key("allowed_origins").index(index),
                format!("{origin:?} is not an origin as browsers send it"),
                ORIGIN_HINT,
            );
        }
    }
    WebSocketRules {
        on_denied: written.on_denied,
        on_expiry: written.on_expiry,
        allowed_origins: written.allowed_origins.0.clone(),
    }
}

fn rewrite(
    written: &RewritePrefix,
    pattern: &Pattern,
    paths: PathRules,
    at: &KeyPath,
    problems: &mut Problems,
) -> Option<(Prefix, Prefix)> {
    let at = at.key("rewrite_prefix");
    let mut parse = |key: &str, text: &str| {
        let hint = "write whole segments of a canonical path, such as \"/admin\"";
        Prefix::parse(text, paths)
            .map_err(|refusal| problems.error(at.key(key), refusal.to_string(), hint))
            .ok()
    };
    let (from, to) =
        (parse("from", &written.from), parse("to", if written.to.is_empty() { "/" } else { &written.to }));
    let (from, to) = (from?, to?);
    if !pattern.begins_with(&from) {
        problems.error(
            at.key("from"),
            format!("paths of this route do not begin with {:?}", written.from),
            "write the front of the route's own path",
        );
        return None;
    }
    Some((from, to))
}
