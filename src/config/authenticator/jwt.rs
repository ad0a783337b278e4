//! `kind = "jwt"`: JSON Web Tokens (RFC 7519).

use crate::config::claim::ClaimSource;
use crate::config::credential::{self, CredentialPlace};
use crate::config::units::{OneOrMany, Period};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

fn ten_seconds() -> Period {
    Period(Duration::from_secs(10))
}

fn unlimited() -> Period {
    Period(Duration::ZERO)
}

fn five_minutes() -> Period {
    Period(Duration::from_secs(300))
}

fn one_day() -> Period {
    Period(Duration::from_secs(86_400))
}

/// JSON Web Tokens, verified with the issuer's keys or a shared secret.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// The exact `iss` values that are accepted; the first one is where OIDC discovery asks for keys.
    #[serde(default)]
    pub issuer: OneOrMany<String>,
    /// The `aud` values that are accepted; one of them must be among the token's. Default: any, and `check` warns of that where the
    /// keys are an issuer's: its tokens for every other service would count here too (RFC 8725 §3.9).
    #[serde(default)]
    pub audience: OneOrMany<String>,
    /// Where the key set (RFC 7517) is fetched from. Exactly one source of keys; default: OIDC discovery at the issuer.
    pub jwks_url: Option<String>,
    /// A file with the key set; read again every `jwks_refresh`.
    #[schemars(extend("format" = "path"))]
    pub jwks_file: Option<PathBuf>,
    /// A PEM file with one public key.
    #[schemars(extend("format" = "path"))]
    pub public_key_file: Option<PathBuf>,
    /// The environment variable that holds the shared secret of HS256, HS384 or HS512; at least 32 bytes.
    #[schemars(extend("format" = "variable"))]
    pub secret_env: Option<String>,
    /// The file that holds the shared secret; one final newline is dropped.
    #[schemars(extend("format" = "path"))]
    pub secret_file: Option<PathBuf>,
    /// The signature algorithms that are accepted; they must fit the source of keys.
    /// Default: the asymmetric ones, or HS256 for a secret.
    #[serde(default)]
    pub algorithms: Vec<Algorithm>,
    /// Tolerance for `exp`, `nbf` and `iat`.
    #[serde(default = "ten_seconds")]
    #[schemars(extend("maximum" = "5m"))]
    pub leeway: Period,
    /// Refuse a token whose `exp` − `iat` is longer; "0s" = unlimited.
    #[serde(default = "unlimited")]
    pub max_lifetime: Period,
    /// Claims that must be present, besides `exp`, `iss` and `aud` where configured, and the one behind `subject`.
    #[serde(default)]
    pub required_claims: Vec<String>,
    /// Accepted `typ` headers, such as "at+jwt"; case and a leading "application/" are ignored; empty = any.
    #[serde(default, rename = "type")]
    pub types: OneOrMany<String>,
    /// How often keys are fetched in the background; an unknown `kid` asks sooner.
    #[serde(default = "five_minutes")]
    #[schemars(extend("minimum" = "1s"))]
    pub jwks_refresh: Period,
    /// How long keys go on serving while the issuer is down.
    #[serde(default = "one_day")]
    #[schemars(extend("minimum" = "1s"))]
    pub jwks_max_stale: Period,
    /// Where the credential is looked for.
    #[serde(default = "credential::bearer_header")]
    #[schemars(length(min = 1))]
    pub credentials: Vec<CredentialPlace>,
    /// Remove the credential before the request is forwarded.
    #[serde(default)]
    pub strip_credential: bool,
    /// Identity attributes, and where each stands in the token. Defaults: `subject` = `sub`; `scopes` = `scope` and `scp`;
    /// `roles`, `permissions`, `capabilities` = the claim of that name. Any other name is yours; `authenticator` and
    /// `auth_method` are built in.
    #[serde(default)]
    pub claims: IndexMap<String, ClaimSource>,
}

impl Jwt {
    /// Those of its keys that name a source of verification keys; there may be one at most.
    #[must_use]
    pub fn key_sources(&self) -> Vec<&'static str> {
        let named = [
            ("jwks_url", self.jwks_url.is_some()),
            ("jwks_file", self.jwks_file.is_some()),
            ("public_key_file", self.public_key_file.is_some()),
            ("secret_env", self.secret_env.is_some()),
            ("secret_file", self.secret_file.is_some()),
        ];
        named.into_iter().filter_map(|(key, given)| given.then_some(key)).collect()
    }
}

/// A signature algorithm (RFC 7518 §3.1, RFC 8037); "none" does not exist here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// RSASSA-PSS with SHA-384.
    PS384,
    /// RSASSA-PSS with SHA-512.
    PS512,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// Ed25519.
    #[allow(clippy::upper_case_acronyms, reason = "the name that RFC 8037 registers")]
    EdDSA,
    /// HMAC with SHA-256.
    HS256,
    /// HMAC with SHA-384.
    HS384,
    /// HMAC with SHA-512.
    HS512,
}
