//! Expressions: data isolation by path parameter, claims, quotas; on real sockets, with WebSockets.

use crate::support::client::Reply;
use crate::support::frames::{Socket, echo, handshake};
use crate::support::gate::Gate;
use crate::support::idp::Idp;
use crate::support::request::{ask, get};
use crate::support::service::Service;
use crate::support::setup::{PUBLIC, Setup};
use serde_json::{Value, json};

const OWN: &str = "path.gaveur_id == string(identity.gaveur_id)";

/// The farm management system: whoever has a `gaveur_id` sees their own data, admin and superviseur see all.
fn farms(service: &Service, idp: &Idp) -> Setup {
    let authenticator = format!(
        "{}claims.roles = \"/realm_access/roles\"\nclaims.gaveur_id = {{ claim = \"gaveur_id\", type = \"integer\" }}\n",
        idp.authenticator("keycloak")
    );
    let isolated = format!(
        "require.expression = '{OWN} || \"admin\" in identity.roles || \"superviseur\" in identity.roles'"
    );
    Setup::new(service.url())
        .with(&authenticator)
        .with("[identity.headers]\nx-gaveur-id = { attribute = \"gaveur_id\", optional = true }")
        .route("/api/gaveurs/{gaveur_id}", &isolated)
        .route("/api/gaveurs/{gaveur_id}/**", &isolated)
        .route("/ws/gaveur/{gaveur_id}", &isolated)
}

fn gaveur(idp: &Idp, id: i64) -> String {
    idp.token().claims(json!({ "gaveur_id": id, "realm_access": { "roles": ["gaveur"] } })).build()
}

fn role(idp: &Idp, role: &str) -> String {
    idp.token().claims(json!({ "realm_access": { "roles": [role] } })).build()
}

#[track_caller]
fn refused(gate: &Gate, reply: Reply, case: &str) {
    let reply = reply.expect(403, case);
    assert_eq!(gate.reason(&reply), "expression_false", "{case}");
}

#[test]
fn everybody_sees_their_own_data_and_some_see_all() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = farms(&service, &idp).start();
    let own = gaveur(&idp, 1);
    for target in ["/api/gaveurs/1", "/api/gaveurs/%31", "/api/gaveurs/1/", "/api/gaveurs/1/lots?gaveur_id=2"]
    {
        get(target).bearer(&own).send(&gate).expect(200, target);
    }
    for name in ["admin", "superviseur"] {
        get("/api/gaveurs/7/lots").bearer(&role(&idp, name)).send(&gate).expect(200, name);
    }
    let before = service.received();
    for target in [
        "/api/gaveurs/2",
        "/api/gaveurs/%32",
        "/api/gaveurs/11",
        "/api/gaveurs/01",
        "/api/gaveurs/+1",
        "/api/gaveurs/1.0",
        "/api/gaveurs/%2531",
        "/api/gaveurs/1%20",
        "/api/gaveurs/1%00",
        "/api/gaveurs/%EF%BC%91",
        "/api/gaveurs/%ff",
        "/api/gaveurs/2/lots?gaveur_id=1",
        "/api/gaveurs/2/../1x",
    ] {
        let reply = get(target).bearer(&own).header("X-Gaveur-Id", "2").send(&gate);
        assert!(matches!(reply.status, 400 | 403), "{target}: {}", reply.status);
    }
    for target in ["/api/gaveurs/1/../2", "/api/gaveurs/1%2F..%2F2", "/api/gaveurs/2;/1", "/api/gaveurs/1;x"]
    {
        let reply = get(target).bearer(&own).send(&gate);
        assert!(matches!(reply.status, 400 | 403), "{target}: {}", reply.status);
    }
    refused(&gate, get("/api/gaveurs/7").bearer(&role(&idp, "gaveur")).send(&gate), "neither id nor role");
    refused(&gate, get("/api/gaveurs/1").bearer(&role(&idp, "Admin")).send(&gate), "another role");
    refused(&gate, ask("DELETE", "/api/gaveurs/2").bearer(&own).send(&gate), "another method");
    get("/api/gaveurs/1").send(&gate).expect(401, "nobody");
    assert_eq!(service.received(), before, "nothing of that came through");
}

#[test]
fn websockets_are_isolated_in_the_same_way() {
    let (service, idp) = (Service::start(echo), Idp::start());
    let gate = farms(&service, &idp).start();
    let own = gaveur(&idp, 1);
    Socket::open(&gate, &handshake("/ws/gaveur/1").bearer(&own)).echo("own");
    Socket::open(&gate, &handshake("/ws/gaveur/%31").bearer(&own)).echo("own, escaped");
    Socket::open(&gate, &handshake("/ws/gaveur/9").bearer(&role(&idp, "admin"))).echo("all");
    let before = service.received();
    refused(&gate, handshake("/ws/gaveur/2").bearer(&own).send(&gate), "another's");
    refused(&gate, handshake("/ws/gaveur/%32").bearer(&own).send(&gate), "another's, escaped");
    handshake("/ws/gaveur/1").send(&gate).expect(401, "nobody");
    assert_eq!(service.received(), before);
}

