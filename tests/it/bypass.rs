//! `--insecure-bypass`: for development, on loopback addresses, and loud; nowhere else.

use crate::support::idp::Idp;
use crate::support::request::get;
use crate::support::service::Service;
use crate::support::setup::Setup;

fn setup(service: &Service, idp: &Idp) -> Setup {
    Setup::guarded(service, idp)
        .with("\n[policy.require]\nroles = [\"admin\"]\n[identity]\nstrip = [\"x-auth-*\"]\n")
        .route("/closed", "access = \"deny\"")
}

#[test]
fn nobody_is_judged_and_clients_say_who_they_are() {
    let (service, idp) = (Service::ok("ok"), Idp::start());
    let gate = setup(&service, &idp).argument("--insecure-bypass").start();
    let sent = get("/a")
        .header("X-Customer-Id", "c-42")
        .header("X_Customer_Id", "alias")
        .header("X-Auth-User", "root")
        .bearer("whatever");
    let reply = sent.send(&gate).expect(200, "bypassed");
    assert_eq!(reply.header("x-sidegate-insecure-bypass"), Some("on"), "every response says so");
    let seen = service.only();
    assert_eq!(seen.header("x-customer-id"), Some("c-42"));
    assert_eq!(seen.header("x_customer_id"), None, "only the exact name is believed");
    assert_eq!(seen.header("x-auth-user"), None);
    get("/closed").send(&gate).expect(403, "closed is closed");
    get("/a/../b").send(&gate).expect(400, "paths are judged all the same");
    gate.wait_metric("insecure_bypass", &[], 1);
    let warned = gate.log().iter().any(|line| {
        line["level"] == "WARN" && line["message"].as_str().is_some_and(|text| text.contains("INSECURE"))
    });
    assert!(warned, "it says so at every start");
}

#[test]
fn without_the_word_nothing_is_bypassed() {
    let (service, idp) = (Service::ok("ok"), Idp::start());
    let gate = setup(&service, &idp).start();
    let reply = get("/a").header("X-Customer-Id", "c-42").send(&gate).expect(401, "judged");
    assert_eq!(reply.header("x-sidegate-insecure-bypass"), None);
    gate.wait_metric("insecure_bypass", &[], 0);
    service.assert_untouched("nobody was let in");
}

#[test]
fn other_machines_are_kept_out() {
    let (service, idp) = (Service::ok("ok"), Idp::start());
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:8080", "localhost:0", "unix:/tmp/sidegate-bypass.sock"] {
        let refusal = setup(&service, &idp).listen(listen).argument("--insecure-bypass").refused();
        assert_eq!(refusal.code, Some(78), "{listen}: {}", refusal.text);
        assert!(refusal.text.contains("loopback"), "{}", refusal.text);
    }
}
