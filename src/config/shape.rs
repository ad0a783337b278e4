//! What may stand where: the types' JSON Schema as a tree that the checks and the reference walk.

use super::problem::{KeyPath, Step};
use serde_json::{Map, Value};

/// What may stand at one place of the file.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    /// A kind of schema that is not understood here; a test makes sure that there is none.
    Unknown,
    /// A string.
    Text(Text),
    /// A whole number.
    Integer { minimum: i64, maximum: i64 },
    /// `true` or `false`.
    Boolean,
    /// One of some words.
    Choice(Vec<Word>),
    /// An array.
    List { items: Box<Shape>, minimum: u64 },
    /// A table whose keys are known.
    Table(Table),
    /// A table whose keys are the user's own names.
    Map { values: Box<Shape>, minimum: u64 },
    /// One of several forms.
    OneOf(Vec<Form>),
}

/// A string and what it must look like.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) format: Format,
    pub(super) minimum: Option<String>,
    pub(super) maximum: Option<String>,
    pub(super) may_be_empty: bool,
}

/// What a string stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Itself.
    Plain,
    /// A [`super::units::Period`].
    Duration,
    /// A [`super::units::Size`].
    Size,
    /// A [`super::server::Network`].
    Network,
    /// A file, relative to the directory of the configuration.
    Path,
    /// The name of an environment variable.
    Variable,
}

/// One of the words that may stand somewhere.
#[derive(Clone, Debug)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) meaning: String,
}

/// A table whose keys are known.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) keys: Vec<Key>,
}

/// One key of a table.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) shape: Shape,
    pub(super) required: bool,
    pub(super) default: Option<Value>,
    pub(super) meaning: String,
}

/// One of several forms of a value.
#[derive(Clone, Debug)]
pub(super) struct Form {
    pub(super) shape: Shape,
    pub(super) meaning: String,
}

impl Table {
    /// The key of this name.
    pub(super) fn key(&self, name: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The required key whose only word tells this form from others, such as `kind = "jwt"`.
    pub(super) fn tag(&self) -> Option<(&str, &Word)> {
        self.keys.iter().filter(|key| key.required).find_map(|key| match &key.shape {
            Shape::Choice(words) => {
                if let [word] = words.as_slice() {
                    Some((key.name.as_str(), word))
                } else {
                    None
                }
            }
            Shape::Unknown
            | Shape::Text(_)
            | Shape::Integer { .. }
            | Shape::Boolean
            | Shape::List { .. }
            | Shape::Table(_)
            | Shape::Map { .. }
            | Shape::OneOf(_) => None,
        })
    }
}

impl Shape {
    /// Reads a JSON Schema with its `$defs`.
    pub(super) fn read(schema: &Value) -> Self {
        Reader { definitions: schema.get("$defs") }.shape(schema)
    }

    /// The table, if it is one.
    pub(super) fn as_table(&self) -> Option<&Table> {
        if let Self::Table(table) = self { Some(table) } else { None }
    }

    /// Every key with its path, in which `NAME` stands for the user's own names and elements of arrays are left
    /// out: `upstreams.NAME.url`, `routes.path`.
    pub(super) fn paths(&self) -> Vec<(String, &Key)> {
        let mut paths = Vec::new();
        self.collect("", &mut paths);
        paths
    }

    fn collect<'a>(&'a self, path: &str, paths: &mut Vec<(String, &'a Key)>) {
        let join = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        match self {
            Self::Unknown | Self::Text(_) | Self::Integer { .. } | Self::Boolean | Self::Choice(_) => {}
            Self::List { items, .. } => items.collect(path, paths),
            Self::Map { values, .. } => values.collect(&join("NAME"), paths),
            Self::OneOf(forms) => forms.iter().for_each(|form| form.shape.collect(path, paths)),
            Self::Table(table) => {
                for key in &table.keys {
                    paths.push((join(&key.name), key));
                    key.shape.collect(&join(&key.name), paths);
                }
            }
        }
    }
}

/// Whether `path` is of this pattern, written as [`Shape::paths`] writes them.
pub(super) fn matches(pattern: &str, path: &KeyPath) -> bool {
    let mut names = path.0.iter().filter_map(|step| match step {
        Step::Key(key) => Some(key.as_str()),
        Step::Index(_) => None,
    });
    let all = pattern.split('.').all(|part| names.next().is_some_and(|name| part == "NAME" || part == name));
    all && names.next().is_none()
}

/// The keywords that are read; a test makes sure that the types use no other.
#[cfg(test)]
pub(super) const KEYWORDS: &[&str] = &[
    "$defs",
    "$ref",
    "$schema",
    "additionalProperties",
    "anyOf",
    "const",
    "default",
    "description",
    "format",
    "items",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "oneOf",
    "properties",
    "required",
    "title",
    "type",
];

struct Reader<'a> {
    definitions: Option<&'a Value>,
}

