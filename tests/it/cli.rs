//! The command line: what it says and how it ends.

use crate::support::gate::{Gate, sidegate};
use crate::support::service::{ClosedPort, Service};
use crate::support::setup::{PUBLIC, Setup};
use std::process::Output;

#[track_caller]
fn assert_ends(output: &Output, code: i32, case: &str) -> String {
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{case}: {text}");
    text
}

/// Runs `check` on this configuration.
fn check(setup: &Setup) -> Output {
    sidegate(&["check", "--config", setup.write().to_str().unwrap()])
}

#[test]
fn usage_errors_end_with_64() {
    for arguments in [
        [].as_slice(),
        &["nonsense"],
        &["run", "--nonsense"],
        &["run", "surplus"],
        &["completions"],
        &["completions", "nonsense"],
        &["check", "--config"],
        &["--config", "x"],
    ] {
        let text = assert_ends(&sidegate(arguments), 64, &format!("{arguments:?}"));
        assert!((text.to_lowercase().contains("usage") || text.contains("--help")), "{arguments:?}: {text}");
    }
    for arguments in [["--help"].as_slice(), &["--version"], &["run", "--help"], &["check", "--help"]] {
        assert_ends(&sidegate(arguments), 0, &format!("{arguments:?}"));
    }
    let version = assert_ends(&sidegate(&["--version"]), 0, "version");
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
}

#[test]
fn missing_files_end_with_66() {
    for command in ["run", "check"] {
        let text = assert_ends(&sidegate(&[command, "--config", "/nonexistent/config.toml"]), 66, command);
        assert!(text.contains("/nonexistent/config.toml"), "{command}: {text}");
    }
}

#[test]
fn an_address_that_is_taken_ends_with_71() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (case, setup) in [
        ("server", Setup::new("http://127.0.0.1:1").with(PUBLIC).listen(&address)),
        ("admin", Setup::new("http://127.0.0.1:1").with(PUBLIC).admin(&address)),
        ("no such address", Setup::new("http://127.0.0.1:1").with(PUBLIC).listen("192.0.2.1:0")),
        (
            "no such directory",
            Setup::new("http://127.0.0.1:1").with(PUBLIC).listen("unix:/nonexistent/x.sock"),
        ),
    ] {
        let refusal = setup.refused();
        assert_eq!(refusal.code, Some(71), "{case}: {refusal:?}");
    }
}

#[test]
fn a_good_file_is_good() {
    let output = check(&Setup::new("http://127.0.0.1:1").with(PUBLIC).route("/a", ""));
    assert_ends(&output, 0, "good");
}

/// Fails unless `check` and `run` both refuse it and name all these keys, and these lines.
#[track_caller]
fn assert_named(setup: &Setup, keys: &[&str], lines: &[&str]) {
    for output in [check(setup), sidegate(&["run", "--config", setup.write().to_str().unwrap()])] {
        let text = assert_ends(&output, 78, "bad");
        for key in keys {
            assert!(text.contains(key), "{key} lacks in:\n{text}");
        }
        for needle in lines {
            let number = 1 + setup.text().lines().position(|line| line.starts_with(needle)).unwrap();
            let place = format!("config.toml:{number}:");
            assert!(text.contains(&place), "{place} lacks in:\n{text}");
        }
    }
}

#[test]
fn every_error_of_form_is_named_at_once_with_its_place() {
    let setup = Setup::new("http://127.0.0.1:1")
        .server("nonsense = 1")
        .upstream("connect_timeout = \"soon\"")
        .with("[policy]\naccess = \"everybody\"")
        .with("[log]\nlevel = 3");
    let keys = ["server.nonsense", "upstreams.app.connect_timeout", "policy.access", "log.level"];
    assert_named(&setup, &keys, &["nonsense", "connect_timeout", "access", "level"]);
}

#[test]
fn every_error_of_meaning_is_named_at_once_with_its_place() {
    let setup = Setup::new("ftp://127.0.0.1:1")
        .with("[policy]\nauthenticators = [\"nobody\"]")
        .with("[response_headers]\n\"bad name\" = \"x\"")
        .route("no-slash", "methods = [\"GET \"]")
        .route("/a", "upstream = \"missing\"");
    let keys = [
        "upstreams.app.url",
        "policy.authenticators",
        "response_headers",
        "routes[0].path",
        "routes[1].upstream",
    ];
    assert_named(&setup, &keys, &["url", "authenticators", "upstream = "]);
}

#[test]
fn errors_of_form_do_not_hide_errors_of_meaning() {
    let setup = Setup::new("ftp://127.0.0.1:1").server("nonsense = 1").route("/a", "upstream = \"missing\"");
    assert_named(
        &setup,
        &["server.nonsense", "upstreams.app.url", "routes[0].upstream"],
        &["nonsense", "url"],
    );
}

