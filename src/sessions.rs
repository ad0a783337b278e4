//! One worker's knowledge of who is asking: verified tokens, and what they lead to, until they end.
//!
//! Facts are kept here, verdicts never: what a session may do is judged anew for every request. Of the tokens that come
//! often, all that they lead to is kept; of many more only that their signature was found good, and the rest is read again.

mod entries;
mod session;

pub use session::Session;

use crate::assertion::Assertions;
use crate::authn::Authenticator;
use crate::authn::api_key::KeyFile;
use crate::authn::cache::{Bounds, TokenCache};
use crate::authn::jwt::{Jwt, Refusal};
use crate::authn::key::Key;
use crate::authn::opinion::Opinion;
use crate::authn::signatures::Signatures;
use crate::authn::signed::Signed;
use crate::authn::token::{Jws, MAX_TOKEN_BYTES, Space};
use crate::clock::UnixTime;
use crate::denial::{Denial, Reason};
use crate::headers::trusted::{IdentityHeaders, Prepared};
use crate::identity::Identity;
use crate::inquiry::Inquiry;
use crate::revocation::{Revocations, Watched};
use crate::telemetry::tally::Tally;
use entries::{Entries, Entry, Judge};
use session::{Basis, Known, Origin};
use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

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

/// A session, and whether its token was seen before.
struct Judged {
    session: Rc<Session>,
    again: bool,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Denied(refusal.denial())
    }
}

