//! Keys of each kind that sign, and what they sign.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::HeaderName;
pub use sidegate::assertion::Kept;
use sidegate::assertion::claims::{Settings, Subject};
use sidegate::assertion::{Assertions, Follower};
use sidegate::clock::{SystemClock, UnixTime};
use sidegate::headers::trusted::Prepared;
use sidegate::sessions::Session;
use std::sync::Arc;
use std::time::Duration;

/// The algorithms, and a key of each in PKCS#8.
pub fn keys() -> Vec<(&'static str, Vec<u8>)> {
    let rsa = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
    let rsa: Pkcs8V1Der<'_> = rsa.as_der().unwrap();
    let ec = |curve| EcdsaKeyPair::generate(curve).unwrap().to_pkcs8v1().unwrap().as_ref().to_vec();
    vec![
        ("RS256", rsa.as_ref().to_vec()),
        ("ES256", ec(&ECDSA_P256_SHA256_FIXED_SIGNING)),
        ("ES384", ec(&ECDSA_P384_SHA384_FIXED_SIGNING)),
        ("EdDSA", Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap().as_ref().to_vec()),
    ]
}

/// What signs with that key.
pub fn assertions(name: &str, key: &[u8]) -> Arc<Assertions> {
    let path = std::env::temp_dir().join(format!("sidegate-bench-{}-{name}.pem", std::process::id()));
    let text = STANDARD.encode(key);
    std::fs::write(&path, format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n"))
        .unwrap();
    let settings = Settings {
        header: HeaderName::from_static("x-identity-assertion"),
        issuer: "sidegate".to_owned(),
        audience: "app".to_owned(),
        ttl: Duration::from_secs(30),
    };
    let follower = Follower::new(settings, &path, Arc::new(SystemClock)).unwrap();
    std::fs::remove_file(&path).unwrap();
    Arc::clone(follower.assertions())
}

/// One assertion, or the one that is kept.
pub fn assert(assertions: &Assertions, session: &Session, kept: &Kept) -> Prepared {
    let subject = Subject { name: &session.subject, identity: &session.identity, ends: UnixTime::NEVER };
    assertions.assert(&subject, kept, UnixTime::from_seconds(1_800_000_000)).unwrap()
}