#[test]
fn each_of_these_is_an_error() {
    for (case, key, tables) in [
        ("broken TOML", "", "[policy"),
        ("unknown table", "nonsense", "[nonsense]"),
        ("unknown key", "routes[0].acces", "[[routes]]\npath = \"/\"\nacces = \"public\""),
        ("no number", "server.limits.headers", "[server.limits]\nheaders = \"many\""),
        ("out of range", "server.limits.headers", "[server.limits]\nheaders = 0"),
        ("no size", "server.limits.header_bytes", "[server.limits]\nheader_bytes = 64"),
        ("no upstream", "routes[0].upstream", "[[routes]]\npath = \"/\"\nupstream = \"x\""),
        ("no authenticator", "policy.authenticators", "[policy]\nauthenticators = [\"x\"]"),
        ("bad kind", "authenticators.a", "[authenticators.a]\nkind = \"magic\""),
        (
            "bad algorithm",
            "authenticators.a",
            "[authenticators.a]\nkind = \"jwt\"\nissuer = \"http://a\"\nalgorithms = [\"none\"]",
        ),
        (
            "leeway too long",
            "authenticators.a.leeway",
            "[authenticators.a]\nkind = \"jwt\"\nissuer = \"http://a\"\nleeway = \"1h\"",
        ),
        ("unset variable", "upstreams.b.url", "[upstreams.b]\nurl = \"${NO_SUCH_VARIABLE_HERE}\""),
        ("bad header", "identity.headers", "[identity.headers]\n\"x y\" = \"subject\""),
        ("path in url", "upstreams.b.url", "[upstreams.b]\nurl = \"http://a/b\""),
    ] {
        let output = check(&Setup::new("http://127.0.0.1:1").with(tables));
        let text = assert_ends(&output, 78, case);
        assert!(text.contains(key), "{case}: {key} lacks in:\n{text}");
        assert!(text.contains("config.toml:"), "{case}: no place in:\n{text}");
    }
}

#[test]
fn the_environment_is_put_in_before_types_are_checked() {
    let service = Service::ok("hello");
    let gate = Setup::new("${TEST_SCHEME:-http}://${TEST_UPSTREAM}")
        .env("TEST_UPSTREAM", service.address())
        .env("TEST_HEADERS", "20")
        .with("[policy]\naccess = \"${TEST_ACCESS:-public}\"")
        .with("[server.limits]\nheaders = \"${TEST_HEADERS}\"")
        .with("[response_headers]\nx-literal = \"$${TEST_UPSTREAM}\"")
        .start();
    let reply = crate::support::request::get("/").send(&gate).expect(200, "from the environment");
    assert_eq!(reply.header("x-literal"), Some("${TEST_UPSTREAM}"));
}

#[test]
fn the_file_may_come_from_the_environment() {
    let output = sidegate(&["check"]);
    // Without --config and $SIDEGATE_CONFIG it is /etc/sidegate/config.toml, which is not there.
    let text = assert_ends(&output, 66, "default file");
    assert!(text.contains("/etc/sidegate/config.toml"), "{text}");
}

#[test]
fn the_schema_is_json_and_describes_the_file() {
    let output = sidegate(&["schema"]);
    assert_ends(&output, 0, "schema");
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for table in ["server", "admin", "upstreams", "authenticators", "identity", "policy", "routes", "log"] {
        assert!(schema["properties"][table].is_object(), "{table} lacks");
    }
}

#[test]
fn completions_for_every_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let text = assert_ends(&sidegate(&["completions", shell]), 0, shell);
        assert!(text.contains("sidegate") && text.contains("healthcheck"), "{shell}");
    }
}

#[test]
fn healthcheck_asks_the_running_gate() {
    let service = Service::ok("");
    let port = ClosedPort::new();
    let admin = port.address();
    let setup = Setup::public(&service).admin(&admin);
    let path = setup.write();
    let healthcheck = || sidegate(&["healthcheck", "--config", path.to_str().unwrap()]);
    assert_ends(&healthcheck(), 1, "nothing runs");
    drop(port);
    let gate: Gate = setup.start();
    assert_ends(&healthcheck(), 0, "ready");
    gate.terminate();
    gate.wait_exit();
    assert_ends(&healthcheck(), 1, "gone");
}

#[test]
fn logs_for_people() {
    let service = Service::ok("");
    let output = check(&Setup::public(&service).with("[log]\nformat = \"pretty\""));
    assert_ends(&output, 0, "pretty");
}
