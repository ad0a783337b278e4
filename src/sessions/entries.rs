//! The authenticators of one worker, with what each has verified lately, and which of them judges a credential.

use super::session::{Basis, Form, Origin, Session};
use crate::authn::api_key::KeyFile;
use crate::authn::cache::TokenCache;
use crate::authn::jwt::Jwt;
use crate::authn::keys::KeyStore;
use crate::authn::opinion::Opinion;
use crate::authn::{Authenticator, Kind};
use crate::clock::UnixTime;
use crate::inquiry::Inquiry;
use crate::telemetry::tally::AuthenticatorTally;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// One authenticator, and what it has verified lately.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) authenticator: Arc<Authenticator>,
    pub(super) cache: Rc<RefCell<TokenCache<Rc<Session>>>>,
    pub(super) tally: Arc<AuthenticatorTally>,
}

impl Entry {
    /// What verifies JWTs here, if anything does.
    pub(super) fn jwt(&self) -> Option<(&Jwt, &KeyStore)> {
        match &self.authenticator.kind {
            Kind::Jwt { jwt, keys } => Some((jwt, keys)),
            Kind::Introspection(_) | Kind::Remote(_) | Kind::ApiKey(_) => None,
        }
    }

    /// Whether what a session rests on is still there.
    pub(super) fn vouches_for(&self, session: &Session, now: UnixTime) -> bool {
        match (&self.authenticator.kind, &session.basis) {
            (Kind::Jwt { keys, .. }, Basis::Key(..)) => {
                keys.current(now).is_none_or(|keys| session.rests_on(&keys))
            }
            (Kind::ApiKey(file), Basis::Entry(entry)) => file.holds(entry),
            (Kind::Introspection(_) | Kind::Remote(_), Basis::Word) => true,
            (Kind::Jwt { .. }, Basis::Entry(_) | Basis::Word)
            | (Kind::ApiKey(_), Basis::Key(..) | Basis::Word)
            | (Kind::Introspection(_) | Kind::Remote(_), Basis::Key(..) | Basis::Entry(_)) => false,
        }
    }

    /// What this cache knows of a token, if that still counts.
    pub(super) fn known(&self, token: &str, now: UnixTime) -> Option<Rc<Session>> {
        let mut cache = self.cache.borrow_mut();
        match &self.authenticator.kind {
            Kind::Jwt { keys, .. } => {
                // Without keys nothing is known any more, not even what was verified with them.
                let keys = keys.current(now)?;
                cache.get(token, now, |session| session.rests_on(&keys))
            }
            Kind::ApiKey(file) => {
                let entry = file.find(token)?;
                cache.get(token, now, |session| session.rests_on_entry(&entry))
            }
            Kind::Introspection(_) | Kind::Remote(_) => cache.get(token, now, |_| true),
        }
    }
}

