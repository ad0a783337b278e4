//! API keys on real sockets: who holds one may come in, from where and until when the file says, and nobody else.

use crate::support::gate::{Gate, sidegate};
use crate::support::idp::Idp;
use crate::support::keys::Key;
use crate::support::request::{ask, get};
use crate::support::service::Service;
use crate::support::setup::Setup;
use crate::support::tokens::now;
use crate::support::wait;
use aws_lc_rs::digest::{SHA256, digest};
use std::fmt::Write as _;
use std::time::Duration;

fn sha256(key: &str) -> String {
    digest(&SHA256, key.as_bytes()).as_ref().iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

/// An entry, with further lines.
fn entry(id: &str, key: &str, lines: &str) -> String {
    format!("[[keys]]\nid = \"{id}\"\nsha256 = \"{}\"\n{lines}\n", sha256(key))
}

/// A date as TOML writes it, seconds from now.
fn date(seconds: i64) -> String {
    // Seconds since the epoch, as a local time of the first day: no date arithmetic is needed for that.
    let at = now() + seconds;
    let (days, rest) = (at.div_euclid(86_400), at.rem_euclid(86_400));
    let (mut year, mut left) = (1970, days);
    let length = |year: i64| if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) { 366 } else { 365 };
    while left >= length(year) {
        left -= length(year);
        year += 1;
    }
    let february = length(year) - 337;
    let mut month = 1;
    for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < days {
            break;
        }
        left -= days;
        month += 1;
    }
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", left + 1)
}

const KEYS: &str = "\n[authenticators.keys]\nkind = \"api_key\"\nfile = \"api-keys.toml\"\n";

/// Where Bearer tokens stand as well.
const BESIDE: &str = "credentials = [{ header = \"x-api-key\" }, { header = \"authorization\", scheme = \"Bearer\", prefix = \"sb_\" }]\n";

const TOLD: &str = "\n[identity.headers]\nx-customer-id = \"subject\"\nx-method = \"auth_method\"\n\
                    x-plan = { attribute = \"plan\", optional = true }\nx-roles = { attribute = \"roles\", optional = true }\n";

/// A gate that knows these keys, with further keys of the authenticator and tables.
fn setup(service: &Service, entries: &str, more: &str) -> Setup {
    Setup::new(service.url()).file("api-keys.toml", entries).with(KEYS).with(more).with(TOLD)
}

fn beside(service: &Service, idp: &Idp, entries: &str) -> Setup {
    setup(service, entries, BESIDE).with(&idp.authenticator("login"))
}

fn rewrite(gate: &Gate, entries: &str) {
    gate.setup.dir.write("api-keys.toml", entries);
}

#[track_caller]
fn reloads(gate: &Gate, success: usize, error: usize) {
    for (result, count) in [("success", success), ("error", error)] {
        gate.wait_metric("api_key_reloads_total", &[("authenticator", "keys"), ("result", result)], count);
    }
}

#[test]
fn who_holds_a_key_comes_in_as_the_file_says() {
    let service = Service::ok("");
    let lines = "subject = \"customer-7\"\nplan = \"pro\"\nroles = [\"viewer\", \"editor\"]";
    let gate = setup(&service, &entry("billing", "secret-key-1", lines), "").start();
    let reply = get("/").header("x-customer-id", "forged").header("x-api-key", "secret-key-1").send(&gate);
    let reply = reply.expect(200, "good key");
    let told = service.last();
    assert_eq!(told.header("x-customer-id"), Some("customer-7"));
    assert_eq!(told.header("x-method"), Some("api_key"));
    assert_eq!(told.header("x-plan"), Some("pro"));
    assert_eq!(told.header("x-roles"), Some("editor,viewer"));
    assert_eq!(told.header("x-api-key"), Some("secret-key-1"), "it is not stripped unless that is wanted");
    let line = gate.access(&reply);
    assert_eq!((&line["authenticator"], &line["reason"]), (&"keys".into(), &"allowed".into()));
    let served = service.received();
    for (key, status, reason) in [
        (Some("secret-key-2"), 401, "api_key_unknown"),
        (Some(&sha256("secret-key-1")), 401, "api_key_unknown"),
        (Some("SECRET-KEY-1"), 401, "api_key_unknown"),
        (Some(&"k".repeat(5000)), 401, "api_key_unknown"),
        (Some(""), 400, "credential_malformed"),
        (Some("secret-key-1 x"), 400, "credential_malformed"),
        (None, 401, "credential_missing"),
    ] {
        let request = get("/");
        let request = key.iter().fold(request, |request, key| request.header("x-api-key", key));
        let reply = request.send(&gate).expect(status, reason);
        assert_eq!(gate.reason(&reply), reason, "{key:?}");
    }
    let twice = get("/").header("x-api-key", "secret-key-1").header("x-api-key", "secret-key-1").send(&gate);
    assert_eq!(gate.reason(&twice.expect(400, "twice")), "credential_repeated");
    assert_eq!(service.received(), served);
    let log = gate.log_lines().join("\n");
    for secret in ["secret-key", "SECRET-KEY", &sha256("secret-key-1")] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[test]
fn a_prefix_tells_keys_from_jwts_and_none_is_tried_as_the_other() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = beside(&service, &idp, &entry("a", "sb_good", "subject = \"key-holder\"")).start();
    let reply = get("/").bearer("sb_good").send(&gate);
    assert_eq!(gate.access(&reply.expect(200, "key"))["authenticator"], "keys");
    assert_eq!(service.last().header("x-customer-id"), Some("key-holder"));
    let reply = get("/").bearer(&idp.token().build()).send(&gate);
    assert_eq!(gate.access(&reply.expect(200, "JWT"))["authenticator"], "login");
    assert_eq!(service.last().header("x-customer-id"), Some("user-1"));
    let served = service.received();
    let forged = idp.token().forged_with(&Key::rsa_other()).build();
    for (token, authenticator, reason) in [
        ("sb_bad", "keys", "api_key_unknown"),
        (&*forged, "login", "token_signature"),
        ("good", "login", "token_malformed"),
    ] {
        let reply = get("/").bearer(token).send(&gate).expect(401, reason);
        let line = gate.access(&reply);
        assert_eq!((&line["authenticator"], &line["reason"]), (&authenticator.into(), &reason.into()));
    }
    assert_eq!(service.received(), served);
}

