//! From configuration to a [`Generation`]: every cross-check happens here, and none at request time.

mod assertion;
mod audit;
mod authenticators;
mod cors;
mod entitlements;
mod expressions;
mod facade;
mod identity;
mod judges;
mod rate_limits;
mod redis;
mod responses;
mod revocation;
mod routes;
mod secrets;
mod server;
mod tracing;
mod upstreams;
mod warnings;

use crate::authn::api_key::KeyFile;
use crate::authn::keys::KeyStore;
use crate::clock::Clock;
use crate::config::Config;
use crate::config::problem::Problems;
use crate::entitlements::Entitlements;
use crate::generation::Generation;
use crate::inquiry::Figures;
use crate::policy::Policy;
use crate::redis::Redis;
use crate::revoking::Revoking;
use crate::standing::{Making, Standing};
use crate::target::PathRules;
use arc_swap::ArcSwap;
use authenticators::{Authenticators, Keeping};
use rustls::ServerConfig;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Looks up an environment variable.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What the compiler needs of the world.
#[derive(Clone)]
pub struct World {
    /// Looks up environment variables, for `*_env` keys.
    pub environment: Environment,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Whether nobody is to be judged, for development; only on loopback addresses.
    pub bypass: bool,
    /// What outlives a configuration is made or handed on here.
    pub making: Arc<Making>,
}

impl World {
    /// This process's own world; nothing is handed on from an earlier configuration.
    #[must_use]
    pub fn of_process(clock: Arc<dyn Clock>, bypass: bool) -> Self {
        let environment = Arc::new(|name: &str| std::env::var(name).ok());
        Self { environment, clock, bypass, making: Arc::default() }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("World").field("clock", &self.clock).finish_non_exhaustive()
    }
}

/// A generation and what must run beside it.
pub struct Compiled {
    /// What requests are judged by.
    pub generation: Generation,
    /// The keys of every jwt authenticator, for readiness and metrics.
    pub stores: Vec<Arc<KeyStore>>,
    /// How the asking goes, by authenticator; none = the entitlements.
    pub figures: Vec<(Option<Arc<str>>, Arc<Figures>)>,
    /// The key files, for metrics.
    pub key_files: Vec<Arc<KeyFile>>,
    /// What replicas share, if they share anything.
    pub redis: Option<Arc<Redis>>,
    /// What is revoked, and who may add to it.
    pub revoking: Option<Revoking>,
    /// TLS towards clients, if it is served; swapped when its files change.
    pub tls: Option<Arc<ArcSwap<ServerConfig>>>,
    /// What may outlive this configuration, and what must run for it on the control thread.
    pub standing: Standing,
    /// The files that it depends on, besides its own.
    pub files: Vec<PathBuf>,
}

/// What there is outside besides issuers and services; nothing of it is opened yet.
struct Outside {
    redis: Option<redis::Draft>,
    revocation: Option<revocation::Draft>,
    entitlements: Option<entitlements::Draft>,
    tracing: Option<tracing::Draft>,
}

impl Outside {
    fn draft(config: &Config, world: &World, problems: &mut Problems) -> Self {
        audit::check(config, problems);
        Self {
            redis: redis::draft(config, world, problems),
            revocation: revocation::draft(config, world, problems),
            entitlements: entitlements::draft(config, world, problems),
            tracing: tracing::draft(config, world, problems),
        }
    }
}

/// Compiles a configuration.
///
/// What is wrong, and what is only suspicious, is added to `problems`; there is a result if and only if nothing
/// is wrong.
#[must_use]
pub fn compile(config: &Config, world: &World, problems: &mut Problems) -> Option<Compiled> {
    let paths = PathRules::from(config.server.paths);
    let tls = server::compile(config, world, problems);
    let Outside { redis, revocation, entitlements, tracing } = Outside::draft(config, world, problems);
    let bypass = if world.bypass { server::bypass(config, problems) } else { None };
    let upstreams = upstreams::compile(&config.upstreams, world, problems);
    let routes = routes::compile(config, paths, problems);
    let keeping = keeping(routes.as_ref(), revocation.as_ref(), world);
    let authenticators = authenticators::compile(config, world, &keeping, problems);
    let identity = identity::compile(config, bypass, problems);
    let assertions = assertion::compile(config, identity.assertion, world, problems);
    let response_headers = responses::headers(&config.response_headers, bypass, problems);
    let cors = cors::compile(config, problems);
    refuse_ambiguous(routes.as_ref(), authenticators.as_ref(), config, problems);
    let facade = facade::check(config, problems);
    if problems.has_errors() {
        return None;
    }
    let (policy, used) = routes?;
    let Authenticators { list, stores, key_files, figures: asked, client } = authenticators?;
    let tracer = tracing.map(|draft| draft.open(Arc::clone(&client), world));
    let entitlements = entitlements.map(|draft| draft.open(client, world));
    let figures = figures(asked, entitlements.as_ref());
    let redis = redis.map(|draft| draft.open(world));
    let revoking = revocation.map(|draft| draft.open(redis.as_ref(), &list, world));
    Some(Compiled {
        generation: Generation {
            limiter: rate_limits::limiter(config, &policy, redis.as_ref(), world),
            policy,
            lookups: used.iter().map(|places| judges::lookup(places, &list)).collect(),
            facade: facade.and_then(|tried| facade::rules(config, &tried, &list)),
            authenticators: list,
            revocations: revoking.as_ref().map(|revoking| Arc::clone(&revoking.revocations)),
            entitlements,
            bypass,
            upstreams: upstreams?,
            hygiene: Arc::new(identity.hygiene),
            tells_facts: identity.headers.take_facts(),
            tells_certificate: identity.headers.take_certificate(),
            identity_headers: identity::keep(config, identity.headers, world),
            assertions,
            paths,
            trusted_proxies: server::trusted(config),
            denial_body: config.denials.body,
            response_headers,
            tracer,
            rate_fields: config.rate_limits.headers,
            cors,
            limits: server::limits(config),
        },
        stores,
        figures,
        key_files,
        redis: redis.map(|redis| redis.value),
        revoking,
        tls,
        standing: world.making.finish(),
        files: world.making.files(),
    })
}

/// How the asking goes, by authenticator; none = the entitlements.
fn figures(
    authenticators: Vec<(Arc<str>, Arc<Figures>)>,
    entitlements: Option<&Arc<Entitlements>>,
) -> Vec<(Option<Arc<str>>, Arc<Figures>)> {
    let facts = entitlements.map(|facts| (None, Arc::clone(facts.inquiry.figures())));
    authenticators.into_iter().map(|(name, figures)| (Some(name), figures)).chain(facts).collect()
}

fn refuse_ambiguous<T>(
    routes: Option<&(T, Vec<Arc<[usize]>>)>,
    authenticators: Option<&Authenticators>,
    config: &Config,
    problems: &mut Problems,
) {
    if let (Some((_, used)), Some(authenticators)) = (routes, authenticators) {
        judges::refuse_ambiguous(used, &authenticators.list, config, problems);
    }
}

/// What is kept of the answers of authorities.
fn keeping<T>(
    routes: Option<&(Policy, T)>,
    revocation: Option<&revocation::Draft>,
    world: &World,
) -> Keeping {
    let claims = routes.is_some_and(|(policy, _)| policy.wants_claims());
    Keeping { claims, watched: revocation.map(|draft| draft.watched(world)) }
}

#[cfg(test)]
mod tests;
