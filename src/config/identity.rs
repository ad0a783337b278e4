//! `[identity]`: what the service is told, and what a client may not say.

use super::units::Period;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

fn sidegate() -> String {
    "sidegate".to_owned()
}

const fn half_a_minute() -> Period {
    Period(Duration::from_secs(30))
}

/// What the service is told about who is asking.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Identity {
    /// More client headers to remove, with all their aliases: a name, or a prefix and `*`.
    pub strip: Vec<String>,
    /// Header = identity attribute. Each is removed from every client request, on public routes too.
    pub headers: IndexMap<String, HeaderSource>,
    /// A short-lived JWT, signed by sidegate, for a service that will not trust a bare header.
    pub assertion: Option<Assertion>,
}

/// A short-lived JWT that tells the service who is asking.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Assertion {
    /// The header that carries it; removed from every client request.
    pub header: String,
    /// A PEM file with a private key: RSA (2048 bits or more), EC P-256 or P-384, or Ed25519. Read again when it changes; its
    /// public half is at `/.well-known/jwks.json` on the listener of `[admin]`.
    #[schemars(extend("format" = "path"))]
    pub key_file: PathBuf,
    /// Its `aud`: what the service calls itself.
    pub audience: String,
    /// Its `iss`.
    #[serde(default = "sidegate")]
    pub issuer: String,
    /// How long it is good.
    #[serde(default = "half_a_minute")]
    #[schemars(extend("minimum" = "5s", "maximum" = "1h"))]
    pub ttl: Period,
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

impl HeaderSource {
    /// The attribute's name.
    #[must_use]
    pub fn attribute(&self) -> &str {
        match self {
            Self::Attribute(attribute) => attribute,
            Self::Rule(rule) => &rule.attribute,
        }
    }

    /// Whether it may lack.
    #[must_use]
    pub const fn optional(&self) -> bool {
        match self {
            Self::Attribute(_) => false,
            Self::Rule(rule) => rule.optional,
        }
    }
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
