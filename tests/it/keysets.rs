//! Where keys come from, how they change, and what happens while nobody gives them out.

use crate::support::gate::Gate;
use crate::support::idp::{Idp, Mode};
use crate::support::keys::{Key, key_set};
use crate::support::request::get;
use crate::support::service::Service;
use crate::support::setup::{IDENTITY, Setup};
use crate::support::tokens::{Token, base64url};
use crate::support::wait::{let_pass, throughout, until_true};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

#[track_caller]
fn status(gate: &Gate, token: &Token) -> u16 {
    get("/").bearer(&token.build()).send(gate).status
}

#[track_caller]
fn reason(gate: &Gate, token: &Token, expected: u16) -> String {
    let reply = get("/").bearer(&token.build()).send(gate).expect(expected, "token");
    gate.reason(&reply)
}

/// Lets the cool-down of a second after a fetch pass.
fn cool_down(idp: &Idp) {
    until_true("the cool-down is over", || idp.since_fetch() > Duration::from_millis(1200));
}

#[test]
fn every_source_of_keys() {
    let idp = Idp::start();
    let secret = "a shared secret of more than 32 bytes!";
    let jwks = key_set(&[Key::rsa().jwk()]).to_string();
    let issuer = format!("issuer = {:?}\naudience = \"api\"\n", idp.issuer());
    let hmac = Key::secret(secret);
    for (source, key) in [
        (format!("{issuer}jwks_url = {:?}", idp.jwks_url()), Key::rsa()),
        (issuer.clone(), Key::rsa()),
        (format!("{issuer}jwks_file = \"keys.json\""), Key::rsa()),
        (format!("{issuer}public_key_file = \"rsa.pem\""), Key::rsa()),
        (format!("{issuer}public_key_file = \"rsa.pem\""), Key::rsa().kid("whatever")),
        (format!("{issuer}public_key_file = \"rsa.pem\"\nalgorithms = [\"PS384\"]"), Key::rsa().alg("PS384")),
        ("secret_env = \"JWT_SECRET\"".to_owned(), hmac.clone()),
        ("secret_file = \"secret\"".to_owned(), hmac.clone()),
        (
            "secret_file = \"secret-with-newline\"\nalgorithms = [\"HS512\"]".to_owned(),
            hmac.clone().alg("HS512"),
        ),
    ] {
        let service = Service::ok("");
        let gate = Setup::new(service.url())
            .with(&format!("[authenticators.main]\nkind = \"jwt\"\n{source}"))
            .with(IDENTITY)
            .env("JWT_SECRET", secret)
            .file("keys.json", &jwks)
            .file("rsa.pem", Key::rsa().public_pem())
            .file("secret", secret)
            .file("secret-with-newline", format!("{secret}\n"))
            .start();
        let token = Token::new(&idp.issuer(), &key);
        assert_eq!(status(&gate, &token), 200, "{source}");
        assert_eq!(service.only().header("x-customer-id"), Some("user-1"), "{source}");
        assert_eq!(
            status(&gate, &token.claim("sub", "x").forged_with(&Key::rsa_other().alg("RS256"))),
            401,
            "{source}"
        );
        let printed = gate.log_lines().concat();
        assert!(!printed.contains(secret), "{source}: the secret is in the log");
    }
}

#[test]
fn keys_of_every_kind_in_a_pem_file() {
    for key in [Key::p256(), Key::p384(), Key::ed25519()] {
        let service = Service::ok("");
        let gate = Setup::new(service.url())
            .with("[authenticators.main]\nkind = \"jwt\"\nissuer = \"me\"\naudience = \"api\"\npublic_key_file = \"key.pem\"")
            .file("key.pem", key.public_pem())
            .start();
        assert_eq!(status(&gate, &Token::new("me", &key)), 200, "{}", key.alg);
        assert_eq!(reason(&gate, &Token::new("me", &key).claim("exp", 1), 401), "token_expired");
    }
}

