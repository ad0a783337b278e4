//! Checks a tree against the shape that the types describe, and finds everything that is wrong at once.
//!
//! On the way it does what only the shape can tell: a string from the environment becomes the number or boolean
//! that is wanted, and a relative path is led to the directory of the file.

mod keys;
pub(super) mod words;

use super::document::{Node, Value};
use super::problem::{KeyPath, Problems};
use super::shape::{Form, Shape, Table, Word};
use std::path::Path;

/// Checks the whole file.
pub(super) fn check(root: &mut Node, shape: &Shape, directory: &Path) -> Problems {
    let mut check = Check { problems: Problems::default(), root: shape, directory };
    check.node(&KeyPath::default(), root, shape);
    check.problems
}

struct Check<'a> {
    problems: Problems,
    root: &'a Shape,
    directory: &'a Path,
}

impl Check<'_> {
    fn node(&mut self, path: &KeyPath, node: &mut Node, shape: &Shape) {
        coerce(node, shape);
        match (shape, &mut node.value) {
            (_, Value::Faulty) | (Shape::Unknown, _) | (Shape::Boolean, Value::Boolean(_)) => {}
            (Shape::Text(wanted), Value::Text(text)) => {
                words::text(path, text, wanted, self.directory, &mut self.problems);
            }
            (Shape::Integer { minimum, maximum }, Value::Integer(integer)) => {
                if *integer < *minimum || *integer > *maximum {
                    let (message, hint) = words::outside(*minimum, *maximum);
                    self.problems.error(path.clone(), message, hint);
                }
            }
            (Shape::Choice(words), Value::Text(text)) => {
                if !words.iter().any(|word| word.text == text.value) {
                    self.unknown_word(path, node, words);
                }
            }
            (Shape::List { items, minimum }, Value::List(values)) => {
                if u64::try_from(values.len()).unwrap_or(u64::MAX) < *minimum {
                    self.problems.error(path.clone(), "is empty", words::at_least_one(items));
                }
                for (index, value) in values.iter_mut().enumerate() {
                    self.node(&path.index(index), value, items);
                }
            }
            (Shape::Map { values, minimum }, Value::Table(entries)) => {
                if u64::try_from(entries.len()).unwrap_or(u64::MAX) < *minimum {
                    self.problems.error(path.clone(), "is empty", format!("add a table [{path}.NAME]"));
                }
                for entry in entries {
                    self.node(&path.key(&entry.key), &mut entry.node, values);
                }
            }
            (Shape::Table(table), Value::Table(_)) => self.table(path, node, table),
            (Shape::OneOf(forms), _) => self.one_of(path, node, forms, shape),
            (_, found) => {
                let (message, hint) = words::wrong_type(path, shape, found);
                self.problems.error(path.clone(), message, hint);
            }
        }
    }

    /// Finds the form that is meant, so that what is said is about that one.
    fn one_of(&mut self, path: &KeyPath, node: &mut Node, forms: &[Form], shape: &Shape) {
        if matches!(node.value, Value::Table(_)) {
            let tables: Vec<&Table> = forms.iter().filter_map(|form| form.shape.as_table()).collect();
            if !tables.is_empty() {
                return self.table_of(path, node, &tables);
            }
        }
        if let Some(form) = forms.iter().find(|form| accepts(&form.shape, &node.value)) {
            return self.node(path, node, &form.shape);
        }
        let (message, hint) = words::wrong_type(path, shape, &node.value);
        self.problems.error(path.clone(), message, hint);
    }

    fn table_of(&mut self, path: &KeyPath, node: &mut Node, tables: &[&Table]) {
        let tags: Vec<(&str, &Word)> = tables.iter().filter_map(|table| table.tag()).collect();
        match (tags.first(), tables) {
            (Some((key, _)), _) => self.tagged(path, node, tables, key),
            (None, [table]) => self.table(path, node, table),
            (None, _) => self.distinguished(path, node, tables),
        }
    }

    /// A table whose `kind` says what else may stand in it.
    fn tagged(&mut self, path: &KeyPath, node: &mut Node, tables: &[&Table], key: &str) {
        let words: Vec<Word> =
            tables.iter().filter_map(|table| table.tag()).map(|(_, word)| word.clone()).collect();
        let Some(tag) = node.entry(key) else {
            let hint =
                format!("add {key} = {}", words::alternatives(&words, |word| format!("\"{}\"", word.text)));
            return self.problems.error(path.clone(), format!("the key `{key}` is missing"), hint);
        };
        let Some(text) = tag.node.text() else {
            let mut tag = tag.node.clone();
            return self.node(&path.key(key), &mut tag, &Shape::Choice(words));
        };
        let chosen = tables.iter().find(|table| table.tag().is_some_and(|(_, word)| word.text == text.value));
        match chosen {
            Some(table) => self.table(path, node, table),
            // What else stands in the table cannot be judged: it depends on this word.
            None => self.unknown_word(&path.key(key), &tag.node.clone(), &words),
        }
    }

    /// A table that is told from its siblings by the key that only it must have.
    fn distinguished(&mut self, path: &KeyPath, node: &mut Node, tables: &[&Table]) {
        let required =
            |table: &&Table| table.keys.iter().find(|key| key.required).map(|key| key.name.clone());
        let names: Vec<String> = tables.iter().filter_map(required).collect();
        let mut present = tables.iter().zip(&names).filter(|(_, name)| node.entry(name).is_some());
        let Some((table, first)) = present.next() else {
            return self.indistinct(path, node, tables, &names);
        };
        let others: Vec<&String> = present.map(|(_, name)| name).collect();
        for other in &others {
            let hint = format!("write two entries, one with `{first}` and one with `{other}`");
            self.problems.error(path.key(other), format!("cannot stand beside `{first}`"), hint);
        }
        let Value::Table(entries) = &mut node.value else { return };
        entries.retain(|entry| !others.contains(&&entry.key));
        self.table(path, node, table);
    }

    fn unknown_word(&mut self, path: &KeyPath, node: &Node, words: &[Word]) {
        let Some(text) = node.text() else { return };
        let shown = words::shown(text);
        let allowed = words::alternatives(words, |word| format!("\"{}\"", word.text));
        let known: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        // A value that is not shown must not be hinted at either.
        let near = if text.template.is_none() { words::nearest(&text.value, &known) } else { Vec::new() };
        // A guess saves reading a long list; it would only repeat a short one.
        let hint = match near.as_slice() {
            [near] if known.len() > 6 => format!("did you mean \"{near}\"?"),
            [near] if known.len() > 2 => format!("did you mean \"{near}\"? It can be {allowed}"),
            _ => format!("it can be {allowed}"),
        };
        self.problems.error(path.clone(), format!("{shown} is not a value of this key"), hint);
    }
}

