//! A file that begins anew every day (UTC), and of which the old ones are kept for a while.

use super::day;
use crate::clock::{Clock, UnixTime};
use crate::config::log::{Audit as Written, Rotate};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// Only whoever runs the gate reads what is in it.
const MODE: u32 = 0o600;

/// How often is looked whether somebody else has moved the file away.
const LOOK: Duration = Duration::from_secs(1);

/// A file that begins anew every day. Yesterday's `audit.log` is `audit-2026-11-25.log`.
pub struct RotatingFile {
    path: PathBuf,
    daily: bool,
    keep: usize,
    clock: Arc<dyn Clock>,
    file: File,
    /// The day of what is in it.
    day: String,
    looked: UnixTime,
    /// A line was cut off in the middle: the next one must not be taken for its end.
    torn: bool,
}

impl RotatingFile {
    /// Opens it, after what is in it.
    ///
    /// # Errors
    /// It cannot be opened for writing.
    pub fn open(written: &Written, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let path = written.file.clone();
        let now = clock.now();
        let file = append(&path)?;
        let metadata = file.metadata()?;
        let modified = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let modified = UnixTime::default().plus(modified);
        let day = if metadata.len() == 0 { day(now) } else { day(modified) };
        let (daily, keep) = (written.rotate == Rotate::Daily, usize::from(written.keep));
        let mut opened = Self { path, daily, keep, clock, file, day, looked: now, torn: false };
        opened.rotate_if_due(now)?;
        Ok(opened)
    }

    fn rotate_if_due(&mut self, now: UnixTime) -> io::Result<()> {
        let today = day(now);
        if !self.daily || self.day == today {
            return Ok(());
        }
        let old = self.unused_name()?;
        std::fs::rename(&self.path, old)?;
        self.file = append(&self.path)?;
        self.day = today;
        self.torn = false;
        self.prune();
        Ok(())
    }