impl Reader<'_> {
    fn shape(&self, schema: &Value) -> Shape {
        if let Some(reference) = text(schema, "$ref") {
            let name = reference.rsplit('/').next().unwrap_or_default();
            return self
                .definitions
                .and_then(|all| all.get(name))
                .map_or(Shape::Unknown, |found| self.shape(found));
        }
        if let Some(forms) = list(schema, "anyOf").or_else(|| list(schema, "oneOf")) {
            return self.forms(forms);
        }
        match type_of(schema) {
            Some("string") => words(schema).unwrap_or_else(|| Shape::Text(text_shape(schema))),
            Some("integer") => integer_shape(schema),
            Some("boolean") => Shape::Boolean,
            Some("array") => {
                let items = schema.get("items").map_or(Shape::Unknown, |items| self.shape(items));
                Shape::List { items: Box::new(items), minimum: number(schema, "minItems") }
            }
            Some("object") => self.table_or_map(schema),
            _ => Shape::Unknown,
        }
    }

    /// TOML has no null, so that a form or nothing is that form.
    fn forms(&self, forms: &[Value]) -> Shape {
        if let Some(words) = forms.iter().map(word).collect() {
            return Shape::Choice(words);
        }
        let real: Vec<&Value> = forms.iter().filter(|form| type_of(form) != Some("null")).collect();
        match real.as_slice() {
            [form] if forms.len() > 1 => self.shape(form),
            _ => {
                let form = |form: &&Value| Form { shape: self.shape(form), meaning: self.meaning(form) };
                Shape::OneOf(real.iter().map(form).collect())
            }
        }
    }

    fn table_or_map(&self, schema: &Value) -> Shape {
        if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
            let values = Box::new(self.shape(values));
            return Shape::Map { values, minimum: number(schema, "minProperties") };
        }
        let required = list(schema, "required").unwrap_or_default();
        let key = |(name, schema): (&String, &Value)| Key {
            name: name.clone(),
            shape: self.shape(schema),
            required: required.iter().any(|required| required == name),
            default: schema.get("default").filter(|default| !default.is_null()).cloned(),
            meaning: self.meaning(schema),
        };
        let keys = schema.get("properties").and_then(Value::as_object).map(Map::iter);
        let keys = keys.into_iter().flatten().map(key).collect();
        Shape::Table(Table { keys })
    }

    fn meaning(&self, schema: &Value) -> String {
        let own = text(schema, "description");
        let behind = || {
            let name = text(schema, "$ref")?.rsplit('/').next()?;
            text(self.definitions?.get(name)?, "description")
        };
        own.or_else(behind).unwrap_or_default().replace('\n', " ")
    }
}

fn text<'a>(schema: &'a Value, keyword: &str) -> Option<&'a str> {
    schema.get(keyword).and_then(Value::as_str)
}

fn list<'a>(schema: &'a Value, keyword: &str) -> Option<&'a [Value]> {
    schema.get(keyword).and_then(Value::as_array).map(Vec::as_slice)
}

fn number(schema: &Value, keyword: &str) -> u64 {
    schema.get(keyword).and_then(Value::as_u64).unwrap_or_default()
}

/// The type, without the null of an optional key.
fn type_of(schema: &Value) -> Option<&str> {
    let named = text(schema, "type");
    named.or_else(|| list(schema, "type")?.iter().filter_map(Value::as_str).find(|name| *name != "null"))
}

fn word(schema: &Value) -> Option<Word> {
    let meaning = text(schema, "description").unwrap_or_default().replace('\n', " ");
    text(schema, "const").map(|text| Word { text: text.to_owned(), meaning })
}

fn words(schema: &Value) -> Option<Shape> {
    word(schema).map(|word| Shape::Choice(vec![word]))
}

fn text_shape(schema: &Value) -> Text {
    let format = match text(schema, "format") {
        Some("duration") => Format::Duration,
        Some("size") => Format::Size,
        Some("network") => Format::Network,
        Some("path") => Format::Path,
        Some("variable") => Format::Variable,
        _ => Format::Plain,
    };
    Text {
        format,
        minimum: text(schema, "minimum").map(str::to_owned),
        maximum: text(schema, "maximum").map(str::to_owned),
        may_be_empty: schema.get("minLength").and_then(Value::as_u64) == Some(0),
    }
}

fn integer_shape(schema: &Value) -> Shape {
    let bound = |keyword| schema.get(keyword).and_then(Value::as_i64);
    let largest = match text(schema, "format") {
        Some("uint8") => i64::from(u8::MAX),
        Some("uint16") => i64::from(u16::MAX),
        Some("uint32") => i64::from(u32::MAX),
        _ => i64::MAX,
    };
    Shape::Integer {
        minimum: bound("minimum").unwrap_or(i64::MIN),
        maximum: bound("maximum").unwrap_or(largest).min(largest),
    }
}
