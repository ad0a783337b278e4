//! `[revocation]` → the list of what is revoked, and who may add to it.

use super::World;
use super::secrets::Sources;
use crate::authn::logout::Logout;
use crate::authn::{Authenticator, Kind};
use crate::config::Config;
use crate::config::authenticator::Authenticator as WrittenAuthenticator;
use crate::config::problem::{KeyPath, Problems};
use crate::config::revocation::Revocation as Written;
use crate::redis::Redis;
use crate::revocation::{LOGOUT, List, Revocations, Shared, Watched, tidy};
use crate::revoking::{Heard, Revoking};
use crate::secret::Secret;
use crate::standing::{Fingerprint, Kept, Running};
use std::sync::Arc;

/// Shorter secrets can be guessed.
const MIN_SECRET: usize = 16;

/// A list that is not looked at yet.
pub(super) struct Draft {
    written: Written,
    secret: Option<Secret>,
}

pub(super) fn draft(config: &Config, world: &World, problems: &mut Problems) -> Option<Draft> {
    let written = config.revocation.as_ref()?;
    let at = KeyPath::root("revocation");
    for (position, name) in written.attributes.iter().enumerate() {
        let at = at.key("attributes").index(position);
        if name == LOGOUT {
            let hint = "leave it away: what issuers log out is always looked at";
            problems.error(at, "this name is sidegate's own", hint);
        } else if written.attributes.iter().take(position).any(|other| other == name) {
            problems.error(at, format!("{name:?} is there already"), "name each attribute once");
        }
    }
    let sources = Sources {
        name: "token",
        variable: written.token_env.as_deref(),
        file: written.token_file.as_deref(),
    };
    let secret = sources.optional(&at, world, problems);
    if secret.as_ref().is_some_and(|secret| secret.expose().len() < MIN_SECRET) {
        let key = if written.token_env.is_some() { "token_env" } else { "token_file" };
        let hint = "make a longer one: openssl rand -hex 32";
        problems.error(at.key(key), format!("the secret has fewer than {MIN_SECRET} bytes"), hint);
    }
    check_sources(config, written, &at, problems);
    Some(Draft { written: written.clone(), secret })
}

/// Somebody must be able to revoke something, and somebody to be told apart by it.
fn check_sources(config: &Config, written: &Written, at: &KeyPath, problems: &mut Problems) {
    let jwt = |written: &WrittenAuthenticator| matches!(written, WrittenAuthenticator::Jwt(_));
    let has_secret = written.token_env.is_some() || written.token_file.is_some();
    if !has_secret && config.redis.is_none() && !config.authenticators.values().any(jwt) {
        let hint = "set token_env or token_file for POST /revocations, or [redis]";
        problems.warning(at.clone(), "nobody can revoke anything", hint);
    }
}

impl Draft {
    /// What credentials are looked at for; the same as before if that did not change.
    pub(super) fn watched(&self, world: &World) -> Kept<Watched> {
        let attributes = &self.written.attributes;
        let make = || (Arc::new(Watched::new(attributes)), None);
        world.making.keep_always("revocation.watched", Fingerprint::of(attributes), make)
    }

    /// The list. It goes on through every configuration that has one.
    pub(super) fn open(
        self,
        redis: Option<&Kept<Redis>>,
        authenticators: &[Arc<Authenticator>],
        world: &World,
    ) -> Revoking {
        let watched = self.watched(world);
        let make = || {
            let list = Arc::new(List::default());
            let running: Running = Box::pin(tidy(Arc::clone(&list), Arc::clone(&world.clock)));
            (list, Some(running))
        };
        let list = world.making.keep_always("revocation.list", Fingerprint::of(&()), make);
        let made_of = Fingerprint::of(&self.written.max_stale)
            .and_serial(watched.serial)
            .and_serial(redis.map_or(u64::MAX, |redis| redis.serial))
            .and_serial(list.serial);
        let max_stale = self.written.max_stale.0;
        let shared = redis.map(|redis| Shared { redis: Arc::clone(&redis.value), max_stale });
        let clock = Arc::clone(&world.clock);
        let make = || Revocations::open(list.value, watched.value, shared, clock);
        let revocations = world.making.keep_always("revocation", made_of, make).value;
        let Written { logout_audience, logout_ttl, .. } = self.written;
        let audiences: Vec<String> = logout_audience.iter().cloned().collect();
        let logout = |authenticator: &Arc<Authenticator>| match &authenticator.kind {
            Kind::Jwt { .. } => Logout::new(Arc::clone(authenticator), &audiences, logout_ttl.0),
            Kind::Introspection(_) | Kind::Remote(_) | Kind::ApiKey(_) => None,
        };
        let logouts = authenticators.iter().filter_map(logout).collect();
        let heard = Fingerprint::of(&());
        let heard =
            world.making.keep_always("revocation.heard", heard, || (Arc::new(Heard::default()), None));
        Revoking { revocations, secret: self.secret, logouts, heard: heard.value, audit: None }
    }
}
