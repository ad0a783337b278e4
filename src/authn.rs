//! Who is asking: finding the credential, and establishing what it says.
//!
//! From the ground up: `token` reads what came, `algorithm`, `key` and `jwks` hold what verifies it, `keys`
//! keeps that fresh, `claims` turns claims into an identity, `jwt` puts these together, `introspection` and `remote` ask
//! for an `opinion`, `api_key` reads a file, `logout` hears of sessions that have ended, `credential` finds the token in a request and takes it out, and `cache`
//! remembers what was verified.

pub mod algorithm;
pub mod api_key;
pub mod cache;
pub mod claims;
pub mod credential;
pub mod introspection;
pub mod jwks;
pub mod jwt;
pub mod key;
pub mod keys;
pub mod logout;
pub mod opinion;
pub mod remote;
pub mod signatures;
pub mod signed;
pub mod token;

#[cfg(test)]
pub(crate) mod testing;

use crate::inquiry::Inquiry;
use api_key::KeyFile;
use credential::Places;
use jwt::Jwt;
use keys::KeyStore;
use opinion::Opinion;
use std::sync::Arc;

/// A way to establish who is asking, compiled from `[authenticators.NAME]`.
#[derive(Debug)]
pub struct Authenticator {
    /// Its name.
    pub name: Arc<str>,
    /// Where its credential is looked for.
    pub places: Arc<Places>,
    /// Whether the credential is removed before the request is forwarded.
    pub strip_credential: bool,
    /// What it does with a credential.
    pub kind: Kind,
}

/// What an authenticator does with a credential. Closed, so that the compiler lists every place that a new kind
/// touches, and an auditor sees every way in.
#[derive(Debug)]
pub enum Kind {
    /// Verifies it as a JWT with these keys.
    Jwt {
        /// What must hold of the token.
        jwt: Box<Jwt>,
        /// What it is verified with.
        keys: Arc<KeyStore>,
    },
    /// Asks the authorization server about it (RFC 7662).
    Introspection(Arc<Inquiry<Opinion>>),
    /// Asks a service about it.
    Remote(Arc<Inquiry<Opinion>>),
    /// Looks it up in a file.
    ApiKey(Arc<KeyFile>),
}