fn accepts(shape: &Shape, value: &Value) -> bool {
    match shape {
        Shape::Unknown => true,
        Shape::Text(_) | Shape::Choice(_) => matches!(value, Value::Text(_)),
        Shape::Integer { .. } => matches!(value, Value::Integer(_)),
        Shape::Boolean => matches!(value, Value::Boolean(_)),
        Shape::List { .. } => matches!(value, Value::List(_)),
        Shape::Table(_) | Shape::Map { .. } => matches!(value, Value::Table(_)),
        Shape::OneOf(forms) => forms.iter().any(|form| accepts(&form.shape, value)),
    }
}

/// A string that is nothing but one `${…}` may stand where a number or boolean is wanted.
fn coerce(node: &mut Node, shape: &Shape) {
    let Some(text) = node.text().filter(|text| text.whole) else { return };
    let converted = match shape {
        Shape::Integer { .. } => text.value.parse().ok().map(Value::Integer),
        Shape::Boolean => text.value.parse().ok().map(Value::Boolean),
        Shape::Unknown
        | Shape::Text(_)
        | Shape::Choice(_)
        | Shape::List { .. }
        | Shape::Table(_)
        | Shape::Map { .. }
        | Shape::OneOf(_) => None,
    };
    if let Some(converted) = converted {
        node.value = converted;
    }
}
