//! docs/configuration.md, made from the types.

use super::schema;
use super::shape::{Form, Format, Key, Shape, Table, Word};
use serde_json::Value;
use std::fmt::Write as _;

const PREFACE: &str = "# Configuration

One TOML file; `config.example.toml` shows every key in use. This page is generated from the types that read the
file (src/config): change their doc comments, not this page.

`sidegate check --config FILE` reports every error of a file at once. Whatever is not listed here is an error: an
unknown key is never ignored.

**The environment.** `${NAME}` and `${NAME:-default}` inside a string are replaced before types are checked; `$${` is
a literal `${`. A variable that is not set is an error unless there is a default, which also stands in for one that is
set but empty. A string that is nothing but one `${…}` may stand where a number or boolean is wanted:
`workers = \"${WORKERS:-0}\"`. Keys and comments are left alone, and so is what was put in.

**Durations** are `\"250ms\"`, `\"30s\"`, `\"5m\"`, `\"1h\"`, `\"7d\"`. **Sizes** are `\"512\"`, `\"64KiB\"`, `\"1MiB\"`, `\"1GiB\"`.
**Networks** are `\"10.0.0.0/8\"`, `\"fd00::/8\"`, or one address. **Paths** are relative to the directory of the file.
No string may be empty unless it is said.

**Secrets** are never written into the file: `…_env` names the environment variable that holds one, `…_file` the file.

`NAME` stands for a name of your own.

";

/// The reference of the configuration file in Markdown: a section for each table.
#[must_use]
pub fn reference() -> String {
    let mut page = Page { text: PREFACE.to_owned() };
    if let Shape::Table(root) = schema::shape() {
        page.table("", &root);
    }
    page.text
}

struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn heading(&mut self, title: &str, meaning: &str) {
        self.line("");
        self.line(&format!("## {title}"));
        self.line("");
        if !meaning.is_empty() {
            self.line(meaning);
            self.line("");
        }
    }

    /// The keys of a table, then the tables inside it.
    fn table(&mut self, path: &str, table: &Table) {
        self.rows(path, table);
        for key in &table.keys {
            self.section(&join(path, &key.name), &key.shape, &key.meaning);
        }
    }

    fn rows(&mut self, path: &str, table: &Table) {
        self.line("| key | type | default | meaning |");
        self.line("| --- | --- | --- | --- |");
        for key in &table.keys {
            let kind = kind(&key.shape, &join(path, &key.name));
            let row = format!("| `{}` | {kind} | {} | {} |", key.name, default(key), cell(&meaning(key)));
            self.line(&row);
        }
    }

    /// A section of its own for whatever is written as a table.
    fn section(&mut self, path: &str, shape: &Shape, meaning: &str) {
        match shape {
            Shape::Table(table) => {
                self.heading(&format!("`[{path}]`"), meaning);
                self.table(path, table);
            }
            Shape::Map { values, .. } => self.map(path, values, meaning),
            Shape::List { items, .. } => match items.as_ref() {
                Shape::Table(table) => {
                    self.heading(&format!("`[[{path}]]`"), meaning);
                    self.table(path, table);
                }
                Shape::OneOf(forms) => {
                    self.heading(&format!("`{path}`"), meaning);
                    self.line("Each element is one of these:");
                    self.forms(path, forms);
                }
                Shape::Unknown
                | Shape::Text(_)
                | Shape::Integer { .. }
                | Shape::Boolean
                | Shape::Choice(_)
                | Shape::List { .. }
                | Shape::Map { .. } => {}
            },
            // One table, or a list of them, or something shorter.
            Shape::OneOf(forms) => {
                if let Some(table) = forms.iter().find_map(|form| form.shape.as_table()) {
                    self.heading(&format!("`{path}`"), meaning);
                    self.table(path, table);
                }
            }
            Shape::Unknown | Shape::Text(_) | Shape::Integer { .. } | Shape::Boolean | Shape::Choice(_) => {}
        }
    }

    fn map(&mut self, path: &str, values: &Shape, meaning: &str) {
        let inner = join(path, "NAME");
        match values {
            Shape::Table(table) => {
                self.heading(&format!("`[{inner}]`"), meaning);
                self.table(&inner, table);
            }
            Shape::OneOf(forms) => {
                for form in forms {
                    if let (Some(tag), Some(table)) = (tag(form), form.shape.as_table()) {
                        let title = format!("`{}`", tagged(path, tag));
                        self.heading(&title, &format!("{meaning} {}", form.meaning));
                        self.table(&inner, table);
                    }
                }
                if !forms.iter().any(|form| tag(form).is_some()) {
                    self.heading(&format!("`[{path}]`"), meaning);
                    self.line("`NAME = …` is one of these:");
                    self.forms(&inner, forms);
                }
            }
            Shape::Unknown
            | Shape::Text(_)
            | Shape::Integer { .. }
            | Shape::Boolean
            | Shape::Choice(_)
            | Shape::List { .. }
            | Shape::Map { .. } => {
                self.heading(&format!("`[{path}]`"), meaning);
                self.line(&format!("`NAME = …`, each a {}.", kind(values, &inner)));
            }
        }
    }

    fn forms(&mut self, path: &str, forms: &[Form]) {
        for form in forms {
            self.line("");
            let Shape::Table(table) = &form.shape else {
                let item = format!("**{}**: {}", capitalized(&kind(&form.shape, path)), form.meaning);
                self.line(&item);
                continue;
            };
            let keys: Vec<String> = table.keys.iter().map(|key| format!("{} = …", key.name)).collect();
            self.line(&format!("**`{{ {} }}`**: {}", keys.join(", "), form.meaning));
            self.line("");
            self.rows(path, table);
        }
    }
}

