//! The router against the contract's own words: look at every rule, keep those that fit, sort them.

use super::{Rule, rule};
use crate::policy::router::{Conflict, Router};
use http::Method;
use proptest::prelude::*;

fn pattern_segments(rule: &Rule<usize>) -> Vec<&str> {
    rule.pattern.as_str().split('/').filter(|segment| !segment.is_empty()).collect()
}

/// Rank of each segment, from left to right: literal, parameter, `**`; `None` = the path does not fit.
fn path_rank(rule: &Rule<usize>, path: &str) -> Option<Vec<u8>> {
    let segments = path.split('/').filter(|segment| !segment.is_empty()).collect::<Vec<_>>();
    let pattern = pattern_segments(rule);
    let mut rank = Vec::new();
    for (index, expected) in pattern.iter().enumerate() {
        match (*expected, segments.get(index)) {
            ("**", _) => {
                rank.push(2);
                return Some(rank);
            }
            (expected, Some(_)) if expected.starts_with('{') => rank.push(1),
            (expected, Some(segment)) if expected == *segment => rank.push(0),
            _ => return None,
        }
    }
    (pattern.len() == segments.len()).then_some(rank)
}

/// Rank of the method: its own rule, GET for HEAD, any.
fn method_rank(rule: &Rule<usize>, method: &Method) -> Option<u8> {
    match &rule.methods {
        None => Some(2),
        Some(methods) if methods.contains(method) => Some(0),
        Some(methods) if method == Method::HEAD && methods.contains(&Method::GET) => Some(1),
        Some(_) => None,
    }
}

fn host_rank(rule: &Rule<usize>, host: &str) -> Option<u8> {
    match &rule.hosts {
        None => Some(1),
        Some(hosts) => hosts.iter().any(|named| named == host).then_some(0),
    }
}

fn naive(rules: &[Rule<usize>], host: &str, path: &str, method: &Method) -> Option<usize> {
    let rank = |rule| Some((host_rank(rule, host)?, path_rank(rule, path)?, method_rank(rule, method)?));
    let fitting = rules.iter().filter_map(|rule| rank(rule).map(|rank| (rank, rule.value)));
    fitting.min().map(|(_, value)| value)
}

fn are_alike(first: &Rule<usize>, second: &Rule<usize>) -> bool {
    let shape = |rule| {
        let segments = pattern_segments(rule).into_iter();
        segments
            .map(|segment| if segment.starts_with('{') { "{}" } else { segment }.to_owned())
            .collect::<Vec<_>>()
    };
    let hosts = match (&first.hosts, &second.hosts) {
        (None, None) => true,
        (Some(first), Some(second)) => first.iter().any(|host| second.contains(host)),
        _ => false,
    };
    let methods = match (&first.methods, &second.methods) {
        (None, None) => true,
        (Some(first), Some(second)) => first.iter().any(|method| second.contains(method)),
        _ => false,
    };
    shape(first) == shape(second) && hosts && methods
}

const PATTERNS: [&str; 22] = [
    "/",
    "/**",
    "/a",
    "/a/",
    "/b",
    "/{x}",
    "/{y}/",
    "/a/**",
    "/b/**",
    "/{x}/**",
    "/a/b",
    "/a/{x}",
    "/{x}/b",
    "/{x}/{y}",
    "/a/b/**",
    "/{x}/b/**",
    "/a/{y}/**",
    "/{x}/{y}/**",
    "/a/b/a",
    "/{x}/b/{z}",
    "/a/{y}/a",
    "/{x}/{y}/b/**",
];

fn rule_sets() -> impl Strategy<Value = Vec<Rule<usize>>> {
    let methods = prop::sample::select(vec!["", "", "GET", "HEAD", "POST", "GET POST", "GET HEAD", "DELETE"]);
    let hosts = prop::sample::select(vec!["", "", "", "h", "i", "h i"]);
    let written = (methods, hosts, prop::sample::select(PATTERNS.to_vec()));
    prop::collection::vec(written, 0..14).prop_map(|written| {
        written.into_iter().enumerate().map(|(index, written)| rule(index, written)).collect()
    })
}

