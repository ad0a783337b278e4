//! From claims to headers: what stands in the token becomes exactly one harmless field, or the request is refused.

use crate::support::gate::Gate;
use crate::support::idp::Idp;
use crate::support::request::get;
use crate::support::service::Service;
use crate::support::setup::Setup;
use serde_json::{Value, json};

/// What a token with a claim leads to.
enum Told {
    /// The service reads this.
    Value(&'static str),
    /// The service gets no such header.
    Nothing,
    /// 401 `token_claim`.
    Refused,
}
use Told::{Nothing, Refused, Value as Text};

/// A gate that maps attributes as `claims` says and tells `x-a` as `header` says.
fn gate(service: &Service, idp: &Idp, claims: &str, header: &str) -> Gate {
    Setup::new(service.url())
        .with(&idp.authenticator("main"))
        .with(&format!("[authenticators.main.claims]\n{claims}"))
        .with(&format!("[identity.headers]\nx-a = {header}"))
        .start()
}

#[track_caller]
fn judge(claims: &str, header: &str, cases: Vec<(Value, Told)>) {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = gate(&service, &idp, claims, header);
    let mut refused = Vec::new();
    for (token_claims, told) in cases {
        let case = format!("{claims} {header} {token_claims}");
        let before = service.received();
        let token = idp.token().claims(token_claims).build();
        let reply = get("/").header("x-a", "forged").bearer(&token).send(&gate);
        match told {
            Text(value) => {
                reply.expect(200, &case);
                assert_eq!(service.last().header("x-a"), Some(value), "{case}");
            }
            Nothing => {
                reply.expect(200, &case);
                assert_eq!(service.last().header("x-a"), None, "{case}");
            }
            Refused => {
                let reply = reply.expect(401, &case);
                assert_eq!(service.received(), before, "{case}");
                refused.push((case, reply));
            }
        }
    }
    for (case, reply) in refused {
        assert_eq!(gate.reason(&reply), "token_claim", "{case}");
    }
}

#[test]
fn single_values_are_told_as_they_are_or_not_at_all() {
    judge(
        "a = \"a\"",
        "\"a\"",
        vec![
            (json!({ "a": "plain" }), Text("plain")),
            (json!({ "a": "auth0|5f7c8ec7c33c6c004bbafe82" }), Text("auth0|5f7c8ec7c33c6c004bbafe82")),
            (json!({ "a": "two words" }), Text("two words")),
            (json!({ "a": "None" }), Text("None")),
            (json!({ "a": 12 }), Text("12")),
            (json!({ "a": 0 }), Text("0")),
            (json!({ "a": -7 }), Text("-7")),
            // All digits are kept, also beyond what a double can hold.
            (json!({ "a": 9_007_199_254_740_993_i64 }), Text("9007199254740993")),
            (json!({ "a": u64::MAX }), Text("18446744073709551615")),
            (json!({}), Refused),
            (json!({ "a": null }), Refused),
            (json!({ "a": "" }), Refused),
            (json!({ "a": true }), Refused),
            (json!({ "a": 1.5 }), Refused),
            (json!({ "a": ["x"] }), Refused),
            (json!({ "a": { "b": "c" } }), Refused),
            (json!({ "a": "a,b" }), Refused),
            (json!({ "a": " a" }), Refused),
            (json!({ "a": "a " }), Refused),
            (json!({ "a": " " }), Refused),
            (json!({ "a": "a\tb" }), Refused),
            (json!({ "a": "a\nb" }), Refused),
            (json!({ "a": "a\r\nx-admin: 1" }), Refused),
            (json!({ "a": "a\u{0}b" }), Refused),
            (json!({ "a": "a\u{7f}b" }), Refused),
            (json!({ "a": "a\u{85}b" }), Refused),
        ],
    );
}

#[test]
fn optional_attributes_are_left_out() {
    judge(
        "a = \"a\"",
        "{ attribute = \"a\", optional = true }",
        vec![
            (json!({ "a": "x" }), Text("x")),
            (json!({}), Nothing),
            (json!({ "a": null }), Nothing),
            (json!({ "a": "" }), Nothing),
            (json!({ "a": true }), Refused),
            (json!({ "a": "a\nb" }), Refused),
            (json!({ "a": "a,b" }), Refused),
        ],
    );
}

#[test]
fn sets_are_joined_with_commas() {
    judge(
        "",
        "\"roles\"",
        vec![
            (json!({ "roles": ["a"] }), Text("a")),
            (json!({ "roles": ["a", "b"] }), Text("a,b")),
            (json!({ "roles": "a b" }), Text("a,b")),
            (json!({ "roles": ["a", "a"] }), Text("a")),
            (json!({ "roles": "a" }), Text("a")),
            (json!({ "roles": [] }), Nothing),
            (json!({ "roles": "" }), Nothing),
            (json!({}), Nothing),
            (json!({ "roles": ["a,b"] }), Refused),
            (json!({ "roles": ["a", "b,admin"] }), Refused),
            (json!({ "roles": ["a\nb"] }), Refused),
            (json!({ "roles": [" a"] }), Refused),
        ],
    );
}

#[test]
fn integers_are_integers_however_written() {
    judge(
        "a = { claim = \"a\", type = \"integer\" }",
        "\"a\"",
        vec![
            (json!({ "a": 12 }), Text("12")),
            (json!({ "a": "12" }), Text("12")),
            (json!({ "a": "-3" }), Text("-3")),
            (json!({ "a": "x" }), Refused),
            (json!({ "a": "1x" }), Refused),
            (json!({ "a": "1.0" }), Refused),
            (json!({ "a": 1.5 }), Refused),
            (json!({ "a": true }), Refused),
            (json!({ "a": " 1" }), Refused),
            (json!({ "a": "0x10" }), Refused),
        ],
    );
    judge(
        "a = { claim = \"a\", type = \"boolean\" }",
        "\"a\"",
        vec![
            (json!({ "a": true }), Text("true")),
            (json!({ "a": false }), Text("false")),
            (json!({ "a": "yes" }), Refused),
        ],
    );
}

#[test]
fn claims_are_found_by_name_by_pointer_and_as_a_union() {
    let namespaced = "https://api.example/customer_id";
    judge(
        &format!("a = {namespaced:?}"),
        "\"a\"",
        vec![
            (json!({ namespaced: "c-1" }), Text("c-1")),
            (json!({ "https:": { "": { "api.example": { "customer_id": "c-1" } } } }), Refused),
        ],
    );
    judge(
        "a = \"/org/id\"",
        "\"a\"",
        vec![
            (json!({ "org": { "id": 7 } }), Text("7")),
            (json!({ "/org/id": "x" }), Refused),
            (json!({ "org": "x" }), Refused),
        ],
    );
    judge("a = \"/a~1b/m~0n/1\"", "\"a\"", vec![(json!({ "a/b": { "m~n": ["x", "y"] } }), Text("y"))]);
    judge(
        "a = \"a.b\"",
        "\"a\"",
        vec![(json!({ "a.b": "x" }), Text("x")), (json!({ "a": { "b": "x" } }), Refused)],
    );
    judge(
        "roles = [\"/realm_access/roles\", \"/resource_access/app/roles\"]",
        "\"roles\"",
        vec![
            (
                json!({ "realm_access": { "roles": ["b"] }, "resource_access": { "app": { "roles": ["a"] } } }),
                Text("a,b"),
            ),
            (json!({ "realm_access": { "roles": ["b"] } }), Text("b")),
            (json!({ "roles": ["c"] }), Nothing),
        ],
    );
}

#[test]
fn prefixes_constants_and_what_is_built_in() {
    judge(
        "a = { claim = \"a\", strip_prefix = \"user:\" }",
        "\"a\"",
        vec![
            (json!({ "a": "user:7" }), Text("7")),
            (json!({ "a": "service:7" }), Refused),
            (json!({ "a": "7" }), Refused),
            (json!({ "a": "user:" }), Refused),
        ],
    );
    judge("a = { value = \"gold\" }", "\"a\"", vec![(json!({ "a": "iron" }), Text("gold"))]);
    judge("", "\"authenticator\"", vec![(json!({ "authenticator": "x" }), Text("main"))]);
    judge("", "\"auth_method\"", vec![(json!({ "auth_method": "x" }), Text("jwt"))]);
    judge(
        "a = { claim = \"a\", required = true }",
        "{ attribute = \"a\", optional = true }",
        vec![(json!({ "a": "x" }), Text("x")), (json!({}), Refused)],
    );
}

#[test]
fn scopes_have_two_names() {
    judge(
        "",
        "\"scopes\"",
        vec![
            (json!({ "scope": "b a" }), Text("a,b")),
            (json!({ "scp": ["b", "a"] }), Text("a,b")),
            (json!({ "scp": "a" }), Text("a")),
            (json!({}), Nothing),
        ],
    );
    for name in ["permissions", "capabilities"] {
        judge("", &format!("{name:?}"), vec![(json!({ name: ["x"] }), Text("x")), (json!({}), Nothing)]);
    }
}

#[test]
fn one_attribute_may_have_several_headers() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = Setup::guarded(&service, &idp).with("x-user-id = \"subject\"").start();
    get("/")
        .header("x_user_id", "forged")
        .bearer(&idp.token().build())
        .send(&gate)
        .expect(200, "two headers");
    let seen = service.only();
    assert_eq!((seen.header("x-customer-id"), seen.header("x-user-id")), (Some("user-1"), Some("user-1")));
}
