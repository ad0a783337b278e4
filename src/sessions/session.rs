//! What a verified token leads to.

use crate::authn::jwks::KeySet;
use crate::authn::jwt::Jwt;
use crate::authn::key::Key;
use crate::authn::token::Claims;
use crate::clock::UnixTime;
use crate::headers::trusted::Prepared;
use crate::identity::{ARC_BYTES, Identity, allocated};
use std::cell::Cell;
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
    pub(super) origin: Option<Box<Origin>>,
    pub(super) key: Arc<Key>,
    /// The generation of the key set in which the key was last seen.
    pub(super) seen_in: Cell<u64>,
}

/// What a token says of its issuer and audience.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) issuer: Option<Box<str>>,
    audience: Box<[Box<str>]>,
}

impl Origin {
    pub(super) fn of(claims: &Claims<'_>) -> Self {
        let audience = claims.audience().map(|audience| audience.map(Into::into).collect());
        Self { issuer: claims.issuer().map(Into::into), audience: audience.unwrap_or_default() }
    }

    /// Whether it names an audience of that authenticator.
    pub(super) fn names(&self, jwt: &Jwt) -> bool {
        self.audience.iter().any(|name| jwt.is_audience(name))
    }

    fn weight(&self) -> usize {
        let names = self.audience.iter().chain(&self.issuer).map(|name| allocated(name.len()));
        let list = allocated(size_of_val(&*self.audience));
        names.fold(allocated(size_of::<Self>()).saturating_add(list), usize::saturating_add)
    }
}

impl Session {
    /// Whether the key that signed it is still in the set; a set that was looked at before costs one comparison.
    pub(super) fn rests_on(&self, keys: &KeySet) -> bool {
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
    pub(super) fn weight(&self) -> usize {
        allocated(size_of::<Self>().saturating_add(ARC_BYTES))
            .saturating_add(self.identity.weight())
            .saturating_add(self.headers.weight())
            .saturating_add(self.origin.as_ref().map_or(0, |origin| origin.weight()))
    }
}
