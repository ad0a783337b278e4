//! What stands in strings, and how wrong values are talked about.
//!
//! What came from the environment may be a secret: messages show a value only if it stands in the file.

use super::super::document::{Text, Value};
use super::super::environment::is_name;
use super::super::problem::{KeyPath, Problems};
use super::super::server::Network;
use super::super::shape::{self, Format, Shape};
use super::super::units::{Period, Size};
use std::path::Path;

/// Checks a string, and leads a relative path to `directory`.
pub(super) fn text(
    path: &KeyPath,
    text: &mut Text,
    wanted: &shape::Text,
    directory: &Path,
    problems: &mut Problems,
) {
    if text.value.is_empty() && !wanted.may_be_empty {
        let hint = match text.template {
            Some(_) => "the environment variable is set but empty",
            None => "write something, or remove the key",
        };
        return problems.error(path.clone(), "is empty", hint);
    }
    match wanted.format {
        Format::Plain => {}
        Format::Path => text.value = directory.join(&text.value).to_string_lossy().into_owned(),
        Format::Variable => {
            if !is_name(&text.value) {
                // What stands here instead may well be the secret itself.
                let hint = "write the name of the variable that holds the secret, such as \"JWT_SECRET\"";
                problems.error(path.clone(), "this is not the name of an environment variable", hint);
            }
        }
        Format::Duration | Format::Size | Format::Network => match amount(wanted.format, &text.value) {
            Err(hint) => {
                let message = format!("{} is not {}", shown(text), noun(wanted.format));
                problems.error(path.clone(), message, hint);
            }
            Ok(amount) => {
                let bound = |bound: &Option<String>| amount_of(wanted.format, bound.as_deref());
                let (minimum, maximum) = (bound(&wanted.minimum), bound(&wanted.maximum));
                if minimum.is_some_and(|minimum| amount < minimum)
                    || maximum.is_some_and(|maximum| amount > maximum)
                {
                    let (message, hint) = beyond(wanted.minimum.as_deref(), wanted.maximum.as_deref());
                    problems.error(path.clone(), message, hint);
                }
            }
        },
    }
}

fn amount_of(format: Format, text: Option<&str>) -> Option<u128> {
    text.and_then(|text| amount(format, text).ok())
}

fn amount(format: Format, text: &str) -> Result<u128, &'static str> {
    match format {
        Format::Duration => text.parse::<Period>().map(|period| period.0.as_millis()),
        Format::Size => text.parse::<Size>().map(|size| u128::from(size.0)),
        Format::Network => text.parse::<Network>().map(|_| 0),
        Format::Plain | Format::Path | Format::Variable => Ok(0),
    }
}

fn noun(format: Format) -> &'static str {
    match format {
        Format::Plain => "a string",
        Format::Duration => "a duration",
        Format::Size => "a size",
        Format::Network => "a network",
        Format::Path => "a path",
        Format::Variable => "the name of an environment variable",
    }
}

fn beyond(minimum: Option<&str>, maximum: Option<&str>) -> (&'static str, String) {
    match (minimum, maximum) {
        (Some(minimum), Some(maximum)) => {
            ("is out of range", format!("it can be from \"{minimum}\" to \"{maximum}\""))
        }
        (Some(minimum), None) => ("is too little", format!("it must be at least \"{minimum}\"")),
        (None, Some(maximum)) => ("is too much", format!("it must be at most \"{maximum}\"")),
        (None, None) => ("is out of range", String::new()),
    }
}

/// What is said about a number out of range.
pub(super) fn outside(minimum: i64, maximum: i64) -> (&'static str, String) {
    let hint = match (minimum, maximum) {
        (minimum, i64::MAX) => format!("it must be at least {minimum}"),
        (i64::MIN, maximum) => format!("it must be at most {maximum}"),
        (minimum, maximum) => format!("it can be from {minimum} to {maximum}"),
    };
    ("is out of range", hint)
}

/// What is said about a list that must not be empty.
pub(super) fn at_least_one(items: &Shape) -> String {
    format!("write {} into it, or remove the key for its default", one(items))
}

/// The string as the file has it, in quotes; long ones are cut.
pub(super) fn shown(text: &Text) -> String {
    let written = text.template.as_ref().unwrap_or(&text.value);
    let head: String = written.chars().take(60).collect();
    let cut = if head.len() < written.len() { "…" } else { "" };
    let value = format!("{:?}", format!("{head}{cut}"));
    if text.template.is_some() { format!("the value of {value}") } else { value }
}

/// What is said about a value of the wrong type.
pub(super) fn wrong_type(path: &KeyPath, wanted: &Shape, found: &Value) -> (String, String) {
    let origin = match found {
        Value::Text(text) if text.template.is_some() => format!(" ({})", shown(text)),
        Value::Text(_)
        | Value::Faulty
        | Value::Integer(_)
        | Value::Float
        | Value::Boolean(_)
        | Value::Datetime(_)
        | Value::List(_)
        | Value::Table(_) => String::new(),
    };
    let message = format!("expected {}, found {}{origin}", one(wanted), found_noun(found));
    let from_environment = !origin.is_empty();
    (message, type_hint(path, wanted, from_environment))
}

