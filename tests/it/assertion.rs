//! `[identity.assertion]`: a JWT that the service verifies with the key set on `[admin]`, as a library would.

use crate::support::gate::Gate;
use crate::support::http2::{Answer, Frames, Http2, Http2Service};
use crate::support::idp::Idp;
use crate::support::keys::Key;
use crate::support::request::{ask, get};
use crate::support::service::Service;
use crate::support::setup::Setup;
use crate::support::tokens::now;
use crate::support::wait;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How long a new key is published before it signs.
const OVERLAP: Duration = Duration::from_secs(60);

const HEADER: &str = "x-identity-assertion";

fn assertion(keys: &str) -> String {
    format!(
        "\n[identity.assertion]\nheader = \"X-Identity-Assertion\"\nkey_file = \"assertion.pem\"\naudience = \"app\"\n{keys}\n"
    )
}

fn setup(url: &str, idp: &Idp, key: &Key) -> Setup {
    Setup::new(url)
        .with(&idp.authenticator("main"))
        .with(&assertion(""))
        .file("assertion.pem", key.private_pem())
}

#[track_caller]
fn key_set(gate: &Gate) -> JwkSet {
    let reply = get("/.well-known/jwks.json").send_admin(gate).expect(200, "the key set");
    assert_eq!(reply.header("content-type"), Some("application/jwk-set+json"));
    assert_eq!(reply.header("cache-control"), Some("public, max-age=5"));
    serde_json::from_slice(&reply.body).unwrap()
}

fn kid(token: &str) -> String {
    jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
}

/// What a service does: the key by its id, the algorithm of the key, `iss`, `aud` and `exp`.
#[track_caller]
fn verify(keys: &JwkSet, token: &str) -> Value {
    let header = jsonwebtoken::decode_header(token).unwrap();
    assert_eq!(header.typ.as_deref(), Some("JWT"));
    let jwk = keys.find(header.kid.as_ref().unwrap()).expect("the key is in the set");
    let algorithm = jwk.common.key_algorithm.unwrap().to_string().parse().unwrap();
    let mut validation = Validation::new(algorithm);
    validation.leeway = 0;
    validation.set_audience(&["app"]);
    validation.set_issuer(&["sidegate"]);
    jsonwebtoken::decode(token, &DecodingKey::from_jwk(jwk).unwrap(), &validation).unwrap().claims
}

#[track_caller]
fn told(service: &Service) -> String {
    service.last().header(HEADER).expect("an assertion").to_owned()
}

#[test]
fn a_service_verifies_it_with_the_key_set() {
    let (service, idp) = (Service::ok(""), Idp::start());
    for key in [Key::rsa_other(), Key::p256(), Key::p384(), Key::ed25519()] {
        let gate = setup(service.url(), &idp, &key)
            .with("[identity.headers]\nx-user = \"subject\"")
            .with("[authenticators.main.claims]\nplan = \"plan\"\nnumber = \"number\"\naud = \"mine\"\nexp = \"mine\"")
            .start();
        let token = idp.token().claim("roles", "b a").claim("plan", "pro").claim("number", 7);
        let token = token.claim("mine", "forged").build();
        let before = now();
        get("/").bearer(&token).send(&gate).expect(200, key.alg);
        let keys = key_set(&gate);
        assert_eq!(keys.keys.len(), 1, "{keys:?}");
        let assertion = told(&service);
        let claims = verify(&keys, &assertion);
        let issued = claims["iat"].as_i64().unwrap();
        assert!((before..=now()).contains(&issued), "{claims}");
        assert_eq!(claims["exp"], issued + 30);
        for (name, value) in [
            ("iss", json!("sidegate")),
            ("aud", json!("app")),
            ("sub", json!("user-1")),
            ("subject", json!("user-1")),
            ("roles", json!(["a", "b"])),
            ("plan", json!("pro")),
            ("authenticator", json!("main")),
            ("auth_method", json!("jwt")),
        ] {
            assert_eq!(claims[name], value, "{name} in {claims}");
        }
        assert!(!claims.to_string().contains("forged"), "{claims}");
        assert_eq!(service.last().header("x-user"), Some("user-1"));
        // One signature serves many requests of one session.
        get("/again").bearer(&token).send(&gate).expect(200, "again");
        assert_eq!(told(&service), assertion);
        let other = idp.token().claim("sub", "user-2").build();
        get("/").bearer(&other).send(&gate).expect(200, "somebody else");
        assert_eq!(verify(&keys, &told(&service))["sub"], "user-2");
    }
}

