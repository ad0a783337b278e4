//! What is required is checked, all of it, in order.

use super::Requirements;
use crate::config::policy::Require;
use crate::config::problem::{KeyPath, Problems};
use crate::config::server::Paths;
use crate::denial::{BearerError, Denial, Reason};
use crate::facts::Holder;
use crate::identity::{Attribute, Identity};
use crate::policy::expression::Circumstances;
use crate::target::{PathRules, Target};
use http::{HeaderMap, HeaderValue, Method, Uri, Version};

/// Puts names into one list of a table.
type Make = fn(Vec<String>) -> Require;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[track_caller]
fn compiled(require: &Require) -> Requirements {
    let mut problems = Problems::default();
    let requirements = Requirements::compile(require, &KeyPath::root("policy").key("require"), &mut problems);
    assert_eq!(problems, Problems::default());
    requirements
}

fn identity(sets: &[(&str, &[&str])]) -> Identity {
    let mut identity = Identity::default();
    for (name, elements) in sets {
        identity.insert(*name, Attribute::Set(elements.iter().copied().collect()));
    }
    identity
}

fn check(requirements: &Requirements, identity: &Identity) -> Result<(), Denial> {
    let rules = PathRules::from(Paths::default());
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("api.example"));
    let uri = Uri::from_static("/");
    let target = Target::parse(rules, Version::HTTP_11, &Method::GET, &uri, &headers).unwrap();
    let about = Circumstances { target: &target, pattern: None, client: None, claims: None };
    requirements.check(&Holder { identity, facts: None, certificate: None }, &about)
}

#[track_caller]
fn refused(require: &Require, sets: &[(&str, &[&str])]) -> Denial {
    check(&compiled(require), &identity(sets)).expect_err("it must be refused")
}

#[test]
fn nothing_is_required_by_default() {
    assert!(compiled(&Require::default()).is_empty());
    assert_eq!(check(&compiled(&Require::default()), &Identity::default()), Ok(()));
}

#[test]
fn all_elements_are_needed() {
    let make: [(Make, &str, Reason); 4] = [
        (|roles| Require { roles, ..Require::default() }, "roles", Reason::RoleMissing),
        (|scopes| Require { scopes, ..Require::default() }, "scopes", Reason::ScopeMissing),
        (
            |permissions| Require { permissions, ..Require::default() },
            "permissions",
            Reason::PermissionMissing,
        ),
        (
            |capabilities| Require { capabilities, ..Require::default() },
            "capabilities",
            Reason::CapabilityMissing,
        ),
    ];
    for (make, name, reason) in make {
        let require = make(names(&["a", "b", "c"]));
        assert!(!compiled(&require).is_empty());
        let denial = refused(&require, &[(name, &["b", "x"])]);
        assert_eq!((denial.reason(), denial.text()), (reason, format!("Missing {name}: a, c").as_str()));
        assert_eq!(denial.reason().bearer_error(), Some(BearerError::InsufficientScope));
        assert_eq!(denial.missing_scope(), (name == "scopes").then_some("a c"));
        assert_eq!(refused(&require, &[]).text(), format!("Missing {name}: a, b, c"));
        assert_eq!(check(&compiled(&require), &identity(&[(name, &["c", "b", "a", "d"])])), Ok(()));
    }
}

#[test]
fn one_element_is_needed() {
    let make: [(Make, &str, Reason); 4] = [
        (|any_role| Require { any_role, ..Require::default() }, "roles", Reason::RoleMissing),
        (|any_scope| Require { any_scope, ..Require::default() }, "scopes", Reason::ScopeMissing),
        (
            |any_permission| Require { any_permission, ..Require::default() },
            "permissions",
            Reason::PermissionMissing,
        ),
        (
            |any_capability| Require { any_capability, ..Require::default() },
            "capabilities",
            Reason::CapabilityMissing,
        ),
    ];
    for (make, name, reason) in make {
        let require = make(names(&["a", "b"]));
        let denial = refused(&require, &[(name, &["c"])]);
        assert_eq!(
            (denial.reason(), denial.text()),
            (reason, format!("Missing one of {name}: a, b").as_str())
        );
        assert_eq!(denial.missing_scope(), (name == "scopes").then_some("a b"));
        assert_eq!(check(&compiled(&require), &identity(&[(name, &["b"])])), Ok(()));
    }
}

#[test]
fn an_attribute_that_is_no_set_holds_nothing() {
    let mut identity = Identity::default();
    identity.insert("roles", Attribute::Text("admin".into()));
    let require = Require { roles: names(&["admin"]), ..Require::default() };
    assert!(check(&compiled(&require), &identity).is_err());
}

#[test]
fn names_are_compared_exactly() {
    let require = Require { roles: names(&["admin"]), ..Require::default() };
    for other in ["Admin", "admin ", "administrator", "adm", ""] {
        assert!(check(&compiled(&require), &identity(&[("roles", &[other])])).is_err(), "{other:?}");
    }
}

