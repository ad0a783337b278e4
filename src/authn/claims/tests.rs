use super::{ClaimMap, ClaimPath, subject};
use crate::config::claim::ClaimSource;
use crate::identity::{Attribute, Identity};
use crate::json;
use indexmap::IndexMap;
use serde_json::{Value, json};

fn sources(text: &str) -> IndexMap<String, ClaimSource> {
    toml::from_str(text).unwrap()
}

fn map(text: &str) -> ClaimMap {
    ClaimMap::new(&sources(text)).unwrap().built_in("issuer", "jwt")
}

fn identity(mapping: &str, claims: Value) -> Result<Identity, String> {
    let Value::Object(mut members) = claims else { panic!("not an object") };
    members.entry("sub").or_insert(json!("someone"));
    let text = Value::Object(members).to_string();
    let members = json::object(text.as_bytes()).unwrap();
    map(mapping).identity(&members).map_err(|error| format!("{}: {}", error.attribute, error.why))
}

fn attribute(mapping: &str, claims: Value) -> Result<Option<Attribute>, String> {
    identity(mapping, claims).map(|identity| identity.attribute("a").cloned())
}

fn text(text: &str) -> Option<Attribute> {
    Attribute::Text(text.into()).into()
}

fn integer(number: impl Into<i128>) -> Option<Attribute> {
    Attribute::Integer(number.into()).into()
}

fn set(elements: &[&str]) -> Option<Attribute> {
    Attribute::Set(elements.iter().copied().collect()).into()
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let claims = json!({"sub": "u", "scope": "a b", "scp": ["c"], "permissions": ["p:1"], "roles": "r s",
        "capabilities": [], "email": "not mapped"});
    let identity = identity("", claims).unwrap();
    assert_eq!(identity.attribute("subject").cloned(), text("u"));
    assert_eq!(identity.attribute("scopes").cloned(), set(&["a", "b", "c"]));
    assert_eq!(identity.attribute("permissions").cloned(), set(&["p:1"]));
    assert_eq!(identity.attribute("roles").cloned(), set(&["r", "s"]));
    assert_eq!(identity.attribute("capabilities").cloned(), set(&[]));
    assert_eq!(identity.attribute("authenticator").cloned(), text("issuer"));
    assert_eq!(identity.attribute("auth_method").cloned(), text("jwt"));
    assert_eq!(identity.attributes().count(), 7);
}

#[test]
fn a_default_gives_way_to_what_is_written() {
    let identity =
        identity("subject = 'uid'\nroles = '/r'", json!({"uid": 7, "sub": "x", "r": ["a"], "roles": ["b"]}));
    let identity = identity.unwrap();
    assert_eq!(identity.attribute("subject").cloned(), integer(7));
    assert_eq!(subject(&identity).as_deref(), Some("7"));
    assert_eq!(identity.attribute("roles").cloned(), set(&["a"]));
}

#[test]
fn there_is_always_a_subject() {
    for claims in [json!({"sub": null}), json!({"sub": ""})] {
        assert!(identity("", claims).unwrap_err().starts_with("subject"));
    }
    for claims in [json!({"sub": true}), json!({"sub": ["a"]}), json!({"sub": {}}), json!({"sub": 1.5})] {
        assert!(identity("", claims).is_err());
    }
    let members = json::Object::default();
    assert!(map("").identity(&members).is_err());
    assert!(map("subject = { value = 'machine' }").identity(&members).is_ok());
}

#[test]
fn names_are_as_written_and_pointers_point() {
    for (path, claims) in [
        ("https://api.example/id", json!({"https://api.example/id": "x"})),
        ("a.b", json!({"a.b": "x", "a": {"b": "y"}})),
        ("~1", json!({"~1": "x"})),
        ("/a", json!({"a": "x"})),
        ("/a/b/c", json!({"a": {"b": {"c": "x"}}})),
        ("/a~1b/c~0d", json!({"a/b": {"c~d": "x"}})),
        ("/~01", json!({"~1": "x"})),
        ("/", json!({"": "x"})),
        ("/a/0", json!({"a": ["x", "y"]})),
        ("/a/1/b", json!({"a": [{}, {"b": "x"}]})),
        ("/a/", json!({"a": {"": "x"}})),
    ] {
        assert_eq!(attribute(&format!("a = '{path}'"), claims), Ok(text("x")), "{path}");
    }
    for (path, claims) in [
        ("a/b", json!({"a": {"b": "x"}})),
        ("/a/b", json!({"a/b": "x"})),
        ("/a/00", json!({"a": ["x"]})),
        ("/a/-", json!({"a": ["x"]})),
        ("/a/+0", json!({"a": ["x"]})),
        ("/a/", json!({"a": ["x"]})),
        ("/a/1", json!({"a": ["x"]})),
        ("/a/b", json!({"a": "x"})),
        ("/a/b", json!({"a": null})),
        ("/a/b", json!({"a": {"b": null}})),
        ("/A", json!({"a": "x"})),
    ] {
        assert_eq!(attribute(&format!("a = '{path}'"), claims), Ok(None), "{path}");
    }
    for bad in ["", "/~", "/~2", "/a/~x", "/a~"] {
        assert!(ClaimPath::new(bad).is_err(), "{bad}");
    }
}