#[test]
fn secrets_and_sources_that_cannot_be_right_are_refused_at_start() {
    for (case, keys) in [
        ("short secret", "secret_env = \"SHORT\""),
        ("31 bytes and a newline", "secret_file = \"short\""),
        ("no such variable", "secret_env = \"NO_SUCH_SECRET\""),
        ("no such file", "secret_file = \"missing\""),
        ("inline", "secret = \"a shared secret of more than 32 bytes!\""),
        ("two sources", "secret_env = \"LONG\"\njwks_file = \"keys.json\""),
        ("no source", ""),
        ("none", "secret_env = \"LONG\"\nalgorithms = [\"none\"]"),
        ("RS256 with a secret", "secret_env = \"LONG\"\nalgorithms = [\"RS256\"]"),
        ("HS256 with a key set", "jwks_file = \"keys.json\"\nalgorithms = [\"HS256\"]"),
        ("ES256 with an RSA key", "public_key_file = \"rsa.pem\"\nalgorithms = [\"ES256\"]"),
    ] {
        let refusal = Setup::new("http://127.0.0.1:1")
            .with(&format!("[authenticators.main]\nkind = \"jwt\"\n{keys}"))
            .env("SHORT", "only a few bytes")
            .env("LONG", "a shared secret of more than 32 bytes!")
            .file("short", format!("{}\n", "s".repeat(31)))
            .file("keys.json", key_set(&[Key::rsa().jwk()]).to_string())
            .file("rsa.pem", Key::rsa().public_pem())
            .refused();
        assert_eq!(refusal.code, Some(78), "{case}: {refusal:?}");
        assert!(refusal.text.contains("authenticators.main"), "{case}: {refusal:?}");
        assert!(!refusal.text.contains("a shared secret of"), "{case}: the secret is printed: {refusal:?}");
    }
}

#[test]
fn the_first_token_of_a_new_key_passes() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = Setup::guarded(&service, &idp).start();
    assert_eq!(status(&gate, &idp.token()), 200);
    idp.publish(&[Key::rsa().jwk(), Key::rsa_other().jwk()]);
    cool_down(&idp);
    let token = Token::new(&idp.issuer(), &Key::rsa_other());
    let before = Instant::now();
    assert_eq!(status(&gate, &token), 200, "the first token of the new key");
    assert!(before.elapsed() < Duration::from_millis(700), "it took {:?}", before.elapsed());
    assert_eq!(status(&gate, &idp.token()), 200, "the old key still counts");
}

#[test]
fn a_key_that_is_withdrawn_stops_counting() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate =
        Setup::new(service.url()).with(&idp.authenticator("main")).with("jwks_refresh = \"1s\"").start();
    assert_eq!(status(&gate, &idp.token()), 200);
    idp.publish(&[Key::rsa_other().jwk()]);
    until_true("the withdrawn key is refused", || status(&gate, &idp.token()) == 401);
    assert_eq!(reason(&gate, &idp.token(), 401), "token_key_unknown");
    // Also for a token that had been seen and verified before.
    assert_eq!(status(&gate, &Token::new(&idp.issuer(), &Key::rsa_other())), 200);
}

#[test]
fn unknown_keys_cannot_make_the_gate_flood_the_issuer() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = Setup::guarded(&service, &idp).start();
    let (begin, before) = (Instant::now(), idp.requests());
    let mut number = 0;
    while begin.elapsed() < Duration::from_millis(2500) {
        number += 1;
        let token = Token::new(&idp.issuer(), &Key::rsa().kid(&format!("unknown-{number}")));
        assert_eq!(status(&gate, &token), 401);
    }
    let allowed = usize::try_from(begin.elapsed().as_secs()).unwrap() + 1;
    // A fetch may ask for the discovery document and for the key set.
    let asked = idp.fetches();
    assert!(idp.requests() - before <= 2 * allowed, "{} requests for {number} keys", idp.requests() - before);
    assert!(asked <= allowed + 1, "{asked} fetches for {number} keys in {:?}", begin.elapsed());
    assert_eq!(status(&gate, &idp.token()), 200);

    // The same unknown key does not ask again for ten seconds.
    cool_down(&idp);
    let token = Token::new(&idp.issuer(), &Key::rsa().kid("unknown-same"));
    assert_eq!(status(&gate, &token), 401);
    let before = idp.fetches();
    throughout("the same key does not ask again", Duration::from_millis(2500), || {
        status(&gate, &token) == 401 && idp.fetches() == before
    });
    service.only();
}

#[test]
fn at_once_many_unknown_keys_share_one_fetch() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = Setup::guarded(&service, &idp).start();
    idp.publish(&[Key::rsa().jwk(), Key::rsa_other().jwk()]);
    cool_down(&idp);
    let before = idp.fetches();
    let token = Token::new(&idp.issuer(), &Key::rsa_other()).build();
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| get("/").bearer(&token).send(&gate).expect(200, "new key"));
        }
    });
    assert_eq!(idp.fetches(), before + 1);
}

