//! What an expression presupposes of the rule that it stands in: parameters of its path, attributes of its authenticators.

use super::server::{CERTIFICATES_HINT, shows_certificates};
use crate::authn::claims::{BUILT_IN, ClaimMap};
use crate::config::Config;
use crate::config::authenticator::Authenticator;
use crate::config::policy::Require;
use crate::config::problem::{KeyPath, Problems};
use crate::identity::{CLIENT_CERTIFICATE, QUOTAS, SET_ATTRIBUTES};
use crate::policy::Route;
use crate::policy::expression::Expression;

/// Whether an authenticator may establish an attribute.
pub(super) fn establishes(authenticator: &Authenticator, attribute: &str) -> bool {
    // What stands in a key file is not known here, and what is wrong with a mapping is reported there.
    authenticator.claims().is_none_or(|claims| {
        ClaimMap::new(claims).map_or(true, |map| map.attributes().any(|known| known == attribute))
    })
}

/// Checks the expression that a rule has itself, written in the table at `at`.
pub(super) fn check(
    route: &Route,
    require: &Require,
    config: &Config,
    at: &KeyPath,
    problems: &mut Problems,
) {
    let at = at.key("expression");
    let own = |expression: &&Expression| require.expression.as_deref() == Some(expression.text());
    let Some(expression) = route.requirements.expressions().find(own) else { return };
    match &route.pattern {
        None if expression.uses_path() => {
            let hint = "write the expression in the routes whose path has the parameter";
            problems.error(at.clone(), "the policy has no path, and no parameters of one", hint);
        }
        None => {}
        Some(pattern) => {
            let names: Vec<&str> = pattern.parameters().collect();
            for name in expression.parameters().filter(|name| !names.contains(name)) {
                let hint = if names.is_empty() {
                    format!("name a segment of the path, such as \"/a/{{{name}}}\"")
                } else {
                    format!("there is path.{}", names.join(", path."))
                };
                problems.error(at.clone(), format!("the route's path has no parameter {name:?}"), hint);
            }
        }
    }
    warn_of_attributes(route, expression, config, &at, problems);
}

/// An attribute that no authenticator of the rule establishes is never there, and the expression most likely never true.
fn warn_of_attributes(
    route: &Route,
    expression: &Expression,
    config: &Config,
    at: &KeyPath,
    problems: &mut Problems,
) {
    let always = |name: &str| SET_ATTRIBUTES.contains(&name) || name == QUOTAS || BUILT_IN.contains(&name);
    let tried = || {
        let places = route.authenticators.iter();
        places
            .filter_map(|place| config.authenticators.get_index(*place))
            .map(|(_, authenticator)| authenticator)
    };
    let (shown, others): (Vec<&str>, Vec<&str>) = expression
        .attributes()
        .filter(|name| !always(name))
        .partition(|name| CLIENT_CERTIFICATE.contains(name));
    if let Some(name) = shown.first().filter(|_| !shows_certificates(config)) {
        let message = format!("no client shows a certificate, and {name} is never there");
        problems.warning(at.clone(), message, CERTIFICATES_HINT);
    }
    for name in others {
        if !tried().any(|authenticator| establishes(authenticator, name)) {
            problems.warning(
                at.clone(),
                format!("no authenticator of this rule establishes the attribute {name:?}"),
                format!("add it to an authenticator's claims, e.g. claims.{name} = \"{name}\""),
            );
        }
    }
}
