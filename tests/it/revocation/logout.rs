//! OpenID Connect Back-Channel Logout 1.0.

use super::{assert_revoked, send};
use crate::support::client::Reply;
use crate::support::gate::Gate;
use crate::support::idp::{Idp, Mode};
use crate::support::keys::Key;
use crate::support::request::ask;
use crate::support::service::Service;
use crate::support::setup::Setup;
use crate::support::tokens::{Token, now};
use serde_json::json;

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// A logout token as §2.4 has it, for the client `app`; neither session nor subject.
pub(super) fn logout(idp: &Idp, id: &str) -> Token {
    Token::bare(&idp.key).header("typ", "logout+jwt").claims(json!({
        "iss": idp.issuer(), "aud": "app", "iat": now(), "exp": now() + 120, "jti": id, "events": { EVENT: {} },
    }))
}

pub(super) fn post(gate: &Gate, token: &str) -> Reply {
    let form = format!("state=x&logout_token={token}");
    let kind = "application/x-www-form-urlencoded;charset=UTF-8";
    ask("POST", "/backchannel-logout").header("Content-Type", kind).body(form).send_admin(gate)
}

fn gate(service: &Service, idp: &Idp) -> Gate {
    Setup::guarded(service, idp).with("\n[revocation]\nlogout_audience = \"app\"\n").start()
}

#[test]
fn a_session_ends_when_its_issuer_says_so() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = gate(&service, &idp);
    let of = |sid: &str| idp.token().claim("sid", sid).build();
    let (one, other) = (of("s-1"), of("s-2"));
    send(&gate, &one).expect(200, "good");
    let reply = post(&gate, &logout(&idp, "1").claim("sid", "s-1").claim("sub", "user-1").build());
    let reply = reply.expect(200, "logged out");
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_revoked(&gate, &one);
    assert_revoked(&gate, &idp.token().claim("sid", "s-1").claim("iat", now() + 5).build());
    send(&gate, &other).expect(200, "another session of the same person");
    let printed = gate.log_lines().concat();
    assert!(!printed.contains("s-1"), "{printed}");
}

#[test]
fn a_person_who_is_logged_out_may_come_back() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = gate(&service, &idp);
    let of = |sub: &str, issued: i64| idp.token().claim("sub", sub).claim("iat", issued).build();
    let at = now() - 30;
    let (before, then, after) = (of("u-1", at - 10), of("u-1", at), of("u-1", at + 1));
    for token in [&before, &then, &after] {
        send(&gate, token).expect(200, "good");
    }
    let token = logout(&idp, "1").claim("iat", at).claim("sub", "u-1").build();
    post(&gate, &token).expect(200, "logged out");
    assert_revoked(&gate, &before);
    assert_revoked(&gate, &then);
    assert_revoked(&gate, &idp.token().claim("sub", "u-1").without("iat").build());
    send(&gate, &after).expect(200, "came back");
    send(&gate, &of("u-2", at - 10)).expect(200, "another person");
    // The same once more, from later on: what came back goes again.
    post(&gate, &logout(&idp, "2").claim("sub", "u-1").build()).expect(200, "logged out again");
    assert_revoked(&gate, &after);
    send(&gate, &of("u-1", now() + 2)).expect(200, "came back again");
}

