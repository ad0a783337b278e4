//! The key that a development token is signed with.

use crate::authn::key::MIN_SECRET_BYTES;
use crate::secret::Secret;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
};
use jsonwebtoken::{Algorithm, EncodingKey};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

/// A key, and the algorithms that it signs with; the first is the default.
pub(super) struct SigningKey {
    pub(super) key: EncodingKey,
    pub(super) algorithms: &'static [Algorithm],
}

const HMAC: &[Algorithm] = &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];

const RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyError {
    /// The gate would refuse it.
    #[error("a shared secret must have at least {MIN_SECRET_BYTES} bytes")]
    Short,
    /// There is no private key in the file.
    #[error("no private key in PEM; one that is encrypted cannot be used")]
    None,
    /// Some other kind of key.
    #[error("this private key is neither RSA (2048 bits or more) nor EC on P-256 or P-384 nor Ed25519")]
    Kind,
}

impl SigningKey {
    /// A shared secret, as long as the gate wants it to be.
    pub(super) fn secret(secret: &Secret) -> Result<Self, KeyError> {
        if secret.expose().len() < MIN_SECRET_BYTES {
            return Err(KeyError::Short);
        }
        Ok(Self { key: EncodingKey::from_secret(secret.expose()), algorithms: HMAC })
    }

    /// A private key in PEM: PKCS #8, or the older forms of RSA (PKCS #1) and of elliptic curves (SEC 1).
    pub(super) fn pem(pem: &Secret) -> Result<Self, KeyError> {
        let key = PrivateKeyDer::from_pem_slice(pem.expose()).map_err(|_| KeyError::None)?;
        match &key {
            PrivateKeyDer::Pkcs1(der) => {
                Ok(Self { key: EncodingKey::from_rsa_der(der.secret_pkcs1_der()), algorithms: RSA })
            }
            PrivateKeyDer::Sec1(der) => Self::curve(der.secret_sec1_der()),
            PrivateKeyDer::Pkcs8(der) => {
                let der = der.secret_pkcs8_der();
                if let Ok(key) = EncodingKey::from_rsa_pem(pem.expose()) {
                    return Ok(Self { key, algorithms: RSA });
                }
                if Ed25519KeyPair::from_pkcs8(der).is_ok() {
                    return Ok(Self { key: EncodingKey::from_ed_der(der), algorithms: &[Algorithm::EdDSA] });
                }
                Self::curve(der)
            }
            _ => Err(KeyError::Kind),
        }
    }

    fn curve(der: &[u8]) -> Result<Self, KeyError> {
        let curves: [(_, &'static [Algorithm]); 2] = [
            (&ECDSA_P256_SHA256_FIXED_SIGNING, &[Algorithm::ES256]),
            (&ECDSA_P384_SHA384_FIXED_SIGNING, &[Algorithm::ES384]),
        ];
        for (curve, algorithms) in curves {
            if let Ok(pair) = EcdsaKeyPair::from_private_key_der(curve, der) {
                // The signer reads PKCS #8 only.
                let pkcs8 = pair.to_pkcs8v1().map_err(|_| KeyError::Kind)?;
                return Ok(Self { key: EncodingKey::from_ec_der(pkcs8.as_ref()), algorithms });
            }
        }
        Err(KeyError::Kind)
    }
}

#[cfg(test)]
mod tests {
    use super::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyError, SigningKey};
    use crate::authn::testing::{ED25519, P256, P384, RSA};
    use crate::secret::Secret;
    use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use jsonwebtoken::{Algorithm, Header};
    use serde_json::json;

    fn key(pem: &str) -> Result<SigningKey, KeyError> {
        SigningKey::pem(&Secret::new(pem.as_bytes().to_vec()))
    }

    fn pem(label: &str, der: &[u8]) -> String {
        let text = STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
    }

    #[test]
    fn every_form_of_a_private_key_is_read() {
        let body: String = P384.private.lines().filter(|line| !line.starts_with('-')).collect();
        let pkcs8 = STANDARD.decode(body).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &pkcs8).unwrap();
        let sec1: EcPrivateKeyRfc5915Der<'_> = pair.private_key().as_der().unwrap();
        // What `openssl ecparam -genkey` puts in front; and what the signer itself keeps of an RSA key is PKCS #1.
        let sec1 = format!("{}{}", pem("EC PARAMETERS", &[5, 0]), pem("EC PRIVATE KEY", sec1.as_ref()));
        let pkcs1 = pem("RSA PRIVATE KEY", RSA.signing.as_bytes());
        for (pem, algorithm) in [
            (&RSA.private, Algorithm::RS256),
            (&pkcs1, Algorithm::RS256),
            (&P256.private, Algorithm::ES256),
            (&P384.private, Algorithm::ES384),
            (&sec1, Algorithm::ES384),
            (&ED25519.private, Algorithm::EdDSA),
        ] {
            let key = key(pem).unwrap();
            assert_eq!(key.algorithms[0], algorithm);
            for algorithm in key.algorithms {
                jsonwebtoken::encode(&Header::new(*algorithm), &json!({}), &key.key).unwrap();
            }
        }
    }

    #[test]
    fn what_is_no_private_key_is_refused() {
        assert!(matches!(key(&RSA.public), Err(KeyError::None)));
        assert!(matches!(key(""), Err(KeyError::None)));
        assert!(matches!(key(&pem("PRIVATE KEY", &[1, 2, 3])), Err(KeyError::Kind)));
        let short = Secret::new(b"short".to_vec());
        assert!(matches!(SigningKey::secret(&short), Err(KeyError::Short)));
    }
}
