use super::{Service, Terms};
use crate::authn::claims::ClaimPath;
use crate::authn::testing::{Stopped, client};
use crate::clock::UnixTime;
use crate::facts::Facts;
use crate::inquiry::{Authority, Failure, Heard};
use crate::quotas::Quota;
use http::{HeaderValue, StatusCode};
use std::sync::Arc;
use std::time::Duration;

const NOW: u64 = 1_800_000_000;

const TERMS: Terms = Terms {
    ttl: Duration::from_secs(300),
    stale_while_revalidate: Duration::from_secs(60),
    stale_if_error: Duration::from_secs(3600),
};

async fn heard(status: u16, body: &str, terms: Terms) -> Result<Heard<Facts>, Failure> {
    let http = client(StatusCode::from_u16(status).unwrap(), body);
    let service = Service {
        authorization: Some(HeaderValue::from_static("Bearer key")),
        capabilities: ClaimPath::new("/data/capabilities").unwrap(),
        quotas: ClaimPath::new("/data/quotas").unwrap(),
        terms,
        timeout: Duration::from_secs(2),
        client: http.clone(),
        clock: Arc::new(Stopped(UnixTime::from_seconds(NOW))),
    };
    let heard = service.ask("http://e/resolve?customer_id=7").await;
    let request = http.request();
    assert_eq!(
        (request.method().as_str(), request.uri().to_string()),
        ("GET", "http://e/resolve?customer_id=7".into())
    );
    assert_eq!(request.headers()["authorization"], "Bearer key");
    assert_eq!(request.headers()["accept"], "application/json");
    heard
}

/// Capabilities and quotas in words; none = no answer.
async fn facts(status: u16, body: &str) -> Option<String> {
    let Facts { capabilities, quotas } = heard(status, body, TERMS).await.ok()?.answer.value;
    let quotas: Vec<String> = quotas.iter().map(|(name, quota)| format!("{name}={quota}")).collect();
    Some(format!("{}|{}", capabilities.iter().collect::<Vec<_>>().join(","), quotas.join(",")))
}

#[tokio::test]
async fn what_answers_mean() {
    for (status, body, expected) in [
        (
            200,
            r#"{"data":{"capabilities":{"a":true,"b":false,"c":true},"quotas":{"q":3,"u":null}}}"#,
            Some("a,c|q=3,u=unlimited"),
        ),
        (200, r#"{"data":{"capabilities":["b","a","b"],"quotas":{"q":2.9}}}"#, Some("a,b|q=2")),
        (200, r#"{"data":{"capabilities":[],"quotas":{}}}"#, Some("|")),
        (200, r#"{"data":{"capabilities":null,"quotas":null}}"#, Some("|")),
        (200, r#"{"data":{}}"#, Some("|")),
        (200, r#"{"capabilities":{"a":true}}"#, Some("|")),
        (404, "no such customer", Some("|")),
        (200, r#"{"data":{"capabilities":{"a":"true"}}}"#, None),
        (200, r#"{"data":{"capabilities":{"a":1}}}"#, None),
        (200, r#"{"data":{"capabilities":{"a":null}}}"#, None),
        (200, r#"{"data":{"capabilities":"a b"}}"#, None),
        (200, r#"{"data":{"capabilities":["a",1]}}"#, None),
        (200, r#"{"data":{"capabilities":true}}"#, None),
        (200, r#"{"data":{"quotas":{"q":"3"}}}"#, None),
        (200, r#"{"data":{"quotas":[3]}}"#, None),
        (200, r#"{"data":{"capabilities":{"a":false,"a":true}}}"#, None),
        (200, "[]", None),
        (200, "", None),
        (204, "", None),
        (301, "", None),
        (401, "", None),
        (403, "", None),
        (500, r#"{"data":{"capabilities":["a"]}}"#, None),
    ] {
        assert_eq!(facts(status, body).await.as_deref(), expected, "{status} {body}");
    }
    let unknown = heard(404, "", TERMS).await.unwrap().answer.value;
    assert_eq!(unknown.quotas.quota("q"), Quota::Limit(0));
}

#[tokio::test]
async fn how_long_answers_count() {
    let since = |time: UnixTime| time.seconds() - NOW;
    for (status, terms, expected) in [
        (200, TERMS, (300, 360, 3900)),
        (404, TERMS, (300, 360, 3900)),
        (200, Terms { stale_if_error: Duration::ZERO, ..TERMS }, (300, 360, 360)),
        (
            200,
            Terms {
                ttl: Duration::ZERO,
                stale_while_revalidate: Duration::ZERO,
                stale_if_error: Duration::ZERO,
            },
            (0, 0, 0),
        ),
    ] {
        let heard = heard(status, "{}", terms).await.unwrap();
        let times = (heard.answer.fresh_until, heard.answer.stale_until, heard.fallback_until);
        assert_eq!((since(times.0), since(times.1), since(times.2)), expected);
    }
}
