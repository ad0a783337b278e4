//! One worker's knowledge of who is asking: verified tokens, and what they lead to, until they end.
//!
//! Facts are kept here, verdicts never: what a session may do is judged anew for every request. Of the tokens that come
//! often, all that they lead to is kept; of many more only that their signature was found good, and the rest is read again.

use crate::authn::cache::{Bounds, TokenCache};
use crate::authn::jwks::KeySet;
use crate::authn::jwt::{Jwt, Refusal, Verified};
use crate::authn::key::Key;
use crate::authn::keys::KeyStore;
use crate::authn::signatures::Signatures;
use crate::authn::token::{Claims, Jws, Space};
use crate::authn::{Authenticator, Kind};
use crate::clock::UnixTime;
use crate::denial::{Denial, Reason};
use crate::headers::trusted::{IdentityHeaders, Prepared};
use crate::identity::{ARC_BYTES, Identity, allocated};
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
    /// Where there are several authenticators, whoever judges a token is chosen by this, from the cache as well.
    origin: Option<Box<Origin>>,
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
    fn of(claims: &Claims<'_>) -> Self {
        let audience = claims.audience().map(|audience| audience.map(Into::into).collect());
        Self { issuer: claims.issuer().map(Into::into), audience: audience.unwrap_or_default() }
    }

    fn weight(&self) -> usize {
        let names = self.audience.iter().chain(&self.issuer).map(|name| allocated(name.len()));
        let list = allocated(size_of_val(&*self.audience));
        names.fold(allocated(size_of::<Self>()).saturating_add(list), usize::saturating_add)
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

    /// How many bytes it occupies.
    fn weight(&self) -> usize {
        allocated(size_of::<Self>().saturating_add(ARC_BYTES))
            .saturating_add(self.identity.weight())
            .saturating_add(self.headers.weight())
            .saturating_add(self.origin.as_ref().map_or(0, |origin| origin.weight()))
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

/// Why there is no session.
enum Failure {
    Denied(Denial),
    Keys(Lacking),
}

/// What lacks of the keys.
enum Lacking {
    /// There are none yet, or none that are fresh enough.
    All,
    /// The one that the token names.
    Id(Option<Box<str>>),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Denied(refusal.denial())
    }
}

/// One worker's sessions.
#[derive(Debug)]
pub struct Sessions {
    entries: Vec<Entry>,
    signatures: RefCell<Signatures>,
    space: RefCell<Space>,
    headers: Arc<IdentityHeaders>,
    tally: Arc<Tally>,
}

impl Sessions {
    /// No sessions yet; the bytes of `bounds` are those of one authenticator's cache.
    #[must_use]
    pub fn new(
        authenticators: &[Arc<Authenticator>],
        headers: Arc<IdentityHeaders>,
        bounds: Bounds,
        tally: Arc<Tally>,
    ) -> Self {
        let entry = |authenticator: &Arc<Authenticator>| Entry {
            authenticator: Arc::clone(authenticator),
            cache: RefCell::new(TokenCache::new(bounds.bytes)),
            tally: tally.authenticator(&authenticator.name),
        };
        let entries = authenticators.iter().map(entry).collect();
        let signatures = RefCell::new(Signatures::new(bounds.signatures));
        Self { entries, signatures, space: RefCell::default(), headers, tally }
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
        let judged = match self.judge(candidates, token, now) {
            // Rare, and in a box, or every request would carry along the room for it.
            Err((place, Failure::Keys(lacking))) => {
                Box::pin(self.judge_with_new_keys((place, lacking), candidates, token, now)).await
            }
            judged => judged,
        };
        judged.map_err(|(place, failure)| {
            if let Some(entry) = self.entries.get(place) {
                entry.tally.error.increment();
            }
            let denial = match failure {
                Failure::Denied(denial) => denial,
                Failure::Keys(Lacking::Id(_)) => Refusal::KeyUnknown.denial(),
                Failure::Keys(Lacking::All) => {
                    Denial::new(Reason::AuthorityUnavailable).because("the keys are unavailable")
                }
            };
            (place, denial)
        })
    }

    /// Asks for keys and judges once more: for all of them, and then for the one that is named, but each only once.
    async fn judge_with_new_keys(
        &self,
        (place, mut lacking): (usize, Lacking),
        candidates: &[usize],
        token: &str,
        now: UnixTime,
    ) -> Result<Rc<Session>, (usize, Failure)> {
        loop {
            let Some(entry) = self.entries.get(place) else {
                return Err((place, Failure::Keys(Lacking::All)));
            };
            let kid = if let Lacking::Id(kid) = &lacking { kid.as_deref() } else { None };
            if entry.keys().ask(kid).await.is_err() {
                return Err((place, Failure::Keys(Lacking::All)));
            }
            match (self.judge(candidates, token, now), &lacking) {
                (Err((_, Failure::Keys(Lacking::Id(kid)))), Lacking::All) => lacking = Lacking::Id(kid),
                (judged, _) => return judged,
            }
        }
    }

    /// Forgets what nobody has asked for lately, a little at a time.
    pub fn purge(&self, now: UnixTime) {
        self.signatures.borrow_mut().purge(now);
        self.entries.iter().for_each(|entry| entry.cache.borrow_mut().purge(now));
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
                || session.origin.as_ref().is_some_and(|origin| {
                    let names = |jwt: &Jwt| origin.audience.iter().any(|name| jwt.is_audience(name));
                    let chosen = self.chosen(candidates, origin.issuer.as_deref(), names);
                    chosen.is_some_and(|(chosen, _)| chosen == place)
                });
            if chosen {
                self.tally.cache_hits.increment();
                entry.tally.success.increment();
                return Some(session);
            }
        }
        None
    }

    /// The candidate that a token names by its issuer, and by its audience if it `names` one; nothing of it need be
    /// believed for that.
    fn chosen<'a>(
        &'a self,
        candidates: &'a [usize],
        issuer: Option<&str>,
        names: impl Fn(&Jwt) -> bool,
    ) -> Option<(usize, &'a Entry)> {
        let mut fitting = self.among(candidates).filter(|(_, entry)| entry.jwt().takes_issuer(issuer));
        let Some(one) = fitting.next() else {
            // Without an issuer there is nothing to choose by; whoever is first says what is wrong.
            return self.among(candidates).next().filter(|_| issuer.is_none());
        };
        // Most often there is no other.
        let Some(other) = fitting.next() else { return Some(one) };
        let named = |(_, entry): &(usize, &Entry)| names(entry.jwt());
        let found = if named(&one) { None } else { std::iter::once(other).chain(fitting).find(named) };
        Some(found.unwrap_or(one))
    }

    /// Reads a token and judges it with the keys that there are.
    fn judge(
        &self,
        candidates: &[usize],
        token: &str,
        now: UnixTime,
    ) -> Result<Rc<Session>, (usize, Failure)> {
        let first = candidates.first().copied().unwrap_or_default();
        let mut space = self.space.take();
        let judged = match Jws::parse(token, &mut space) {
            Ok(parsed) => {
                let claims = parsed.claims();
                let names = |jwt: &Jwt| {
                    claims.audience().is_some_and(|mut names| names.any(|name| jwt.is_audience(name)))
                };
                match self.chosen(candidates, claims.issuer(), names) {
                    Some((place, entry)) => {
                        self.verify((place, entry), (token, &parsed), now).map_err(|failure| (place, failure))
                    }
                    None => {
                        let denial =
                            Denial::new(Reason::TokenIssuer).because("no authenticator takes this issuer");
                        Err((first, Failure::Denied(denial)))
                    }
                }
            }
            Err(error) => Err((first, Refusal::from(error).into())),
        };
        self.space.replace(space);
        judged
    }

    fn verify(
        &self,
        (place, entry): (usize, &Entry),
        (text, token): (&str, &Jws<'_>),
        now: UnixTime,
    ) -> Result<Rc<Session>, Failure> {
        let keys = entry.keys().current(now).ok_or(Failure::Keys(Lacking::All))?;
        let signatures = &self.signatures;
        // Of several keys of one id, the one that is asked about last is the one that counts.
        let new = Cell::new(None);
        let is_known = |key: &Key| {
            let mut signatures = signatures.borrow_mut();
            let mark = signatures.mark(key, text);
            let is_known = mark.is_some_and(|mark| signatures.knows(mark));
            new.set(mark.filter(|_| !is_known));
            is_known
        };
        let verified =
            entry.jwt().verify_unless(token, &keys, now, is_known).map_err(|refusal| match refusal {
                Refusal::KeyUnknown => {
                    Failure::Keys(Lacking::Id(token.header().key_id.as_deref().map(Into::into)))
                }
                refusal => refusal.into(),
            })?;
        let expires = verified.expires;
        let origin = (self.entries.len() > 1).then(|| Box::new(Origin::of(token.claims())));
        let session = self.session((place, entry), verified, &keys, origin).map_err(Failure::Denied)?;
        if let Some(mark) = new.get() {
            signatures.borrow_mut().note(mark);
        }
        entry.cache.borrow_mut().insert(text, Rc::clone(&session), (now, expires), session.weight());
        entry.tally.success.increment();
        Ok(session)
    }

    fn session(
        &self,
        (place, entry): (usize, &Entry),
        verified: Verified,
        keys: &KeySet,
        origin: Option<Box<Origin>>,
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

#[cfg(test)]
mod tests;
