//! What is allowed, but probably not what was meant: `check` says so, and sidegate starts all the same.

use crate::config::policy::Access;
use crate::config::problem::{KeyPath, Problems};
use crate::policy::Route;
use crate::policy::router::{Landing, Router};

/// What is allowed, but probably not what was meant.
pub(super) fn of_rules(router: &Router<usize>, compiled: &[Route], fallback: &Route, problems: &mut Problems) {
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

