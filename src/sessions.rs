//! One worker's knowledge of who is asking: verified tokens, and what they lead to, until they end.
//!
//! Facts are kept here, verdicts never: what a session may do is judged anew for every request.

use crate::authn::cache::{Bounds, TokenCache};
use crate::authn::jwks::KeySet;
use crate::authn::jwt::{Jwt, Refusal, Verified};
use crate::authn::key::Key;
use crate::authn::keys::KeyStore;
use crate::authn::token::Jws;
use crate::authn::{Authenticator, Kind};
use crate::clock::UnixTime;
use crate::denial::{Denial, Reason};
use crate::headers::trusted::{IdentityHeaders, Prepared};
use crate::identity::Identity;
use crate::telemetry::tally::{AuthenticatorTally, Tally};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// A verified token, and what was made of it once.
#[derive(Debug)]
pub struct Session {
    /// The authenticator's place in the configuration.
    pub authenticator: usize,
    /// Who is asking.
    pub identity: Identity,
    /// Who is asking, for the log.
    pub subject: Arc<str>,
    /// The header fields for the service.
    pub headers: Prepared,
    /// When what the token vouches for ends: `exp` and the leeway.
    pub ends: UnixTime,
    /// What the token says of its issuer and audience: whoever judges it is chosen by that, from the cache as well.
    origin: Origin,
    key: Arc<Key>,
    /// The generation of the key set in which the key was last seen.
    seen_in: Cell<u64>,
}

/// What a token says of its issuer and audience.
#[derive(Debug)]
struct Origin {
    issuer: Option<Box<str>>,
    audience: Box<[Box<str>]>,
}

impl Origin {
    fn of(token: &Jws<'_>) -> Self {
        let audience = token.claims().audience().unwrap_or_default();
        Self {
            issuer: token.claims().issuer().map(Into::into),
            audience: audience.into_iter().map(Into::into).collect(),
        }
    }
}

impl Session {
    /// Whether the key that signed it is still in the set; a set that was looked at before costs one comparison.
    fn rests_on(&self, keys: &KeySet) -> bool {
        if self.seen_in.get() == keys.generation() {
            return true;
        }
        let known = keys.contains(&self.key);
        if known {
            self.seen_in.set(keys.generation());
        }
        known
    }
}

#[derive(Debug)]
struct Entry {
    authenticator: Arc<Authenticator>,
    cache: RefCell<TokenCache<Rc<Session>>>,
    tally: Arc<AuthenticatorTally>,
}

impl Entry {
    fn jwt(&self) -> &Jwt {
        let Kind::Jwt { jwt, .. } = &self.authenticator.kind;
        jwt
    }

    fn keys(&self) -> &KeyStore {
        let Kind::Jwt { keys, .. } = &self.authenticator.kind;
        keys
    }
}

/// One worker's sessions.
#[derive(Debug)]
pub struct Sessions {
    entries: Vec<Entry>,
    headers: Arc<IdentityHeaders>,
    tally: Arc<Tally>,
}

impl Sessions {
    /// No sessions yet; `bounds` are those of one authenticator's cache.
    #[must_use]
    pub fn new(
        authenticators: &[Arc<Authenticator>],
        headers: Arc<IdentityHeaders>,
        bounds: Bounds,
        tally: Arc<Tally>,
    ) -> Self {
        let entry = |authenticator: &Arc<Authenticator>| Entry {
            authenticator: Arc::clone(authenticator),
            cache: RefCell::new(TokenCache::new(bounds)),
            tally: tally.authenticator(&authenticator.name),
        };
        Self { entries: authenticators.iter().map(entry).collect(), headers, tally }
    }

    /// The session of a token that one of `candidates` vouches for.
    ///
    /// # Errors
    /// Every `token_*` reason, and `authority_unavailable` when the keys cannot be had. The authenticator that
    /// judged is named beside it.
    pub async fn authenticate(
        &self,
        candidates: &[usize],
        token: &str,
        now: UnixTime,
    ) -> Result<Rc<Session>, (usize, Denial)> {
        if let Some(session) = self.known(candidates, token, now) {
            return Ok(session);
        }
        self.tally.cache_misses.increment();
        let first = candidates.first().copied().unwrap_or_default();
        let parsed = Jws::parse(token).map_err(|error| (first, Refusal::from(error).denial()));
        let parsed = parsed.inspect_err(|(place, _)| self.failed(*place))?;
        let Some((place, entry)) = self.chosen(candidates, &Origin::of(&parsed)) else {
            self.failed(first);
            let denial = Denial::new(Reason::TokenIssuer).because("no authenticator takes this issuer");
            return Err((first, denial));
        };
        match self.verify(place, entry, (token, parsed), now).await {
            Ok(session) => {
                entry.tally.success.increment();
                Ok(session)
            }
            Err(denial) => {
                entry.tally.error.increment();
                Err((place, denial))
            }
        }
    }

