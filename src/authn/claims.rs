//! From claims to an identity: which attribute stands where in a token, and what it must look like.
//!
//! Everything about the mapping is settled when the configuration is compiled; a request only walks it. A claim that is
//! there but cannot be used refuses the token: nothing is guessed, and `null` is no customer called "None".

use crate::config::claim::{AttributeType, ClaimRule, ClaimSource, Scalar};
use crate::identity::{Attribute, Identity, QUOTAS, SET_ATTRIBUTES, is_reserved};
use crate::json::{Number, Object, Value};
use crate::quotas::{Quota, Quotas};
use indexmap::IndexMap;
use std::sync::Arc;

pub use crate::identity::{BUILT_IN, SUBJECT};

/// Most sets have no more elements.
const FEW_ELEMENTS: usize = 16;

/// A claim is missing or cannot be used. The names are the configuration's; no value appears.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the attribute `{attribute}` {why}")]
pub struct ClaimError {
    /// The attribute that was to be set.
    pub attribute: Arc<str>,
    /// What is wrong with the claim behind it.
    pub why: &'static str,
}

/// Where a claim stands: a top-level name as it is written, or a JSON Pointer (RFC 6901) when it begins with `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPath {
    first: String,
    rest: Vec<String>,
}

impl ClaimPath {
    /// Reads a path as the configuration writes it.
    ///
    /// # Errors
    /// If it is empty, or a pointer with a `~` that is neither `~0` nor `~1` (RFC 6901 §3).
    pub fn new(text: &str) -> Result<Self, &'static str> {
        let Some(pointer) = text.strip_prefix('/') else {
            return if text.is_empty() {
                Err("a claim needs a name")
            } else {
                Ok(Self { first: text.to_owned(), rest: Vec::new() })
            };
        };
        let mut steps = pointer.split('/').map(unescape);
        let first = steps.next().unwrap_or_else(|| Ok(String::new()))?;
        Ok(Self { first, rest: steps.collect::<Result<_, _>>()? })
    }

    /// The claim, unless it is missing or null.
    #[must_use]
    pub fn find<'a, 'd>(&self, members: &'a Object<'d>) -> Option<&'a Value<'d>> {
        let first = members.get(&self.first)?;
        let found = self.rest.iter().try_fold(first, |value, step| match value {
            Value::Object(members) => members.get(step),
            Value::List(list) => list.get(index(step)?),
            Value::Null | Value::Boolean(_) | Value::Number(_) | Value::Text(_) => None,
        })?;
        (*found != Value::Null).then_some(found)
    }
}

/// Undoes the escapes of one reference token (RFC 6901 §4): `~1` first, then `~0`.
fn unescape(step: &str) -> Result<String, &'static str> {
    let is_good = step.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
    if is_good {
        Ok(step.replace("~1", "/").replace("~0", "~"))
    } else {
        Err("in a JSON Pointer `~` is written `~0`, and `/` inside a name `~1`")
    }
}

/// An array index: digits without a leading zero (RFC 6901 §4).
fn index(step: &str) -> Option<usize> {
    let is_canonical =
        step == "0" || (!step.starts_with('0') && step.bytes().all(|byte| byte.is_ascii_digit()));
    if is_canonical { step.parse().ok() } else { None }
}

/// What a claim must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Text or a whole number, whichever it is.
    TextOrInteger,
    Text,
    Integer,
    Boolean,
    Set,
    Quotas,
}

#[derive(Clone, Debug)]
enum Origin {
    Constant(Attribute),
    Claims { paths: Vec<ClaimPath>, shape: Shape, required: bool, prefix: Option<String> },
}

/// The mapping of one authenticator.
#[derive(Clone, Debug)]
pub struct ClaimMap {
    rules: Vec<(Arc<str>, Origin)>,
}

