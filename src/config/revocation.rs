//! `[revocation]`: credentials that do not count any more before they end.

use super::units::{OneOrMany, Period};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

fn attributes() -> Vec<String> {
    vec!["jti".to_owned(), "sid".to_owned()]
}

fn five_minutes() -> Period {
    Period(Duration::from_secs(300))
}

fn thirty_days() -> Period {
    Period(Duration::from_secs(30 * 24 * 3600))
}

/// Credentials that are ended before their time: by `POST /revocations` and OIDC back-channel logout on `[admin]`, or by keys in
/// Redis.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// What a revocation may name: the identity attribute of that name, else the claim; `token` is the credential itself, `sub` the
    /// subject of an API key as well.
    #[serde(default = "attributes")]
    #[schemars(length(min = 1))]
    pub attributes: Vec<String>,
    /// The environment variable that holds the secret of `POST /revocations`, of at least 16 bytes. Without a secret there is no
    /// such endpoint.
    #[schemars(extend("format" = "variable"))]
    pub token_env: Option<String>,
    /// The file that holds it; one final newline is dropped.
    #[schemars(extend("format" = "path"))]
    pub token_file: Option<PathBuf>,
    /// How long the copy of the list serves while Redis is away. Then every request with a credential is refused with 503.
    #[serde(default = "five_minutes")]
    #[schemars(extend("minimum" = "1s", "maximum" = "7d"))]
    pub max_stale: Period,
    /// The `aud` values of logout tokens: this service's client id at its issuers. Default: the `audience` of the authenticator.
    #[serde(default)]
    pub logout_audience: OneOrMany<String>,
    /// How long a logout counts: as long as any token may live that was issued before it.
    #[serde(default = "thirty_days")]
    #[schemars(extend("minimum" = "1m", "maximum" = "365d"))]
    pub logout_ttl: Period,
}
