//! The spellings that attackers use, and what becomes of each.

use super::{STRICT, assert_refused, http1, with_rules};
use crate::denial::Reason;
use crate::target::{PathRules, Refusal, canonical, folded};

const RESOLVE: PathRules = PathRules { resolve_dot_segments: true, ..STRICT };
const MERGE: PathRules = PathRules { merge_slashes: true, ..STRICT };
const SLASH: PathRules = PathRules { keep_encoded_slash: true, ..STRICT };
const SEMICOLON: PathRules = PathRules { keep_semicolon: true, ..STRICT };
const LENIENT: PathRules = PathRules {
    resolve_dot_segments: true,
    merge_slashes: true,
    keep_encoded_slash: true,
    keep_semicolon: true,
};

#[track_caller]
fn assert_all(rules: PathRules, refusal: Refusal, paths: &[&str]) {
    for path in paths {
        assert_eq!(canonical(path, rules), Err(refusal), "{path:?}");
    }
}

#[track_caller]
fn assert_form(rules: PathRules, path: &str, form: &str) {
    let canonical = canonical(path, rules).unwrap_or_else(|refusal| panic!("{path:?}: {refusal}"));
    assert_eq!(canonical.as_deref().unwrap_or(path), form, "{path:?}");
    assert_eq!(canonical.is_none(), path == form, "{path:?}: only what changes is copied");
}

#[test]
fn dot_segments_are_refused_in_any_spelling() {
    assert_all(
        STRICT,
        Refusal::DotSegment,
        &[
            "/.",
            "/..",
            "/./",
            "/../",
            "/a/.",
            "/a/..",
            "/a/./b",
            "/a/../b",
            "/../a",
            "/./a",
            "/a/b/../../c",
            "/%2e",
            "/%2E",
            "/%2e%2e",
            "/%2E%2e",
            "/.%2e",
            "/%2e.",
            "/a/%2e%2e/b",
            "/a/%2E%2E",
            "/a/.%2E/b",
            "/%2e/a",
        ],
    );
}

#[test]
fn dots_in_names_are_names() {
    for path in
        ["/...", "/a.", "/.a", "/..a", "/a..", "/a.b", "/.well-known/x", "/....", "/a/.../b", "/-.", "/..%20"]
    {
        assert_form(STRICT, path, path);
    }
    assert_form(STRICT, "/%2ea", "/.a");
    assert_form(STRICT, "/%2e%2e%2e", "/...");
}

#[test]
fn empty_segments_are_refused() {
    assert_all(
        STRICT,
        Refusal::EmptySegment,
        &["//", "//a", "/a//b", "/a//", "///", "//a.example/b", "/a/b//c/"],
    );
    assert_form(STRICT, "/", "/");
    assert_form(STRICT, "/a/", "/a/");
}

#[test]
fn backslashes_and_encoded_slashes_are_refused() {
    assert_all(STRICT, Refusal::Backslash, &["/\\", "/a\\b", "/a/..\\b", "/\\..\\a"]);
    assert_all(
        STRICT,
        Refusal::EncodedSlash,
        &[
            "/%2f",
            "/%2F",
            "/a%2fb",
            "/a%2Fb",
            "/..%2fb",
            "/%2e%2e%2fb",
            "/a%5cb",
            "/a%5Cb",
            "/..%5cb",
            "/%5C%2F",
        ],
    );
    assert_all(LENIENT, Refusal::Backslash, &["/a\\b", "/..\\b"]);
}

#[test]
fn controls_are_refused() {
    for value in (0..=0x1F).chain([0x7F]) {
        for rules in [STRICT, LENIENT] {
            assert_all(rules, Refusal::Control, &[&format!("/a%{value:02X}b"), &format!("/%{value:02x}")]);
            assert_all(rules, Refusal::Character, &[&format!("/a{}b", char::from(value))]);
        }
    }
    assert_all(STRICT, Refusal::Control, &["/%00", "/a%0d%0aX-User:%20b", "/..%00/", "/a%09", "/a%7f"]);
}

