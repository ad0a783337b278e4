//! `kind = "jwt"` → what must hold of a token, and where its keys come from.

use crate::authn::jwt::{self, Jwt};
use crate::authn::keys::{Loaded, Settings, Source, SourceError};
use crate::compile::World;
use crate::config::authenticator::Jwt as WrittenJwt;
use crate::config::problem::{KeyPath, Problems};
use crate::standing::Fingerprint;
use std::sync::Arc;

/// An authenticator that lacks only its keys.
pub(super) struct Draft {
    pub(super) jwt: Jwt,
    pub(super) settings: Settings,
    pub(super) initial: Option<Loaded>,
}

impl Draft {
    /// Whether keys are fetched over the network.
    pub(super) const fn asks(&self) -> bool {
        matches!(self.settings.source, Source::Jwks(_) | Source::Discovery(_))
    }

    /// What the keys are made of.
    pub(super) fn made_of(&self) -> Fingerprint {
        let Settings { name, source, algorithms, refresh, max_stale } = &self.settings;
        let written = (&**name, source.to_string(), algorithms, refresh, max_stale);
        let made_of = Fingerprint::of(&written);
        match source {
            Source::Jwks(_) | Source::Discovery(_) => made_of,
            Source::JwksFile(path) | Source::PublicKeyFile(path) | Source::SecretFile(path) => {
                made_of.and_file(path)
            }
            Source::Secret(secret) => made_of.and(secret.expose()),
        }
    }
}

pub(super) fn draft(
    name: &str,
    written: &WrittenJwt,
    at: &KeyPath,
    world: &World,
    problems: &mut Problems,
) -> Option<Draft> {
    let jwt = Jwt::new(name, written, at).map_err(|found| problems.0.extend(found.0)).ok();
    let algorithms = jwt::accepted(written);
    let environment = Arc::clone(&world.environment);
    let source = Source::from_config(written, |name| environment(name));
    let source = source.map_err(|error| source_problem(&error, written, at, problems)).ok()?;
    let is_shared = matches!(source, Source::Secret(_) | Source::SecretFile(_));
    if written.audience.iter().next().is_none() && !is_shared {
        let hint = "set `audience` to what the issuer calls this service";
        problems.warning(
            at.clone(),
            "tokens that the issuer made for other services are let in as well",
            hint,
        );
    }
    if let Source::JwksFile(path) | Source::PublicKeyFile(path) | Source::SecretFile(path) = &source {
        world.making.depends_on(path);
    }
    // Algorithms that contradict the source have been named; what follows from them need not be.
    let jwt = jwt?;
    let initial = match source.read(&algorithms) {
        None => None,
        Some(Ok(loaded)) => Some(loaded),
        Some(Err(error)) => {
            let (key, hint) = source_key(written);
            problems.error(at.key(key), error.to_string(), hint);
            return None;
        }
    };
    let settings = Settings {
        name: name.into(),
        source,
        algorithms,
        refresh: written.jwks_refresh.0,
        max_stale: written.jwks_max_stale.0,
    };
    Some(Draft { jwt, settings, initial })
}

fn source_problem(error: &SourceError, written: &WrittenJwt, at: &KeyPath, problems: &mut Problems) {
    match error {
        // The authenticator itself has said so.
        SourceError::Several(_) | SourceError::None => {}
        SourceError::Unset(_) => {
            problems.error(at.key(source_key(written).0), error.to_string(), "set it before sidegate starts");
        }
    }
}

/// The key that names the source, and what to do when the source is of no use.
fn source_key(written: &WrittenJwt) -> (&'static str, &'static str) {
    if written.jwks_file.is_some() {
        ("jwks_file", "name a file with a JSON Web Key Set that holds at least one usable key")
    } else if written.public_key_file.is_some() {
        ("public_key_file", "name a PEM file with an RSA (2048 bits or more), EC or Ed25519 public key")
    } else if written.secret_file.is_some() {
        ("secret_file", "name a file with at least 32 random bytes, e.g. from `openssl rand -hex 32`")
    } else if written.secret_env.is_some() {
        ("secret_env", "use at least 32 random bytes, e.g. from `openssl rand -hex 32`")
    } else if written.jwks_url.is_some() {
        ("jwks_url", "write an http or https URL")
    } else {
        ("issuer", "write the issuer's https URL")
    }
}