    fn failed(&self, place: usize) {
        if let Some(entry) = self.entries.get(place) {
            entry.tally.error.increment();
        }
    }

    fn among<'a>(&'a self, candidates: &'a [usize]) -> impl Iterator<Item = (usize, &'a Entry)> {
        candidates.iter().filter_map(|place| Some((*place, self.entries.get(*place)?)))
    }

    /// The session of a token that was verified before, by the very authenticator that would judge it now.
    fn known(&self, candidates: &[usize], token: &str, now: UnixTime) -> Option<Rc<Session>> {
        for (place, entry) in self.among(candidates) {
            // Without keys nothing is known any more, not even what was verified with them.
            let Some(keys) = entry.keys().current(now) else { continue };
            let found = entry.cache.borrow_mut().get(token, now, |session| session.rests_on(&keys));
            let Some(session) = found else { continue };
            let chosen = candidates.len() == 1
                || self.chosen(candidates, &session.origin).is_some_and(|(chosen, _)| chosen == place);
            if chosen {
                self.tally.cache_hits.increment();
                entry.tally.success.increment();
                return Some(session);
            }
        }
        None
    }

    /// The candidate that a token names by its issuer and audience; nothing of it need be believed for that.
    fn chosen<'a>(&'a self, candidates: &'a [usize], origin: &Origin) -> Option<(usize, &'a Entry)> {
        let issuer = origin.issuer.as_deref();
        let mut fitting = self.among(candidates).filter(|(_, entry)| entry.jwt().takes_issuer(issuer));
        let Some(one) = fitting.next() else {
            // Without an issuer there is nothing to choose by; whoever is first says what is wrong.
            return self.among(candidates).next().filter(|_| issuer.is_none());
        };
        let names = |(_, entry): &(usize, &Entry)| {
            let accepted = entry.jwt().audiences();
            accepted.iter().any(|accepted| origin.audience.iter().any(|named| **named == **accepted))
        };
        Some(if names(&one) { one } else { fitting.find(names).unwrap_or(one) })
    }

    async fn verify(
        &self,
        place: usize,
        entry: &Entry,
        (text, token): (&str, Jws<'_>),
        now: UnixTime,
    ) -> Result<Rc<Session>, Denial> {
        let Kind::Jwt { jwt, keys } = &entry.authenticator.kind;
        let unavailable = || Denial::new(Reason::AuthorityUnavailable).because("the keys are unavailable");
        let mut current = if let Some(current) = keys.current(now) {
            current
        } else {
            keys.ask(None).await.map_err(|_| unavailable())?;
            keys.current(now).ok_or_else(unavailable)?
        };
        let verified = match jwt.verify(&token, &current, now) {
            Err(Refusal::KeyUnknown) => {
                keys.ask(token.header().key_id.as_deref()).await.map_err(|_| unavailable())?;
                current = keys.current(now).ok_or_else(unavailable)?;
                jwt.verify(&token, &current, now)
            }
            verified => verified,
        };
        let verified = verified.map_err(|refusal| refusal.denial())?;
        let expires = verified.expires;
        let session = self.session((place, entry), verified, &current, Origin::of(&token))?;
        let bytes = session.identity.weight().saturating_add(session.headers.weight()).saturating_add(256);
        entry.cache.borrow_mut().insert(text, Rc::clone(&session), expires, bytes);
        Ok(session)
    }

    fn session(
        &self,
        (place, entry): (usize, &Entry),
        verified: Verified,
        keys: &KeySet,
        origin: Origin,
    ) -> Result<Rc<Session>, Denial> {
        let headers = self.headers.prepare(&verified.identity).map_err(|(attribute, unfit)| {
            Denial::new(Reason::TokenClaim).because(format_args!("the attribute {attribute} {unfit}"))
        })?;
        Ok(Rc::new(Session {
            authenticator: place,
            headers,
            subject: verified.subject,
            ends: verified.expires.plus(entry.jwt().leeway()),
            key: verified.key,
            origin,
            seen_in: Cell::new(keys.generation()),
            identity: verified.identity,
        }))
    }
}
