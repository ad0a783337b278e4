//! The other form of a token that is signed with ECDSA.
//!
//! With (r, s) a signature, (r, n − s) is one as well, and anybody can compute it: whoever holds a revoked token could send one
//! that reads differently and is as good. So both are looked for.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The orders of the groups (FIPS 186-5, SP 800-186 §3.2.1) of ES256, ES384 and ES512 (RFC 7518 §3.4).
const ORDERS: [&[u8]; 3] = [
    b"\xff\xff\xff\xff\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\
      \xbc\xe6\xfa\xad\xa7\x17\x9e\x84\xf3\xb9\xca\xc2\xfc\x63\x25\x51",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\
      \xff\xff\xff\xff\xff\xff\xff\xff\xc7\x63\x4d\x81\xf4\x37\x2d\xdf\
      \x58\x1a\x0d\xb2\x48\xb0\xa7\x7a\xec\xec\x19\x6a\xcc\xc5\x29\x73",
    b"\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\
      \xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\
      \xff\xfa\x51\x86\x87\x83\xbf\x2f\x96\x6b\x7f\xcc\x01\x48\xf7\x09\
      \xa5\xd0\x3b\xb5\xc9\xb8\x89\x9c\x47\xae\xbb\x6f\xb7\x1e\x91\x38\
      \x64\x09",
];

/// The same token with the other signature, if it may be signed like that. Of one that is not, it is a token that nobody has.
pub(super) fn twin(token: &str) -> Option<String> {
    let (signed, signature) = token.rsplit_once('.')?;
    let mut signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    let half = signature.len().checked_div(2)?;
    let order = ORDERS.into_iter().find(|order| order.len() == half && signature.len() % 2 == 0)?;
    let (_, scalar) = signature.split_at_mut_checked(half)?;
    subtract_from(order, scalar)?;
    Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(&signature)))
}

/// Replaces a number by the difference from another one; none if it is larger.
fn subtract_from(minuend: &[u8], number: &mut [u8]) -> Option<()> {
    let mut borrowed = false;
    for (from, digit) in minuend.iter().zip(number).rev() {
        let (difference, first) = from.overflowing_sub(*digit);
        let (difference, second) = difference.overflowing_sub(u8::from(borrowed));
        *digit = difference;
        borrowed = first || second;
    }
    (!borrowed).then_some(())
}

#[cfg(test)]
mod tests {
    use super::twin;

    #[test]
    fn a_twin_of_a_twin_is_the_token() {
        for length in [64, 96, 132] {
            let mut signature = vec![7_u8; length];
            signature[length / 2] = 0;
            let token = format!("e30.e30.{}", base64::Engine::encode(&super::URL_SAFE_NO_PAD, &signature));
            let other = twin(&token).unwrap();
            assert_ne!(other, token);
            assert_eq!(other.len(), token.len());
            assert_eq!(twin(&other).as_deref(), Some(&*token));
        }
    }

    #[test]
    fn what_is_signed_otherwise_has_none() {
        let signed = |bytes: &[u8]| format!("a.b.{}", base64::Engine::encode(&super::URL_SAFE_NO_PAD, bytes));
        for token in ["opaque", "a.b.c", "a.b.", &signed(&[1; 256]), &signed(&[1; 65]), &signed(&[255; 64])] {
            assert_eq!(twin(token), None, "{token}");
        }
    }
}
