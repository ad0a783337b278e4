//! `kind = "introspection"` and `kind = "remote"` → whom sidegate asks about credentials, and how.

use crate::authn::claims::ClaimMap;
use crate::authn::introspection::{self, Credentials, Endpoint};
use crate::authn::jwt::POINTER_HINT;
use crate::authn::opinion::{Opinion, Reading};
use crate::authn::remote::{self, Service};
use crate::compile::World;
use crate::compile::secrets::Sources;
use crate::config::authenticator::{Introspection, Remote};
use crate::config::claim::ClaimSource;
use crate::config::problem::{KeyPath, Problems};
use crate::inquiry::{Inquiry, Settings};
use crate::outbound::{HttpClient, is_http};
use crate::revocation::Watched;
use crate::standing::{Fingerprint, Kept, Running};
use indexmap::IndexMap;
use std::sync::Arc;

/// An authority that nobody asks yet.
pub(super) enum Draft {
    Introspection { written: Introspection, credentials: Credentials, reading: Reading },
    Remote { written: Remote, reading: Reading },
}

impl Draft {
    pub(super) fn introspection(
        name: &str,
        written: &Introspection,
        at: &KeyPath,
        world: &World,
        problems: &mut Problems,
    ) -> Option<Self> {
        check_url(&written.url, at, problems);
        let secret = Sources {
            name: "client_secret",
            variable: written.client_secret_env.as_deref(),
            file: written.client_secret_file.as_deref(),
        };
        let secret = secret.required(at, world, problems);
        let claims = claims(&written.claims, (name, introspection::KIND), at, problems);
        let credentials =
            Credentials { id: written.client_id.clone(), secret: secret?, method: written.client_auth };
        let audiences = written.audience.iter().cloned().collect();
        let reading =
            Reading { audiences, claims: claims?, ttl: written.ttl.0, keeps_claims: false, watched: None };
        Some(Self::Introspection { written: written.clone(), credentials, reading })
    }

    pub(super) fn remote(
        name: &str,
        written: &Remote,
        at: &KeyPath,
        problems: &mut Problems,
    ) -> Option<Self> {
        check_url(&written.url, at, problems);
        let claims = claims(&written.claims, (name, remote::KIND), at, problems)?;
        let reading =
            Reading { audiences: Vec::new(), claims, ttl: written.ttl.0, keeps_claims: false, watched: None };
        Some(Self::Remote { written: written.clone(), reading })
    }

    /// Makes it one that can be asked, and that keeps of what it hears what will be looked at.
    pub(super) fn open(
        self,
        name: &Arc<str>,
        client: Arc<dyn HttpClient>,
        world: &World,
        keeping: &Keeping,
    ) -> Kept<Inquiry<Opinion>> {
        let made_of = match &self {
            Self::Introspection { written, credentials, .. } => {
                Fingerprint::of(written).and(credentials.secret.expose())
            }
            Self::Remote { written, .. } => Fingerprint::of(written),
        };
        let made_of = made_of.and(&[u8::from(keeping.claims)]);
        let made_of = keeping.watched.iter().fold(made_of, |made_of, kept| made_of.and_serial(kept.serial));
        let make = || {
            let (inquiry, running) = self.make(name, client, world, keeping);
            (inquiry, Some(running))
        };
        world.making.keep_always(format!("authenticators.{name}.inquiry"), made_of, make)
    }

    fn make(
        mut self,
        name: &Arc<str>,
        client: Arc<dyn HttpClient>,
        world: &World,
        keeping: &Keeping,
    ) -> (Arc<Inquiry<Opinion>>, Running) {
        let (name, clock) = (Arc::clone(name), Arc::clone(&world.clock));
        let (Self::Introspection { reading, .. } | Self::Remote { reading, .. }) = &mut self;
        reading.keeps_claims = keeping.claims;
        reading.watched = keeping.watched.as_ref().map(|kept| Arc::clone(&kept.value));
        match self {
            Self::Introspection { written, credentials, reading } => {
                let timeout = written.timeout.0;
                let endpoint = Endpoint {
                    url: written.url,
                    credentials,
                    reading,
                    timeout,
                    client,
                    clock: Arc::clone(&clock),
                };
                Inquiry::open(Settings { name, timeout }, endpoint, clock)
            }
            Self::Remote { written, reading } => {
                let timeout = written.timeout.0;
                let service = Service {
                    url: written.url,
                    method: written.method,
                    reading,
                    timeout,
                    client,
                    clock: Arc::clone(&clock),
                };
                Inquiry::open(Settings { name, timeout }, service, clock)
            }
        }
    }
}

/// What is kept of the answers of authorities.
#[derive(Debug)]
pub(crate) struct Keeping {
    /// All of it, for expressions.
    pub(crate) claims: bool,
    /// What credentials can be revoked by.
    pub(crate) watched: Option<Kept<Watched>>,
}

fn check_url(url: &str, at: &KeyPath, problems: &mut Problems) {
    if !is_http(url) {
        let hint = "write an https (or http) URL without user and password";
        problems.error(at.key("url"), "nobody can be asked there", hint);
    }
}

fn claims(
    written: &IndexMap<String, ClaimSource>,
    (name, kind): (&str, &str),
    at: &KeyPath,
    problems: &mut Problems,
) -> Option<ClaimMap> {
    let compiled = ClaimMap::new(written).map_err(|errors| {
        for (attribute, why) in errors {
            problems.error(at.key("claims").key(&attribute), why, POINTER_HINT);
        }
    });
    Some(compiled.ok()?.built_in(name, kind))
}
