//! Whoever is asked while a decision is made.

use crate::allowance::Allowance;
use crate::clock::UnixTime;
use crate::denial::Denial;
use crate::entitle::{Entitled, entitle};
use crate::entitlements::Entitlements;
use crate::generation::Candidate;
use crate::policy::Route;
use crate::rates::{Charge, Limiter};
use crate::sessions::{Session, Sessions};
use crate::telemetry::tally::Tally;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

/// Who knows what a decision depends on besides the request and the rules: sessions and authorities in a gate.
pub trait Witness {
    /// Who is asking, if a credential was found. It is asked only where the rule wants one.
    ///
    /// # Errors
    /// Why the credential is refused, and the place of the authenticator that says so.
    fn identify(
        &self,
        route: &Route,
        candidate: Option<&Candidate<'_>>,
        at: UnixTime,
        client: Option<IpAddr>,
    ) -> impl Future<Output = Result<Option<Rc<Session>>, (usize, Denial)>>;

    /// What is known about the customer besides the token. It is asked only where the rule or a header depends on it.
    ///
    /// # Errors
    /// `capability_missing` and `authority_unavailable`.
    fn facts(&self, session: &Rc<Session>, at: UnixTime) -> impl Future<Output = Result<Entitled, Denial>>;

    /// Counts the request against these limits: what is left of the tightest; none where nobody counts.
    ///
    /// # Errors
    /// `authority_unavailable`.
    fn charge(&self, charges: &[Charge]) -> impl Future<Output = Result<Option<Allowance>, Denial>>;
}

/// What a gate knows: the sessions of verified credentials, and whoever is asked about customers.
#[derive(Clone, Copy, Debug)]
pub struct Authorities<'a> {
    /// Who verifies credentials, and remembers what they lead to.
    pub sessions: &'a Sessions,
    /// Where facts about customers are asked for.
    pub entitlements: Option<&'a Arc<Entitlements>>,
    /// Who counts requests with a limit.
    pub limiter: Option<&'a Limiter>,
    /// Counts the asking.
    pub tally: &'a Tally,
}

impl Witness for Authorities<'_> {
    async fn identify(
        &self,
        _: &Route,
        candidate: Option<&Candidate<'_>>,
        at: UnixTime,
        client: Option<IpAddr>,
    ) -> Result<Option<Rc<Session>>, (usize, Denial)> {
        let Some(candidate) = candidate else { return Ok(None) };
        let judged = self.sessions.authenticate(&candidate.authenticators, candidate.token(), at, client);
        judged.await.map(Some)
    }

    async fn facts(&self, session: &Rc<Session>, at: UnixTime) -> Result<Entitled, Denial> {
        let Some(entitlements) = self.entitlements else { return Ok(None) };
        Box::pin(entitle(entitlements, session, at, self.tally)).await
    }

    async fn charge(&self, charges: &[Charge]) -> Result<Option<Allowance>, Denial> {
        match self.limiter {
            Some(limiter) => limiter.charge(charges, self.tally).await,
            None => Ok(None),
        }
    }
}
