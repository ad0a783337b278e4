//! `sidegate explain`: what it says, how it ends, and that it says what the gate does.

mod agreement;

use crate::support::gate::sidegate;
use crate::support::idp::Idp;
use crate::support::keys::{Key, key_set};
use crate::support::service::Service;
use crate::support::setup::Setup;
use crate::support::tokens::Token;
use serde_json::{Value, json};
use std::process::Output;

const POLICY: &str = r#"
[authenticators.main]
kind = "jwt"
issuer = "https://issuer.example/"
audience = ["api"]
jwks_file = "keys.json"

[authenticators.main.claims]
customer_id = "customer_id"

[entitlements]
url = "http://127.0.0.1:1/facts?customer_id={customer_id}"

[identity]
strip = ["x-auth-*"]
[identity.headers]
x-customer-id = "customer_id"
x-user-roles = "roles"

[[routes]]
name = "health"
path = "/health"
access = "public"

[[routes]]
name = "order"
path = "/orders/{id}"
methods = ["GET"]
require.scopes = ["orders:read"]
rewrite_prefix = { from = "/orders", to = "/internal/orders" }

[[routes]]
path = "/orders/**"

[[routes]]
name = "partners"
path = "/orders/{id}"
hosts = ["partners.example"]
access = "deny"

[[routes]]
name = "beta"
path = "/beta/**"
mode = "shadow"
require.roles = ["tester"]

[[routes]]
name = "limits"
path = "/limits"
require.capabilities = ["can.stream"]
require.quotas = { "active_algos" = 2 }
"#;

fn setup() -> Setup {
    Setup::new("http://127.0.0.1:8000")
        .with(POLICY)
        .file("keys.json", key_set(&[Key::rsa().jwk()]).to_string())
        .file("claims.json", claims().to_string())
}

fn claims() -> Value {
    json!({ "sub": "user-1", "customer_id": "c-42", "scope": "orders:read", "roles": ["editor"] })
}

