//! Fresh keys and tokens for tests, minted with another implementation than the one that verifies them.

use crate::clock::{Clock, UnixTime};
use crate::config::authenticator::{Algorithm, Jwt as Config};
use crate::outbound::{Answer, HttpClient};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{DecodingKey, EncodingKey};
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

/// A key pair, or a shared secret.
pub(crate) struct Signer {
    pub(crate) signing: EncodingKey,
    pub(crate) verifying: DecodingKey,
    /// The public half in PEM, or the secret itself.
    pub(crate) public: String,
    pub(crate) private: String,
}

pub(crate) const SECRET: &str = "a shared secret of 36 bytes for HMAC";

pub(crate) static RSA: LazyLock<Signer> = LazyLock::new(rsa);
pub(crate) static OTHER_RSA: LazyLock<Signer> = LazyLock::new(rsa);
pub(crate) static P256: LazyLock<Signer> = LazyLock::new(p256);
pub(crate) static P384: LazyLock<Signer> = LazyLock::new(|| {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    pem(&pair, EncodingKey::from_ec_pem, DecodingKey::from_ec_pem)
});
pub(crate) static ED25519: LazyLock<Signer> = LazyLock::new(|| {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    pem(&pair, EncodingKey::from_ed_pem, DecodingKey::from_ed_pem)
});
pub(crate) static HMAC: LazyLock<Signer> = LazyLock::new(|| Signer {
    signing: EncodingKey::from_secret(SECRET.as_bytes()),
    verifying: DecodingKey::from_secret(SECRET.as_bytes()),
    public: SECRET.to_owned(),
    private: SECRET.to_owned(),
});

fn rsa() -> Signer {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    pem(&pair, EncodingKey::from_rsa_pem, DecodingKey::from_rsa_pem)
}

pub(crate) fn p256() -> Signer {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    pem(&pair, EncodingKey::from_ec_pem, DecodingKey::from_ec_pem)
}

fn pem(
    pair: &rcgen::KeyPair,
    signing: fn(&[u8]) -> jsonwebtoken::errors::Result<EncodingKey>,
    verifying: fn(&[u8]) -> jsonwebtoken::errors::Result<DecodingKey>,
) -> Signer {
    Signer {
        signing: signing(pair.serialize_pem().as_bytes()).unwrap(),
        verifying: verifying(pair.public_key_pem().as_bytes()).unwrap(),
        public: pair.public_key_pem(),
        private: pair.serialize_pem(),
    }
}

/// Every algorithm with a signer for it.
pub(crate) fn every_algorithm() -> Vec<(Algorithm, &'static Signer)> {
    vec![
        (Algorithm::RS256, &*RSA),
        (Algorithm::RS384, &*RSA),
        (Algorithm::RS512, &*RSA),
        (Algorithm::PS256, &*RSA),
        (Algorithm::PS384, &*RSA),
        (Algorithm::PS512, &*RSA),
        (Algorithm::ES256, &*P256),
        (Algorithm::ES384, &*P384),
        (Algorithm::EdDSA, &*ED25519),
        (Algorithm::HS256, &*HMAC),
        (Algorithm::HS384, &*HMAC),
        (Algorithm::HS512, &*HMAC),
    ]
}

pub(crate) fn theirs(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    format!("{algorithm:?}").parse().unwrap()
}

impl Signer {
    /// The public half as a JWK without `kid`, `use` or `alg`.
    pub(crate) fn jwk(&self, algorithm: Algorithm) -> Value {
        if algorithm == Algorithm::EdDSA {
            // jsonwebtoken cannot make this one; the SPKI of an Ed25519 key ends with its 32 bytes.
            let body: String = self.public.lines().filter(|line| !line.starts_with('-')).collect();
            let spki = STANDARD.decode(body).unwrap();
            return json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(&spki[12..])});
        }
        let mut jwk =
            serde_json::to_value(Jwk::from_encoding_key(&self.signing, theirs(algorithm)).unwrap()).unwrap();
        jwk.as_object_mut().unwrap().retain(|name, value| name != "alg" && !value.is_null());
        jwk
    }

    /// The same with more members, or others.
    pub(crate) fn jwk_with(&self, algorithm: Algorithm, members: Value) -> Value {
        with(self.jwk(algorithm), members)
    }

    /// A token with exactly this header and payload.
    pub(crate) fn sign(&self, algorithm: Algorithm, header: &Value, payload: &Value) -> String {
        self.sign_text(algorithm, &header.to_string(), &payload.to_string())
    }

    /// A token with exactly this header and payload, which need not be JSON.
    pub(crate) fn sign_text(&self, algorithm: Algorithm, header: &str, payload: &str) -> String {
        let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature =
            jsonwebtoken::crypto::sign(input.as_bytes(), &self.signing, theirs(algorithm)).unwrap();
        format!("{input}.{signature}")
    }

    /// A token of that algorithm with a `kid` "k".
    pub(crate) fn mint(&self, algorithm: Algorithm, payload: &Value) -> String {
        self.sign(algorithm, &json!({"alg": format!("{algorithm:?}"), "kid": "k"}), payload)
    }
}

/// An object with some members added or replaced; null removes.
pub(crate) fn with(mut object: Value, members: Value) -> Value {
    let Value::Object(members) = members else { panic!("not an object") };
    for (name, value) in members {
        if value.is_null() {
            object.as_object_mut().unwrap().remove(&name);
        } else {
            object.as_object_mut().unwrap().insert(name, value);
        }
    }
    object
}

/// The configuration of an authenticator, as the file would write it.
pub(crate) fn config(text: &str) -> Config {
    toml::from_str(text).unwrap()
}

/// Whoever is asked over HTTP, and always says the same.
#[derive(Debug)]
pub(crate) struct Scripted {
    status: StatusCode,
    body: Bytes,
    requests: Mutex<Vec<Request<Bytes>>>,
}

/// One that answers like that.
pub(crate) fn client(status: StatusCode, body: &str) -> Arc<Scripted> {
    Arc::new(Scripted { status, body: body.to_owned().into(), requests: Mutex::default() })
}

impl Scripted {
    /// The latest request.
    pub(crate) fn request(&self) -> Request<Bytes> {
        self.requests.lock().unwrap().last().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

impl HttpClient for Scripted {
    fn send(&self, request: Request<Bytes>, _: Duration) -> Answer<'_> {
        self.requests.lock().unwrap().push(request);
        let mut response = Response::new(self.body.clone());
        *response.status_mut() = self.status;
        Box::pin(async move { Ok(response) })
    }
}

/// Time that stands still.
#[derive(Debug)]
pub(crate) struct Stopped(pub(crate) UnixTime);

impl Clock for Stopped {
    fn now(&self) -> UnixTime {
        self.0
    }
}