impl ClaimMap {
    /// Compiles the mapping, with the defaults for what it does not name: `subject` from `sub`, `scopes` from `scope` and
    /// `scp`, and `permissions`, `roles` and `capabilities` from the claims of their names.
    ///
    /// # Errors
    /// Every attribute that cannot be mapped like that, and why.
    pub fn new(sources: &IndexMap<String, ClaimSource>) -> Result<Self, Vec<(String, String)>> {
        let mut rules: Vec<(Arc<str>, Origin)> = Vec::new();
        let mut errors = Vec::new();
        for (attribute, source) in sources {
            match compile(attribute, source) {
                Ok(origin) => rules.push((attribute.as_str().into(), origin)),
                Err(why) => errors.push((attribute.clone(), why.to_owned())),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let default = |attribute: &str| -> Vec<String> {
            match attribute {
                SUBJECT => vec!["sub".to_owned()],
                "scopes" => vec!["scope".to_owned(), "scp".to_owned()],
                name => vec![name.to_owned()],
            }
        };
        for attribute in std::iter::once(SUBJECT).chain(SET_ATTRIBUTES) {
            if !sources.contains_key(attribute) {
                let origin = compile(attribute, &ClaimSource::Union(default(attribute)));
                rules.push((
                    attribute.into(),
                    origin.map_err(|why| vec![(attribute.to_owned(), why.to_owned())])?,
                ));
            }
        }
        Ok(Self { rules })
    }

    /// Adds the attributes that sidegate sets itself: the authenticator's name, and its kind as `auth_method`.
    #[must_use]
    pub fn built_in(mut self, authenticator: &str, kind: &str) -> Self {
        for (attribute, value) in BUILT_IN.into_iter().zip([authenticator, kind]) {
            self.rules.push((attribute.into(), Origin::Constant(Attribute::Text(value.into()))));
        }
        self
    }

    /// The names of the attributes that an identity can have.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|(attribute, _)| attribute.as_ref())
    }

    /// Makes the identity of claims that were verified. An attribute whose claim is missing or null is left out.
    ///
    /// Several claims are a union for a set; for any other attribute the first that is there counts.
    ///
    /// # Errors
    /// If a claim that is required is missing, one that is there has the wrong type, or there is no subject.
    pub fn identity(&self, members: &Object<'_>) -> Result<Identity, ClaimError> {
        let mut identity = Identity::with_capacity(self.rules.len());
        for (attribute, origin) in &self.rules {
            let fail = |why| ClaimError { attribute: Arc::clone(attribute), why };
            let value = match origin {
                Origin::Constant(value) => Some(value.clone()),
                Origin::Claims { paths, shape, required, prefix } => {
                    let value = read(paths, *shape, prefix.as_deref(), members).map_err(fail)?;
                    if *required && value.is_none() {
                        return Err(fail("is required, and its claim is missing"));
                    }
                    value
                }
            };
            if let Some(value) = value {
                identity.insert(Arc::clone(attribute), value);
            }
        }
        match subject(&identity) {
            Some(subject) if !subject.is_empty() => {
                identity.shrink();
                Ok(identity)
            }
            Some(_) | None => Err(ClaimError { attribute: SUBJECT.into(), why: "is missing or empty" }),
        }
    }
}

/// The subject of an identity as text.
#[must_use]
pub fn subject(identity: &Identity) -> Option<Arc<str>> {
    match identity.attribute(SUBJECT)? {
        Attribute::Text(text) => Some(Arc::clone(text)),
        Attribute::Integer(number) => Some(number.to_string().into()),
        Attribute::Boolean(_) | Attribute::Set(_) | Attribute::Quotas(_) => None,
    }
}

fn compile(attribute: &str, source: &ClaimSource) -> Result<Origin, &'static str> {
    if attribute.is_empty() {
        return Err("an attribute needs a name");
    }
    if is_reserved(attribute) {
        return Err("sidegate sets this attribute itself");
    }
    if attribute == QUOTAS && matches!(source, ClaimSource::Constant(_)) {
        return Err("this attribute is always an object of numbers");
    }
    let is_set = SET_ATTRIBUTES.contains(&attribute);
    let plain = |claims: Vec<String>| ClaimRule {
        claim: crate::config::units::OneOrMany(claims),
        required: false,
        kind: None,
        strip_prefix: None,
    };
    match source {
        ClaimSource::Constant(constant) => constant_value(is_set, &constant.value)
            .filter(|value| {
                attribute != SUBJECT || matches!(value, Attribute::Text(_) | Attribute::Integer(_))
            })
            .map(Origin::Constant)
            .ok_or("this attribute cannot have a constant of that type"),
        ClaimSource::Name(name) => compile_rule(attribute, is_set, &plain(vec![name.clone()])),
        ClaimSource::Union(names) => compile_rule(attribute, is_set, &plain(names.clone())),
        ClaimSource::Claim(rule) => compile_rule(attribute, is_set, rule),
    }
}

fn compile_rule(attribute: &str, is_set: bool, rule: &ClaimRule) -> Result<Origin, &'static str> {
    if attribute == QUOTAS && (rule.kind.is_some() || rule.strip_prefix.is_some()) {
        return Err("this attribute is always an object of numbers");
    }
    let shape = match rule.kind {
        None if attribute == QUOTAS => Shape::Quotas,
        None if is_set => Shape::Set,
        None => Shape::TextOrInteger,
        Some(AttributeType::String) => Shape::Text,
        Some(AttributeType::Integer) => Shape::Integer,
        Some(AttributeType::Boolean) => Shape::Boolean,
        Some(AttributeType::Set) => Shape::Set,
    };
    if is_set && shape != Shape::Set {
        return Err("this attribute is always a set");
    }
    if attribute == SUBJECT && matches!(shape, Shape::Set | Shape::Boolean) {
        return Err("the subject is text or a whole number");
    }
    if shape == Shape::Boolean && rule.strip_prefix.is_some() {
        return Err("a boolean has no prefix");
    }
    let paths: Vec<ClaimPath> =
        rule.claim.iter().map(|path| ClaimPath::new(path)).collect::<Result<_, _>>()?;
    if paths.is_empty() {
        return Err("no claim is named");
    }
    Ok(Origin::Claims { paths, shape, required: rule.required, prefix: rule.strip_prefix.clone() })
}