/// Who judges a credential, and where it stands in the configuration.
pub(super) enum Judge<'a> {
    /// One of the JWT authenticators; the token says which.
    Jwt,
    /// A key file.
    File(usize, &'a KeyFile),
    /// An authority.
    Authority(usize, &'a Inquiry<Opinion>),
}

/// Every authenticator, in the order of the configuration; `candidates` are places in it.
#[derive(Debug)]
pub(super) struct Entries(pub(super) Vec<Entry>);

impl Entries {
    /// The authenticator at that place.
    pub(super) fn get(&self, place: usize) -> Option<&Entry> {
        self.0.get(place)
    }

    /// Whether there are several.
    pub(super) fn are_several(&self) -> bool {
        self.0.len() > 1
    }

    pub(super) fn among<'a>(&'a self, candidates: &'a [usize]) -> impl Iterator<Item = (usize, &'a Entry)> {
        candidates.iter().filter_map(|place| Some((*place, self.0.get(*place)?)))
    }

    /// The JWT authenticator that says what is wrong with a token that none of them can be chosen by.
    pub(super) fn first_jwt(&self, candidates: &[usize]) -> usize {
        let first = self.among(candidates).find(|(_, entry)| entry.jwt().is_some()).map(|(place, _)| place);
        first.or(candidates.first().copied()).unwrap_or_default()
    }

    /// Whether the authenticator at that place judges a token of that origin, among several that find it in the same place.
    pub(super) fn is_judge(&self, place: usize, candidates: &[usize], origin: Option<&Origin>) -> bool {
        let Some(origin) = origin else { return false };
        if let Some((file, _)) = self.file(candidates) {
            return file == place;
        }
        match self.authority(candidates) {
            Some((authority, _)) if !self.is_for_jwt(candidates, origin) => place == authority,
            Some(_) | None => {
                let chosen = self.chosen(candidates, origin.issuer.as_deref(), |jwt| origin.names(jwt));
                chosen.is_some_and(|(jwt, _)| jwt == place)
            }
        }
    }

    /// Whether a token is for a JWT authenticator, beside an authority: a JWT whose issuer is one of theirs, and what only
    /// other readers would take for a JWT. No client chooses its judge by spelling a token so that ours cannot read it.
    fn is_for_jwt(&self, candidates: &[usize], origin: &Origin) -> bool {
        let mut jwts = self.among(candidates).filter_map(|(_, entry)| entry.jwt());
        match origin.form {
            Form::Opaque => false,
            Form::Doubtful => jwts.next().is_some(),
            Form::Jwt => jwts.any(|(jwt, _)| jwt.takes_issuer(origin.issuer.as_deref())),
        }
    }

    /// Who judges a token: a key file that finds it (no other authenticator reads the same there), the JWT authenticator of its
    /// issuer, or an authority.
    pub(super) fn judge_of<'a>(
        &'a self,
        candidates: &'a [usize],
        origin: impl FnOnce() -> Origin,
    ) -> Judge<'a> {
        if let Some((place, file)) = self.file(candidates) {
            return Judge::File(place, file);
        }
        match self.authority(candidates) {
            Some((place, inquiry)) if !self.is_for_jwt(candidates, &origin()) => {
                Judge::Authority(place, inquiry)
            }
            Some(_) | None => Judge::Jwt,
        }
    }

    fn file<'a>(&'a self, candidates: &'a [usize]) -> Option<(usize, &'a KeyFile)> {
        self.among(candidates).find_map(|(place, entry)| match &entry.authenticator.kind {
            Kind::ApiKey(file) => Some((place, &**file)),
            Kind::Jwt { .. } | Kind::Introspection(_) | Kind::Remote(_) => None,
        })
    }

    fn authority<'a>(&'a self, candidates: &'a [usize]) -> Option<(usize, &'a Inquiry<Opinion>)> {
        self.among(candidates).find_map(|(place, entry)| match &entry.authenticator.kind {
            Kind::Introspection(inquiry) | Kind::Remote(inquiry) => Some((place, &**inquiry)),
            Kind::Jwt { .. } | Kind::ApiKey(_) => None,
        })
    }

    /// The candidate that a token names by its issuer, and by its audience if it `names` one; nothing of it need be
    /// believed for that.
    pub(super) fn chosen<'a>(
        &'a self,
        candidates: &'a [usize],
        issuer: Option<&str>,
        names: impl Fn(&Jwt) -> bool,
    ) -> Option<(usize, &'a Entry)> {
        let jwts = || self.among(candidates).filter(|(_, entry)| entry.jwt().is_some());
        let takes =
            |(_, entry): &(usize, &Entry)| entry.jwt().is_some_and(|(jwt, _)| jwt.takes_issuer(issuer));
        let mut fitting = jwts().filter(takes);
        let Some(one) = fitting.next() else {
            // Without an issuer there is nothing to choose by; whoever is first says what is wrong.
            return jwts().next().filter(|_| issuer.is_none());
        };
        // Most often there is no other.
        let Some(other) = fitting.next() else { return Some(one) };
        let fits = |(_, entry): &(usize, &Entry)| entry.jwt().is_some_and(|(jwt, _)| names(jwt));
        let found = if fits(&one) { None } else { std::iter::once(other).chain(fitting).find(fits) };
        Some(found.unwrap_or(one))
    }
}
