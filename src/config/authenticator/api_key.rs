//! `kind = "api_key"`: keys that are listed in a file.

use crate::config::credential::{CredentialPlace, HeaderPlace};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

fn key_header() -> Vec<CredentialPlace> {
    vec![CredentialPlace::Header(HeaderPlace { header: "x-api-key".to_owned(), scheme: None, prefix: None })]
}

/// Keys that are listed in a file, by their SHA-256.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// The file with the keys; read again when it changes. `sidegate api-key new` makes an entry.
    #[schemars(extend("format" = "path"))]
    pub file: PathBuf,
    /// Where the key is looked for; default: the header `x-api-key`. A place that other authenticators read as well needs a
    /// `prefix`.
    #[serde(default = "key_header")]
    #[schemars(length(min = 1))]
    pub credentials: Vec<CredentialPlace>,
    /// Remove the key before the request is forwarded.
    #[serde(default)]
    pub strip_credential: bool,
}
