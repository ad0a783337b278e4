//! One verification key, parsed once, that carries the algorithms it may be used with.
//!
//! Since a key knows its own algorithms, a token's `alg` can only choose among them: there is no algorithm to confuse
//! (RFC 8725 §2.1, §3.1). Signatures themselves are AWS-LC's business.

use super::algorithm::{self, Family};
use super::signed::Signed;
use crate::config::authenticator::Algorithm;
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::{self, ParsedPublicKey, RsaPublicKeyComponents};
use aws_lc_rs::{digest, hmac, rsa};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use rustls::server::ParsedCertificate;
use std::fmt;

/// The shortest shared secret in bytes: as long as the output of SHA-256 (RFC 7518 §3.2).
pub const MIN_SECRET_BYTES: usize = 32;

/// Why a key is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum KeyError {
    /// A member is missing, of the wrong type, or not canonical base64url.
    #[error("malformed")]
    Malformed,
    /// `use` is something other than `sig` (RFC 7517 §4.2).
    #[error("not meant for signatures")]
    Use,
    /// `key_ops` lacks `verify` (RFC 7517 §4.3).
    #[error("not meant for verification")]
    Operations,
    /// Its `alg` is unknown, not allowed here, or not one for this kind of key (RFC 7517 §4.4).
    #[error("its algorithm is not allowed")]
    Algorithm,
    /// A `kty` or curve that is not supported.
    #[error("not a supported kind of key")]
    Kind,
    /// A shared secret where public keys are expected (RFC 8725 §3.5).
    #[error("a shared secret among public keys")]
    Symmetric,
    /// An RSA modulus under 2048 or over 8192 bits (RFC 7518 §3.3).
    #[error("an RSA key must have 2048 to 8192 bits")]
    RsaSize,
    /// An RSA exponent that is even or under 3.
    #[error("an RSA exponent must be odd and at least 3")]
    RsaExponent,
    /// No point of the curve, a point of small order, or another number that is no key.
    #[error("not a valid public key")]
    Invalid,
    /// More keys than a set may have.
    #[error("more keys than a set may have")]
    TooMany,
    /// A shared secret that can be guessed (RFC 7518 §3.2).
    #[error("a shared secret must have at least {MIN_SECRET_BYTES} bytes")]
    SecretTooShort,
    /// A private key where the public half is expected.
    #[error("this is a private key; sidegate needs only the public half")]
    Private,
    /// No PEM, or not exactly one key in it.
    #[error("the file must hold exactly one public key or certificate in PEM")]
    Pem,
}

impl KeyError {
    /// A short name for logs and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Use => "use",
            Self::Operations => "key_ops",
            Self::Algorithm => "alg",
            Self::Kind => "kty",
            Self::Symmetric => "symmetric",
            Self::RsaSize => "rsa_size",
            Self::RsaExponent => "rsa_exponent",
            Self::Invalid => "invalid",
            Self::TooMany => "too_many",
            Self::SecretTooShort => "secret_too_short",
            Self::Private => "private",
            Self::Pem => "pem",
        }
    }
}

/// A key, ready to verify with one algorithm.
enum Scheme {
    Public(ParsedPublicKey),
    Mac(Box<hmac::Key>),
}

/// A verification key.
pub struct Key {
    kid: Option<Box<str>>,
    schemes: Vec<(Algorithm, Scheme)>,
    thumbprint: [u8; 32],
}

impl Key {
    /// A shared secret for those of `allowed` that are HMACs (RFC 7518 §3.2).
    ///
    /// # Errors
    /// If the secret is shorter than [`MIN_SECRET_BYTES`], or no HMAC is allowed.
    pub fn from_secret(secret: &[u8], allowed: &[Algorithm]) -> Result<Self, KeyError> {
        if secret.len() < MIN_SECRET_BYTES {
            return Err(KeyError::SecretTooShort);
        }
        Self::build(None, Family::Hmac, allowed, secret, |algorithm| {
            let digest = algorithm::mac(algorithm).ok_or(KeyError::Algorithm)?;
            Ok(Scheme::Mac(Box::new(hmac::Key::new(digest, secret))))
        })
    }

