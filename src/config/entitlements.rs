//! `[entitlements]`: facts about a customer that the token does not carry.

use super::units::Period;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

const fn half_a_second() -> Period {
    Period(Duration::from_millis(500))
}

const fn one_minute() -> Period {
    Period(Duration::from_secs(60))
}

const fn five_minutes() -> Period {
    Period(Duration::from_secs(300))
}

const fn one_hour() -> Period {
    Period(Duration::from_secs(3600))
}

fn capabilities() -> String {
    "/capabilities".to_owned()
}

fn quotas() -> String {
    "/quotas".to_owned()
}

/// Facts about a customer that the token does not carry. Asked for only where a rule needs a capability or quota, or a
/// header one.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entitlements {
    /// Where the service is asked by GET; `{attribute}` is replaced by an identity attribute, percent-encoded. Without the
    /// attribute: 403, and nobody is asked.
    pub url: String,
    /// The environment variable that holds a bearer token for the service.
    #[schemars(extend("format" = "variable"))]
    pub bearer_env: Option<String>,
    /// The file that holds a bearer token for the service; one final newline is dropped.
    #[schemars(extend("format" = "path"))]
    pub bearer_file: Option<PathBuf>,
    /// How long an answer is waited for.
    #[serde(default = "half_a_second")]
    #[schemars(extend("minimum" = "1ms", "maximum" = "1m"))]
    pub timeout: Period,
    /// How long an answer is believed.
    #[serde(default = "five_minutes")]
    #[schemars(extend("maximum" = "1d"))]
    pub ttl: Period,
    /// How long after that it still serves while the next one is asked for.
    #[serde(default = "one_minute")]
    #[schemars(extend("maximum" = "1d"))]
    pub stale_while_revalidate: Period,
    /// How long after `ttl` it still serves while the service fails.
    #[serde(default = "one_hour")]
    #[schemars(extend("maximum" = "7d"))]
    pub stale_if_error: Period,
    /// Where the capabilities stand in the answer (a JSON Pointer): an object of booleans, or a list of strings.
    #[serde(default = "capabilities")]
    pub capabilities: String,
    /// Where the quotas stand in the answer (a JSON Pointer): an object of numbers; null = unlimited, absent = 0.
    #[serde(default = "quotas")]
    pub quotas: String,
    /// What happens when the service cannot be asked and nothing serves in its place.
    #[serde(default)]
    pub on_error: OnError,
}

/// What happens when facts about a customer cannot be had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// The request is refused with 503.
    #[default]
    Deny,
    /// The token's own facts decide; counted and logged.
    Allow,
}
