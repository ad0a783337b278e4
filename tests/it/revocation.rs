//! Credentials that are ended before their time: by the endpoint, by issuers, by Redis; alone and with replicas.

mod faults;
mod logout;
mod shared;

use crate::support::authority::{Authority, Mode};
use crate::support::client::{Client, Reply};
use crate::support::gate::Gate;
use crate::support::idp::Idp;
use crate::support::keys::Key;
use crate::support::request::{Ask, ask, get};
use crate::support::service::Service;
use crate::support::setup::Setup;
use crate::support::tokens::{base64url, now};
use crate::support::wait;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::Duration;

/// What whoever revokes shows.
const SECRET: &str = "revocation-secret-0123456789";

fn sha256(value: &str) -> String {
    digest(&SHA256, value.as_bytes()).as_ref().iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

/// `[revocation]` with the endpoint and these attributes.
fn revocation(attributes: &str) -> String {
    format!("\n[revocation]\nattributes = [{attributes}]\ntoken_env = \"REVOCATION_TOKEN\"\n")
}

fn setup(service: &Service, idp: &Idp, attributes: &str) -> Setup {
    Setup::guarded(service, idp).with(&revocation(attributes)).env("REVOCATION_TOKEN", SECRET)
}

/// A request to the endpoint with the secret.
fn revoking(body: &Value) -> Ask {
    ask("POST", "/revocations").bearer(SECRET).body(body.to_string())
}

#[track_caller]
fn revoke(gate: &Gate, attribute: &str, value: &str) {
    let body = json!({ "attribute": attribute, "value": value, "until": now() + 300 });
    revoking(&body).send_admin(gate).expect(204, "revoked");
}

#[track_caller]
fn send(gate: &Gate, token: &str) -> Reply {
    get("/").bearer(token).send(gate)
}

#[track_caller]
fn assert_revoked(gate: &Gate, token: &str) {
    let reply = send(gate, token).expect(401, "revoked");
    assert_eq!(gate.reason(&reply), "token_revoked");
    let challenge = reply.header("www-authenticate").unwrap();
    assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
}

#[test]
fn a_revoked_session_ends_at_once_and_all_others_go_on() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = setup(&service, &idp, "\"jti\", \"sid\"").start();
    let token = |sid: &str, jti: &str| idp.token().claim("sid", sid).claim("jti", jti).build();
    let (one, same, other) = (token("s-1", "a"), token("s-1", "b"), token("s-2", "c"));
    for token in [&one, &same, &other] {
        send(&gate, token).expect(200, "good");
    }
    let before = service.requests().len();
    revoke(&gate, "sid", "s-1");
    // One that is known, one that was never seen, and one on a connection that is open already.
    for token in [&one, &same, &token("s-1", "d")] {
        assert_revoked(&gate, token);
    }
    send(&gate, &other).expect(200, "another session");
    revoke(&gate, "jti", "c");
    assert_revoked(&gate, &other);
    send(&gate, &token("s-2", "e")).expect(200, "another token of the same session");
    send(&gate, &idp.token().claim("jti", "s-1").build()).expect(200, "the value of another attribute");
    send(&gate, &idp.token().build()).expect(200, "a token without either");
    assert_eq!(service.requests().len(), before + 4, "nothing of a revoked session reached the service");
    assert!((gate.metric("revocations", &[]) - 2.0).abs() < 0.1);
    let printed = gate.log_lines().concat();
    assert!(printed.contains(&sha256("s-1")) && !printed.contains("\"s-1\""), "{printed}");
}

#[test]
fn whatever_the_credential_is_it_can_be_revoked() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let authority = Authority::start(Mode::good(&json!({ "active": true, "sub": "opaque" })));
    for (token, answer) in [
        ("o-1", json!({ "active": true, "sub": "opaque", "sid": 17 })),
        ("o-2", json!({ "active": true, "sub": "opaque-2", "sid": null })),
    ] {
        authority.on_question(token, 200, &answer);
    }
    let key =
        |id: &str, extra: &str| format!("[[keys]]\nid = \"{id}\"\nsha256 = \"{}\"\n{extra}\n", sha256(id));
    let keys = [
        key("k-1", "subject = \"bot-1\""),
        key("k-2", "subject = \"bot-2\""),
        key("k-3", "subject = \"bot-3\"\nteam = \"red\""),
    ];
    let gate = setup(&service, &idp, "\"sid\", \"sub\", \"token\", \"team\"")
        .with(&authority.introspection("opaque"))
        .with("credentials = [{ header = \"x-opaque\" }]")
        .with("\n[authenticators.keys]\nkind = \"api_key\"\nfile = \"keys.toml\"")
        .with("credentials = [{ header = \"x-key\" }]")
        .with("\n[authenticators.main.claims]\nteam = \"/org/team\"\n")
        .file("keys.toml", keys.concat())
        .env("INTROSPECTION_SECRET", "s3cret")
        .start();
    let opaque = |token: &str| get("/").header("x-opaque", token);
    let key = |key: &str| get("/").header("x-key", key);
    let jwt = |sub: &str, team: &str| {
        let token = idp.token().claim("sub", sub).claim("org", json!({ "team": team })).build();
        get("/").bearer(&token)
    };
    let cases = [
        ("a number", opaque("o-1"), "sid", "17"),
        ("the subject of an answer", opaque("o-2"), "sub", "opaque-2"),
        ("an opaque token itself", opaque("o-3"), "token", "o-3"),
        ("the subject of a key", key("k-1"), "sub", "bot-1"),
        ("a key itself", key("k-2"), "token", "k-2"),
        ("an attribute of a key", key("k-3"), "team", "red"),
        ("the subject of a token", jwt("u-1", "green"), "sub", "u-1"),
        ("an attribute that stands deeper", jwt("u-2", "blue"), "team", "blue"),
    ];
    for (case, request, attribute, value) in &cases {
        request.send(&gate).expect(200, case);
        revoke(&gate, attribute, value);
        let reply = request.send(&gate).expect(401, case);
        assert_eq!(gate.reason(&reply), "token_revoked", "{case}");
    }
    for (case, request) in [
        ("a token", jwt("u-3", "yellow")),
        ("an opaque token", opaque("o-4")),
        ("the first key", key("none")),
    ] {
        let status = request.send(&gate).status;
        assert_eq!(status, if case == "the first key" { 401 } else { 200 }, "{case}");
    }
}

