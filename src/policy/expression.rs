//! Expressions in the Common Expression Language (CEL): what must hold where roles and scopes do not suffice.
//!
//! An expression is read, checked and bounded at start; at request time it is only evaluated. What has no value, because
//! something is missing or of another type, is not satisfied.

mod analysis;
mod circumstances;
mod kind;
mod matching;
mod parse;
mod rounds;
mod signatures;
mod uses;
mod values;

#[cfg(test)]
mod tests;

pub use circumstances::Circumstances;

use crate::config::problem::{KeyPath, Problems};
use crate::denial::{Denial, Reason};
use crate::facts::{CAPABILITIES, Holder};
use crate::identity::QUOTAS;
use cel::common::ast::IdedExpr;
use cel::{Context, Env, ExecutionError, Value};
use matching::Pattern;
use parse::Flaw;
use regex::Regex;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};
use uses::{Names, Uses};

/// The functions and macros of the language. Those that nothing may use are refused by the analysis.
static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut environment = Env::stdlib().with_optional_support(false);
    // Without it `matches` is unknown, and whatever uses it not satisfied; a test sees that it is there.
    matching::declare(&mut environment).ok();
    Arc::new(environment)
});

/// A compiled expression.
#[derive(Debug)]
pub struct Expression {
    text: Box<str>,
    root: IdedExpr,
    uses: Uses,
    patterns: Vec<(String, Pattern)>,
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Expression {}

impl fmt::Display for Expression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Expression {
    /// Compiles an expression, written at `at`. What is wrong goes to `problems`.
    pub fn compile(text: &str, at: &KeyPath, problems: &mut Problems) -> Option<Self> {
        let compiled = parse::parse(text, &ENVIRONMENT).and_then(|mut parsed| {
            let findings = analysis::analyse(text, &mut parsed)?;
            Ok(Self {
                text: text.into(),
                root: parsed.root,
                uses: findings.uses,
                patterns: named(findings.patterns),
            })
        });
        compiled
            .map_err(|flaws| {
                for Flaw { place, message, hint } in flaws {
                    let place = match place {
                        Some((1, column)) => format!("column {column}: "),
                        Some((line, column)) => format!("line {line}, column {column}: "),
                        None => String::new(),
                    };
                    problems.error(at.clone(), format!("{place}{message}"), hint);
                }
            })
            .ok()
    }

    /// As it is written.
    #[must_use]
    pub const fn text(&self) -> &str {
        &self.text
    }

    /// The attributes that are named, as far as they are written out.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        self.uses.attributes.iter()
    }

    /// The path parameters that are named, as far as they are written out.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.uses.parameters.iter()
    }

    /// Whether it looks at path parameters, by whatever name.
    #[must_use]
    pub fn uses_path(&self) -> bool {
        !self.uses.parameters.is_none()
    }

    /// Whether it looks at claims, so that they must be kept.
    #[must_use]
    pub fn uses_claims(&self) -> bool {
        !self.uses.claims.is_none()
    }

    /// Whether it takes more than the identity itself: capabilities and quotas may be known elsewhere.
    #[must_use]
    pub fn uses_facts(&self) -> bool {
        let Uses { attributes, .. } = &self.uses;
        *attributes == Names::All || attributes.contain(CAPABILITIES) || attributes.contain(QUOTAS)
    }

    /// Checks it.
    ///
    /// # Errors
    /// `expression_false`, also when it has no value. The log learns why, but no value.
    pub fn check(&self, holder: &Holder<'_>, about: &Circumstances<'_>) -> Result<(), Denial> {
        // The interpreter is not ours. If it panicked, this request would be refused, and no other one harmed.
        let evaluated = catch_unwind(AssertUnwindSafe(|| self.evaluate(holder, about)));
        let why = match evaluated {
            Ok(Ok(true)) => return Ok(()),
            Ok(Ok(false)) => "the expression is false".to_owned(),
            Ok(Err(why)) => format!("the expression has no value: {why}"),
            Err(_) => "the expression cannot be evaluated".to_owned(),
        };
        Err(Denial::new(Reason::ExpressionFalse).because(why))
    }

    fn evaluate(&self, holder: &Holder<'_>, about: &Circumstances<'_>) -> Result<bool, String> {
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        values::set(&mut context, &self.uses, holder, about)
            .map_err(|values::TooMuch| "there is more than an expression may look at".to_owned())?;
        for (name, pattern) in &self.patterns {
            context.add_variable_as_val(name.as_str(), Box::new(pattern.clone()));
        }
        // Not the variant that returns a borrowed value: it is inlined here, with a frame several times as large.
        let result = Value::resolve(&self.root, &context).map_err(|error| self.explain(&error))?;
        if let Value::Bool(holds) = result { Ok(holds) } else { Err("it is not a truth value".to_owned()) }
    }

    /// What went wrong, without any value: most errors of the interpreter hold some.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "it is not exhaustive, and what is not named holds values"
    )]
    fn explain(&self, error: &ExecutionError) -> String {
        if let ExecutionError::NoSuchKey(key) = error {
            // A name that is not written in the expression comes out of the token.
            return if self.uses.unwritten {
                "a map lacks a key".to_owned()
            } else {
                format!("there is no {key}")
            };
        }
        match error {
            ExecutionError::NoSuchOverload(overload) => {
                format!("{} does not take ({})", overload.function(), overload.argument_types().join(", "))
            }
            ExecutionError::UnexpectedType { got, want } => format!("{got} where {want} is needed"),
            ExecutionError::UndeclaredReference(_) => "there is no such variable or function".to_owned(),
            ExecutionError::FunctionError { function, .. } => format!("{function} failed"),
            ExecutionError::UnsupportedBinaryOperator(operator, ..) => {
                format!("{operator} does not take values of these types")
            }
            ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
                "a division by zero".to_owned()
            }
            ExecutionError::Overflow(..) => "a number is too large".to_owned(),
            ExecutionError::IndexOutOfBounds(_) => "a list is too short".to_owned(),
            _ => "values do not fit together".to_owned(),
        }
    }
}

fn named(patterns: Vec<Regex>) -> Vec<(String, Pattern)> {
    let name = |number| format!("{}{number}", matching::PATTERN_PREFIX);
    patterns.into_iter().enumerate().map(|(number, pattern)| (name(number), Pattern(pattern))).collect()
}
