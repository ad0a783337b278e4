//! Facts about a customer that the token does not carry: where they are asked for, and what the answer means.

pub mod service;

use crate::config::entitlements::OnError;
use crate::facts::Facts;
use crate::identity::{Attribute, Identity};
use crate::inquiry::Inquiry;
use crate::outbound::{COMPONENT, is_http};
use percent_encoding::utf8_percent_encode;
use std::sync::Arc;

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
    /// What is wrong with it: it is no http or https URL, a brace lacks its other half, or an attribute would decide who is
    /// asked.
    pub fn parse(url: &str) -> Result<Self, &'static str> {
        const BRACES: &str = "an attribute stands in braces, such as {customer_id}";
        let mut parts = Vec::new();
        let mut rest = url;
        while let Some((text, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or(BRACES)?;
            if name.is_empty() || name.contains('{') || text.contains('}') {
                return Err(BRACES);
            }
            parts.push(Part::Text(text.into()));
            parts.push(Part::Attribute(name.into()));
            rest = after;
        }
        if rest.contains('}') {
            return Err(BRACES);
        }
        parts.push(Part::Text(rest.into()));
        let question = Self(parts);
        question.check()?;
        Ok(question)
    }

    /// Who is asked is settled here, and by nobody's identity.
    fn check(&self) -> Result<(), &'static str> {
        let text = |part: &Part| match part {
            Part::Text(text) => text.to_string(),
            Part::Attribute(_) => "x".to_owned(),
        };
        let whole: String = self.0.iter().map(text).collect();
        if !is_http(&whole) {
            return Err("an http or https URL is needed, without user and password");
        }
        if whole.contains('#') {
            return Err("what follows a # is never sent");
        }
        let first = self.0.first().map(text).unwrap_or_default();
        let after_scheme = first.split_once("://").map_or("", |(_, rest)| rest);
        let is_alone = self.0.len() == 1;
        if is_alone || after_scheme.contains(['/', '?']) {
            Ok(())
        } else {
            Err("attributes may stand in the path and in the query only")
        }
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
    /// The name of the first attribute that it lacks; one that is empty, a set or quotas names nobody, and neither does one that
    /// would make a dot segment, since the URL would be another one then (RFC 3986 §5.2.4).
    pub fn url(&self, identity: &Identity) -> Result<String, &str> {
        let mut url = String::new();
        let mut latest = "";
        for part in &self.0 {
            match part {
                Part::Text(text) => url.push_str(text),
                Part::Attribute(name) => {
                    latest = name;
                    match identity.attribute(name) {
                        Some(Attribute::Text(text)) if !text.is_empty() => {
                            url.extend(utf8_percent_encode(text, COMPONENT));
                        }
                        Some(Attribute::Integer(number)) => url.push_str(&number.to_string()),
                        Some(Attribute::Boolean(truth)) => {
                            url.push_str(if *truth { "true" } else { "false" });
                        }
                        Some(Attribute::Text(_) | Attribute::Set(_) | Attribute::Quotas(_)) | None => {
                            return Err(name);
                        }
                    }
                }
            }
        }
        let path = url.split('?').next().unwrap_or_default();
        if path.split('/').any(|segment| matches!(segment, "." | "..")) { Err(latest) } else { Ok(url) }
    }
}

#[cfg(test)]
mod tests;
