//! Whoever may revoke, and how it is said: `POST /revocations` and `POST /backchannel-logout` on the listener for probes and metrics.

mod logout;
mod request;

use crate::authn::logout::Logout;
use crate::clock::UnixTime;
use crate::hex;
use crate::revocation::{Digest, NotTaken, Revocation, Revocations, digest_of};
use crate::secret::Secret;
use crate::telemetry::audit::Audit;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{Response, StatusCode};
use http_body_util::Full;
use request::Wanted;
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The largest body that is read, in bytes.
pub const MAX_BODY_BYTES: usize = 16 << 10;

/// How many logout tokens are remembered; beyond, one that is sent again does again what it did, which changes nothing.
const MAX_HEARD: usize = 10_000;

/// An answer.
pub type Answer = Response<Full<Bytes>>;

/// The logout tokens that were heard, until they have ended.
#[derive(Debug, Default)]
pub struct Heard(Mutex<HashMap<Digest, UnixTime>>);

impl Heard {
    /// Whether this one was heard before; if not, it is from now on.
    fn again(&self, (token, ends): (Digest, UnixTime), now: UnixTime) -> bool {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.len() >= MAX_HEARD {
            heard.retain(|_, ends| now < *ends);
        }
        if heard.get(&token).is_some_and(|ends| now < *ends) {
            return true;
        }
        if heard.len() < MAX_HEARD {
            heard.insert(token, ends);
        }
        false
    }

    /// It had no effect, and may come again.
    fn forget(&self, token: &Digest) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(token);
    }
}

/// The list of what is revoked, and who may add to it.
#[derive(Clone, Debug)]
pub struct Revoking {
    /// The list.
    pub revocations: Arc<Revocations>,
    /// Who adds to it shows this; none: there is no `POST /revocations`.
    pub secret: Option<Secret>,
    /// The issuers that may end what they have begun; none: there is no `POST /backchannel-logout`.
    pub logouts: Vec<Logout>,
    /// The logout tokens that were heard.
    pub heard: Arc<Heard>,
    /// The audit log, if there is one.
    pub audit: Option<Arc<Audit>>,
}

impl Revoking {
    /// With an audit log.
    #[must_use]
    pub fn with_audit(self, audit: Option<&Arc<Audit>>) -> Self {
        Self { audit: audit.map(Arc::clone), ..self }
    }

    /// Whether there is `POST /revocations`.
    #[must_use]
    pub const fn takes_revocations(&self) -> bool {
        self.secret.is_some()
    }

    /// Whether there is `POST /backchannel-logout`.
    #[must_use]
    pub const fn takes_logouts(&self) -> bool {
        !self.logouts.is_empty()
    }

    /// The refusal of whoever does not show the secret; none: it is shown.
    #[must_use]
    pub fn challenge(&self, headers: &HeaderMap) -> Option<Answer> {
        if self.secret.as_ref().is_some_and(|secret| shows(headers, secret)) {
            return None;
        }
        let detail = "Authorization: Bearer with the secret of [revocation] token_env or token_file";
        let mut answer = problem(StatusCode::UNAUTHORIZED, detail);
        answer
            .headers_mut()
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"revocations\""));
        Some(answer)
    }

    /// Takes a revocation; the secret was shown.
    pub async fn revoke(&self, body: &[u8], now: UnixTime) -> Answer {
        let wanted = match Wanted::read(body, self.revocations.watched(), now) {
            Ok(wanted) => wanted,
            Err(detail) => return problem(StatusCode::BAD_REQUEST, detail),
        };
        let Wanted { attribute, digest, term } = wanted;
        let taken = self.revocations.revoke(Revocation { attribute: &attribute, digest, term }, now).await;
        self.tell(&attribute, &digest, taken);
        match taken {
            Ok(()) => bare(StatusCode::NO_CONTENT),
            Err(error) => not_taken(error),
        }
    }
}

impl Revoking {
    /// The logs have digests only.
    fn tell(&self, attribute: &str, digest: &Digest, taken: Result<(), NotTaken>) {
        let sha256 = hex::encode(digest);
        match taken {
            Ok(()) => tracing::info!(attribute, sha256, "revoked"),
            Err(error) => tracing::error!(attribute, sha256, %error, "a revocation was not taken"),
        }
        if let Some(audit) = &self.audit {
            let result = taken.err().map_or_else(|| "success".to_owned(), |error| error.to_string());
            audit.event("revocation", &json!({ "attribute": attribute, "sha256": sha256, "result": result }));
        }
    }
}

/// Whether the request shows the secret (RFC 6750 §2.1). Digests are compared, in constant time: not even the length is told.
fn shows(headers: &HeaderMap, secret: &Secret) -> bool {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return false };
    let Some((scheme, token)) = field.as_bytes().split_at_checked("Bearer ".len()) else { return false };
    scheme.eq_ignore_ascii_case(b"Bearer ")
        && verify_slices_are_equal(&digest_of(token), &digest_of(secret.expose())).is_ok()
}

fn not_taken(error: NotTaken) -> Answer {
    let status = match error {
        NotTaken::Full => StatusCode::INSUFFICIENT_STORAGE,
        NotTaken::Unshared => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut answer = problem(status, &error.to_string());
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}

/// An answer without a body.
#[must_use]
pub fn bare(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// A refusal (RFC 9457).
#[must_use]
pub fn problem(status: StatusCode, detail: &str) -> Answer {
    let title = status.canonical_reason().unwrap_or_default();
    let body = json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail });
    json_answer(status, "application/problem+json", &body)
}

fn json_answer(status: StatusCode, kind: &'static str, body: &serde_json::Value) -> Answer {
    let mut answer = bare(status);
    *answer.body_mut() = Full::new(format!("{body}\n").into());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
