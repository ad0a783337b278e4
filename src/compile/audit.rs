//! `[log.audit]`: a file that could never be written is an error of the configuration, not of the moment.

use crate::config::Config;
use crate::config::problem::{KeyPath, Problems};
use std::fs::OpenOptions;
use std::path::Path;

/// Looks at the file without making one.
pub(super) fn check(config: &Config, problems: &mut Problems) {
    let Some(audit) = &config.log.audit else { return };
    let at = KeyPath::root("log").key("audit").key("file");
    let file = &audit.file;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        let hint = "make it first, and let it belong to whom sidegate runs as";
        return problems.error(at, format!("there is no folder {}", folder.display()), hint);
    }
    if !file.exists() {
        if std::fs::metadata(folder).is_ok_and(|folder| folder.permissions().readonly()) {
            problems.error(at, "nobody may make a file in its folder", "let sidegate write there");
        }
        return;
    }
    if let Err(error) = OpenOptions::new().append(true).open(file) {
        problems.error(
            at,
            format!("it cannot be written: {error}"),
            "name a file that this process may write",
        );
    }
}
