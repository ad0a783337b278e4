//! What may be written in a rule, and what is said of the rest.

use super::{Written, rules};
use crate::config::problem::{KeyPath, Problems};
use crate::policy::router::{Pattern, Router, hosts, methods};
use crate::target::{PathRules, Prefix};

const RULES: PathRules = PathRules {
    resolve_dot_segments: true,
    merge_slashes: true,
    keep_encoded_slash: false,
    keep_semicolon: false,
};

#[test]
fn patterns_are_canonical() {
    for (written, text) in [
        ("/", "/"),
        ("/**", "/**"),
        ("/a/{id}/**", "/a/{id}/**"),
        ("/a/{_A9}/", "/a/{_A9}/"),
        ("/%61%c3%a9", "/a%C3%A9"),
        ("/%2A", "/%2A"),
        ("/%7bx%7d", "/%7Bx%7D"),
        ("/a.b-c_~", "/a.b-c_~"),
    ] {
        assert_eq!(Pattern::parse(written, RULES).unwrap().as_str(), text);
    }
}

#[test]
fn what_no_path_can_match_is_a_fault() {
    for (written, message) in [
        ("", "begin with a slash"),
        ("a", "begin with a slash"),
        ("**", "begin with a slash"),
        ("/a//b", "empty segment"),
        ("//", "empty segment"),
        ("/a/../b", "dot segment"),
        ("/.", "dot segment"),
        ("/%2e%2e/a", "dot segment"),
        ("/a?b", "neither query"),
        ("/a#b", "neither query"),
        ("/a b", "percent-encoded"),
        ("/é", "percent-encoded"),
        ("/<id>", "percent-encoded"),
        ("/a%2fb", "encoded slash"),
        ("/a;b", "semicolon"),
        ("/a\\b", "backslash"),
        ("/%", "broken escape"),
        ("/%00", "control"),
        ("/**/a", "before the end"),
        ("/**/**", "before the end"),
        ("/**/{x}", "before the end"),
        ("/*", "star"),
        ("/a*", "star"),
        ("/a/*/b", "star"),
        ("/***", "star"),
        ("/a**", "star"),
        ("/{*}", "star"),
        ("/{}", "name"),
        ("/{1a}", "name"),
        ("/{a-b}", "name"),
        ("/{{a}}", "name"),
        ("/a{b}", "brace"),
        ("/{a}b", "brace"),
        ("/{a", "brace"),
        ("/a}", "brace"),
        ("/{a}/{a}", "twice"),
        ("/:id/{a}/{b}/{a}", "twice"),
        (&"/a".repeat(129), "128 segments"),
    ] {
        let fault = Pattern::parse(written, RULES).expect_err(written);
        assert!(fault.message.contains(message), "{written}: {fault:?}");
        assert!(!fault.hint.is_empty());
    }
}

#[test]
fn relaxed_rules_allow_what_requests_can_have() {
    let rules = PathRules { keep_encoded_slash: true, keep_semicolon: true, ..RULES };
    assert_eq!(Pattern::parse("/a%2fb;c", rules).unwrap().as_str(), "/a%2Fb;c");
}

#[test]
fn prefixes_that_every_path_begins_with() {
    let begins = |pattern: &str, prefix: &str| {
        Pattern::parse(pattern, RULES).unwrap().begins_with(&Prefix::parse(prefix, RULES).unwrap())
    };
    for (pattern, prefix) in [
        ("/admin/**", "/admin"),
        ("/admin", "/admin/"),
        ("/admin/", "/admin"),
        ("/a/{x}/b", "/a"),
        ("/**", "/"),
        ("/", "/"),
        ("/a:b/c", "/a%3Ab"),
        ("/%7Bx%7D/c", "/{x}"),
        ("/%7Bx%7D/c", "/%7Bx%7D"),
    ] {
        assert!(begins(pattern, prefix), "{pattern} {prefix}");
    }
    for (pattern, prefix) in [
        ("/**", "/admin"),
        ("/admin", "/admin/x"),
        ("/administrator", "/admin"),
        ("/{x}/a", "/{x}"),
        ("/{x}/a", "/%7Bx%7D"),
        ("/a/**", "/a/%2A%2A"),
        ("/a/{x}", "/a/b"),
    ] {
        assert!(!begins(pattern, prefix), "{pattern} {prefix}");
    }
}

