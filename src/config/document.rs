//! The file as a tree that keeps the order of its tables and knows where everything stands.

use super::problem::{KeyPath, Problem, Problems, Step};
use super::report::{self, Finding};
use std::fmt;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};
use toml::value::Datetime;

/// One value of the file, and where it stands.
#[derive(Clone)]
pub(super) struct Node {
    /// Bytes of the text; a table's is its header.
    pub(super) span: Range<usize>,
    /// What stands there.
    pub(super) value: Value,
}

/// What can stand in a TOML file.
#[derive(Clone)]
pub(super) enum Value {
    /// Something that was already reported; nothing more is to be said about it.
    Faulty,
    /// A string.
    Text(Text),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction; no key takes one.
    Float,
    /// `true` or `false`.
    Boolean(bool),
    /// A date or time; only key files take one.
    Datetime(Datetime),
    /// An array, of tables or else.
    List(Vec<Node>),
    /// A table, in the order of the file.
    Table(Vec<Entry>),
}

/// A string.
#[derive(Clone)]
pub(super) struct Text {
    /// What it says, after substitution.
    pub(super) value: String,
    /// What the file says, if something was put in from the environment: messages show this, never the value.
    pub(super) template: Option<String>,
    /// Whether it is nothing but one `${…}`, and may stand for a number or boolean.
    pub(super) whole: bool,
}

/// One key of a table.
#[derive(Clone)]
pub(super) struct Entry {
    /// The key.
    pub(super) key: String,
    /// Where the key, or the header of the table behind it, begins.
    pub(super) offset: usize,
    /// What it leads to.
    pub(super) node: Node,
}

impl Node {
    /// Every entry, if it is a table.
    pub(super) fn entries(&self) -> &[Entry] {
        if let Value::Table(entries) = &self.value { entries } else { &[] }
    }

    /// What a table has under `key`.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        let Value::Table(entries) = &self.value else { return None };
        entries.iter().find(|entry| entry.key == key)
    }

    /// The string that stands here.
    pub(super) fn text(&self) -> Option<&Text> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    fn step(&self, step: &Step) -> Option<(usize, &Self)> {
        match step {
            Step::Key(key) => self.entry(key).map(|entry| (entry.offset, &entry.node)),
            Step::Index(index) => {
                let Value::List(items) = &self.value else { return None };
                items.get(*index).map(|item| (item.span.start, item))
            }
        }
    }
}

/// A configuration file that is TOML; findings about it are placed and rendered here.
#[derive(Clone)]
pub struct Document {
    name: String,
    text: String,
    root: Node,
    /// What was put in from the environment, and what the file says in its place.
    substituted: Vec<(String, String)>,
}

impl fmt::Debug for Document {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Document").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Document {
    /// Reads TOML. The error is the report of everything that is not.
    pub(super) fn parse(name: &str, text: &str) -> Result<Self, String> {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut findings: Vec<Finding> = errors.iter().map(|error| report::syntax(error, text)).collect();
        let root = Node { span: 0..0, value: read_table(table.into_inner(), &mut findings) };
        if findings.is_empty() {
            Ok(Self { name: name.to_owned(), text: text.to_owned(), root, substituted: Vec::new() })
        } else {
            Err(report::render(name, text, findings))
        }
    }

    /// The name that findings are reported under: the path of the file as it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The line on which a key or table begins, counted from 1.
    #[must_use]
    pub fn line(&self, path: &KeyPath) -> usize {
        let before = self.text.get(..self.locate(path)).unwrap_or_default();
        before.matches('\n').count().saturating_add(1)
    }

    /// A copy of the tree, as the file says it: nothing has been put in from the environment.
    pub(super) fn tree(&self) -> Node {
        self.root.clone()
    }