#[test]
fn of_a_key_and_a_jwt_the_first_of_the_list_decides() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = beside(&service, &idp, &entry("a", "sb_good", "subject = \"key-holder\""))
        .route("/keys-first", "authenticators = [\"keys\", \"login\"]")
        .route("/login-first", "authenticators = [\"login\", \"keys\"]")
        .route("/login-only", "authenticators = [\"login\"]")
        .start();
    let (jwt, forged) = (idp.token().build(), idp.token().forged_with(&Key::rsa_other()).build());
    for (path, key, token, outcome) in [
        ("/keys-first", "sb_good", &jwt, Ok("key-holder")),
        ("/keys-first", "sb_good", &forged, Ok("key-holder")),
        ("/keys-first", "sb_bad", &jwt, Err("api_key_unknown")),
        ("/login-first", "sb_good", &jwt, Ok("user-1")),
        ("/login-first", "sb_bad", &jwt, Ok("user-1")),
        ("/login-first", "sb_good", &forged, Err("token_signature")),
        ("/login-only", "sb_good", &forged, Err("token_signature")),
    ] {
        let reply = get(path).header("x-api-key", key).bearer(token).send(&gate);
        match outcome {
            Ok(subject) => {
                reply.expect(200, path);
                assert_eq!(service.last().header("x-customer-id"), Some(subject), "{path} {key}");
            }
            Err(reason) => assert_eq!(gate.reason(&reply.expect(401, path)), reason, "{path} {key}"),
        }
    }
    // Where keys are not asked for, one is as good as none, or as any other token.
    assert_eq!(
        gate.reason(&get("/login-only").header("x-api-key", "sb_good").send(&gate)),
        "credential_missing"
    );
    assert_eq!(gate.reason(&get("/login-only").bearer("sb_good").send(&gate)), "token_malformed");
    let both = get("/keys-first").header("x-api-key", "sb_good").bearer("sb_good").send(&gate);
    assert_eq!(gate.reason(&both.expect(400, "two keys")), "credential_repeated");
}

#[test]
fn only_the_key_is_taken_out() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let more = format!("{BESIDE}strip_credential = true\n");
    let gate = setup(&service, &entry("a", "sb_good", ""), &more).with(&idp.authenticator("login")).start();
    for request in [get("/").bearer("sb_good"), get("/").header("x-api-key", "sb_good")] {
        request.send(&gate).expect(200, "key");
        assert_eq!(service.last().header("authorization"), None);
        assert_eq!(service.last().header("x-api-key"), None);
    }
    let jwt = idp.token().build();
    get("/").bearer(&jwt).send(&gate).expect(200, "JWT");
    assert_eq!(service.last().header("authorization"), Some(&*format!("Bearer {jwt}")));
}

#[test]
fn a_key_ends_also_while_it_is_in_use() {
    let service = Service::ok("");
    let past = entry("past", "key-past", "expires = 2020-01-01T00:00:00Z");
    let later = entry("later", "key-later", &format!("expires = {}", date(3600)));
    let soon = |end: &str| entry("soon", "key-soon", end);
    let gate = setup(&service, &[&*past, &*later, &*soon("")].concat(), "").start();
    let send = |key: &str| get("/").header("x-api-key", key).send(&gate);
    assert_eq!(gate.reason(&send("key-past").expect(401, "past")), "api_key_expired");
    send("key-soon").expect(200, "without an end");
    rewrite(&gate, &[&*past, &*later, &*soon(&format!("expires = {}", date(4)))].concat());
    wait::until_true("the key ends", || send("key-soon").status == 401);
    assert_eq!(gate.reason(&send("key-soon")), "api_key_expired");
    send("key-later").expect(200, "later");
}

