//! Looks on while a decision is made, and writes down what happens.

use super::explanation::{
    Authenticator, Credential, Entitlements, Explanation, Forward, Request, Requirement, Verdict,
};
use super::question::Question;
use super::witness::kind;
use super::{credentials, fields, rules};
use crate::config::Config;
use crate::config::document::Document;
use crate::config::policy::Access;
use crate::config::units::Period;
use crate::decide::{Decision, Manner, Observer};
use crate::denial::{Denial, Reason};
use crate::facts::Facts;
use crate::generation::{Candidate, Generation};
use crate::identity::Identity;
use crate::policy::rate::{Per, RateLimit};
use crate::policy::{Asking, Route};
use crate::rates::{Charge, Rate};
use crate::sessions::Session;
use crate::target::Target;
use http::HeaderMap;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Looks on.
#[derive(Debug)]
pub(super) struct Trace<'a> {
    config: &'a Config,
    document: &'a Document,
    generation: &'a Generation,
    question: &'a Question,
    target: Option<Target>,
    authenticators: Arc<[usize]>,
    would_deny: Option<Denial>,
    /// The status of an answer of ours that is no refusal.
    answer: Option<u16>,
    explanation: Explanation,
}

impl<'a> Trace<'a> {
    pub(super) fn new(
        (config, document, generation): (&'a Config, &'a Document, &'a Generation),
        question: &'a Question,
    ) -> Self {
        let request = Request {
            method: question.method().to_owned(),
            host: question.host().to_owned(),
            path: question.path().to_owned(),
            websocket: question.websocket(),
            client: question.client.map(|client| client.to_string()),
        };
        let explanation = Explanation { request, ..Explanation::default() };
        Self {
            config,
            document,
            generation,
            question,
            target: None,
            authenticators: [].into(),
            would_deny: None,
            answer: None,
            explanation,
        }
    }

    /// The request goes on, like this, unless the answer is ours.
    pub(super) fn rewritten(&mut self, sent: &HeaderMap, trusted: bool, decision: Decision) {
        if let Some(answer) = decision.preflight {
            self.answer = Some(answer.status().as_u16());
            return self.note("sidegate answers the preflight itself: [cors]");
        }
        let upstream = self.config.upstreams.get_index(decision.permit.upstream());
        let (upstream, url) = upstream.map_or(("", ""), |(name, upstream)| (name, upstream.url.as_str()));
        let (_, path, clean) = decision.head.into_parts();
        let hygiene = (&*self.generation.hygiene, trusted);
        self.explanation.forward = Some(Forward {
            upstream: upstream.to_owned(),
            url: url.to_owned(),
            path: path.path().to_owned(),
            removed: fields::removed(sent, &clean, hygiene, self.config),
            set: fields::set(sent, &clean, hygiene, self.config),
            headers: fields::all(&clean),
        });
        if self.target.as_ref().is_some_and(|target| target.query() != path.query()) {
            self.note("the credential in the query is not passed on");
        }
    }

    /// That was all.
    pub(super) fn conclude(mut self, denial: Option<&Denial>) -> Explanation {
        let would_deny = self.would_deny.take();
        let refusal = denial.or(would_deny.as_ref());
        let reason = refusal.map_or(Reason::Allowed, Denial::reason);
        let status = |denial: &Denial| denial.reason().status().as_u16();
        let decision = match (&denial, &would_deny) {
            (Some(_), _) => "deny",
            (None, Some(_)) => "would_deny",
            (None, None) => "allow",
        };
        self.explanation.verdict = Verdict {
            decision,
            status: denial.map(status).or(self.answer),
            would_be: would_deny.as_ref().filter(|_| denial.is_none()).map(status),
            reason: reason.label(),
            text: refusal.map(|refusal| refusal.text().to_owned()),
            cause: refusal.and_then(Denial::source).map(str::to_owned),
        };
        if matches!(reason, Reason::CredentialMalformed | Reason::CredentialRepeated) {
            self.credential(None);
        }
        let identified = self.explanation.identity.is_some();
        if let Some(authenticator) = self.explanation.authenticator.as_mut().filter(|_| !identified) {
            reason.label().clone_into(&mut authenticator.result);
        }
        self.note_assumptions();
        self.explanation
    }

    fn note_assumptions(&mut self) {
        let assumed = self.question.claims.is_some();
        if assumed && self.explanation.authenticator.is_some() {
            self.note(
                "the claims are taken as verified: signature, issuer, audience and times were not checked",
            );
        } else if assumed {
            self.note("the claims play no part here: they were not asked for");
        }
        if self.question.facts.is_some() && !self.explanation.entitlements.needed {
            self.note("the facts play no part here: nothing depends on them");
        }
    }

    fn note(&mut self, note: &str) {
        self.explanation.notes.push(note.to_owned());
    }
}

impl Observer for Trace<'_> {
    fn target(&mut self, target: &Target) {
        target.host().clone_into(&mut self.explanation.request.host);
        self.explanation.path = Some(target.path().to_owned());
        self.target = Some(target.clone());
    }

