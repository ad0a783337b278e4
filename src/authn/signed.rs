//! What a signature is over, as a verifier wants it: hashed once, however many keys and memories ask.

use super::algorithm;
use crate::config::authenticator::Algorithm;
use aws_lc_rs::digest::{self, Digest};
use std::cell::OnceCell;

/// A signature that somebody claims to have made, and what over.
#[derive(Debug)]
pub struct Signed<'a> {
    algorithm: Algorithm,
    input: &'a [u8],
    signature: &'a [u8],
    hash: OnceCell<Digest>,
}

impl<'a> Signed<'a> {
    /// `signature` over `input` (RFC 7515 §5.2).
    #[must_use]
    pub const fn new(algorithm: Algorithm, input: &'a [u8], signature: &'a [u8]) -> Self {
        Self { algorithm, input, signature, hash: OnceCell::new() }
    }

    /// The algorithm that it is said to be made with.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// What was signed.
    #[must_use]
    pub const fn input(&self) -> &'a [u8] {
        self.input
    }

    /// The signature.
    #[must_use]
    pub const fn signature(&self) -> &'a [u8] {
        self.signature
    }

    /// The hash of what was signed: the one that the algorithm signs, if it signs a hash, else SHA-256.
    #[must_use]
    pub fn hash(&self) -> &Digest {
        self.hash.get_or_init(|| {
            digest::digest(algorithm::hash(self.algorithm).unwrap_or(&digest::SHA256), self.input)
        })
    }
}