#[test]
fn without_keys_nobody_is_refused_for_ever_and_nobody_passes() {
    std::thread::scope(|scope| {
        for mode in [
            Mode::Down,
            Mode::Failing,
            Mode::Garbage,
            Mode::Huge,
            Mode::WrongIssuer,
            Mode::Redirect,
            Mode::Slow,
        ] {
            scope.spawn(move || without_keys(mode));
        }
    });
}

fn without_keys(mode: Mode) {
    let (service, idp) = (Service::ok(""), Idp::start());
    idp.mode(mode);
    let gate = Setup::guarded(&service, &idp).route("/public", "access = \"public\"").start_unready();
    get("/public").send(&gate).expect(200, "what needs no keys works");
    let before = service.received();
    let reply = get("/").bearer(&idp.token().build()).send(&gate).expect(503, &format!("{mode:?}"));
    assert!(
        reply.header("retry-after").is_some_and(|value| value.parse::<u32>().is_ok()),
        "{mode:?}: {reply:?}"
    );
    assert!(!reply.headers.has("www-authenticate"), "{mode:?}");
    assert_eq!(gate.reason(&reply), "authority_unavailable", "{mode:?}");
    get("/").send(&gate).expect(401, "no credential at all");
    assert_eq!(service.received(), before, "{mode:?}");
    assert_eq!(gate.readiness(), 503, "{mode:?}");
    get("/livez").send_admin(&gate).expect(200, "alive all the same");
    until_true("failures are counted", || {
        gate.metric("jwks_refreshes_total", &[("authenticator", "main"), ("result", "error")]) > 0.5
            || mode == Mode::Slow
    });
    idp.mode(Mode::Good);
    until_true(&format!("{mode:?}: recovery"), || status(&gate, &idp.token()) == 200);
    gate.wait_ready();
    let success = gate.metric("jwks_last_success_timestamp_seconds", &[("authenticator", "main")]);
    assert!(success > 1e9, "{mode:?}: {success}");
}

#[test]
fn readiness_need_not_wait_for_keys() {
    let (service, idp) = (Service::ok(""), Idp::start());
    idp.mode(Mode::Down);
    let gate = Setup::guarded(&service, &idp).admin_keys("ready_requires_keys = false").start_unready();
    gate.wait_ready();
}

#[test]
fn keys_go_on_serving_while_the_issuer_is_down() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate =
        Setup::new(service.url()).with(&idp.authenticator("main")).with("jwks_refresh = \"1s\"").start();
    for (number, mode) in
        [Mode::Down, Mode::Failing, Mode::Garbage, Mode::Huge, Mode::WrongIssuer].into_iter().enumerate()
    {
        idp.mode(mode);
        let before = idp.requests();
        until_true("the gate asks in vain", || idp.requests() >= before + 2);
        let token = idp.token().claim("sub", format!("user-{number}"));
        assert_eq!(status(&gate, &token), 200, "{mode:?}");
        assert_eq!(gate.readiness(), 200, "{mode:?}");
    }
    // A set with nothing left keeps the old one.
    idp.mode(Mode::Good);
    for nothing in [vec![], vec![json!({ "kty": "oct", "kid": "rsa", "k": "AAAA" })]] {
        idp.publish(&nothing);
        let before = idp.fetches();
        until_true("the gate sees it", || idp.fetches() >= before + 2);
        assert_eq!(status(&gate, &idp.token().claim("sub", "late")), 200, "{nothing:?}");
    }
}

#[test]
fn keys_do_not_serve_longer_than_allowed() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let stale = "jwks_refresh = \"1s\"\njwks_max_stale = \"2s\"";
    let gate = Setup::new(service.url()).with(&idp.authenticator("main")).with(stale).start();
    assert_eq!(status(&gate, &idp.token()), 200);
    idp.mode(Mode::Down);
    until_true("the keys are too old", || status(&gate, &idp.token()) == 503);
    idp.mode(Mode::Good);
    until_true("they are young again", || status(&gate, &idp.token()) == 200);
}

