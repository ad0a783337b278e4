//! What an expression may look at, as CEL values. They borrow from what they stand for, and only what the expression names
//! is made.

use super::circumstances::Circumstances;
use super::uses::{Names, Uses};
use crate::facts::{CAPABILITIES, Holder};
use crate::identity::{Attribute, Identity, QUOTAS, SET_ATTRIBUTES, Texts};
use crate::quotas::Quota;
use cel::Context;
use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt,
};
use cel::common::value::Val;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashMap;

/// How many values an expression may look at: the elements of all lists and maps that it names, and itself each. With
/// [`super::rounds::ROUNDS`] this bounds the time of an evaluation.
pub(super) const MOST_VALUES: usize = 1024;

/// How much text they may have, in bytes: four times the longest token.
pub(super) const MOST_TEXT: usize = 64 * 1024;

/// There is more than an expression may look at.
#[derive(Debug)]
pub(super) struct TooMuch;

type Members<'v> = HashMap<CelMapKey<'v>, Box<dyn Val + 'v>>;

/// Sets the variables that an expression uses.
///
/// # Errors
/// If there are more than [`MOST_VALUES`] of them, or more than [`MOST_TEXT`] bytes of text.
pub(super) fn set<'v>(
    context: &mut Context<'_, 'v>,
    uses: &Uses,
    holder: &Holder<'v>,
    about: &Circumstances<'v>,
) -> Result<(), TooMuch> {
    let mut making = Making { values: MOST_VALUES, text: MOST_TEXT };
    if !uses.attributes.is_none() {
        let identity = making.identity(&uses.attributes, holder)?;
        context.add_variable_as_val("identity", Box::new(CelMap::from(identity)));
    }
    if !uses.claims.is_none() {
        let claims = making.claims(&uses.claims, about.claims)?;
        context.add_variable_as_val("claims", Box::new(CelMap::from(claims)));
    }
    if !uses.parameters.is_none() {
        let path = making.path(about)?;
        context.add_variable_as_val("path", Box::new(CelMap::from(path)));
    }
    if uses.request {
        let request = making.request(about)?;
        context.add_variable_as_val("request", Box::new(CelMap::from(request)));
    }
    Ok(())
}

/// Makes values as long as there is room for more.
struct Making {
    values: usize,
    text: usize,
}

