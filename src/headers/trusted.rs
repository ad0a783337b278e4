//! The header fields that tell the service who is asking.

use crate::facts::{CAPABILITIES, Holder};
use crate::footprint::{ARC_BYTES, allocated};
use crate::identity::{Attribute, CLIENT_CERT_SUBJECT, CLIENT_CERTIFICATE, Identity, SET_ATTRIBUTES, Texts};
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use std::rc::Rc;

/// One line of `[identity.headers]`.
#[derive(Clone, Debug)]
pub struct IdentityHeader {
    /// The field.
    pub name: HeaderName,
    /// What it carries.
    pub content: Content,
    /// Whether a missing attribute is tolerated.
    pub optional: bool,
    /// Whether facts about the customer are part of it, so that it cannot be made once for a token.
    pub entitled: bool,
}

/// What an identity header carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// An identity attribute.
    Attribute(String),
    /// One quota, as `quotas.NAME`; one that is absent is 0.
    Quota(String),
    /// An attribute of the client's certificate.
    Certificate(String),
}

impl Content {
    /// What the configuration means by this name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        match name.strip_prefix("quotas.") {
            Some(quota) if !quota.is_empty() => Self::Quota(quota.to_owned()),
            None if CLIENT_CERTIFICATE.contains(&name) => Self::Certificate(name.to_owned()),
            Some(_) | None => Self::Attribute(name.to_owned()),
        }
    }

    /// Whether facts about the customer have a part in it.
    #[must_use]
    pub fn takes_facts(&self) -> bool {
        match self {
            Self::Attribute(name) => name == CAPABILITIES,
            Self::Quota(_) => true,
            Self::Certificate(_) => false,
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Attribute(name) | Self::Quota(name) | Self::Certificate(name) => name,
        }
    }
}

/// Every line of `[identity.headers]`.
#[derive(Clone, Debug, Default)]
pub struct IdentityHeaders(pub Vec<IdentityHeader>);

/// The fields for one identity, made once and kept with it. Cloning it copies nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prepared(Rc<[(HeaderName, HeaderValue)]>);

/// An attribute that cannot stand in its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is missing, null or empty.
    #[error("is missing")]
    Missing,
    /// It holds a control character, an outer space or (in a list or single value) a comma.
    #[error("has a character that cannot stand in a header")]
    Character,
}

impl IdentityHeaders {
    /// The fields for `identity` that need nothing else.
    ///
    /// # Errors
    /// The first attribute that lacks or cannot be written without being misread, and why.
    pub fn prepare(&self, identity: &Identity) -> Result<Prepared, (&str, Unfit)> {
        self.fields(false, &Holder { identity, facts: None, certificate: None })
    }

    /// The fields in which facts about the customer have a part.
    ///
    /// # Errors
    /// As [`IdentityHeaders::prepare`].
    pub fn prepare_entitled(&self, holder: &Holder<'_>) -> Result<Prepared, (&str, Unfit)> {
        self.fields(true, holder)
    }

    /// Whether there are fields in which facts about the customer have a part.
    #[must_use]
    pub fn take_facts(&self) -> bool {
        self.0.iter().any(|header| header.entitled)
    }

    /// Whether there are fields about the client's certificate.
    #[must_use]
    pub fn take_certificate(&self) -> bool {
        self.of_certificate().next().is_some()
    }

    /// The fields about the client's certificate.
    ///
    /// # Errors
    /// As [`IdentityHeaders::prepare`].
    pub fn prepare_certificate(&self, certificate: Option<&Identity>) -> Result<Prepared, (&str, Unfit)> {
        let mut fields = Vec::new();
        for (header, name) in self.of_certificate() {
            match render_certificate(name, certificate.and_then(|certificate| certificate.attribute(name))) {
                Ok(Some(value)) => fields.push((header.name.clone(), value)),
                Ok(None) => {}
                Err(Unfit::Missing) if header.optional => {}
                Err(unfit) => return Err((name, unfit)),
            }
        }
        Ok(Prepared(fields.into()))
    }

    /// Those of them that can be written: for routes where nobody need be known.
    #[must_use]
    pub fn prepare_certificate_as_far_as_it_goes(&self, certificate: &Identity) -> Prepared {
        let written = self.of_certificate().filter_map(|(header, name)| {
            let value = render_certificate(name, certificate.attribute(name)).ok().flatten()?;
            Some((header.name.clone(), value))
        });
        Prepared(written.collect())
    }

    fn of_certificate(&self) -> impl Iterator<Item = (&IdentityHeader, &str)> {
        self.0.iter().filter_map(|header| match &header.content {
            Content::Certificate(name) => Some((header, name.as_str())),
            Content::Attribute(_) | Content::Quota(_) => None,
        })
    }

    fn fields(&self, entitled: bool, holder: &Holder<'_>) -> Result<Prepared, (&str, Unfit)> {
        let mut fields = Vec::with_capacity(self.0.len());
        for header in self.0.iter().filter(|header| header.entitled == entitled) {
            let value = match &header.content {
                Content::Attribute(_) if entitled => joined(&holder.capabilities()),
                Content::Attribute(name) => render(holder.identity.attribute(name)),
                Content::Quota(name) => single(&holder.quota(name).to_string()).map(Some),
                // They are the connection's, and made once for it.
                Content::Certificate(_) => continue,
            };
            match value {
                Ok(Some(value)) => fields.push((header.name.clone(), value)),
                Ok(None) => {}
                Err(Unfit::Missing) if header.optional || is_set(header.content.name()) => {}
                Err(unfit) => return Err((header.content.name(), unfit)),
            }
        }
        Ok(Prepared(fields.into()))
    }
}

