//! `[facade]`: answers for in-app middleware that cannot be removed yet.

use super::units::OneOrMany;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

fn whole_identity() -> IndexMap<String, String> {
    IndexMap::new()
}

/// Answers `POST /auth/validate` and `GET /entitlements/resolve?customer_id=` from what sidegate knows already, so that
/// in-app middleware of an unmodified service needs no other network call.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Facade {
    /// Where to listen: `host:port` on a loopback address, nowhere else.
    pub listen: String,
    /// The authenticators whose tokens `/auth/validate` takes; default: those of the policy.
    #[serde(default)]
    pub authenticators: OneOrMany<String>,
    /// Members of the answer to `/auth/validate` besides `valid`, each with the identity attribute that it carries;
    /// default: every attribute under its own name.
    #[serde(default = "whole_identity")]
    pub validate: IndexMap<String, String>,
}
