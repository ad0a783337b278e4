//! Credentials that a service of the user's own is asked about.

use crate::support::authority::{Authority, Mode};
use crate::support::client::Reply;
use crate::support::gate::Gate;
use crate::support::request::get;
use crate::support::service::Service;
use crate::support::setup::{IDENTITY, Setup};
use crate::support::tokens::now;
use crate::support::wait::until_true;
use serde_json::{Value, json};

fn profile() -> Value {
    json!({ "valid": true, "sub": "user-1", "roles": ["admin"], "local_user_id": 17 })
}

fn good() -> Authority {
    Authority::start(Mode::good(&profile()))
}

/// In front of this service, with the authenticator `session` and these keys of it.
fn setup(service: &Service, authority: &Authority, keys: &str) -> Setup {
    Setup::new(service.url()).with(&format!("{}{keys}\n", authority.remote("session"))).with(IDENTITY)
}

#[track_caller]
fn ask(gate: &Gate, token: &str) -> Reply {
    get("/").bearer(token).send(gate)
}

#[test]
fn the_credential_goes_along_and_the_answer_becomes_the_identity() {
    for (method, claims) in
        [("GET", ""), ("POST", "[authenticators.session.claims]\nsubject = \"local_user_id\"")]
    {
        let (service, authority) = (Service::ok(""), good());
        let gate = setup(&service, &authority, &format!("method = {method:?}\n{claims}"))
            .with("x-roles = \"roles\"\nx-method = \"auth_method\"")
            .with("[policy.require]\nroles = [\"admin\"]")
            .start();
        get("/").bearer("a.b-c").header("cookie", "private=1").send(&gate).expect(200, method);
        let request = authority.service().only();
        assert_eq!((request.method.as_str(), request.target.as_str()), (method, "/profile"));
        assert_eq!(request.header("authorization"), Some("Bearer a.b-c"));
        assert_eq!((request.header("cookie"), request.length), (None, 0), "nothing else goes along");
        assert_eq!(request.header("content-length"), (method == "POST").then_some("0"));
        let seen = service.only();
        let expected = if claims.is_empty() { "user-1" } else { "17" };
        assert_eq!(seen.header("x-customer-id"), Some(expected));
        assert_eq!(seen.header("x-roles"), Some("admin"));
        assert_eq!(seen.header("x-method"), Some("remote"));
        assert_eq!(seen.header("authorization"), Some("Bearer a.b-c"), "the service gets it too");
    }
}

#[test]
fn a_cookie_can_be_asked_about_and_kept_from_the_service() {
    let (service, authority) = (Service::ok(""), good());
    let keys = "credentials = [{ cookie = \"session\" }]\nstrip_credential = true";
    let gate = setup(&service, &authority, keys).start();
    get("/").header("cookie", "a=1; session=abc; b=2").send(&gate).expect(200, "cookie");
    assert_eq!(authority.service().only().header("authorization"), Some("Bearer abc"));
    assert_eq!(service.only().header("cookie"), Some("a=1; b=2"));
}

#[test]
fn verdicts() {
    let (service, authority) = (Service::ok(""), good());
    let gate = setup(&service, &authority, "").start();
    for (token, status, answer, outcome, reason) in [
        ("good", 200, json!({ "sub": "a" }), 200, "allowed"),
        ("valid", 200, json!({ "sub": "a", "valid": true, "exp": now() + 60 }), 200, "allowed"),
        ("invalid", 200, json!({ "sub": "a", "valid": false }), 401, "token_inactive"),
        ("inactive", 200, json!({ "sub": "a", "active": false }), 401, "token_inactive"),
        ("odd", 200, json!({ "sub": "a", "valid": "true" }), 401, "token_inactive"),
        ("over", 200, json!({ "sub": "a", "exp": now() - 1 }), 401, "token_expired"),
        ("nobody", 200, json!({ "valid": true }), 401, "token_claim"),
        ("unauthorized", 401, json!({ "sub": "a" }), 401, "token_inactive"),
        ("forbidden", 403, json!({ "sub": "a" }), 401, "token_inactive"),
        ("unknown", 404, json!({ "sub": "a" }), 401, "token_inactive"),
        ("teapot", 418, json!({ "sub": "a" }), 503, "authority_unavailable"),
        ("created", 201, json!({ "sub": "a" }), 503, "authority_unavailable"),
        ("failing", 500, json!({ "sub": "a" }), 503, "authority_unavailable"),
    ] {
        let before = service.received();
        authority.on_question(token, status, &answer);
        let reply = ask(&gate, token).expect(outcome, token);
        assert_eq!(gate.reason(&reply), reason, "{token}");
        assert_eq!(reply.header("retry-after").is_some(), outcome == 503, "{token}");
        assert!(outcome == 200 || service.received() == before, "{token} reached the service");
    }
}

#[test]
fn no_outage_lets_anybody_in() {
    for mode in Mode::outages(&profile()) {
        let case = format!("{mode:?}").chars().take(60).collect::<String>();
        let (service, authority) = (Service::ok(""), Authority::start(mode));
        let gate =
            setup(&service, &authority, "timeout = \"300ms\"").route("/open", "access = \"public\"").start();
        let reply = ask(&gate, "t").expect(503, &case);
        assert!(reply.header("retry-after").is_some(), "{case}");
        assert_eq!(gate.reason(&reply), "authority_unavailable", "{case}");
        service.assert_untouched(&case);
        // One that hangs up is asked once more: it may have closed a connection that nobody used.
        let asked = if case == "Down" { 2 } else { 1 };
        assert_eq!(authority.service().targets(), vec!["/profile"; asked], "{case}");
        get("/open").send(&gate).expect(200, &case);
    }
}

#[test]
fn answers_are_kept_for_the_ttl_and_tokens_do_not_share_them() {
    let (service, authority) = (Service::ok(""), good());
    let gate = setup(&service, &authority, "ttl = \"1s\"").start();
    authority.on_question("other", 401, &json!({}));
    ask(&gate, "t").expect(200, "good");
    ask(&gate, "other").expect(401, "another token");
    ask(&gate, "t").expect(200, "kept");
    authority.on_question("t", 401, &json!({}));
    until_true("the answer is believed no longer", || ask(&gate, "t").status == 401);
    assert_eq!(authority.questions().iter().filter(|asked| *asked == "t").count(), 2);
}

#[test]
fn two_authorities_that_read_one_place_are_an_error() {
    let (service, authority) = (Service::ok(""), good());
    let both = |rest: &str| setup(&service, &authority, "").with(&authority.remote("second")).with(rest);
    let refusal = both("").refused();
    assert_eq!(refusal.code, Some(78));
    assert!(refusal.text.contains("session and second both judge the tokens of one place"), "{refusal:?}");
    let gate =
        both("[policy]\nauthenticators = [\"second\"]").route("/s", "authenticators = [\"session\"]").start();
    ask(&gate, "t").expect(200, "one here");
    get("/s").bearer("t").send(&gate).expect(200, "the other there");
    assert_eq!(authority.questions(), ["t", "t"], "neither knows what the other was told");
}