#[test]
fn an_id_that_the_service_decodes_is_the_one_that_was_judged() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = farms(&service, &idp).start();
    get("/api/gaveurs/%31").bearer(&gaveur(&idp, 1)).send(&gate).expect(200, "escaped");
    assert_eq!(service.only().target, "/api/gaveurs/1");
}

#[test]
fn claims_are_looked_at_as_they_stand_in_the_token() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = Setup::guarded(&service, &idp)
        .route("/plan", "require.expression = 'claims[\"https://a.example/plan\"].name == \"pro\"'")
        .route(
            "/accounts/{id}",
            "require.expression = 'claims.accounts.exists(x, x.id == path.id && \"read\" in x.rights)'",
        )
        .start();
    let plan = |name: &str| idp.token().claims(json!({ "https://a.example/plan": { "name": name } })).build();
    let pro = plan("pro");
    for round in ["new", "known"] {
        get("/plan").bearer(&pro).send(&gate).expect(200, round);
    }
    refused(&gate, get("/plan").bearer(&plan("free")).send(&gate), "another plan");
    refused(&gate, get("/plan").bearer(&idp.token().build()).send(&gate), "no plan");
    let accounts = json!([{ "id": "a", "rights": ["read"] }, { "id": "b", "rights": [] }, 7, null]);
    let token = idp.token().claims(json!({ "accounts": accounts })).build();
    get("/accounts/a").bearer(&token).send(&gate).expect(200, "an account");
    refused(&gate, get("/accounts/b").bearer(&token).send(&gate), "without the right");
    refused(&gate, get("/accounts/c").bearer(&token).send(&gate), "none at all");
}

#[test]
fn the_log_says_why_without_any_value() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = Setup::guarded(&service, &idp)
        .route("/a", "require.expression = 'int(claims.plan) + identity.subject == 1'")
        .start();
    let token = idp.token().claims(json!({ "plan": "hunter2", "sub": "hunter2" })).build();
    let reply = get("/a").bearer(&token).send(&gate);
    let text = reply.text();
    assert!(!text.contains("hunter2") && text.contains("does not satisfy"), "{text}");
    refused(&gate, reply, "an expression without a value");
    let log: Vec<Value> =
        gate.log().into_iter().filter(|line| line["reason"] == "expression_false").collect();
    let [line] = log.as_slice() else { panic!("{log:?}") };
    assert!(line.to_string().contains("the expression has no value: int failed"), "{line}");
    // The subject is the only thing of the token that the log has.
    assert_eq!(line.to_string().matches("hunter2").count(), 1, "{line}");
}

#[test]
fn the_policy_s_expression_holds_everywhere_and_with_the_route_s() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = Setup::guarded(&service, &idp)
        .with("[policy]\nrequire.expression = '\"staff\" in identity.roles'")
        .route("/both/{id}", "require.expression = 'path.id == identity.subject'")
        .route("/own/{id}", "require.inherit = false\nrequire.expression = 'path.id == identity.subject'")
        .route("/hello", "access = \"optional\"")
        .start();
    let token = |roles: &[&str]| idp.token().claims(json!({ "roles": roles })).build();
    let (staff, other) = (token(&["staff"]), token(&["other"]));
    for (target, token, status) in [
        ("/anywhere", &staff, 200),
        ("/anywhere", &other, 403),
        ("/both/user-1", &staff, 200),
        ("/both/user-1", &other, 403),
        ("/both/user-2", &staff, 403),
        ("/own/user-1", &other, 200),
        ("/own/user-2", &staff, 403),
        ("/hello", &other, 403),
        ("/hello", &staff, 200),
    ] {
        get(target).bearer(token).send(&gate).expect(status, target);
    }
    let reply = get("/hello").send(&gate).expect(401, "what is required cannot be had without an identity");
    assert_eq!(gate.reason(&reply), "credential_missing");
}

#[test]
fn a_request_is_what_it_is_and_not_what_it_says_of_itself() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let expression =
        "request.method in ['GET', 'HEAD'] && request.host == 'api.example' && request.client == '127.0.0.1'";
    let gate = Setup::guarded(&service, &idp)
        .route("/r/**", &format!("require.expression = \"{expression}\""))
        .start();
    let token = idp.token().build();
    get("/r/x").bearer(&token).host("API.example:80").send(&gate).expect(200, "as required");
    refused(&gate, get("/r/x").bearer(&token).host("other.example").send(&gate), "another host");
    let post = ask("POST", "/r/x").bearer(&token).host("api.example").header("X-HTTP-Method-Override", "GET");
    refused(&gate, post.body("").send(&gate), "another method");
    let forwarded = get("/r/x").bearer(&token).host("api.example").header("X-Forwarded-For", "192.0.2.1");
    forwarded.send(&gate).expect(200, "whoever is not trusted cannot say where they are");
}

#[test]
fn an_expression_that_cannot_hold_does_not_start() {
    let service = Service::ok("");
    let setup = Setup::new(service.url())
        .with(PUBLIC)
        .route("/a/{id}", "access = \"authenticated\"\nrequire.expression = 'path.idd == 1'");
    let refusal = format!("{:?}", setup.refused());
    assert!(refusal.contains("routes[0].require.expression") && refusal.contains("never equal"), "{refusal}");
}