#[test]
fn without_a_type_an_attribute_takes_text_or_a_whole_number() {
    for (value, expected) in [
        (json!("x"), text("x")),
        (json!(""), text("")),
        (json!("12"), text("12")),
        (json!(12), integer(12)),
        (json!(-1), integer(-1)),
        (json!(9_007_199_254_740_993_u64), integer(9_007_199_254_740_993_u64)),
        (json!(u64::MAX), integer(u64::MAX)),
        (json!(i64::MIN), integer(i64::MIN)),
        (json!(null), None),
    ] {
        assert_eq!(attribute("a = 'c'", json!({"c": value})), Ok(expected), "{value}");
    }
    for value in
        ["true", "[]", "[\"x\"]", "{}", "1.5", "1.0", "1e3", "18446744073709551616", "-9223372036854775809"]
    {
        let claims: Value = serde_json::from_str(&format!("{{\"c\":{value}}}")).unwrap();
        assert!(attribute("a = 'c'", claims).is_err(), "{value}");
    }
}

#[test]
fn an_integer_is_the_same_as_text_and_as_number() {
    let typed = |value: Value| attribute("a = { claim = 'c', type = 'integer' }", json!({"c": value}));
    for (value, expected) in [
        (json!("12"), 12),
        (json!(12), 12),
        (json!("0"), 0),
        (json!("-5"), -5),
        (json!("18446744073709551615"), i128::from(u64::MAX)),
        (json!("-9223372036854775808"), i128::from(i64::MIN)),
    ] {
        assert_eq!(typed(value), Ok(integer(expected)));
    }
    for bad in [
        "",
        "012",
        "+12",
        "-0",
        " 12",
        "12 ",
        "1_2",
        "1.0",
        "0x1",
        "1e3",
        "१",
        "18446744073709551616",
        "-9223372036854775809",
        "999999999999999999999999999999999999999999",
    ] {
        assert!(typed(json!(bad)).is_err(), "{bad}");
    }
    for bad in [json!(1.5), json!(true), json!([1]), json!({})] {
        assert!(typed(bad).is_err());
    }
}

#[test]
fn types_are_not_converted() {
    for (kind, good, bad) in [
        ("string", json!("true"), vec![json!(1), json!(true), json!(["x"]), json!({})]),
        ("boolean", json!(true), vec![json!("true"), json!(1), json!([]), json!({})]),
        (
            "set",
            json!(["x"]),
            vec![json!(1), json!(true), json!({}), json!([1]), json!(["x", null]), json!([["x"]])],
        ),
    ] {
        let mapping = format!("a = {{ claim = 'c', type = '{kind}' }}");
        assert!(attribute(&mapping, json!({"c": good})).unwrap().is_some());
        assert_eq!(attribute(&mapping, json!({"c": null})), Ok(None));
        for value in bad {
            assert!(attribute(&mapping, json!({"c": value})).is_err(), "{kind} {value}");
        }
    }
}

#[test]
fn the_four_sets_are_lists_or_words() {
    for name in crate::identity::SET_ATTRIBUTES {
        let read = |value: Value| {
            identity(&format!("{name} = 'c'"), json!({"c": value}))
                .map(|identity| identity.attribute(name).cloned())
        };
        assert_eq!(read(json!(["a b", "c", "", "c"])), Ok(set(&["a b", "c"])));
        assert_eq!(read(json!("a  b c ")), Ok(set(&["a", "b", "c"])));
        assert_eq!(read(json!("a\tb")), Ok(set(&["a\tb"])));
        assert_eq!(read(json!("")), Ok(set(&[])));
        assert_eq!(read(json!(null)), Ok(None));
        for bad in [json!(1), json!(true), json!({"admin": true}), json!([1]), json!(["a", {}])] {
            assert!(read(bad).is_err());
        }
    }
}

