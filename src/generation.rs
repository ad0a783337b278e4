//! One compiled configuration: everything that requests are judged by, immutable and shared by all workers.

use crate::assertion::Assertions;
use crate::authn::Authenticator;
use crate::authn::credential::{Carrier, Credential, Found, Places};
use crate::config::log::DenialBody;
use crate::config::rate_limit::Fields;
use crate::denial::Denial;
use crate::entitlements::Entitlements;
use crate::headers::Hygiene;
use crate::headers::cors::Cors;
use crate::headers::trusted::IdentityHeaders;
use crate::policy::{Bypass, Policy};
use crate::proxy::connect::Upstream;
use crate::rates::Limiter;
use crate::revocation::Revocations;
use crate::target::PathRules;
use crate::telemetry::tracing::Tracer;
use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Where the credentials of a rule are looked for, and who may judge what is found there.
///
/// Authenticators that look in the same places are one entry, so that a request is searched once for them all.
#[derive(Clone, Debug, Default)]
pub struct Lookup(pub Vec<(Arc<Places>, Vec<usize>)>);

/// A credential, and who may judge it.
#[derive(Debug)]
pub struct Candidate<'a> {
    credential: Credential<'a>,
    /// Places in the list of authenticators; the token's shape decides among them.
    pub authenticators: Cow<'a, [usize]>,
}

impl Lookup {
    /// The credential that the first authenticator to find one has found.
    ///
    /// # Errors
    /// `credential_malformed` and `credential_repeated`.
    pub fn find<'a>(&'a self, carrier: &Carrier<'a>) -> Result<Option<Candidate<'a>>, Denial> {
        let mut candidate: Option<Candidate<'a>> = None;
        for (places, authenticators) in &self.0 {
            let Some(credential) = places.find(carrier)? else { continue };
            match &mut candidate {
                None => candidate = Some(Candidate { credential, authenticators: authenticators.into() }),
                Some(candidate) if candidate.credential == credential => {
                    candidate.authenticators.to_mut().extend(authenticators);
                }
                Some(_) => {}
            }
        }
        Ok(candidate)
    }
}

impl Candidate<'_> {
    /// The token as it was sent.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.credential.token
    }

    /// The kind of place that it was found in.
    #[must_use]
    pub const fn found(&self) -> Found<'_> {
        self.credential.found
    }

    /// The word that stood in front of the token, if it came as a WebSocket subprotocol.
    #[must_use]
    pub fn subprotocol(&self) -> Option<HeaderValue> {
        match self.credential.found {
            Found::Subprotocol(word) => HeaderValue::from_str(word).ok(),
            Found::Header(_) | Found::Cookie(_) | Found::Query(_) => None,
        }
    }
}

/// What the facade answers with.
#[derive(Debug)]
pub struct FacadeRules {
    /// Where its tokens are looked for, and who judges them.
    pub lookup: Lookup,
    /// The members of an answer besides `valid`; empty = every attribute.
    pub validate: Vec<Member>,
}

/// One member of the facade's answer.
#[derive(Debug)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// The identity attribute that it carries.
    pub attribute: String,
    /// Whether it is null without the attribute; else there is no answer.
    pub optional: bool,
}

/// How large requests may be, and how slow.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest request body; 0 = unlimited.
    pub body_bytes: u64,
    /// How long a client may send nothing of it.
    pub body_timeout: Duration,
    /// Fields of a request head.
    pub headers: usize,
    /// Its bytes, over HTTP/2.
    pub header_bytes: usize,
}

/// One compiled configuration. Every request is judged by one of them from its first byte to its last.
#[derive(Debug)]
pub struct Generation {
    /// The rules.
    pub policy: Policy,
    /// For each rule, in the order of the policy, where its credentials are looked for.
    pub lookups: Vec<Lookup>,
    /// Who may vouch for identities.
    pub authenticators: Vec<Arc<Authenticator>>,
    /// What is revoked.
    pub revocations: Option<Arc<Revocations>>,
    /// Where facts about customers are asked for.
    pub entitlements: Option<Arc<Entitlements>>,
    /// What the facade answers with.
    pub facade: Option<FacadeRules>,
    /// Set when nobody is judged, for development.
    pub bypass: Option<Bypass>,
    /// The services.
    pub upstreams: Vec<Arc<Upstream>>,
    /// What is stripped from every request.
    pub hygiene: Arc<Hygiene>,
    /// What services are told.
    pub identity_headers: Arc<IdentityHeaders>,
    /// Whether facts about the customer are part of that.
    pub tells_facts: bool,
    /// Whether the client's certificate is part of that.
    pub tells_certificate: bool,
    /// What tells services the same under a signature.
    pub assertions: Option<Arc<Assertions>>,
    /// How paths are canonicalised.
    pub paths: PathRules,
    /// Whose `X-Forwarded-*` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// How refusals are worded.
    pub denial_body: DenialBody,
    /// Set on every response.
    pub response_headers: HeaderMap,
    /// Who counts requests, where anything is counted.
    pub limiter: Option<Arc<Limiter>>,
    /// How requests are traced, if they are.
    pub tracer: Option<Arc<Tracer>>,
    /// The response fields that tell about rate limits.
    pub rate_fields: Fields,
    /// What browsers are told about other origins; none = it is the services' own business.
    pub cors: Option<Cors>,
    /// How large requests may be, and how slow.
    pub limits: Limits,
}

impl Generation {
    /// Where the credentials of the rule at that place are looked for.
    #[must_use]
    pub fn lookup(&self, route: usize) -> &Lookup {
        const NOWHERE: &Lookup = &Lookup(Vec::new());
        self.lookups.get(route).unwrap_or(NOWHERE)
    }

    /// Whether what this address says about the way of a request is believed.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(&address))
    }
}
