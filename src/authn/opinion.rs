//! What an authority says of a credential that only it can judge, and how that is read from its answer.

use super::claims::{ClaimMap, subject};
use crate::clock::UnixTime;
use crate::denial::{Denial, Reason};
use crate::identity::Identity;
use crate::inquiry::{Failure, Heard};
use crate::json::{self, Number, Object, Value};
use crate::revocation::{Traces, Watched};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// How long a credential that was found bad is believed to be so: it may be one that is about to count.
pub const BAD_TTL: Duration = Duration::from_secs(5);

/// An authority's word on a credential.
#[derive(Clone, Debug)]
pub enum Opinion {
    /// It is good.
    Good(Vouched),
    /// It is bad: the reason, and what the log may say.
    Bad(Reason, Cow<'static, str>),
}

/// What a good credential stands for.
#[derive(Clone, Debug)]
pub struct Vouched {
    /// Who is asking.
    pub identity: Identity,
    /// The subject as text, for the log.
    pub subject: Arc<str>,
    /// When the credential itself ends, if the authority says so.
    pub expires: Option<UnixTime>,
    /// What the authority said, as it stands in its answer, if expressions look at it.
    pub claims: Option<Arc<serde_json::Value>>,
    /// What it can be revoked by, where anything can be.
    pub traces: Option<Traces>,
}

impl Opinion {
    /// What it vouches for.
    ///
    /// # Errors
    /// The refusal, if it is bad.
    pub fn vouched(&self) -> Result<&Vouched, Denial> {
        match self {
            Self::Good(vouched) => Ok(vouched),
            Self::Bad(reason, why) => Err(Denial::new(*reason).because(why)),
        }
    }

    fn weight(&self) -> usize {
        match self {
            Self::Good(vouched) => vouched
                .identity
                .weight()
                .saturating_add(vouched.subject.len())
                .saturating_add(vouched.claims.as_deref().map_or(0, json::weight))
                .saturating_add(vouched.traces.as_ref().map_or(0, Traces::weight)),
            Self::Bad(_, why) => why.len(),
        }
    }
}

/// When an authority was asked, and when its answer was there.
#[derive(Clone, Copy, Debug)]
pub struct Moments {
    /// From then on the answer ages.
    pub asked: UnixTime,
    /// By then the credential must still be good.
    pub answered: UnixTime,
}

/// How the answers of one authority are read.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The `aud` values that are accepted; empty = any.
    pub audiences: Vec<String>,
    /// Which attribute stands where.
    pub claims: ClaimMap,
    /// How long an answer is believed.
    pub ttl: Duration,
    /// Whether what was said is kept as it stands, for expressions that look at it.
    pub keeps_claims: bool,
    /// What credentials can be revoked by, where anything can be.
    pub watched: Option<Arc<Watched>>,
}

impl Reading {
    /// Reads what an authority says of a credential that it holds to be good: `exp` and `nbf` (RFC 7662 §2.2), `aud`, and the
    /// claims behind the identity.
    ///
    /// # Errors
    /// A member has another type than it must have.
    pub fn of_good(&self, members: &Object<'_>, moments: Moments) -> Result<Heard<Opinion>, Failure> {
        let (expires, begins) = (date(members, "exp")?, date(members, "nbf")?);
        let bad = |reason, why| Ok(self.bad(reason, why, moments));
        if expires.is_some_and(|expires| moments.answered >= expires) {
            return bad(Reason::TokenExpired, "the authority's `exp` has passed".into());
        }
        if begins.is_some_and(|begins| moments.answered < begins) {
            return bad(Reason::TokenNotYetValid, "the authority's `nbf` lies in the future".into());
        }
        match self.is_for_us(members)? {
            Some(true) => {}
            Some(false) => return bad(Reason::TokenAudience, "no `aud` is accepted".into()),
            None => return bad(Reason::TokenClaim, "the answer lacks `aud`".into()),
        }
        let identity = match self.claims.identity(members) {
            Ok(identity) => identity,
            Err(error) => return bad(Reason::TokenClaim, error.to_string().into()),
        };
        let Some(subject) = subject(&identity) else {
            return bad(Reason::TokenClaim, "there is no subject".into());
        };
        let until = moments.asked.plus(self.ttl);
        let until = expires.map_or(until, |expires| until.min(expires));
        let claims = self.keeps_claims.then(|| Arc::new(members.to_kept()));
        let traces = self.watched.as_ref().map(|watched| watched.traces(&identity, Some(members)));
        let opinion = Opinion::Good(Vouched { identity, subject, expires, claims, traces });
        let bytes = opinion.weight();
        Ok(Heard::until(opinion, (moments.answered, until), bytes))
    }

    /// A credential that is bad, for a while.
    #[must_use]
    pub fn bad(&self, reason: Reason, why: Cow<'static, str>, moments: Moments) -> Heard<Opinion> {
        let opinion = Opinion::Bad(reason, why);
        let bytes = opinion.weight();
        Heard::until(opinion, (moments.answered, moments.asked.plus(self.ttl.min(BAD_TTL))), bytes)
    }

    /// Whether one of the answer's `aud` is accepted; `None` if it should have one and does not.
    fn is_for_us(&self, members: &Object<'_>) -> Result<Option<bool>, Failure> {
        if self.audiences.is_empty() {
            return Ok(Some(true));
        }
        let claim = match members.get("aud") {
            None | Some(Value::Null) => return Ok(None),
            Some(claim) => claim,
        };
        let several = claim.as_list().unwrap_or(std::slice::from_ref(claim));
        let names: Option<Vec<&str>> = several.iter().map(Value::as_text).collect();
        let names = names.ok_or_else(|| Failure::malformed("`aud` is neither a text nor a list of them"))?;
        Ok(Some(names.iter().any(|name| self.audiences.iter().any(|ours| ours == name))))
    }
}

/// A point in time in whole seconds (RFC 7662 §2.2); `null` is as good as absent.
fn date(members: &Object<'_>, name: &'static str) -> Result<Option<UnixTime>, Failure> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        // What lies before 1970 has passed, and what is too far away never comes.
        Some(Value::Number(Number::Whole(seconds))) => {
            Ok(Some(UnixTime::from_seconds(u64::try_from(*seconds).unwrap_or(if *seconds < 0 {
                0
            } else {
                u64::MAX
            }))))
        }
        Some(
            Value::Number(Number::Float(_))
            | Value::Boolean(_)
            | Value::Text(_)
            | Value::List(_)
            | Value::Object(_),
        ) => Err(Failure::malformed(format_args!("`{name}` is no whole number"))),
    }
}
