//! What a customer may do, as far as the token does not say it: capabilities and quotas, and what comes of both together.

use crate::footprint::allocated;
use crate::identity::{Attribute, Identity, QUOTAS, Texts};
use crate::quotas::{Quota, Quotas};

/// What is known about a customer besides the token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// What the customer may do.
    pub capabilities: Texts,
    /// How much of it.
    pub quotas: Quotas,
}

impl Facts {
    /// How many bytes they occupy, for the bounds of caches.
    #[must_use]
    pub fn weight(&self) -> usize {
        allocated(size_of::<Self>())
            .saturating_add(self.capabilities.weight())
            .saturating_add(self.quotas.weight())
    }
}

/// The attribute that facts add to.
pub const CAPABILITIES: &str = "capabilities";

/// Who is asking, and what is known about them.
#[derive(Clone, Copy, Debug)]
pub struct Holder<'a> {
    /// What the authenticator vouches for.
    pub identity: &'a Identity,
    /// What is known besides, if anybody was asked.
    pub facts: Option<&'a Facts>,
    /// What the certificate says that came with the connection.
    pub certificate: Option<&'a Identity>,
}

/// What somebody holds of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a> {
    own: Option<&'a Texts>,
    more: Option<&'a Texts>,
}

impl Held<'_> {
    /// Whether `element` is among it.
    #[must_use]
    pub fn contains(&self, element: &str) -> bool {
        self.own.is_some_and(|own| own.contains(element))
            || self.more.is_some_and(|more| more.contains(element))
    }
}

impl<'a> Holder<'a> {
    /// What is held of the set of that name; capabilities are the union of the identity's own and those that are known
    /// besides.
    #[must_use]
    pub fn held(&self, set: &str) -> Held<'a> {
        let more = self.facts.filter(|_| set == CAPABILITIES).map(|facts| &facts.capabilities);
        Held { own: self.identity.set(set), more }
    }

    /// Every capability, the identity's own and those that are known besides.
    #[must_use]
    pub fn capabilities(&self) -> Texts {
        let Held { own, more } = self.held(CAPABILITIES);
        own.into_iter().chain(more).flat_map(Texts::iter).collect()
    }

    /// The larger one of the identity's own quota and the one that is known besides; one that is absent is 0.
    #[must_use]
    pub fn quota(&self, name: &str) -> Quota {
        let own = match self.identity.attribute(QUOTAS) {
            Some(Attribute::Quotas(quotas)) => quotas.quota(name),
            Some(_) | None => Quota::default(),
        };
        self.facts.map_or(own, |facts| facts.quotas.quota(name).max(own))
    }
}
