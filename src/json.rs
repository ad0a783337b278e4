//! Strict JSON: what two parsers could read in two ways is refused.
//!
//! A duplicate member means one thing to a reader that keeps the first and another to one that keeps the last
//! (RFC 8259 §4, RFC 7519 §4), so it is an error at any depth, as is nesting beyond what any honest token has. What is read
//! borrows from the document, since most of it is looked at once and thrown away.

use crate::footprint::allocated;
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// How deep arrays and objects may be nested.
pub const MAX_DEPTH: u8 = 32;

/// Up to here every new name is compared with those before it; beyond, names are sorted once at the end.
const FEW_MEMBERS: usize = 16;

/// Why a document is not strict JSON. The text says where, never what the document holds.
#[derive(Debug, thiserror::Error)]
#[error("not a strict JSON object: {0}")]
pub struct JsonError(#[from] serde_json::Error);

/// A value (RFC 8259 §3).
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A number.
    Number(Number),
    /// A string.
    Text(Cow<'a, str>),
    /// An array.
    List(Vec<Value<'a>>),
    /// An object.
    Object(Object<'a>),
}

impl<'a> Value<'a> {
    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The elements, if it is a list.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Self]> {
        if let Self::List(list) = self { Some(list) } else { None }
    }

    /// The same value with all that it borrows copied, to be kept.
    #[must_use]
    pub fn to_kept(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Boolean(value) => (*value).into(),
            Self::Number(Number::Whole(number)) => match (i64::try_from(*number), u64::try_from(*number)) {
                (Ok(number), _) => number.into(),
                (Err(_), Ok(number)) => number.into(),
                (Err(_), Err(_)) => serde_json::Value::Null,
            },
            Self::Number(Number::Float(number)) => (*number).into(),
            Self::Text(text) => text.as_ref().into(),
            Self::List(list) => list.iter().map(Value::to_kept).collect(),
            Self::Object(object) => object.to_kept(),
        }
    }

    /// The members, if it is an object.
    #[must_use]
    pub const fn as_object(&self) -> Option<&Object<'a>> {
        if let Self::Object(object) = self { Some(object) } else { None }
    }
}

/// A number with all its digits, if it is a whole one of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A whole number.
    Whole(i128),
    /// Written with a fraction or an exponent, minus zero, or too large.
    Float(f64),
}

/// An object without duplicate members, in the order in which they are written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object<'a>(Vec<(Cow<'a, str>, Value<'a>)>);

impl<'a> Object<'a> {
    /// The value of the member of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.0.iter().find(|(held, _)| held == name).map(|(_, value)| value)
    }

    /// Takes the value of the member of that name out.
    pub fn take(&mut self, name: &str) -> Option<Value<'a>> {
        let place = self.0.iter().position(|(held, _)| held == name)?;
        Some(self.0.swap_remove(place).1)
    }

    /// Every member.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value<'a>)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }

    /// The same object with all that it borrows copied, to be kept.
    #[must_use]
    pub fn to_kept(&self) -> serde_json::Value {
        self.iter().map(|(name, value)| (name.to_owned(), value.to_kept())).collect()
    }

    /// Adds a member; false if it is known already, as far as that is checked here.
    fn add(&mut self, name: Cow<'a, str>, value: Value<'a>) -> bool {
        let is_new = self.0.len() >= FEW_MEMBERS || self.get(&name).is_none();
        self.0.push((name, value));
        is_new
    }

    /// Checks what [`Object::add`] did not.
    fn has_duplicates(&self) -> bool {
        if self.0.len() <= FEW_MEMBERS {
            return false;
        }
        let mut names: Vec<&str> = self.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        !names.is_sorted_by(|one, next| one < next)
    }
}

/// How many bytes a value that is kept occupies beside itself, for the bounds of caches.
#[must_use]
pub fn weight(value: &serde_json::Value) -> usize {
    /// The hash and the place in the table of an ordered map's entry.
    const ENTRY_BYTES: usize = 8 + size_of::<serde_json::Value>() + size_of::<String>() + 12;
    match value {
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => 0,
        serde_json::Value::String(text) => allocated(text.len()),
        serde_json::Value::Array(list) => {
            let slots = allocated(list.len().saturating_mul(size_of::<serde_json::Value>()));
            list.iter().map(weight).fold(slots, usize::saturating_add)
        }
        serde_json::Value::Object(members) => {
            let slots = allocated(members.len().saturating_mul(ENTRY_BYTES));
            let held =
                members.iter().map(|(name, value)| allocated(name.len()).saturating_add(weight(value)));
            held.fold(slots, usize::saturating_add)
        }
    }
}

/// Reads one JSON object (RFC 8259) without duplicate members at any depth.
///
/// # Errors
/// If the bytes are anything else, nest deeper than [`MAX_DEPTH`], or go on after the object.
pub fn object(bytes: &[u8]) -> Result<Object<'_>, JsonError> {
    // Checked once for the whole document, and not again for every string in it.
    let text = std::str::from_utf8(bytes).map_err(serde_json::Error::custom)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Strict { depth: MAX_DEPTH }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    match value {
        Value::Object(members) => Ok(members),
        Value::Null | Value::Boolean(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => {
            Err(JsonError(serde_json::Error::custom("it is not an object")))
        }
    }
}

/// Builds a value that may hold `depth` more levels.
#[derive(Clone, Copy)]
struct Strict {
    depth: u8,
}

impl Strict {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom("nested too deeply"))?;
        Ok(Self { depth })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value<'de>, E> {
        Ok(Value::Number(Number::Whole(value.into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value<'de>, E> {
        Ok(Value::Number(Number::Whole(value.into())))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value<'de>, E> {
        if value.is_finite() {
            Ok(Value::Number(Number::Float(value)))
        } else {
            Err(E::custom("not a finite number"))
        }
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value<'de>, A::Error> {
        let element = self.deeper()?;
        let mut list = Vec::new();
        while let Some(value) = elements.next_element_seed(element)? {
            list.push(value);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value<'de>, A::Error> {
        let member = self.deeper()?;
        // A claims set has about so many members; an object inside of it may be one of a thousand empty ones.
        let room = if self.depth == MAX_DEPTH { FEW_MEMBERS } else { 0 };
        let mut object = Object(Vec::with_capacity(room));
        while let Some(name) = members.next_key_seed(Name)? {
            let value = members.next_value_seed(member)?;
            if !object.add(name, value) {
                return Err(A::Error::custom("duplicate member"));
            }
        }
        if object.has_duplicates() {
            return Err(A::Error::custom("duplicate member"));
        }
        Ok(Value::Object(object))
    }
}

/// Reads the name of a member; it is borrowed unless it has escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

#[cfg(test)]
mod tests;
