//! `[facade]`: answers for in-app middleware that cannot be removed yet.

use super::identity::HeaderSource;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Answers `POST /auth/validate` and `GET /entitlements/resolve?customer_id=` from what sidegate knows already, so that
/// in-app middleware of an unmodified service needs no other network call.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Facade {
    /// Where to listen: a loopback address and a port, nowhere else.
    pub listen: String,
    /// The authenticators whose tokens `/auth/validate` takes; default: those of the policy.
    pub authenticators: Option<Vec<String>>,
    /// Members of the answer to `/auth/validate` besides `valid`, and the identity attribute that each carries; without the
    /// attribute the answer is 404, or null where it is optional. Default: every attribute under its own name.
    #[serde(default)]
    pub validate: IndexMap<String, HeaderSource>,
}