#[test]
fn a_revocation_ends_when_it_says() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = setup(&service, &idp, "\"sid\"").start();
    let token = idp.token().claim("sid", "s-1").build();
    let until = now() + 2;
    let body = json!({ "attribute": "sid", "value": "s-1", "until": until });
    revoking(&body).send_admin(&gate).expect(204, "revoked");
    assert_revoked(&gate, &token);
    wait::until_true("the revocation ends", || send(&gate, &token).status == 200);
    assert!(now() >= until, "ended early");
    revoke(&gate, "sid", "s-1");
    assert_revoked(&gate, &token);
}

#[test]
fn a_token_with_another_signature_that_is_as_good_is_the_same_token() {
    let (service, idp) = (Service::ok(""), Idp::with(&[Key::p256()]));
    let gate = setup(&service, &idp, "\"token\"").start();
    let token = idp.token().build();
    let other = with_other_signature(&token);
    assert_ne!(token, other);
    send(&gate, &token).expect(200, "good");
    send(&gate, &other).expect(200, "as good: ECDSA has two signatures for each");
    revoke(&gate, "token", &token);
    assert_revoked(&gate, &token);
    assert_revoked(&gate, &other);
    let third = idp.token().claim("jti", "another").build();
    send(&gate, &third).expect(200, "another token");
    revoke(&gate, "token", &with_other_signature(&third));
    assert_revoked(&gate, &third);
}

/// The same token, with (r, n − s) in place of (r, s).
fn with_other_signature(token: &str) -> String {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
        0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut borrow = 0;
    for (place, digit) in signature[32..].iter_mut().enumerate().rev() {
        let difference = i32::from(ORDER[place]) - i32::from(*digit) - borrow;
        borrow = i32::from(difference < 0);
        *digit = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    format!("{signed}.{}", base64url(signature))
}

#[test]
fn the_endpoint_is_strict() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = setup(&service, &idp, "\"sid\"").start();
    let (good, later) = (sha256("x"), now() + 60);
    let wrong = [
        ("no object", json!([])),
        ("empty", json!({})),
        ("no value", json!({ "attribute": "sid", "until": later })),
        ("no end", json!({ "attribute": "sid", "value": "x" })),
        ("no attribute", json!({ "value": "x", "until": later })),
        ("another attribute", json!({ "attribute": "jti", "value": "x", "until": later })),
        ("our own attribute", json!({ "attribute": "logout", "value": "x", "until": later })),
        ("both", json!({ "attribute": "sid", "value": "x", "sha256": good, "until": later })),
        ("a short digest", json!({ "attribute": "sid", "sha256": "abc", "until": later })),
        ("an odd digest", json!({ "attribute": "sid", "sha256": "g".repeat(64), "until": later })),
        ("an empty value", json!({ "attribute": "sid", "value": "", "until": later })),
        ("a number", json!({ "attribute": "sid", "value": 1, "until": later })),
        ("null", json!({ "attribute": "sid", "value": null, "until": later })),
        ("the past", json!({ "attribute": "sid", "value": "x", "until": now() - 1 })),
        ("milliseconds", json!({ "attribute": "sid", "value": "x", "until": later * 1000 })),
        ("a fraction", json!({ "attribute": "sid", "value": "x", "until": 1.5 })),
        ("a date", json!({ "attribute": "sid", "value": "x", "until": "2999-01-01" })),
        ("unknown", json!({ "attribute": "sid", "value": "x", "until": later, "reason": "y" })),
    ];
    for (case, body) in wrong {
        let reply = revoking(&body).send_admin(&gate).expect(400, case);
        assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{case}");
        assert_eq!(reply.json()["status"], 400);
    }
    let twice = "{\"attribute\":\"sid\",\"value\":\"x\",\"value\":\"y\",\"until\":9}";
    ask("POST", "/revocations").bearer(SECRET).body(twice).send_admin(&gate).expect(400, "twice");
    let long = json!({ "attribute": "sid", "value": "x".repeat(17_000), "until": later });
    revoking(&long).send_admin(&gate).expect(413, "too long");
    let reply = ask("GET", "/revocations").bearer(SECRET).send_admin(&gate).expect(405, "GET");
    assert_eq!(reply.header("allow"), Some("POST"));
    assert!(gate.metric("revocations", &[]).abs() < 0.1, "none of it was taken");
    for until in [json!("2030-01-01T00:00:00Z"), json!("2030-01-01t02:30:00.5+02:30"), json!(later)] {
        let body = json!({ "attribute": "sid", "sha256": good.to_uppercase(), "until": until });
        revoking(&body).send_admin(&gate).expect(204, "good");
    }
    assert_revoked(&gate, &idp.token().claim("sid", "x").build());
}

