//! Probes, metrics and the access log.

use crate::support::frames::{Socket, echo, handshake};
use crate::support::idp::{Idp, Mode};
use crate::support::request::{ask, get};
use crate::support::service::Service;
use crate::support::setup::Setup;
use serde_json::Value;

#[test]
fn probes_say_how_it_is() {
    let (service, idp) = (Service::ok(""), Idp::start());
    idp.mode(Mode::Down);
    let gate = Setup::guarded(&service, &idp).start_unready();
    for path in ["/livez", "/healthz"] {
        get(path).send_admin(&gate).expect(200, path);
        ask("HEAD", path).send_admin(&gate).expect(200, path);
    }
    get("/readyz").send_admin(&gate).expect(503, "no keys yet");
    idp.mode(Mode::Good);
    gate.wait_ready();
    idp.mode(Mode::Down);
    get("/readyz").send_admin(&gate).expect(200, "once had keys");
    for path in ["/", "/nothing", "/metrics/x", "/livez/../metrics"] {
        let status = get(path).send_admin(&gate).status;
        assert!(status == 404 || status == 400, "{path}: {status}");
    }
    let status = ask("POST", "/metrics").body("x").send_admin(&gate).status;
    assert!(status == 405 || status == 404, "POST: {status}");
    service.assert_untouched("probes are not forwarded");
}

#[test]
fn nothing_of_it_can_be_reached_through_the_gate() {
    let service = Service::ok("the service's own");
    let gate = Setup::public(&service).start();
    for path in ["/livez", "/healthz", "/readyz", "/metrics", "/.well-known/jwks.json"] {
        let reply = get(path).send(&gate).expect(200, path);
        assert_eq!((reply.text().as_str(), service.last().target.as_str()), ("the service's own", path));
        let absolute = format!("http://{}{path}", gate.admin());
        assert_eq!(get(&absolute).send(&gate).expect(200, path).text(), "the service's own");
    }
}

#[test]
fn every_family_has_its_labels_and_no_more() {
    let (service, idp) = (Service::start(echo), Idp::start());
    let gate = Setup::guarded(&service, &idp).route("/public/{id}", "access = \"public\"").start();
    let token = idp.token().build();
    get("/").bearer(&token).send(&gate).expect(200, "good");
    get("/").bearer(&token).send(&gate).expect(200, "again");
    get("/").bearer("bad").send(&gate).expect(401, "bad");
    for number in 0..50 {
        let odd = format!("METHOD{number}");
        ask(&odd, &format!("/public/{number}?{number}"))
            .host(&format!("h{number}.test"))
            .send(&gate)
            .expect(200, &odd);
    }
    Socket::open(&gate, &handshake("/ws").bearer(&token)).echo("tunnel");
    gate.wait_metric("requests_total", &[("route", "/public/{id}")], 50);
    let metrics = gate.metrics();
    let families = metrics.families();
    for (name, labels) in [
        ("requests_total", ["code", "method", "route"].as_slice()),
        ("request_duration_seconds", &[]),
        ("upstream_duration_seconds", &[]),
        ("decisions_total", &["decision", "reason", "route"]),
        ("authentications_total", &["authenticator", "result"]),
        ("token_cache_lookups_total", &["result"]),
        ("jwks_refreshes_total", &["authenticator", "result"]),
        ("jwks_last_success_timestamp_seconds", &["authenticator"]),
        ("connections", &[]),
        ("tunnels", &[]),
        ("build_info", &["version"]),
    ] {
        assert!(families.contains(&format!("sidegate_{name}")), "{name} lacks in {families:?}");
        assert_eq!(metrics.label_names(name), labels, "{name}");
    }
    assert_eq!(metrics.label_names("request_duration_seconds_bucket"), ["le", "route"]);
    assert_eq!(metrics.label_names("upstream_duration_seconds_bucket"), ["le", "upstream"]);
    let ours = |name: &String| name.starts_with("sidegate_") || name.starts_with("process_");
    assert!(families.iter().all(ours), "{families:?}");
    for text in ["METHOD7", "h7.test", "/public/7", "user-1"] {
        assert!(!metrics.text.contains(text), "{text} was said by a client and is in the metrics");
    }
}