#[test]
fn the_order_of_checks_is_fixed() {
    let require = Require {
        any_capability: names(&["j"]),
        any_permission: names(&["i"]),
        any_scope: names(&["h"]),
        any_role: names(&["g"]),
        capabilities: names(&["d"]),
        permissions: names(&["c"]),
        scopes: names(&["b"]),
        roles: names(&["a"]),
        inherit: None,
        quotas: indexmap::IndexMap::default(),
        expression: None,
    };
    let mut held: Vec<(&str, Vec<&str>)> =
        vec![("roles", vec![]), ("scopes", vec![]), ("permissions", vec![]), ("capabilities", vec![])];
    let order = [
        (0, "a", Reason::RoleMissing),
        (1, "b", Reason::ScopeMissing),
        (2, "c", Reason::PermissionMissing),
        (3, "d", Reason::CapabilityMissing),
        (0, "g", Reason::RoleMissing),
        (1, "h", Reason::ScopeMissing),
        (2, "i", Reason::PermissionMissing),
        (3, "j", Reason::CapabilityMissing),
    ];
    for (set, element, reason) in order {
        let sets = held.iter().map(|(name, elements)| (*name, elements.as_slice())).collect::<Vec<_>>();
        let denial = refused(&require, &sets);
        assert_eq!(denial.reason(), reason);
        assert!(denial.text().ends_with(&format!(": {element}")), "{denial:?}");
        held[set].1.push(element);
    }
}

#[test]
fn a_route_adds_to_the_policy_or_starts_afresh() {
    let policy = compiled(&Require {
        capabilities: names(&["a"]),
        any_role: names(&["r", "s"]),
        ..Require::default()
    });
    let route = Require {
        roles: names(&["t"]),
        capabilities: names(&["b", "a"]),
        any_role: names(&["u"]),
        ..Require::default()
    };
    let at = KeyPath::root("routes").index(0).key("require");
    let mut problems = Problems::default();
    let added = policy.for_route(&route, &at, &mut problems);
    let check = |requirements: &Requirements, roles: &[&str], capabilities: &[&str]| {
        let identity = identity(&[("roles", roles), ("capabilities", capabilities)]);
        check(requirements, &identity).map_err(|denial| denial.text().to_owned())
    };
    assert_eq!(check(&added, &["s", "t", "u"], &["a", "b"]), Ok(()));
    assert_eq!(check(&added, &[], &[]), Err("Missing roles: t".to_owned()));
    assert_eq!(check(&added, &["t"], &[]), Err("Missing capabilities: a, b".to_owned()));
    assert_eq!(check(&added, &["t", "u"], &["a", "b"]), Err("Missing one of roles: r, s".to_owned()));
    assert_eq!(check(&added, &["t", "s"], &["a", "b"]), Err("Missing one of roles: u".to_owned()));
    assert_eq!(policy.for_route(&Require::default(), &at, &mut problems), policy);
    let same = Require { inherit: Some(true), ..route.clone() };
    assert_eq!(policy.for_route(&same, &at, &mut problems), added);

    let fresh = policy.for_route(&Require { inherit: Some(false), ..route }, &at, &mut problems);
    assert_eq!(check(&fresh, &["t", "u"], &["a", "b"]), Ok(()));
    let nothing = Require { inherit: Some(false), ..Require::default() };
    assert!(policy.for_route(&nothing, &at, &mut problems).is_empty());
    assert_eq!(problems, Problems::default());
}

#[test]
fn what_a_route_adds_is_checked_in_the_same_order() {
    let policy = compiled(&Require {
        capabilities: names(&["a"]),
        any_capability: names(&["b"]),
        ..Require::default()
    });
    let route = Require { scopes: names(&["c"]), any_role: names(&["d"]), ..Require::default() };
    let mut problems = Problems::default();
    let added = policy.for_route(&route, &KeyPath::root("require"), &mut problems);
    let reason = |sets| check(&added, &identity(sets)).err().map(|denial| denial.reason());
    assert_eq!(reason(&[]), Some(Reason::ScopeMissing));
    assert_eq!(reason(&[("scopes", &["c"]), ("capabilities", &["a"])]), Some(Reason::RoleMissing));
}

#[test]
fn names_that_could_not_stand_in_a_challenge_are_problems() {
    let bad = ["", "a b", "a,b", "a\"b", "a'b", "a\\b", "é", "a\tb", "a\r\nb", "\u{7f}"];
    for (key, require) in [
        ("roles", Require { roles: names(&bad), ..Require::default() }),
        ("scopes", Require { scopes: names(&bad), ..Require::default() }),
        ("permissions", Require { permissions: names(&bad), ..Require::default() }),
        ("capabilities", Require { capabilities: names(&bad), ..Require::default() }),
        ("any_role", Require { any_role: names(&bad), ..Require::default() }),
        ("any_scope", Require { any_scope: names(&bad), ..Require::default() }),
        ("any_permission", Require { any_permission: names(&bad), ..Require::default() }),
        ("any_capability", Require { any_capability: names(&bad), ..Require::default() }),
    ] {
        let mut problems = Problems::default();
        drop(Requirements::default().for_route(&require, &KeyPath::root("require"), &mut problems));
        let paths = problems.0.iter().map(|problem| problem.path.to_string()).collect::<Vec<_>>();
        // Only scopes stand in a challenge; whatever else is required may be called as people like (Keycloak's
        // roles have spaces), as long as a list of them cannot be misread.
        let readable = |name: &str| matches!(name, "a b" | "a\"b" | "a'b" | "a\\b" | "é");
        let refused = |name: &str| key.contains("scope") || !readable(name);
        let expected = bad.iter().enumerate().filter(|(_, name)| refused(name));
        assert_eq!(paths, expected.map(|(index, _)| format!("require.{key}[{index}]")).collect::<Vec<_>>());
        assert!(problems.has_errors());
    }
    let good = names(&[
        "a",
        "admin:delete",
        "can.manage_strategies",
        "https://api.example/x",
        "!#$%&()*+-./:;<=>?@[]^_`{|}~",
    ]);
    compiled(&Require { roles: good, ..Require::default() });
}

