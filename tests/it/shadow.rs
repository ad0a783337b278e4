//! Shadow mode: what would be denied is recorded and passes all the same, and the service's own verdict stands beside ours.

use crate::support::client::Reply;
use crate::support::frames::{Socket, echo, handshake};
use crate::support::gate::Gate;
use crate::support::idp::{Idp, Mode};
use crate::support::request::{ask, get};
use crate::support::service::Service;
use crate::support::setup::Setup;
use serde_json::json;

/// A service with in-app checks of its own: 403 under `/strict`, 401 under `/login`.
fn service() -> Service {
    Service::start(|exchange| match exchange.target() {
        target if target.starts_with("/strict") => {
            exchange.reply(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        }
        target if target.starts_with("/login") => {
            exchange.reply(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
        }
        _ => exchange.ok("ok"),
    })
}

fn setup(service: &Service, idp: &Idp) -> Setup {
    let policy = "\n[policy]\nmode = \"shadow\"\n[policy.require]\nroles = [\"user\"]\n";
    Setup::guarded(service, idp)
        .with(policy)
        .route("/closed", "access = \"deny\"")
        .route("/enforced", "mode = \"enforce\"")
        .route("/ws", "websocket.allowed_origins = [\"https://app.example\"]")
}

#[track_caller]
fn decided(gate: &Gate, reply: &Reply, decision: &str, reason: &str) {
    let line = gate.access(reply);
    assert_eq!((&line["decision"], &line["reason"]), (&decision.into(), &reason.into()), "{line}");
}

#[test]
fn what_would_be_denied_passes_and_is_recorded() {
    let (service, idp) = (service(), Idp::start());
    let gate = setup(&service, &idp).start();
    let good = idp.token().claim("roles", json!(["user"])).build();
    let poor = idp.token().build();
    let expired = idp.token().expires_in(-60).build();
    for (case, request, reason) in [
        ("nobody", get("/a"), "credential_missing"),
        ("poor", get("/a").bearer(&poor), "role_missing"),
        ("expired", get("/a").bearer(&expired), "token_expired"),
        ("twice", get("/a").bearer(&good).bearer(&good), "credential_repeated"),
        ("closed", get("/closed").bearer(&good), "route_denied"),
    ] {
        let reply = request.header("X-Customer-Id", "evil").send(&gate).expect(200, case);
        decided(&gate, &reply, "would_deny", reason);
        let told = service.last().header("x-customer-id").map(str::to_owned);
        let known = (case == "poor").then(|| "user-1".to_owned());
        assert_eq!(
            told, known,
            "{case}: set only after successful authentication, and never the client's own"
        );
    }
    let reply = get("/a").bearer(&good).send(&gate).expect(200, "good");
    decided(&gate, &reply, "allow", "allowed");
    gate.wait_metric("decisions_total", &[("decision", "would_deny"), ("reason", "role_missing")], 1);
}

#[test]
fn both_verdicts_are_compared() {
    let (service, idp) = (service(), Idp::start());
    let gate = setup(&service, &idp).start();
    let good = idp.token().claim("roles", json!(["user"])).build();
    get("/a").bearer(&good).send(&gate).expect(200, "both allow");
    get("/a").send(&gate).expect(200, "only the gate denies");
    get("/a").send(&gate).expect(200, "only the gate denies");
    get("/login").send(&gate).expect(401, "both deny");
    get("/strict").bearer(&good).send(&gate).expect(403, "only the service denies");
    get("/enforced").send(&gate).expect(401, "not compared");
    for (gate_says, service_says, count) in
        [("allow", "allow", 1), ("deny", "allow", 2), ("deny", "deny", 1), ("allow", "deny", 1)]
    {
        let labels = [("route", "policy"), ("gate", gate_says), ("service", service_says)];
        gate.wait_metric("shadow_total", &labels, count);
    }
    gate.wait_metric("shadow_total", &[("route", "/enforced")], 0);
}

#[test]
fn what_is_malformed_is_refused_all_the_same() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = setup(&service, &idp).start();
    for (case, request, status) in [
        ("path", get("/a/../b"), 400),
        ("host", get("/a").without_host(), 400),
        ("method", ask("TRACE", "/a"), 405),
        ("route", get("/enforced"), 401),
    ] {
        request.send(&gate).expect(status, case);
    }
    service.assert_untouched("nothing of this is a verdict");
}

#[test]
fn an_authority_that_is_away_is_no_obstacle() {
    let (service, idp) = (service(), Idp::start());
    idp.mode(Mode::Down);
    let gate = setup(&service, &idp).start_unready();
    let reply = get("/a").bearer(&idp.token().build()).send(&gate).expect(200, "shadow");
    decided(&gate, &reply, "would_deny", "authority_unavailable");
    get("/enforced").bearer(&idp.token().build()).send(&gate).expect(503, "enforced");
}

#[test]
fn websockets_open_in_shadow_too() {
    let (service, idp) = (Service::start(echo), Idp::start());
    let gate = setup(&service, &idp).start();
    let mut socket = Socket::open(&gate, &handshake("/ws").header("Origin", "https://evil.example"));
    socket.echo("hello");
    drop(socket);
    let line = gate.access_to("/ws");
    assert_eq!((&line["decision"], &line["status"]), (&"would_deny".into(), &101.into()));
    let labels = [("route", "/ws"), ("gate", "deny"), ("service", "allow")];
    gate.wait_metric("shadow_total", &labels, 1);
}
