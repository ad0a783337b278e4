//! `[authenticators.NAME]`: who may say who is asking.

mod api_key;
mod introspection;
mod jwt;
mod remote;

pub use api_key::ApiKey;
pub use introspection::{ClientAuth, Introspection};
pub use jwt::{Algorithm, Jwt};
pub use remote::{Remote, RemoteMethod};

use super::claim::ClaimSource;
use super::credential::CredentialPlace;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A way to establish who is asking.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Authenticator {
    /// JSON Web Tokens (RFC 7519), verified here with the issuer's keys or a shared secret.
    Jwt(Box<Jwt>),
    /// Opaque tokens that their authorization server is asked about (RFC 7662).
    Introspection(Box<Introspection>),
    /// Credentials that any service is asked about that answers 200 and JSON for a good one.
    Remote(Box<Remote>),
    /// Keys that are listed in a file, by their SHA-256.
    ApiKey(ApiKey),
}

impl Authenticator {
    /// Where its credential is looked for.
    #[must_use]
    pub fn credentials(&self) -> &[CredentialPlace] {
        match self {
            Self::Jwt(jwt) => &jwt.credentials,
            Self::Introspection(introspection) => &introspection.credentials,
            Self::Remote(remote) => &remote.credentials,
            Self::ApiKey(keys) => &keys.credentials,
        }
    }

    /// Whether the credential is removed before the request is forwarded.
    #[must_use]
    pub const fn strip_credential(&self) -> bool {
        match self {
            Self::Jwt(jwt) => jwt.strip_credential,
            Self::Introspection(introspection) => introspection.strip_credential,
            Self::Remote(remote) => remote.strip_credential,
            Self::ApiKey(keys) => keys.strip_credential,
        }
    }

    /// How its claims become attributes; none where attributes stand in a file.
    #[must_use]
    pub const fn claims(&self) -> Option<&IndexMap<String, ClaimSource>> {
        match self {
            Self::Jwt(jwt) => Some(&jwt.claims),
            Self::Introspection(introspection) => Some(&introspection.claims),
            Self::Remote(remote) => Some(&remote.claims),
            Self::ApiKey(_) => None,
        }
    }
}