fn is_set(attribute: &str) -> bool {
    SET_ATTRIBUTES.contains(&attribute)
}

/// The field value of an attribute of the client's certificate. A subject is never a list, and has commas.
fn render_certificate(name: &str, attribute: Option<&Attribute>) -> Result<Option<HeaderValue>, Unfit> {
    match attribute {
        Some(Attribute::Text(text)) if name == CLIENT_CERT_SUBJECT => {
            let fit = !text.is_empty() && is_fit(&text.replace(',', ""));
            let value = HeaderValue::from_bytes(text.as_bytes()).ok().filter(|_| fit);
            value.map(Some).ok_or(Unfit::Character)
        }
        attribute => render(attribute),
    }
}

/// The field value of an attribute; none for an empty set.
fn render(attribute: Option<&Attribute>) -> Result<Option<HeaderValue>, Unfit> {
    match attribute.ok_or(Unfit::Missing)? {
        Attribute::Text(text) if text.is_empty() => Err(Unfit::Missing),
        Attribute::Text(text) => single(text).map(Some),
        Attribute::Integer(number) => single(&number.to_string()).map(Some),
        Attribute::Boolean(truth) => {
            Ok(Some(HeaderValue::from_static(if *truth { "true" } else { "false" })))
        }
        Attribute::Set(set) => joined(set),
        // A configuration that names them as a header's attribute is refused.
        Attribute::Quotas(_) => Err(Unfit::Missing),
    }
}

fn single(text: &str) -> Result<HeaderValue, Unfit> {
    if !is_fit(text) {
        return Err(Unfit::Character);
    }
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| Unfit::Character)
}

fn is_fit(text: &str) -> bool {
    let outer_space = text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace);
    !outer_space && !text.contains(|character: char| character == ',' || character.is_control())
}

fn joined(set: &Texts) -> Result<Option<HeaderValue>, Unfit> {
    if set.iter().any(|element| element.is_empty() || !is_fit(element)) {
        return Err(Unfit::Character);
    }
    if set.is_empty() {
        return Ok(None);
    }
    let list = set.iter().collect::<Vec<&str>>().join(",");
    HeaderValue::from_bytes(list.as_bytes()).map(Some).map_err(|_| Unfit::Character)
}

impl From<Vec<(HeaderName, HeaderValue)>> for Prepared {
    fn from(fields: Vec<(HeaderName, HeaderValue)>) -> Self {
        Self(fields.into())
    }
}

impl Prepared {
    /// Sets the fields, replacing whatever stands under their names.
    pub fn set(&self, headers: &mut HeaderMap) {
        for (name, value) in &*self.0 {
            headers.insert(name.clone(), value.clone());
        }
    }

    /// How many fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fields as they will be set.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// How many bytes they occupy, for the bounds of caches: the text of a value is shared once it has been sent.
    #[must_use]
    pub fn weight(&self) -> usize {
        let shared = allocated(ARC_BYTES.saturating_add(size_of::<usize>()));
        let values = self.0.iter().map(|(_, value)| allocated(value.len()).saturating_add(shared));
        values.fold(allocated(size_of_val(&*self.0)), usize::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::{Content, IdentityHeader, IdentityHeaders, Unfit};
    use crate::identity::{Attribute, Identity};

    fn prepare(value: impl Into<Option<Attribute>>, optional: bool) -> Result<Option<String>, Unfit> {
        let name = "x-customer-id".parse().unwrap();
        let headers = IdentityHeaders(vec![IdentityHeader {
            name,
            content: Content::named("customer"),
            optional,
            entitled: false,
        }]);
        let mut identity = Identity::default();
        if let Some(value) = value.into() {
            identity.insert("customer", value);
        }
        let prepared = headers.prepare(&identity).map_err(|(_, unfit)| unfit)?;
        Ok(prepared.iter().next().map(|(_, value)| String::from_utf8(value.as_bytes().to_vec()).unwrap()))
    }

    fn text(text: &str) -> Attribute {
        Attribute::Text(text.into())
    }

    fn set(elements: &[&str]) -> Attribute {
        Attribute::Set(elements.iter().copied().collect())
    }

    #[test]
    fn plain_values_are_written_as_they_are() {
        assert_eq!(prepare(text("c-42"), false), Ok(Some("c-42".to_owned())));
        assert_eq!(prepare(text("Zoë Müller"), false), Ok(Some("Zoë Müller".to_owned())));
        assert_eq!(prepare(Attribute::Integer(42), false), Ok(Some("42".to_owned())));
        assert_eq!(prepare(set(&["b", "a"]), false), Ok(Some("a,b".to_owned())));
        assert_eq!(prepare(set(&[]), false), Ok(None));
    }

    #[test]
    fn what_could_be_misread_is_refused() {
        for bad in ["a,b", " a", "a ", "a\r\nx: y", "a\0", "a\u{7f}", "a\u{85}b", "\ta"] {
            assert_eq!(prepare(text(bad), false), Err(Unfit::Character), "{bad:?}");
            assert_eq!(prepare(text(bad), true), Err(Unfit::Character), "optional does not excuse {bad:?}");
            assert_eq!(prepare(set(&[bad, "b"]), false), Err(Unfit::Character), "{bad:?} in a set");
        }
        assert_eq!(prepare(set(&["", "b"]), false), Err(Unfit::Character));
    }

    #[test]
    fn a_missing_value_is_refused_unless_optional() {
        for missing in [None, Some(text(""))] {
            assert_eq!(prepare(missing.clone(), false), Err(Unfit::Missing));
            assert_eq!(prepare(missing, true), Ok(None));
        }
    }
}