fn tag(form: &Form) -> Option<(&str, &Word)> {
    form.shape.as_table().and_then(Table::tag)
}

fn tagged(path: &str, (key, word): (&str, &Word)) -> String {
    format!("[{path}.NAME] {key} = \"{}\"", word.text)
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// What the key means, and what each of its words means.
fn meaning(key: &Key) -> String {
    let mut meaning = key.meaning.clone();
    if meaning.is_empty() {
        "Says which form of the table this is.".clone_into(&mut meaning);
    }
    if let Shape::Choice(words) = &key.shape {
        for word in words.iter().filter(|word| !word.meaning.is_empty()) {
            // Writing to a string cannot fail.
            let _infallible = write!(meaning, "<br>`{}`: {}", word.text, word.meaning);
        }
    }
    meaning
}

fn default(key: &Key) -> String {
    match &key.default {
        _ if key.required => "**required**".to_owned(),
        Some(Value::Object(_)) | None => String::new(),
        Some(value) => format!("`{}`", toml(value)),
    }
}

/// A default as it would stand in the file.
fn toml(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::Object(table) => {
            let entries: Vec<String> =
                table.iter().map(|(key, value)| format!("{key} = {}", toml(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

fn kind(shape: &Shape, path: &str) -> String {
    match shape {
        Shape::Unknown => "anything".to_owned(),
        Shape::Text(text) => {
            let noun = match text.format {
                Format::Plain => "string",
                Format::Duration => "duration",
                Format::Size => "size",
                Format::Network => "network",
                Format::Path => "path",
                Format::Variable => "name of a variable",
            };
            let bounds = bounds(text.minimum.as_deref(), text.maximum.as_deref());
            let empty = if text.may_be_empty { ", may be empty" } else { "" };
            format!("{noun}{bounds}{empty}")
        }
        Shape::Integer { minimum, maximum } => {
            let minimum = (*minimum > 0).then(|| minimum.to_string());
            // What fits the type and no more is not worth a word.
            let natural = [i64::MAX, i64::from(u32::MAX), i64::from(u16::MAX)].contains(maximum);
            let maximum = (!natural).then(|| maximum.to_string());
            format!("integer{}", bounds(minimum.as_deref(), maximum.as_deref()))
        }
        Shape::Boolean => "boolean".to_owned(),
        Shape::Choice(words) => {
            let words: Vec<String> = words.iter().map(|word| format!("`\"{}\"`", word.text)).collect();
            words.join(", ")
        }
        Shape::List { items, .. } => match items.as_ref() {
            Shape::Table(_) => link(&format!("[[{path}]]")),
            Shape::OneOf(_) => format!("list of {}", link(path)),
            Shape::Choice(_) => format!("list of {}", kind(items, path)),
            Shape::Unknown
            | Shape::Text(_)
            | Shape::Integer { .. }
            | Shape::Boolean
            | Shape::List { .. }
            | Shape::Map { .. } => format!("list of {}s", kind(items, path)),
        },
        Shape::Table(_) => link(&format!("[{path}]")),
        Shape::Map { values, .. } => map_kind(values, path),
        Shape::OneOf(forms) => {
            let forms: Vec<String> = forms.iter().map(|form| kind(&form.shape, path)).collect();
            forms.join(" or ")
        }
    }
}

fn map_kind(values: &Shape, path: &str) -> String {
    match values {
        Shape::Table(_) => link(&format!("[{path}.NAME]")),
        Shape::OneOf(forms) if forms.iter().any(|form| tag(form).is_some()) => {
            let links: Vec<String> =
                forms.iter().filter_map(tag).map(|tag| link(&tagged(path, tag))).collect();
            links.join(", ")
        }
        Shape::Unknown
        | Shape::Text(_)
        | Shape::Integer { .. }
        | Shape::Boolean
        | Shape::Choice(_)
        | Shape::List { .. }
        | Shape::Map { .. }
        | Shape::OneOf(_) => link(&format!("[{path}]")),
    }
}

fn bounds(minimum: Option<&str>, maximum: Option<&str>) -> String {
    match (minimum, maximum) {
        (Some(minimum), Some(maximum)) => format!(", {minimum} to {maximum}"),
        (Some(minimum), None) => format!(", at least {minimum}"),
        (None, Some(maximum)) => format!(", at most {maximum}"),
        (None, None) => String::new(),
    }
}

/// A link to the section of this title, as GitHub makes its anchors.
fn link(title: &str) -> String {
    let kept = |letter: &char| letter.is_alphanumeric() || matches!(letter, ' ' | '_' | '-');
    let anchor: String = title.to_lowercase().chars().filter(kept).collect();
    format!("[`{title}`](#{})", anchor.replace(' ', "-"))
}
