//! What is allowed, but probably not what was meant: `check` says so, and sidegate starts all the same.

use super::expressions::establishes;
use crate::config::Config;
use crate::config::policy::{Access, Mode, Route as Written};
use crate::config::problem::{KeyPath, Problems};
use crate::identity::QUOTAS;
use crate::policy::Route;
use crate::policy::router::{Landing, Router, Rule};

/// What is allowed, but probably not what was meant.
pub(super) fn of_rules(
    router: &Router<usize>,
    compiled: &[Route],
    fallback: &Route,
    problems: &mut Problems,
) {
    let at = KeyPath::root("routes");
    for index in router.unreachable() {
        problems.warning(
            at.index(index),
            "no request can ever reach this rule",
            "remove it, or look at the rules that are more specific",
        );
    }
    for (index, route) in compiled.iter().enumerate() {
        for landing in router.falls_through(index) {
            let (name, below) = match landing {
                Landing::Rule(other) => match compiled.get(other) {
                    Some(below) => (format!("routes[{other}] ({})", below.name), below),
                    None => continue,
                },
                Landing::Policy => ("[policy]".to_owned(), fallback),
            };
            if is_weaker(below, route) {
                problems.warning(
                    at.index(index),
                    format!("other methods of this path fall through to {name}, which is weaker"),
                    "leave out `methods`, or add a rule for the others",
                );
            }
        }
    }
}

fn is_weaker(below: &Route, above: &Route) -> bool {
    let openness = |access: Access| match access {
        Access::Deny => 0,
        Access::Authenticated => 1,
        Access::Optional => 2,
        Access::Public => 3,
    };
    let more_open = openness(below.access) > openness(above.access);
    let same = below.access == above.access && above.access == Access::Authenticated;
    more_open || (same && below.requirements.is_weaker_than(&above.requirements))
}

/// Requirements that hold where people may come without an identity, or not at all where they were written.
pub(super) fn of_requirements(route: &Route, own: bool, at: &KeyPath, problems: &mut Problems) {
    let (message, hint) = match route.access {
        _ if route.requirements.is_empty() => return,
        Access::Optional => (
            "requests without a credential are refused: the policy's requirements hold here",
            "set require.inherit = false, or access = \"authenticated\"",
        ),
        Access::Public | Access::Deny if own => (
            "these requirements hold only on routes that are authenticated",
            "set access = \"authenticated\", or write them where they are to hold",
        ),
        Access::Public | Access::Deny | Access::Authenticated => return,
    };
    problems.warning(at.clone(), message, hint);
}

/// What a route says that lets more people in than one may think.
///
/// Each can be told that it is meant: `require.inherit = false` on a route that is open says that nothing is required there.
pub(super) fn of_routes(
    written: &[Written],
    router: &Router<usize>,
    compiled: &[Route],
    fallback: &Route,
    problems: &mut Problems,
) {
    let rules = written.iter().zip(compiled).zip(router.rules());
    for (index, ((written, route), rule)) in rules.enumerate() {
        let at = KeyPath::root("routes").index(index);
        let afresh = written.require.inherit == Some(false);
        if written.mode == Some(Mode::Shadow) && fallback.mode == Mode::Enforce {
            let message = "this rule does not hold yet: whoever it would refuse passes";
            problems.warning(at.key("mode"), message, "remove it once the log shows no more would_deny");
        }
        if afresh
            && route.access == Access::Authenticated
            && route.requirements.is_empty()
            && !fallback.requirements.is_empty()
        {
            let message = "nothing is required here, not even what the policy requires";
            let hint = "remove require.inherit, or write what is required instead";
            problems.warning(at.key("require"), message, hint);
        }
        if !afresh
            && matches!(route.access, Access::Public | Access::Optional)
            && let Some((above, name)) = closed_above(rule, router.rules(), compiled)
        {
            problems.warning(
                at,
                format!("everybody is let in below routes[{above}] ({name}), which requires more"),
                "close it, or set require.inherit = false if that is meant",
            );
        }
    }
}