fn type_hint(path: &KeyPath, wanted: &Shape, from_environment: bool) -> String {
    match wanted {
        Shape::Integer { .. } if from_environment => "set the environment variable to digits only".to_owned(),
        Shape::Boolean if from_environment => "set the environment variable to true or false".to_owned(),
        Shape::Integer { .. } => "write digits, without quotes".to_owned(),
        Shape::Boolean => "write true or false, without quotes".to_owned(),
        Shape::Text(text) => match text.format {
            Format::Duration | Format::Size | Format::Network => {
                amount(text.format, "").err().unwrap_or_default().to_owned()
            }
            Format::Plain | Format::Path | Format::Variable => "write one string, between quotes".to_owned(),
        },
        Shape::Choice(words) => format!("write {}", alternatives(words, |word| format!("\"{}\"", word.text))),
        Shape::List { items, .. } => match items.as_ref() {
            Shape::Table(_) => format!("begin each with a line [[{path}]]"),
            Shape::OneOf(_) => "write it between brackets: [{ … }]".to_owned(),
            Shape::Unknown
            | Shape::Text(_)
            | Shape::Integer { .. }
            | Shape::Boolean
            | Shape::Choice(_)
            | Shape::List { .. }
            | Shape::Map { .. } => "write it between brackets: [\"…\", \"…\"]".to_owned(),
        },
        Shape::Map { values, .. } if values.as_table().is_some() => {
            format!("write a table [{path}.NAME] for each")
        }
        Shape::Table(_) | Shape::Map { .. } => format!("write a table [{path}] with one key a line"),
        Shape::OneOf(_) | Shape::Unknown => format!("write {}", sample(wanted)),
    }
}

/// What a value of this shape looks like.
fn sample(shape: &Shape) -> String {
    match shape {
        Shape::Unknown => "…".to_owned(),
        Shape::Text(_) | Shape::Choice(_) => "\"…\"".to_owned(),
        Shape::Integer { .. } => "1".to_owned(),
        Shape::Boolean => "true".to_owned(),
        Shape::List { items, .. } => format!("[{}, …]", sample(items)),
        Shape::Map { .. } => "{ NAME = … }".to_owned(),
        Shape::Table(table) => {
            let required = table.keys.iter().filter(|key| key.required);
            let keys: Vec<String> = required.map(|key| format!("{} = …", key.name)).collect();
            format!("{{ {} }}", keys.join(", "))
        }
        Shape::OneOf(forms) => alternatives(forms, |form| sample(&form.shape)),
    }
}

/// What one value of this shape is called.
pub(super) fn one(shape: &Shape) -> String {
    match shape {
        Shape::Unknown => "something else".to_owned(),
        Shape::Text(text) => noun(text.format).to_owned(),
        Shape::Choice(_) => "a string".to_owned(),
        Shape::Integer { .. } => "a whole number".to_owned(),
        Shape::Boolean => "true or false".to_owned(),
        Shape::List { items, .. } => match items.as_ref() {
            Shape::Table(_) | Shape::OneOf(_) => "a list of tables".to_owned(),
            Shape::Unknown
            | Shape::Text(_)
            | Shape::Integer { .. }
            | Shape::Boolean
            | Shape::Choice(_)
            | Shape::List { .. }
            | Shape::Map { .. } => "a list of strings".to_owned(),
        },
        Shape::Table(_) | Shape::Map { .. } => "a table".to_owned(),
        Shape::OneOf(forms) => {
            let mut names: Vec<String> = forms.iter().map(|form| one(&form.shape)).collect();
            names.dedup();
            alternatives(&names, Clone::clone)
        }
    }
}

pub(in crate::config) fn found_noun(value: &Value) -> &'static str {
    match value {
        Value::Faulty => "something else",
        Value::Text(_) => "a string",
        Value::Integer(_) => "a whole number",
        Value::Float => "a number with a fraction",
        Value::Boolean(_) => "a boolean",
        Value::Datetime(_) => "a date",
        Value::List(_) => "a list",
        Value::Table(_) => "a table",
    }
}

/// `a`, `b` or `c`.
pub(super) fn alternatives<T>(all: &[T], write: impl Fn(&T) -> String) -> String {
    match all {
        [] => String::new(),
        [one] => write(one),
        [front @ .., last] => {
            let front: Vec<String> = front.iter().map(&write).collect();
            format!("{} or {}", front.join(", "), write(last))
        }
    }
}

/// The known names that were probably meant: the closest, if it is close enough to be a slip, or else those that
/// share a word with what was written.
pub(in crate::config) fn nearest<'a>(written: &str, known: &[&'a str]) -> Vec<&'a str> {
    let folded = written.to_lowercase().replace('-', "_");
    let tolerance = folded.chars().count().checked_div(4).unwrap_or_default().max(1);
    let distance = |name: &&'a str| (strsim::damerau_levenshtein(&folded, &name.to_lowercase()), *name);
    let closest = known.iter().map(distance).min_by_key(|(distance, _)| *distance);
    match closest.filter(|(distance, _)| *distance <= tolerance) {
        Some((_, name)) => vec![name],
        None => known.iter().copied().filter(|name| share_a_word(&folded, name)).collect(),
    }
}

fn share_a_word(written: &str, known: &str) -> bool {
    let within = |long: &str, short: &str| {
        long.strip_suffix(short).is_some_and(|rest| rest.ends_with('_'))
            || long.strip_prefix(short).is_some_and(|rest| rest.starts_with('_'))
    };
    let begins = known.len() > 2 && written.starts_with(known);
    begins || within(known, written) || within(written, known)
}
