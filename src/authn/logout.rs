//! OpenID Connect Back-Channel Logout 1.0: an issuer says that a session, or everything of a person, has ended.
//!
//! A logout token is verified as strictly as any other (§2.6), by the authenticator whose issuer it names. It is never a
//! credential, and no credential is one: only a logout token has that event, and none has a nonce.

use super::jwt::{Jwt, Refusal};
use super::keys::KeyStore;
use super::token::{Claims, Jws, NumericDate, Space};
use super::{Authenticator, Kind};
use crate::clock::UnixTime;
use crate::json::Value;
use crate::revocation::{Digest, LOGOUT_CLAIMS, Term, digest_of, logout_digest};
use std::sync::Arc;
use std::time::Duration;

/// The event that makes a token a logout token (§2.4).
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// How old a logout token may be that does not say when it ends.
const MAX_AGE: Duration = Duration::from_secs(600);

/// The `typ` values of logout tokens (§2.4), compared without case and "application/"; none is as good.
const TYPES: [&str; 2] = ["logout+jwt", "jwt"];

/// Why a logout token is not believed. The texts hold nothing of the token.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    /// It is wrong.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It is no logout token.
    #[error("{0}")]
    Other(&'static str),
    /// There are no keys to verify it with: the issuer may try again.
    #[error("the keys are unavailable")]
    Unavailable,
}

/// What has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggedOut {
    /// `sid`, or `sub` for everything of a person.
    pub claim: &'static str,
    /// What it is found by in the list of revocations.
    pub digest: Digest,
    /// How long it counts, and for what.
    pub term: Term,
    /// What tells this token from any other, and until when it could be sent again.
    pub identity: (Digest, UnixTime),
}

/// One issuer that may end sessions.
#[derive(Clone, Debug)]
pub struct Logout {
    authenticator: Arc<Authenticator>,
    audiences: Vec<String>,
    lasts: Duration,
}

impl Logout {
    /// Of that authenticator; `audiences` are the `aud` values of logout tokens, in place of its own. A logout counts for `lasts`.
    /// None, if logout tokens could not be told from others' by issuer and audience.
    #[must_use]
    pub fn new(authenticator: Arc<Authenticator>, audiences: &[String], lasts: Duration) -> Option<Self> {
        let Kind::Jwt { jwt, .. } = &authenticator.kind else { return None };
        let audiences = if audiences.is_empty() { jwt.audiences() } else { audiences }.to_vec();
        if jwt.issuers().is_empty() || audiences.is_empty() {
            return None;
        }
        Some(Self { authenticator, audiences, lasts })
    }

