//! Reading a key file again when it changes, on the control runtime.

use super::KeyFile;
use crate::config::key_file::{self, KeyFileError, KeyRow};
use crate::stamp::Stamp;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How long a file must have stayed as it is before it is read: who writes it in pieces is given the time.
const SETTLE: Duration = Duration::from_millis(100);

/// How much of a report is logged.
const LOGGED_LINES: usize = 20;

impl KeyFile {
    /// Reads the file again whenever it has changed, for as long as it is polled. One that cannot be used is logged once and
    /// counted, and changes nothing.
    pub async fn follow(self: Arc<Self>) {
        let mut seen = self.opened;
        let mut complaint = None;
        loop {
            tokio::time::sleep(LOOK).await;
            let now = Stamp::of(&self.path);
            if now == seen {
                continue;
            }
            tokio::time::sleep(SETTLE).await;
            if now != Stamp::of(&self.path) {
                continue;
            }
            match self.read_again().await {
                Ok(rows) => {
                    let keys = self.take_over(rows);
                    self.reloads.successes.fetch_add(1, Ordering::Relaxed);
                    tracing::info!(authenticator = &*self.authenticator, keys, "the key file was read again");
                    (seen, complaint) = (now, None);
                }
                Err(error) => {
                    let report = error.to_string();
                    // What could not be read may be readable at the next look, though it has not changed.
                    if matches!(error, KeyFileError::Invalid(_)) {
                        seen = now;
                    }
                    if complaint.as_ref() != Some(&report) {
                        self.complain(&report);
                    }
                    complaint = Some(report);
                }
            }
        }
    }

    async fn read_again(&self) -> Result<Vec<KeyRow>, KeyFileError> {
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || key_file::load(&path)).await;
        read.unwrap_or_else(|error| Err(KeyFileError::Unreadable(error.to_string())))
    }

    fn complain(&self, report: &str) {
        self.reloads.errors.fetch_add(1, Ordering::Relaxed);
        let error = report.lines().take(LOGGED_LINES).collect::<Vec<_>>().join("\n");
        let authenticator = &*self.authenticator;
        tracing::warn!(
            authenticator,
            error,
            "the key file has changed, but cannot be used; the old keys stay"
        );
    }
}
