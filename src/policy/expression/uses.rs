//! What an expression looks at, so that nothing else is made for it or kept because of it.

use std::collections::BTreeSet;

/// Names of members of one variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// These.
    Some(BTreeSet<Box<str>>),
    /// Any: the variable is used as a whole, or by a name that is not known before.
    All,
}

impl Names {
    pub(super) const NONE: Self = Self::Some(BTreeSet::new());

    pub(super) fn add(&mut self, name: &str) {
        match self {
            Self::Some(names) => {
                names.insert(name.into());
            }
            Self::All => {}
        }
    }

    pub(super) fn is_none(&self) -> bool {
        matches!(self, Self::Some(names) if names.is_empty())
    }

    pub(super) fn contain(&self, name: &str) -> bool {
        match self {
            Self::Some(names) => names.contains(name),
            Self::All => true,
        }
    }

    /// Those that are written out.
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        let written = match self {
            Self::Some(names) => Some(names),
            Self::All => None,
        };
        written.into_iter().flatten().map(AsRef::as_ref)
    }
}

/// What an expression looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Uses {
    /// Members of `identity`.
    pub(super) attributes: Names,
    /// Members of `claims`.
    pub(super) claims: Names,
    /// Members of `path`.
    pub(super) parameters: Names,
    /// `request`.
    pub(super) request: bool,
    /// Members by names that are not written out, so that errors may hold values.
    pub(super) unwritten: bool,
}
