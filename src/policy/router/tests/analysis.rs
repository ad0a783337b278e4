//! Where methods fall through to, and rules that never match.

use super::{Written, rules};
use crate::policy::router::{Landing, Router};

#[track_caller]
fn assert_falls(written: &[Written], from: usize, expected: &[Option<usize>]) {
    let router = Router::new(rules(written)).unwrap();
    let expected =
        expected.iter().map(|rule| rule.map_or(Landing::Policy, Landing::Rule)).collect::<Vec<_>>();
    assert_eq!(router.falls_through(from), expected);
}

#[test]
fn methods_fall_through_to_the_policy() {
    assert_falls(&[("GET", "", "/a")], 0, &[None]);
    assert_falls(&[("GET", "", "/a"), ("", "", "/b/**")], 0, &[None]);
    assert_falls(&[("GET", "", "/a"), ("", "", "/a/b")], 0, &[None]);
}

#[test]
fn a_rule_for_any_method_lets_nothing_fall() {
    assert_falls(&[("", "", "/a"), ("", "", "/**")], 0, &[]);
    assert_falls(&[("", "", "/a")], 7, &[]);
}

#[test]
fn methods_fall_to_the_next_less_specific_path() {
    let written = [("DELETE", "", "/a/b"), ("", "", "/a/{x}"), ("", "", "/**"), ("", "", "/a/b/c")];
    assert_falls(&written, 0, &[Some(1)]);
    assert_falls(&[("DELETE", "", "/a/**"), ("", "", "/**")], 0, &[Some(1)]);
    assert_falls(&[("DELETE", "", "/a/**"), ("", "", "/a/b"), ("", "", "/a/{x}/**")], 0, &[None]);
    assert_falls(&[("DELETE", "", "/a"), ("", "", "/a/**")], 0, &[Some(1)]);
    assert_falls(&[("DELETE", "", "/a"), ("", "", "/a")], 0, &[Some(1)]);
}

#[test]
fn rules_for_some_of_the_paths_or_methods_are_named_on_the_way() {
    let written = [("GET", "", "/a/{x}"), ("", "", "/{x}/b"), ("PUT", "", "/a/**"), ("GET", "", "/**")];
    assert_falls(&written, 0, &[Some(2), Some(1), None]);
    assert_falls(&written, 2, &[Some(1), Some(3), None]);
    assert_falls(
        &[("GET", "", "/a/**"), ("", "", "/{x}/b"), ("", "", "/{x}/{y}/c")],
        0,
        &[Some(1), Some(2), None],
    );
}

#[test]
fn rules_for_other_methods_of_the_same_path_do_not_count() {
    let written = [("GET", "", "/a"), ("POST", "", "/a/"), ("POST", "", "/{x}")];
    assert_falls(&written, 0, &[None]);
    assert_falls(&written, 1, &[None]);
    assert_falls(&[("GET", "", "/{x}"), ("HEAD", "", "/**")], 0, &[None]);
}

#[test]
fn rules_with_a_host_fall_to_those_without() {
    let written =
        [("GET", "h", "/a/**"), ("", "h", "/{x}"), ("", "", "/a/b"), ("", "", "/**"), ("", "i", "/a/**")];
    assert_falls(&written, 0, &[Some(1), Some(2), Some(3)]);
    assert_falls(&[("GET", "h i", "/a"), ("", "i", "/**")], 0, &[Some(1), None]);
}

#[test]
fn rules_that_more_specific_ones_cover_never_match() {
    let unreachable = |written: &[Written]| Router::new(rules(written)).unwrap().unreachable();
    assert_eq!(unreachable(&[("", "", "/a/**"), ("", "", "/a"), ("", "", "/a/{x}/**")]), [0]);
    assert_eq!(
        unreachable(&[("", "", "/a/**"), ("", "", "/a/"), ("", "", "/a/{x}"), ("", "", "/a/{x}/{y}/**")]),
        [0]
    );
    assert_eq!(unreachable(&[("GET", "", "/a/**"), ("", "", "/a"), ("GET", "", "/a/{x}/**")]), [0]);
    assert_eq!(unreachable(&[("", "h", "/a/**"), ("", "h i", "/a"), ("", "h", "/a/{x}/**")]), [0]);
    for reachable in [
        &[("", "", "/a/**"), ("", "", "/a/{x}/**")][..],
        &[("", "", "/a/**"), ("", "", "/a"), ("", "", "/a/{x}")],
        &[("", "", "/a/**"), ("", "", "/a"), ("", "", "/a/b/**")],
        &[("", "", "/a/**"), ("GET", "", "/a"), ("", "", "/a/{x}/**")],
        &[("PUT", "", "/a/**"), ("GET", "", "/a"), ("", "", "/a/{x}/**")],
        &[("", "", "/a/**"), ("", "h", "/a"), ("", "h", "/a/{x}/**")],
        &[("", "h i", "/a/**"), ("", "h", "/a"), ("", "h", "/a/{x}/**")],
    ] {
        assert!(unreachable(reachable).is_empty(), "{reachable:?}");
    }
}
