//! `sidegate check`, and what every other command does first: read the configuration and report what is wrong.

use crate::app::App;
use crate::config::load::{LoadError, load};
use crate::console::{Console, Status};
use std::path::Path;

/// Reads and compiles a configuration; errors and warnings go to standard error.
pub(super) fn check(file: &Path, bypass: bool, console: &mut Console<'_>) -> Result<App, Status> {
    let loaded = load(file, |name| std::env::var(name).ok()).map_err(|error| {
        let (report, status) = match &error {
            LoadError::Unreadable { .. } => (error.to_string(), Status::Missing),
            LoadError::Invalid { report, rest: None } => (report.clone(), Status::Configuration),
            // What is wrong with the form must not hide what is wrong with the meaning.
            LoadError::Invalid { rest: Some(rest), .. } => {
                (rest.report(App::build(rest.loaded(), bypass).1), Status::Configuration)
            }
        };
        console.complain(report.trim_end());
        status
    })?;
    let (app, problems) = App::build(&loaded, bypass);
    if !problems.0.is_empty() {
        console.complain(loaded.document.render(&problems).trim_end());
    }
    app.ok_or(Status::Configuration)
}