/// Where some rules require more than an identity, those that do not may have been forgotten; said once, of all of them.
///
/// A route that says `require.inherit = false` is meant to be so.
pub(super) fn of_the_unprotected(
    written: &[Written],
    compiled: &[Route],
    fallback: &Route,
    problems: &mut Problems,
) {
    let is_unprotected = |route: &Route| {
        route.access == Access::Authenticated && route.mode == Mode::Enforce && route.requirements.is_empty()
    };
    let requires = |route: &Route| !route.requirements.is_empty();
    if !is_unprotected(fallback) || !compiled.iter().any(requires) {
        return;
    }
    let rules = written.iter().zip(compiled);
    let forgotten =
        rules.filter(|(written, route)| is_unprotected(route) && written.require.inherit != Some(false));
    let mut names: Vec<&str> = forgotten.map(|(_, route)| &*route.name).collect();
    if names.is_empty() {
        return;
    }
    names.push("whatever no route is for");
    problems.warning(
        KeyPath::root("policy").key("require"),
        format!("nothing is required of an identity for {}", names.join(", ")),
        "require something in [policy.require], or let [policy] deny what no route is for; require.inherit = false on a route says \
         that it is meant",
    );
}

/// Routes that were given one name are one in logs and metrics; that those of one path are, unless they are named, is known.
pub(super) fn of_names(written: &[Written], problems: &mut Problems) {
    for (index, route) in written.iter().enumerate() {
        let Some(name) = &route.name else { continue };
        if let Some(earlier) =
            written.iter().take(index).position(|earlier| earlier.name.as_ref() == Some(name))
        {
            let at = KeyPath::root("routes").index(index).key("name");
            let message = format!(
                "routes[{earlier}] has the name {name:?} as well: logs and metrics count them as one"
            );
            problems.warning(at, message, "give each a name of its own");
        }
    }
}

/// Quotas that nobody can have: whatever requires one lets nobody through.
pub(super) fn of_quotas(config: &Config, problems: &mut Problems) {
    let known = config.entitlements.is_some()
        || config.authenticators.values().any(|authenticator| establishes(authenticator, QUOTAS));
    if known {
        return;
    }
    let routes = config.routes.iter().enumerate();
    let routes = routes.map(|(index, route)| (KeyPath::root("routes").index(index), &route.require));
    for (at, require) in std::iter::once((KeyPath::root("policy"), &config.policy.require)).chain(routes) {
        if require.quotas.values().any(|least| *least > 0) {
            problems.warning(
                at.key("require").key("quotas"),
                "nothing says what anybody's quotas are: they count as 0, and everybody is refused",
                "add [entitlements], or claims.quotas to an authenticator",
            );
        }
    }
}

/// The rule that would hold for the paths of this one without it, if it requires something of an identity.
fn closed_above<'a>(
    rule: &Rule<usize>,
    rules: &[Rule<usize>],
    compiled: &'a [Route],
) -> Option<(usize, &'a str)> {
    let is_above = |above: &Rule<usize>| {
        let hosts = above.hosts.as_ref().is_none_or(|hosts| {
            rule.hosts.as_ref().is_some_and(|own| own.iter().all(|host| hosts.contains(host)))
        });
        let methods = above.methods.as_ref().zip(rule.methods.as_ref());
        let methods = methods.is_none_or(|(above, own)| own.iter().any(|method| above.contains(method)));
        hosts && methods && above.pattern.covers(&rule.pattern) && !rule.pattern.covers(&above.pattern)
    };
    let above = rules.iter().enumerate().filter(|(_, above)| is_above(above));
    // Of two patterns that cover a third one, the more specific one is covered by the other.
    let nearest =
        above.reduce(|nearest, next| if nearest.1.pattern.covers(&next.1.pattern) { next } else { nearest });
    let (index, _) = nearest?;
    let route = compiled.get(index)?;
    let requires = route.access == Access::Authenticated && !route.requirements.is_empty();
    requires.then_some((index, &*route.name))
}
