//! Metrics as Prometheus reads them: every family that is promised, the rules of its makers, the process itself; and that
//! nobody who does not read holds up a request.

use crate::support::authority::{Authority, Mode};
use crate::support::idp::Idp;
use crate::support::programs::missing;
use crate::support::request::get;
use crate::support::service::Service;
use crate::support::setup::Setup;
use crate::support::wait::until_true;
use serde_json::json;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Set to `required` where a missing `promtool` is a failure, as it is in CI.
const VARIABLE: &str = "SIDEGATE_TEST_PROMTOOL";

/// What `promtool check metrics` says against these metrics; none where it is missing.
fn promtool(metrics: &str) -> Option<String> {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = promtool.spawn() else {
        missing("the rules of metrics", "promtool", "prometheus", VARIABLE);
        return None;
    };
    child.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    Some(if output.status.success() { String::new() } else { String::from_utf8(said).unwrap() })
}

#[test]
fn every_family_of_a_gate_with_everything_follows_the_rules() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let facts = json!({ "capabilities": { "can.view": true }, "quotas": {} });
    let authority = Authority::start(Mode::good(&facts));
    let gate = Setup::new(service.url())
        .with(&idp.authenticator("main"))
        .with("[authenticators.main.claims]\ncustomer_id = \"customer\"")
        .with(&authority.introspection("opaque"))
        .env("INTROSPECTION_SECRET", "a-secret-of-the-gate")
        .with(&authority.entitlements())
        .with("[revocation]\nattributes = [\"jti\"]")
        .with("[redis]\nurl = \"redis://127.0.0.1:1\"")
        .with("[tracing]\notlp_endpoint = \"http://127.0.0.1:1\"")
        .with("[log.audit]\nfile = \"audit.log\"")
        .route("/view", "require.capabilities = [\"can.view\"]\nrate_limit = { per = \"subject\", limit = 9, window = \"1m\" }")
        .route("/shadow", "mode = \"shadow\"")
        .start_unready();
    let token = idp.token().claim("customer", "c-1").build();
    for path in ["/view", "/", "/shadow"] {
        // While Redis has never answered, nobody with a credential passes; the families are there all the same.
        get(path).bearer(&token).send(&gate);
        get(path).send(&gate);
    }
    gate.wait_metric("requests_total", &[], 6);
    let metrics = gate.metrics();
    for (name, labels) in [
        ("entitlement_cache_lookups_total", ["result"].as_slice()),
        ("entitlement_fetches_total", &["result"]),
        ("config_reloads_total", &["result"]),
        ("config_last_reload_success_timestamp_seconds", &[]),
        ("authority_requests_total", &["authenticator", "result"]),
        ("redis_up", &[]),
        ("redis_commands_total", &["result"]),
        ("revocations", &[]),
        ("spans_total", &["result"]),
        ("log_lines_lost_total", &["log"]),
        ("rate_limit_errors_total", &[]),
    ] {
        assert!(metrics.families().contains(&format!("sidegate_{name}")), "{name}: {:?}", metrics.families());
        assert_eq!(metrics.label_names(name), labels, "{name}");
    }
    if let Some(complaints) = promtool(&metrics.text) {
        assert_eq!(complaints, "");
        let broken = metrics.text.replace("sidegate_requests_total", "sidegate_requests");
        assert_ne!(promtool(&broken).unwrap(), "", "promtool finds nothing wrong with anything");
    }
}

#[test]
fn the_process_is_known_under_the_usual_names() {
    let service = Service::ok("");
    let gate = Setup::public(&service).start();
    get("/").send(&gate).expect(200, "a request");
    let metrics = gate.metrics();
    let value = |name: &str| {
        let found = metrics.samples.iter().find(|sample| sample.name == name);
        found.unwrap_or_else(|| panic!("no {name}")).value
    };
    let resident = value("process_resident_memory_bytes");
    let known = u32::try_from(gate.memory()).unwrap();
    assert!((resident - f64::from(known)).abs() < 8e6, "{resident}");
    assert!(value("process_open_fds") > 5.0 && value("process_max_fds") >= value("process_open_fds"));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - value("process_start_time_seconds")).abs() < 60.0);
    assert!(value("process_cpu_seconds_total") < 60.0);
}

#[test]
fn a_reader_of_the_log_that_stops_reading_costs_lines_and_nothing_else() {
    let service = Service::ok("");
    let gate = Setup::public(&service).start();
    gate.stop_reading();
    get("/").send(&gate).expect(200, "the line that the reader still takes");
    let before = gate.memory();
    let mut client = gate.connect();
    // Lines of 4 KiB each: more than the pipe and the queue hold.
    let long = format!("/{}", "x".repeat(4000));
    for number in 0..2500 {
        let asked = Instant::now();
        get(&long).on(&mut client).expect(200, "a request beside a reader that has stopped");
        assert!(asked.elapsed() < Duration::from_secs(2), "request {number} waited for the log");
    }
    until_true("lines are lost", || gate.metric("log_lines_lost_total", &[("log", "stdout")]) > 500.0);
    let grown = gate.memory().saturating_sub(before);
    assert!(grown < 16 << 20, "the gate grew by {grown} bytes");
    gate.terminate();
    assert_eq!(gate.wait_exit(), Some(0));
}
