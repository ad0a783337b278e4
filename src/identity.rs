//! Who is asking: the attributes that an authenticator vouches for, whatever kind it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The names of the attributes that are always sets.
pub const SET_ATTRIBUTES: [&str; 4] = ["roles", "scopes", "permissions", "capabilities"];

/// The value of one identity attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// Text.
    Text(Arc<str>),
    /// A whole number; 64 bits of either sign.
    Integer(i128),
    /// A truth value.
    Boolean(bool),
    /// A set of texts.
    Set(BTreeSet<Arc<str>>),
}

/// Who is asking, as one authenticator established it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    attributes: BTreeMap<Arc<str>, Attribute>,
}

impl Identity {
    /// Sets one attribute, replacing what stood there.
    pub fn insert(&mut self, name: impl Into<Arc<str>>, value: Attribute) {
        self.attributes.insert(name.into(), value);
    }

    /// The attribute of that name.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.get(name)
    }

    /// Every attribute in the order of names.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &Attribute)> {
        self.attributes.iter().map(|(name, value)| (name.as_ref(), value))
    }

    /// Whether the set attribute `name` holds `element`.
    #[must_use]
    pub fn set_contains(&self, name: &str, element: &str) -> bool {
        match self.attributes.get(name) {
            Some(Attribute::Set(set)) => set.contains(element),
            Some(Attribute::Text(_) | Attribute::Integer(_) | Attribute::Boolean(_)) | None => false,
        }
    }

    /// About how many bytes it occupies, for the bounds of caches.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.attributes
            .iter()
            .map(|(name, value)| {
                let held = match value {
                    Attribute::Text(text) => text.len(),
                    Attribute::Integer(_) | Attribute::Boolean(_) => 0,
                    Attribute::Set(set) => set.iter().map(|element| element.len().saturating_add(48)).sum(),
                };
                name.len().saturating_add(held).saturating_add(96)
            })
            .sum()
    }
}
