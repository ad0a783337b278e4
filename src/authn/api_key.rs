//! API keys: listed in a file by their SHA-256, with whatever else is known about whoever holds one.
//!
//! The file is read again when it changes. Workers read the current table without a lock; an entry that did not change is
//! the same one afterwards, so that what rests on it stays, and what rests on one that changed or is gone ends at once.

mod follow;

use crate::clock::UnixTime;
use crate::config::key_file::{self, KeyFileError, KeyRow};
use crate::identity::{Attribute, BUILT_IN, Identity};
use crate::stamp::Stamp;
use arc_swap::ArcSwap;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use ipnet::IpNet;
use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What `auth_method` says of an identity that came from here.
pub const KIND: &str = "api_key";

/// Longer keys are nobody's; they are refused unhashed.
pub const MAX_KEY_BYTES: usize = 512;

/// One key's entry in the file.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// The SHA-256 of the key.
    sha256: [u8; 32],
    /// Who holds it.
    pub identity: Identity,
    /// The key's id, for the log.
    pub id: Arc<str>,
    /// When it ends.
    pub expires: Option<UnixTime>,
    /// From where it may be used; empty = anywhere.
    pub allowed_ips: Vec<IpNet>,
}

impl Entry {
    fn new(row: KeyRow, authenticator: &Arc<str>) -> Self {
        let mut identity = row.identity;
        for (attribute, value) in BUILT_IN.into_iter().zip([&**authenticator, KIND]) {
            identity.insert(attribute, Attribute::Text(value.into()));
        }
        identity.shrink();
        Self {
            sha256: row.sha256,
            identity,
            id: row.id.into(),
            expires: row.expires,
            allowed_ips: row.allowed_ips,
        }
    }

    /// Whether it may be used from that address. An IPv4-mapped address counts as the one of IPv4 (RFC 4291 §2.5.5.2).
    #[must_use]
    pub fn admits(&self, client: Option<IpAddr>) -> bool {
        let client = client.map(|client| client.to_canonical());
        self.allowed_ips.is_empty()
            || client.is_some_and(|client| self.allowed_ips.iter().any(|network| network.contains(&client)))
    }
}

/// The SHA-256 of a key. A table finds it by its first bytes; whether it is the same is told in constant time.
#[derive(Clone, Copy)]
struct Digest([u8; 32]);

impl Digest {
    fn of(key: &str) -> Option<Self> {
        digest(&SHA256, key.as_bytes()).as_ref().try_into().ok().map(Self)
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Eq for Digest {}

impl Hash for Digest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        if let Some(first) = self.0.first_chunk::<8>() {
            state.write(first);
        }
    }
}

/// The entries by the SHA-256 of their keys.
type Table = HashMap<Digest, Arc<Entry>>;

/// How the reading of a changed file went so far, for metrics.
#[derive(Debug, Default)]
pub struct Reloads {
    successes: AtomicU64,
    errors: AtomicU64,
}

impl Reloads {
    /// How often the changed file was taken over.
    #[must_use]
    pub fn successes(&self) -> u64 {
        self.successes.load(Ordering::Relaxed)
    }

    /// How often it could not be used.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }
}

/// A key file as it was last read.
pub struct KeyFile {
    authenticator: Arc<str>,
    path: PathBuf,
    /// What the file looked like before it was read for the first time.
    opened: Option<Stamp>,
    table: ArcSwap<Table>,
    reloads: Reloads,
}

impl KeyFile {
    /// Reads the file of that authenticator. [`KeyFile::follow`] keeps what was read fresh.
    ///
    /// # Errors
    /// If it cannot be read, or with everything that is wrong with it.
    pub fn open(authenticator: &str, path: PathBuf) -> Result<Self, KeyFileError> {
        let opened = Stamp::of(&path);
        let rows = key_file::load(&path)?;
        let file = Self {
            authenticator: authenticator.into(),
            path,
            opened,
            table: ArcSwap::default(),
            reloads: Reloads::default(),
        };
        file.take_over(rows);
        Ok(file)
    }

    /// The authenticator that reads it.
    #[must_use]
    pub const fn authenticator(&self) -> &Arc<str> {
        &self.authenticator
    }

    /// How the reading of the changed file went so far.
    #[must_use]
    pub const fn reloads(&self) -> &Reloads {
        &self.reloads
    }

    /// The entry of a key, if there is one; an entry that did not change is the same one after the file was read again.
    #[must_use]
    pub fn find(&self, key: &str) -> Option<Arc<Entry>> {
        if key.len() > MAX_KEY_BYTES {
            return None;
        }
        self.table.load().get(&Digest::of(key)?).map(Arc::clone)
    }

    /// Whether an entry is still there, and the same.
    #[must_use]
    pub fn holds(&self, entry: &Arc<Entry>) -> bool {
        self.table.load().get(&Digest(entry.sha256)).is_some_and(|known| Arc::ptr_eq(known, entry))
    }

    /// Replaces the table; returns how many entries there are. Entries that did not change stay the same.
    fn take_over(&self, rows: Vec<KeyRow>) -> usize {
        let before = self.table.load();
        let entry = |row: KeyRow| {
            let digest = Digest(row.sha256);
            let entry = Entry::new(row, &self.authenticator);
            let same = before.get(&digest).filter(|known| ***known == entry);
            (digest, same.map_or_else(|| Arc::new(entry), Arc::clone))
        };
        let table: Table = rows.into_iter().map(entry).collect();
        let count = table.len();
        self.table.store(Arc::new(table));
        count
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("KeyFile")
            .field("authenticator", &self.authenticator)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
