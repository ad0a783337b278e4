//! `sidegate test`: policy tests.

use crate::support::gate::sidegate;
use crate::support::idp::Idp;
use crate::support::keys::{Key, key_set};
use crate::support::setup::Setup;
use crate::support::tokens::Token;

const POLICY: &str = r#"
[authenticators.main]
kind = "jwt"
issuer = "https://issuer.example/"
audience = ["api"]
jwks_file = "keys.json"
claims.customer_id = "customer_id"

[entitlements]
url = "http://127.0.0.1:1/facts?customer_id={customer_id}"

[identity.headers]
x-customer-id = "customer_id"

[[routes]]
name = "health"
path = "/health"
access = "public"

[[routes]]
name = "orders"
path = "/orders/**"
require.scopes = ["orders:read"]

[[routes]]
name = "limits"
path = "/limits"
require.capabilities = ["can.stream"]
require.quotas = { "active_algos" = 2 }

[[routes]]
name = "beta"
path = "/beta"
mode = "shadow"
"#;

const GOOD: &str = r#"
[[tests]]
name = "a customer reads orders"
request = { path = "/orders/7", headers = { "x-customer-id" = "evil", "X_Customer_Id" = "evil", accept = ["a/b", "c/d"] } }
claims = { sub = "user-1", customer_id = 42, scope = "orders:read", weight = 1.5 }
expect = { status = 200, reason = "allowed", decision = "allow", route = "orders", headers = { "x-customer-id" = "42", "x_customer_id" = "", "accept" = "a/b, c/d" } }

[[tests]]
name = "others do not"
request = { method = "GET", path = "/orders/7", host = "api.example", client = "192.0.2.1" }
claims = { sub = "user-1", customer_id = 42 }
expect = { status = 403, reason = "scope_missing", decision = "deny", headers = { "x-customer-id" = "" } }

[[tests]]
name = "facts"
request = { path = "/limits" }
claims = { sub = "user-1", customer_id = 42 }
facts = { capabilities = ["can.stream"], quotas = { active_algos = "unlimited" } }
expect = { status = 200 }

[[tests]]
name = "no facts"
request = { path = "/limits" }
claims = { sub = "user-1", customer_id = 42 }
authenticator = "main"
expect = { status = 503, reason = "authority_unavailable" }

[[tests]]
name = "shadow"
request = { path = "/beta", websocket = true }
expect = { status = 200, decision = "would_deny", reason = "credential_missing", route = "beta" }

[[tests]]
name = "no route"
request = { path = "/else" }
expect = { route = "policy" }
"#;

fn setup() -> Setup {
    Setup::new("http://127.0.0.1:8000")
        .with(POLICY)
        .file("keys.json", key_set(&[Key::rsa().jwk()]).to_string())
}

