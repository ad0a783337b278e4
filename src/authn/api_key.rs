//! API keys: listed in a file by their SHA-256, with whatever else is known about whoever holds one.

use crate::clock::UnixTime;
use crate::identity::Identity;
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::Arc;

/// What `auth_method` says of an identity that came from here.
pub const KIND: &str = "api_key";

/// One key's entry in the file.
#[derive(Debug)]
pub struct Entry {
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
    /// Whether it may be used from that address.
    #[must_use]
    pub fn admits(&self, client: Option<IpAddr>) -> bool {
        self.allowed_ips.is_empty()
            || client.is_some_and(|client| self.allowed_ips.iter().any(|network| network.contains(&client)))
    }
}

/// A key file as it was last read.
#[derive(Debug)]
pub struct KeyFile;

impl KeyFile {
    /// The entry of a key, if there is one; an entry that did not change is the same one after the file was read again.
    #[must_use]
    pub fn find(&self, _key: &str) -> Option<Arc<Entry>> {
        None
    }
}