#[test]
fn raw_bytes_that_no_path_may_hold_are_refused() {
    assert_all(
        LENIENT,
        Refusal::Character,
        &["/a b", "/é", "/\u{ff0e}\u{ff0e}/a", "/a?b", "/a#b", "/<a>", "/`", "/\u{2025}"],
    );
    // The one class of them that `http::Uri` lets through.
    assert_refused(http1("/\u{e9}", "a.example"), Reason::PathRefused);
}

#[test]
fn parameters_are_refused() {
    assert_all(
        STRICT,
        Refusal::Semicolon,
        &[
            "/;",
            "/a;b",
            "/a;b=c",
            "/..;/a",
            "/..;x/a",
            "/a;/b",
            "/%3b",
            "/a%3Bb",
            "/a%3bb",
            "/..%3b/a",
            "/a;jsessionid=1",
        ],
    );
}

#[test]
fn broken_escapes_are_refused() {
    assert_all(
        LENIENT,
        Refusal::BrokenEscape,
        &[
            "/%", "/%2", "/a%", "/a%2", "/%zz", "/%2z", "/%z2", "/%%", "/%%2e", "/%2%65", "/%u002e", "/% 2",
            "/%+2", "/%-1", "/%2%35", "/%é",
        ],
    );
}

#[test]
fn what_does_not_begin_with_a_slash_is_refused() {
    assert_all(LENIENT, Refusal::NotAbsolute, &["", "*", "a", "a/b", ".", "..", "%2Fa", "\\a", "?", "#"]);
}

#[test]
fn unreserved_characters_are_decoded_and_other_escapes_capitals() {
    assert_form(STRICT, "/%61%62%7a%41%5A%30%39%2D%5f%7E%2e", "/abzAZ09-_~.");
    assert_form(STRICT, "/%61dmin", "/admin");
    assert_form(STRICT, "/a%20%c3%a9%3a%40%21", "/a%20%C3%A9%3A%40%21");
    assert_form(STRICT, "/%c0%ae%c0%ae/%e0%80%af%ff%80", "/%C0%AE%C0%AE/%E0%80%AF%FF%80");
    assert_form(STRICT, "/a%3fb%23", "/a%3Fb%23");
    for path in ["/a:b@c!$&'()*+,=-._~", "/\"[]^{|}", "/%22%5B%5D%5E%7B%7C%7D", "/AbC"] {
        assert_form(STRICT, path, path);
    }
}

#[test]
fn nothing_is_decoded_twice() {
    for rules in [STRICT, LENIENT] {
        assert_form(rules, "/%252e%252E", "/%252e%252E");
        assert_form(rules, "/%252e%252e%252fetc", "/%252e%252e%252fetc");
        assert_form(rules, "/%2500", "/%2500");
        assert_form(rules, "/%25%32%65", "/%252e");
        assert_form(rules, "/%25%32%66", "/%252f");
        assert_form(rules, "/%25252e", "/%25252e");
        assert_form(rules, "/%25%2e%2e/", "/%25../");
        assert_form(rules, "/%253b", "/%253b");
    }
}

#[test]
fn dot_segments_are_resolved_where_asked() {
    for (path, form) in [
        ("/a/b/c/./../../g", "/a/g"),
        ("/a/b/..", "/a/"),
        ("/a/b/.", "/a/b/"),
        ("/a/..", "/"),
        ("/.", "/"),
        ("/./", "/"),
        ("/a/%2e%2E/b", "/b"),
        ("/public/%2e./admin", "/admin"),
        ("/a/./b/", "/a/b/"),
        ("/a/...", "/a/..."),
        ("/a/b/../%2561", "/a/%2561"),
    ] {
        assert_form(RESOLVE, path, form);
    }
    assert_all(RESOLVE, Refusal::AboveRoot, &["/..", "/../a", "/a/../..", "/a/../../b", "/%2e%2e", "/./.."]);
    assert_all(RESOLVE, Refusal::EmptySegment, &["/a//../b", "/a/..//b", "//.."]);
    assert_all(RESOLVE, Refusal::EncodedSlash, &["/a/..%2f..%2fb"]);
}

