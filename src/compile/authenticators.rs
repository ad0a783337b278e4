//! `[authenticators.NAME]` → [`Authenticator`], with what it judges by.

mod api_key;
mod authority;
mod jwt;

pub(super) use authority::Keeping;

use super::World;
use crate::authn::api_key::KeyFile;
use crate::authn::credential::Places;
use crate::authn::keys::KeyStore;
use crate::authn::{Authenticator, Kind};
use crate::config::Config;
use crate::config::authenticator::{Authenticator as Written, Jwt as WrittenJwt};
use crate::config::credential::CredentialPlace;
use crate::config::problem::{KeyPath, Problems};
use crate::inquiry::Figures;
use crate::outbound::{HttpClient, ReqwestClient};
use crate::standing::{Fingerprint, Kept, Running};
use indexmap::IndexMap;
use rustls::RootCertStore;
use std::sync::Arc;

/// Every authenticator, and what is looked at from elsewhere.
pub(super) struct Authenticators {
    pub(super) list: Vec<Arc<Authenticator>>,
    pub(super) stores: Vec<Arc<KeyStore>>,
    pub(super) figures: Vec<(Arc<str>, Arc<Figures>)>,
    /// Whoever carries their questions.
    pub(super) client: Arc<dyn HttpClient>,
    pub(super) key_files: Vec<Arc<KeyFile>>,
}

/// An authenticator that lacks only what it gets from the network.
struct Draft<'a> {
    name: Arc<str>,
    written: &'a Written,
    places: Places,
    strip_credential: bool,
    kind: DraftKind,
}

enum DraftKind {
    Jwt(Box<jwt::Draft>),
    Authority(Box<authority::Draft>),
    ApiKey(Kept<KeyFile>),
}

impl DraftKind {
    /// Whether somebody is asked over the network.
    const fn asks(&self) -> bool {
        match self {
            Self::Jwt(draft) => draft.asks(),
            Self::Authority(_) => true,
            Self::ApiKey(_) => false,
        }
    }
}

pub(super) fn compile(
    config: &Config,
    world: &World,
    keeping: &Keeping,
    problems: &mut Problems,
) -> Option<Authenticators> {
    let written = &config.authenticators;
    let at = KeyPath::root("authenticators");
    let drafts: Vec<Option<Draft<'_>>> =
        written.iter().map(|(name, written)| draft(name, written, &at.key(name), world, problems)).collect();
    refuse_ambiguous(written, &at, problems);
    api_key::refuse_shared(written, &at, problems);
    let drafts: Vec<Draft<'_>> = drafts.into_iter().collect::<Option<_>>()?;
    let asks = config.entitlements.is_some()
        || config.tracing.is_some()
        || drafts.iter().any(|draft| draft.kind.asks());
    let client = client(asks, &at, problems)?;
    let mut compiled = Authenticators {
        list: Vec::new(),
        stores: Vec::new(),
        key_files: Vec::new(),
        figures: Vec::new(),
        client: Arc::clone(&client),
    };
    for Draft { name, written, places, strip_credential, kind } in drafts {
        let (kind, serial) = match kind {
            DraftKind::Jwt(draft) => {
                let made_of = draft.made_of();
                let jwt::Draft { jwt, settings, initial } = *draft;
                let make = || {
                    let clock = Arc::clone(&world.clock);
                    let (keys, refresher) = KeyStore::open(settings, initial, Arc::clone(&client), clock);
                    let running: Running = Box::pin(refresher.run());
                    (keys, Some(running))
                };
                let keys = world.making.keep_always(format!("authenticators.{name}.keys"), made_of, make);
                compiled.stores.push(Arc::clone(&keys.value));
                (Kind::Jwt { jwt: Box::new(jwt), keys: keys.value }, keys.serial)
            }
            DraftKind::Authority(draft) => {
                let inquiry = draft.open(&name, Arc::clone(&client), world, keeping);
                compiled.figures.push((Arc::clone(&name), Arc::clone(inquiry.value.figures())));
                let kind = if matches!(written, Written::Remote(_)) {
                    Kind::Remote(inquiry.value)
                } else {
                    Kind::Introspection(inquiry.value)
                };
                (kind, inquiry.serial)
            }
            DraftKind::ApiKey(file) => {
                compiled.key_files.push(Arc::clone(&file.value));
                (Kind::ApiKey(file.value), file.serial)
            }
        };
        // One that did not change stays the same one, and with it what workers have verified by it.
        let made_of = Fingerprint::of(written).and_serial(serial);
        let make = || {
            let (name, places) = (Arc::clone(&name), Arc::new(places));
            (Arc::new(Authenticator { name, places, strip_credential, kind }), None)
        };
        compiled.list.push(world.making.keep_always(format!("authenticators.{name}"), made_of, make).value);
    }
    Some(compiled)
}

fn draft<'a>(
    name: &str,
    written: &'a Written,
    at: &KeyPath,
    world: &World,
    problems: &mut Problems,
) -> Option<Draft<'a>> {
    let places = places(written.credentials(), &at.key("credentials"), problems);
    api_key::refuse_prefix(written, &at.key("credentials"), problems);
    let kind = match written {
        Written::Jwt(written) => {
            jwt::draft(name, written, at, world, problems).map(Box::new).map(DraftKind::Jwt)
        }
        Written::Introspection(written) => {
            let draft = authority::Draft::introspection(name, written, at, world, problems);
            draft.map(Box::new).map(DraftKind::Authority)
        }
        Written::Remote(written) => {
            authority::Draft::remote(name, written, at, problems).map(Box::new).map(DraftKind::Authority)
        }
        Written::ApiKey(written) => api_key::open(name, written, at, world, problems).map(DraftKind::ApiKey),
    };
    let strip_credential = written.strip_credential();
    Some(Draft { name: name.into(), written, places: places?, strip_credential, kind: kind? })
}

fn places(written: &[CredentialPlace], at: &KeyPath, problems: &mut Problems) -> Option<Places> {
    let compiled = Places::new(written).map_err(|errors| {
        for (place, why) in errors {
            problems.error(
                at.index(place),
                why,
                "name a header, a cookie, a query parameter or a subprotocol, each place once",
            );
        }
    });
    compiled.ok()
}

/// Two authenticators must not vouch for the same token.
fn refuse_ambiguous<'a>(written: &'a IndexMap<String, Written>, at: &KeyPath, problems: &mut Problems) {
    let jwt = |(name, written): (&'a String, &'a Written)| match written {
        Written::Jwt(jwt) => Some((name, &**jwt)),
        Written::Introspection(_) | Written::Remote(_) | Written::ApiKey(_) => None,
    };
    let list: Vec<(&String, &WrittenJwt)> = written.iter().filter_map(jwt).collect();
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

/// The client that asks everybody; the system's certificate authorities are read only if somebody is asked at all.
fn client(asks: bool, at: &KeyPath, problems: &mut Problems) -> Option<Arc<dyn HttpClient>> {
    let client = if asks { ReqwestClient::new() } else { ReqwestClient::trusting(RootCertStore::empty()) };
    let client = client.map_err(|error| {
        problems.error(at.clone(), error.to_string(), "this should not happen; please report it");
    });
    Some(Arc::new(client.ok()?))
}