fn requests() -> impl Strategy<Value = (&'static str, String, Method)> {
    let methods = vec![Method::GET, Method::HEAD, Method::POST, Method::DELETE, Method::PUT];
    let path = prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 0..5);
    let slash = prop::sample::select(vec!["", "/"]);
    let path = (path, slash).prop_map(|(path, slash)| match path.as_slice() {
        [] => "/".to_owned(),
        path => format!("/{}{slash}", path.join("/")),
    });
    (prop::sample::select(vec!["h", "i", "j", ""]), path, prop::sample::select(methods))
}

/// Leaves out the later one of two rules that cannot be told apart.
fn without_conflicts(rules: Vec<Rule<usize>>) -> Vec<Rule<usize>> {
    let mut kept: Vec<Rule<usize>> = Vec::new();
    for rule in rules {
        if !kept.iter().any(|other| are_alike(other, &rule)) {
            kept.push(rule);
        }
    }
    kept
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_router_agrees(rules in rule_sets(), requests in prop::collection::vec(requests(), 12)) {
        let rules = without_conflicts(rules);
        let router = Router::new(rules.clone()).unwrap();
        for (host, path, method) in requests {
            let found = router.find(host, &path, &method).map(|found| *found.value());
            prop_assert_eq!(found, naive(&rules, host, &path, &method), "{} {}{}", method, host, path);
        }
    }

    #[test]
    fn conflicts_are_exactly_the_rules_that_are_alike(rules in rule_sets()) {
        let expected = |second: usize| (0..second).any(|first| are_alike(&rules[first], &rules[second]));
        let expected = (0..rules.len()).filter(|second| expected(*second)).collect::<Vec<_>>();
        let conflicts = Router::new(rules.clone()).err().unwrap_or_default();
        for Conflict { first, second, .. } in &conflicts {
            prop_assert!(first < second && are_alike(&rules[*first], &rules[*second]));
        }
        let mut found = conflicts.iter().map(|conflict| conflict.second).collect::<Vec<_>>();
        found.dedup();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn what_is_unreachable_is_never_found(rules in rule_sets(), requests in prop::collection::vec(requests(), 40)) {
        let router = Router::new(without_conflicts(rules)).unwrap();
        let unreachable = router.unreachable();
        for (host, path, method) in requests {
            if let Some(found) = router.find(host, &path, &method) {
                prop_assert!(!unreachable.contains(&found.index()), "{} {}{}", method, host, path);
            }
        }
    }

    /// Take a rule away: what it held falls to one of the landings, or to a rule for another method of the same path.
    #[test]
    fn methods_fall_where_it_is_said(rules in rule_sets(), requests in prop::collection::vec(requests(), 20)) {
        use crate::policy::router::Landing;
        let rules = without_conflicts(rules);
        let router = Router::new(rules.clone()).unwrap();
        for (host, path, method) in requests {
            let best = router.find(host, &path, &method).map(|found| found.index());
            for (index, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.methods.is_some()) {
                if method_rank(rule, &method).is_some() {
                    continue;
                }
                // Would it hold if it were for this method?
                let mut widened = rules.clone();
                widened[index].methods.as_mut().unwrap().push(method.clone());
                if naive(&widened, host, &path, &method) != Some(rule.value) {
                    continue;
                }
                let landing = best.map_or(Landing::Policy, Landing::Rule);
                let sibling = best.is_some_and(|best| {
                    let alike = Rule { methods: rules[best].methods.clone(), ..rule.clone() };
                    rules[best].methods.is_some() && are_alike(&alike, &rules[best])
                });
                prop_assert!(
                    sibling || router.falls_through(index).contains(&landing),
                    "{} {}{} from {:?} to {:?}", method, host, path, rule, landing
                );
            }
        }
    }
}
