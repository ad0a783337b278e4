use super::{Key, KeyError};
use crate::authn::algorithm::{ASYMMETRIC, Family};
use crate::authn::signed::Signed;
use crate::authn::testing::{ED25519, HMAC, OTHER_RSA, P256, P384, RSA, SECRET, every_algorithm};
use crate::config::authenticator::Algorithm;
use aws_lc_rs::signature::{ED25519 as ED25519_SCHEME, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;

const HMACS: [Algorithm; 3] = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];

fn bytes(jwk: &serde_json::Value, name: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap()
}

/// A number of that many bits that could be a modulus.
fn modulus(bits: usize) -> Vec<u8> {
    let mut number = vec![0xff; bits.div_ceil(8)];
    number[0] = [0xff, 0x01, 0x03, 0x07, 0x0f, 0x1f, 0x3f, 0x7f][bits % 8];
    number
}

#[test]
fn a_key_verifies_with_the_algorithms_of_its_family_and_no_others() {
    for (algorithm, signer) in every_algorithm() {
        let token = signer.mint(algorithm, &json!({}));
        let (input, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let key = if HMACS.contains(&algorithm) {
            Key::from_secret(SECRET.as_bytes(), &HMACS).unwrap()
        } else {
            Key::from_pem(signer.public.as_bytes(), &ASYMMETRIC).unwrap()
        };
        for (other, _) in every_algorithm() {
            assert_eq!(
                key.verify(&Signed::new(other, input.as_bytes(), &signature)),
                other == algorithm,
                "{algorithm:?} {other:?}"
            );
        }
        assert!(!key.verify(&Signed::new(algorithm, b"something else", &signature)));
        assert!(!key.verify(&Signed::new(algorithm, input.as_bytes(), b"")));
    }
}

#[test]
fn an_algorithm_that_is_not_allowed_never_verifies() {
    let token = RSA.mint(Algorithm::RS256, &json!({}));
    let (input, signature) = token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let key = Key::from_pem(RSA.public.as_bytes(), &[Algorithm::PS256]).unwrap();
    assert!(!key.allows(Algorithm::RS256));
    assert!(!key.verify(&Signed::new(Algorithm::RS256, input.as_bytes(), &signature)));
    assert_eq!(Key::from_pem(RSA.public.as_bytes(), &[Algorithm::ES256]).unwrap_err(), KeyError::Algorithm);
    assert_eq!(Key::from_pem(P256.public.as_bytes(), &[Algorithm::ES384]).unwrap_err(), KeyError::Algorithm);
    assert_eq!(Key::from_pem(RSA.public.as_bytes(), &HMACS).unwrap_err(), KeyError::Algorithm);
    assert_eq!(Key::from_secret(SECRET.as_bytes(), &ASYMMETRIC).unwrap_err(), KeyError::Algorithm);
}

#[test]
fn a_public_key_can_be_spki_pkcs1_or_a_certificate() {
    for signer in [&*RSA, &*P256, &*P384, &*ED25519] {
        let pair = rcgen::KeyPair::from_pem(&signer.private).unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["issuer.example".to_owned()]).unwrap();
        let certificate = certificate.self_signed(&pair).unwrap().pem();
        let spki = Key::from_pem(signer.public.as_bytes(), &ASYMMETRIC).unwrap();
        let from_certificate = Key::from_pem(certificate.as_bytes(), &ASYMMETRIC).unwrap();
        assert!(spki.is_same(&from_certificate));
    }
    // The SPKI of a 2048 bit key has 24 bytes in front of the PKCS#1 structure.
    let body: String = RSA.public.lines().filter(|line| !line.starts_with('-')).collect();
    let pkcs1 = STANDARD.encode(&STANDARD.decode(body).unwrap()[24..]);
    let pem = format!("-----BEGIN RSA PUBLIC KEY-----\n{pkcs1}\n-----END RSA PUBLIC KEY-----\n");
    let key = Key::from_pem(pem.as_bytes(), &ASYMMETRIC).unwrap();
    assert!(key.is_same(&Key::from_pem(RSA.public.as_bytes(), &ASYMMETRIC).unwrap()));
}

#[test]
fn what_is_not_one_public_key_is_refused() {
    let two = format!("{}{}", RSA.public, P256.public);
    let p521 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap().public_key_pem();
    for (pem, why) in [
        ("", KeyError::Pem),
        ("not a key", KeyError::Pem),
        ("-----BEGIN PUBLIC KEY-----\n!!!\n-----END PUBLIC KEY-----\n", KeyError::Pem),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", KeyError::Kind),
        (RSA.private.as_str(), KeyError::Private),
        (P256.private.as_str(), KeyError::Private),
        (two.as_str(), KeyError::Pem),
        (p521.as_str(), KeyError::Kind),
    ] {
        assert_eq!(Key::from_pem(pem.as_bytes(), &ASYMMETRIC).unwrap_err(), why, "{pem}");
    }
}

#[test]
fn a_secret_has_at_least_32_bytes() {
    for short in [&b""[..], &[b'x'; 31]] {
        assert_eq!(Key::from_secret(short, &HMACS).unwrap_err(), KeyError::SecretTooShort);
    }
    assert!(Key::from_secret(&[b'x'; 32], &HMACS).is_ok());
}