#[test]
fn keys_that_are_not_for_us_are_ignored() {
    let with = |changes: Value| {
        let mut jwk = Key::rsa_other().kid("odd").jwk();
        changes.as_object().unwrap().iter().for_each(|(name, value)| jwk[name] = value.clone());
        jwk
    };
    let short = base64url([0xc1_u8; 128]);
    let point = base64url([1; 32]);
    let cases = [
        ("for encryption", with(json!({ "use": "enc" }))),
        ("to sign only", with(json!({ "key_ops": ["sign"] }))),
        ("1024 bits", with(json!({ "n": short }))),
        ("exponent 1", with(json!({ "e": "AQ" }))),
        ("not on the curve", json!({ "kty": "EC", "crv": "P-256", "kid": "odd", "x": point, "y": point })),
        ("a shared secret", json!({ "kty": "oct", "kid": "odd", "k": base64url([7; 32]) })),
        ("unknown kind", json!({ "kty": "AKP", "kid": "odd", "alg": "ML-DSA-44" })),
    ];
    for (case, jwk) in cases {
        let (service, idp) = (Service::ok(""), Idp::start());
        idp.publish(&[jwk, Key::rsa().jwk()]);
        let gate = Setup::guarded(&service, &idp).start();
        assert_eq!(
            reason(&gate, &Token::new(&idp.issuer(), &Key::rsa_other().kid("odd")), 401),
            "token_key_unknown",
            "{case}"
        );
        let secret = Token::new(&idp.issuer(), &Key::secret([7; 32]).kid("odd"));
        assert_eq!(status(&gate, &secret), 401, "{case}: HS256 with a published secret");
        assert_eq!(status(&gate, &idp.token()), 200, "{case}: the good key beside it");
        service.only();
    }
}

#[test]
fn at_most_a_hundred_keys_count() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let mut keys: Vec<Value> = (0..100).map(|number| Key::rsa().kid(&format!("k{number}")).jwk()).collect();
    keys.push(Key::rsa().kid("beyond").jwk());
    idp.publish(&keys);
    let gate = Setup::guarded(&service, &idp).start();
    for (kid, expected) in [("k0", 200), ("k99", 200), ("beyond", 401)] {
        assert_eq!(status(&gate, &Token::new(&idp.issuer(), &Key::rsa().kid(kid))), expected, "{kid}");
    }
}

#[test]
fn two_issuers_side_by_side() {
    let service = Service::ok("");
    let (first, second) = (Idp::start(), Idp::with(&[Key::rsa_other().kid("rsa")]));
    let gate = Setup::new(service.url())
        .with(&first.authenticator("first"))
        .with(&second.authenticator("second"))
        .with(IDENTITY)
        .route("/first", "authenticators = [\"first\"]")
        .start();
    for (name, idp) in [("first", &first), ("second", &second)] {
        let reply = get("/").bearer(&idp.token().build()).send(&gate).expect(200, name);
        let entry = gate.access(&reply);
        assert_eq!((&entry["authenticator"], &entry["subject"]), (&json!(name), &json!("user-1")));
    }
    // Both keys are called "rsa": each counts for its own issuer only.
    for (idp, key) in [(&first, &second.key), (&second, &first.key)] {
        assert_eq!(reason(&gate, &idp.token().forged_with(key), 401), "token_signature");
    }
    assert_eq!(reason(&gate, &Token::new("http://third.test/", &first.key), 401), "token_issuer");
    let wrong = get("/first").bearer(&second.token().build()).send(&gate).expect(401, "not for this rule");
    assert_eq!(gate.reason(&wrong), "token_issuer");
    // One issuer away does not concern the other.
    second.mode(Mode::Down);
    assert_eq!(status(&gate, &first.token().claim("sub", "again")), 200);
    assert_eq!(service.requests().len(), 3);
}

#[test]
fn key_files_are_read_again() {
    let service = Service::ok("");
    let gate = Setup::new(service.url())
        .with("[authenticators.main]\nkind = \"jwt\"\nissuer = \"me\"\naudience = \"api\"\njwks_file = \"keys.json\"\njwks_refresh = \"1s\"")
        .file("keys.json", key_set(&[Key::rsa().jwk()]).to_string())
        .start();
    let new = Token::new("me", &Key::rsa_other());
    assert_eq!((status(&gate, &Token::new("me", &Key::rsa())), status(&gate, &new)), (200, 401));
    gate.setup.dir.write("keys.json", key_set(&[Key::rsa_other().jwk()]).to_string());
    until_true("the new key counts", || status(&gate, &new) == 200);
    gate.setup.dir.write("keys.json", "{");
    let_pass(Duration::from_millis(1500));
    assert_eq!(status(&gate, &new.claim("sub", "later")), 200, "a broken file changes nothing");
}
