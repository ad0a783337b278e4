//! `rate_limit` of routes, and `[rate_limits]`: how many requests in how much time.

use super::units::Period;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many requests one client or customer may send in how much time.
///
/// The limit refills evenly: of 120 in a minute one comes back every half second.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Who has a limit of their own: each value of an identity attribute, or each address with "`client_ip`". Whoever lacks the
    /// attribute is counted by address.
    pub per: String,
    /// Requests in a window.
    pub limit: Amount,
    /// The window.
    #[schemars(extend("minimum" = "1ms"))]
    pub window: Period,
    /// Requests above the limit at once.
    #[serde(default)]
    #[schemars(range(max = 1_000_000_000))]
    pub burst: u64,
    /// Holds only for credentials of these authenticators; default: for everybody.
    pub authenticators: Option<Vec<String>>,
}

/// Requests in a window.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Amount {
    /// As many for everybody.
    Fixed(#[schemars(range(min = 1, max = 1_000_000_000))] u64),
    /// As many as an attribute says.
    Tier(Tier),
}

/// As many as an attribute says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// The identity attribute, a whole number; 0 = nothing.
    pub attribute: String,
    /// For whoever lacks it.
    #[schemars(range(max = 1_000_000_000))]
    pub default: u64,
}

/// How rate limits are told and shared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimits {
    /// The response fields that tell about limits.
    pub headers: Fields,
    /// What becomes of requests with a limit while Redis is away.
    pub on_error: OnError,
}

/// The response fields that tell about limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fields {
    /// `RateLimit-Limit`, `RateLimit-Remaining`, and `RateLimit-Reset` in seconds from now.
    #[default]
    RateLimit,
    /// `X-RateLimit-Limit`, `X-RateLimit-Remaining`, and `X-RateLimit-Reset` in seconds since the epoch.
    #[serde(rename = "x-ratelimit")]
    XRateLimit,
}

/// What becomes of requests with a limit while Redis is away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// Each replica counts alone.
    #[default]
    Local,
    /// They are refused with 503.
    Deny,
    /// They pass uncounted.
    Allow,
}
