//! `[entitlements]` → where facts about customers are asked for.

use super::World;
use super::identity::is_established;
use super::secrets::Sources;
use crate::authn::claims::ClaimPath;
use crate::config::Config;
use crate::config::entitlements::{Entitlements as Written, OnError};
use crate::config::problem::{KeyPath, Problems};
use crate::entitlements::service::{Service, Terms};
use crate::entitlements::{Entitlements, Question};
use crate::inquiry::{Inquiry, Settings};
use crate::outbound::HttpClient;
use crate::standing::{Fingerprint, Running};
use http::HeaderValue;
use std::sync::Arc;
use std::time::Duration;

/// Entitlements that lack only what they get from the network.
pub(super) struct Draft {
    written: Written,
    question: Question,
    authorization: Option<HeaderValue>,
    capabilities: ClaimPath,
    quotas: ClaimPath,
    terms: Terms,
    timeout: Duration,
    on_error: OnError,
}

pub(super) fn draft(config: &Config, world: &World, problems: &mut Problems) -> Option<Draft> {
    let written = config.entitlements.as_ref()?;
    let at = KeyPath::root("entitlements");
    let question = question(written, config, &at, problems);
    let authorization = authorization(written, &at, world, problems);
    let capabilities = pointer(&written.capabilities, &at.key("capabilities"), problems);
    let quotas = pointer(&written.quotas, &at.key("quotas"), problems);
    Some(Draft {
        written: written.clone(),
        question: question?,
        authorization,
        capabilities: capabilities?,
        quotas: quotas?,
        terms: Terms {
            ttl: written.ttl.0,
            stale_while_revalidate: written.stale_while_revalidate.0,
            stale_if_error: written.stale_if_error.0,
        },
        timeout: written.timeout.0,
        on_error: written.on_error,
    })
}

impl Draft {
    /// Makes them ones that can be asked for.
    pub(super) fn open(self, client: Arc<dyn HttpClient>, world: &World) -> Arc<Entitlements> {
        let bearer = self.authorization.as_ref().map(HeaderValue::as_bytes).unwrap_or_default();
        let made_of = Fingerprint::of(&self.written).and(bearer);
        let make = || self.make(client, world);
        world.making.keep_always("entitlements", made_of, make).value
    }

    fn make(self, client: Arc<dyn HttpClient>, world: &World) -> (Arc<Entitlements>, Option<Running>) {
        let service = Service {
            authorization: self.authorization,
            capabilities: self.capabilities,
            quotas: self.quotas,
            terms: self.terms,
            timeout: self.timeout,
            client,
            clock: Arc::clone(&world.clock),
        };
        let settings = Settings { name: "entitlements".into(), timeout: self.timeout };
        let (inquiry, running) = Inquiry::open(settings, service, Arc::clone(&world.clock));
        let entitlements = Entitlements { question: self.question, inquiry, on_error: self.on_error };
        (Arc::new(entitlements), Some(running))
    }
}

fn question(written: &Written, config: &Config, at: &KeyPath, problems: &mut Problems) -> Option<Question> {
    let at = at.key("url");
    let question = Question::parse(&written.url).map_err(|why| {
        let hint = "write a URL such as \"http://entitlements:8000/resolve?customer_id={customer_id}\"";
        problems.error(at.clone(), why, hint);
    });
    let question = question.ok()?;
    if question.attributes().next().is_none() {
        let hint = "put an attribute into it, such as {customer_id}";
        problems.warning(at.clone(), "the URL names no attribute: everybody has the same facts", hint);
    }
    for attribute in question.attributes() {
        if !is_established(attribute, &config.authenticators) {
            problems.warning(
                at.clone(),
                format!(
                    "no authenticator establishes the attribute {attribute:?}: every request that needs facts is refused"
                ),
                format!("add it to an authenticator's claims, e.g. claims.{attribute} = \"sub\""),
            );
        }
    }
    Some(question)
}

fn authorization(
    written: &Written,
    at: &KeyPath,
    world: &World,
    problems: &mut Problems,
) -> Option<HeaderValue> {
    let bearer = Sources {
        name: "bearer",
        variable: written.bearer_env.as_deref(),
        file: written.bearer_file.as_deref(),
    };
    bearer.bearer(at, world, problems)
}

fn pointer(written: &str, at: &KeyPath, problems: &mut Problems) -> Option<ClaimPath> {
    let path = if written.starts_with('/') {
        ClaimPath::new(written)
    } else {
        Err("this is no JSON Pointer (RFC 6901): it does not begin with /")
    };
    path.map_err(|why| problems.error(at.clone(), why, "point into the answer: \"/capabilities\"")).ok()
}
