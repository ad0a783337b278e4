//! What a verified credential leads to.

use crate::assertion::Kept;
use crate::authn::Authenticator;
use crate::authn::api_key::Entry;
use crate::authn::jwks::KeySet;
use crate::authn::jwt::Jwt;
use crate::authn::key::Key;
use crate::authn::token::{self, Claims};
use crate::clock::UnixTime;
use crate::facts::Facts;
use crate::footprint::{ARC_BYTES, allocated};
use crate::headers::trusted::Prepared;
use crate::identity::Identity;
use crate::inquiry::Answer;
use crate::json;
use crate::revocation::Marked;
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::sync::{Arc, Weak};

/// A verified credential, and what was made of it once.
#[derive(Debug)]
pub struct Session {
    /// The authenticator's place in the configuration.
    pub authenticator: usize,
    /// Who is asking.
    pub identity: Identity,
    /// Who is asking, for the log.
    pub subject: Arc<str>,
    /// The header fields for the service, as far as they can be made once.
    pub headers: Prepared,
    /// When what the credential vouches for ends: for a JWT `exp` and the leeway.
    pub ends: UnixTime,
    /// The claims that the credential stands for, if an expression looks at them; none where there are none.
    pub claims: Option<Arc<Value>>,
    /// What is known besides.
    pub known: Known,
    /// What it can be revoked by, where anything can be.
    pub(super) marked: Option<Marked>,
    /// Where there are several authenticators, whoever judges a token is chosen by this, from the cache as well.
    pub(super) origin: Option<Box<Origin>>,
    pub(super) basis: Basis,
}

/// What came to a session after it had begun, and until when it counts.
#[derive(Debug, Default)]
pub struct Known {
    /// The last answer, as long as it is kept where it is weighed: thousands of sessions must not hold what was forgotten there.
    pub facts: RefCell<Weak<Answer<Facts>>>,
    /// Whether the next one is on its way already.
    pub asked: Cell<bool>,
    /// The assertion that the service was told last.
    pub assertion: Kept,
}

/// What a session rests on; once that is gone it is worth nothing.
#[derive(Clone, Debug)]
pub(super) enum Basis {
    /// The key that signed a JWT, and the generation of the key set in which it was last seen.
    Key(Arc<Key>, Cell<u64>),
    /// An entry of the key file.
    Entry(Arc<Entry>),
    /// The word of an authority, until it is asked again.
    Word,
}

/// What something that lasts rests on, when its session is long forgotten.
#[derive(Debug)]
pub struct Footing {
    pub(super) authenticator: Option<Arc<Authenticator>>,
    pub(super) basis: Basis,
    pub(super) marked: Option<Marked>,
}

impl Footing {
    /// One that can be lost only by what a test says.
    #[cfg(test)]
    #[must_use]
    pub const fn none() -> Self {
        Self { authenticator: None, basis: Basis::Word, marked: None }
    }
}

/// What a token says of its form, issuer and audience.
#[derive(Debug, Default)]
pub(super) struct Origin {
    pub(super) form: Form,
    pub(super) issuer: Option<Box<str>>,
    audience: Box<[Box<str>]>,
}

/// The form of a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Form {
    /// Only its authority knows what it is.
    #[default]
    Opaque,
    /// A JWT.
    Jwt,
    /// Something that another reader than ours may take for a JWT, and ours does not.
    Doubtful,
}

impl Origin {
    pub(super) fn of(claims: &Claims<'_>) -> Self {
        let audience = claims.audience().map(|audience| audience.map(Into::into).collect());
        Self {
            form: Form::Jwt,
            issuer: claims.issuer().map(Into::into),
            audience: audience.unwrap_or_default(),
        }
    }

    /// Of a token that is no JWT by our strict reading.
    pub(super) fn of_other(token: &str) -> Self {
        let form = if token::looks_like_jws(token) { Form::Doubtful } else { Form::Opaque };
        Self { form, ..Self::default() }
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
    /// A session that nobody verified anything for: what a request would be with such an identity. It is worth nothing
    /// to a gate, which makes its own.
    #[must_use]
    pub fn assumed(authenticator: usize, identity: Identity, subject: Arc<str>, headers: Prepared) -> Self {
        Self {
            authenticator,
            identity,
            subject,
            headers,
            ends: UnixTime::NEVER,
            claims: None,
            known: Known::default(),
            marked: None,
            origin: None,
            basis: Basis::Word,
        }
    }

    /// Whether the key that signed it is still in the set; a set that was looked at before costs one comparison.
    pub(super) fn rests_on(&self, keys: &KeySet) -> bool {
        let Basis::Key(key, seen_in) = &self.basis else { return false };
        if seen_in.get() == keys.generation() {
            return true;
        }
        let known = keys.contains(key);
        if known {
            seen_in.set(keys.generation());
        }
        known
    }

    /// What something rests on that this session has opened.
    pub(super) fn footing(&self, authenticator: Option<Arc<Authenticator>>) -> Footing {
        Footing { authenticator, basis: self.basis.clone(), marked: self.marked.clone() }
    }

    /// Whether it rests on that entry of a key file.
    pub(super) fn rests_on_entry(&self, entry: &Arc<Entry>) -> bool {
        matches!(&self.basis, Basis::Entry(own) if Arc::ptr_eq(own, entry))
    }

    /// Whether it may be used from that address; judged anew for every request.
    pub(super) fn admits(&self, client: Option<IpAddr>) -> bool {
        match &self.basis {
            Basis::Entry(entry) => entry.admits(client),
            Basis::Key(..) | Basis::Word => true,
        }
    }

    /// How many bytes it occupies.
    pub(super) fn weight(&self) -> usize {
        allocated(size_of::<Self>().saturating_add(ARC_BYTES))
            .saturating_add(self.identity.weight())
            .saturating_add(self.headers.weight())
            .saturating_add(self.marked.as_ref().map_or(0, Marked::weight))
            .saturating_add(self.claims.as_deref().map_or(0, kept_weight))
            .saturating_add(self.origin.as_ref().map_or(0, |origin| origin.weight()))
    }
}

fn kept_weight(claims: &Value) -> usize {
    allocated(size_of::<Value>().saturating_add(ARC_BYTES)).saturating_add(json::weight(claims))
}
