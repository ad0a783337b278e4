//! `[policy]` and `[[routes]]`: the rules.

use super::rate_limit::RateLimit;
use super::units::OneOrMany;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What holds everywhere unless a route says otherwise.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Who is let in.
    pub access: Access,
    /// The authenticators that are tried, in this order; default: all, as written.
    pub authenticators: Option<Vec<String>>,
    /// Whether verdicts hold.
    pub mode: Mode,
    /// What an identity must have.
    pub require: Require,
    /// How many requests in how much time, counted over all routes without a `rate_limit` of their own.
    pub rate_limit: Option<OneOrMany<RateLimit>>,
}

/// Who is let in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Whoever shows a good credential.
    #[default]
    Authenticated,
    /// Everybody; nobody is asked for a credential.
    Public,
    /// Everybody, but a credential that is shown must be good.
    Optional,
    /// Nobody.
    Deny,
}

/// Whether verdicts hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// What is denied is refused.
    #[default]
    Enforce,
    /// What would be denied is recorded, and let through all the same.
    Shadow,
}

/// What an identity must have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Require {
    /// Whether the policy's requirements hold as well (routes only); false starts afresh.
    pub inherit: Option<bool>,
    /// All of these roles.
    pub roles: Vec<String>,
    /// All of these scopes.
    pub scopes: Vec<String>,
    /// All of these permissions.
    pub permissions: Vec<String>,
    /// All of these capabilities.
    pub capabilities: Vec<String>,
    /// One of these roles.
    #[schemars(length(min = 1))]
    pub any_role: Vec<String>,
    /// One of these scopes.
    #[schemars(length(min = 1))]
    pub any_scope: Vec<String>,
    /// One of these permissions.
    #[schemars(length(min = 1))]
    pub any_permission: Vec<String>,
    /// One of these capabilities.
    #[schemars(length(min = 1))]
    pub any_capability: Vec<String>,
    /// At least so much of each quota; an unlimited one suffices, an absent one counts as 0.
    pub quotas: IndexMap<String, u64>,
    /// A CEL expression that must be true; variables: `identity`, `claims`, `path`, `request`; see expressions.md.
    pub expression: Option<String>,
}

/// A rule for some paths.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// For logs and metrics; default: the path.
    pub name: Option<String>,
    /// "/a/b" as it is, "/a/{id}" with any one segment, "/a/**" for /a, /a/ and all below.
    pub path: String,
    /// The methods it holds for; default: any. GET covers HEAD.
    pub methods: Option<Vec<String>>,
    /// The hosts it holds for; default: any.
    pub hosts: Option<Vec<String>>,
    /// Who is let in; default: as the policy says.
    pub access: Option<Access>,
    /// The authenticators that are tried; default: as the policy says.
    pub authenticators: Option<Vec<String>>,
    /// Whether verdicts hold; default: as the policy says.
    pub mode: Option<Mode>,
    /// The service that it leads to; default: the first.
    pub upstream: Option<String>,
    /// Replaces the front of the path when the request is forwarded.
    pub rewrite_prefix: Option<RewritePrefix>,
    /// What an identity must have, besides what the policy requires.
    #[serde(default)]
    pub require: Require,
    /// What becomes of a response that is still on its way when its token expires, such as server-sent events or a gRPC stream:
    /// "close" breaks it off. A revoked token counts as expired.
    #[serde(default = "ignore")]
    pub on_expiry: OnExpiry,
    /// How many requests in how much time; default: as the policy says. A list: all of them hold; an empty one: none.
    pub rate_limit: Option<OneOrMany<RateLimit>>,
    /// How WebSockets are treated.
    #[serde(default)]
    pub websocket: WebSocket,
}

const fn ignore() -> OnExpiry {
    OnExpiry::Ignore
}

/// Replaces the front of a path.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RewritePrefix {
    /// What the path begins with; whole segments.
    pub from: String,
    /// What stands there instead, such as "/internal"; empty = nothing.
    #[schemars(length(min = 0))]
    pub to: String,
}

/// How WebSockets are treated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WebSocket {
    /// How a handshake is refused.
    pub on_denied: OnDenied,
    /// What becomes of a tunnel when its token expires. One whose token is revoked is closed with 1008 in any case.
    pub on_expiry: OnExpiry,
    /// The `Origin` values that may open one; empty = any.
    pub allowed_origins: OneOrMany<String>,
}

/// How a WebSocket handshake is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnDenied {
    /// With an HTTP status, before the upgrade.
    #[default]
    Http,
    /// The handshake is accepted, and the WebSocket closed at once, with 1008 (1013 where somebody cannot be asked) and the reason:
    /// scripts in browsers can read that, but no status. The service hears nothing of it.
    Close,
}

/// What becomes of what lasts when its token expires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnExpiry {
    /// It is closed: a WebSocket with 1008, a response by breaking off.
    #[default]
    Close,
    /// It stays.
    Ignore,
}
