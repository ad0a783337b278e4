//! Where an authenticator's keys come from, and how each kind of source is read.

use crate::authn::jwks::{Ignored, JwksError, KeySet};
use crate::authn::key::{Key, KeyError};
use crate::config::authenticator::{Algorithm, Jwt};
use crate::json::{self, JsonError, Value};
use crate::outbound::{self, HttpClient, HttpError};
use crate::secret::Secret;
use arc_swap::ArcSwapOption;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The largest file that is read, in bytes: as large as a document may be.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Where keys come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A key set at this URL.
    Jwks(String),
    /// Whatever the discovery document of this issuer names (OpenID Connect Discovery 1.0 §4).
    Discovery(String),
    /// A key set in a file.
    JwksFile(PathBuf),
    /// One public key in a PEM file.
    PublicKeyFile(PathBuf),
    /// A shared secret in a file.
    SecretFile(PathBuf),
    /// A shared secret, read once.
    Secret(Secret),
}

/// Why there is no source, or not exactly one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// More than one was named.
    #[error("there is more than one source of keys: {}", .0.join(", "))]
    Several(Vec<&'static str>),
    /// None was named, and without an issuer there is nobody to ask.
    #[error("there is no source of keys")]
    None,
    /// The environment variable of `secret_env` is not set.
    #[error("the environment variable {0} is not set")]
    Unset(String),
}

