//! What outlives a configuration as long as whatever it was made of stays the same: key sets, authorities and their answers,
//! limits that all workers share.
//!
//! Compiling asks for each of these by name. If the configuration before had one of that name that was made of the same, it
//! is handed on with everything it knows; else a new one is made. What nobody has asked for ends with the old configuration.

use aws_lc_rs::digest::{Context, SHA256};
use serde::Serialize;
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::AbortHandle;

/// What must run on the control runtime as long as the thing that it belongs to.
pub type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The number of the next thing that is made.
static SERIAL: AtomicU64 = AtomicU64::new(0);

/// All that a thing is made of, condensed: its configuration, its secrets, the files that it was read from.
pub struct Fingerprint(Context);

impl Fingerprint {
    /// Of a part of the configuration.
    #[must_use]
    pub fn of(written: &impl Serialize) -> Self {
        let own = Self(Context::new(&SHA256));
        match serde_json::to_vec(written) {
            Ok(text) => own.and(&text),
            // What cannot be compared is never the same.
            Err(_) => own.and_serial(next_serial()),
        }
    }

    /// And of these bytes.
    #[must_use]
    pub fn and(mut self, bytes: &[u8]) -> Self {
        // The length, lest two parts be split in another place.
        self.0.update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        self.0.update(bytes);
        self
    }

    /// And of another thing.
    #[must_use]
    pub fn and_serial(self, serial: u64) -> Self {
        self.and(&serial.to_be_bytes())
    }

    /// And of what a file holds; one that cannot be read is as good as an empty one.
    #[must_use]
    pub fn and_file(self, path: &Path) -> Self {
        self.and(&std::fs::read(path).unwrap_or_default())
    }

    fn finish(self) -> Box<[u8]> {
        self.0.finish().as_ref().into()
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Fingerprint").finish_non_exhaustive()
    }
}

fn next_serial() -> u64 {
    SERIAL.fetch_add(1, Ordering::Relaxed)
}

/// A thing that was made, or handed on.
#[derive(Debug)]
pub struct Kept<T> {
    /// The thing.
    pub value: Arc<T>,
    /// Its number: another thing of the same name has another one.
    pub serial: u64,
}

/// What a thing needs to run beside everything else.
enum Task {
    None,
    Due(Running),
    Begun(AbortHandle),
}

struct Thing {
    made_of: Box<[u8]>,
    serial: u64,
    value: Arc<dyn Any + Send + Sync>,
    task: Mutex<Task>,
}

impl Thing {
    fn task(&self) -> MutexGuard<'_, Task> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Thing {
    fn drop(&mut self) {
        if let Task::Begun(handle) = &*self.task() {
            handle.abort();
        }
    }
}

/// Everything of one configuration that may outlive it.
#[derive(Clone, Default)]
pub struct Standing(BTreeMap<String, Arc<Thing>>);

impl fmt::Debug for Standing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

impl Standing {
    /// Begins what must run for it and does not run yet, inside a runtime.
    pub fn begin(&self) {
        for thing in self.0.values() {
            let mut task = thing.task();
            *task = match std::mem::replace(&mut *task, Task::None) {
                Task::Due(running) => Task::Begun(tokio::spawn(running).abort_handle()),
                other @ (Task::None | Task::Begun(_)) => other,
            };
        }
    }

    /// Nothing of it is to run that does not run yet: whoever waits for it is told so at once.
    pub fn forget(&self) {
        for thing in self.0.values() {
            let mut task = thing.task();
            if matches!(*task, Task::Due(_)) {
                *task = Task::None;
            }
        }
    }
}

/// The making of a configuration's things, with those at hand that the one before had.
#[derive(Debug, Default)]
pub struct Making {
    before: Standing,
    now: Mutex<Standing>,
    files: Mutex<BTreeSet<PathBuf>>,
}

impl Making {
    /// With what an earlier configuration had.
    #[must_use]
    pub fn after(before: Standing) -> Self {
        Self { before, ..Self::default() }
    }

