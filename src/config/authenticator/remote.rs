//! `kind = "remote"`: credentials that a service of yours is asked about.

use crate::config::claim::ClaimSource;
use crate::config::credential::{self, CredentialPlace};
use crate::config::units::Period;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

const fn two_seconds() -> Period {
    Period(Duration::from_secs(2))
}

const fn half_a_minute() -> Period {
    Period(Duration::from_secs(30))
}

/// Credentials that any service is asked about that answers 200 and JSON for a good one.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Remote {
    /// Where the service is asked; the credential goes along as `Authorization: Bearer`.
    /// 200 and a JSON object is a good one; 401, 403 and 404 a bad one; anything else is no answer: 503.
    pub url: String,
    /// How it is asked.
    #[serde(default)]
    pub method: RemoteMethod,
    /// How long an answer is waited for; then it is 503.
    #[serde(default = "two_seconds")]
    #[schemars(extend("minimum" = "1ms", "maximum" = "1m"))]
    pub timeout: Period,
    /// How long an answer is believed, and never past an `exp` in it; a negative answer is believed for 5 s at most.
    #[serde(default = "half_a_minute")]
    #[schemars(extend("maximum" = "1d"))]
    pub ttl: Period,
    /// Where the credential is looked for.
    #[serde(default = "credential::bearer_header")]
    #[schemars(length(min = 1))]
    pub credentials: Vec<CredentialPlace>,
    /// Remove the credential before the request is forwarded.
    #[serde(default)]
    pub strip_credential: bool,
    /// Identity attributes, and where each stands in the answer; the defaults are those of kind "jwt".
    #[serde(default)]
    pub claims: IndexMap<String, ClaimSource>,
}

/// How a service is asked about a credential.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum RemoteMethod {
    /// By GET.
    #[default]
    Get,
    /// By POST, with an empty body.
    Post,
}
