//! The JSON Schema of the configuration file, made from the types.

use super::Config;
use super::shape::Shape;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// What schemars makes of the types: the source of the checks, the reference and the published schema.
pub(super) fn raw() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Config>().to_value()
}

/// What may stand where, according to the types.
pub(super) fn shape() -> Shape {
    Shape::read(&raw())
}

/// The JSON Schema (draft 2020-12) of the configuration, for editors and other tools.
///
/// It allows a little more than `check` does: bounds of durations and sizes are left to it, and numbers and booleans
/// may be written as `"${NAME}"`.
#[must_use]
pub fn schema() -> Value {
    let mut schema = raw();
    publish(&mut schema);
    if let Some(root) = schema.as_object_mut() {
        root.insert("$id".to_owned(), "urn:sidegate:configuration".into());
        root.insert("title".to_owned(), "sidegate configuration".into());
    }
    schema
}

/// Turns what only we understand into what every reader of JSON Schema does.
fn publish(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(publish),
        Value::Object(keywords) => {
            keywords.values_mut().for_each(publish);
            remove_null(keywords);
            if keywords.get("type").is_some_and(|kind| kind == "string") {
                // Amounts are strings here, and these keywords are for numbers only.
                keywords.retain(|keyword, _| keyword != "minimum" && keyword != "maximum");
                spell_out(keywords);
            }
            allow_substitution(keywords);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// TOML has no null: a key that may be absent is one that is not required.
fn remove_null(keywords: &mut Map<String, Value>) {
    // The default of a table says no more than those of its keys.
    if keywords.get("default").is_some_and(|default| default.is_null() || default.is_object()) {
        keywords.shift_remove("default");
    }
    if let Some(forms) = keywords.get_mut("anyOf").and_then(Value::as_array_mut) {
        forms.retain(|form| form.get("type").is_none_or(|kind| kind != "null"));
    }
    let named = keywords.get("type").and_then(Value::as_array);
    if let Some(kind) = named.and_then(|all| all.iter().find(|kind| *kind != "null")).cloned() {
        keywords.insert("type".to_owned(), kind);
    }
}

/// Our own names of formats mean something else, or nothing, to other readers: a pattern says what is meant. What
/// comes from the environment is not known yet.
fn spell_out(keywords: &mut Map<String, Value>) {
    let format = keywords.shift_remove("format");
    let pattern = match format.as_ref().and_then(Value::as_str) {
        Some("duration") => r"^[0-9]+(ms|s|m|h|d)$|\$\{",
        Some("size") => r"^[0-9]+(B|KiB|MiB|GiB)?$|\$\{",
        Some("network") => r"^[0-9A-Fa-f.:]+(/[0-9]+)?$|\$\{",
        _ => return,
    };
    keywords.insert("pattern".to_owned(), pattern.into());
}

/// `workers = "${WORKERS:-0}"`
fn allow_substitution(keywords: &mut Map<String, Value>) {
    let scalar = keywords.get("type").is_some_and(|kind| kind == "integer" || kind == "boolean");
    let choice = keywords.contains_key("enum");
    let substituted = json!({ "type": "string", "pattern": r"^\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}$" });
    if scalar || choice {
        let mut own = Map::new();
        for keyword in ["type", "format", "minimum", "maximum", "enum"] {
            if let Some(value) = keywords.shift_remove(keyword) {
                own.insert(keyword.to_owned(), value);
            }
        }
        keywords.insert("anyOf".to_owned(), json!([own, substituted]));
    }
    // Words with a description each.
    if let Some(words) = keywords.get_mut("oneOf").and_then(Value::as_array_mut)
        && words.iter().all(|word| word.get("const").is_some())
    {
        words.push(json!({ "type": "string", "pattern": r"\$\{" }));
    }
}
