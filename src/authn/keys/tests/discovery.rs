//! Keys that an issuer's discovery document leads to.

use super::*;

fn discovery(issuer: &str, jwks_uri: &str) -> Value {
    json!({"issuer": issuer, "jwks_uri": jwks_uri, "authorization_endpoint": "https://issuer.example/auth"})
}

/// Whether an issuer's keys are read when its discovery document is this one.
async fn discovers(issuer: &str, at: &str, document: &Value) -> bool {
    let fake = Issuer::new();
    fake.says(at, document);
    for url in [URL, "http://issuer.example/jwks", "https://keys.example/jwks"] {
        fake.says(url, &key_set(&["a"]));
    }
    let bench = Bench::new(Source::Discovery(issuer.to_owned()), fake);
    pass(10).await;
    bench.has_keys()
}

#[tokio::test(start_paused = true)]
async fn discovery_believes_nobody_but_the_issuer() {
    let at = "https://issuer.example/.well-known/openid-configuration";
    let (plain, slash) = ("https://issuer.example", "https://issuer.example/");
    for (issuer, document, good) in [
        (plain, discovery(plain, URL), true),
        (slash, discovery(slash, URL), true),
        (plain, discovery(plain, "https://keys.example/jwks"), true),
        (plain, discovery(slash, URL), false),
        (slash, discovery(plain, URL), false),
        (plain, discovery("https://evil.example", URL), false),
        (plain, discovery("https://Issuer.example", URL), false),
        (plain, discovery(plain, "http://issuer.example/jwks"), false),
        (plain, discovery(plain, "file:///jwks"), false),
        (plain, discovery(plain, "/jwks"), false),
        (plain, json!({"issuer": plain}), false),
        (plain, json!({"issuer": [plain], "jwks_uri": URL}), false),
        (plain, json!({"jwks_uri": URL}), false),
        (plain, json!([]), false),
    ] {
        assert_eq!(discovers(issuer, at, &document).await, good, "{issuer} {document}");
    }
    let insecure = "http://issuer.example/realms/a";
    let at = "http://issuer.example/realms/a/.well-known/openid-configuration";
    assert!(discovers(insecure, at, &discovery(insecure, "http://issuer.example/jwks")).await);
}

#[tokio::test(start_paused = true)]
async fn who_waits_does_not_wait_for_discovery() {
    let at = "https://issuer.example/.well-known/openid-configuration";
    let issuer = Issuer::new();
    issuer.says(at, &discovery("https://issuer.example", URL));
    issuer.says(URL, &key_set(&["a"]));
    let bench = Bench::new(Source::Discovery("https://issuer.example".to_owned()), issuer);
    seconds(2).await;
    assert!(bench.knows("a"));
    assert_eq!(bench.store.ask(Some("b")).await, Ok(()));
    assert_eq!(bench.issuer.urls(), [at, URL, URL]);
    // The issuer moves its keys: the old address fails once, then discovery names the new one.
    bench.issuer.behaves(URL, Behaviour::Says(StatusCode::NOT_FOUND, String::new()));
    bench.issuer.says(at, &discovery("https://issuer.example", "https://keys.example/jwks"));
    bench.issuer.says("https://keys.example/jwks", &key_set(&["a", "c"]));
    seconds(2).await;
    assert_eq!(bench.store.ask(Some("c")).await, Err(Unavailable));
    seconds(2).await;
    assert!(bench.knows("c"));
    assert_eq!(bench.issuer.urls()[3..], [URL, at, "https://keys.example/jwks"]);
}
