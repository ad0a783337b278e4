//! From text to a syntax tree of bounded depth.

use cel::common::ast::{EntryExpr, Expr, IdedExpr, SourceInfo};
use cel::{Env, ParseErrors};
use std::thread;

/// The longest expression, in bytes.
pub(super) const LONGEST: usize = 4096;

/// How deep an expression may be nested, counting what macros expand to: evaluation recurses, and a worker's stack is 2 MiB.
pub(super) const DEEPEST: usize = 24;

/// Parsing recurses as deep as the text is nested, before its depth can be known; this much is enough for the worst text of
/// [`LONGEST`] bytes. It is only reserved: what is not used costs nothing.
const STACK_BYTES: usize = 64 * 1024 * 1024;

/// What is wrong with an expression, where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    /// Line and column, counted from 1.
    pub(super) place: Option<(usize, usize)>,
    pub(super) message: String,
    pub(super) hint: String,
}

impl Flaw {
    pub(super) fn new(place: Option<(usize, usize)>, message: impl Into<String>, hint: &str) -> Self {
        Self { place, message: message.into(), hint: hint.to_owned() }
    }
}

/// A syntax tree.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) root: IdedExpr,
    source: SourceInfo,
}

impl Parsed {
    /// The tree apart from where its nodes stand, to change the one and ask the other.
    pub(super) const fn split(&mut self) -> (&mut IdedExpr, &SourceInfo) {
        (&mut self.root, &self.source)
    }
}

/// Parses an expression.
///
/// # Errors
/// What is wrong with it; never a panic, and never a tree deeper than [`DEEPEST`].
pub(super) fn parse(text: &str, environment: &'static Env) -> Result<Parsed, Vec<Flaw>> {
    if text.trim().is_empty() {
        return Err(vec![Flaw::new(None, "an empty expression", "leave it out, or write what must hold")]);
    }
    if text.len() > LONGEST {
        let message = format!("the expression is longer than {LONGEST} bytes");
        return Err(vec![Flaw::new(None, message, "shorten it, or let the service check the rest")]);
    }
    let own = text.to_owned();
    // A thread of its own for its stack; and a parser that panics is one that refuses.
    let parser = thread::Builder::new().name("expression".to_owned()).stack_size(STACK_BYTES);
    let parsed = parser.spawn(move || read(&own, environment)).map(thread::JoinHandle::join);
    match parsed {
        Ok(Ok(parsed)) => parsed,
        Ok(Err(_)) | Err(_) => {
            Err(vec![Flaw::new(None, "the expression cannot be read", "simplify it, and please report it")])
        }
    }
}

fn read(text: &str, environment: &Env) -> Result<Parsed, Vec<Flaw>> {
    let (root, source) =
        environment.parser().parse_with_source_info(text).map_err(|errors| flaws(text, &errors))?;
    if depth(&root) > DEEPEST {
        let message = "the expression is nested too deeply";
        return Err(vec![Flaw::new(None, message, "simplify it: write lists and `in` for long chains")]);
    }
    Ok(Parsed { root, source })
}

fn flaws(text: &str, errors: &ParseErrors) -> Vec<Flaw> {
    const HINT: &str = "see the examples in docs/expressions.md";
    let known = errors.errors.iter().map(|error| {
        let place = usize::try_from(error.pos.0).ok().zip(usize::try_from(error.pos.1).ok());
        // Some errors count from 0, others have no place at all.
        let place = place.filter(|(line, _)| (1..=text.lines().count()).contains(line));
        let message = plain(&error.msg);
        Flaw::new(place.map(|(line, column)| (line, column.max(1))), message, HINT)
    });
    // What follows from the first error is of no use to anybody.
    known.take(1).collect()
}

/// The parser's message in plain words.
fn plain(message: &str) -> String {
    let message = message.lines().next().unwrap_or_default().trim_start_matches("Syntax error: ");
    let message = message.split(" expecting ").next().unwrap_or_default();
    if message.contains("Recursion limit") {
        return "the expression is nested too deeply".to_owned();
    }
    if message.contains("<EOF>") {
        return "the expression ends too early".to_owned();
    }
    let unread = ["token recognition error at: ", "mismatched input ", "no viable alternative at input "];
    let at = unread.iter().find_map(|prefix| message.strip_prefix(prefix));
    let message = at.map_or_else(|| message.to_owned(), |at| format!("cannot read {at}"));
    if message.is_empty() { "cannot be read".to_owned() } else { message.chars().take(100).collect() }
}

/// How deep a tree is.
fn depth(expr: &IdedExpr) -> usize {
    children(&expr.expr).into_iter().map(depth).max().unwrap_or_default().saturating_add(1)
}

/// What an expression consists of.
pub(super) fn children(expr: &Expr) -> Vec<&IdedExpr> {
    match expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
        Expr::Comprehension(each) => {
            vec![&each.iter_range, &each.accu_init, &each.loop_cond, &each.loop_step, &each.result]
        }
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => map.entries.iter().flat_map(|entry| parts(&entry.expr)).collect(),
        Expr::Select(select) => vec![&select.operand],
        Expr::Struct(message) => message.entries.iter().flat_map(|entry| parts(&entry.expr)).collect(),
    }
}

fn parts(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    }
}