impl Making {
    fn identity<'v>(&mut self, names: &Names, holder: &Holder<'v>) -> Result<Members<'v>, TooMuch> {
        let mut members = Members::new();
        // What the connection says cannot be said by a token: its names are reserved.
        let certificate = holder.certificate.into_iter().flat_map(Identity::attributes);
        for (name, attribute) in holder.identity.attributes().chain(certificate) {
            let made_of_facts = name == CAPABILITIES || name == QUOTAS;
            if names.contain(name) && !made_of_facts {
                let value = self.attribute(attribute)?;
                members.insert(CelMapKey::String(name.into()), value);
            }
        }
        for name in SET_ATTRIBUTES {
            if names.contain(name) && name != CAPABILITIES && holder.identity.attribute(name).is_none() {
                members.insert(CelMapKey::String(name.into()), Box::new(CelList::default()));
            }
        }
        if names.contain(CAPABILITIES) {
            let own = match holder.identity.attribute(CAPABILITIES) {
                Some(Attribute::Set(set)) => Some(set),
                Some(_) | None => None,
            };
            let more = holder.facts.map(|facts| &facts.capabilities);
            let more = more.into_iter().flat_map(Texts::iter);
            let more = more.filter(|element| own.is_none_or(|own| !own.contains(element)));
            let all = self.list(own.into_iter().flat_map(Texts::iter).chain(more))?;
            members.insert(CelMapKey::String(CAPABILITIES.into()), all);
        }
        if names.contain(QUOTAS) {
            let quotas = self.quotas(holder)?;
            members.insert(CelMapKey::String(QUOTAS.into()), Box::new(CelMap::from(quotas)));
        }
        Ok(members)
    }

    fn attribute<'v>(&mut self, attribute: &'v Attribute) -> Result<Box<dyn Val + 'v>, TooMuch> {
        match attribute {
            Attribute::Text(text) => self.text(Cow::Borrowed(&**text)),
            Attribute::Integer(number) => self.whole(*number),
            Attribute::Boolean(value) => self.value(CelBool::from(*value)),
            Attribute::Set(set) => self.list(set.iter()),
            Attribute::Quotas(quotas) => {
                let mut members = Members::new();
                for (name, quota) in quotas.iter() {
                    members.insert(self.name(name)?, self.value(CelInt::from(number(quota)))?);
                }
                Ok(Box::new(CelMap::from(members)))
            }
        }
    }

    /// Every quota that is known, the larger one of two.
    fn quotas<'v>(&mut self, holder: &Holder<'v>) -> Result<Members<'v>, TooMuch> {
        let mut members = Members::new();
        let own = match holder.identity.attribute(QUOTAS) {
            Some(Attribute::Quotas(quotas)) => Some(quotas),
            Some(_) | None => None,
        };
        let known = own.into_iter().chain(holder.facts.map(|facts| &facts.quotas));
        for (name, _) in known.flat_map(crate::quotas::Quotas::iter) {
            let quota = self.value(CelInt::from(number(holder.quota(name))))?;
            members.insert(self.name(name)?, quota);
        }
        Ok(members)
    }

    fn claims<'v>(&mut self, names: &Names, claims: Option<&'v Value>) -> Result<Members<'v>, TooMuch> {
        let mut members = Members::new();
        for (name, value) in claims.and_then(Value::as_object).into_iter().flatten() {
            if names.contain(name) {
                members.insert(self.name(name)?, self.json(value)?);
            }
        }
        Ok(members)
    }

    fn json<'v>(&mut self, value: &'v Value) -> Result<Box<dyn Val + 'v>, TooMuch> {
        match value {
            Value::Null => self.value(CelNull),
            Value::Bool(value) => self.value(CelBool::from(*value)),
            Value::Number(number) => {
                if let Some(whole) = number.as_i128() {
                    self.whole(whole)
                } else {
                    self.value(CelDouble::from(number.as_f64().unwrap_or(f64::NAN)))
                }
            }
            Value::String(text) => self.text(Cow::Borrowed(text.as_str())),
            Value::Array(list) => {
                self.take(0)?;
                let elements =
                    list.iter().map(|element| self.json(element)).collect::<Result<Vec<_>, _>>()?;
                Ok(Box::new(CelList::from(elements)))
            }
            Value::Object(object) => {
                self.take(0)?;
                let mut members = Members::new();
                for (name, value) in object {
                    members.insert(self.name(name)?, self.json(value)?);
                }
                Ok(Box::new(CelMap::from(members)))
            }
        }
    }

    fn path<'v>(&mut self, about: &Circumstances<'v>) -> Result<Members<'v>, TooMuch> {
        let mut members = Members::new();
        let Some(pattern) = about.pattern else { return Ok(members) };
        for name in pattern.parameters() {
            let Some(segment) = pattern.parameter(name, about.target.path()) else { continue };
            // What is not text once it is decoded is nobody's id: it stays as it is, and equals none.
            let decoded = percent_decode_str(segment).decode_utf8().unwrap_or(Cow::Borrowed(segment));
            members.insert(self.name(name)?, self.text(decoded)?);
        }
        Ok(members)
    }

    fn request<'v>(&mut self, about: &Circumstances<'v>) -> Result<Members<'v>, TooMuch> {
        let client = about.client.map(|client| client.to_string()).unwrap_or_default();
        let mut members = Members::new();
        for (name, text) in [
            ("method", Cow::Borrowed(about.target.method().as_str())),
            ("host", Cow::Borrowed(about.target.host())),
            ("path", Cow::Borrowed(about.target.path())),
            ("client", Cow::Owned(client)),
        ] {
            members.insert(CelMapKey::String(name.into()), self.text(text)?);
        }
        Ok(members)
    }

    fn list<'v>(&mut self, texts: impl Iterator<Item = &'v str>) -> Result<Box<dyn Val + 'v>, TooMuch> {
        let elements = texts.map(|text| self.text(Cow::Borrowed(text))).collect::<Result<Vec<_>, _>>()?;
        Ok(Box::new(CelList::from(elements)))
    }

    /// An int, or a uint beyond what an int can hold.
    fn whole<'v>(&mut self, number: i128) -> Result<Box<dyn Val + 'v>, TooMuch> {
        match (i64::try_from(number), u64::try_from(number)) {
            (Ok(number), _) => self.value(CelInt::from(number)),
            (Err(_), Ok(number)) => self.value(CelUInt::from(number)),
            (Err(_), Err(_)) => Err(TooMuch),
        }
    }

    fn text<'v>(&mut self, text: Cow<'v, str>) -> Result<Box<dyn Val + 'v>, TooMuch> {
        self.take(text.len())?;
        Ok(Box::new(CelString::from(text)))
    }

    fn name<'v>(&mut self, name: &'v str) -> Result<CelMapKey<'v>, TooMuch> {
        self.text = self.text.checked_sub(name.len()).ok_or(TooMuch)?;
        Ok(CelMapKey::String(name.into()))
    }

    fn value<'v>(&mut self, value: impl Val + 'v) -> Result<Box<dyn Val + 'v>, TooMuch> {
        self.take(0)?;
        Ok(Box::new(value))
    }

    fn take(&mut self, text: usize) -> Result<(), TooMuch> {
        self.values = self.values.checked_sub(1).ok_or(TooMuch)?;
        self.text = self.text.checked_sub(text).ok_or(TooMuch)?;
        Ok(())
    }
}

/// A quota as an int; unlimited is the largest one.
const fn number(quota: Quota) -> i64 {
    match quota {
        Quota::Limit(limit) => limit,
        Quota::Unlimited => i64::MAX,
    }
}
