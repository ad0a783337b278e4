//! A private key that signs assertions, parsed once (ADR 0009), and its public half as a JWK.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Map, Value, json};
use std::fmt;
use std::io;
use std::path::Path;
use zeroize::Zeroizing;

/// How to make a key, for whoever has none that can be used.
pub const HINT: &str =
    "make one: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out assertion.pem";

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It is protected by a password.
    #[error("the key is encrypted")]
    Encrypted,
    /// There is not exactly one private key in it.
    #[error("the file must hold exactly one private key in PEM")]
    Pem,
    /// It cannot sign.
    #[error("the key is neither RSA of 2048 to 8192 bits, nor EC on P-256 or P-384, nor Ed25519")]
    Kind,
}

/// A signature could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the assertion cannot be signed")]
pub struct Unsigned;

enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ec(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

/// A key that signs.
pub struct SigningKey {
    pair: Pair,
    kid: String,
    header: String,
    jwk: Value,
}

impl SigningKey {
    /// Reads the private key of a PEM file: PKCS#8, PKCS#1 (RSA) or SEC 1 (EC).
    ///
    /// # Errors
    /// The file cannot be read, or does not hold exactly one key that can sign.
    pub fn read(path: &Path) -> Result<Self, SigningKeyError> {
        Self::from_pem(&Zeroizing::new(std::fs::read(path)?))
    }

    /// The private key of a PEM text.
    ///
    /// # Errors
    /// There is not exactly one key in it that can sign.
    pub fn from_pem(pem: &[u8]) -> Result<Self, SigningKeyError> {
        if ["BEGIN ENCRYPTED PRIVATE KEY-----", "Proc-Type: 4,ENCRYPTED"]
            .iter()
            .any(|mark| memchr::memmem::find(pem, mark.as_bytes()).is_some())
        {
            return Err(SigningKeyError::Encrypted);
        }
        let mut keys = PrivateKeyDer::pem_slice_iter(pem);
        let (Some(Ok(key)), None) = (keys.next(), keys.next()) else { return Err(SigningKeyError::Pem) };
        let pair = Pair::parse(&key).ok_or(SigningKeyError::Kind)?;
        let (algorithm, required) = pair.public();
        let kid = thumbprint(&required);
        let mut jwk = required;
        for (name, value) in [("use", "sig"), ("alg", algorithm), ("kid", &kid)] {
            jwk.insert(name.to_owned(), json!(value));
        }
        let header = json!({ "alg": algorithm, "typ": "JWT", "kid": kid }).to_string();
        Ok(Self { pair, kid, header: URL_SAFE_NO_PAD.encode(header), jwk: Value::Object(jwk) })
    }

    /// Its id: the thumbprint of RFC 7638.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The first part of a JWT that it signs, in base64url.
    #[must_use]
    pub fn header(&self) -> &str {
        &self.header
    }

    /// Its public half (RFC 7517 §4).
    #[must_use]
    pub const fn jwk(&self) -> &Value {
        &self.jwk
    }

    /// The signature of a JWS signing input (RFC 7515 §5.1).
    ///
    /// # Errors
    /// AWS-LC says no.
    pub fn sign(&self, input: &[u8]) -> Result<Vec<u8>, Unsigned> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, input, &mut signature).map_err(|_| Unsigned)?;
                Ok(signature)
            }
            Pair::Ec(pair) => {
                pair.sign(&random, input).map(|signature| signature.as_ref().to_vec()).map_err(|_| Unsigned)
            }
            Pair::Ed25519(pair) => Ok(pair.sign(input).as_ref().to_vec()),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl Pair {
    fn parse(key: &PrivateKeyDer<'_>) -> Option<Self> {
        match key {
            PrivateKeyDer::Pkcs1(der) => Self::rsa(RsaKeyPair::from_der(der.secret_pkcs1_der()).ok()?),
            PrivateKeyDer::Sec1(der) => {
                Self::ec(|curve| EcdsaKeyPair::from_private_key_der(curve, der.secret_sec1_der()).ok())
            }
            PrivateKeyDer::Pkcs8(der) => {
                let der = der.secret_pkcs8_der();
                let rsa = || RsaKeyPair::from_pkcs8(der).ok().and_then(Self::rsa);
                let ed25519 =
                    || Ed25519KeyPair::from_pkcs8(der).ok().map(|pair| Self::Ed25519(Box::new(pair)));
                rsa().or_else(|| Self::ec(|curve| EcdsaKeyPair::from_pkcs8(curve, der).ok())).or_else(ed25519)
            }
            _ => None,
        }
    }

    /// RSA under 2048 bits proves nothing any more (RFC 7518 §3.3).
    fn rsa(pair: RsaKeyPair) -> Option<Self> {
        (256..=1024).contains(&pair.public_modulus_len()).then(|| Self::Rsa(Box::new(pair)))
    }

    fn ec(parse: impl Fn(&'static EcdsaSigningAlgorithm) -> Option<EcdsaKeyPair>) -> Option<Self> {
        let pair = parse(&ECDSA_P256_SHA256_FIXED_SIGNING);
        pair.or_else(|| parse(&ECDSA_P384_SHA384_FIXED_SIGNING)).map(|pair| Self::Ec(Box::new(pair)))
    }

    /// The algorithm, and the members of the public key that RFC 7638 §3.2 and RFC 8037 §2 require, in the order of names.
    fn public(&self) -> (&'static str, Map<String, Value>) {
        match self {
            Self::Rsa(pair) => {
                let key = pair.public_key();
                let number = |number: &[u8]| URL_SAFE_NO_PAD.encode(number);
                let e = number(key.exponent().big_endian_without_leading_zero());
                let n = number(key.modulus().big_endian_without_leading_zero());
                ("RS256", members(&[("e", &e), ("kty", "RSA"), ("n", &n)]))
            }
            Self::Ec(pair) => {
                // Uncompressed: a 4, then both coordinates.
                let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
                let half = point.len().div_ceil(2);
                let (algorithm, curve) = if half == 32 { ("ES256", "P-256") } else { ("ES384", "P-384") };
                let (x, y) = point.split_at_checked(half).unwrap_or_default();
                let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
                (algorithm, members(&[("crv", curve), ("kty", "EC"), ("x", &x), ("y", &y)]))
            }
            Self::Ed25519(pair) => {
                let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
                ("EdDSA", members(&[("crv", "Ed25519"), ("kty", "OKP"), ("x", &x)]))
            }
        }
    }
}

/// The SHA-256 thumbprint of the required members of a key, in the order of names and without a space (RFC 7638 §3).
fn thumbprint(required: &Map<String, Value>) -> String {
    let text = Value::Object(required.clone()).to_string();
    URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()))
}

fn members(members: &[(&str, &str)]) -> Map<String, Value> {
    members.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect()
}

#[cfg(test)]
mod tests;
