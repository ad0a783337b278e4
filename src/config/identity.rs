//! `[identity]`: what the service is told, and what a client may not say.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the service is told about who is asking.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Identity {
    /// More client headers to remove, with all their aliases: a name, or a prefix and `*`.
    pub strip: Vec<String>,
    /// Header = identity attribute. Each is removed from every client request, on public routes too.
    pub headers: IndexMap<String, HeaderSource>,
}

/// The attribute that a header carries.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum HeaderSource {
    /// The attribute; a request without it is refused.
    Attribute(String),
    /// The attribute, with conditions.
    Rule(HeaderRule),
}

/// An attribute with conditions.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderRule {
    /// The identity attribute whose value is sent.
    pub attribute: String,
    /// Send no header when the attribute is missing, null or empty, instead of refusing the request.
    #[serde(default)]
    pub optional: bool,
}
