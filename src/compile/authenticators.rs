//! `[authenticators.NAME]` → [`Authenticator`], with its keys.

use super::World;
use crate::authn::credential::Places;
use crate::authn::jwt::{self, Jwt};
use crate::authn::keys::{KeyStore, Loaded, Refresher, Settings, Source, SourceError};
use crate::authn::{Authenticator, Kind};
use crate::config::authenticator::{Authenticator as Written, Jwt as WrittenJwt};
use crate::config::problem::{KeyPath, Problems};
use crate::outbound::{HttpClient, ReqwestClient};
use indexmap::IndexMap;
use rustls::RootCertStore;
use std::sync::Arc;

/// Every authenticator, and what must run beside it.
pub(super) struct Authenticators {
    pub(super) list: Vec<Arc<Authenticator>>,
    pub(super) stores: Vec<Arc<KeyStore>>,
    pub(super) refreshers: Vec<Refresher>,
}

/// An authenticator that lacks only its keys.
struct Draft {
    jwt: Jwt,
    places: Places,
    settings: Settings,
    initial: Option<Loaded>,
    strip_credential: bool,
}

pub(super) fn compile(
    written: &IndexMap<String, Written>,
    world: &World,
    problems: &mut Problems,
) -> Option<Authenticators> {
    let at = KeyPath::root("authenticators");
    let drafts: Vec<Option<Draft>> = written
        .iter()
        .map(|(name, Written::Jwt(written))| draft(name, written, &at.key(name), world, problems))
        .collect();
    refuse_ambiguous(written, &at, problems);
    let drafts: Vec<Draft> = drafts.into_iter().collect::<Option<_>>()?;
    let client = client(&drafts, &at, problems)?;
    let mut compiled = Authenticators { list: Vec::new(), stores: Vec::new(), refreshers: Vec::new() };
    for draft in drafts {
        let (keys, refresher) =
            KeyStore::open(draft.settings, draft.initial, Arc::clone(&client), Arc::clone(&world.clock));
        compiled.stores.push(Arc::clone(&keys));
        compiled.refreshers.push(refresher);
        compiled.list.push(Arc::new(Authenticator {
            name: Arc::clone(draft.jwt.name()),
            places: Arc::new(draft.places),
            strip_credential: draft.strip_credential,
            kind: Kind::Jwt { jwt: Box::new(draft.jwt), keys },
        }));
    }
    Some(compiled)
}

fn draft(
    name: &str,
    written: &WrittenJwt,
    at: &KeyPath,
    world: &World,
    problems: &mut Problems,
) -> Option<Draft> {
    let jwt = Jwt::new(name, written, at).map_err(|found| problems.0.extend(found.0)).ok();
    let places = Places::new(&written.credentials)
        .map_err(|errors| {
            for (place, why) in errors {
                problems.error(
                    at.key("credentials").index(place),
                    why,
                    "name a header, a cookie, a query parameter or a subprotocol, each place once",
                );
            }
        })
        .ok();
    let algorithms = jwt::accepted(written);
    let environment = Arc::clone(&world.environment);
    let source = Source::from_config(written, |name| environment(name));
    let source = source.map_err(|error| source_problem(&error, written, at, problems)).ok()?;
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
    Some(Draft { jwt, places: places?, settings, initial, strip_credential: written.strip_credential })
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

/// Two authenticators must not vouch for the same token.
fn refuse_ambiguous(written: &IndexMap<String, Written>, at: &KeyPath, problems: &mut Problems) {
    let list: Vec<(&String, &WrittenJwt)> =
        written.iter().map(|(name, Written::Jwt(jwt))| (name, &**jwt)).collect();
    for (index, (name, jwt)) in list.iter().enumerate() {
        for (earlier, other) in list.iter().take(index) {
            let issuer = jwt.issuer.iter().find(|issuer| other.issuer.iter().any(|theirs| theirs == *issuer));
            let disjoint = !jwt.audience.is_empty()
                && !other.audience.is_empty()
                && !jwt
                    .audience
                    .iter()
                    .any(|audience| other.audience.iter().any(|theirs| theirs == audience));
            if let (Some(issuer), false) = (issuer, disjoint) {
                problems.error(
                    at.key(name).key("issuer"),
                    format!("{issuer:?} is the issuer of {earlier} as well"),
                    "give each its own issuer, or audiences that have nothing in common",
                );
            }
        }
    }
}

/// The client that fetches keys; the system's certificate authorities are read only if somebody is asked at all.
fn client(drafts: &[Draft], at: &KeyPath, problems: &mut Problems) -> Option<Arc<dyn HttpClient>> {
    let asks = |draft: &Draft| matches!(draft.settings.source, Source::Jwks(_) | Source::Discovery(_));
    let client = if drafts.iter().any(asks) {
        ReqwestClient::new()
    } else {
        ReqwestClient::trusting(RootCertStore::empty())
    };
    let client = client.map_err(|error| {
        problems.error(at.clone(), error.to_string(), "this should not happen; please report it");
    });
    Some(Arc::new(client.ok()?))
}