#[test]
fn nothing_else_is_a_logout_token() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = gate(&service, &idp);
    let good = |id: &str| logout(&idp, id).claim("sid", "s-1");
    let event = |events| good("x").claim("events", events);
    let cases = [
        ("an access token", idp.token().claim("sid", "s-1")),
        ("another type", good("a").header("typ", "at+jwt")),
        ("another key", good("b").forged_with(&Key::rsa_other())),
        ("no algorithm", good("c").header("alg", "none")),
        ("another issuer", good("d").claim("iss", "https://other.test/")),
        ("no issuer", good("e").without("iss")),
        ("the audience of access tokens", good("f").claim("aud", "api")),
        ("no audience", good("g").without("aud")),
        ("not issued", good("h").without("iat")),
        ("issued in the future", good("i").claim("iat", now() + 120)),
        ("over", good("j").claim("exp", now() - 60)),
        ("old and without an end", good("k").without("exp").claim("iat", now() - 3600)),
        ("no id", good("l").without("jti")),
        ("no events", good("m").without("events")),
        ("another event", event(json!({ "http://schemas.openid.net/event/other": {} }))),
        ("an event that is no object", event(json!({ EVENT: true }))),
        ("events that are a list", event(json!([EVENT]))),
        ("a nonce", good("n").claim("nonce", "1")),
        ("nobody", logout(&idp, "o")),
        ("a session that is no text", logout(&idp, "p").claim("sid", 1)),
        ("an empty session", logout(&idp, "q").claim("sid", "")),
    ];
    for (case, token) in cases {
        let reply = post(&gate, &token.build()).expect(400, case);
        assert_eq!(reply.json()["error"], "invalid_request", "{case}");
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{case}");
    }
    let token = good("r").build();
    let form = "application/x-www-form-urlencoded";
    for (case, kind, body) in [
        ("another type", "application/json", format!("logout_token={token}")),
        ("no token", form, "logout=x".to_owned()),
        ("two tokens", form, format!("logout_token={token}&logout_token={token}")),
        ("no form", form, token.clone()),
    ] {
        let request = ask("POST", "/backchannel-logout").header("Content-Type", kind).body(body);
        request.send_admin(&gate).expect(400, case);
    }
    ask("GET", &format!("/backchannel-logout?logout_token={token}")).send_admin(&gate).expect(405, "GET");
    send(&gate, &idp.token().claim("sid", "s-1").build()).expect(200, "nothing was logged out");
    post(&gate, &token).expect(200, "this one is good");
    post(&gate, &token).expect(400, "but only once");
    post(&gate, &good("s").without("exp").header("typ", "JWT").build()).expect(200, "older issuers");
    assert_revoked(&gate, &idp.token().claim("sid", "s-1").build());
    send(&gate, &token).expect(401, "and it is no credential");
}

#[test]
fn an_issuer_ends_nothing_of_another() {
    let (service, idp, other) = (Service::ok(""), Idp::start(), Idp::with(&[Key::rsa_other()]));
    let gate = Setup::guarded(&service, &idp)
        .with(&other.authenticator("other"))
        .with("\n[revocation]\nlogout_audience = \"app\"\n")
        .start();
    let ours = idp.token().claim("sid", "s-1").build();
    let theirs = other.token().claim("sid", "s-1").build();
    post(&gate, &logout(&other, "1").claim("sid", "s-1").build()).expect(200, "theirs");
    assert_revoked(&gate, &theirs);
    send(&gate, &ours).expect(200, "ours");
    let forged = logout(&other, "2").claim("iss", idp.issuer()).claim("sid", "s-1").build();
    post(&gate, &forged).expect(400, "their key, our name");
    send(&gate, &ours).expect(200, "ours");
}

#[test]
fn authenticators_of_one_issuer_are_told_by_audience() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let second = idp.authenticator("second").replace("\"api\"", "\"app\"");
    let gate = Setup::guarded(&service, &idp).with(&second).with("\n[revocation]\n").start();
    post(&gate, &logout(&idp, "1").claim("sid", "s-1").build()).expect(200, "the second one's");
    assert_revoked(&gate, &idp.token().claim("sid", "s-1").build());
    post(&gate, &logout(&idp, "2").claim("aud", "third").claim("sid", "s-1").build()).expect(400, "nobody's");
}

#[test]
fn without_keys_the_issuer_is_asked_to_try_again_and_new_keys_are_found() {
    let (service, idp) = (Service::ok(""), Idp::start());
    idp.mode(Mode::Failing);
    let gate =
        Setup::guarded(&service, &idp).with("\n[revocation]\nlogout_audience = \"app\"\n").start_unready();
    let token = logout(&idp, "1").claim("sid", "s-1").build();
    let reply = post(&gate, &token).expect(503, "no keys");
    assert!(reply.header("retry-after").is_some());
    idp.mode(Mode::Good);
    gate.wait_ready();
    post(&gate, &token).expect(200, "now there are");
    assert_revoked(&gate, &idp.token().claim("sid", "s-1").build());
}

#[test]
fn there_is_no_endpoint_where_no_logout_token_could_be_told() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = Setup::guarded(&service, &idp).start();
    post(&gate, "x").expect(404, "no [revocation]");
    let open =
        format!("\n[authenticators.main]\nkind = \"jwt\"\nissuer = {:?}\n[revocation]\n", idp.issuer());
    let gate = Setup::new(service.url()).with(&open).start();
    post(&gate, "x").expect(404, "no audience");
}
