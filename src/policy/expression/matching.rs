//! `matches`, with patterns that were compiled at start.

use cel::common::types::{CelBool, CelString, STRING_TYPE, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::{DeclarationError, Env, ExecutionError};
use regex::{Regex, RegexBuilder};
use std::any::Any;

/// What stands for a pattern in the tree, before its number; nobody can write such a name.
pub(super) const PATTERN_PREFIX: &str = "@pattern";

/// How large a compiled pattern may be, in bytes: a search takes at most as long as text and pattern multiplied.
const LARGEST_PATTERN: usize = 64 * 1024;

static PATTERN: Type = pattern();

const fn pattern() -> Type {
    Type::new_unspecified_type("pattern")
}

/// A compiled pattern as a value.
#[derive(Clone, Debug)]
pub(super) struct Pattern(pub(super) Regex);

impl Val for Pattern {
    fn get_type(&self) -> &Type {
        &PATTERN
    }

    fn cel_type() -> &'static Type {
        &PATTERN
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Pattern {}

/// Compiles a pattern.
///
/// # Errors
/// What is wrong with it, in one line.
pub(super) fn compile(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text).size_limit(LARGEST_PATTERN).build().map_err(|error| {
        let report = error.to_string();
        let last = report.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
        format!("the pattern cannot be used: {}", last.trim().trim_start_matches("error: "))
    })
}

/// Declares `text.matches(pattern)` and `matches(text, pattern)`.
pub(super) fn declare(environment: &mut Env) -> Result<(), DeclarationError> {
    environment.add_overload("matches", "matches_pattern", vec![STRING_TYPE, pattern()], matches)?;
    environment.add_member_overload(
        "matches",
        "string_matches_pattern",
        STRING_TYPE,
        vec![pattern()],
        matches,
    )
}

#[expect(clippy::needless_pass_by_value, reason = "the interpreter hands its arguments over")]
fn matches<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let [text, pattern] = arguments.as_slice() else {
        return Err(ExecutionError::invalid_argument_count(2, arguments.len()));
    };
    match (text.downcast_ref::<CelString>(), pattern.downcast_ref::<Pattern>()) {
        (Some(text), Some(Pattern(pattern))) => {
            Ok(CowVal::owned(CelBool::from(pattern.is_match(text.inner()))))
        }
        (None, _) | (_, None) => Err(ExecutionError::no_such_overload("matches", Vec::new())),
    }
}