    /// A public key or certificate in PEM: `PUBLIC KEY` (RFC 7468 §13), `RSA PUBLIC KEY` or `CERTIFICATE`, the first of
    /// a chain. The certificate only carries the key: neither its dates nor its issuer are checked.
    ///
    /// # Errors
    /// If there is not exactly one such key, or it is not fit for any of `allowed`.
    pub fn from_pem(pem: &[u8], allowed: &[Algorithm]) -> Result<Self, KeyError> {
        if memchr::memmem::find(pem, b"PRIVATE KEY-----").is_some() {
            return Err(KeyError::Private);
        }
        let mut found = Vec::new();
        for key in SubjectPublicKeyInfoDer::pem_slice_iter(pem) {
            found.push(key.map_err(|_| KeyError::Pem)?.to_vec());
        }
        if let Some(certificate) = CertificateDer::pem_slice_iter(pem).next() {
            let certificate = certificate.map_err(|_| KeyError::Pem)?;
            let parsed = ParsedCertificate::try_from(&certificate).map_err(|_| KeyError::Invalid)?;
            found.push(parsed.subject_public_key_info().to_vec());
        }
        if memchr::memmem::find(pem, b"BEGIN RSA PUBLIC KEY-----").is_some() {
            let key = jsonwebtoken::DecodingKey::from_rsa_pem(pem).map_err(|_| KeyError::Pem)?;
            found.push(key.try_get_as_bytes().map_err(|_| KeyError::Pem)?.to_vec());
        }
        match found.as_slice() {
            [der] => Self::from_der(der, allowed),
            _ => Err(KeyError::Pem),
        }
    }

    fn from_der(der: &[u8], allowed: &[Algorithm]) -> Result<Self, KeyError> {
        if let Ok(key) = rsa::PublicKey::from_der(der) {
            let components = RsaPublicKeyComponents::<Vec<u8>>::from(&key);
            return Self::rsa(None, &components.n, &components.e, allowed);
        }
        let curves: [(Family, &'static dyn signature::VerificationAlgorithm); 3] = [
            (Family::P256, &signature::ECDSA_P256_SHA256_FIXED),
            (Family::P384, &signature::ECDSA_P384_SHA384_FIXED),
            (Family::Ed25519, &signature::ED25519),
        ];
        for (family, scheme) in curves {
            if let Ok(key) = ParsedPublicKey::new(scheme, der) {
                return Self::curve(None, family, &key, allowed);
            }
        }
        Err(KeyError::Kind)
    }

    /// An RSA key from its big-endian modulus and exponent (RFC 7518 §6.3.1); leading zeros are tolerated.
    ///
    /// # Errors
    /// If the numbers are out of range, or none of `allowed` is an RSA algorithm.
    pub fn rsa(
        kid: Option<&str>,
        modulus: &[u8],
        exponent: &[u8],
        allowed: &[Algorithm],
    ) -> Result<Self, KeyError> {
        let (n, e) = (without_leading_zeros(modulus), without_leading_zeros(exponent));
        if !(2048..=8192).contains(&bits(n)) {
            return Err(KeyError::RsaSize);
        }
        let odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
        if !odd(e) || e == [1] {
            return Err(KeyError::RsaExponent);
        }
        if !odd(n) {
            return Err(KeyError::Invalid);
        }
        let components = RsaPublicKeyComponents { n, e };
        let any = components.to_parsed_public_key(&signature::RSA_PKCS1_2048_8192_SHA256);
        let material = any.map_err(|_| KeyError::Invalid)?;
        Self::build(kid, Family::Rsa, allowed, material.as_ref(), |algorithm| {
            let parameters = algorithm::rsa_parameters(algorithm).ok_or(KeyError::Algorithm)?;
            let parsed = components.to_parsed_public_key(parameters);
            parsed.map(Scheme::Public).map_err(|_| KeyError::Invalid)
        })
    }

    /// A key on P-256 or P-384 from its uncompressed point, or an Ed25519 key from its 32 bytes (RFC 7518 §6.2.1,
    /// RFC 8037 §2).
    ///
    /// # Errors
    /// If it is no point of the curve, or `allowed` lacks the curve's algorithm.
    pub fn point(
        kid: Option<&str>,
        family: Family,
        point: &[u8],
        allowed: &[Algorithm],
    ) -> Result<Self, KeyError> {
        let scheme: &'static dyn signature::VerificationAlgorithm = match family {
            Family::P256 => &signature::ECDSA_P256_SHA256_FIXED,
            Family::P384 => &signature::ECDSA_P384_SHA384_FIXED,
            Family::Ed25519 => &signature::ED25519,
            Family::Rsa | Family::Hmac => return Err(KeyError::Kind),
        };
        let key = ParsedPublicKey::new(scheme, point).map_err(|_| KeyError::Invalid)?;
        Self::curve(kid, family, &key, allowed)
    }