#[test]
fn an_address_is_judged_on_every_request() {
    let service = Service::ok("");
    let entries = [
        entry("local", "key-local", "allowed_ips = [\"127.0.0.0/8\"]"),
        entry("office", "key-office", "allowed_ips = [\"192.0.2.0/24\", \"2001:db8::/32\"]"),
    ];
    // Who connects is no trusted proxy: what it says of others is not believed.
    let gate = setup(&service, &entries.concat(), "").start();
    let send = |gate: &Gate, key: &str, forwarded: &str| {
        let request = get("/").header("x-api-key", key);
        if forwarded.is_empty() { request } else { request.header("x-forwarded-for", forwarded) }.send(gate)
    };
    send(&gate, "key-local", "").expect(200, "local");
    send(&gate, "key-local", "198.51.100.1").expect(200, "local, and says otherwise");
    for forged in ["", "192.0.2.7"] {
        let reply = send(&gate, "key-office", forged).expect(401, "not the office");
        assert_eq!(gate.reason(&reply), "api_key_address");
    }
    let count =
        |result| gate.metric("authentications_total", &[("authenticator", "keys"), ("result", result)]);
    assert!((count("success") - 2.0).abs() < 0.1 && (count("error") - 2.0).abs() < 0.1);
    // Behind a trusted proxy it is the address before that one that counts, and the key is known from the cache by then.
    let gate = setup(&service, &entries.concat(), "").server("trusted_proxies = [\"127.0.0.1\"]").start();
    for (forwarded, status) in [
        ("192.0.2.7", 200),
        ("198.51.100.1", 401),
        ("::ffff:192.0.2.7", 200),
        ("2001:db8::7", 200),
        ("192.0.2.7, 198.51.100.1", 401),
        ("198.51.100.1, 192.0.2.7", 200),
        ("", 401),
    ] {
        let reply = send(&gate, "key-office", forwarded).expect(status, forwarded);
        assert_eq!(
            gate.reason(&reply),
            if status == 200 { "allowed" } else { "api_key_address" },
            "{forwarded}"
        );
    }
}

#[test]
fn a_key_that_is_removed_or_changed_ends_at_once_and_the_others_stay() {
    let service = Service::ok("");
    let (stays, goes) = (entry("stays", "key-stays", ""), entry("goes", "key-goes", ""));
    let changes = |plan: &str| entry("changes", "key-changes", &format!("plan = \"{plan}\""));
    let gate = setup(&service, &[&*stays, &*goes, &*changes("free")].concat(), "").start();
    let send = |key: &str| get("/").header("x-api-key", key).send(&gate);
    for key in ["key-stays", "key-goes", "key-changes"] {
        send(key).expect(200, key);
    }
    assert_eq!(service.last().header("x-plan"), Some("free"));
    rewrite(&gate, &[&*changes("pro"), &*stays, &*entry("new", "key-new", "")].concat());
    reloads(&gate, 1, 0);
    assert_eq!(gate.reason(&send("key-goes").expect(401, "gone")), "api_key_unknown");
    send("key-new").expect(200, "new");
    send("key-changes").expect(200, "changed");
    assert_eq!(service.last().header("x-plan"), Some("pro"));
    let hits = gate.metric("token_cache_lookups_total", &[("result", "hit")]);
    send("key-stays").expect(200, "stays");
    let now = gate.metric("token_cache_lookups_total", &[("result", "hit")]);
    assert!((now - hits - 1.0).abs() < 0.1, "its session stayed");
}

#[test]
fn a_bad_file_changes_nothing() {
    let service = Service::ok("");
    let gate = setup(&service, &entry("a", "key-a", ""), "").start();
    let send = |key: &str| get("/").header("x-api-key", key).send(&gate).status;
    let warnings = || {
        let lines = gate.log();
        lines
            .iter()
            .filter(|line| line["message"].as_str().is_some_and(|text| text.contains("old keys stay")))
            .count()
    };
    rewrite(
        &gate,
        &format!("{}[[keys]]\nid = \"b\"\nkey = \"key-b-in-plain-sight\"\n", entry("a", "key-a", "")),
    );
    reloads(&gate, 0, 1);
    assert_eq!((send("key-a"), send("key-b-in-plain-sight")), (200, 401));
    wait::until_true("it is logged", || warnings() == 1);
    // It is looked at again and again, but there is nothing new to say.
    wait::throughout("one warning", Duration::from_millis(2500), || warnings() == 1);
    assert!(!gate.log_lines().join("\n").contains("key-b-in"));
    rewrite(&gate, &entry("b", "key-b", ""));
    reloads(&gate, 1, 1);
    assert_eq!((send("key-a"), send("key-b")), (401, 200));
}