    /// A name for what is in it; a day can have several, if a clock was set.
    fn unused_name(&self) -> io::Result<PathBuf> {
        for number in 0..1000_u32 {
            let number = if number == 0 { String::new() } else { format!(".{number}") };
            let candidate = self.sibling(&format!("{}{number}", self.day));
            if !candidate.try_exists()? {
                return Ok(candidate);
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    fn sibling(&self, day: &str) -> PathBuf {
        let (stem, extension) = names(&self.path);
        self.path.with_file_name(format!("{stem}-{day}{extension}"))
    }

    /// Removes the oldest of the files that were made here, and no others.
    fn prune(&self) {
        let (stem, extension) = names(&self.path);
        let folder =
            self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        let own = |name: &str| {
            let day = name.strip_prefix(&stem)?.strip_prefix('-')?.strip_suffix(&extension)?;
            is_day(day).then(|| day.to_owned())
        };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut days: Vec<(String, String)> = names.filter_map(|name| Some((own(&name)?, name))).collect();
        days.sort();
        let surplus = days.len().saturating_sub(self.keep);
        for (_, name) in days.into_iter().take(surplus) {
            if let Err(error) = std::fs::remove_file(folder.join(&name)) {
                tracing::warn!(%error, file = name, "an old audit log cannot be removed");
            }
        }
    }

    /// Opens it anew if somebody else has moved it away, as logrotate does.
    fn reopen_if_moved(&mut self, now: UnixTime) -> io::Result<()> {
        if now < self.looked.plus(LOOK) && self.looked <= now {
            return Ok(());
        }
        self.looked = now;
        let own = self.file.metadata()?;
        let there = std::fs::metadata(&self.path).ok();
        if there.is_none_or(|there| (there.dev(), there.ino()) != (own.dev(), own.ino())) {
            self.file = append(&self.path)?;
            (self.day, self.torn) = (day(now), false);
        }
        Ok(())
    }
}

impl Write for RotatingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    /// Writes whole lines. If they cannot be written as a whole, they are lost.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let now = self.clock.now();
        self.reopen_if_moved(now)?;
        self.rotate_if_due(now)?;
        if self.torn {
            self.file.write_all(b"\n")?;
        }
        self.torn = true;
        self.file.write_all(bytes)?;
        self.torn = false;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(MODE).open(path)
}

/// The name without its extension, and the extension with its dot.
fn names(path: &Path) -> (String, String) {
    let text = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
    let extension = text(path.extension()).map(|extension| format!(".{extension}"));
    (text(path.file_stem()).unwrap_or_default(), extension.unwrap_or_default())
}

/// `2026-11-26`, or `2026-11-26.1`.
fn is_day(text: &str) -> bool {
    let (day, number) = text.split_once('.').unwrap_or((text, "0"));
    let shape: String =
        day.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect();
    shape == "0000-00-00" && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::{RotatingFile, is_day};
    use crate::clock::{Clock, UnixTime};
    use crate::config::log::{Audit, Rotate};
    use std::io::Write as _;
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// 2026-11-26T23:59:59Z.
    const LATE: u64 = 1_795_737_599;

    #[derive(Debug)]
    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn now(&self) -> UnixTime {
            UnixTime::from_seconds(self.0.load(Ordering::SeqCst))
        }
    }

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("sidegate-audit-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn files(&self) -> Vec<(String, String)> {
            let mut files: Vec<_> = std::fs::read_dir(&self.0)
                .unwrap()
                .map(|entry| entry.unwrap())
                .map(|entry| {
                    let name = entry.file_name().into_string().unwrap();
                    (name, std::fs::read_to_string(entry.path()).unwrap())
                })
                .collect();
            files.sort();
            files
        }

        fn names(&self) -> Vec<String> {
            self.files().into_iter().map(|(name, _)| name).collect()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).ok();
        }
    }

    fn opened(folder: &Folder, clock: &Arc<Hand>, keep: u16) -> RotatingFile {
        let written = Audit { file: folder.0.join("audit.log"), rotate: Rotate::Daily, keep };
        let clock: Arc<dyn Clock> = Arc::<Hand>::clone(clock);
        RotatingFile::open(&written, clock).unwrap()
    }

    #[test]
    fn every_day_has_its_own_file_and_only_its_own_are_removed() {
        let folder = Folder::new("days");
        let clock = Arc::new(Hand(AtomicU64::new(LATE)));
        std::fs::write(folder.0.join("audit-notes.log"), "mine").unwrap();
        let mut file = opened(&folder, &clock, 2);
        for number in 0..5 {
            file.write_all(format!("{number}\n").as_bytes()).unwrap();
            clock.0.fetch_add(if number == 0 { 1 } else { 86_400 }, Ordering::SeqCst);
        }
        let files = folder.files();
        let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        assert_eq!(
            files,
            [
                ("audit-2026-11-28.log", "2\n"),
                ("audit-2026-11-29.log", "3\n"),
                ("audit-notes.log", "mine"),
                ("audit.log", "4\n"),
            ]
        );
    }

    #[test]
    fn a_restart_goes_on_and_a_moved_file_is_opened_anew() {
        let folder = Folder::new("restart");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let clock = Arc::new(Hand(AtomicU64::new(now)));
        opened(&folder, &clock, 9).write_all(b"one\n").unwrap();
        let mut file = opened(&folder, &clock, 9);
        file.write_all(b"two\n").unwrap();
        assert_eq!(folder.files(), [("audit.log".to_owned(), "one\ntwo\n".to_owned())]);
        std::fs::rename(folder.0.join("audit.log"), folder.0.join("audit.log.1")).unwrap();
        clock.0.fetch_add(2, Ordering::SeqCst);
        file.write_all(b"three\n").unwrap();
        assert_eq!(folder.names(), ["audit.log", "audit.log.1"]);
        assert_eq!(std::fs::read_to_string(folder.0.join("audit.log")).unwrap(), "three\n");
        clock.0.fetch_add(3 * 86_400, Ordering::SeqCst);
        drop(file);
        opened(&folder, &clock, 9).write_all(b"four\n").unwrap();
        assert_eq!(
            folder.names().len(),
            3,
            "what is of another day is moved at the start: {:?}",
            folder.names()
        );
    }

    #[test]
    fn names_of_days_are_told_from_others() {
        assert!(["2026-11-26", "2026-11-26.1", "0000-00-00.12"].into_iter().all(is_day));
        assert!(
            !["", "2026-11-2", "2026-11-26.", "2026-11-26.x", "notes", "2026-11-26-1"]
                .into_iter()
                .any(is_day)
        );
    }
}
