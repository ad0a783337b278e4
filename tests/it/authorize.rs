//! What they may do: roles, scopes, permissions, capabilities; who is let in at all.

use crate::support::client::Reply;
use crate::support::gate::Gate;
use crate::support::idp::Idp;
use crate::support::request::{ask, get};
use crate::support::service::Service;
use crate::support::setup::{IDENTITY, Setup};
use serde_json::{Value, json};

/// Asks with these claims.
#[track_caller]
fn asked(gate: &Gate, idp: &Idp, target: &str, claims: &Value) -> Reply {
    get(target).bearer(&idp.token().claims(claims.clone()).build()).send(gate)
}

/// A requirement, the reason when it lacks, claims that suffice and claims that do not.
type Requirement = (&'static str, &'static str, Vec<Value>, Vec<Value>);

fn requirements() -> Vec<Requirement> {
    let roles = |roles: &[&str]| json!({ "roles": roles });
    let permissions = |permissions: &[&str]| json!({ "permissions": permissions });
    let capabilities = |capabilities: &[&str]| json!({ "capabilities": capabilities });
    let scope = |scope: &str| json!({ "scope": scope });
    let none = || json!({});
    vec![
        (
            "roles = [\"a\", \"b\"]",
            "role_missing",
            vec![roles(&["a", "b"]), roles(&["c", "b", "a"]), json!({ "roles": "a b" })],
            vec![none(), roles(&["a"]), roles(&["A", "B"]), roles(&["ab"]), scope("a b")],
        ),
        (
            "scopes = [\"read:x\", \"write:x\"]",
            "scope_missing",
            vec![scope("read:x write:x"), json!({ "scp": ["write:x", "read:x"] })],
            vec![none(), scope("read:x"), scope("read:xx write:x"), roles(&["read:x", "write:x"])],
        ),
        (
            "permissions = [\"admin:delete\"]",
            "permission_missing",
            vec![permissions(&["admin:delete", "x"])],
            vec![none(), permissions(&["admin"]), permissions(&["admin:*"]), permissions(&[])],
        ),
        (
            "capabilities = [\"can.stream\"]",
            "capability_missing",
            vec![capabilities(&["can.stream"])],
            vec![none(), capabilities(&["can"]), json!({ "capabilities": null })],
        ),
        (
            "any_role = [\"admin\", \"editor\"]",
            "role_missing",
            vec![roles(&["admin"]), roles(&["x", "editor"])],
            vec![none(), roles(&["x"]), roles(&["administrator"])],
        ),
        ("any_scope = [\"a\", \"b\"]", "scope_missing", vec![scope("b")], vec![none(), scope("c")]),
        (
            "any_permission = [\"a\", \"b\"]",
            "permission_missing",
            vec![permissions(&["a"])],
            vec![none(), permissions(&["c"])],
        ),
        (
            "any_capability = [\"a\", \"b\"]",
            "capability_missing",
            vec![capabilities(&["a"])],
            vec![none(), capabilities(&["c"])],
        ),
        (
            "roles = [\"a\"]\nrequire.any_scope = [\"x\", \"y\"]",
            "scope_missing",
            vec![json!({ "roles": ["a"], "scope": "y" })],
            vec![roles(&["a"])],
        ),
    ]
}

#[test]
fn what_is_required_must_be_there() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let requirements = requirements();
    let with = |setup: Setup, (number, requirement): (usize, &Requirement)| {
        setup.route(&format!("/{number}"), &format!("require.{}", requirement.0))
    };
    let gate = requirements.iter().enumerate().fold(Setup::guarded(&service, &idp), with).start();
    let mut denied = Vec::new();
    for (number, (keys, reason, enough, lacking)) in requirements.iter().enumerate() {
        let path = format!("/{number}");
        for claims in enough {
            asked(&gate, &idp, &path, claims).expect(200, &format!("{keys} {claims}"));
        }
        let before = service.received();
        for claims in lacking {
            let case = format!("{keys} {claims}");
            let reply = asked(&gate, &idp, &path, claims).expect(403, &case);
            denied.push((case, *reason, reply));
        }
        get(&path).send(&gate).expect(401, "without a token it is 401, not 403");
        assert_eq!(service.received(), before, "{keys}");
    }
    for (case, reason, reply) in denied {
        assert_eq!(gate.reason(&reply), reason, "{case}");
    }
}

