//! `kind = "introspection"`: opaque tokens that their authorization server is asked about (RFC 7662).

use crate::config::claim::ClaimSource;
use crate::config::credential::{self, CredentialPlace};
use crate::config::units::{OneOrMany, Period};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

const fn two_seconds() -> Period {
    Period(Duration::from_secs(2))
}

const fn one_minute() -> Period {
    Period(Duration::from_secs(60))
}

/// Opaque tokens that their authorization server is asked about (RFC 7662).
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Introspection {
    /// The introspection endpoint; the token goes there by POST, as a form.
    pub url: String,
    /// The id that sidegate shows to the authorization server.
    pub client_id: String,
    /// The environment variable that holds the client's secret. Exactly one of this and `client_secret_file`.
    #[schemars(extend("format" = "variable"))]
    pub client_secret_env: Option<String>,
    /// The file that holds the client's secret; one final newline is dropped.
    #[schemars(extend("format" = "path"))]
    pub client_secret_file: Option<PathBuf>,
    /// How sidegate proves who it is (RFC 6749 §2.3.1).
    #[serde(default)]
    pub client_auth: ClientAuth,
    /// The `aud` values that are accepted, one of which must be among the answer's; empty = any.
    #[serde(default)]
    pub audience: OneOrMany<String>,
    /// How long an answer is waited for; then it is 503.
    #[serde(default = "two_seconds")]
    #[schemars(extend("minimum" = "1ms", "maximum" = "1m"))]
    pub timeout: Period,
    /// How long an answer is believed, and never past its `exp`; a negative answer is believed for 5 s at most.
    #[serde(default = "one_minute")]
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

/// How sidegate proves who it is to an authorization server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// HTTP Basic (`client_secret_basic`).
    #[default]
    Basic,
    /// In the form (`client_secret_post`).
    Post,
}