    /// The authenticator's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.authenticator.name
    }

    /// Whether a token names this issuer, as far as it can be believed.
    #[must_use]
    pub fn is_for(&self, token: &str) -> bool {
        let mut space = Space::default();
        let parsed = Jws::parse(token, &mut space);
        parsed.is_ok_and(|token| {
            let issuer = token.claims().issuer();
            issuer.is_some() && self.jwt().is_some_and(|(jwt, _)| jwt.takes_issuer(issuer))
        })
    }

    fn jwt(&self) -> Option<(&Jwt, &KeyStore)> {
        match &self.authenticator.kind {
            Kind::Jwt { jwt, keys } => Some((jwt, keys)),
            Kind::Introspection(_) | Kind::Remote(_) | Kind::ApiKey(_) => None,
        }
    }

    /// Verifies a logout token (§2.6); keys that are not known yet are asked for once.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub async fn verify(&self, token: &str, now: UnixTime) -> Result<LoggedOut, Rejection> {
        let (jwt, keys) = self.jwt().ok_or(Rejection::Unavailable)?;
        let kid = match self.judge(token, now) {
            Err(Rejection::Refused(Refusal::KeyUnknown)) => {
                let mut space = Space::default();
                let parsed = Jws::parse(token, &mut space).map_err(Refusal::from)?;
                parsed.header().key_id.as_deref().map(str::to_owned)
            }
            Err(Rejection::Unavailable) => None,
            judged => return judged,
        };
        tracing::debug!(authenticator = &**jwt.name(), "a logout token needs keys that are not known yet");
        keys.ask(kid.as_deref()).await.map_err(|_| Rejection::Unavailable)?;
        self.judge(token, now)
    }

    fn judge(&self, token: &str, now: UnixTime) -> Result<LoggedOut, Rejection> {
        let (jwt, keys) = self.jwt().ok_or(Rejection::Unavailable)?;
        let keys = keys.current(now).ok_or(Rejection::Unavailable)?;
        let mut space = Space::default();
        let token = Jws::parse(token, &mut space).map_err(Refusal::from)?;
        jwt.signed_by(&token, &keys, |_, _| None)?;
        let kind = token.header().kind.as_deref().map(str::to_ascii_lowercase);
        let kind = kind.as_deref().map(|kind| kind.strip_prefix("application/").unwrap_or(kind));
        if kind.is_some_and(|kind| !TYPES.contains(&kind)) {
            return Err(Refusal::Type.into());
        }
        self.logged_out(jwt, token.claims(), now)
    }

    fn logged_out(&self, jwt: &Jwt, claims: &Claims<'_>, now: UnixTime) -> Result<LoggedOut, Rejection> {
        let missing = |name: &str| Rejection::Refused(Refusal::Missing(name.into()));
        let issuer = claims.issuer().ok_or_else(|| missing("iss"))?;
        if !jwt.takes_issuer(Some(issuer)) {
            return Err(Refusal::Issuer.into());
        }
        let mut audience = claims.audience().ok_or_else(|| missing("aud"))?;
        if !audience.any(|theirs| self.audiences.iter().any(|ours| ours == theirs)) {
            return Err(Refusal::Audience.into());
        }
        let date = claims.issued().ok_or_else(|| missing("iat"))?;
        let ends = check_times(claims, date, jwt.leeway(), now)?;
        let text = |name| match claims.members().get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Text(text)) if !text.is_empty() => Ok(Some(&**text)),
            Some(
                Value::Text(_) | Value::Boolean(_) | Value::Number(_) | Value::List(_) | Value::Object(_),
            ) => Err(Rejection::Other("`jti`, `sid` or `sub` is no text")),
        };
        let id = text("jti")?.ok_or_else(|| missing("jti"))?;
        let event = claims.members().get("events").and_then(Value::as_object);
        if event.and_then(|events| events.get(EVENT)).and_then(Value::as_object).is_none() {
            return Err(Rejection::Other("`events` has no back-channel logout"));
        }
        if claims.members().get("nonce").is_some() {
            return Err(Rejection::Other("there is a `nonce`"));
        }
        let [sid, sub] = LOGOUT_CLAIMS;
        let (claim, value) = match (text(sid)?, text(sub)?) {
            (Some(session), _) => (sid, session),
            (None, Some(person)) => (sub, person),
            (None, None) => return Err(Rejection::Other("there is neither `sid` nor `sub`")),
        };
        // A session has ended for good; a person may come back, with tokens that were issued after this.
        let before = (claim == sub).then_some(date.floor);
        let term = Term { until: now.plus(self.lasts), before };
        let digest = logout_digest(issuer, claim, value);
        let identity = (digest_of(format!("{issuer}\0{id}").as_bytes()), ends);
        Ok(LoggedOut { claim, digest, term, identity })
    }
}

/// When it was issued and when it ends; returns until when it could be sent again.
fn check_times(
    claims: &Claims<'_>,
    issued: NumericDate,
    leeway: Duration,
    now: UnixTime,
) -> Result<UnixTime, Refusal> {
    if now.plus(leeway) < issued.ceil {
        return Err(Refusal::NotYetValid("iat"));
    }
    let ends = claims.expires().map_or_else(|| issued.floor.plus(MAX_AGE), |expires| expires.floor);
    let ends = ends.plus(leeway);
    if now >= ends { Err(Refusal::Expired) } else { Ok(ends) }
}
