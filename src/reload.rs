//! The configuration is read again: on SIGHUP, and when its file or one that it depends on has changed.
//!
//! It is compiled as a whole before anything is swapped; a configuration that cannot be used changes nothing.

use crate::clock::Clock;
use crate::compile::{Compiled, World, compile};
use crate::config::Config;
use crate::config::load::{LoadError, load};
use crate::config::problem::Problems;
use crate::shutdown::Hangups;
use crate::stamp::Stamp;
use crate::standing::{Making, Standing};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How long they must have stayed as they are before they are read: who writes them in pieces is given the time.
const SETTLE: Duration = Duration::from_millis(100);

/// A configuration that was read again, ready to be swapped in.
pub struct Fresh {
    /// What was written.
    pub config: Config,
    /// What it was compiled to.
    pub compiled: Compiled,
    /// What is suspicious about it, as text; empty if nothing is.
    pub warnings: String,
}

/// Watches the files of a configuration, and reads them again.
pub struct Reloader {
    file: Option<PathBuf>,
    watched: Vec<(PathBuf, Option<Stamp>)>,
    hangups: Hangups,
    clock: Arc<dyn Clock>,
    bypass: bool,
}

impl Reloader {
    /// Watches `file` and the `others` that it depends on; without a file there is nothing to be read again.
    #[must_use]
    pub fn new(
        file: Option<PathBuf>,
        others: Vec<PathBuf>,
        hangups: Hangups,
        (clock, bypass): (Arc<dyn Clock>, bool),
    ) -> Self {
        let mut reloader = Self { file, watched: Vec::new(), hangups, clock, bypass };
        reloader.watch(others);
        reloader
    }

    /// Ends when the configuration is to be read again.
    pub async fn wanted(&mut self) {
        loop {
            tokio::select! {
                () = self.hangups.next() => {
                    if self.file.is_some() {
                        return;
                    }
                    tracing::warn!("SIGHUP: this configuration has no file that could be read again");
                }
                () = changed(&self.watched) => return,
            }
        }
    }

    /// Reads and compiles the configuration; what did not change is taken over from `before`.
    ///
    /// # Errors
    /// The report of everything that is wrong with it.
    pub fn read(&mut self, before: Standing) -> Result<Fresh, String> {
        let file = self.file.clone().unwrap_or_default();
        let making = Arc::new(Making::after(before));
        // Stamps are taken before the files are read: what is written meanwhile is noticed later.
        let own = Stamp::of(&file);
        let read = self.read_in(&file, &making);
        let mut files = making.files();
        if read.is_err() {
            // What is wrong may be wrong because of them, though this text does not get so far as to name them.
            files.extend(self.watched.iter().skip(1).map(|(path, _)| path.clone()));
            files.sort();
            files.dedup();
        }
        self.watch(files);
        if let Some((_, stamp)) = self.watched.first_mut() {
            *stamp = own;
        }
        read
    }

    fn read_in(&self, file: &Path, making: &Arc<Making>) -> Result<Fresh, String> {
        let world = World::of_process(Arc::clone(&self.clock), self.bypass);
        let world = World { making: Arc::clone(making), ..world };
        let loaded = load(file, |name| std::env::var(name).ok()).map_err(|error| match error {
            LoadError::Invalid { rest: Some(rest), .. } => {
                let mut problems = Problems::default();
                drop(compile(&rest.loaded().config, &world, &mut problems));
                rest.report(problems)
            }
            other @ (LoadError::Unreadable { .. } | LoadError::Invalid { rest: None, .. }) => {
                other.to_string()
            }
        })?;
        let mut problems = Problems::default();
        let compiled = compile(&loaded.config, &world, &mut problems);
        let report = loaded.document.render(&problems);
        match compiled {
            Some(compiled) if !problems.has_errors() => {
                let warnings = if problems.0.is_empty() { String::new() } else { report };
                Ok(Fresh { config: loaded.config, compiled, warnings })
            }
            Some(_) | None => Err(report),
        }
    }

    fn watch(&mut self, others: Vec<PathBuf>) {
        let Some(file) = &self.file else { return };
        let stamped = |path: PathBuf| {
            let stamp = Stamp::of(&path);
            (path, stamp)
        };
        self.watched = std::iter::once(file.clone()).chain(others).map(stamped).collect();
    }
}

/// Ends when one of the files is not what it was, and has been the same for a moment.
async fn changed(watched: &[(PathBuf, Option<Stamp>)]) {
    if watched.is_empty() {
        return std::future::pending().await;
    }
    let now = || watched.iter().map(|(path, _)| Stamp::of(path)).collect::<Vec<_>>();
    loop {
        sleep(LOOK).await;
        let mut latest = now();
        if watched.iter().zip(&latest).all(|((_, before), now)| before == now) {
            continue;
        }
        loop {
            sleep(SETTLE).await;
            let settled = now();
            if settled == latest {
                return;
            }
            latest = settled;
        }
    }
}
