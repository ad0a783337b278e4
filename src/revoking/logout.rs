//! `POST /backchannel-logout` (OpenID Connect Back-Channel Logout 1.0 §2.5 to §2.8).

use super::{Answer, Revoking, bare, json_answer};
use crate::authn::logout::{Logout, Rejection};
use crate::clock::UnixTime;
use crate::revocation::{LOGOUT, NotTaken, Revocation};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use percent_encoding::percent_decode_str;
use serde_json::json;
use std::borrow::Cow;

const FORM: &str = "application/x-www-form-urlencoded";

impl Revoking {
    /// Ends what an issuer says has ended.
    pub async fn log_out(&self, headers: &HeaderMap, body: &[u8], now: UnixTime) -> Answer {
        let Some(token) = is_form(headers).then(|| token(body)).flatten() else {
            return refused(StatusCode::BAD_REQUEST, "a form with exactly one logout_token is wanted");
        };
        let mut refusal = (StatusCode::BAD_REQUEST, "no authenticator has this issuer".to_owned());
        // Several may have the same issuer, and other audiences.
        for logout in self.logouts.iter().filter(|logout| logout.is_for(&token)) {
            match self.end(logout, &token, now).await {
                Ok(()) => return bare(StatusCode::OK),
                Err(error) => {
                    tracing::warn!(authenticator = logout.name(), error = %error.1, "a logout was refused");
                    refusal = error;
                }
            }
        }
        refused(refusal.0, &refusal.1)
    }

    async fn end(&self, logout: &Logout, token: &str, now: UnixTime) -> Result<(), (StatusCode, String)> {
        let ended = logout.verify(token, now).await.map_err(|rejection| {
            let status = match rejection {
                Rejection::Refused(_) | Rejection::Other(_) => StatusCode::BAD_REQUEST,
                Rejection::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            };
            (status, rejection.to_string())
        })?;
        if self.heard.again(ended.identity, now) {
            return Err((StatusCode::BAD_REQUEST, "this logout token was sent before".to_owned()));
        }
        let revocation = Revocation { attribute: LOGOUT, digest: ended.digest, term: ended.term };
        let outcome = self.revocations.revoke(revocation, now).await;
        self.tell(LOGOUT, &ended.digest, outcome);
        outcome.map_err(|error| {
            let (token, _) = ended.identity;
            self.heard.forget(&token);
            let status = match error {
                NotTaken::Full => StatusCode::INSUFFICIENT_STORAGE,
                NotTaken::Unshared => StatusCode::SERVICE_UNAVAILABLE,
            };
            (status, error.to_string())
        })
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(FORM))
}

/// The one `logout_token` of a form; other fields may stand beside it (§2.5).
fn token(body: &[u8]) -> Option<String> {
    let decoded =
        |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8().map(Cow::into_owned).ok();
    let fields = std::str::from_utf8(body).ok()?.split('&');
    let mut tokens = fields.filter_map(|field| {
        let (name, value) = field.split_once('=')?;
        (decoded(name)? == "logout_token").then(|| decoded(value))
    });
    let token = tokens.next()?;
    if tokens.next().is_some() { None } else { token }
}

/// A refusal (§2.8).
fn refused(status: StatusCode, why: &str) -> Answer {
    let error = if status == StatusCode::BAD_REQUEST { "invalid_request" } else { "temporarily_unavailable" };
    let body = json!({ "error": error, "error_description": why });
    let mut answer = json_answer(status, "application/json", &body);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}