    /// The thing of that name: the one there was, if it was made of the same, else a new one.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn keep<T: Any + Send + Sync, E>(
        &self,
        name: impl Into<String>,
        made_of: Fingerprint,
        make: impl FnOnce() -> Result<(Arc<T>, Option<Running>), E>,
    ) -> Result<Kept<T>, E> {
        let (name, made_of) = (name.into(), made_of.finish());
        if let Some(thing) = self.before.0.get(&name).filter(|thing| thing.made_of == made_of)
            && let Ok(value) = Arc::clone(&thing.value).downcast::<T>()
        {
            self.now().0.insert(name, Arc::clone(thing));
            return Ok(Kept { value, serial: thing.serial });
        }
        let (value, running) = make()?;
        let serial = next_serial();
        let task = Mutex::new(running.map_or(Task::None, Task::Due));
        let held: Arc<dyn Any + Send + Sync> = Arc::<T>::clone(&value);
        let thing = Thing { made_of, serial, value: held, task };
        self.now().0.insert(name, Arc::new(thing));
        Ok(Kept { value, serial })
    }

    /// The same for what can always be made.
    pub fn keep_always<T: Any + Send + Sync>(
        &self,
        name: impl Into<String>,
        made_of: Fingerprint,
        make: impl FnOnce() -> (Arc<T>, Option<Running>),
    ) -> Kept<T> {
        match self.keep(name, made_of, || Ok::<_, std::convert::Infallible>(make())) {
            Ok(kept) => kept,
            Err(never) => match never {},
        }
    }

    /// The configuration depends on what that file holds: when it changes, everything is read again.
    pub fn depends_on(&self, file: &Path) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).insert(file.to_owned());
    }

    /// Everything that was asked for.
    #[must_use]
    pub fn finish(&self) -> Standing {
        self.now().clone()
    }

    /// The files that the configuration depends on.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn now(&self) -> MutexGuard<'_, Standing> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Fingerprint, Making, Running};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn running() -> Running {
        Box::pin(async {})
    }

    fn number(making: &Making, written: &str, value: u32) -> (u32, u64) {
        let kept = making.keep_always("a", Fingerprint::of(&written), || (Arc::new(value), Some(running())));
        (*kept.value, kept.serial)
    }

    #[test]
    fn the_same_is_handed_on_and_anything_else_is_made_anew() {
        let first = Making::default();
        let one = number(&first, "x", 1);
        let second = Making::after(first.finish());
        assert_eq!(number(&second, "x", 2), one);
        let third = Making::after(second.finish());
        let other = number(&third, "y", 3);
        assert_eq!(other.0, 3);
        assert_ne!(other.1, one.1);
        let of_another_type = Making::after(third.finish());
        let kept = of_another_type.keep_always("a", Fingerprint::of(&"y"), || (Arc::new("text"), None));
        assert_eq!(*kept.value, "text");
    }

    #[test]
    fn what_a_thing_is_made_of_is_told_apart_part_by_part() {
        let of = |parts: &[&str]| {
            let start = Fingerprint::of(&0);
            parts.iter().fold(start, |print, part| print.and(part.as_bytes())).finish()
        };
        assert_eq!(of(&["ab", "c"]), of(&["ab", "c"]));
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(Fingerprint::of(&0).and_serial(1).finish(), Fingerprint::of(&0).and_serial(2).finish());
    }

    #[tokio::test]
    async fn what_runs_for_a_thing_ends_with_it() {
        struct Flag(Arc<AtomicBool>);
        impl Drop for Flag {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let ended = Arc::new(AtomicBool::new(false));
        let flag = Flag(Arc::clone(&ended));
        let running: Running = Box::pin(async move {
            let _flag = flag;
            std::future::pending::<()>().await;
        });
        let making = Making::default();
        making.keep_always("a", Fingerprint::of(&0), || (Arc::new(0), Some(running)));
        let standing = making.finish();
        drop(making);
        standing.begin();
        standing.begin();
        let next = Making::after(standing.clone());
        next.keep_always("a", Fingerprint::of(&0), || (Arc::new(1), None));
        let kept = next.finish();
        drop((standing, next));
        tokio::task::yield_now().await;
        assert!(!ended.load(Ordering::Relaxed));
        drop(kept);
        tokio::task::yield_now().await;
        assert!(ended.load(Ordering::Relaxed));
    }
}
