//! Which rule holds for a request: host first, then the most specific path that also fits the method.
//!
//! Segments compare left to right: literal beats `{name}` beats `**`, and a dead end backtracks. A path that
//! fits but not by method falls through to the next less specific one. The cost of a lookup does not grow
//! with the number of rules, and nothing is allocated, but for a path that spells a reserved character as an
//! escape.

mod analysis;
mod conditions;
mod pattern;
#[cfg(test)]
mod tests;
mod trie;

pub use conditions::{hosts, methods};
pub use pattern::{Fault, Pattern};

use crate::target::folded;
use analysis::{Fall, is_hidden};
use http::Method;
use std::collections::HashMap;
use std::fmt;
use trie::Node;

/// What a value holds for.
#[derive(Clone, Debug)]
pub struct Rule<T> {
    /// Its paths.
    pub pattern: Pattern,
    /// Its methods, as [`methods`] reads them; `None` = any. GET covers HEAD.
    pub methods: Option<Vec<Method>>,
    /// Its hosts, as [`hosts`] reads them; `None` = any.
    pub hosts: Option<Vec<String>>,
    /// What holds there.
    pub value: T,
}

/// Two rules that some request could not tell apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The rule that was written first, counted from 0.
    pub first: usize,
    /// The other one.
    pub second: usize,
    /// A request that both are for, such as `GET /a/{id} at api.example`.
    pub request: String,
}

/// What a method that a rule does not name falls through to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landing {
    /// The rule of that index.
    Rule(usize),
    /// No rule: what the policy says holds.
    Policy,
}

/// All rules, ready to be asked.
#[derive(Debug)]
pub struct Router<T> {
    rules: Vec<Rule<T>>,
    by_host: HashMap<Box<str>, Node, foldhash::fast::RandomState>,
    any_host: Node,
}

/// The rule that holds for a request.
#[derive(Debug)]
pub struct Match<'r, T> {
    index: usize,
    rule: &'r Rule<T>,
}

impl<T> Router<T> {
    /// Builds a router; the order of the rules makes no difference.
    ///
    /// # Errors
    ///
    /// Every pair of rules that some request could not tell apart: same host or none, same path but for the
    /// names of parameters and a trailing slash, and a method in common or none named.
    pub fn new(rules: Vec<Rule<T>>) -> Result<Self, Vec<Conflict>> {
        let mut router = Self { rules: Vec::new(), by_host: HashMap::default(), any_host: Node::default() };
        let mut conflicts: Vec<Conflict> = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            let hosts = rule
                .hosts
                .as_ref()
                .map_or_else(|| vec![None], |hosts| hosts.iter().map(|host| Some(host.as_str())).collect());
            for host in hosts {
                let tree = match host {
                    Some(host) => router.by_host.entry(host.into()).or_default(),
                    None => &mut router.any_host,
                };
                let taken = tree.leaf_mut(&rule.pattern).insert(index, rule.methods.as_deref());
                let Some((first, method)) = taken else { continue };
                if !conflicts.iter().any(|known| (known.first, known.second) == (first, index)) {
                    let request = describe(method.as_ref(), &rule.pattern, host);
                    conflicts.push(Conflict { first, second: index, request });
                }
            }
        }
        router.rules = rules;
        if conflicts.is_empty() { Ok(router) } else { Err(conflicts) }
    }

    /// The rule for a request, by what [`Target`](crate::target::Target) says of it; `None` = what the policy
    /// says holds.
    #[must_use]
    pub fn find(&self, host: &str, path: &str, method: &Method) -> Option<Match<'_, T>> {
        let path = folded(path);
        let rest = path.strip_prefix('/')?;
        let rest = Some(rest.strip_suffix('/').unwrap_or(rest)).filter(|rest| !rest.is_empty());
        let by_host = if self.by_host.is_empty() { None } else { self.by_host.get(host) };
        let index =
            by_host.and_then(|tree| tree.find(rest, method)).or_else(|| self.any_host.find(rest, method))?;
        self.rules.get(index).map(|rule| Match { index, rule })
    }

    /// All rules, in the order in which they were given.
    #[must_use]
    pub fn rules(&self) -> &[Rule<T>] {
        &self.rules
    }

    /// What a method that the rule does not name may fall through to, the most specific first; empty when the
    /// rule is for any method. Rules for other methods of the very same path do not count: they were written
    /// next to this one.
    ///
    /// This errs on the side of naming too many: a rule that only some of the paths fall through to is named
    /// as well.
    #[must_use]
    pub fn falls_through(&self, index: usize) -> Vec<Landing> {
        let Some((rule, methods)) =
            self.rules.get(index).and_then(|rule| Some((rule, rule.methods.as_ref()?)))
        else {
            return Vec::new();
        };
        let mut landings = Vec::new();
        let mut all_landed = true;
        let trees = rule.hosts.as_ref().map_or_else(
            || vec![None],
            |hosts| hosts.iter().map(|host| self.by_host.get(host.as_str())).collect(),
        );
        for tree in trees {
            let mut fall = Fall::from(methods);
            if let Some(tree) = tree {
                fall.through(tree, &rule.pattern, false);
            }
            fall.through(&self.any_host, &rule.pattern, tree.is_some());
            let new = fall.rules.into_iter().map(Landing::Rule).filter(|rule| !landings.contains(rule));
            landings.extend(new.collect::<Vec<_>>());
            all_landed &= fall.landed;
        }
        if !all_landed {
            landings.push(Landing::Policy);
        }
        landings
    }

    /// The rules that no request can ever reach, because more specific ones take every path and method of
    /// theirs.
    #[must_use]
    pub fn unreachable(&self) -> Vec<usize> {
        let hidden =
            self.rules.iter().enumerate().filter(|(_, rule)| rule.pattern.is_open() && self.hides(rule));
        hidden.map(|(index, _)| index).collect()
    }

    fn hides(&self, rule: &Rule<T>) -> bool {
        let hidden_in = |tree: &Node| {
            tree.node(&rule.pattern).is_some_and(|node| match &rule.methods {
                None => is_hidden(node, None),
                Some(methods) => methods.iter().all(|method| is_hidden(node, Some(method))),
            })
        };
        match &rule.hosts {
            None => hidden_in(&self.any_host),
            Some(hosts) => hosts.iter().all(|host| self.by_host.get(host.as_str()).is_some_and(hidden_in)),
        }
    }
}

impl<'r, T> Match<'r, T> {
    /// What holds.
    #[must_use]
    pub const fn value(&self) -> &'r T {
        &self.rule.value
    }

    /// The pattern that fits.
    #[must_use]
    pub const fn pattern(&self) -> &'r Pattern {
        &self.rule.pattern
    }

    /// The rule's place in [`Router::rules`].
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index
    }

    /// What stands in the matched path where the pattern has the parameter `name`; still percent-encoded.
    #[must_use]
    pub fn parameter<'p>(&self, name: &str, path: &'p str) -> Option<&'p str> {
        self.rule.pattern.parameter(name, path)
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} fits two rules", self.request)
    }
}

fn describe(method: Option<&Method>, pattern: &Pattern, host: Option<&str>) -> String {
    let method = method.map_or("any method", Method::as_str);
    let host = host.map(|host| format!(" at {host}")).unwrap_or_default();
    format!("{method} {pattern}{host}")
}