/// Spellings that some services read as the header's name.
fn aliases() -> Vec<String> {
    let separators = "-_.!#$%&'*+^`|~";
    let mut aliases: Vec<String> =
        separators.chars().map(|mark| format!("x{mark}identity{mark}assertion")).collect();
    aliases.extend(separators.chars().map(|mark| format!("X-Identity{mark}Assertion")));
    aliases
        .extend(["X-IDENTITY-ASSERTION", "X_IDENTITY_ASSERTION", "x-Identity_assertioN"].map(str::to_owned));
    aliases
}

#[test]
fn what_clients_say_under_its_name_never_arrives() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = setup(service.url(), &idp, &Key::p256())
        .route("/public", "access = \"public\"")
        .route("/optional", "access = \"optional\"")
        .start();
    let token = idp.token().build();
    let keys = key_set(&gate);
    for alias in aliases() {
        for target in ["/public", "/optional"] {
            get(target).header(&alias, "forged").send(&gate).expect(200, &alias);
            let headers = service.last().headers;
            assert!(
                !format!("{headers:?}").contains("forged") && !headers.has(HEADER),
                "{alias}: {headers:?}"
            );
        }
        for target in ["/", "/optional"] {
            let ask = get(target).header(&alias, "forged").bearer(&token).header("Connection", HEADER);
            ask.send(&gate).expect(200, &alias);
            let headers = service.last().headers;
            assert!(!format!("{headers:?}").contains("forged"), "{alias}: {headers:?}");
            assert_eq!(verify(&keys, headers.one(HEADER).unwrap())["sub"], "user-1", "{alias}");
        }
        let mut client = gate.connect();
        client.send(format!(
            "POST /public HTTP/1.1\r\nHost: gate.test\r\nTransfer-Encoding: chunked\r\nTrailer: {alias}\r\n\r\n\
             0\r\n{alias}: forged\r\n\r\n"
        ));
        client.reply().expect(200, &alias);
        let trailers = service.last().trailers;
        assert!(!format!("{trailers:?}").contains("forged"), "{alias}: {trailers:?}");
    }
    // With a token on a public route nobody was verified.
    get("/public").bearer(&token).send(&gate).expect(200, "public");
    assert!(!service.last().headers.has(HEADER));
}

#[test]
fn nor_over_http2() {
    let idp = Idp::start();
    let service = Http2Service::start(|_| Answer::ok(""));
    let gate = setup(service.url(), &idp, &Key::p256())
        .upstream("http2 = true")
        .route("/public", "access = \"public\"")
        .start();
    let keys = key_set(&gate);
    let token = format!("Bearer {}", idp.token().build());
    let mut client = Http2::connect(gate.address());
    for alias in aliases() {
        let alias = alias.to_ascii_lowercase();
        let body = || Frames::new(&[b"hi"], &[(&alias, "forged")]);
        let reply = client.send("POST", "/public", &[(&alias, "forged")], body());
        assert_eq!(reply.status, 200, "{alias}");
        let seen = service.requests().pop().unwrap();
        assert!(!format!("{seen:?}").contains("forged") && !seen.headers.has(HEADER), "{alias}: {seen:?}");
        let reply = client.send("POST", "/", &[(&alias, "forged"), ("authorization", &token)], body());
        assert_eq!(reply.status, 200, "{alias}");
        let seen = service.requests().pop().unwrap();
        assert!(!format!("{seen:?}").contains("forged"), "{alias}: {seen:?}");
        assert_eq!(verify(&keys, seen.header(HEADER).unwrap())["sub"], "user-1", "{alias}");
    }
}

#[test]
fn it_ends_with_what_vouches_for_it() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = Setup::new(service.url())
        .with(&idp.authenticator("main"))
        .with("leeway = \"0s\"")
        .with(&assertion("ttl = \"1h\"\nissuer = \"gate\""))
        .file("assertion.pem", Key::ed25519().private_pem())
        .start();
    for seconds in [20, 300, 7200] {
        let ends = now() + seconds;
        let token = idp.token().claim("exp", ends).build();
        get("/").bearer(&token).send(&gate).expect(200, "good");
        let assertion = told(&service);
        let keys = key_set(&gate);
        let mut validation = Validation::new(jsonwebtoken::Algorithm::EdDSA);
        validation.set_audience(&["app"]);
        validation.set_issuer(&["gate"]);
        let key = DecodingKey::from_jwk(keys.find(&kid(&assertion)).unwrap()).unwrap();
        let claims = jsonwebtoken::decode::<Value>(&assertion, &key, &validation).unwrap().claims;
        let (issued, expires) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
        assert_eq!(expires, ends.min(issued + 3600), "{claims}");
    }
}