#[test]
fn a_policy_cannot_inherit() {
    for inherit in [true, false] {
        let mut problems = Problems::default();
        let require = Require { inherit: Some(inherit), ..Require::default() };
        Requirements::compile(&require, &KeyPath::root("policy").key("require"), &mut problems);
        assert_eq!(problems.0[0].path.to_string(), "policy.require.inherit");
    }
}

#[test]
fn weaker_means_that_somebody_more_gets_in() {
    let roles = |roles: &[&str]| compiled(&Require { roles: names(roles), ..Require::default() });
    let any = |any_role: &[&str]| compiled(&Require { any_role: names(any_role), ..Require::default() });
    let scopes = |scopes: &[&str]| compiled(&Require { scopes: names(scopes), ..Require::default() });
    for (weaker, than) in [
        (roles(&[]), roles(&["a"])),
        (roles(&["a"]), roles(&["a", "b"])),
        (roles(&["a"]), roles(&["b"])),
        (any(&["a", "b"]), roles(&["a"])),
        (any(&["a", "b"]), any(&["a"])),
        (any(&["a", "c"]), any(&["a", "b"])),
        (scopes(&["a"]), roles(&["a"])),
        (scopes(&["a"]), any(&["a"])),
        (any(&["a"]), scopes(&["a"])),
    ] {
        assert!(weaker.is_weaker_than(&than), "{weaker:?} than {than:?}");
    }
    for (not_weaker, than) in [
        (roles(&[]), roles(&[])),
        (roles(&["a"]), roles(&["a"])),
        (roles(&["b", "a"]), roles(&["a"])),
        (roles(&["a"]), any(&["a", "b"])),
        (any(&["a"]), any(&["b", "a"])),
        (roles(&["a"]), roles(&[])),
    ] {
        assert!(!not_weaker.is_weaker_than(&than), "{not_weaker:?} than {than:?}");
    }
}

fn that(expression: &str) -> Require {
    Require { expression: Some(expression.to_owned()), ..Require::default() }
}

#[test]
fn expressions_add_up_and_come_last() {
    let at = KeyPath::root("require");
    let mut problems = Problems::default();
    let policy = Requirements::compile(&that("'a' in identity.roles"), &at, &mut problems);
    let route = Require { any_scope: names(&["s"]), ..that("'b' in identity.roles") };
    let both = policy.for_route(&route, &at, &mut problems);
    let again = policy.for_route(&that("'a' in identity.roles"), &at, &mut problems);
    let afresh = policy.for_route(&Require { inherit: Some(false), ..route }, &at, &mut problems);
    assert_eq!(problems, Problems::default());
    let holder = identity(&[("roles", &["b"]), ("scopes", &["s"])]);
    assert_eq!(check(&both, &holder).map_err(|denial| denial.reason()), Err(Reason::ExpressionFalse));
    assert_eq!(check(&afresh, &holder), Ok(()));
    assert_eq!(check(&both, &identity(&[("roles", &["a", "b"]), ("scopes", &["s"])])), Ok(()));
    let listed: Vec<String> = both.iter().map(|requirement| requirement.to_string()).collect();
    assert_eq!(
        listed,
        ["one of the scopes: s", "expression: 'a' in identity.roles", "expression: 'b' in identity.roles"]
    );
    assert_eq!((policy.iter().count(), again.iter().count()), (1, 1), "the same one counts once");
    assert!(!policy.is_empty());
    assert!(afresh.is_weaker_than(&policy) && policy.is_weaker_than(&both) && !both.is_weaker_than(&policy));
    assert!(!policy.need_facts() && !policy.need_claims());
    let needing = |expression| Requirements::compile(&that(expression), &at, &mut Problems::default());
    assert!(needing("identity.quotas['a'] >= 1").need_facts() && needing("'x' in claims.x").need_claims());
}

#[test]
fn what_an_expression_is_about_is_not_said_to_the_client() {
    let denial = refused(&that("identity.plan == 'pro'"), &[]);
    assert_eq!(denial.text(), "The request does not satisfy the policy");
    assert_eq!(denial.source(), Some("the expression has no value: there is no plan"));
}
