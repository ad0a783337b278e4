//! Signing keys of every kind, made once a process, and their public halves as JWK and PEM.

use super::tokens::base64url;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaEncoding, RsaKeyPair};
use aws_lc_rs::{hmac, rsa};
use base64::Engine as _;
use serde_json::{Value, json};
use std::sync::{Arc, OnceLock};

/// A key that can sign.
#[derive(Clone, Debug)]
pub struct Key {
    /// The `kid` under which it is published.
    pub kid: String,
    /// The algorithm that it signs with by itself.
    pub alg: &'static str,
    pair: Pair,
}

#[derive(Clone, Debug)]
enum Pair {
    Rsa(Arc<RsaKeyPair>),
    Ec(Arc<EcdsaKeyPair>),
    Ed(Arc<Ed25519KeyPair>),
    Hmac(Vec<u8>),
}

/// The asymmetric algorithms that the contract names.
pub const ASYMMETRIC: [&str; 9] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

fn rsa_pair(other: bool) -> Arc<RsaKeyPair> {
    static PAIRS: [OnceLock<Arc<RsaKeyPair>>; 2] = [OnceLock::new(), OnceLock::new()];
    let made = || Arc::new(rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap());
    Arc::clone(PAIRS[usize::from(other)].get_or_init(made))
}

impl Key {
    /// The RSA key of this process; its `kid` is "rsa".
    pub fn rsa() -> Self {
        Self { kid: "rsa".to_owned(), alg: "RS256", pair: Pair::Rsa(rsa_pair(false)) }
    }

    /// Another RSA key; its `kid` is "rsa-other".
    pub fn rsa_other() -> Self {
        Self { kid: "rsa-other".to_owned(), alg: "RS256", pair: Pair::Rsa(rsa_pair(true)) }
    }

    /// A new key on P-256; its `kid` is "p256".
    pub fn p256() -> Self {
        Self::ec("p256", "ES256", &signature::ECDSA_P256_SHA256_FIXED_SIGNING)
    }

    /// A new key on P-384; its `kid` is "p384".
    pub fn p384() -> Self {
        Self::ec("p384", "ES384", &signature::ECDSA_P384_SHA384_FIXED_SIGNING)
    }

    fn ec(kid: &str, alg: &'static str, curve: &'static signature::EcdsaSigningAlgorithm) -> Self {
        let pair = Pair::Ec(Arc::new(EcdsaKeyPair::generate(curve).unwrap()));
        Self { kid: kid.to_owned(), alg, pair }
    }

    /// A new Ed25519 key; its `kid` is "ed25519".
    pub fn ed25519() -> Self {
        let pair = Pair::Ed(Arc::new(Ed25519KeyPair::generate().unwrap()));
        Self { kid: "ed25519".to_owned(), alg: "EdDSA", pair }
    }

    /// A shared secret.
    pub fn secret(secret: impl AsRef<[u8]>) -> Self {
        Self { kid: "secret".to_owned(), alg: "HS256", pair: Pair::Hmac(secret.as_ref().to_vec()) }
    }

    pub fn kid(mut self, kid: &str) -> Self {
        kid.clone_into(&mut self.kid);
        self
    }

    /// The same key for another algorithm of its family.
    pub fn alg(mut self, alg: &'static str) -> Self {
        self.alg = alg;
        self
    }

    /// The signature of `input` under the key's algorithm.
    pub fn sign(&self, input: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let encoding: &dyn RsaEncoding = match self.alg {
                    "RS256" => &signature::RSA_PKCS1_SHA256,
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    other => panic!("{other} is none of RSA's"),
                };
                let mut bytes = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, input, &mut bytes).unwrap();
                bytes
            }
            Pair::Ec(pair) => pair.sign(&random, input).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(input).as_ref().to_vec(),
            Pair::Hmac(secret) => {
                let algorithm = match self.alg {
                    "HS256" => hmac::HMAC_SHA256,
                    "HS384" => hmac::HMAC_SHA384,
                    "HS512" => hmac::HMAC_SHA512,
                    other => panic!("{other} is none of HMAC's"),
                };
                hmac::sign(&hmac::Key::new(algorithm, secret), input).as_ref().to_vec()
            }
        }
    }

    /// The public half as RFC 7517 has it.
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Rsa(pair) => {
                let (modulus, exponent) = rsa_numbers(pair.public_key().as_ref());
                json!({ "kty": "RSA", "n": base64url(&modulus), "e": base64url(&exponent) })
            }
            Pair::Ec(pair) => {
                // Uncompressed: 4, x, y.
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let curve = if x.len() == 32 { "P-256" } else { "P-384" };
                json!({ "kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y) })
            }
            Pair::Ed(pair) => {
                let x = base64url(pair.public_key().as_ref());
                json!({ "kty": "OKP", "crv": "Ed25519", "x": x })
            }
            Pair::Hmac(secret) => json!({ "kty": "oct", "k": base64url(secret) }),
        };
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk
    }

    /// The public half as a PEM file (`SubjectPublicKeyInfo`).
    pub fn public_pem(&self) -> String {
        let der: PublicKeyX509Der<'_> = match &self.pair {
            Pair::Rsa(pair) => pair.public_key().as_der().unwrap(),
            Pair::Ec(pair) => pair.public_key().as_der().unwrap(),
            Pair::Ed(pair) => pair.public_key().as_der().unwrap(),
            Pair::Hmac(_) => panic!("a secret has no public half"),
        };
        pem("PUBLIC KEY", der.as_ref())
    }

    /// The private half as a PEM file (PKCS#8).
    pub fn private_pem(&self) -> String {
        match &self.pair {
            Pair::Rsa(pair) => {
                let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
                pem("PRIVATE KEY", der.as_ref())
            }
            Pair::Ec(pair) => pem("PRIVATE KEY", pair.to_pkcs8v1().unwrap().as_ref()),
            Pair::Ed(pair) => pem("PRIVATE KEY", pair.to_pkcs8v1().unwrap().as_ref()),
            Pair::Hmac(_) => panic!("a secret has no halves"),
        }
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// A key set of these.
pub fn key_set(keys: &[Value]) -> Value {
    json!({ "keys": keys })
}

/// Modulus and exponent of an `RSAPublicKey` (RFC 8017 A.1.1), without leading zeros.
fn rsa_numbers(der: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (sequence, _) = der_value(der);
    let (modulus, rest) = der_value(sequence);
    let (exponent, _) = der_value(rest);
    let bare = |number: &[u8]| number.iter().copied().skip_while(|byte| *byte == 0).collect();
    (bare(modulus), bare(exponent))
}

/// The contents of the first DER value, and what follows it.
fn der_value(der: &[u8]) -> (&[u8], &[u8]) {
    let (length, start) = match der[1] {
        short @ 0..=0x7f => (usize::from(short), 2),
        long => {
            let bytes = &der[2..2 + usize::from(long & 0x7f)];
            (bytes.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte)), 2 + bytes.len())
        }
    };
    der[start..].split_at(length)
}

/// What a key file has in place of an API key.
pub fn sha256_hex(key: &str) -> String {
    use std::fmt::Write as _;
    let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.as_bytes());
    sum.as_ref().iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}