#[test]
fn rsa_numbers_are_in_range() {
    let e = [1, 0, 1];
    for bits in [2048, 2049, 3072, 4096, 8192] {
        assert!(Key::rsa(None, &modulus(bits), &e, &ASYMMETRIC).is_ok(), "{bits}");
    }
    for bits in [8, 512, 1024, 2040, 2047, 8193, 16_384] {
        assert_eq!(Key::rsa(None, &modulus(bits), &e, &ASYMMETRIC).unwrap_err(), KeyError::RsaSize, "{bits}");
    }
    // Zeros in front do not make a modulus longer.
    let padded = [vec![0; 200], modulus(1024)].concat();
    assert_eq!(Key::rsa(None, &padded, &e, &ASYMMETRIC).unwrap_err(), KeyError::RsaSize);
    let n = modulus(2048);
    for exponent in [&[][..], &[0], &[1], &[2], &[0, 0, 1], &[1, 0, 0]] {
        assert_eq!(
            Key::rsa(None, &n, exponent, &ASYMMETRIC).unwrap_err(),
            KeyError::RsaExponent,
            "{exponent:?}"
        );
    }
    assert!(Key::rsa(None, &n, &[3], &ASYMMETRIC).is_ok());
    let mut even = n;
    *even.last_mut().unwrap() = 0xfe;
    assert_eq!(Key::rsa(None, &even, &e, &ASYMMETRIC).unwrap_err(), KeyError::Invalid);
    // Some issuers write the sign byte of ASN.1 into their key sets.
    let jwk = RSA.jwk(Algorithm::RS256);
    let signed = [vec![0], bytes(&jwk, "n")].concat();
    let key = Key::rsa(None, &signed, &bytes(&jwk, "e"), &ASYMMETRIC).unwrap();
    assert!(key.is_same(&Key::from_pem(RSA.public.as_bytes(), &ASYMMETRIC).unwrap()));
}

#[test]
fn a_point_must_be_on_its_curve() {
    let jwk = P256.jwk(Algorithm::ES256);
    let point = [vec![4], bytes(&jwk, "x"), bytes(&jwk, "y")].concat();
    assert!(Key::point(None, Family::P256, &point, &ASYMMETRIC).is_ok());
    assert!(Key::point(None, Family::P384, &point, &ASYMMETRIC).is_err());
    for position in [1, 32, 33, 64] {
        let mut moved = point.clone();
        moved[position] ^= 1;
        assert_eq!(Key::point(None, Family::P256, &moved, &ASYMMETRIC).unwrap_err(), KeyError::Invalid);
    }
    assert!(Key::point(None, Family::P256, &[4; 65], &ASYMMETRIC).is_err());
    assert!(Key::point(None, Family::P256, &[0], &ASYMMETRIC).is_err());
    assert!(Key::point(None, Family::Ed25519, &[1; 31], &ASYMMETRIC).is_err());
    assert!(Key::point(None, Family::Hmac, &[1; 32], &HMACS).is_err());
}

/// The points whose order divides 8, with the sign bit unset; the last two are not canonical, and AWS-LC
/// refuses those by itself.
fn points_of_small_order() -> Vec<[u8; 32]> {
    let near_p = |first: u8| {
        let mut y = [0xff; 32];
        (y[0], y[31]) = (first, 0x7f);
        y
    };
    let hex = |high: u128, low: u128| [high.to_be_bytes(), low.to_be_bytes()].concat().try_into().unwrap();
    let mut identity = [0; 32];
    identity[0] = 1;
    vec![
        identity,
        [0; 32],
        near_p(0xec),
        hex(0x26e8_958f_c2b2_27b0_45c3_f489_f2ef_98f0, 0xd5df_ac05_d3c6_3339_b138_0288_6d53_fc05),
        hex(0xc717_6a70_3d4d_d84f_ba3c_0b76_0d10_670f, 0x2a20_53fa_2c39_ccc6_4ec7_fd77_92ac_037a),
        near_p(0xed),
        near_p(0xee),
    ]
}

fn with_either_sign(points: &[[u8; 32]]) -> Vec<[u8; 32]> {
    let negated = points.iter().map(|point| {
        let mut point = *point;
        point[31] |= 0x80;
        point
    });
    points.iter().copied().chain(negated).collect()
}

#[test]
fn an_ed25519_key_of_small_order_is_refused() {
    let small = points_of_small_order();
    for point in with_either_sign(&small) {
        assert_eq!(Key::point(None, Family::Ed25519, &point, &ASYMMETRIC).unwrap_err(), KeyError::Invalid);
    }
    // That is no pedantry: with S zero and R of small order, anybody signs every few messages without any private key.
    for point in small.iter().take(5) {
        let key = UnparsedPublicKey::new(&ED25519_SCHEME, point);
        let forges = |message: u8| {
            let signatures = with_either_sign(&small).into_iter().map(|r| [r, [0; 32]].concat());
            signatures.into_iter().any(|signature| key.verify(&[message], &signature).is_ok())
        };
        assert!((0..=255).any(forges), "{point:?} is harmless");
    }
}

#[test]
fn keys_are_the_same_by_id_material_and_algorithms() {
    let key = |kid, signer: &crate::authn::testing::Signer, allowed: &[Algorithm]| {
        let jwk = signer.jwk(Algorithm::RS256);
        Key::rsa(kid, &bytes(&jwk, "n"), &bytes(&jwk, "e"), allowed).unwrap()
    };
    let one = key(Some("a"), &RSA, &ASYMMETRIC);
    assert!(one.is_same(&key(Some("a"), &RSA, &ASYMMETRIC)));
    assert!(!one.is_same(&key(Some("b"), &RSA, &ASYMMETRIC)));
    assert!(!one.is_same(&key(None, &RSA, &ASYMMETRIC)));
    assert!(!one.is_same(&key(Some("a"), &OTHER_RSA, &ASYMMETRIC)));
    assert!(!one.is_same(&key(Some("a"), &RSA, &[Algorithm::RS256])));
}

#[test]
fn debug_output_holds_no_secret() {
    let key = Key::from_secret(HMAC.public.as_bytes(), &HMACS).unwrap();
    assert_eq!(format!("{key:?}"), "Key { kid: None, algorithms: [HS256, HS384, HS512], .. }");
}
