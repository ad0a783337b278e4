//! The audit log: which entries there are, what they say and never say, and that no disk holds up a request.

use crate::support::frames::{Socket, echo, handshake};
use crate::support::gate::{Gate, sidegate};
use crate::support::idp::Idp;
use crate::support::request::{ask, get};
use crate::support::service::Service;
use crate::support::setup::Setup;
use crate::support::wait::until;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

const AUDIT: &str = "[log.audit]\nfile = \"audit.log\"";

fn entries(gate: &Gate) -> Vec<Value> {
    let text = std::fs::read_to_string(gate.setup.dir.file("audit.log")).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

#[track_caller]
fn entry(gate: &Gate, event: &str, path: &str) -> Value {
    until(&format!("the entry {event} {path}"), || {
        entries(gate)
            .into_iter()
            .rfind(|entry| entry["event"] == event && (path.is_empty() || entry["path"] == path))
    })
}

#[test]
fn every_decision_that_matters_has_an_entry_and_no_other() {
    let (idp, service) = (Idp::start(), Service::start(echo));
    let gate = Setup::guarded(&service, &idp)
        .with("[authenticators.main.claims]\ncustomer_id = \"customer_id\"\njti = \"jti\"")
        .with(AUDIT)
        .with("[revocation]\nattributes = [\"jti\"]\ntoken_env = \"REVOKE\"")
        .env("REVOKE", "the-secret-of-revocations")
        .route("/shadow", "mode = \"shadow\"")
        .start();
    let token = idp.token().claim("customer_id", "c-42").claim("jti", "one").claim("sub", "ada").build();
    get("/read?secret=1").bearer(&token).send(&gate).expect(200, "reading");
    let reply = ask("POST", "/write?secret=1").bearer(&token).body("x").send(&gate).expect(200, "writing");
    let written = entry(&gate, "mutation", "/write");
    for (name, value) in [
        ("request_id", json!(reply.request_id())),
        ("client", json!("127.0.0.1")),
        ("method", json!("POST")),
        ("host", json!("gate.test")),
        ("status", json!(200)),
        ("route", json!("policy")),
        ("decision", json!("allow")),
        ("reason", json!("allowed")),
        ("authenticator", json!("main")),
        ("subject", json!("ada")),
        ("customer_id", json!("c-42")),
    ] {
        assert_eq!(written[name], value, "{written}");
    }
    assert!(written["timestamp"].as_str().unwrap().ends_with('Z'), "{written}");
    get("/refused").send(&gate).expect(401, "nobody");
    assert_eq!(entry(&gate, "denied", "/refused")["reason"], "credential_missing");
    get("/shadow").send(&gate).expect(200, "in shadow mode");
    assert_eq!(entry(&gate, "would_deny", "/shadow")["reason"], "credential_missing");
    let mut socket = Socket::open(&gate, &handshake("/ws").bearer(&token));
    assert_eq!(entry(&gate, "tunnel_opened", "/ws")["subject"], "ada");
    let body = json!({ "attribute": "jti", "value": "one", "until": crate::support::tokens::now() + 600 })
        .to_string();
    let revoking = ask("POST", "/revocations").header("Authorization", "Bearer the-secret-of-revocations");
    assert_eq!(revoking.body(body).send_admin(&gate).status, 204);
    assert_eq!(entry(&gate, "revocation", "")["attribute"], "jti");
    assert_eq!(socket.read().code(), Some(1008));
    drop(socket);
    entry(&gate, "tunnel_closed", "/ws");
    gate.reload(|text| text.replace("mode = \"shadow\"", "mode = \"enforce\""));
    assert_eq!(entry(&gate, "reload", "")["result"], "success");
    gate.edit(|text| format!("{text}\nnonsense = 1\n"));
    until("the refused one", || entries(&gate).into_iter().find(|entry| entry["result"] == "error"));
    gate.terminate();
    gate.wait_exit();
    let all = entries(&gate);
    assert_eq!(all.first().unwrap()["event"], "started");
    assert_eq!(all.last().unwrap()["event"], "stopped");
    assert!(!all.iter().any(|entry| entry["path"] == "/read"), "reading is no mutation");
    let text = std::fs::read_to_string(gate.setup.dir.file("audit.log")).unwrap();
    assert!(!text.contains(&token) && !text.contains("secret=") && !text.contains("\"one\""), "{text}");
    let mode = std::fs::metadata(gate.setup.dir.file("audit.log")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_file_that_is_moved_away_is_opened_anew() {
    let service = Service::ok("hello");
    let gate = Setup::public(&service).with(AUDIT).route("/no", "access = \"deny\"").start();
    get("/no").send(&gate).expect(403, "one");
    entry(&gate, "denied", "/no");
    let path = gate.setup.dir.file("audit.log");
    std::fs::rename(&path, gate.setup.dir.file("audit.log.1")).unwrap();
    until("a new file", || {
        get("/no").send(&gate).expect(403, "another");
        path.exists().then_some(())
    });
    entry(&gate, "denied", "/no");
}

#[test]
fn a_full_disk_costs_entries_and_nothing_else() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let service = Service::ok("hello");
    let gate = Setup::public(&service)
        .with("[log.audit]\nfile = \"/dev/full\"\nrotate = \"never\"")
        .route("/no", "access = \"deny\"")
        .start();
    let begun = Instant::now();
    for _ in 0..200 {
        get("/no").send(&gate).expect(403, "refused as ever");
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    until("they are counted", || {
        (gate.metric("log_lines_lost_total", &[("log", "audit")]) >= 200.0).then_some(())
    });
}

#[test]
fn a_file_that_cannot_be_written_is_an_error_of_the_configuration() {
    let setup = Setup::new("http://127.0.0.1:1").with("[policy]\naccess = \"public\"");
    let setup = setup.with("[log.audit]\nfile = \"no/such/folder/audit.log\"");
    let path = setup.write();
    let output = sidegate(&["check", "--config", path.to_str().unwrap()]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{text}");
    assert!(text.contains("log.audit.file: there is no folder"), "{text}");
}
