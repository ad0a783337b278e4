//! Who is asking: the attributes that an authenticator vouches for, whatever kind it is.

use crate::footprint::{ARC_BYTES, allocated};
use crate::quotas::Quotas;
use serde_json::Value;
use std::cmp::Ordering;
use std::sync::Arc;

/// The attribute that every identity has: who the credential is about.
pub const SUBJECT: &str = "subject";

/// Attributes that sidegate sets itself: the authenticator's name, and its kind.
pub const BUILT_IN: [&str; 2] = ["authenticator", "auth_method"];

/// The subject of the client's certificate, as RFC 4514 writes it.
pub const CLIENT_CERT_SUBJECT: &str = "client_cert_subject";
/// The alternative names of the client's certificate, a set; each with its kind: `DNS:`, `URI:`, `email:`, `IP:`.
pub const CLIENT_CERT_SAN: &str = "client_cert_san";
/// The SPIFFE id in the client's certificate.
pub const CLIENT_CERT_SPIFFE_ID: &str = "client_cert_spiffe_id";
/// The SHA-256 of the client's certificate, in hex.
pub const CLIENT_CERT_FINGERPRINT: &str = "client_cert_fingerprint";

/// Attributes that come from the client's certificate, and from nowhere else.
pub const CLIENT_CERTIFICATE: [&str; 4] =
    [CLIENT_CERT_SUBJECT, CLIENT_CERT_SAN, CLIENT_CERT_SPIFFE_ID, CLIENT_CERT_FINGERPRINT];

/// Whether only sidegate itself sets the attribute of that name: no claim and no entry of a key file can.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    BUILT_IN.contains(&name) || CLIENT_CERTIFICATE.contains(&name)
}

/// The names of the attributes that are always sets.
pub const SET_ATTRIBUTES: [&str; 4] = ["roles", "scopes", "permissions", "capabilities"];

/// The name of the attribute that is always quotas.
pub const QUOTAS: &str = "quotas";

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
    Set(Texts),
    /// How much of what may be used.
    Quotas(Quotas),
}

impl Attribute {
    /// What it is in JSON: sets are lists, quotas an object in which `null` is unlimited.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Text(text) => (**text).into(),
            // 64 bits of either sign, so that one of these fits.
            Self::Integer(number) => match (i64::try_from(*number), u64::try_from(*number)) {
                (Ok(number), _) => number.into(),
                (Err(_), Ok(number)) => number.into(),
                (Err(_), Err(_)) => number.to_string().into(),
            },
            Self::Boolean(truth) => (*truth).into(),
            Self::Set(set) => set.iter().collect(),
            Self::Quotas(quotas) => quotas.to_json().into(),
        }
    }
}

/// A set of texts, in order. All of them lie in one piece of memory, since thousands of sets are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    joined: Box<str>,
    /// Where each element ends.
    ends: Box<[u32]>,
}

impl Texts {
    /// Every element in its order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|place| self.element(place))
    }

    /// Whether `text` is one of them.
    #[must_use]
    pub fn contains(&self, text: &str) -> bool {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            let Some(element) = self.element(middle) else { return false };
            match element.cmp(text) {
                Ordering::Less => low = middle.saturating_add(1),
                Ordering::Equal => return true,
                Ordering::Greater => high = middle,
            }
        }
        false
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn element(&self, place: usize) -> Option<&str> {
        let begin = place.checked_sub(1).map_or(Some(&0), |before| self.ends.get(before))?;
        let end = self.ends.get(place)?;
        self.joined.get(usize::try_from(*begin).ok()?..usize::try_from(*end).ok()?)
    }

    /// How many bytes they occupy beside themselves.
    #[must_use]
    pub fn weight(&self) -> usize {
        allocated(self.joined.len()).saturating_add(allocated(size_of_val(&*self.ends)))
    }
}

impl<'a> FromIterator<&'a str> for Texts {
    fn from_iter<I: IntoIterator<Item = &'a str>>(texts: I) -> Self {
        let mut sorted: Vec<&str> = texts.into_iter().collect();
        sorted.sort_unstable();
        sorted.dedup();
        let joined = sorted.concat();
        let ends = sorted.iter().scan(0_u32, |end, text| {
            // Beyond 4 GiB nothing is an element any more; the longest token has 16 KiB.
            *end = end.saturating_add(u32::try_from(text.len()).unwrap_or(u32::MAX));
            Some(*end)
        });
        Self { ends: ends.collect(), joined: joined.into() }
    }
}

/// Who is asking, as one authenticator established it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// In the order of names.
    attributes: Vec<(Arc<str>, Attribute)>,
}

impl Identity {
    /// An identity that is about to have so many attributes.
    #[must_use]
    pub fn with_capacity(attributes: usize) -> Self {
        Self { attributes: Vec::with_capacity(attributes) }
    }

    /// Sets one attribute, replacing what stood there.
    pub fn insert(&mut self, name: impl Into<Arc<str>>, value: Attribute) {
        let name = name.into();
        match self.place(&name) {
            Ok(place) => {
                if let Some((_, held)) = self.attributes.get_mut(place) {
                    *held = value;
                }
            }
            Err(place) => self.attributes.insert(place, (name, value)),
        }
    }

    /// Gives back the room for attributes that did not come.
    pub fn shrink(&mut self) {
        self.attributes.shrink_to_fit();
    }

    /// The attribute of that name.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        let place = self.place(name).ok()?;
        self.attributes.get(place).map(|(_, value)| value)
    }

    /// Every attribute in the order of names.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &Attribute)> {
        self.attributes.iter().map(|(name, value)| (name.as_ref(), value))
    }

    /// The set of that name, if it is one.
    #[must_use]
    pub fn set(&self, name: &str) -> Option<&Texts> {
        match self.attribute(name) {
            Some(Attribute::Set(set)) => Some(set),
            Some(_) | None => None,
        }
    }

    /// Whether the set attribute `name` holds `element`.
    #[must_use]
    pub fn set_contains(&self, name: &str, element: &str) -> bool {
        self.set(name).is_some_and(|set| set.contains(element))
    }

    /// How many bytes it occupies beside itself, for the bounds of caches. Names are shared, and do not count.
    #[must_use]
    pub fn weight(&self) -> usize {
        let slots = self.attributes.capacity().saturating_mul(size_of::<(Arc<str>, Attribute)>());
        let held = self.attributes.iter().map(|(_, value)| match value {
            Attribute::Text(text) => allocated(text.len().saturating_add(ARC_BYTES)),
            Attribute::Integer(_) | Attribute::Boolean(_) => 0,
            Attribute::Set(set) => set.weight(),
            Attribute::Quotas(quotas) => quotas.weight(),
        });
        held.fold(allocated(slots), usize::saturating_add)
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.attributes.binary_search_by(|(held, _)| (**held).cmp(name))
    }
}

#[cfg(test)]
mod tests;
