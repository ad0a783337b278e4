//! Who is asking: finding the credential, and establishing what it says.
//!
//! From the ground up: `json` and `token` read what came, `algorithm`, `key` and `jwks` hold what verifies it, `keys`
//! keeps that fresh, `claims` turns claims into an identity, `jwt` puts these together, `credential` finds the token in a
//! request and takes it out, and `cache` remembers what was verified.

pub mod algorithm;
pub mod cache;
pub mod claims;
pub mod credential;
pub mod json;
pub mod jwks;
pub mod jwt;
pub mod key;
pub mod keys;
pub mod token;

#[cfg(test)]
mod testing;