#[test]
fn the_answer_says_what_lacks() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = Setup::guarded(&service, &idp)
        .route("/scopes", "require.scopes = [\"read:x\", \"write:x\"]")
        .route("/roles", "require.roles = [\"admin\"]")
        .route("/capabilities", "require.capabilities = [\"can.a\", \"can.b\"]")
        .start();
    let token = idp.token().claim("scope", "read:x").build();
    let reply = get("/scopes").bearer(&token).send(&gate).expect(403, "scopes");
    let challenge = reply.header("www-authenticate").unwrap();
    assert!(
        challenge.starts_with("Bearer realm=\"") && challenge.contains("error=\"insufficient_scope\""),
        "{challenge}"
    );
    assert!(challenge.contains("scope=\"") && challenge.contains("write:x"), "{challenge}");
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    for (path, names) in [("/roles", ["admin"].as_slice()), ("/capabilities", &["can.a", "can.b"])] {
        let reply = get(path).bearer(&token).send(&gate).expect(403, path);
        let challenge = reply.header("www-authenticate").unwrap();
        assert!(
            challenge.contains("error=\"insufficient_scope\"") && !challenge.contains(" scope="),
            "{challenge}"
        );
        let detail = reply.json()["detail"].as_str().unwrap().to_owned();
        assert!(names.iter().all(|name| detail.contains(name)), "{path}: {detail}");
    }
    let entry = gate.access_to("/capabilities");
    assert_eq!((&entry["subject"], &entry["authenticator"]), (&json!("user-1"), &json!("main")));
    service.assert_untouched("all were refused");
}

#[test]
fn a_rule_adds_to_the_policy_or_starts_afresh() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = Setup::guarded(&service, &idp)
        .with("[policy.require]\nroles = [\"staff\"]\nany_scope = [\"a\", \"b\"]")
        .route("/adds", "require.roles = [\"admin\"]")
        .route("/narrows", "require.any_scope = [\"b\", \"c\"]")
        .route("/afresh", "require.inherit = false\nrequire.permissions = [\"p\"]")
        .route("/nothing", "require.inherit = false")
        .route("/as-it-is", "")
        .start();
    let cases = [
        ("/other", json!({ "roles": ["staff"], "scope": "a" }), 200),
        ("/other", json!({ "roles": ["staff"] }), 403),
        ("/other", json!({ "scope": "a" }), 403),
        ("/as-it-is", json!({ "roles": ["staff"], "scope": "a" }), 200),
        ("/as-it-is", json!({}), 403),
        ("/adds", json!({ "roles": ["staff", "admin"], "scope": "a" }), 200),
        ("/adds", json!({ "roles": ["admin"], "scope": "a" }), 403),
        ("/adds", json!({ "roles": ["staff"], "scope": "a" }), 403),
        ("/adds", json!({ "roles": ["staff", "admin"] }), 403),
        ("/narrows", json!({ "roles": ["staff"], "scope": "b" }), 200),
        ("/narrows", json!({ "roles": ["staff"], "scope": "a c" }), 200),
        ("/narrows", json!({ "roles": ["staff"], "scope": "a" }), 403),
        ("/narrows", json!({ "roles": ["staff"], "scope": "c" }), 403),
        ("/afresh", json!({ "permissions": ["p"] }), 200),
        ("/afresh", json!({ "roles": ["staff"], "scope": "a" }), 403),
        ("/nothing", json!({}), 200),
    ];
    for (target, claims, status) in cases {
        asked(&gate, &idp, target, &claims).expect(status, &format!("{target} {claims}"));
    }
}

#[test]
fn who_is_let_in() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = Setup::guarded(&service, &idp)
        .route("/public", "access = \"public\"")
        .route("/optional", "access = \"optional\"")
        .route("/deny", "access = \"deny\"")
        .route("/authenticated", "access = \"authenticated\"")
        .start();
    let good = idp.token().build();
    let bad = idp.token().expires_in(-60).build();
    for (target, nothing, with_good, with_bad, told) in [
        ("/public", 200, 200, 200, None),
        ("/optional", 200, 200, 401, Some("user-1")),
        ("/authenticated", 401, 200, 401, Some("user-1")),
        ("/other", 401, 200, 401, Some("user-1")),
        ("/deny", 403, 403, 403, None),
    ] {
        for (case, ask, status, told) in [
            ("nothing", get(target), nothing, None),
            ("a good token", get(target).bearer(&good), with_good, told),
            ("a bad token", get(target).bearer(&bad), with_bad, None),
            (
                "no token at all",
                get(target).header("Authorization", "Bearer"),
                if with_bad == 401 { 400 } else { with_bad },
                None,
            ),
        ] {
            let before = service.requests().len();
            ask.header("x-customer-id", "forged")
                .send(&gate)
                .expect(status, &format!("{target} with {case}"));
            let forwarded = service.requests().split_off(before);
            assert_eq!(forwarded.len(), usize::from(status == 200), "{target} with {case}");
            if let [request] = forwarded.as_slice() {
                assert_eq!(request.header("x-customer-id"), told, "{target} with {case}");
            }
        }
    }
    let reply = get("/deny").bearer(&good).send(&gate);
    assert_eq!(gate.reason(&reply), "route_denied");
}

#[test]
fn verdicts_are_not_remembered() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = Setup::guarded(&service, &idp)
        .route("/admin", "require.roles = [\"admin\"]")
        .route("/scoped", "require.scopes = [\"x\"]")
        .start();
    let token = idp.token().claim("roles", "user").claim("scope", "x").build();
    for _ in 0..3 {
        get("/").bearer(&token).send(&gate).expect(200, "the token is good");
        get("/admin").bearer(&token).send(&gate).expect(403, "but not for this");
        get("/scoped").bearer(&token).send(&gate).expect(200, "and for this");
    }
    assert!(
        gate.metric("token_cache_lookups_total", &[("result", "hit")]) > 0.5,
        "the same token is verified once"
    );
}

