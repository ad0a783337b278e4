//! Where identity attributes stand in what an authenticator learns.

use super::units::OneOrMany;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where an identity attribute stands in the token.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum ClaimSource {
    /// One claim: a top-level name as it is written, or a JSON Pointer (RFC 6901) if it begins with "/".
    Name(String),
    /// The union of several.
    Union(#[schemars(length(min = 1))] Vec<String>),
    /// One claim or several, with conditions.
    Claim(ClaimRule),
    /// A constant.
    Constant(Constant),
}

/// A claim with conditions.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimRule {
    /// The claim, or a list of them (a union).
    pub claim: OneOrMany<String>,
    /// Refuse the token when it is missing.
    #[serde(default)]
    pub required: bool,
    /// The type that it must have; default: text or a whole number, and sets for roles, scopes, permissions, capabilities.
    #[serde(rename = "type")]
    pub kind: Option<AttributeType>,
    /// Remove this from the front; a value without it is refused.
    pub strip_prefix: Option<String>,
}

/// The type of an identity attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AttributeType {
    /// Text.
    String,
    /// A whole number; `"12"` and `12` are the same.
    Integer,
    /// A truth value.
    Boolean,
    /// A set: a list, or one space-separated text.
    Set,
}

/// A constant.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Constant {
    /// What the attribute is for every token of this authenticator.
    pub value: Scalar,
}

/// A text, whole number or truth value.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Scalar {
    /// A truth value.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// Text.
    Text(String),
}