#[test]
fn in_shadow_mode_whoever_was_verified_is_told_of() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = setup(service.url(), &idp, &Key::p256())
        .with("[policy]\nmode = \"shadow\"\nrequire.roles = [\"admin\"]")
        .start();
    get("/").bearer(&idp.token().build()).header(HEADER, "forged").send(&gate).expect(200, "no role");
    assert_eq!(verify(&key_set(&gate), &told(&service))["sub"], "user-1");
    for (case, ask) in [("bad", get("/").bearer("bad")), ("none", get("/"))] {
        ask.header(HEADER, "forged").send(&gate).expect(200, case);
        assert!(!service.last().headers.has(HEADER), "{case}");
    }
}

#[test]
fn keys_change_while_everything_can_be_verified() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let gate = setup(service.url(), &idp, &Key::p256()).start();
    let mut number = 0;
    let mut fresh = || {
        number += 1;
        let token = idp.token().claim("sub", format!("user-{number}")).build();
        get("/").bearer(&token).send(&gate).expect(200, "good");
        told(&service)
    };
    let first = fresh();
    let reloads = |result: &str, count| {
        gate.wait_metric("assertion_key_reloads_total", &[("result", result)], count);
    };
    gate.setup.dir.write("assertion.pem", "nonsense");
    reloads("error", 1);
    assert_eq!((kid(&fresh()), key_set(&gate).keys.len()), (kid(&first), 1), "the old key stays");
    gate.setup.dir.write("assertion.pem", Key::p384().private_pem());
    reloads("success", 1);
    // A set that was fetched before an assertion came verifies it: the key is there before it signs.
    let mut keys = key_set(&gate);
    assert_eq!((keys.keys.len(), kid(&fresh())), (2, kid(&first)));
    let published = Instant::now();
    let second = loop {
        let before = std::mem::replace(&mut keys, key_set(&gate));
        let token = fresh();
        verify(&before, &token);
        verify(&keys, &token);
        if kid(&token) != kid(&first) {
            break token;
        }
        assert!(published.elapsed() < OVERLAP + wait::PATIENCE, "the new key does not sign");
        wait::let_pass(Duration::from_millis(200));
    };
    assert!(
        published.elapsed() > Duration::from_secs(35),
        "a set may be cached for 5 s, and be asked for only every 30 s"
    );
    let keys = key_set(&gate);
    assert_eq!(keys.keys.len(), 2, "what the old key signed is good yet");
    verify(&keys, &second);
    assert!(keys.find(&kid(&first)).is_some(), "{keys:?}");
    let lines = gate.log_lines();
    let bad = lines.iter().filter(|line| line.contains("cannot be used; the old one stays")).count();
    assert_eq!(bad, 1, "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("BEGIN")), "{lines:?}");
}

#[test]
fn the_key_set_is_for_readers_on_admin_only() {
    let (service, idp) = (Service::ok("the service's own"), Idp::start());
    let gate = setup(service.url(), &idp, &Key::p256()).route("/**", "access = \"public\"").start();
    let path = "/.well-known/jwks.json";
    assert_eq!(get(path).send(&gate).expect(200, "the service").text(), "the service's own");
    ask("HEAD", path).send_admin(&gate).expect(200, "HEAD");
    ask("POST", path).body("{}").send_admin(&gate).expect(405, "POST");
    let bare = Setup::public(&service).start();
    get(path).send_admin(&bare).expect(404, "there is none");
}

#[test]
fn a_bad_key_is_an_error_at_start() {
    let (service, idp) = (Service::ok(""), Idp::start());
    for text in ["", "nonsense", &Key::p256().public_pem()] {
        let setup = setup(service.url(), &idp, &Key::p256()).file("assertion.pem", text);
        let refusal = setup.refused();
        assert_eq!(refusal.code, Some(78), "{refusal:?}");
        for part in ["identity.assertion.key_file", "exactly one private key", "openssl genpkey"] {
            assert!(refusal.text.contains(part), "{part}: {refusal:?}");
        }
    }
}