fn read<T>(read: fn(&[String], &KeyPath, &mut Problems) -> T, written: &[&str]) -> (T, Vec<String>) {
    let written = written.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let mut problems = Problems::default();
    let read = read(&written, &KeyPath::root("x"), &mut problems);
    let problems = problems.0.into_iter();
    (
        read,
        problems.map(|problem| format!("{}: {} ({})", problem.path, problem.message, problem.hint)).collect(),
    )
}

#[track_caller]
fn assert_problems(found: &[String], expected: &[(&str, &str)]) {
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, (path, part)) in found.iter().zip(expected) {
        assert!(found.starts_with(&format!("{path}: ")) && found.contains(part), "{found}");
    }
}

#[test]
fn methods_are_names_in_capitals_that_can_be_forwarded() {
    let (good, problems) = read(methods, &["GET", "PROPFIND", "M-SEARCH"]);
    assert_eq!((good.len(), problems), (3, Vec::new()));
    let bad = ["get", "GET", "CONNECT", "", "A B", "GET", "TRACE", "*"];
    let (good, problems) = read(methods, &bad);
    assert_eq!(good, ["GET", "*"]);
    assert_problems(
        &problems,
        &[
            ("x[0]", "capitals"),
            ("x[2]", "405"),
            ("x[3]", "not a method"),
            ("x[4]", "not a method"),
            ("x[5]", "twice"),
            ("x[6]", "405"),
        ],
    );
    assert_problems(&read(methods, &[]).1, &[("x", "leave the key out")]);
}

#[test]
fn hosts_are_names_or_addresses_without_port() {
    let (good, problems) = read(hosts, &["API.Example", "b.example.", "[0::1]", "127.0.0.1"]);
    assert_eq!(
        (good, problems),
        (["api.example", "b.example", "[::1]", "127.0.0.1"].map(str::to_owned).to_vec(), vec![])
    );
    let bad = ["a", "*.example", "*", "a:80", "::1", "", "A.", "é.example", "http://a", "[::1]:80", "user@a"];
    let (good, problems) = read(hosts, &bad);
    assert_eq!(good, ["a"]);
    assert_problems(
        &problems,
        &[
            ("x[1]", "wildcards"),
            ("x[2]", "wildcards"),
            ("x[3]", "port"),
            ("x[4]", "brackets"),
            ("x[5]", "empty"),
            ("x[6]", "twice"),
            ("x[7]", "punycode"),
            ("x[8]", "the host alone"),
            ("x[9]", "port"),
            ("x[10]", "not a valid name"),
        ],
    );
    assert_problems(&read(hosts, &[]).1, &[("x", "leave the key out")]);
}

#[track_caller]
fn assert_conflicts(written: &[Written], expected: &[(usize, usize, &str)]) {
    let conflicts = Router::new(rules(written)).err().unwrap_or_default();
    let found = conflicts.iter().map(|found| (found.first, found.second, found.request.as_str()));
    assert_eq!(found.collect::<Vec<_>>(), expected);
}

#[test]
fn rules_that_no_request_could_tell_apart_are_conflicts() {
    assert_conflicts(&[("", "", "/a"), ("", "", "/a/")], &[(0, 1, "any method /a/")]);
    assert_conflicts(&[("", "", "/{x}/**"), ("", "", "/{y}/**/")], &[(0, 1, "any method /{y}/**/")]);
    assert_conflicts(&[("", "", "/a:b"), ("", "", "/a%3Ab")], &[(0, 1, "any method /a%3Ab")]);
    assert_conflicts(&[("GET PUT", "", "/a"), ("POST PUT GET", "", "/a")], &[(0, 1, "PUT /a")]);
    assert_conflicts(&[("", "h i", "/a"), ("", "j i h", "/a")], &[(0, 1, "any method /a at i")]);
    let three = [("GET", "", "/a"), ("GET", "", "/a"), ("GET", "", "/a")];
    assert_conflicts(&three, &[(0, 1, "GET /a"), (0, 2, "GET /a")]);
    for apart in [
        [("", "", "/a"), ("GET", "", "/a")],
        [("", "", "/a"), ("", "h", "/a")],
        [("", "i", "/a"), ("", "h", "/a")],
        [("GET", "", "/a"), ("HEAD", "", "/a")],
        [("", "", "/a"), ("", "", "/a/**")],
        [("", "", "/a/{x}"), ("", "", "/a/x")],
        [("", "", "/a"), ("", "", "/A")],
    ] {
        assert_conflicts(&apart, &[]);
    }
}
