//! How findings are written for people: `file:line:column`, what is wrong, and one hint.

use super::problem::{Problem, Severity};
use std::fmt::Write as _;

/// A finding that knows where it is about.
pub(super) struct Finding {
    offset: usize,
    severity: Severity,
    message: String,
    hint: String,
}

impl Finding {
    /// Something that is not TOML.
    pub(super) fn syntax(offset: usize, message: String, hint: &str) -> Self {
        Self { offset, severity: Severity::Error, message, hint: hint.to_owned() }
    }

    /// A problem, at its place.
    pub(super) fn about(offset: usize, problem: &Problem) -> Self {
        let path = problem.path.to_string();
        let message =
            if path.is_empty() { problem.message.clone() } else { format!("{path}: {}", problem.message) };
        Self { offset, severity: problem.severity, message, hint: problem.hint.clone() }
    }
}

/// What the TOML parser found, with the key or a hint that it does not give itself.
pub(super) fn syntax(error: &toml::de::Error, text: &str) -> Finding {
    let span = error.span().unwrap_or_default();
    let message = error.message();
    if message == "duplicate key" {
        let key = text.get(span.clone()).unwrap_or_default();
        return Finding::syntax(
            span.start,
            format!("duplicate key `{key}`"),
            "a key or table may stand only once; put both into one, or remove one",
        );
    }
    let hint = match message {
        _ if message.starts_with("string values must be quoted") => {
            "write it between quotes: key = \"value\""
        }
        _ if message.starts_with("invalid ") => {
            "numbers, true and false are written bare, everything else between quotes: key = \"value\""
        }
        _ if message.starts_with("cannot extend value") => {
            "this key has a value already; write all of it in one place"
        }
        _ if message.contains("recurs") => "nothing in this file needs to be nested so deeply",
        _ if message.contains("inline table element") => "is the { before it closed?",
        _ if message.starts_with("unclosed") => "close it with the bracket that it was opened with",
        _ if message.contains("comma") => "elements are separated by one comma each",
        _ if message.contains("quote") => "a string begins and ends with the same quote, on one line",
        _ => "this is not TOML: write `key = \"value\"` under `[table]`; see https://toml.io",
    };
    // What the parser would rather have read helps with brackets, and misleads with values.
    let about_value = message.starts_with("invalid ") || message.starts_with("string values");
    let message = message.split_once(", expected").filter(|_| about_value).map_or(message, |(what, _)| what);
    Finding::syntax(span.start, message.to_owned(), hint)
}

/// The whole report, in the order of the file.
pub(super) fn render(name: &str, text: &str, mut findings: Vec<Finding>) -> String {
    findings.sort_by_key(|finding| finding.offset);
    let mut report = String::new();
    let mut places = Places { text, offset: 0, line: 1 };
    for Finding { offset, severity, message, hint } in &findings {
        let (line, column) = places.position(*offset);
        let severity = match severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        // Writing to a string cannot fail.
        let _infallible = write!(report, "{name}:{line}:{column}: {severity}: {message}\n  hint: {hint}\n");
    }
    report.push_str(&summary(name, &findings));
    report
}

fn summary(name: &str, findings: &[Finding]) -> String {
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    let counts = [(errors, "error"), (findings.len().saturating_sub(errors), "warning")];
    let count = |(count, noun): &(usize, &str)| match count {
        0 => None,
        1 => Some(format!("1 {noun}")),
        _ => Some(format!("{count} {noun}s")),
    };
    let counted: Vec<String> = counts.iter().filter_map(count).collect();
    if counted.is_empty() {
        format!("nothing to say about {name}\n")
    } else {
        format!("{} in {name}\n", counted.join(", "))
    }
}

/// Looks up one place after the other, so that many of them in a long file take one pass.
struct Places<'a> {
    text: &'a str,
    offset: usize,
    line: usize,
}

impl Places<'_> {
    /// Line and column, both from 1, of a place that is not before the last one; columns count characters, as editors do.
    fn position(&mut self, offset: usize) -> (usize, usize) {
        let passed = self.text.get(self.offset..offset).unwrap_or_default();
        self.line = self.line.saturating_add(passed.matches('\n').count());
        self.offset = self.offset.max(offset);
        let before = self.text.get(..offset).unwrap_or(self.text);
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
        (self.line, column.saturating_add(1))
    }
}

/// The report about a file that is not text.
pub(super) fn not_utf8(name: &str, text: &str, offset: usize) -> String {
    let hint = "save the file as UTF-8";
    render(name, text, vec![Finding::syntax(offset, "this is not UTF-8".to_owned(), hint)])
}
