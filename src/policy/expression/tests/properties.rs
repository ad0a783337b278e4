//! Any text compiles or is refused, and whatever compiles has an outcome: nothing panics.

use super::{Scene, compiled, quotas, set, text};
use crate::facts::Facts;
use crate::identity::Attribute;
use crate::quotas::Quota;
use proptest::prelude::*;
use serde_json::json;

/// A word that no expression has.
const SECRET: &str = "hunter2-éß";

fn scene() -> Scene {
    let mut scene = Scene::new(&[
        ("plan", text(SECRET)),
        ("farm", Attribute::Integer(i64::MIN.into())),
        ("large", Attribute::Integer(u64::MAX.into())),
        ("ok", Attribute::Boolean(true)),
        ("roles", set(&["admin", SECRET])),
    ]);
    scene.facts = Some(Facts {
        capabilities: [SECRET].into_iter().collect(),
        quotas: quotas(&[("a", Quota::Unlimited), (SECRET, Quota::Limit(-1))]),
    });
    scene.claims = Some(json!({
        "a": [1, -1, 1.5, 1e300, null, true, SECRET, [SECRET], { "b": SECRET }], "b": { "c": SECRET, SECRET: 1 },
        "n": -9_223_372_036_854_775_808_i64, "f": -0.0, "u": u64::MAX, "s": SECRET,
    }));
    scene
}

fn leaf() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "identity.plan",
            "identity.farm",
            "identity.large",
            "identity.ok",
            "identity.roles",
            "identity.quotas",
            "identity.capabilities",
            "identity.none",
            "claims.a",
            "claims.b",
            "claims.n",
            "claims.f",
            "claims.u",
            "claims.s",
            "claims",
            "identity",
            "path",
            "path.farm",
            "request.path",
            "request.client",
            "x",
            "true",
            "false",
            "null",
            "0",
            "1",
            "-1",
            "9223372036854775807",
            "-9223372036854775808",
            "0u",
            "18446744073709551615u",
            "1.5",
            "1e308",
            "''",
            "'a'",
            "b'a'",
            "[]",
            "{}",
            "int",
            "string",
            "'\\u00e9'",
            "r'\\d'",
            "'''a'''",
            "0x7f",
        ])
        .prop_map(str::to_owned),
    ]
}

fn expression() -> impl Strategy<Value = String> {
    leaf().prop_recursive(5, 40, 3, |inner| {
        let two = (inner.clone(), inner.clone());
        let operator = prop::sample::select(vec![
            "==", "!=", "<", "<=", ">", ">=", "in", "&&", "||", "+", "-", "*", "/", "%",
        ]);
        let function = prop::sample::select(vec![
            "size", "string", "int", "uint", "double", "bool", "bytes", "type", "dyn", "!", "-",
        ]);
        let macros = prop::sample::select(vec!["all", "exists", "exists_one", "existsOne", "filter"]);
        let member = prop::sample::select(vec!["contains", "startsWith", "endsWith"]);
        prop_oneof![
            (two.clone(), operator).prop_map(|((a, b), operator)| format!("({a} {operator} {b})")),
            (inner.clone(), function).prop_map(|(a, function)| format!("{function}({a})")),
            (two.clone(), macros).prop_map(|((a, b), name)| format!("{a}.{name}(x, {b})")),
            (two.clone(), member).prop_map(|((a, b), name)| format!("{a}.{name}({b})")),
            (two.clone(), inner.clone()).prop_map(|((a, b), c)| format!("({a} ? {b} : {c})")),
            two.clone().prop_map(|(a, b)| format!("{a}[{b}]")),
            two.clone().prop_map(|(a, b)| format!("[{a}, {b}]")),
            two.prop_map(|(a, b)| format!("{{{a}: {b}}}")),
            inner.clone().prop_map(|a| format!("{a}.matches('^a+$')")),
            inner.clone().prop_map(|a| format!("has({a}.b)")),
            inner.prop_map(|a| format!("{a}.b")),
        ]
    })
}

/// Pieces of the language in any order.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        leaf(),
        prop::sample::select(vec![
            "(",
            ")",
            "[",
            "]",
            "{",
            "}",
            ".",
            ",",
            ":",
            "?",
            "!",
            "-",
            "+",
            "==",
            "in",
            "&&",
            "||",
            "'",
            "\"",
            "'''",
            "r'",
            "b'",
            "\\",
            "//",
            "\n",
            " ",
            "`",
            "@",
            ".?",
            "[?",
            "has(",
            "all(x,",
            "exists(",
            "map(",
            "\u{0}",
            "\u{202e}",
            "é",
            "\\u",
            "\\x",
            "\\777",
            "0x",
            "1e",
            "1.",
            ".1",
            "9999999999999999999999",
            "u",
            "for",
            "import",
            "_",
            "__",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_taken_or_refused(text in "\\PC{0,200}") {
        if let Ok(expression) = compiled(&text) {
            scene().check(&expression);
        }
    }

    #[test]
    fn any_pieces_are_taken_or_refused(text in pieces()) {
        if let Ok(expression) = compiled(&text) {
            let why = scene().check(&expression).unwrap_or_default();
            prop_assert!(!why.contains("cannot be evaluated"), "{text}");
        }
    }

    #[test]
    fn whatever_compiles_has_an_outcome_that_holds_no_value(text in expression()) {
        if let Ok(expression) = compiled(&text) {
            let why = scene().check(&expression).unwrap_or_default();
            prop_assert!(!why.contains("cannot be evaluated"), "{text}");
            prop_assert!(!why.contains("hunter2"), "{text}: {why}");
        }
    }
}
