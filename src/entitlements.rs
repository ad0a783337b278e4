//! Facts about a customer that the token does not carry: where they are asked for, and what the answer means.

use crate::config::entitlements::OnError;
use crate::facts::Facts;
use crate::identity::{Attribute, Identity};
use crate::inquiry::Inquiry;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::sync::Arc;

/// Everything but the unreserved characters (RFC 3986 §2.3).
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where facts are asked for, compiled from `[entitlements]`.
#[derive(Debug)]
pub struct Entitlements {
    /// The question, which is the URL that is asked.
    pub question: Question,
    /// Who asks.
    pub inquiry: Arc<Inquiry<Facts>>,
    /// What happens when nothing is known and nobody can be asked.
    pub on_error: OnError,
}

/// A URL with places for identity attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Attribute(Box<str>),
}

impl Question {
    /// Reads a URL with places such as `{customer_id}`.
    ///
    /// # Errors
    /// A brace without its other half, or an empty name.
    pub fn parse(url: &str) -> Result<Self, &'static str> {
        const HINT: &str = "an attribute stands in braces, such as {customer_id}";
        let mut parts = Vec::new();
        let mut rest = url;
        while let Some((text, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or(HINT)?;
            if name.is_empty() || name.contains('{') || text.contains('}') {
                return Err(HINT);
            }
            parts.push(Part::Text(text.into()));
            parts.push(Part::Attribute(name.into()));
            rest = after;
        }
        if rest.contains('}') {
            return Err(HINT);
        }
        parts.push(Part::Text(rest.into()));
        Ok(Self(parts))
    }

    /// The attributes that it names.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Attribute(name) => Some(&**name),
            Part::Text(_) => None,
        })
    }

    /// The URL for an identity, each attribute percent-encoded.
    ///
    /// # Errors
    /// The name of the first attribute that it lacks; one that is empty, a set or quotas names nobody.
    pub fn url(&self, identity: &Identity) -> Result<String, &str> {
        let mut url = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => url.push_str(text),
                Part::Attribute(name) => match identity.attribute(name) {
                    Some(Attribute::Text(text)) if !text.is_empty() => {
                        url.extend(utf8_percent_encode(text, COMPONENT));
                    }
                    Some(Attribute::Integer(number)) => url.push_str(&number.to_string()),
                    Some(Attribute::Boolean(truth)) => url.push_str(if *truth { "true" } else { "false" }),
                    Some(Attribute::Text(_) | Attribute::Set(_) | Attribute::Quotas(_)) | None => {
                        return Err(name);
                    }
                },
            }
        }
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use super::Question;
    use crate::identity::{Attribute, Identity};

    #[test]
    fn attributes_are_encoded_into_their_places() {
        let question = Question::parse("http://e/{site}/x?customer_id={customer_id}&z").unwrap();
        assert_eq!(question.attributes().collect::<Vec<_>>(), ["site", "customer_id"]);
        let mut identity = Identity::default();
        identity.insert("site", Attribute::Integer(7));
        assert_eq!(question.url(&identity), Err("customer_id"));
        identity.insert("customer_id", Attribute::Text("a/b&c=d é".into()));
        assert_eq!(question.url(&identity).unwrap(), "http://e/7/x?customer_id=a%2Fb%26c%3Dd%20%C3%A9&z");
        identity.insert("customer_id", Attribute::Text("".into()));
        assert_eq!(question.url(&identity), Err("customer_id"), "nobody is not a customer");
    }

    #[test]
    fn braces_come_in_pairs() {
        for bad in ["http://e/{", "http://e/}", "http://e/{}", "http://e/{a{b}", "http://e/}{a}"] {
            assert!(Question::parse(bad).is_err(), "{bad}");
        }
    }
}