    fn route(&mut self, place: usize, route: &Route) {
        let explanation = &mut self.explanation;
        explanation.rule = Some(rules::rule(place, route, self.config, self.document));
        if let Some(target) = &self.target {
            let policy = &self.generation.policy;
            explanation.passed_over = rules::passed_over(policy, (place, target), self.config, self.document);
        }
        explanation.entitlements.needed = route.entitled;
        if matches!(route.access, Access::Authenticated | Access::Optional) {
            let open = |requirement: String| Requirement { text: requirement, met: None, reason: None };
            explanation.requirements =
                route.requirements.iter().map(|requirement| open(requirement.to_string())).collect();
        }
        self.authenticators = Arc::clone(&route.authenticators);
    }

    fn manner(&mut self, manner: &Manner) {
        if manner.is_preflight() {
            self.note("this is a CORS preflight: browsers send none with a credential");
        }
    }

    fn credential(&mut self, candidate: Option<&Candidate<'_>>) {
        let places = credentials::places(self.config, &self.authenticators);
        let found = candidate
            .map(|candidate| credentials::found(self.config, &candidate.authenticators, candidate.found()));
        self.explanation.credential = Some(Credential { places, found });
    }

    fn authenticator(&mut self, place: usize) {
        let known = self.config.authenticators.get_index(place);
        self.explanation.authenticator = known.map(|(name, authenticator)| Authenticator {
            name: name.clone(),
            kind: kind(authenticator),
            result: String::new(),
        });
    }

    fn identified(&mut self, session: &Session) {
        if let Some(authenticator) = &mut self.explanation.authenticator {
            let result = if self.question.claims.is_some() { "assumed" } else { "accepted" };
            result.clone_into(&mut authenticator.result);
        }
        self.explanation.identity = Some(identity(&session.identity));
    }

    fn facts(&mut self, facts: Option<&Facts>) {
        self.explanation.entitlements = Entitlements {
            needed: true,
            capabilities: facts.map(|facts| facts.capabilities.iter().map(str::to_owned).collect()),
            quotas: facts.map(|facts| facts.quotas.to_json()),
        };
        if facts.is_none() {
            self.note("nobody could be asked for facts, and [entitlements] on_error = \"allow\"");
        }
    }

    fn asking(&mut self, route: &Route, asking: &Asking<'_>) {
        let Some(holder) = asking.holder.filter(|_| !asking.preflight) else { return };
        for (told, requirement) in self.explanation.requirements.iter_mut().zip(route.requirements.iter()) {
            let checked = requirement.check(&holder, &route.circumstances(asking));
            told.met = Some(checked.is_ok());
            told.reason = checked.err().map(|denial| denial.reason().label());
        }
    }

    fn counted(&mut self, limit: &RateLimit, charge: &Charge) {
        let per = match &limit.per {
            Per::Client => "the client's address",
            Per::Attribute(name) => name,
        };
        let Rate { limit, burst, window } = charge.rate;
        let window = Period(window);
        let burst = if burst > 0 { format!(" and {burst} more at once") } else { String::new() };
        self.note(&format!(
            "it counts against a limit of {limit} in {window}{burst} per {per}; nothing is counted here"
        ));
    }

    fn would_deny(&mut self, denial: &Denial) {
        self.would_deny = Some(denial.clone());
    }
}

fn identity(identity: &Identity) -> Map<String, Value> {
    identity.attributes().map(|(name, value)| (name.to_owned(), value.to_json())).collect()
}
