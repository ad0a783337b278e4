use super::{Credentials, Endpoint, KIND};
use crate::authn::claims::ClaimMap;
use crate::authn::opinion::{Opinion, Reading};
use crate::authn::testing::{Scripted, Stopped, client};
use crate::clock::UnixTime;
use crate::config::authenticator::ClientAuth;
use crate::denial::Reason;
use crate::identity::Attribute;
use crate::inquiry::{Authority, Failure, Heard};
use crate::secret::Secret;
use http::StatusCode;
use http::header::AUTHORIZATION;
use indexmap::IndexMap;
use std::sync::Arc;
use std::time::Duration;

const NOW: u64 = 1_800_000_000;

fn endpoint(client: &Arc<Scripted>, method: ClientAuth, audiences: &[&str], ttl: u64) -> Endpoint {
    Endpoint {
        url: "https://idp.example/introspect".to_owned(),
        credentials: Credentials {
            id: "side gate:1".to_owned(),
            secret: Secret::new("p%+ä".as_bytes().to_vec()),
            method,
        },
        reading: Reading {
            audiences: audiences.iter().map(|&name| name.to_owned()).collect(),
            claims: ClaimMap::new(&IndexMap::new()).unwrap().built_in("opaque", KIND),
            ttl: Duration::from_secs(ttl),
            keeps_claims: false,
            watched: None,
        },
        timeout: Duration::from_secs(2),
        client: client.clone(),
        clock: Arc::new(Stopped(UnixTime::from_seconds(NOW))),
    }
}

async fn heard(body: &str, audiences: &[&str]) -> Result<Heard<Opinion>, Failure> {
    endpoint(&client(StatusCode::OK, body), ClientAuth::Basic, audiences, 60).ask("t").await
}

/// What an answer leads to: none = no answer at all.
async fn reason(body: &str, audiences: &[&str]) -> Option<Reason> {
    match heard(body, audiences).await {
        Ok(heard) => {
            Some(heard.answer.value.vouched().map_or_else(|denial| denial.reason(), |_| Reason::Allowed))
        }
        Err(failure) => {
            assert!(matches!(failure, Failure::Unusable(_)), "{body}: {failure}");
            None
        }
    }
}

#[tokio::test]
async fn the_question_is_a_form_with_one_token_and_the_client_shows_itself() {
    let http = client(StatusCode::OK, "{\"active\":false}");
    endpoint(&http, ClientAuth::Basic, &[], 60).ask("a+b/c=&client_id=x d").await.unwrap();
    let request = http.request();
    assert_eq!(request.method(), "POST");
    assert_eq!(request.headers()["content-type"], "application/x-www-form-urlencoded");
    assert_eq!(request.headers()["accept"], "application/json");
    assert_eq!(request.body(), "token=a%2Bb%2Fc%3D%26client_id%3Dx%20d&token_type_hint=access_token");
    // base64("side%20gate%3A1:p%25%2B%C3%A4")
    assert_eq!(request.headers()[AUTHORIZATION], "Basic c2lkZSUyMGdhdGUlM0ExOnAlMjUlMkIlQzMlQTQ=");
    assert!(request.headers()[AUTHORIZATION].is_sensitive());

    endpoint(&http, ClientAuth::Post, &[], 60).ask("t").await.unwrap();
    let request = http.request();
    assert!(!request.headers().contains_key(AUTHORIZATION));
    assert_eq!(
        request.body(),
        "token=t&token_type_hint=access_token&client_id=side%20gate%3A1&client_secret=p%25%2B%C3%A4"
    );
}