#[test]
fn a_list_of_claims_is_a_union_for_sets_and_the_first_that_is_there_otherwise() {
    let roles = "roles = ['/realm_access/roles', '/resource_access/app/roles']";
    let claims = json!({"realm_access": {"roles": ["a"]}, "resource_access": {"app": {"roles": "b c"}}});
    assert_eq!(identity(roles, claims).unwrap().attribute("roles").cloned(), set(&["a", "b", "c"]));
    let one = json!({"resource_access": {"app": {"roles": []}}});
    assert_eq!(identity(roles, one).unwrap().attribute("roles").cloned(), set(&[]));
    assert_eq!(identity(roles, json!({})).unwrap().attribute("roles"), None);
    assert!(
        identity(roles, json!({"realm_access": {"roles": ["a"]}, "resource_access": {"app": {"roles": 1}}}))
            .is_err()
    );
    let first = "a = ['x', 'y']";
    assert_eq!(attribute(first, json!({"x": "1", "y": "2"})), Ok(text("1")));
    assert_eq!(attribute(first, json!({"x": null, "y": "2"})), Ok(text("2")));
    // One that is there and cannot be used is not passed over.
    assert!(attribute(first, json!({"x": {}, "y": "2"})).is_err());
}

#[test]
fn what_is_required_must_be_there() {
    let mapping = "a = { claim = 'c', required = true }";
    assert_eq!(attribute(mapping, json!({"c": "x"})), Ok(text("x")));
    for claims in [json!({}), json!({"c": null})] {
        assert!(attribute(mapping, claims).unwrap_err().starts_with("a: is required"));
    }
}

#[test]
fn a_prefix_is_removed_and_must_be_there() {
    let mapping = "a = { claim = 'c', strip_prefix = 'user:' }";
    assert_eq!(attribute(mapping, json!({"c": "user:7"})), Ok(text("7")));
    assert_eq!(attribute(mapping, json!({"c": "user:user:7"})), Ok(text("user:7")));
    assert_eq!(attribute(mapping, json!({})), Ok(None));
    for bad in [json!("service:7"), json!("7"), json!("User:7"), json!(7), json!("")] {
        assert!(attribute(mapping, json!({"c": bad})).is_err());
    }
    let number = "a = { claim = 'c', strip_prefix = 'user:', type = 'integer' }";
    assert_eq!(attribute(number, json!({"c": "user:7"})), Ok(integer(7)));
    assert!(attribute(number, json!({"c": "user:x"})).is_err());
    let words = "a = { claim = 'c', strip_prefix = 'app-', type = 'set' }";
    assert_eq!(attribute(words, json!({"c": ["app-x", "app-y"]})), Ok(set(&["x", "y"])));
    assert!(attribute(words, json!({"c": ["app-x", "y"]})).is_err());
}

#[test]
fn constants_are_what_they_are() {
    assert_eq!(attribute("a = { value = 'gold' }", json!({"a": "lead"})), Ok(text("gold")));
    assert_eq!(attribute("a = { value = 7 }", json!({})), Ok(integer(7)));
    assert_eq!(attribute("a = { value = true }", json!({})), Ok(Some(Attribute::Boolean(true))));
    let roles = identity("roles = { value = 'a b' }", json!({"roles": ["admin"]})).unwrap();
    assert_eq!(roles.attribute("roles").cloned(), set(&["a", "b"]));
}

#[test]
fn a_mapping_that_makes_no_sense_is_an_error_for_each_attribute() {
    let errors = ClaimMap::new(&sources(
        "authenticator = 'x'\nauth_method = { value = 'y' }\nb = ''\nc = '/~'\nd = []\nroles = { claim = 'r', type = 'string' }\n\
         scopes = { value = 7 }\nsubject = { claim = 's', type = 'boolean' }\ne = { claim = 'e', type = 'boolean', strip_prefix = 'x' }\n\
         good = 'x'",
    ))
    .unwrap_err();
    let names: Vec<&str> = errors.iter().map(|(attribute, _)| attribute.as_str()).collect();
    assert_eq!(names, ["auth_method", "authenticator", "b", "c", "d", "e", "roles", "scopes", "subject"]);
    for bad in ["subject = { value = true }", "subject = { claim = 'x', type = 'set' }", "'' = 'x'"] {
        assert!(ClaimMap::new(&sources(bad)).is_err(), "{bad}");
    }
}

#[test]
fn the_built_in_attributes_cannot_come_from_a_token() {
    let identity = identity("", json!({"authenticator": "evil", "auth_method": "none"})).unwrap();
    assert_eq!(identity.attribute("authenticator").cloned(), text("issuer"));
    assert_eq!(identity.attribute("auth_method").cloned(), text("jwt"));
}

#[test]
fn every_attribute_is_known_before_any_token() {
    let names: Vec<String> = map("a = 'x'").attributes().map(str::to_owned).collect();
    assert_eq!(
        names,
        ["a", "subject", "roles", "scopes", "permissions", "capabilities", "authenticator", "auth_method"]
    );
}
