//! `sidegate token`: tokens that the gate takes, and what it says about any.

use crate::support::gate::{sidegate, sidegate_with};
use crate::support::idp::{Idp, Mode};
use crate::support::keys::Key;
use crate::support::request::get;
use crate::support::service::Service;
use crate::support::setup::Setup;
use crate::support::temp::TempDir;
use crate::support::tokens::now;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::process::Output;

const SECRET: &str = "a shared secret for development, 48 bytes long..";

fn mint(arguments: &[&str]) -> Output {
    sidegate_with(
        &[&["token", "mint"], arguments].concat(),
        &[("DEV_SECRET", SECRET), ("SHORT", "short")],
        "",
    )
}

#[track_caller]
fn minted(arguments: &[&str]) -> String {
    let output = mint(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "the token and nothing else");
    text.trim_end().to_owned()
}

fn parts(token: &str) -> (Value, Value) {
    let part = |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    let mut parts = token.split('.');
    (part(parts.next().unwrap()), part(parts.next().unwrap()))
}

#[track_caller]
fn inspected(arguments: &[&str], input: &str, code: i32) -> String {
    let output =
        sidegate_with(&[&["token", "inspect"], arguments].concat(), &[("DEV_SECRET", SECRET)], input);
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    text
}

#[test]
fn a_token_says_what_it_is_told_to() {
    let dir = TempDir::new();
    let file = dir.write("claims.json", r#"{"sub": "from-file", "plan": "pro", "iss": "from-file"}"#);
    let token = minted(&[
        "--secret-env",
        "DEV_SECRET",
        "--kid",
        "dev",
        "--typ",
        "at+jwt",
        "--claims",
        file.to_str().unwrap(),
        "--sub",
        "user-1",
        "--aud",
        "a",
        "--aud",
        "b",
        "--ttl",
        "5m",
        "--claim",
        "roles=[\"admin\"]",
        "--claim",
        "n=7",
        "--claim",
        "text=a=b",
        "--claim",
        "iss=\"last\"",
    ]);
    let (header, claims) = parts(&token);
    assert_eq!(header, json!({ "alg": "HS256", "typ": "at+jwt", "kid": "dev" }));
    let issued = claims["iat"].as_i64().unwrap();
    assert!((now() - issued).abs() < 60);
    let expected = json!({
        "sub": "user-1", "plan": "pro", "iss": "last", "aud": ["a", "b"], "iat": issued, "exp": issued + 300,
        "roles": ["admin"], "n": 7, "text": "a=b",
    });
    assert_eq!(claims, expected);
    let (_, claims) = parts(&minted(&["--secret-env", "DEV_SECRET"]));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
}

#[test]
fn what_cannot_be_signed_is_usage_or_missing() {
    let dir = TempDir::new();
    let (list, garbage) = (dir.write("list.json", "[1]"), dir.write("garbage.pem", "no key"));
    let ec = dir.write("ec.pem", rcgen_pem(&rcgen::PKCS_ECDSA_P256_SHA256));
    let (list, garbage, ec) = (list.to_str().unwrap(), garbage.to_str().unwrap(), ec.to_str().unwrap());
    for (arguments, code) in [
        (&[][..], 64),
        (&["--secret-env", "DEV_SECRET", "--key-file", ec], 64),
        (&["--secret-env", "THERE_IS_NO_SUCH_VARIABLE"], 64),
        (&["--secret-env", "SHORT"], 64),
        (&["--secret", SECRET], 64),
        (&["--key-file", garbage], 64),
        (&["--key-file", ec, "--alg", "RS256"], 64),
        (&["--secret-env", "DEV_SECRET", "--alg", "none"], 64),
        (&["--secret-env", "DEV_SECRET", "--claim", "nothing"], 64),
        (&["--secret-env", "DEV_SECRET", "--claims", list], 64),
        (&["--secret-env", "DEV_SECRET", "--ttl", "soon"], 64),
        (&["--secret-file", "/nonexistent/secret"], 66),
        (&["--key-file", "/nonexistent/key.pem"], 66),
        (&["--secret-env", "DEV_SECRET", "--claims", "/nonexistent/claims.json"], 66),
    ] {
        let output = mint(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

fn rcgen_pem(algorithm: &'static rcgen::SignatureAlgorithm) -> String {
    rcgen::KeyPair::generate_for(algorithm).unwrap().serialize_pem()
}

#[test]
fn the_gate_takes_what_was_minted_with_any_kind_of_key() {
    let service = Service::ok("");
    let dir = TempDir::new();
    dir.write("secret", format!("{SECRET}\n"));
    let mut setup = Setup::new(service.url()).with("[identity.headers]\nx-customer-id = \"subject\"\n");
    let mut cases =
        vec![("hs".to_owned(), vec!["--secret-file".to_owned(), dir.file("secret").display().to_string()])];
    setup = setup.file("secret", format!("{SECRET}\n")).with(
        "[authenticators.hs]\nkind = \"jwt\"\nissuer = \"hs\"\nsecret_file = \"secret\"\nalgorithms = [\"HS256\"]\n",
    );
    for (name, algorithm) in [
        ("rs", &rcgen::PKCS_RSA_SHA256),
        ("es", &rcgen::PKCS_ECDSA_P256_SHA256),
        ("es384", &rcgen::PKCS_ECDSA_P384_SHA384),
        ("ed", &rcgen::PKCS_ED25519),
    ] {
        let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let path = dir.write(&format!("{name}.pem"), pair.serialize_pem());
        cases.push((name.to_owned(), vec!["--key-file".to_owned(), path.display().to_string()]));
        setup = setup.file(&format!("{name}.pem"), pair.public_key_pem()).with(&format!(
            "[authenticators.{name}]\nkind = \"jwt\"\nissuer = \"{name}\"\npublic_key_file = \"{name}.pem\"\n"
        ));
    }
    let config = setup.write();
    let gate = setup.start();
    for (name, key) in &cases {
        let mut arguments: Vec<&str> = key.iter().map(String::as_str).collect();
        arguments.extend(["--iss", name, "--sub", "user-1"]);
        let token = minted(&arguments);
        let reply = get("/").bearer(&token).send(&gate).expect(200, name);
        assert_eq!(gate.access(&reply)["authenticator"], **name);
        let text = inspected(&["--config", config.to_str().unwrap()], &token, 0);
        assert!(text.contains(&format!("  {name}: would pass as \"user-1\", until ")), "{text}");
        assert_eq!(text.matches("would be refused: token_issuer").count(), cases.len() - 1, "{text}");
        assert!(!text.contains("NOT VERIFIED"), "{text}");
    }
}

#[test]
fn without_a_configuration_nothing_is_verified_and_that_is_said() {
    let token =
        minted(&["--secret-env", "DEV_SECRET", "--sub", "user-1", "--ttl", "2h", "--claim", "iat=1000"]);
    for (arguments, input) in
        [(vec![&*token], ""), (vec!["-"], &*format!("{token}\n")), (vec![], &*format!("Bearer {token}\n"))]
    {
        let text = inspected(&arguments, input, 0);
        assert!(text.starts_with("NOT VERIFIED"), "{text}");
        for needle in
            ["\"alg\": \"HS256\"", "\"sub\": \"user-1\"", "1970-01-01T00:16:40Z (", "d ago)", "(in 1 h)"]
        {
            assert!(text.contains(needle), "{needle} lacks in:\n{text}");
        }
    }
    inspected(&[], "", 64);
    for malformed in ["not-a-token", "a.b.c", &*format!("{token}x.y"), &*format!("{token}=")] {
        let text = inspected(&["-"], malformed, 1);
        assert!(text.contains("MALFORMED"), "{text}");
    }
}

#[test]
fn a_token_cannot_write_to_the_terminal() {
    let claim = "x=\u{1b}[2J\u{9b}31m\u{202e}";
    let token = minted(&["--secret-env", "DEV_SECRET", "--sub", "\u{9b}31m", "--claim", claim]);
    let text = inspected(&["-"], &token, 0);
    assert!(!text.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{text:?}");
    assert!(text.contains("\\u001b") && text.contains("\\u009b") && text.contains("\\u202e"), "{text}");
}

#[test]
fn with_a_configuration_it_says_why_a_token_is_refused() {
    let (service, idp) = (Service::ok(""), Idp::start());
    let setup = Setup::guarded(&service, &idp)
        .file("api-keys.toml", "keys = []\n")
        .with("[authenticators.keys]\nkind = \"api_key\"\nfile = \"api-keys.toml\"\n");
    let config = setup.write();
    let config = config.to_str().unwrap();
    let text = inspected(&["--config", config, &idp.token().build()], "", 0);
    assert!(text.contains("main: would pass as \"user-1\""), "{text}");
    assert!(text.contains("keys: no jwt authenticator, not asked"), "{text}");
    for (token, reason) in [
        (idp.token().expires_in(-100), "token_expired"),
        (idp.token().forged_with(&Key::rsa_other()), "token_signature"),
        (idp.token().header("kid", "unknown"), "token_key_unknown"),
        (idp.token().claim("aud", "other"), "token_audience"),
        (idp.token().claim("iss", "other"), "token_issuer"),
        (idp.token().without("sub"), "token_claim"),
    ] {
        let text = inspected(&["--config", config, "-"], &token.build(), 1);
        assert!(text.contains(&format!("main: would be refused: {reason} (")), "{reason}: {text}");
    }
    idp.mode(Mode::Down);
    let text = inspected(&["--config", config, "-"], &idp.token().build(), 1);
    assert!(text.contains("main: would be refused: authority_unavailable"), "{text}");
    inspected(&["--config", "/nonexistent/config.toml", "-"], "x", 66);
    let bad = Setup::new("ftp://nowhere").write();
    inspected(&["--config", bad.to_str().unwrap(), "-"], "x", if bad.exists() { 78 } else { 66 });
    assert_eq!(sidegate(&["token"]).status.code(), Some(64));
}