    fn curve(
        kid: Option<&str>,
        family: Family,
        key: &ParsedPublicKey,
        allowed: &[Algorithm],
    ) -> Result<Self, KeyError> {
        let material = AsDer::as_der(key).map_err(|_| KeyError::Invalid)?;
        if family == Family::Ed25519 && has_small_order(material.as_ref()) {
            return Err(KeyError::Invalid);
        }
        Self::build(kid, family, allowed, material.as_ref(), |_| Ok(Scheme::Public(key.clone())))
    }

    fn build(
        kid: Option<&str>,
        of: Family,
        allowed: &[Algorithm],
        material: &[u8],
        scheme: impl Fn(Algorithm) -> Result<Scheme, KeyError>,
    ) -> Result<Self, KeyError> {
        let mut context = digest::Context::new(&digest::SHA256);
        let mut schemes = Vec::new();
        for algorithm in allowed.iter().copied().filter(|algorithm| algorithm::family(*algorithm) == of) {
            if !schemes.iter().any(|(known, _)| *known == algorithm) {
                schemes.push((algorithm, scheme(algorithm)?));
                context.update(format!("{algorithm:?},").as_bytes());
            }
        }
        if schemes.is_empty() {
            return Err(KeyError::Algorithm);
        }
        context.update(b":");
        context.update(material);
        let thumbprint = context.finish().as_ref().try_into().map_err(|_| KeyError::Invalid)?;
        Ok(Self { kid: kid.map(Into::into), schemes, thumbprint })
    }

    /// The key's id (RFC 7517 §4.5).
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Whether the key may be used with the algorithm.
    #[must_use]
    pub fn allows(&self, algorithm: Algorithm) -> bool {
        self.schemes.iter().any(|(allowed, _)| *allowed == algorithm)
    }

    /// Whether both are the same key material under the same id, for the same algorithms.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.kid == other.kid && self.thumbprint == other.thumbprint
    }

    /// What stands for the key material and its algorithms, and for no others: a SHA-256 hash.
    #[must_use]
    pub const fn thumbprint(&self) -> &[u8; 32] {
        &self.thumbprint
    }

    /// Verifies a signature (RFC 7515 §5.2). Always false for an algorithm that the key does not allow.
    #[must_use]
    pub fn verify(&self, signed: &Signed<'_>) -> bool {
        let scheme = self.schemes.iter().find(|(allowed, _)| *allowed == signed.algorithm());
        scheme.is_some_and(|(algorithm, scheme)| match scheme {
            Scheme::Public(key) if algorithm::hash(*algorithm).is_some() => {
                key.verify_digest_sig(signed.hash(), signed.signature()).is_ok()
            }
            Scheme::Public(key) => key.verify_sig(signed.input(), signed.signature()).is_ok(),
            Scheme::Mac(key) => hmac::verify(key, signed.input(), signed.signature()).is_ok(),
        })
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithms: Vec<Algorithm> = self.schemes.iter().map(|(algorithm, _)| *algorithm).collect();
        formatter
            .debug_struct("Key")
            .field("kid", &self.kid)
            .field("algorithms", &algorithms)
            .finish_non_exhaustive()
    }
}

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// The length in bits of a number without leading zeros.
fn bits(number: &[u8]) -> usize {
    let unused = number.first().map_or(0, |byte| usize::try_from(byte.leading_zeros()).unwrap_or_default());
    number.len().saturating_mul(8).saturating_sub(unused)
}

/// Whether an Ed25519 key is one of the points whose order divides 8, for which anybody can make signatures.
///
/// These are the encodings that libsodium refuses, canonical or not; the sign bit does not matter.
fn has_small_order(spki: &[u8]) -> bool {
    const ORDER_8_A: [u8; 32] = [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ];
    const ORDER_8_B: [u8; 32] = [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a,
        0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ];
    let Some((_, point)) = spki.split_last_chunk::<32>() else {
        return true;
    };
    let mut y = *point;
    let [first, middle @ .., last] = &mut y;
    *last &= 0x7f;
    // y is 0 or 1; or p − 1, p, p + 1, where p = 2^255 − 19.
    let small = *first <= 1 && middle.iter().all(|byte| *byte == 0) && *last == 0;
    let near_p = (0xec..=0xee).contains(first) && middle.iter().all(|byte| *byte == 0xff) && *last == 0x7f;
    small || near_p || y == ORDER_8_A || y == ORDER_8_B
}

#[cfg(test)]
mod tests;