#[test]
fn slashes_are_merged_where_asked() {
    for (path, form) in
        [("//", "/"), ("///a", "/a"), ("/a//b", "/a/b"), ("/a///", "/a/"), ("//a//%62//", "/a/b/")]
    {
        assert_form(MERGE, path, form);
    }
    assert_all(MERGE, Refusal::DotSegment, &["//..", "/a//./b"]);
    let both = PathRules { resolve_dot_segments: true, ..MERGE };
    assert_form(both, "/a//../b", "/b");
    assert_form(both, "/a/..//b", "/b");
    assert_all(both, Refusal::AboveRoot, &["//..", "/a//../../b"]);
}

#[test]
fn encoded_slashes_are_kept_where_asked_but_hide_no_dot_segment() {
    assert_form(SLASH, "/a%2fb%5cc", "/a%2Fb%5Cc");
    assert_form(SLASH, "/http:%2F%2Fa.example", "/http:%2F%2Fa.example");
    assert_form(SLASH, "/%2fa%2f", "/%2Fa%2F");
    assert_form(SLASH, "/a%2F...%2Fb", "/a%2F...%2Fb");
    let resolving = PathRules { resolve_dot_segments: true, ..SLASH };
    for rules in [SLASH, resolving, LENIENT] {
        assert_all(
            rules,
            Refusal::DotSegment,
            &[
                "/..%2f",
                "/..%2Fa",
                "/a%2F..",
                "/a%2f..%2fb",
                "/a%5C..%5Cb",
                "/%2e%2e%5ca",
                "/a%2f%2e%2e/b",
                "/.%2fa",
                "/a%2f.",
            ],
        );
    }
}

#[test]
fn semicolons_are_kept_where_asked_but_hide_no_dot_segment() {
    assert_form(SEMICOLON, "/a;b=c/d", "/a;b=c/d");
    assert_form(SEMICOLON, "/a%3bb", "/a%3Bb");
    assert_form(SEMICOLON, "/a;b;c=d.e;", "/a;b;c=d.e;");
    let resolving = PathRules { resolve_dot_segments: true, ..SEMICOLON };
    for rules in [SEMICOLON, resolving, LENIENT] {
        assert_all(
            rules,
            Refusal::DotSegment,
            &[
                "/..;",
                "/..;/a",
                "/..;x/a",
                "/a/..;x=y/b",
                "/.;/a",
                "/.;x",
                "/%2e%2e;/a",
                "/..%3b/a",
                "/..%3Bx",
                "/a;..",
                "/a;./b",
            ],
        );
        assert_all(rules, Refusal::EmptySegment, &["/;x", "/a/;x/b", "/%3bx"]);
    }
}

#[test]
fn both_spellings_of_a_character_are_compared_as_one() {
    assert_eq!(folded("/jobs%3Apurge"), "/jobs:purge");
    assert_eq!(folded("/%22%5B%5D%5E%7B%7C%7D%21%24%26%27%28%29%2A%2B%2C%3D%40%3B"), "/\"[]^{|}!$&'()*+,=@;");
    for path in ["/a", "/%2F%5C%25%3F%23%20", "/%253A", "/%25", "/%C3%A9", "/a:b"] {
        assert_eq!(folded(path), path);
    }
}

#[test]
fn the_configuration_decides() {
    use crate::config::server::{DotSegments, Keep, Paths, Slashes};
    assert_eq!(PathRules::from(Paths::default()), STRICT);
    for (paths, path, form) in [
        (Paths { dot_segments: DotSegments::Resolve, ..Paths::default() }, "/a/../b", "/b"),
        (Paths { slashes: Slashes::Merge, ..Paths::default() }, "/a//b", "/a/b"),
        (Paths { encoded_slash: Keep::Keep, ..Paths::default() }, "/a%2fb", "/a%2Fb"),
        (Paths { semicolon: Keep::Keep, ..Paths::default() }, "/a;b", "/a;b"),
    ] {
        assert_refused(http1(path, "a.example"), Reason::PathRefused);
        assert_eq!(with_rules(paths.into(), path).unwrap().path(), form);
    }
}

#[test]
fn what_is_matched_is_what_is_forwarded() {
    let target = with_rules(LENIENT, "/a//b/../%63%3a?d=%64").unwrap();
    assert_eq!(target.path(), "/a/c%3A");
    assert_eq!(target.path_and_query().as_str(), "/a/c%3A?d=%64");
}
