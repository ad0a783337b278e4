//! What was expected beside what was found.

use crate::config::trials::{Decision, Expect};
use crate::denial::Reason;
use crate::explain::Explanation;
use http::StatusCode;
use std::fmt;

/// One thing that is other than expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    what: String,
    expected: String,
    found: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: expected {}, found {}", self.what, self.expected, self.found)
    }
}

/// Everything that is other than expected.
pub(super) fn differences(expect: &Expect, found: &Explanation) -> Vec<Difference> {
    let verdict = &found.verdict;
    let status = verdict.status.unwrap_or(StatusCode::OK.as_u16());
    let route = found.rule.as_ref().map_or("none", |rule| &rule.name);
    let mut all = vec![
        expect.status.map(|expected| ("status", expected.to_string(), status.to_string())),
        expect.reason.clone().map(|expected| ("reason", expected, verdict.reason.to_owned())),
        expect.decision.map(|expected| ("decision", label(expected).to_owned(), verdict.decision.to_owned())),
        expect.route.clone().map(|expected| ("route", expected, route.to_owned())),
    ];
    all.retain(|compared| compared.as_ref().is_some_and(|(_, expected, found)| expected != found));
    let mut differences: Vec<Difference> = all
        .into_iter()
        .flatten()
        .map(|(what, expected, found)| Difference { what: what.to_owned(), expected, found })
        .collect();
    for (name, expected) in &expect.headers {
        let value = header(found, name);
        if value.unwrap_or_default() != expected.0 {
            let shown = |value: Option<&str>| match value {
                Some(value) if !value.is_empty() => format!("{value:?}"),
                Some(_) | None => "no such header".to_owned(),
            };
            let found = if found.forward.is_none() { "no request".to_owned() } else { shown(value) };
            differences.push(Difference {
                what: format!("header {name}"),
                expected: shown(Some(&expected.0)),
                found,
            });
        }
    }
    differences
}

/// The value of a field that the service gets; several are one, with commas between them.
fn header<'a>(found: &'a Explanation, name: &str) -> Option<&'a str> {
    let forward = found.forward.as_ref()?;
    let sent = forward.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name))?;
    Some(&sent.value)
}

const fn label(decision: Decision) -> &'static str {
    match decision {
        Decision::Allow => "allow",
        Decision::Deny => "deny",
        Decision::WouldDeny => "would_deny",
    }
}

/// Every reason that there is.
pub(super) fn reasons() -> impl Iterator<Item = &'static str> {
    Reason::ALL.iter().map(|reason| reason.label())
}
