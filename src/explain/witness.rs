//! Who is asked while a decision is explained: what was given, and otherwise those whom a gate asks.

use super::fetching::Fetching;
use super::question::Question;
use crate::allowance::Allowance;
use crate::authn::claims::{ClaimMap, ClaimPath, subject};
use crate::authn::jwt::Refusal;
use crate::clock::UnixTime;
use crate::config::Config;
use crate::config::authenticator::Authenticator;
use crate::config::entitlements::OnError;
use crate::decide::{Authorities, Witness};
use crate::denial::{Denial, Reason};
use crate::entitle::{Entitled, url};
use crate::generation::{Candidate, Generation};
use crate::inquiry::Answer;
use crate::json::{self, Object};
use crate::policy::Route;
use crate::rates::Charge;
use crate::sessions::Session;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

/// What was given, and otherwise those whom a gate asks.
#[derive(Debug)]
pub(super) struct Standin<'a> {
    pub(super) config: &'a Config,
    pub(super) generation: &'a Generation,
    pub(super) question: &'a Question,
    pub(super) authorities: Authorities<'a>,
    pub(super) fetching: &'a Fetching,
}

/// The kind of an authenticator, as the configuration and `auth_method` call it.
pub(super) const fn kind(authenticator: &Authenticator) -> &'static str {
    match authenticator {
        Authenticator::Jwt(_) => "jwt",
        Authenticator::Introspection(_) => "introspection",
        Authenticator::Remote(_) => "remote",
        Authenticator::ApiKey(_) => "api_key",
    }
}

impl Standin<'_> {
    /// The place of the authenticator of a rule whose claims are given.
    fn place(&self, route: &Route) -> Option<usize> {
        let fits = |place: &&usize| {
            let known = self.config.authenticators.get_index(**place);
            known.is_some_and(|(name, authenticator)| match &self.question.authenticator {
                Some(wanted) => wanted == name,
                None => authenticator.claims().is_some(),
            })
        };
        route.authenticators.iter().find(fits).copied()
    }

    fn assume(&self, place: usize, claims: &Object<'_>) -> Result<Session, Denial> {
        let refused = || Denial::new(Reason::TokenClaim);
        let (name, authenticator) = self.config.authenticators.get_index(place).ok_or_else(refused)?;
        if let Authenticator::Jwt(jwt) = authenticator {
            for required in &jwt.required_claims {
                let found = ClaimPath::new(required).is_ok_and(|path| path.find(claims).is_some());
                if !found {
                    return Err(Refusal::Missing(required.as_str().into()).denial());
                }
            }
        }
        // The configuration compiles, so that this map does.
        let map = ClaimMap::new(authenticator.claims().ok_or_else(refused)?).map_err(|_| refused())?;
        let identity = map.built_in(name, kind(authenticator)).identity(claims);
        let identity = identity.map_err(|error| Refusal::from(error).denial())?;
        let headers = self.generation.identity_headers.prepare(&identity).map_err(|(attribute, unfit)| {
            refused().because(format_args!("the attribute {attribute} {unfit}"))
        })?;
        let subject = subject(&identity).ok_or_else(refused)?;
        let mut session = Session::assumed(place, identity, subject, headers);
        session.claims = Some(Arc::new(claims.to_kept()));
        Ok(session)
    }
}

impl Witness for Standin<'_> {
    async fn identify(
        &self,
        route: &Route,
        candidate: Option<&Candidate<'_>>,
        at: UnixTime,
        client: Option<IpAddr>,
    ) -> Result<Option<Rc<Session>>, (usize, Denial)> {
        let Some(claims) = &self.question.claims else {
            if self.question.offline {
                self.fetching.refuse();
            } else if candidate.is_some() {
                self.fetching.begin().await;
            }
            return self.authorities.identify(route, candidate, at, client).await;
        };
        let Some(place) = self.place(route) else { return Ok(None) };
        let claims = json::object(claims.as_bytes());
        let claims = claims.map_err(|error| (place, Denial::new(Reason::TokenMalformed).because(error)))?;
        let session = self.assume(place, &claims).map_err(|denial| (place, denial))?;
        Ok(Some(Rc::new(session)))
    }

    async fn facts(&self, session: &Rc<Session>, at: UnixTime) -> Result<Entitled, Denial> {
        if let Some(entitlements) = &self.generation.entitlements {
            url(entitlements, session)?;
        }
        if let Some(facts) = &self.question.facts {
            let (fresh_until, stale_until) = (UnixTime::NEVER, UnixTime::NEVER);
            return Ok(Some(Arc::new(Answer {
                value: facts.clone(),
                received: at,
                fresh_until,
                stale_until,
            })));
        }
        if !self.question.offline && self.question.claims.is_none() {
            self.fetching.begin().await;
            return self.authorities.facts(session, at).await;
        }
        match self.config.entitlements.as_ref().map(|entitlements| entitlements.on_error) {
            Some(OnError::Allow) | None => Ok(None),
            Some(OnError::Deny) => {
                Err(Denial::new(Reason::AuthorityUnavailable)
                    .because("no facts are given, and nobody is asked"))
            }
        }
    }

    async fn charge(&self, _: &[Charge]) -> Result<Option<Allowance>, Denial> {
        // Nobody is charged for a question.
        Ok(None)
    }
}