#[test]
fn a_bad_file_at_start_is_a_configuration_error() {
    let service = Service::ok("");
    for (entries, place, what) in [
        ("[[keys]]\nid = \"a\"\nsha256 = \"abc\"\n", "api-keys.toml:3:1:", "keys[0].sha256"),
        ("[[keys]]\nid = \"a\"\nkey = \"in-plain-sight\"\n", "api-keys.toml:3:1:", "keys[0].key"),
        ("[[keys]\n", "api-keys.toml:1:", "error"),
    ] {
        let refusal = setup(&service, entries, "").refused();
        assert_eq!(refusal.code, Some(78), "{entries}");
        for needle in [place, what, "authenticators.keys.file", "config.toml:", "hint: "] {
            assert!(refusal.text.contains(needle), "{needle} lacks in:\n{}", refusal.text);
        }
        assert!(!refusal.text.contains("in-plain-sight"), "{}", refusal.text);
    }
    let refusal = Setup::new(service.url()).with(KEYS).refused();
    assert_eq!(refusal.code, Some(78));
    assert!(refusal.text.contains("api-keys.toml: error: No such file"), "{}", refusal.text);
}

#[test]
fn what_a_key_may_do_is_what_the_file_says() {
    let service = Service::ok("");
    let lines = "roles = \"editor\"\ncapabilities = [\"can.trade\"]\nquotas = { \"quota.algos\" = 5, \"quota.sites\" = \"unlimited\" }";
    let entries = [entry("rich", "key-rich", lines), entry("poor", "key-poor", "")].concat();
    let gate = setup(&service, &entries, "")
        .route("/editors", "require.any_role = [\"editor\", \"admin\"]")
        .route("/admins", "require.roles = [\"admin\"]")
        .route("/trade", "require.capabilities = [\"can.trade\"]")
        .route("/five", "require.quotas = { \"quota.algos\" = 5 }")
        .route("/six", "require.quotas = { \"quota.algos\" = 6 }")
        .route("/sites", "require.quotas = { \"quota.sites\" = 1000000 }")
        .start();
    for (path, rich, poor) in [
        ("/editors", "allowed", "role_missing"),
        ("/admins", "role_missing", "role_missing"),
        ("/trade", "allowed", "capability_missing"),
        ("/five", "allowed", "quota_too_low"),
        ("/six", "quota_too_low", "quota_too_low"),
        ("/sites", "allowed", "quota_too_low"),
    ] {
        for (key, reason) in [("key-rich", rich), ("key-poor", poor)] {
            let status = if reason == "allowed" { 200 } else { 403 };
            let reply = get(path).header("x-api-key", key).send(&gate).expect(status, path);
            assert_eq!(gate.reason(&reply), reason, "{path} {key}");
        }
    }
}

#[test]
fn a_made_key_works_and_its_entry_is_what_the_file_wants() {
    let output = sidegate(&["api-key", "new", "--prefix", "sb_", "--id", "a \"quoted\" name", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let made: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let (key, text) = (made["key"].as_str().unwrap(), made["entry"].as_str().unwrap());
    assert!(key.starts_with("sb_") && key.len() == 67, "{key}");
    assert_eq!(made["sha256"], sha256(key));
    assert!(!text.contains(key));
    let service = Service::ok("");
    let gate = setup(&service, text, BESIDE).start();
    ask("POST", "/").bearer(key).send(&gate).expect(200, "the made key");
    assert_eq!(service.last().header("x-customer-id"), Some("a \"quoted\" name"));
}

#[test]
fn a_made_key_is_printed_once_beside_its_entry() {
    let text = |arguments: &[&str]| {
        let output = sidegate(arguments);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let (first, second) = (text(&["api-key", "new"]), text(&["api-key", "new"]));
    assert_ne!(first, second);
    let key = first.lines().nth(1).unwrap();
    assert!(key.len() == 64 && first.matches(key).count() == 1, "{first}");
    let hash = sha256(key);
    assert!(
        first.contains(&format!("[[keys]]\nid = \"key-{}\"\nsha256 = \"{hash}\"\n", &hash[..8])),
        "{first}"
    );
    for bad in
        [&["--prefix", "a b"][..], &["--prefix", "eyJ"], &["--id", ""], &["--id", "a\nb"], &["--nonsense"]]
    {
        let output = sidegate(&[&["api-key", "new"], bad].concat());
        assert_eq!(output.status.code(), Some(64), "{bad:?}: {output:?}");
        assert!(output.stdout.is_empty());
    }
}