#[test]
fn metrics_say_what_happened() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate =
        Setup::guarded(&service, &idp).route("/a", "name = \"named\"\nrequire.roles = [\"x\"]").start();
    let token = idp.token().build();
    for _ in 0..3 {
        get("/a").bearer(&token).send(&gate).expect(403, "no role");
    }
    get("/b").bearer(&token).send(&gate).expect(200, "good");
    get("/b").send(&gate).expect(401, "none");
    gate.wait_metric(
        "decisions_total",
        &[("route", "named"), ("decision", "deny"), ("reason", "role_missing")],
        3,
    );
    gate.wait_metric("requests_total", &[("route", "named"), ("method", "GET"), ("code", "403")], 3);
    gate.wait_metric("decisions_total", &[("decision", "allow"), ("reason", "allowed")], 1);
    gate.wait_metric("decisions_total", &[("reason", "credential_missing")], 1);
    gate.wait_metric("request_duration_seconds_count", &[], 5);
    gate.wait_metric("upstream_duration_seconds_count", &[("upstream", "app")], 1);
    gate.wait_metric("token_cache_lookups_total", &[("result", "miss")], 1);
    gate.wait_metric("token_cache_lookups_total", &[("result", "hit")], 3);
    let content = get("/metrics").send_admin(&gate);
    assert!(content.header("content-type").unwrap().starts_with("text/plain"), "{content:?}");
}

#[test]
fn one_object_a_request_in_the_access_log() {
    let (service, idp) = (Service::ok("hello"), Idp::start());
    let gate = Setup::guarded(&service, &idp).start();
    let token = idp.token().build();
    let reply = ask("PUT", "/a%62?secret=1")
        .host("GATE.test:80")
        .bearer(&token)
        .body("x")
        .send(&gate)
        .expect(200, "put");
    let entry = gate.access(&reply);
    for (field, value) in [
        ("request_id", reply.request_id()),
        ("method", "PUT".to_owned()),
        ("path", "/ab".to_owned()),
        ("decision", "allow".to_owned()),
        ("reason", "allowed".to_owned()),
        ("authenticator", "main".to_owned()),
        ("subject", "user-1".to_owned()),
        ("client", "127.0.0.1".to_owned()),
    ] {
        assert_eq!(entry[field], Value::String(value), "{field} in {entry}");
    }
    assert_eq!((&entry["status"], &entry["bytes"]), (&200.into(), &5.into()));
    assert!(entry["host"].as_str().unwrap().to_ascii_lowercase().starts_with("gate.test"), "{entry}");
    assert!(entry["timestamp"].as_str().unwrap().ends_with('Z') && entry["route"].is_string(), "{entry}");
    for duration in ["duration", "upstream_duration"] {
        assert!(
            entry[duration].as_f64().is_some_and(|seconds| (0.0..30.0).contains(&seconds)),
            "{duration}: {entry}"
        );
    }
    let denied = get("/denied").send(&gate).expect(401, "denied");
    let entry = gate.access(&denied);
    assert_eq!(
        (&entry["authenticator"], &entry["subject"], &entry["upstream_duration"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    let about: Vec<Value> =
        gate.log().into_iter().filter(|line| line["request_id"] == reply.request_id().as_str()).collect();
    assert_eq!(about.len(), 1, "{about:?}");
}

#[test]
fn the_access_log_can_be_switched_off() {
    let service = Service::ok("");
    let gate = Setup::public(&service).with("[log]\naccess = false").start();
    get("/").send(&gate).expect(200, "no line");
    gate.wait_metric("requests_total", &[], 1);
    gate.terminate();
    gate.wait_exit();
    assert!(!gate.log().iter().any(|line| line["message"] == "request"), "{:?}", gate.log_lines());
}

#[test]
fn what_clients_send_cannot_forge_a_line() {
    let service = Service::ok("");
    let gate = Setup::public(&service).start();
    let forged = "%0a{\"message\":\"request\"}";
    for ask in [
        get("/a%22,%22subject%22:%22admin"),
        get("/%c3%28%ff"),
        get("/x").header("User-Agent", "\",\"subject\":\"admin"),
        get(&format!("/{forged}")),
        get("/y").host("\"},{\"x"),
    ] {
        ask.send(&gate);
    }
    get("/last").send(&gate);
    gate.access_to("/last");
    for line in gate.log_lines() {
        let parsed: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"));
        assert_ne!(parsed["subject"], "admin", "{line}");
    }
}
