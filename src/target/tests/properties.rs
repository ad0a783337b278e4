//! What holds for every path.

use super::with_rules;
use crate::target::{PathRules, Prefix, canonical, folded, normal_host};
use proptest::prelude::*;

fn rules() -> impl Strategy<Value = PathRules> {
    any::<[bool; 4]>().prop_map(
        |[resolve_dot_segments, merge_slashes, keep_encoded_slash, keep_semicolon]| PathRules {
            resolve_dot_segments,
            merge_slashes,
            keep_encoded_slash,
            keep_semicolon,
        },
    )
}

/// Paths made of what attackers make them of.
fn nasty() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "/", "//", ".", "..", "%2e", "%2E", "%25", "%", "2e", "2", "5", "e", "%2f", "%5C", "\\", ";", "%3b",
        "%00", "%7F", "a", "%61", "%c3%a9", "é", ":", "%3A", "{", "%7b", "?", "#", " ", "%32", "%35",
    ]);
    prop::collection::vec(pieces, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
}

fn hides_a_dot_segment(path: &str) -> bool {
    path.split('/').any(|segment| {
        segment
            .replace("%2F", "/")
            .replace("%5C", "/")
            .replace("%3B", "/")
            .split(['/', ';'])
            .any(|part| matches!(part, "." | ".."))
    })
}

fn assert_canonical(path: &str, rules: PathRules) {
    assert!(path.starts_with('/'));
    assert!(!path.contains("//") && !path.contains('\\') && !path.contains(['?', '#']), "{path}");
    assert!(path.bytes().all(|byte| byte.is_ascii_graphic()), "{path}");
    assert!(!hides_a_dot_segment(path), "{path}");
    assert!(rules.keep_semicolon || !path.contains(';') && !path.contains("%3B"), "{path}");
    assert!(rules.keep_encoded_slash || !path.contains("%2F") && !path.contains("%5C"), "{path}");
    for escape in path.split('%').skip(1) {
        let digits = escape.get(..2).expect("two digits");
        assert!(digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F')), "{path}");
        let value = u8::from_str_radix(digits, 16).unwrap();
        assert!(
            !value.is_ascii_control() && !value.is_ascii_alphanumeric() && !b"-._~".contains(&value),
            "{path}"
        );
    }
}

/// Decodes every escape once: what a service makes of a path.
fn decoded(path: &str) -> Vec<u8> {
    percent_encoding::percent_decode_str(path).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_canonical_form_is_canonical(path in nasty(), rules in rules()) {
        if let Ok(form) = canonical(&path, rules) {
            let form = form.unwrap_or(path);
            assert_canonical(&form, rules);
            prop_assert_eq!(canonical(&form, rules), Ok(None), "not idempotent");
            prop_assert_eq!(canonical(&form, rules.for_configuration()), Ok(None));
        }
    }

    #[test]
    fn the_canonical_form_means_what_was_sent(path in nasty()) {
        if let Ok(Some(form)) = canonical(&path, PathRules::default()) {
            prop_assert_eq!(decoded(&path), decoded(&form));
        }
    }

    #[test]
    fn folding_changes_the_spelling_only(path in nasty(), rules in rules()) {
        if let Ok(form) = canonical(&path, rules) {
            let form = form.unwrap_or(path);
            let folded = folded(&form);
            prop_assert_eq!(decoded(&folded), decoded(&form));
            prop_assert_eq!(folded.matches('/').count(), form.matches('/').count());
            prop_assert_eq!(super::super::folded(&folded), folded.clone());
        }
    }

    #[test]
    fn no_text_makes_it_panic(path in any::<String>(), rules in rules()) {
        drop((canonical(&path, rules), folded(&path), normal_host(&path), Prefix::parse(&path, rules)));
        prop_assert!(super::super::host::without_port(&path).map_or(0, str::len) <= path.len());
    }

    #[test]
    fn a_usual_host_is_what_the_rules_say_as_well(
        authority in prop_oneof!["[a-cA-C0-9._-]{0,6}(:[0-9a.:]{0,6})?", "[a-c]{250,258}(:8)?", any::<String>()],
    ) {
        let by_rules = super::super::host::without_port(&authority).and_then(normal_host);
        let usual = super::super::host::usual(authority.as_bytes()).map(|length| authority.get(..length).unwrap());
        match (usual, by_rules) {
            (Some(usual), by_rules) => prop_assert_eq!(by_rules.unwrap(), usual),
            (None, Ok(host)) => prop_assert!(authority != host || host.starts_with('['), "{host} is usual"),
            (None, Err(_)) => {}
        }
    }

    #[test]
    fn no_bytes_make_a_head_panic(path in prop::collection::vec(any::<u8>(), 0..40), rules in rules()) {
        if let Ok(uri) = http::Uri::try_from([b"/", &path[..]].concat()) {
            drop(with_rules(rules, &uri.to_string()));
        }
    }

    #[test]
    fn a_rewritten_path_is_canonical(
        path in nasty(), from in "(/[ab:]{0,2}){1,2}", to in "(/[ab]{0,2}){1,2}", rules in rules(),
    ) {
        let (Ok(uri), Ok(from), Ok(to)) =
            (path.parse::<http::Uri>(), Prefix::parse(&from, rules), Prefix::parse(&to, rules))
        else {
            return Ok(());
        };
        if let Ok(target) = with_rules(rules, &uri.to_string()) {
            let rewritten = target.rewritten(&from, &to).unwrap();
            prop_assert_eq!(canonical(rewritten.path(), rules), Ok(None));
            prop_assert_eq!(rewritten.query(), target.query());
        }
    }
}