/// Why keys could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A document could not be fetched.
    #[error("cannot fetch {0}: {1}")]
    Fetch(String, #[source] HttpError),
    /// The discovery document is no strict JSON object.
    #[error("the discovery document is {0}")]
    Json(#[source] JsonError),
    /// The discovery document is another issuer's (OpenID Connect Discovery 1.0 §4.3).
    #[error("the discovery document's `issuer` is not exactly the configured one")]
    Issuer,
    /// The discovery document has no `jwks_uri` that may be used: https, unless the issuer itself is http.
    #[error("the discovery document has no usable `jwks_uri`")]
    JwksUri,
    /// A file could not be read.
    #[error("cannot read {0}: {1}")]
    File(PathBuf, #[source] io::Error),
    /// The key set cannot be used.
    #[error(transparent)]
    Jwks(#[from] JwksError),
    /// The key cannot be used.
    #[error("the key cannot be used: {0}")]
    Key(#[from] KeyError),
    /// Reading took too long.
    #[error("no keys in time")]
    Timeout,
}

/// Keys that were read from a source.
#[derive(Debug)]
pub struct Loaded {
    /// The keys.
    pub set: KeySet,
    /// What was left out.
    pub ignored: Ignored,
}

impl Source {
    /// The one source that a configuration names; default: discovery at the first issuer. The environment is read here,
    /// once.
    ///
    /// # Errors
    /// If there is none, there are several, or the variable is not set.
    pub fn from_config(
        config: &Jwt,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SourceError> {
        let named = config.key_sources();
        if named.len() > 1 {
            return Err(SourceError::Several(named));
        }
        if let Some(url) = &config.jwks_url {
            return Ok(Self::Jwks(url.clone()));
        }
        if let Some(path) = &config.jwks_file {
            return Ok(Self::JwksFile(path.clone()));
        }
        if let Some(path) = &config.public_key_file {
            return Ok(Self::PublicKeyFile(path.clone()));
        }
        if let Some(path) = &config.secret_file {
            return Ok(Self::SecretFile(path.clone()));
        }
        if let Some(name) = &config.secret_env {
            let value = environment(name).ok_or_else(|| SourceError::Unset(name.clone()))?;
            return Ok(Self::Secret(Secret::new(value.into_bytes())));
        }
        let issuer = config.issuer.iter().next().ok_or(SourceError::None)?;
        Ok(Self::Discovery(issuer.clone()))
    }

    /// Reads a source that needs no network, so that its errors show at start; `None` for the others. It is an error if the
    /// file cannot be read, or holds no usable key.
    #[must_use]
    pub fn read(&self, algorithms: &[Algorithm]) -> Option<Result<Loaded, LoadError>> {
        match self {
            Self::Jwks(_) | Self::Discovery(_) => None,
            Self::JwksFile(path) => Some(read_file(path).and_then(|bytes| from_jwks(&bytes, algorithms))),
            Self::PublicKeyFile(path) => {
                Some(read_file(path).and_then(|bytes| single(Key::from_pem(&bytes, algorithms))))
            }
            Self::SecretFile(path) => Some(read_file(path).and_then(|bytes| {
                let secret = Secret::new(bytes);
                single(Key::from_secret(without_final_newline(secret.expose()), algorithms))
            })),
            Self::Secret(secret) => Some(single(Key::from_secret(secret.expose(), algorithms))),
        }
    }

    /// Whether the keys can never change.
    #[must_use]
    pub const fn is_constant(&self) -> bool {
        matches!(self, Self::Secret(_))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jwks(url) => formatter.write_str(url),
            Self::Discovery(issuer) => formatter.write_str(&discovery_url(issuer)),
            Self::JwksFile(path) | Self::PublicKeyFile(path) | Self::SecretFile(path) => {
                write!(formatter, "{}", path.display())
            }
            Self::Secret(_) => formatter.write_str("a shared secret"),
        }
    }
}

/// Reads a source again and again, remembering what discovery said.
#[derive(Debug)]
pub(super) struct Reader {
    source: Source,
    algorithms: Vec<Algorithm>,
    client: Arc<dyn HttpClient>,
    jwks_uri: ArcSwapOption<String>,
}

impl Reader {
    pub(super) fn new(source: Source, algorithms: Vec<Algorithm>, client: Arc<dyn HttpClient>) -> Self {
        Self { source, algorithms, client, jwks_uri: ArcSwapOption::empty() }
    }

    pub(super) const fn source(&self) -> &Source {
        &self.source
    }

    /// Reads the keys as they are now. With `hurry` a known `jwks_uri` is not discovered anew: somebody is waiting.
    pub(super) async fn load(self: Arc<Self>, hurry: bool) -> Result<Loaded, LoadError> {
        match &self.source {
            Source::Jwks(url) => self.fetch(url).await,
            Source::Discovery(issuer) => {
                let known = if hurry { self.jwks_uri.swap(None) } else { None };
                let uri = match known {
                    Some(known) => known,
                    None => Arc::new(self.discover(issuer).await?),
                };
                let loaded = self.fetch(&uri).await?;
                // Only an address that works is remembered: after a failure discovery is asked again.
                self.jwks_uri.store(Some(uri));
                Ok(loaded)
            }
            Source::JwksFile(_) | Source::PublicKeyFile(_) | Source::SecretFile(_) | Source::Secret(_) => {
                let reader = Arc::clone(&self);
                let read = tokio::task::spawn_blocking(move || reader.source.read(&reader.algorithms));
                read.await.ok().flatten().unwrap_or(Err(LoadError::Timeout))
            }
        }
    }

    async fn fetch(&self, url: &str) -> Result<Loaded, LoadError> {
        let document = outbound::document(self.client.as_ref(), url).await;
        from_jwks(&document.map_err(|error| LoadError::Fetch(url.to_owned(), error))?, &self.algorithms)
    }

    /// The `jwks_uri` of an issuer (OpenID Connect Discovery 1.0 §4). The issuer must match byte for byte, or any tenant of
    /// an identity provider could speak for another (§4.3).
    async fn discover(&self, issuer: &str) -> Result<String, LoadError> {
        let url = discovery_url(issuer);
        let document = outbound::document(self.client.as_ref(), &url).await;
        let document = document.map_err(|error| LoadError::Fetch(url, error))?;
        let members = json::object(&document).map_err(LoadError::Json)?;
        if members.get("issuer").and_then(Value::as_text) != Some(issuer) {
            return Err(LoadError::Issuer);
        }
        let uri = members.get("jwks_uri").and_then(Value::as_text).ok_or(LoadError::JwksUri)?;
        let parsed: http::Uri = uri.parse().map_err(|_| LoadError::JwksUri)?;
        let plain_is_good_enough = issuer.starts_with("http://");
        match parsed.scheme_str() {
            Some("https") => Ok(uri.to_owned()),
            Some("http") if plain_is_good_enough => Ok(uri.to_owned()),
            _ => Err(LoadError::JwksUri),
        }
    }
}

fn discovery_url(issuer: &str) -> String {
    format!("{}/.well-known/openid-configuration", issuer.strip_suffix('/').unwrap_or(issuer))
}

fn from_jwks(document: &[u8], algorithms: &[Algorithm]) -> Result<Loaded, LoadError> {
    let filtered = KeySet::from_jwks(document, algorithms)?;
    Ok(Loaded { set: filtered.set, ignored: filtered.ignored })
}

fn single(key: Result<Key, KeyError>) -> Result<Loaded, LoadError> {
    Ok(Loaded { set: KeySet::single(key?), ignored: Ignored::default() })
}

/// Reads a file of up to 1 MiB.
///
/// # Errors
/// It cannot be read, or is larger.
pub fn read_file(path: &Path) -> Result<Vec<u8>, LoadError> {
    let failed = |error| LoadError::File(path.to_owned(), error);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    let read = file.take(MAX_FILE_BYTES.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(read).is_ok_and(|read| read <= MAX_FILE_BYTES) {
        Ok(bytes)
    } else {
        Err(failed(io::Error::from(io::ErrorKind::FileTooLarge)))
    }
}

/// Editors and `echo` put a newline at the end of a file; nobody means it to be a part of the secret.
#[must_use]
pub fn without_final_newline(secret: &[u8]) -> &[u8] {
    let line = secret.strip_suffix(b"\n").unwrap_or(secret);
    line.strip_suffix(b"\r").filter(|_| line.len() < secret.len()).unwrap_or(line)
}
