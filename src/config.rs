//! The shapes of the configuration file: what can be written, and what each key means.
//!
//! The doc comments here are the reference: the JSON Schema, the checks of unknown keys and types, and
//! docs/configuration.md are made from these types. What the values mean together is checked in `compile`.

pub mod authenticator;
mod check;
pub mod claim;
pub mod cors;
pub mod credential;
pub mod document;
pub mod entitlements;
mod environment;
pub mod facade;
pub mod identity;
pub mod key_file;
pub mod load;
pub mod log;
pub mod policy;
pub mod problem;
pub mod rate_limit;
pub mod redis;
pub mod reference;
mod report;
pub mod revocation;
pub mod schema;
pub mod server;
mod shape;
pub mod tracing;
pub mod trials;
pub mod units;
pub mod upstream;

#[cfg(test)]
mod tests;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The whole configuration file.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The listener that clients reach.
    #[serde(default)]
    pub server: server::Server,
    /// The listener for probes and metrics.
    #[serde(default)]
    pub admin: server::Admin,
    /// The services behind the gate; the first is the default.
    #[schemars(extend("minProperties" = 1))]
    pub upstreams: IndexMap<String, upstream::Upstream>,
    /// Who may say who is asking.
    #[serde(default)]
    pub authenticators: IndexMap<String, authenticator::Authenticator>,
    /// Facts about a customer that the token does not carry.
    pub entitlements: Option<entitlements::Entitlements>,
    /// What the service is told.
    #[serde(default)]
    pub identity: identity::Identity,
    /// What holds everywhere unless a route says otherwise.
    #[serde(default)]
    pub policy: policy::Policy,
    /// Rules for some paths.
    #[serde(default)]
    pub routes: Vec<policy::Route>,
    /// How rate limits are told and shared.
    #[serde(default)]
    pub rate_limits: rate_limit::RateLimits,
    /// Requests across origins.
    pub cors: Option<cors::Cors>,
    /// How refusals are worded.
    #[serde(default)]
    pub denials: log::Denials,
    /// Header fields set on every response, the service's included.
    #[serde(default)]
    pub response_headers: IndexMap<String, String>,
    /// Answers for in-app middleware that cannot be removed yet.
    pub facade: Option<facade::Facade>,
    /// Where replicas share what they must know of each other: revocations and rate limits. Absent = kept in this process.
    pub redis: Option<redis::Redis>,
    /// Credentials that are ended before their time.
    pub revocation: Option<revocation::Revocation>,
    /// What is logged to standard output.
    #[serde(default)]
    pub log: log::Log,
    /// Where spans of requests are sent. Absent = nothing is traced, and trace headers of clients pass through.
    pub tracing: Option<tracing::Tracing>,
}

impl Config {
    /// Whether an expression may look at claims, as far as its text says. This is known before anything is compiled, so that
    /// whoever asks authorities need not keep their answers for nothing.
    #[must_use]
    pub fn may_use_claims(&self) -> bool {
        let required = self.routes.iter().map(|route| &route.require).chain([&self.policy.require]);
        required.filter_map(|require| require.expression.as_deref()).any(|text| text.contains("claims"))
    }
}
