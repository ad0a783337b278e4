//! The signature algorithms: their registered names, and the kind of key that each works with.

use crate::config::authenticator::Algorithm;
use aws_lc_rs::signature::{self, RsaParameters};
use aws_lc_rs::{digest, hmac};

/// Every algorithm that works with a public key, in the order of the default.
pub const ASYMMETRIC: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// The kinds of keys; each has algorithms of its own, and no two share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// RSA, both paddings.
    Rsa,
    /// P-256.
    P256,
    /// P-384.
    P384,
    /// Ed25519.
    Ed25519,
    /// A shared secret.
    Hmac,
}

/// The family whose keys an algorithm works with.
#[must_use]
pub const fn family(algorithm: Algorithm) -> Family {
    match algorithm {
        Algorithm::RS256
        | Algorithm::RS384
        | Algorithm::RS512
        | Algorithm::PS256
        | Algorithm::PS384
        | Algorithm::PS512 => Family::Rsa,
        Algorithm::ES256 => Family::P256,
        Algorithm::ES384 => Family::P384,
        Algorithm::EdDSA => Family::Ed25519,
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => Family::Hmac,
    }
}

/// The algorithm of a registered name (RFC 7518 §3.1, RFC 8037 §3.1, RFC 9864 §2.2); letter case counts, `none` is unknown.
#[must_use]
pub fn named(name: &str) -> Option<Algorithm> {
    Some(match name {
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        "EdDSA" | "Ed25519" => Algorithm::EdDSA,
        "HS256" => Algorithm::HS256,
        "HS384" => Algorithm::HS384,
        "HS512" => Algorithm::HS512,
        _ => return None,
    })
}

/// How AWS-LC verifies an RSA algorithm; `None` for the others.
pub(super) fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    match algorithm {
        Algorithm::RS256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
        Algorithm::ES256
        | Algorithm::ES384
        | Algorithm::EdDSA
        | Algorithm::HS256
        | Algorithm::HS384
        | Algorithm::HS512 => None,
    }
}

/// The hash that an algorithm signs (RFC 7518 §3.3 to §3.5); `None` for those that take what is signed as it is.
pub(super) fn hash(algorithm: Algorithm) -> Option<&'static digest::Algorithm> {
    match algorithm {
        Algorithm::RS256 | Algorithm::PS256 | Algorithm::ES256 => Some(&digest::SHA256),
        Algorithm::RS384 | Algorithm::PS384 | Algorithm::ES384 => Some(&digest::SHA384),
        Algorithm::RS512 | Algorithm::PS512 => Some(&digest::SHA512),
        Algorithm::EdDSA | Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => None,
    }
}

/// The hash of an HMAC algorithm; `None` for the others.
pub(super) const fn mac(algorithm: Algorithm) -> Option<hmac::Algorithm> {
    match algorithm {
        Algorithm::HS256 => Some(hmac::HMAC_SHA256),
        Algorithm::HS384 => Some(hmac::HMAC_SHA384),
        Algorithm::HS512 => Some(hmac::HMAC_SHA512),
        Algorithm::RS256
        | Algorithm::RS384
        | Algorithm::RS512
        | Algorithm::PS256
        | Algorithm::PS384
        | Algorithm::PS512
        | Algorithm::ES256
        | Algorithm::ES384
        | Algorithm::EdDSA => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{ASYMMETRIC, Family, family, hash, mac, named, rsa_parameters};
    use crate::config::authenticator::Algorithm;

    #[test]
    fn names_are_exact_and_none_is_none_of_them() {
        for algorithm in ASYMMETRIC.into_iter().chain([Algorithm::HS256, Algorithm::HS384, Algorithm::HS512])
        {
            assert_eq!(named(&format!("{algorithm:?}")), Some(algorithm));
        }
        for unknown in
            ["none", "None", "NONE", "", "rs256", "RS256 ", "ES512", "ES256K", "HS1", "RS1", "EDDSA"]
        {
            assert_eq!(named(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn each_algorithm_belongs_to_one_family() {
        for algorithm in ASYMMETRIC {
            assert_ne!(family(algorithm), Family::Hmac);
            assert_eq!(family(algorithm) == Family::Rsa, rsa_parameters(algorithm).is_some());
            assert!(mac(algorithm).is_none());
            assert_eq!(hash(algorithm).is_none(), family(algorithm) == Family::Ed25519);
        }
        assert!(mac(Algorithm::HS256).is_some() && hash(Algorithm::HS256).is_none());
        assert_eq!(family(Algorithm::HS256), Family::Hmac);
    }
}
