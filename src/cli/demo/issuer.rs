//! The demo's issuer: fresh keys, an OIDC discovery document, a key set, and tokens for every occasion.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::Full;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

/// Why there is no issuer.
#[derive(Debug, thiserror::Error)]
pub(super) enum IssuerError {
    /// The system gave no key.
    #[error("no key could be made")]
    Key(#[from] Unspecified),
    /// A key that was just made cannot be used.
    #[error("a key cannot be used: {0}")]
    Use(#[from] jsonwebtoken::errors::Error),
}

/// A private key, and what tokens say about it.
struct SigningKey {
    id: &'static str,
    algorithm: Algorithm,
    private: EncodingKey,
}

impl SigningKey {
    fn rs256(id: &'static str) -> Result<Self, IssuerError> {
        let document: Pkcs8V1Der<'static> = KeyPair::generate(KeySize::Rsa2048)?.as_der()?;
        // As PEM, because only that constructor unwraps PKCS #8.
        let text = STANDARD.encode(document.as_ref());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");
        Ok(Self { id, algorithm: Algorithm::RS256, private: EncodingKey::from_rsa_pem(pem.as_bytes())? })
    }

    fn es256(id: &'static str) -> Result<Self, IssuerError> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())?;
        Ok(Self { id, algorithm: Algorithm::ES256, private: EncodingKey::from_ec_der(document.as_ref()) })
    }

    fn public(&self) -> Result<Jwk, IssuerError> {
        let mut public = Jwk::from_encoding_key(&self.private, self.algorithm)?;
        public.common.key_id = Some(self.id.to_owned());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(public)
    }

    fn sign(&self, claims: &Value) -> Result<String, IssuerError> {
        let mut head = Header::new(self.algorithm);
        head.kid = Some(self.id.to_owned());
        Ok(jsonwebtoken::encode(&head, claims, &self.private)?)
    }
}

/// How a token is signed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Signature {
    /// With the issuer's key on P-256.
    Es256,
    /// With the issuer's RSA key.
    Rs256,
    /// With a stranger's key that bears the id of the issuer's.
    Forged,
    /// Not at all: `"alg": "none"`.
    Absent,
}

/// The issuer: what it publishes, and the keys that it keeps.
pub(super) struct Issuer {
    es256: SigningKey,
    rs256: SigningKey,
    stranger: SigningKey,
    discovery: Bytes,
    keys: Bytes,
}

impl Issuer {
    /// An issuer with fresh keys that is found at `url`.
    pub(super) fn new(url: &str) -> Result<Self, IssuerError> {
        let (es256, rs256) = (SigningKey::es256("demo-es256")?, SigningKey::rs256("demo-rs256")?);
        let set = JwkSet { keys: vec![es256.public()?, rs256.public()?] };
        let discovery = json!({
            "issuer": url,
            "jwks_uri": format!("{url}/jwks.json"),
            "response_types_supported": ["none"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256", "RS256"],
        });
        Ok(Self {
            stranger: SigningKey::es256(es256.id)?,
            es256,
            rs256,
            discovery: discovery.to_string().into(),
            keys: json!(set).to_string().into(),
        })
    }

    /// A token that says `claims`.
    pub(super) fn token(&self, signature: Signature, claims: &Value) -> Result<String, IssuerError> {
        match signature {
            Signature::Es256 => self.es256.sign(claims),
            Signature::Rs256 => self.rs256.sign(claims),
            Signature::Forged => self.stranger.sign(claims),
            Signature::Absent => {
                let head = URL_SAFE_NO_PAD.encode(json!({ "alg": "none", "typ": "JWT" }).to_string());
                Ok(format!("{head}.{}.", URL_SAFE_NO_PAD.encode(claims.to_string())))
            }
        }
    }

    /// What is published at `path`.
    pub(super) fn answer(&self, path: &str) -> Response<Full<Bytes>> {
        let (status, body) = match path {
            "/.well-known/openid-configuration" => (StatusCode::OK, self.discovery.clone()),
            "/jwks.json" => (StatusCode::OK, self.keys.clone()),
            _ => (StatusCode::NOT_FOUND, Bytes::from_static(b"{}")),
        };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        let json = header::HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::{Issuer, Signature};
    use http::StatusCode;
    use http_body_util::BodyExt as _;
    use jsonwebtoken::jwk::JwkSet;
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
    use serde_json::{Value, json};

    fn published(issuer: &Issuer) -> JwkSet {
        let body = issuer.answer("/jwks.json").into_body();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let bytes = runtime.block_on(body.collect()).unwrap().to_bytes();
        serde_json::from_slice(&bytes).unwrap()
    }

    fn verifies(issuer: &Issuer, algorithm: Algorithm, token: &str) -> bool {
        let id = decode_header(token).unwrap().kid.unwrap();
        let key = DecodingKey::from_jwk(published(issuer).find(&id).unwrap()).unwrap();
        let mut validation = Validation::new(algorithm);
        validation.set_audience(&["demo-api"]);
        decode::<Value>(token, &key, &validation).is_ok()
    }

    #[test]
    fn tokens_verify_with_the_published_keys_unless_forged() {
        let issuer = Issuer::new("http://127.0.0.1:9100").unwrap();
        let claims = json!({ "aud": "demo-api", "exp": 4_000_000_000_u64 });
        let token = |signature| issuer.token(signature, &claims).unwrap();
        assert!(verifies(&issuer, Algorithm::ES256, &token(Signature::Es256)));
        assert!(verifies(&issuer, Algorithm::RS256, &token(Signature::Rs256)));
        assert!(!verifies(&issuer, Algorithm::ES256, &token(Signature::Forged)));
        assert!(token(Signature::Absent).ends_with('.'));
    }

    #[test]
    fn no_private_part_is_published() {
        let text = json!(published(&Issuer::new("http://127.0.0.1:9100").unwrap())).to_string();
        for private in ["\"d\"", "\"p\"", "\"q\"", "\"dp\"", "\"dq\"", "\"qi\"", "\"k\""] {
            assert!(!text.contains(private), "{text}");
        }
    }

    #[test]
    fn elsewhere_is_nothing() {
        let issuer = Issuer::new("http://127.0.0.1:9100").unwrap();
        assert_eq!(issuer.answer("/").status(), StatusCode::NOT_FOUND);
    }
}