#[test]
fn only_the_secret_opens_the_endpoint() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = setup(&service, &idp, "\"sid\"").start();
    let body = json!({ "attribute": "sid", "value": "x", "until": now() + 60 }).to_string();
    let without = || ask("POST", "/revocations").body(body.clone());
    let shorter = &SECRET[1..];
    let longer = format!("{SECRET}x");
    for (case, request) in [
        ("none", without()),
        ("wrong", without().bearer(shorter)),
        ("longer", without().bearer(&longer)),
        ("another scheme", without().header("Authorization", &format!("Basic {SECRET}"))),
        ("twice", without().bearer(SECRET).bearer(SECRET)),
        ("empty", without().bearer("")),
        ("a good token of a client", without().bearer(&idp.token().build())),
    ] {
        let reply = request.send_admin(&gate).expect(401, case);
        assert!(reply.header("www-authenticate").unwrap().starts_with("Bearer"), "{case}");
    }
    without().bearer(SECRET).send_admin(&gate).expect(204, "the secret");
    without().bearer(SECRET).send(&gate).expect(401, "not through the gate: it is no token there");
    let printed = gate.log_lines().concat();
    assert!(!printed.contains(SECRET), "{printed}");

    let closed = Setup::guarded(&service, &idp).with("\n[revocation]\n").start();
    without().bearer(SECRET).send_admin(&closed).expect(404, "there is no such endpoint");
    get("/revocations").send_admin(&closed).expect(404, "there is no such endpoint");
    let refused = setup(&service, &idp, "\"sid\"").env("REVOCATION_TOKEN", "short").refused();
    assert!(refused.text.contains("fewer than 16 bytes"), "{}", refused.text);
}

#[test]
fn what_is_revoked_stays_so_through_a_reload() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = setup(&service, &idp, "\"sid\"").start();
    let token = idp.token().claim("sid", "s-1").claim("jti", "j-1").build();
    send(&gate, &token).expect(200, "good");
    revoke(&gate, "sid", "s-1");
    assert_revoked(&gate, &token);
    let more = gate.setup.text().replace("[\"sid\"]", "[\"jti\", \"sid\"]");
    gate.setup.dir.write("config.toml", more);
    gate.signal("HUP");
    gate.wait_metric("config_reloads_total", &[("result", "success")], 1);
    assert_revoked(&gate, &token);
    let other = idp.token().claim("sid", "s-2").claim("jti", "j-2").build();
    send(&gate, &other).expect(200, "another session");
    revoke(&gate, "jti", "j-2");
    assert_revoked(&gate, &other);
    assert_revoked(&gate, &token);
}

#[test]
fn without_a_credential_nothing_is_asked_and_public_paths_stay_public() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = setup(&service, &idp, "\"sid\"")
        .route("/public", "access = \"public\"")
        .route("/optional", "access = \"optional\"")
        .start();
    let token = idp.token().claim("sid", "s-1").build();
    revoke(&gate, "sid", "s-1");
    get("/public").bearer(&token).send(&gate).expect(200, "nobody looks at it");
    assert_eq!(service.last().header("x-customer-id"), None);
    get("/optional").send(&gate).expect(200, "no credential");
    get("/optional").bearer(&token).send(&gate).expect(401, "a revoked one is not none");
    get("/").send(&gate).expect(401, "none where one is needed");
}

#[test]
fn a_body_that_does_not_come_holds_nobody_up() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = setup(&service, &idp, "\"sid\"").start();
    let mut slow = Client::connect(gate.admin());
    slow.send(format!(
        "POST /revocations HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {SECRET}\r\nContent-Length: 100\r\n\r\n{{"
    ));
    revoke(&gate, "sid", "s-1");
    slow.reply_to("POST").expect(408, "too slow");
    wait::throughout("the gate answers", Duration::from_millis(50), || {
        get("/livez").send_admin(&gate).status == 200
    });
}
