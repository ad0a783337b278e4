//! The rule that holds, and the others whose paths fit.

use super::explanation::{PassedOver, Rule};
use crate::config::Config;
use crate::config::document::Document;
use crate::config::policy::{Access, Mode};
use crate::config::problem::KeyPath;
use crate::policy::router::{self, Router};
use crate::policy::{Policy, Route};
use crate::target::Target;
use http::Method;

/// What the file says of the rule at a place of the policy.
pub(super) fn rule(place: usize, route: &Route, config: &Config, document: &Document) -> Rule {
    let written = config.routes.get(place);
    let key = match written {
        Some(_) => KeyPath::root("routes").index(place),
        None => KeyPath::root("policy"),
    };
    Rule {
        name: route.name.to_string(),
        key: key.to_string(),
        line: document.line(&key),
        path: written.map(|written| written.path.clone()),
        methods: written.and_then(|written| written.methods.clone()),
        hosts: written.and_then(|written| written.hosts.clone()),
        access: access(route.access).to_owned(),
        mode: mode(route.mode).to_owned(),
    }
}

/// The rules besides the one at `chosen` whose paths fit, and why they do not hold.
pub(super) fn passed_over(
    policy: &Policy,
    (chosen, target): (usize, &Target),
    config: &Config,
    document: &Document,
) -> Vec<PassedOver> {
    let mut passed_over = Vec::new();
    let chosen_has_host = config.routes.get(chosen).is_some_and(|route| route.hosts.is_some());
    for (place, route) in policy.routes().enumerate() {
        let Some(rule) = policy.rules().get(place).filter(|_| place != chosen) else { continue };
        if !fits(rule, target, false, false) {
            continue;
        }
        let why = if !fits(rule, target, true, false) {
            "host"
        } else if !fits(rule, target, true, true) {
            "method"
        } else if chosen_has_host && rule.hosts.is_none() {
            "names_no_host"
        } else {
            "less_specific"
        };
        passed_over.push(PassedOver { rule: self::rule(place, route, config, document), why });
    }
    passed_over
}

/// Whether a rule alone would hold, by its path, and by its hosts and methods if these are to count.
fn fits(rule: &router::Rule<usize>, target: &Target, hosts: bool, methods: bool) -> bool {
    let alone = router::Rule {
        pattern: rule.pattern.clone(),
        methods: rule.methods.clone().filter(|_| methods),
        hosts: rule.hosts.clone().filter(|_| hosts),
        value: (),
    };
    let method: &Method = target.method();
    Router::new(vec![alone]).is_ok_and(|router| router.find(target.host(), target.path(), method).is_some())
}

const fn access(access: Access) -> &'static str {
    match access {
        Access::Authenticated => "authenticated",
        Access::Public => "public",
        Access::Optional => "optional",
        Access::Deny => "deny",
    }
}

const fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce",
        Mode::Shadow => "shadow",
    }
}
