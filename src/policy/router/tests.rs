//! The rule that holds is the one that the contract says.

mod analysis;
mod oracle;
mod writing;

use super::{Pattern, Router, Rule};
use crate::target::PathRules;
use http::Method;

/// A rule as it is written in a table of a test: methods and hosts separated by spaces, empty for any.
type Written = (&'static str, &'static str, &'static str);

fn rule(index: usize, (methods, hosts, path): Written) -> Rule<usize> {
    let list = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let methods = list(methods).iter().map(|method| method.parse().unwrap()).collect::<Vec<_>>();
    Rule {
        pattern: Pattern::parse(path, PathRules::default()).unwrap(),
        methods: Some(methods).filter(|methods| !methods.is_empty()),
        hosts: Some(list(hosts)).filter(|hosts| !hosts.is_empty()),
        value: index,
    }
}

fn rules(written: &[Written]) -> Vec<Rule<usize>> {
    written.iter().enumerate().map(|(index, written)| rule(index, *written)).collect()
}

/// Builds a router with the rules in this order, and once more in reverse: that must make no difference.
struct Both(Router<usize>, Router<usize>);

fn routers(written: &[Written]) -> Both {
    Both(
        Router::new(rules(written)).unwrap(),
        Router::new(rules(written).into_iter().rev().collect()).unwrap(),
    )
}

impl Both {
    #[track_caller]
    fn assert(&self, request: &str, expected: Option<usize>) {
        let (method, rest) = request.split_once(' ').unwrap();
        let (host, path) = rest.split_at(rest.find('/').unwrap());
        let method = method.parse::<Method>().unwrap();
        for router in [&self.0, &self.1] {
            let found = router.find(host, path, &method).map(|found| *found.value());
            assert_eq!(found, expected, "{request}");
        }
    }
}

#[test]
fn literals_beat_parameters_beat_the_rest() {
    let routers = routers(&[
        ("", "", "/a/b"),
        ("", "", "/a/{x}"),
        ("", "", "/a/**"),
        ("", "", "/{x}/b"),
        ("", "", "/**"),
        ("", "", "/a/b/**"),
    ]);
    for (request, expected) in [
        ("GET /a/b", 0),
        ("GET /a/c", 1),
        ("GET /a/b/c", 5),
        ("GET /a/c/d", 2),
        ("GET /a", 2),
        ("GET /b/b", 3),
        ("GET /b/c", 4),
        ("GET /", 4),
        ("GET /A/b", 3),
        ("GET /b", 4),
    ] {
        routers.assert(request, Some(expected));
    }
}

#[test]
fn segments_compare_left_to_right_and_dead_ends_backtrack() {
    let written = [
        ("", "", "/a/{x}/c"),
        ("", "", "/{x}/b/c"),
        ("", "", "/{x}/b/{y}"),
        ("", "", "/a/b/d/**"),
        ("", "", "/{x}/**"),
    ];
    let routers = routers(&written);
    for (request, expected) in [
        ("GET /a/b/c", 0),
        ("GET /z/b/c", 1),
        ("GET /a/b/z", 2),
        ("GET /a/b/d", 3),
        ("GET /a/b/d/e", 3),
        ("GET /a/z/z", 4),
        ("GET /a", 4),
        ("GET /a/b/c/d", 4),
    ] {
        routers.assert(request, Some(expected));
    }
    routers.assert("GET /", None);
}

#[test]
fn a_parameter_is_one_segment_that_is_not_empty() {
    let routers = routers(&[("", "", "/a/{x}"), ("", "", "/a/{x}/b")]);
    routers.assert("GET /a/1", Some(0));
    routers.assert("GET /a/1/", Some(0));
    routers.assert("GET /a/1/b/", Some(1));
    for request in ["GET /a", "GET /a/", "GET /a//", "GET /a//b", "GET /a/1/2", "GET /", "GET /b/1"] {
        routers.assert(request, None);
    }
}

#[test]
fn a_trailing_slash_makes_no_difference() {
    let routers =
        routers(&[("", "", "/"), ("", "", "/a"), ("", "", "/b/"), ("", "", "/c/**"), ("", "", "/d/{x}/")]);
    for (requests, expected) in [
        (["GET /", "GET /"], 0),
        (["GET /a", "GET /a/"], 1),
        (["GET /b", "GET /b/"], 2),
        (["GET /c", "GET /c/"], 3),
        (["GET /c/d", "GET /c/d/e/"], 3),
        (["GET /d/e", "GET /d/e/"], 4),
    ] {
        for request in requests {
            routers.assert(request, Some(expected));
        }
    }
    for request in ["GET /a/b", "GET /cc", "GET /b/c", "GET /e"] {
        routers.assert(request, None);
    }
}

#[test]
fn a_method_that_does_not_fit_falls_through() {
    let routers = routers(&[
        ("DELETE", "", "/a/b"),
        ("GET", "", "/a/b"),
        ("", "", "/a/b"),
        ("POST", "", "/x/y"),
        ("PUT", "", "/x/{y}"),
        ("PATCH", "", "/x/**"),
        ("POST", "", "/{x}/y"),
    ]);
    for (request, expected) in [
        ("DELETE /a/b", Some(0)),
        ("GET /a/b", Some(1)),
        ("POST /a/b", Some(2)),
        ("OPTIONS /a/b", Some(2)),
        ("POST /x/y", Some(3)),
        ("PUT /x/y", Some(4)),
        ("PATCH /x/y", Some(5)),
        ("DELETE /x/y", None),
        ("POST /z/y", Some(6)),
        ("PUT /z/y", None),
    ] {
        routers.assert(request, expected);
    }
}

#[test]
fn get_covers_head_unless_head_has_its_own_rule() {
    let routers = routers(&[
        ("GET", "", "/a"),
        ("", "", "/a"),
        ("GET", "", "/b"),
        ("HEAD", "", "/b"),
        ("HEAD", "", "/c"),
        ("", "", "/c"),
        ("GET", "", "/d/e"),
        ("HEAD", "", "/d/{x}"),
    ]);
    for (request, expected) in [
        ("HEAD /a", 0),
        ("POST /a", 1),
        ("HEAD /b", 3),
        ("GET /b", 2),
        ("GET /c", 5),
        ("HEAD /c", 4),
        ("HEAD /d/e", 6),
    ] {
        routers.assert(request, Some(expected));
    }
}

#[test]
fn the_case_of_a_method_is_no_way_around_a_rule() {
    let routers = routers(&[("DELETE GET", "", "/a"), ("", "", "/a")]);
    for request in ["delete /a", "Delete /a", "get /a", "head /a"] {
        routers.assert(request, Some(0));
    }
    routers.assert("DELETED /a", Some(1));
}

#[test]
fn rules_with_the_host_come_first() {
    let routers = routers(&[
        ("", "", "/a/b"),
        ("", "api.example", "/a/**"),
        ("GET", "api.example", "/c"),
        ("", "", "/c"),
        ("", "[::1]", "/**"),
    ]);
    for (request, expected) in [
        ("GET api.example/a/b", Some(1)),
        ("GET other.example/a/b", Some(0)),
        ("GET api.example/c", Some(2)),
        ("POST api.example/c", Some(3)),
        ("GET other.example/c", Some(3)),
        ("GET api.example/d", None),
        ("GET [::1]/z", Some(4)),
        ("GET xapi.example/a/c", None),
        ("GET /a/b", Some(0)),
    ] {
        routers.assert(request, expected);
    }
}

#[test]
fn both_spellings_of_a_reserved_character_meet_the_same_rule() {
    let routers = routers(&[
        ("", "", "/jobs:purge"),
        ("", "", "/a%3ab"),
        ("", "", "/{x}"),
        ("", "", "/%7Bx%7D/c"),
        ("", "", "/100%25"),
        ("", "", "/%61dmin"),
    ]);
    for (request, expected) in [
        ("GET /jobs:purge", 0),
        ("GET /jobs%3Apurge", 0),
        ("GET /a:b", 1),
        ("GET /a%3Ab", 1),
        ("GET /jobs%253Apurge", 2),
        ("GET /{x}/c", 3),
        ("GET /%7Bx%7D/c", 3),
        ("GET /100%25", 4),
        ("GET /admin", 5),
    ] {
        routers.assert(request, Some(expected));
    }
    routers.assert("GET /y/c", None);
}

#[test]
fn what_is_no_path_finds_nothing() {
    let routers = routers(&[("", "", "/**")]);
    for path in ["", "*", "a", "a/b"] {
        assert!(routers.0.find("a.example", path, &Method::GET).is_none());
    }
}

#[test]
fn parameters_are_read_from_the_path() {
    let router = Router::new(rules(&[("", "", "/a/{x}/b/{y_2}/**")])).unwrap();
    let path = "/a/1%20%C3%A9/b/two/c/d";
    let found = router.find("", path, &Method::GET).unwrap();
    assert_eq!(found.parameter("x", path), Some("1%20%C3%A9"));
    assert_eq!(found.parameter("y_2", path), Some("two"));
    assert_eq!(found.parameter("a", path), None);
    assert_eq!(found.pattern().parameters().collect::<Vec<_>>(), ["x", "y_2"]);
    assert_eq!((found.index(), found.pattern().as_str()), (0, "/a/{x}/b/{y_2}/**"));
}

#[test]
fn long_paths_are_only_followed_as_deep_as_the_tree_goes() {
    let routers = routers(&[("", "", "/a/a/a/a"), ("", "", "/{x}/{y}/a/**"), ("", "", "/a/**")]);
    let long = "/a".repeat(30_000);
    for (front, expected) in [("/a/a/a/a", 2), ("/b/b", 1), ("/a/b/b", 2)] {
        let found = routers.0.find("", &format!("{front}{long}"), &Method::GET).map(|found| *found.value());
        assert_eq!(found, Some(expected), "{front}");
    }
    assert!(routers.0.find("", &format!("/b/b/b{long}"), &Method::GET).is_none());
}

#[test]
fn the_deepest_tree_fits_the_stack() {
    let deep = format!("{}/**", "/{x}".repeat(128)).split("{x}").enumerate().fold(
        String::new(),
        |text, (index, part)| {
            if index == 0 { part.to_owned() } else { format!("{text}{{x{index}}}{part}") }
        },
    );
    let pattern = Pattern::parse(&deep, PathRules::default()).unwrap();
    let router = Router::new(vec![Rule { pattern, methods: None, hosts: None, value: () }]).unwrap();
    let thread = std::thread::Builder::new().stack_size(128 << 10);
    let found = thread.spawn(move || router.find("", &"/a".repeat(30_000), &Method::GET).is_some());
    assert!(found.unwrap().join().unwrap());
}