/// Runs `test` on these files; their directory is left out of what is said.
fn run(setup: &Setup, files: &[&str]) -> (Option<i32>, String, String) {
    let config = setup.write();
    let files: Vec<String> =
        files.iter().map(|name| setup.dir.file(name).to_str().unwrap().to_owned()).collect();
    let mut arguments = vec!["test", "--config", config.to_str().unwrap()];
    arguments.extend(files.iter().map(String::as_str));
    let output = sidegate(&arguments);
    let directory = format!("{}/", config.parent().unwrap().display());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(&directory, "");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn tests_that_pass() {
    let setup = setup().file("good.toml", GOOD);
    let (status, out, err) = run(&setup, &["good.toml"]);
    assert_eq!((status, err.as_str()), (Some(0), ""), "{out}");
    assert_eq!(out, "routes that no test covers: health\n6 passed, 0 failed\n");
    let more = "[[tests]]\nname = \"health\"\nrequest = { path = \"/health\" }\nexpect = { status = 200 }\n";
    let (status, out, err) = run(&setup.file("more.toml", more), &["good.toml", "more.toml"]);
    assert_eq!((status, out.as_str(), err.as_str()), (Some(0), "7 passed, 0 failed\n", ""));
}

#[test]
fn each_failure_names_all_its_differences() {
    let failing = r#"
[[tests]]
name = "everything is other"
request = { path = "/orders/7" }
claims = { sub = "user-1", customer_id = "c-1" }
expect = { status = 200, reason = "allowed", decision = "allow", route = "health", headers = { "x-customer-id" = "c-1" } }

[[tests]]
name = "a header is other"
request = { path = "/orders/7" }
claims = { sub = "user-1", customer_id = "c-1", scope = "orders:read" }
expect = { status = 200, headers = { "x-customer-id" = "c-2", "x-missing" = "1", "x-request-id" = "" } }

[[tests]]
name = "this one passes"
request = { path = "/health" }
expect = { status = 200 }
"#;
    let (status, out, err) = run(&setup().file("failing.toml", failing), &["failing.toml"]);
    assert_eq!((status, err.as_str()), (Some(1), ""), "{out}");
    insta::assert_snapshot!(out);
}

#[test]
fn everything_that_is_wrong_with_a_file_is_said_at_once() {
    let form = r#"
[[tests]]
nam = "x"
request = { path = "/", pth = 1 }
claims = 3
expect = { status = "200", decision = "maybe", headers = { a = 1 } }
"#;
    let meaning = r#"
[[tests]]
name = "x"
request = { path = "/", client = "here", headers = { "a b" = "1" } }
claims = { sub = "x", at = 2027-01-01 }
token = "x"
authenticator = "nobody"
expect = { status = 99, reason = "because", route = "nowhere", headers = { "a b" = "" } }

[[tests]]
name = "y"
request = { path = "/", client = "here" }
authenticator = "main"
expect = { }
"#;
    let setup = setup().file("form.toml", form).file("meaning.toml", meaning).file("empty.toml", "");
    let (status, out, err) = run(&setup, &["form.toml", "meaning.toml", "empty.toml"]);
    assert_eq!((status, out.as_str()), (Some(78), ""), "{err}");
    insta::assert_snapshot!(err);
    assert_eq!(run(&setup, &["missing.toml"]).0, Some(66));
    assert_eq!(run(&setup, &[]).0, Some(64));
    assert_eq!(run(&setup.with("nonsense = 1"), &["empty.toml"]).0, Some(78));
}

#[test]
fn tokens_are_judged_with_keys_from_files() {
    let token = Token::new("https://issuer.example/", &Key::rsa());
    let token = token.claim("customer_id", 42).claim("scope", "orders:read");
    let test = |token: String, reason: &str| {
        format!(
            "[[tests]]\nname = \"t\"\nrequest.path = \"/orders/7\"\ntoken = {token:?}\nexpect.reason = {reason:?}\n"
        )
    };
    let tests = [
        test(token.build(), "allowed"),
        test(token.clone().expires_in(-60).build(), "token_expired"),
        test(token.forged_with(&Key::rsa_other()).build(), "token_signature"),
    ];
    let (status, out, err) = run(&setup().file("tokens.toml", tests.join("\n")), &["tokens.toml"]);
    assert_eq!(status, Some(0), "{out}{err}");
}

#[test]
fn nobody_is_asked_over_the_network() {
    let idp = Idp::start();
    let tests = format!(
        "[[tests]]\nname = \"t\"\nrequest.path = \"/\"\ntoken = {:?}\nexpect = {{ status = 503, reason = \"authority_unavailable\" }}\n\
         [[tests]]\nname = \"c\"\nrequest.path = \"/\"\nclaims.sub = \"x\"\nexpect.status = 200\n",
        idp.token().build()
    );
    let setup = Setup::new("http://127.0.0.1:8000").with(&idp.authenticator("main")).file("t.toml", tests);
    let (status, out, err) = run(&setup, &["t.toml"]);
    assert_eq!((status, idp.requests()), (Some(0), 0), "{out}{err}");
}
