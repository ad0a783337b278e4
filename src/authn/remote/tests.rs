use super::{KIND, Service};
use crate::authn::claims::ClaimMap;
use crate::authn::opinion::{Opinion, Reading};
use crate::authn::testing::{Scripted, Stopped, client};
use crate::clock::UnixTime;
use crate::config::authenticator::RemoteMethod;
use crate::denial::Reason;
use crate::inquiry::{Authority, Failure, Heard};
use http::StatusCode;
use indexmap::IndexMap;
use std::sync::Arc;
use std::time::Duration;

const NOW: u64 = 1_800_000_000;

fn service(client: &Arc<Scripted>, method: RemoteMethod) -> Service {
    Service {
        url: "http://auth:4567/profile".to_owned(),
        method,
        reading: Reading {
            audiences: Vec::new(),
            claims: ClaimMap::new(&IndexMap::new()).unwrap().built_in("session", KIND),
            ttl: Duration::from_secs(30),
            keeps_claims: false,
            watched: None,
        },
        timeout: Duration::from_secs(2),
        client: client.clone(),
        clock: Arc::new(Stopped(UnixTime::from_seconds(NOW))),
    }
}

async fn heard(status: u16, body: &str) -> Result<Heard<Opinion>, Failure> {
    let http = client(StatusCode::from_u16(status).unwrap(), body);
    service(&http, RemoteMethod::Get).ask("t").await
}

#[tokio::test]
async fn the_credential_goes_along_as_a_bearer_token() {
    for (method, name) in [(RemoteMethod::Get, "GET"), (RemoteMethod::Post, "POST")] {
        let http = client(StatusCode::OK, r#"{"sub":"a"}"#);
        service(&http, method).ask("a.b-c").await.unwrap();
        let request = http.request();
        assert_eq!(request.method(), name);
        assert_eq!(request.uri(), "http://auth:4567/profile");
        assert_eq!(request.headers()["authorization"], "Bearer a.b-c");
        assert!(request.headers()["authorization"].is_sensitive());
        assert!(request.body().is_empty());
    }
}

#[tokio::test]
async fn what_cannot_stand_in_a_header_is_not_asked_about() {
    let http = client(StatusCode::OK, r#"{"sub":"a"}"#);
    let heard = service(&http, RemoteMethod::Get).ask("a\r\nx-admin: 1").await.unwrap();
    assert_eq!(heard.answer.value.vouched().unwrap_err().reason(), Reason::TokenMalformed);
    assert_eq!(http.count(), 0);
}

#[tokio::test]
async fn the_status_is_the_verdict_unless_the_body_says_otherwise() {
    let inactive = Some(Reason::TokenInactive);
    for (status, body, expected) in [
        (200, r#"{"sub":"a"}"#, Some(Reason::Allowed)),
        (200, r#"{"sub":"a","valid":true,"active":true}"#, Some(Reason::Allowed)),
        (200, r#"{"sub":"a","valid":false}"#, inactive),
        (200, r#"{"sub":"a","active":false}"#, inactive),
        (200, r#"{"sub":"a","active":true,"valid":"true"}"#, inactive),
        (200, r#"{"sub":"a","valid":1}"#, inactive),
        (200, r#"{"sub":"a","valid":null}"#, inactive),
        (200, r#"{"valid":true}"#, Some(Reason::TokenClaim)),
        (200, r#"{"sub":"a","exp":1800000000}"#, Some(Reason::TokenExpired)),
        (200, r#"{"sub":"a","exp":"later"}"#, None),
        (200, r#"{"sub":"a","sub":"b"}"#, None),
        (200, "[]", None),
        (200, "", None),
        (401, "", inactive),
        (403, r#"{"sub":"a"}"#, inactive),
        (404, "<html>", inactive),
        (201, r#"{"sub":"a"}"#, None),
        (204, "", None),
        (302, "", None),
        (400, "", None),
        (429, "", None),
        (500, r#"{"sub":"a"}"#, None),
        (503, "", None),
    ] {
        let judged = heard(status, body).await.ok();
        let reason = judged.map(|heard| {
            heard.answer.value.vouched().map_or_else(|denial| denial.reason(), |_| Reason::Allowed)
        });
        assert_eq!(reason, expected, "{status} {body}");
    }
}

#[tokio::test]
async fn how_long_an_answer_is_believed() {
    let until = async |status, body| heard(status, body).await.unwrap().answer.fresh_until.seconds() - NOW;
    assert_eq!(until(200, r#"{"sub":"a"}"#).await, 30);
    assert_eq!(until(200, r#"{"sub":"a","exp":1800000003}"#).await, 3);
    assert_eq!(until(401, "").await, 5);
    assert_eq!(until(200, r#"{"valid":false}"#).await, 5);
}