    /// The report: one finding each with `file:line:column`, key path and hint, by position; and a last line
    /// that counts them.
    ///
    /// A finding about a key that is absent is placed at the table that lacks it.
    #[must_use]
    pub fn render(&self, problems: &Problems) -> String {
        let place = |problem: &Problem| {
            let (message, hint) = (self.hidden(&problem.message), self.hidden(&problem.hint));
            Finding::about(self.locate(&problem.path), &Problem { message, hint, ..problem.clone() })
        };
        report::render(&self.name, &self.text, problems.0.iter().map(place).collect())
    }

    /// Remembers what `tree` got from the environment, so that no report shows it: it may be a secret.
    pub(super) fn hide(&mut self, tree: &Node) {
        match &tree.value {
            Value::Text(Text { value, template: Some(template), .. }) if !value.is_empty() => {
                self.substituted.push((value.clone(), template.clone()));
            }
            Value::List(items) => items.iter().for_each(|item| self.hide(item)),
            Value::Table(entries) => entries.iter().for_each(|entry| self.hide(&entry.node)),
            Value::Text(_)
            | Value::Faulty
            | Value::Integer(_)
            | Value::Float
            | Value::Boolean(_)
            | Value::Datetime(_) => {}
        }
    }

    fn hidden(&self, text: &str) -> String {
        /// Shorter ones stand in ordinary words; they are hidden where they are quoted.
        const TELLING: usize = 4;
        self.substituted.iter().fold(text.to_owned(), |text, (value, template)| {
            let text = text.replace(&format!("{value:?}"), &format!("{template:?}"));
            if value.len() >= TELLING { text.replace(value, template) } else { text }
        })
    }

    fn locate(&self, path: &KeyPath) -> usize {
        let mut offset = self.root.span.start;
        let mut node = &self.root;
        for step in &path.0 {
            let Some((found, inner)) = node.step(step) else { break };
            offset = found;
            node = inner;
        }
        offset
    }
}

fn read_table(table: DeTable<'_>, findings: &mut Vec<Finding>) -> Value {
    let read = |(key, value): (Spanned<std::borrow::Cow<'_, str>>, _)| {
        let node = read_node(value, findings);
        Entry { offset: key.span().start.min(node.span.start), key: key.into_inner().into_owned(), node }
    };
    let mut entries: Vec<Entry> = table.into_iter().map(read).collect();
    entries.sort_by_key(first_mention);
    Value::Table(entries)
}

/// Where a key appears first: a table may be opened after one that stands inside it.
fn first_mention(entry: &Entry) -> usize {
    let inner = if let Value::Table(entries) = &entry.node.value {
        entries.iter().map(first_mention).min()
    } else {
        None
    };
    inner.map_or(entry.offset, |inner| inner.min(entry.offset))
}

fn read_node(source: Spanned<DeValue<'_>>, findings: &mut Vec<Finding>) -> Node {
    let span = source.span();
    let value = match source.into_inner() {
        DeValue::String(text) => Value::Text(Text { value: text.into_owned(), template: None, whole: false }),
        DeValue::Integer(integer) => read_integer(&integer, &span, findings),
        DeValue::Float(_) => Value::Float,
        DeValue::Boolean(boolean) => Value::Boolean(boolean),
        DeValue::Datetime(datetime) => Value::Datetime(datetime),
        DeValue::Array(items) => {
            Value::List(items.into_iter().map(|item| read_node(item, findings)).collect())
        }
        DeValue::Table(table) => read_table(table, findings),
    };
    Node { span, value }
}

fn read_integer(integer: &DeInteger<'_>, span: &Range<usize>, findings: &mut Vec<Finding>) -> Value {
    if let Ok(integer) = i64::from_str_radix(integer.as_str(), integer.radix()) {
        return Value::Integer(integer);
    }
    findings.push(Finding::syntax(
        span.start,
        "this number is larger than TOML can carry".to_owned(),
        "whole numbers have 64 bits: between -9223372036854775808 and 9223372036854775807",
    ));
    Value::Faulty
}
