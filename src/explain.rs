//! Why a request is admitted or refused: the decision of the gate, made without a gate, and told step by step.
//!
//! [`decide`] decides here as there; only who is asked on the way may differ. Claims and facts that are
//! given stand in for a verified credential and for the service of the entitlements.

mod credentials;
mod explanation;
mod fetching;
mod fields;
mod question;
mod rules;
mod text;
mod trace;
mod witness;

pub use explanation::{Entitlements, Explanation, Forward, Requirement, Rule, Verdict};
pub use question::{Fault, Question, facts};

use crate::authn::cache::Bounds;
use crate::clock::{Clock, SystemClock};
use crate::compile::{Compiled, World, compile};
use crate::config::Config;
use crate::config::document::Document;
use crate::config::load::Loaded;
use crate::config::problem::Problems;
use crate::decide::{Arrival, Authorities, decide};
use crate::denial::{Denial, Reason};
use crate::generation::Generation;
use crate::headers::forwarded::{Provenance, sent_request_id};
use crate::peer::{Peer, Scheme};
use crate::sessions::Sessions;
use crate::telemetry::tally::Tally;
use crate::wire::head::Limits;
use fetching::Fetching;
use http::HeaderValue;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use trace::Trace;
use witness::Standin;

/// Stands for the id that each request gets.
const REQUEST_ID: HeaderValue = HeaderValue::from_static("(new)");

/// Explains what one configuration does with requests.
#[derive(Debug)]
pub struct Explainer {
    config: Config,
    document: Document,
    generation: Generation,
    sessions: Sessions,
    tally: Arc<Tally>,
    clock: Arc<dyn Clock>,
    fetching: Fetching,
}

impl Explainer {
    /// Compiles a configuration as a gate does. There is an explainer if and only if the problems are no more than warnings.
    #[must_use]
    pub fn build(loaded: &Loaded) -> (Option<Self>, Problems) {
        // An error means that there is a provider already, and it is this one.
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let world = World::of_process(Arc::clone(&clock), false);
        let mut problems = Problems::default();
        let compiled = compile(&loaded.config, &world, &mut problems);
        (compiled.map(|compiled| Self::new(loaded, compiled, clock)), problems)
    }

    fn new(loaded: &Loaded, compiled: Compiled, clock: Arc<dyn Clock>) -> Self {
        let Compiled { generation, stores, standing, .. } = compiled;
        let tally = Arc::new(Tally::default());
        let bounds = Bounds { signatures: NonZeroU32::MIN, bytes: 1 << 20 };
        let headers = Arc::clone(&generation.identity_headers);
        let sessions = Sessions::new(&generation.authenticators, headers, bounds, Arc::clone(&tally))
            .with_assertions(generation.assertions.clone())
            .keeping_claims(generation.policy.wants_claims());
        let (config, document) = (loaded.config.clone(), loaded.document.clone());
        let fetching = Fetching::new(stores, standing);
        Self { config, document, generation, sessions, tally, clock, fetching }
    }

    /// The names of the routes, in the order of the configuration.
    pub fn routes(&self) -> impl Iterator<Item = &str> {
        let routes = self.generation.policy.routes().map(|route| &*route.name);
        routes.take(self.config.routes.len())
    }

    /// Whether claims can be taken for those of the authenticator of this name.
    #[must_use]
    pub fn takes_claims(&self, authenticator: &str) -> bool {
        self.config.authenticators.get(authenticator).is_some_and(|known| known.claims().is_some())
    }

    /// Decides about a request, and says why. It needs a local runtime: whoever must be asked over the network is asked there.
    pub async fn explain(&self, question: &Question) -> Explanation {
        let mut trace = Trace::new((&self.config, &self.document, &self.generation), question);
        let limits = &self.config.server.limits;
        let limits = Limits {
            header_bytes: usize::try_from(limits.header_bytes.0).unwrap_or(usize::MAX),
            headers: limits.headers.into(),
        };
        let outcome = match question.head(limits) {
            Ok(head) => self.decide(question, head, &mut trace).await,
            Err(reason) => Err(Denial::new(reason)),
        };
        trace.conclude(outcome.err().as_ref())
    }

    async fn decide(
        &self,
        question: &Question,
        (mut head, is_empty): question::Head,
        trace: &mut Trace<'_>,
    ) -> Result<(), Denial> {
        let generation = &self.generation;
        let peer = Peer {
            address: question.client.map(|client| SocketAddr::new(client, 0)),
            scheme: if self.config.server.tls.is_some() { Scheme::Https } else { Scheme::Http },
            trusted: question.client.is_some_and(|client| generation.trusts(client.to_canonical())),
        };
        let provenance = Provenance::new(&peer);
        let sent = if peer.trusted { sent_request_id(&head.headers) } else { None };
        let headers = head.headers.clone();
        let arrival = Arrival {
            client: provenance.client(&headers, |address| generation.trusts(address)),
            head: &mut head,
            is_empty,
            provenance: &provenance,
            certificate: None,
            at: self.clock.now(),
            request_id: sent.unwrap_or(REQUEST_ID),
            trace: None,
        };
        let authorities = Authorities {
            limiter: None,
            sessions: &self.sessions,
            entitlements: generation.entitlements.as_ref(),
            tally: &self.tally,
        };
        let (config, fetching) = (&self.config, &self.fetching);
        let standin = Standin { config, generation, question, authorities, fetching };
        let decision = decide(generation, &standin, arrival, trace).await?;
        trace.rewritten(&headers, peer.trusted, decision);
        Ok(())
    }
}

impl Explanation {
    /// The status of the answer, where it is not the service's own.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        self.verdict.status
    }

    /// Whether the request is not refused.
    #[must_use]
    pub fn is_admitted(&self) -> bool {
        self.verdict.decision != "deny"
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        Reason::ALL.iter().copied().find(|reason| reason.label() == self.verdict.reason)
    }
}
