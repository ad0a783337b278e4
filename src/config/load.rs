//! STUB, dropped at merge: reads a configuration file.

use super::Config;
use super::problem::{Problems, Severity};
use std::path::{Path, PathBuf};

/// A configuration that was read.
#[derive(Debug)]
pub struct Loaded {
    /// What it says.
    pub config: Config,
    /// Its text, for reports.
    pub document: Document,
    /// What relative paths in it start from.
    pub directory: PathBuf,
}

/// The text of a configuration.
#[derive(Debug)]
pub struct Document(String);

impl Document {
    /// The report of `problems`.
    #[must_use]
    pub fn render(&self, problems: &Problems) -> String {
        let line = |problem: &super::problem::Problem| {
            let word = if problem.severity == Severity::Error { "error" } else { "warning" };
            format!("{}: {word}: {}: {}\n", self.0, problem.path, problem.message)
        };
        problems.0.iter().map(line).collect()
    }
}

/// Why a configuration could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no such file.
    #[error("{0}")]
    Missing(String),
    /// It has errors.
    #[error("{0}")]
    Invalid(String),
}

/// Reads a file.
///
/// # Errors
/// The report of what is wrong.
pub fn load(path: &Path, environment: impl Fn(&str) -> Option<String>) -> Result<Loaded, LoadError> {
    let name = path.display().to_string();
    let text =
        std::fs::read_to_string(path).map_err(|error| LoadError::Missing(format!("{name}: {error}")))?;
    parse(&name, &text, environment)
}

/// Reads a text.
///
/// # Errors
/// The report of what is wrong.
pub fn parse(
    name: &str,
    text: &str,
    _environment: impl Fn(&str) -> Option<String>,
) -> Result<Loaded, LoadError> {
    let config =
        toml::from_str(text).map_err(|error| LoadError::Invalid(format!("{name}: error: {error}")))?;
    Ok(Loaded { config, document: Document(name.to_owned()), directory: PathBuf::new() })
}
