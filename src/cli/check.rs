//! `sidegate check`, and what every other command does first: read the configuration and report what is wrong.

use crate::app::App;
use crate::config::load::{LoadError, Loaded, load};
use crate::config::problem::Problems;
use crate::console::{Console, Status};
use crate::explain::Explainer;
use std::path::Path;

/// Reads and compiles a configuration; errors and warnings go to standard error.
pub(super) fn check(file: &Path, bypass: bool, console: &mut Console<'_>) -> Result<App, Status> {
    let loaded = read(file, console, |loaded| App::build(loaded, bypass).1)?;
    compiled(&loaded, App::build(&loaded, bypass), console)
}

/// Reads a configuration. What `compile` finds in the rest of one that is wrong is reported with what is wrong.
fn read(
    file: &Path,
    console: &mut Console<'_>,
    compile: impl Fn(&Loaded) -> Problems,
) -> Result<Loaded, Status> {
    load(file, |name| std::env::var(name).ok()).map_err(|error| {
        let (report, status) = match &error {
            LoadError::Unreadable { .. } => (error.to_string(), Status::Missing),
            LoadError::Invalid { report, rest: None } => (report.clone(), Status::Configuration),
            // What is wrong with the form must not hide what is wrong with the meaning.
            LoadError::Invalid { rest: Some(rest), .. } => {
                (rest.report(compile(rest.loaded())), Status::Configuration)
            }
        };
        console.complain(report.trim_end());
        status
    })
}

/// Reads and compiles a configuration for explaining; warnings are left to `check`.
pub(super) fn explainer(file: &Path, console: &mut Console<'_>) -> Result<Explainer, Status> {
    let loaded = read(file, console, |loaded| Explainer::build(loaded).1)?;
    match Explainer::build(&loaded) {
        (Some(built), _) => Ok(built),
        faulty => compiled(&loaded, faulty, console),
    }
}

/// Reports what was found on compiling.
fn compiled<T>(
    loaded: &Loaded,
    (compiled, problems): (Option<T>, Problems),
    console: &mut Console<'_>,
) -> Result<T, Status> {
    if !problems.0.is_empty() {
        console.complain(loaded.document.render(&problems).trim_end());
    }
    compiled.ok_or(Status::Configuration)
}
