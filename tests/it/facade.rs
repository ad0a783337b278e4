//! The facade: answers for in-app middleware, on loopback.

use crate::support::client::{Client, Reply};
use crate::support::gate::Gate;
use crate::support::idp::{Idp, Mode};
use crate::support::request::{Ask, ask, get};
use crate::support::service::Service;
use crate::support::setup::Setup;
use serde_json::{Value, json};

const FACADE: &str = "\n[facade]\nlisten = \"127.0.0.1:0\"\n";

fn setup(service: &Service, idp: &Idp, facade: &str) -> Setup {
    Setup::guarded(service, idp)
        .with("[authenticators.main.claims]\ncustomer_id = \"cid\"\nemail = \"email\"\n")
        .with(FACADE)
        .with(facade)
}

/// Sends a request to the facade.
#[track_caller]
fn send(gate: &Gate, ask: Ask) -> Reply {
    let line = gate.log().into_iter().find(|line| line["facade"].is_string());
    let address = line.expect("it says where it listens")["facade"].as_str().unwrap().to_owned();
    ask.host(&address).on(&mut Client::connect(&address))
}

#[track_caller]
fn json(reply: &Reply) -> Value {
    serde_json::from_str(&reply.text()).unwrap()
}

#[test]
fn a_token_is_validated_with_what_it_stands_for() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let rules = "[facade.validate]\nauth0_sub = \"subject\"\nlocal_user_id = \"customer_id\"\n\
        email = { attribute = \"email\", optional = true }\nroles = \"roles\"\n";
    let gate = setup(&service, &idp, rules).start();
    let token = idp.token().claims(json!({ "cid": 42, "roles": ["b", "a"] }));
    let reply = send(&gate, ask("POST", "/auth/validate").bearer(&token.build())).expect(200, "good");
    let wanted = json!({
        "valid": true, "auth0_sub": "user-1", "local_user_id": 42, "email": null, "roles": ["a", "b"],
    });
    assert_eq!(json(&reply), wanted);
    let nobody = idp.token().build();
    let reply = send(&gate, ask("POST", "/auth/validate").bearer(&nobody)).expect(404, "no local user");
    assert_eq!(json(&reply)["code"], "attribute_missing");
    service.assert_untouched("the service is not asked");
}

#[test]
fn every_attribute_is_told_by_default() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = setup(&service, &idp, "").start();
    let token = idp.token().claims(json!({ "cid": "c-1" })).build();
    let answer = json(&send(&gate, ask("POST", "/auth/validate").bearer(&token)).expect(200, "good"));
    assert_eq!((&answer["valid"], &answer["customer_id"]), (&true.into(), &"c-1".into()));
    assert_eq!((&answer["authenticator"], &answer["auth_method"]), (&"main".into(), &"jwt".into()));
}

#[test]
fn what_the_gate_refuses_is_not_valid_here() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = setup(&service, &idp, "").start();
    let post = || ask("POST", "/auth/validate");
    let token = idp.token();
    for (case, ask, status, code) in [
        ("nobody", post(), 401, "credential_missing"),
        ("expired", post().bearer(&token.clone().expires_in(-60).build()), 401, "token_expired"),
        ("twice", post().bearer("a").bearer("b"), 400, "credential_repeated"),
        ("method", get("/auth/validate"), 405, "method_refused"),
        ("path", get("/"), 404, "not_found"),
        ("no entitlements", get("/entitlements/resolve?customer_id=1"), 404, "not_found"),
    ] {
        let reply = send(&gate, ask).expect(status, case);
        assert_eq!(json(&reply)["code"], code, "{case}");
    }
}

#[test]
fn an_issuer_that_is_away_is_no_refusal() {
    let (service, idp) = (Service::ok(""), Idp::start());
    idp.mode(Mode::Down);
    let gate = setup(&service, &idp, "").start_unready();
    let reply = send(&gate, ask("POST", "/auth/validate").bearer(&idp.token().build()));
    let reply = reply.expect(503, "never 401");
    assert_eq!(reply.header("retry-after"), Some("1"));
}

#[test]
fn pages_in_a_browser_are_kept_out() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = setup(&service, &idp, "").start();
    let line = gate.log().into_iter().find(|line| line["facade"].is_string()).unwrap();
    let address = line["facade"].as_str().unwrap().to_owned();
    let token = idp.token().build();
    for (host, status) in
        [("evil.example", 403), ("127.0.0.1.evil.example", 403), ("localhost:1", 200), ("[::1]", 200)]
    {
        let ask = ask("POST", "/auth/validate").bearer(&token).host(host);
        ask.on(&mut Client::connect(&address)).expect(status, host);
    }
}

#[test]
fn members_have_names_of_their_own() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let refusal = setup(&service, &idp, "[facade.validate]\nvalid = \"subject\"\n").refused();
    assert_eq!(refusal.code, Some(78));
    assert!(refusal.text.contains("facade.validate.valid"), "{}", refusal.text);
}

#[test]
fn only_loopback_addresses_will_do() {
    let (service, idp) = (Service::ok(""), Idp::start());
    for listen in ["0.0.0.0:9091", "localhost:9091", "192.0.2.1:9091", "9091"] {
        let refusal =
            Setup::guarded(&service, &idp).with(&format!("\n[facade]\nlisten = {listen:?}\n")).refused();
        assert_eq!(refusal.code, Some(78), "{listen}");
        assert!(refusal.text.contains("facade.listen"), "{}", refusal.text);
    }
}