fn constant_value(is_set: bool, value: &Scalar) -> Option<Attribute> {
    match value {
        Scalar::Text(text) if is_set => Some(Attribute::Set(words(text).collect())),
        Scalar::Boolean(_) | Scalar::Integer(_) if is_set => None,
        Scalar::Boolean(value) => Some(Attribute::Boolean(*value)),
        Scalar::Integer(value) => Some(Attribute::Integer((*value).into())),
        Scalar::Text(text) => Some(Attribute::Text(text.as_str().into())),
    }
}

fn read(
    paths: &[ClaimPath],
    shape: Shape,
    prefix: Option<&str>,
    members: &Object<'_>,
) -> Result<Option<Attribute>, &'static str> {
    let mut found = paths.iter().filter_map(|path| path.find(members)).peekable();
    if shape != Shape::Set {
        return found.next().map(|value| single(value, shape, prefix)).transpose();
    }
    if found.peek().is_none() {
        return Ok(None);
    }
    let mut elements = Vec::with_capacity(FEW_ELEMENTS);
    for value in found {
        collect(value, prefix, &mut elements)?;
    }
    Ok(Some(Attribute::Set(elements.into_iter().collect())))
}

fn single(value: &Value<'_>, shape: Shape, prefix: Option<&str>) -> Result<Attribute, &'static str> {
    match (value, shape) {
        (Value::Boolean(value), Shape::Boolean) => Ok(Attribute::Boolean(*value)),
        (Value::Text(text), Shape::Text | Shape::TextOrInteger) => {
            Ok(Attribute::Text(without_prefix(text, prefix)?.into()))
        }
        (Value::Text(text), Shape::Integer) => {
            let digits = without_prefix(text, prefix)?;
            canonical_integer(digits).map(Attribute::Integer).ok_or("is not a whole number of 64 bits")
        }
        (Value::Object(members), Shape::Quotas) => quotas(members).map(Attribute::Quotas),
        (Value::Number(_), Shape::Quotas) => Err("has a claim of the wrong type"),
        (Value::Number(_), _) if prefix.is_some() => Err("lacks the prefix"),
        (Value::Number(number), Shape::Integer | Shape::TextOrInteger) => {
            integer(*number).map(Attribute::Integer).ok_or("is not a whole number of 64 bits")
        }
        _ => Err("has a claim of the wrong type"),
    }
}

/// Quotas from an object of numbers, where `null` is unlimited.
///
/// # Errors
/// A member that is neither.
pub fn quotas(members: &Object<'_>) -> Result<Quotas, &'static str> {
    let quota = |(name, value)| match value {
        &Value::Null => Ok((name, Quota::Unlimited)),
        Value::Number(number) => Ok((name, Quota::Limit(rounded_down(*number)))),
        Value::Boolean(_) | Value::Text(_) | Value::List(_) | Value::Object(_) => {
            Err("has a quota that is no number")
        }
    };
    members.iter().map(quota).collect()
}

/// A number as a quota: a fraction is rounded down, and what is too large is as much as can be counted.
fn rounded_down(number: Number) -> i64 {
    match number {
        Number::Whole(number) => {
            i64::try_from(number).unwrap_or(if number < 0 { i64::MIN } else { i64::MAX })
        }
        #[expect(
            clippy::as_conversions,
            clippy::cast_possible_truncation,
            reason = "saturates (Rust reference, numeric cast)"
        )]
        Number::Float(number) => number.floor() as i64,
    }
}

/// A JSON list of texts, or one text whose words are the elements (RFC 6749 §3.3).
fn collect<'a>(
    value: &'a Value<'_>,
    prefix: Option<&str>,
    elements: &mut Vec<&'a str>,
) -> Result<(), &'static str> {
    match value {
        Value::Text(text) => {
            for word in words(text) {
                elements.push(without_prefix(word, prefix)?);
            }
            Ok(())
        }
        Value::List(list) => {
            for element in list {
                let text = element.as_text().ok_or("has a list with an element that is no text")?;
                if !text.is_empty() {
                    elements.push(without_prefix(text, prefix)?);
                }
            }
            Ok(())
        }
        Value::Null | Value::Boolean(_) | Value::Number(_) | Value::Object(_) => {
            Err("has a claim of the wrong type")
        }
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(' ').filter(|word| !word.is_empty())
}

fn without_prefix<'a>(text: &'a str, prefix: Option<&str>) -> Result<&'a str, &'static str> {
    prefix.map_or(Some(text), |prefix| text.strip_prefix(prefix)).ok_or("lacks the prefix")
}

/// A whole number with all its digits; a fraction, an exponent or more than 64 bits made it something else.
const fn integer(number: Number) -> Option<i128> {
    match number {
        Number::Whole(number) => Some(number),
        Number::Float(_) => None,
    }
}

/// The one spelling of a whole number: no plus, no leading zero, no minus zero, no space.
fn canonical_integer(text: &str) -> Option<i128> {
    let number: i128 = text.parse().ok()?;
    let fits = number >= i64::MIN.into() && number <= u64::MAX.into();
    (fits && number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests;