/// One worker's sessions.
#[derive(Debug)]
pub struct Sessions {
    entries: Entries,
    signatures: Rc<RefCell<Signatures>>,
    space: RefCell<Space>,
    headers: Arc<IdentityHeaders>,
    assertions: Option<Arc<Assertions>>,
    keeps_claims: bool,
    keeps_first: bool,
    revocations: Option<Arc<Revocations>>,
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
            cache: Rc::new(RefCell::new(TokenCache::new(bounds.bytes))),
            tally: tally.authenticator(&authenticator.name),
        };
        let entries = Entries(authenticators.iter().map(entry).collect());
        let signatures = Rc::new(RefCell::new(Signatures::new(bounds.signatures)));
        Self {
            entries,
            signatures,
            space: RefCell::default(),
            headers,
            assertions: None,
            keeps_claims: false,
            keeps_first: false,
            revocations: None,
            tally,
        }
    }

    /// With room for the assertions that are kept with sessions.
    #[must_use]
    pub fn with_assertions(self, assertions: Option<Arc<Assertions>>) -> Self {
        Self { assertions, ..self }
    }

    /// Keeps the claims with each session, or does not; they take up memory, so only where an expression looks at them.
    #[must_use]
    pub fn keeping_claims(self, keeps_claims: bool) -> Self {
        Self { keeps_claims, ..self }
    }

    /// Keeps a session at the first sight of its token, or from the second on: at the first where facts or assertions are kept with it
    /// that cost more than it does.
    #[must_use]
    pub fn keeping_first(self, keeps_first: bool) -> Self {
        Self { keeps_first, ..self }
    }

    /// Looks at what is revoked, or does not.
    #[must_use]
    pub fn with_revocations(self, revocations: Option<Arc<Revocations>>) -> Self {
        Self { revocations, ..self }
    }

    /// Why a session does not count any more although its credential is good: it was revoked, or nobody knows. To be asked for every
    /// request, and while a long one lasts; mostly it costs two comparisons, and nothing at all without `[revocation]`.
    #[must_use]
    pub fn refusal(&self, session: &Session, now: UnixTime) -> Option<Denial> {
        let reason = self.revocations.as_ref()?.refusal(session.marked.as_ref()?, now)?;
        let why = if reason == Reason::TokenRevoked {
            "it was revoked"
        } else {
            "the list of revocations is too old"
        };
        Some(Denial::new(reason).because(why))
    }

    /// With what was verified under the configuration before, as far as it counts under this one: by authenticators that are the
    /// same, in the same place, and for the same headers.
    #[must_use]
    pub fn taking_over(mut self, before: &Self) -> Self {
        self.signatures = Rc::clone(&before.signatures);
        let alike = is_same(self.assertions.as_ref(), before.assertions.as_ref())
            && is_same(self.revocations.as_ref(), before.revocations.as_ref())
            && Arc::ptr_eq(&self.headers, &before.headers)
            && self.keeps_claims == before.keeps_claims
            && self.entries.are_several() == before.entries.are_several();
        for (own, theirs) in self.entries.0.iter_mut().zip(&before.entries.0) {
            if alike && Arc::ptr_eq(&own.authenticator, &theirs.authenticator) {
                own.cache = Rc::clone(&theirs.cache);
            }
        }
        self
    }

    /// The session of a token that one of `candidates` vouches for, sent by `client`.
    ///
    /// # Errors
    /// Every `token_*` and `api_key_*` reason, and `authority_unavailable` when keys or an authority's word cannot be had.
    /// The authenticator that judged is named beside it.
    pub async fn authenticate(
        &self,
        candidates: &[usize],
        token: &str,
        now: UnixTime,
        client: Option<IpAddr>,
    ) -> Result<Rc<Session>, (usize, Denial)> {
        let session = if let Some(session) = self.known(candidates, token, now) {
            session
        } else {
            // A signature takes as long as all the rest of a request: whoever needs none goes first, and responses do.
            tokio::task::yield_now().await;
            // Rarer than the rest, and in a box, or every request would carry along the room for it.
            let judged = Box::pin(self.learn(candidates, token, now)).await;
            // What follows is done for all who waited at once, so that services and clients are not woken for each of them
            // alone.
            tokio::task::yield_now().await;
            judged?
        };
        let tally = self.entries.get(session.authenticator).map(|entry| &entry.tally);
        let refusal = if session.admits(client) {
            self.refusal(&session, now)
        } else {
            Some(Denial::new(Reason::ApiKeyAddress))
        };
        let Some(denial) = refusal else {
            tally.inspect(|tally| tally.success.increment());
            return Ok(session);
        };
        tally.inspect(|tally| tally.error.increment());
        Err((session.authenticator, denial))
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
        let judged = match self.entries.judge_of(candidates, || self.origin(token)) {
            Judge::Jwt => match self.judge(candidates, token, now) {
                // Rare, and in a box, or every request would carry along the room for it.
                Err((place, Failure::Keys(lacking))) => {
                    Box::pin(self.judge_with_new_keys((place, lacking), candidates, token, now)).await
                }
                judged => judged,
            },
            Judge::File(place, file) => self.look_up((place, file), token, now).map(Judged::first),
            Judge::Authority(place, inquiry) => {
                Box::pin(self.inquire((place, inquiry), token, now)).await.map(Judged::first)
            }
        };
        let again = judged.as_ref().is_ok_and(|judged| judged.again);
        let lookups = if again { &self.tally.cache_hits } else { &self.tally.cache_misses };
        lookups.increment();
        judged.map(|judged| judged.session).map_err(|(place, failure)| {
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
    ) -> Result<Judged, (usize, Failure)> {
        loop {
            let Some(entry) = self.entries.get(place) else {
                return Err((place, Failure::Keys(Lacking::All)));
            };
            let kid = if let Lacking::Id(kid) = &lacking { kid.as_deref() } else { None };
            let Some((_, keys)) = entry.jwt() else { return Err((place, Failure::Keys(Lacking::All))) };
            if keys.ask(kid).await.is_err() {
                return Err((place, Failure::Keys(Lacking::All)));
            }
            match (self.judge(candidates, token, now), &lacking) {
                (Err((_, Failure::Keys(Lacking::Id(kid)))), Lacking::All) => lacking = Lacking::Id(kid),
                (judged, _) => return judged,
            }
        }
    }

    /// Whether a session that was good when something was opened with it is worth anything now: false once its API key was
    /// removed from the file or changed there, once the key that signed its JWT has left the key set, and once it was revoked.
    /// While keys cannot be had, nobody has withdrawn any, and while the list of revocations is too old nobody has revoked
    /// anything: new requests are refused then, but nothing ends. When it ends in time is not asked here.
    #[must_use]
    pub fn stands(&self, session: &Session, now: UnixTime) -> bool {
        // Most often it is the one at its place; after a reload it may stand elsewhere.
        let own = self.entries.get(session.authenticator).into_iter();
        let is_revoked =
            self.refusal(session, now).is_some_and(|denial| denial.reason() == Reason::TokenRevoked);
        !is_revoked && own.chain(&self.entries.0).any(|entry| entry.vouches_for(session, now))
    }

    /// Forgets what nobody has asked for lately, a little at a time.
    pub fn purge(&self, now: UnixTime) {
        self.signatures.borrow_mut().purge(now);
        self.entries.0.iter().for_each(|entry| entry.cache.borrow_mut().purge(now));
    }

    /// The session of a token that was verified before, by the very authenticator that would judge it now.
    #[must_use]
    pub fn known(&self, candidates: &[usize], token: &str, now: UnixTime) -> Option<Rc<Session>> {
        for (place, entry) in self.entries.among(candidates) {
            let Some(session) = entry.known(token, now) else { continue };
            if candidates.len() == 1 || self.entries.is_judge(place, candidates, session.origin.as_deref()) {
                self.tally.cache_hits.increment();
                return Some(session);
            }
        }
        None
    }

    /// What a token says of its form, issuer and audience; nothing of it is believed.
    fn origin(&self, token: &str) -> Origin {
        let mut space = self.space.take();
        let origin = match Jws::parse(token, &mut space) {
            Ok(parsed) => Origin::of(parsed.claims()),
            Err(_) => Origin::of_other(token),
        };
        self.space.replace(space);
        origin
    }

    /// Looks an API key up.
    fn look_up(
        &self,
        (place, file): (usize, &KeyFile),
        key: &str,
        now: UnixTime,
    ) -> Result<Rc<Session>, (usize, Failure)> {
        let refused = |reason| (place, Failure::Denied(Denial::new(reason)));
        let entry = file.find(key).ok_or_else(|| refused(Reason::ApiKeyUnknown))?;
        let ends = entry.expires.unwrap_or(UnixTime::NEVER);
        if now >= ends {
            return Err(refused(Reason::ApiKeyExpired));
        }
        let identity = entry.identity.clone();
        let headers = self.prepare(&identity).map_err(|denial| (place, Failure::Denied(denial)))?;
        let session = Session {
            authenticator: place,
            headers,
            subject: Arc::clone(&entry.id),
            ends,
            known: Known::default(),
            marked: self.watched().map(|watched| watched.traces(&identity, None).of(key)),
            origin: self.entries.are_several().then(Box::default),
            claims: None,
            basis: Basis::Entry(entry),
            identity,
        };
        Ok(self.keep(session, key, (now, ends)))
    }

    /// Asks an authority for its word.
    async fn inquire(
        &self,
        (place, inquiry): (usize, &Inquiry<Opinion>),
        token: &str,
        now: UnixTime,
    ) -> Result<Rc<Session>, (usize, Failure)> {
        let refused = |denial| (place, Failure::Denied(denial));
        if token.len() > MAX_TOKEN_BYTES {
            return Err(refused(
                Denial::new(Reason::TokenMalformed).because("the token is too long to ask about"),
            ));
        }
        let answer = inquiry
            .ask(token)
            .await
            .map_err(|unavailable| refused(Denial::new(Reason::AuthorityUnavailable).because(unavailable)))?;
        let vouched = answer.value.vouched().map_err(refused)?;
        let identity = vouched.identity.clone();
        let session = Session {
            authenticator: place,
            headers: self.prepare(&identity).map_err(refused)?,
            subject: Arc::clone(&vouched.subject),
            ends: vouched.expires.unwrap_or(UnixTime::NEVER),
            known: Known::default(),
            marked: self.watched().map(|watched| {
                let traces = vouched.traces.clone();
                traces.unwrap_or_else(|| watched.traces(&vouched.identity, None)).of(token)
            }),
            origin: self.entries.are_several().then(|| Box::new(self.origin(token))),
            claims: vouched.claims.clone().filter(|_| self.keeps_claims),
            basis: Basis::Word,
            identity,
        };
        Ok(self.keep(session, token, (now, answer.fresh_until)))
    }

    fn watched(&self) -> Option<&Watched> {
        self.revocations.as_ref().map(|revocations| &**revocations.watched())
    }

    fn prepare(&self, identity: &Identity) -> Result<Prepared, Denial> {
        self.headers.prepare(identity).map_err(|(attribute, unfit)| {
            Denial::new(Reason::TokenClaim).because(format_args!("the attribute {attribute} {unfit}"))
        })
    }

    /// Remembers a session from now until it must be judged anew.
    fn keep(&self, session: Session, token: &str, times: (UnixTime, UnixTime)) -> Rc<Session> {
        let assertion =
            self.assertions.as_ref().map_or(0, |assertions| assertions.weight(session.identity.weight()));
        let session = Rc::new(session);
        if let Some(entry) = self.entries.get(session.authenticator) {
            let weight = session.weight().saturating_add(assertion);
            entry.cache.borrow_mut().insert(token, Rc::clone(&session), times, weight);
        }
        session
    }

    /// Reads a token and judges it with the keys that there are.
    fn judge(&self, candidates: &[usize], token: &str, now: UnixTime) -> Result<Judged, (usize, Failure)> {
        let mut space = self.space.take();
        let first = self.entries.first_jwt(candidates);
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
    ) -> Result<Judged, (usize, Failure)> {
        let claims = token.claims();
        let names = |jwt: &Jwt| {
            let audience = claims.audience();
            audience.is_some_and(|mut names| names.any(|name| jwt.is_audience(name)))
        };
        let Some((place, entry)) = self.entries.chosen(candidates, claims.issuer(), names) else {
            let first = self.entries.first_jwt(candidates);
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
    ) -> Result<Judged, Failure> {
        let (jwt, keys) = entry.jwt().ok_or(Failure::Keys(Lacking::All))?;
        let keys = keys.current(now).ok_or(Failure::Keys(Lacking::All))?;
        // Of several keys of one id, the one that is asked about last is the one that counts.
        let new = Cell::new(None);
        let known = |key: &Key, signed: &Signed<'_>| {
            let mut signatures = self.signatures.borrow_mut();
            let mark = signatures.mark(key, signed);
            let verdict = mark.and_then(|mark| signatures.verdict(mark));
            new.set(mark.filter(|_| verdict.is_none()));
            verdict
        };
        let note = |is_good| {
            if let Some(mark) = new.get() {
                self.signatures.borrow_mut().note(mark, is_good);
            }
        };
        let verified = jwt.verify_unless(token, &keys, now, known).map_err(|refusal| {
            if matches!(refusal, Refusal::KeyUnknown) {
                return Failure::Keys(Lacking::Id(token.header().key_id.as_deref().map(Into::into)));
            }
            if matches!(refusal, Refusal::Signature) {
                note(false);
            }
            refusal.into()
        })?;
        let headers = self.prepare(&verified.identity).map_err(Failure::Denied)?;
        let again = new.get().is_none();
        note(true);
        let session = Session {
            authenticator: place,
            headers,
            subject: verified.subject,
            ends: verified.expires.plus(jwt.leeway()),
            known: Known::default(),
            marked: self
                .watched()
                .map(|watched| watched.traces(&verified.identity, Some(token.claims().members())).of(text)),
            origin: self.entries.are_several().then(|| Box::new(Origin::of(token.claims()))),
            claims: self.keeps_claims.then(|| Arc::new(token.claims().members().to_kept())),
            basis: Basis::Key(verified.key, Cell::new(keys.generation())),
            identity: verified.identity,
        };
        // Most tokens of a flood come once: all that one leads to is kept from the second time on.
        let session = if again || self.keeps_first {
            self.keep(session, text, (now, verified.expires))
        } else {
            Rc::new(session)
        };
        Ok(Judged { session, again })
    }
}

impl Judged {
    const fn first(session: Rc<Session>) -> Self {
        Self { session, again: false }
    }
}

fn is_same<T>(own: Option<&Arc<T>>, theirs: Option<&Arc<T>>) -> bool {
    match (own, theirs) {
        (Some(own), Some(theirs)) => Arc::ptr_eq(own, theirs),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

#[cfg(test)]
mod tests;