#[tokio::test]
async fn only_the_boolean_true_is_active() {
    assert_eq!(reason(r#"{"active":true,"sub":"a"}"#, &[]).await, Some(Reason::Allowed));
    assert_eq!(reason(r#"{"active":false,"sub":"a"}"#, &[]).await, Some(Reason::TokenInactive));
    for body in [
        r#"{"sub":"a"}"#,
        r#"{"active":"true","sub":"a"}"#,
        r#"{"active":1,"sub":"a"}"#,
        r#"{"active":null,"sub":"a"}"#,
        r#"{"active":[true],"sub":"a"}"#,
        r#"{"active":true,"active":false,"sub":"a"}"#,
        r#"{"active":false,"active":true,"sub":"a"}"#,
        r#"{"active":true,"sub":"a"} x"#,
        r#"[{"active":true,"sub":"a"}]"#,
        "true",
        "",
        "<html>",
    ] {
        assert_eq!(reason(body, &[]).await, None, "{body}");
    }
}

#[tokio::test]
async fn times_are_whole_numbers_and_honoured() {
    for (member, expected) in [
        (r#""exp":1800000001"#, Some(Reason::Allowed)),
        (r#""exp":1800000000"#, Some(Reason::TokenExpired)),
        (r#""exp":0"#, Some(Reason::TokenExpired)),
        (r#""exp":-5"#, Some(Reason::TokenExpired)),
        (r#""exp":null"#, Some(Reason::Allowed)),
        (r#""exp":18446744073709551615"#, Some(Reason::Allowed)),
        (r#""exp":1800000001.5"#, None),
        (r#""exp":1.9e9"#, None),
        (r#""exp":"1800000001""#, None),
        (r#""exp":true"#, None),
        (r#""nbf":1800000000"#, Some(Reason::Allowed)),
        (r#""nbf":1800000001"#, Some(Reason::TokenNotYetValid)),
        (r#""nbf":"soon""#, None),
    ] {
        let body = format!(r#"{{"active":true,"sub":"a",{member}}}"#);
        assert_eq!(reason(&body, &[]).await, expected, "{member}");
    }
    // Of a token that is not active anyway no more is asked.
    assert_eq!(reason(r#"{"active":false,"exp":"x"}"#, &[]).await, Some(Reason::TokenInactive));
}

#[tokio::test]
async fn an_answer_is_believed_for_the_ttl_and_never_past_the_end_of_the_token() {
    let until = async |body: &str, ttl: u64| {
        let heard =
            endpoint(&client(StatusCode::OK, body), ClientAuth::Basic, &[], ttl).ask("t").await.unwrap();
        assert_eq!(heard.answer.fresh_until, heard.answer.stale_until);
        assert_eq!(heard.answer.fresh_until, heard.fallback_until, "nothing serves in place of it");
        heard.answer.fresh_until.seconds() - NOW
    };
    assert_eq!(until(r#"{"active":true,"sub":"a"}"#, 60).await, 60);
    assert_eq!(until(r#"{"active":true,"sub":"a","exp":1800000007}"#, 60).await, 7);
    assert_eq!(until(r#"{"active":true,"sub":"a","exp":1800000070}"#, 60).await, 60);
    assert_eq!(until(r#"{"active":true,"sub":"a"}"#, 0).await, 0);
    assert_eq!(until(r#"{"active":false}"#, 60).await, 5);
    assert_eq!(until(r#"{"active":false}"#, 3).await, 3);
    assert_eq!(until(r#"{"active":true,"sub":"a","exp":1}"#, 60).await, 5);
}

#[tokio::test]
async fn the_audience_must_be_ours_where_one_is_configured() {
    for (member, expected) in [
        (r#""aud":"api""#, Some(Reason::Allowed)),
        (r#""aud":["x","api"]"#, Some(Reason::Allowed)),
        (r#""aud":"other""#, Some(Reason::TokenAudience)),
        (r#""aud":[]"#, Some(Reason::TokenAudience)),
        (r#""aud":"API""#, Some(Reason::TokenAudience)),
        (r#""aud":null"#, Some(Reason::TokenClaim)),
        (r#""x":1"#, Some(Reason::TokenClaim)),
        (r#""aud":7"#, None),
        (r#""aud":["api",7]"#, None),
    ] {
        let body = format!(r#"{{"active":true,"sub":"a",{member}}}"#);
        assert_eq!(reason(&body, &["api", "api2"]).await, expected, "{member}");
    }
}

#[tokio::test]
async fn the_identity_is_made_of_the_answer() {
    let body = r#"{"active":true,"sub":7,"scope":"read write","username":"joe","exp":1800000007}"#;
    let heard = heard(body, &[]).await.unwrap();
    let vouched = heard.answer.value.vouched().unwrap();
    assert_eq!(&*vouched.subject, "7");
    assert_eq!(vouched.expires, Some(UnixTime::from_seconds(NOW + 7)));
    assert!(vouched.identity.set_contains("scopes", "write"));
    assert_eq!(vouched.identity.attribute("auth_method"), Some(&Attribute::Text(KIND.into())));
    assert_eq!(vouched.identity.attribute("authenticator"), Some(&Attribute::Text("opaque".into())));
    // Who is it?
    assert_eq!(reason(r#"{"active":true,"username":"joe"}"#, &[]).await, Some(Reason::TokenClaim));
    assert_eq!(reason(r#"{"active":true,"sub":""}"#, &[]).await, Some(Reason::TokenClaim));
    assert_eq!(reason(r#"{"active":true,"sub":["a"]}"#, &[]).await, Some(Reason::TokenClaim));
    assert_eq!(reason(r#"{"active":true,"sub":"a","scope":7}"#, &[]).await, Some(Reason::TokenClaim));
}

#[tokio::test]
async fn no_other_status_is_an_answer() {
    for (status, is_down) in [
        (201, false),
        (204, false),
        (302, false),
        (307, false),
        (400, false),
        (401, false),
        (403, false),
        (404, false),
        (408, true),
        (429, true),
        (500, true),
        (503, true),
    ] {
        let http = client(StatusCode::from_u16(status).unwrap(), r#"{"active":true,"sub":"a"}"#);
        let failure = endpoint(&http, ClientAuth::Basic, &[], 60).ask("secret-token").await.unwrap_err();
        assert_eq!(matches!(failure, Failure::Down(_)), is_down, "{status}");
        assert_eq!(failure.to_string(), format!("the answer's status is {status}"));
    }
}

#[tokio::test]
async fn a_type_of_token_that_the_server_does_not_have_is_bad_and_no_outage() {
    let ask = async |status: u16, body: &'static str| {
        let http = client(StatusCode::from_u16(status).unwrap(), body);
        endpoint(&http, ClientAuth::Basic, &[], 60).ask("secret-token").await
    };
    let heard = ask(400, r#"{"error":"unsupported_token_type"}"#).await.unwrap();
    assert!(matches!(heard.answer.value, Opinion::Bad(Reason::TokenInactive, _)));
    for (status, body) in [
        (400, r#"{"error":"invalid_request"}"#),
        (400, r#"{"error":["unsupported_token_type"]}"#),
        (400, "unsupported_token_type"),
        (401, r#"{"error":"unsupported_token_type"}"#),
        (500, r#"{"error":"unsupported_token_type"}"#),
    ] {
        assert!(ask(status, body).await.is_err(), "{status} {body}");
    }
}
