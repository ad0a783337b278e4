//! One worker's knowledge of who is asking: verified tokens, and what they lead to, until they end.
//!
//! Facts are kept here, verdicts never: what a session may do is judged anew for every request. Of the tokens that come
//! often, all that they lead to is kept; of many more only that their signature was found good, and the rest is read again.

mod session;

pub use session::Session;

use crate::authn::cache::{Bounds, TokenCache};
use crate::authn::jwt::{Jwt, Refusal};
use crate::authn::key::Key;
use crate::authn::keys::KeyStore;
use crate::authn::signatures::Signatures;
use crate::authn::token::{Jws, Space};
use crate::authn::{Authenticator, Kind};
use crate::clock::UnixTime;
use crate::denial::{Denial, Reason};
use crate::headers::trusted::IdentityHeaders;
use crate::telemetry::tally::{AuthenticatorTally, Tally};
use session::Origin;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

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
        let judged = self.learn(candidates, token, now).await;
        // A signature takes as long as all the rest of a request: those who need none go first. And what follows one is done for
        // all who waited at once, so that services and clients are not woken for each of them alone.
        tokio::task::yield_now().await;
        judged
    }

    /// Verifies a token that is not known.
    ///
    /// # Errors
    /// As [`Sessions::authenticate`].
    pub async fn learn(
        &self,
        candidates: &[usize],
        token: &str,
        now: UnixTime,
    ) -> Result<Rc<Session>, (usize, Denial)> {
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
    #[must_use]
    pub fn known(&self, candidates: &[usize], token: &str, now: UnixTime) -> Option<Rc<Session>> {
        for (place, entry) in self.among(candidates) {
            // Without keys nothing is known any more, not even what was verified with them.
            let Some(keys) = entry.keys().current(now) else { continue };
            let found = entry.cache.borrow_mut().get(token, now, |session| session.rests_on(&keys));
            let Some(session) = found else { continue };
            let chosen = candidates.len() == 1
                || session.origin.as_ref().is_some_and(|origin| {
                    let chosen = self.chosen(candidates, origin.issuer.as_deref(), |jwt| origin.names(jwt));
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
        let fits = |(_, entry): &(usize, &Entry)| names(entry.jwt());
        let found = if fits(&one) { None } else { std::iter::once(other).chain(fitting).find(fits) };
        Some(found.unwrap_or(one))
    }

    /// Reads a token and judges it with the keys that there are.
    fn judge(
        &self,
        candidates: &[usize],
        token: &str,
        now: UnixTime,
    ) -> Result<Rc<Session>, (usize, Failure)> {
        let mut space = self.space.take();
        let first = candidates.first().copied().unwrap_or_default();
        let judged = Jws::parse(token, &mut space)
            .map_err(|error| (first, Refusal::from(error).into()))
            .and_then(|parsed| self.judge_parsed(candidates, (token, &parsed), now));
        self.space.replace(space);
        judged
    }

    fn judge_parsed(
        &self,
        candidates: &[usize],
        (text, token): (&str, &Jws<'_>),
        now: UnixTime,
    ) -> Result<Rc<Session>, (usize, Failure)> {
        let claims = token.claims();
        let names = |jwt: &Jwt| {
            let audience = claims.audience();
            audience.is_some_and(|mut names| names.any(|name| jwt.is_audience(name)))
        };
        let Some((place, entry)) = self.chosen(candidates, claims.issuer(), names) else {
            let first = candidates.first().copied().unwrap_or_default();
            let denial = Denial::new(Reason::TokenIssuer).because("no authenticator takes this issuer");
            return Err((first, Failure::Denied(denial)));
        };
        self.verify((place, entry), (text, token), now).map_err(|failure| (place, failure))
    }

    fn verify(
        &self,
        (place, entry): (usize, &Entry),
        (text, token): (&str, &Jws<'_>),
        now: UnixTime,
    ) -> Result<Rc<Session>, Failure> {
        let keys = entry.keys().current(now).ok_or(Failure::Keys(Lacking::All))?;
        // Of several keys of one id, the one that is asked about last is the one that counts.
        let new = Cell::new(None);
        let known = |key: &Key| {
            let mut signatures = self.signatures.borrow_mut();
            let mark = signatures.mark(key, text);
            let verdict = mark.and_then(|mark| signatures.verdict(mark));
            new.set(mark.filter(|_| verdict.is_none()));
            verdict
        };
        let note = |is_good| {
            if let Some(mark) = new.get() {
                self.signatures.borrow_mut().note(mark, is_good);
            }
        };
        let verified = entry.jwt().verify_unless(token, &keys, now, known).map_err(|refusal| {
            if matches!(refusal, Refusal::KeyUnknown) {
                return Failure::Keys(Lacking::Id(token.header().key_id.as_deref().map(Into::into)));
            }
            if matches!(refusal, Refusal::Signature) {
                note(false);
            }
            refusal.into()
        })?;
        let headers = self.headers.prepare(&verified.identity).map_err(|(attribute, unfit)| {
            let unfit = format_args!("the attribute {attribute} {unfit}");
            Failure::Denied(Denial::new(Reason::TokenClaim).because(unfit))
        })?;
        let session = Rc::new(Session {
            authenticator: place,
            headers,
            subject: verified.subject,
            ends: verified.expires.plus(entry.jwt().leeway()),
            origin: (self.entries.len() > 1).then(|| Box::new(Origin::of(token.claims()))),
            key: verified.key,
            seen_in: Cell::new(keys.generation()),
            identity: verified.identity,
        });
        note(true);
        let times = (now, verified.expires);
        entry.cache.borrow_mut().insert(text, Rc::clone(&session), times, session.weight());
        entry.tally.success.increment();
        Ok(session)
    }
}

#[cfg(test)]
mod tests;