/// Runs `explain`; arguments that begin with `@` are files of the setup.
fn explain(setup: &Setup, arguments: &[&str]) -> (Option<i32>, String, String) {
    let config = setup.write();
    let mut whole = vec!["explain".to_owned(), "--config".to_owned(), config.to_str().unwrap().to_owned()];
    whole.extend(arguments.iter().map(|argument| match argument.strip_prefix('@') {
        Some(name) => setup.dir.file(name).to_str().unwrap().to_owned(),
        None => (*argument).to_owned(),
    }));
    let whole: Vec<&str> = whole.iter().map(String::as_str).collect();
    let Output { status, stdout, stderr } = sidegate(&whole);
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[track_caller]
fn said(arguments: &[&str], code: i32) -> String {
    let (status, out, err) = explain(&setup(), arguments);
    assert_eq!((status, err.as_str()), (Some(code), ""), "{arguments:?}: {out}");
    out
}

#[test]
fn each_step_of_an_admitted_request() {
    insta::assert_snapshot!(said(
        &[
            "--path",
            "/orders/%7Ea?x=1",
            "--host",
            "API.example:8080",
            "--claims",
            "@claims.json",
            "--client",
            "192.0.2.7",
            "--header",
            "X_Customer_Id: evil",
            "--header",
            "x-auth-user: evil",
            "--header",
            "x-forwarded-for: 6.6.6.6",
            "--header",
            "connection: x-debug, keep-alive",
            "--header",
            "x-debug: 1",
        ],
        0
    ));
}

#[test]
fn each_step_of_refused_ones() {
    let cases: &[(&str, &[&str])] = &[
        ("no credential", &["--path", "/orders/7"]),
        ("a credential of another scheme", &["--path", "/orders/7", "--header", "authorization: Basic eDp5"]),
        (
            "a repeated credential",
            &["--path", "/orders/7", "--token", "a", "--header", "authorization: Bearer b"],
        ),
        ("no token", &["--path", "/orders/7", "--token", "a.b"]),
        ("a path that is refused", &["--path", "/orders/%2e%2e/7"]),
        ("a method that is refused", &["--method", "TRACE", "--path", "/orders/7"]),
        (
            "a route for nobody",
            &["--path", "/orders/7", "--host", "partners.example", "--claims", "@claims.json"],
        ),
        ("nobody is asked for facts", &["--path", "/limits", "--claims", "@claims.json"]),
    ];
    let told: Vec<String> =
        cases.iter().map(|(case, arguments)| format!("# {case}\n{}", said(arguments, 1))).collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn facts_stand_in_for_the_service() {
    let setup = setup()
        .file("poor.json", r#"{ "capabilities": ["can.stream"], "quotas": { "active_algos": 1 } }"#)
        .file(
            "rich.json",
            r#"{ "capabilities": { "can.stream": true, "no": false }, "quotas": { "active_algos": null } }"#,
        );
    let told = [("@poor.json", 1), ("@rich.json", 0)].map(|(facts, code)| {
        let (status, out, err) =
            explain(&setup, &["--path", "/limits", "--claims", "@claims.json", "--facts", facts]);
        assert_eq!(status, Some(code), "{out}{err}");
        out
    });
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn shadow_mode_says_what_would_be() {
    insta::assert_snapshot!(said(&["--path", "/beta/x", "--claims", "@claims.json"], 0));
}

#[test]
fn json_is_one_object_of_stable_members() {
    let out =
        said(&["--path", "/orders/7", "--claims", "@claims.json", "--header", "x-auth-user: x", "--json"], 0);
    insta::assert_snapshot!(out);
    let refused = said(&["--path", "/orders/../7", "--json"], 1);
    let refused: Value = serde_json::from_str(&refused).unwrap();
    assert_eq!(refused["verdict"]["reason"], "path_refused");
    assert_eq!((&refused["rule"], &refused["path"]), (&Value::Null, &Value::Null));
}

#[test]
fn a_real_token_is_judged_and_never_told() {
    let setup = setup();
    let token = Token::new("https://issuer.example/", &Key::rsa()).claims(claims());
    for (case, token, code, word) in [
        ("good", token.clone(), 0, "main (jwt): accepted"),
        ("expired", token.clone().expires_in(-60), 1, "main (jwt): token_expired"),
        ("another audience", token.clone().claim("aud", "x"), 1, "main (jwt): token_audience"),
        ("another issuer", token.claim("iss", "x"), 1, "main (jwt): token_issuer"),
    ] {
        let token = token.build();
        setup.dir.write("token", format!("{token}\n"));
        for arguments in [["--token", token.as_str()], ["--token-file", "@token"]] {
            for json in [[].as_slice(), &["--json"]] {
                let (status, out, err) =
                    explain(&setup, &[&["--path", "/orders/7"], &arguments[..], json].concat());
                assert_eq!(status, Some(code), "{case}: {out}{err}");
                assert!(!json.is_empty() || out.contains(word), "{case}: {out}");
                for part in token.split('.') {
                    assert!(!out.contains(part) && !err.contains(part), "{case}: {out}{err}");
                }
            }
        }
    }
}

#[test]
fn keys_are_fetched_for_a_token_and_for_nothing_else() {
    let idp = Idp::start();
    let setup = Setup::new("http://127.0.0.1:8000").with(&idp.authenticator("main"));
    setup.dir.write("claims.json", claims().to_string());
    let (status, out, err) = explain(&setup, &["--path", "/", "--claims", "@claims.json"]);
    assert_eq!((status, idp.requests()), (Some(0), 0), "{out}{err}");
    let (status, out, err) = explain(&setup, &["--path", "/", "--token", &idp.token().build()]);
    assert_eq!(status, Some(0), "{out}{err}");
    assert_eq!(idp.fetches(), 1);
}

#[test]
fn facts_are_asked_for_with_a_token_only() {
    let service = Service::ok(r#"{ "capabilities": ["can.stream"], "quotas": { "active_algos": 2 } }"#);
    let policy = POLICY.replace("http://127.0.0.1:1", service.url());
    let setup = Setup::new("http://127.0.0.1:8000")
        .with(&policy)
        .file("keys.json", key_set(&[Key::rsa().jwk()]).to_string())
        .file("claims.json", claims().to_string());
    let token = Token::new("https://issuer.example/", &Key::rsa()).claims(claims()).build();
    assert_eq!(explain(&setup, &["--path", "/limits", "--claims", "@claims.json"]).0, Some(1));
    assert_eq!(service.requests().len(), 0);
    let (status, out, err) = explain(&setup, &["--path", "/limits", "--token", &token]);
    assert_eq!(status, Some(0), "{out}{err}");
    assert!(out.contains("capabilities: can.stream: met"), "{out}");
    assert_eq!(service.targets(), ["/facts?customer_id=c-42"]);
}

#[test]
fn claims_may_be_those_of_a_certain_authenticator() {
    let second = "\n[authenticators.other]\nkind = \"jwt\"\nissuer = \"https://other.example/\"\njwks_file = \"keys.json\"\n\
        claims.customer_id = { value = \"constant\" }\n";
    let setup = setup().with(second);
    let with =
        |name| explain(&setup, &["--path", "/orders/7", "--claims", "@claims.json", "--authenticator", name]);
    let (status, out, _) = with("other");
    assert_eq!(status, Some(0), "{out}");
    assert!(out.contains("x-customer-id: constant"), "{out}");
    assert_eq!(with("nobody").0, Some(64));
}

#[test]
fn how_it_ends() {
    let setup = setup().file("broken.json", "{").file("list.json", "[]");
    for (case, arguments, code) in [
        ("no path", ["--method", "GET"].as_slice(), 64),
        ("no such claims", &["--path", "/", "--claims", "@missing.json"], 66),
        ("broken claims", &["--path", "/", "--claims", "@broken.json"], 64),
        ("claims that are a list", &["--path", "/", "--claims", "@list.json"], 64),
        ("facts that are a list", &["--path", "/", "--facts", "@list.json"], 64),
        ("claims and a token", &["--path", "/", "--claims", "@claims.json", "--token", "x"], 64),
        ("a header without colon", &["--path", "/", "--header", "x"], 64),
        ("a header of two lines", &["--path", "/", "--header", "x: 1\r\nhost: y"], 64),
        ("a path of two lines", &["--path", "/\r\nx: y"], 64),
    ] {
        let (status, out, err) = explain(&setup, arguments);
        assert_eq!(status, Some(code), "{case}: {out}{err}");
        assert!(!err.is_empty() && out.is_empty(), "{case}");
    }
    let missing = sidegate(&["explain", "--config", "/nonexistent/c.toml", "--path", "/"]);
    assert_eq!(missing.status.code(), Some(66));
    assert_eq!(explain(&setup.with("nonsense = 1"), &["--path", "/"]).0, Some(78));
}