#[test]
fn a_token_that_was_good_expires_all_the_same() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let authenticator = format!("{}leeway = \"0s\"\n", idp.authenticator("main"));
    let gate = Setup::new(service.url()).with(&authenticator).start();
    let token = idp.token().expires_in(3).build();
    get("/").bearer(&token).send(&gate).expect(200, "yet");
    crate::support::wait::until_true("it expires", || get("/").bearer(&token).send(&gate).status == 401);
    let reply = get("/").bearer(&token).send(&gate);
    assert_eq!(gate.reason(&reply), "token_expired");
}

#[test]
fn a_rule_may_name_its_own_authenticators() {
    let service = Service::ok("");
    let (staff, customers) = (Idp::start(), Idp::start());
    let gate = Setup::new(service.url())
        .with(&staff.authenticator("staff"))
        .with(&customers.authenticator("customers"))
        .with(IDENTITY)
        .with("[policy]\nauthenticators = [\"customers\"]")
        .route("/staff", "authenticators = [\"staff\"]")
        .route("/all", "authenticators = [\"staff\", \"customers\"]")
        .start();
    for (target, by_staff, by_customers) in [("/", 401, 200), ("/staff", 200, 401), ("/all", 200, 200)] {
        get(target).bearer(&staff.token().build()).send(&gate).expect(by_staff, target);
        get(target).bearer(&customers.token().build()).send(&gate).expect(by_customers, target);
    }
}

#[test]
fn preflights_pass_without_a_credential_but_not_where_nobody_does() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = Setup::guarded(&service, &idp).route("/closed", "access = \"deny\"").start();
    let preflight = |target| {
        ask("OPTIONS", target)
            .header("Origin", "https://app.test")
            .header("Access-Control-Request-Method", "PUT")
    };
    preflight("/").header("x-customer-id", "forged").send(&gate).expect(200, "a preflight");
    assert_eq!(service.only().header("x-customer-id"), None, "identity headers are stripped all the same");
    for (case, ask) in [
        ("no origin", ask("OPTIONS", "/").header("Access-Control-Request-Method", "PUT")),
        ("no method asked about", ask("OPTIONS", "/").header("Origin", "https://app.test")),
        ("another method", get("/").header("Origin", "x").header("Access-Control-Request-Method", "PUT")),
        ("a body", preflight("/").body("{}")),
    ] {
        let reply = ask.send(&gate).expect(401, case);
        assert_eq!(gate.reason(&reply), "credential_missing", "{case}");
    }
    let reply = preflight("/closed").send(&gate).expect(403, "nobody");
    assert_eq!(gate.reason(&reply), "route_denied");
    service.only();
}

#[test]
fn quotas_must_suffice() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = Setup::new(service.url())
        .with(&idp.authenticator("main"))
        .with("[authenticators.main.claims]\nquotas = \"quotas\"\n")
        .with("[identity.headers]\nx-algos = \"quotas.quota.active_algos\"\n")
        .with("[policy.require]\nquotas = { \"quota.active_algos\" = 1 }")
        .route("/more", "require.quotas = { \"quota.active_algos\" = 5, reports = 1 }")
        .start();
    let quotas = |quotas: Value| json!({ "quotas": quotas });
    for (target, claims, status, told) in [
        ("/", quotas(json!({ "quota.active_algos": 1 })), 200, Some("1")),
        ("/", quotas(json!({ "quota.active_algos": 1.9 })), 200, Some("1")),
        ("/", quotas(json!({ "quota.active_algos": null })), 200, Some("unlimited")),
        ("/", quotas(json!({ "quota.active_algos": 0 })), 403, None),
        ("/", quotas(json!({ "quota.active_algos": -1 })), 403, None),
        ("/", quotas(json!({ "quota.active_algos": 0.5 })), 403, None),
        ("/", quotas(json!({})), 403, None),
        ("/", json!({}), 403, None),
        ("/", quotas(json!({ "quota.active_algos": "5" })), 401, None),
        ("/", quotas(json!([1])), 401, None),
        ("/more", quotas(json!({ "quota.active_algos": 5, "reports": 1 })), 200, Some("5")),
        ("/more", quotas(json!({ "quota.active_algos": 4, "reports": null })), 403, None),
        ("/more", quotas(json!({ "quota.active_algos": null })), 403, None),
    ] {
        let case = format!("{target} {claims}");
        let reply = asked(&gate, &idp, target, &claims).expect(status, &case);
        match status {
            200 => assert_eq!(service.last().header("x-algos"), told, "{case}"),
            403 => assert_eq!(gate.reason(&reply), "quota_too_low", "{case}"),
            _ => assert_eq!(gate.reason(&reply), "token_claim", "{case}"),
        }
    }
    let reply = asked(&gate, &idp, "/more", &quotas(json!({ "quota.active_algos": 2 })));
    assert_eq!(reply.json()["detail"], "Quota quota.active_algos=2 < required 5");
}
