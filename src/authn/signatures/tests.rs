use super::{BAD, Mark, Signatures, TURN};
use crate::authn::algorithm::ASYMMETRIC;
use crate::authn::key::Key;
use crate::authn::signed::Signed;
use crate::authn::testing::{OTHER_RSA, RSA};
use crate::clock::UnixTime;
use crate::config::authenticator::Algorithm;
use std::num::NonZeroU32;

fn signatures(limit: u32) -> Signatures {
    Signatures::new(NonZeroU32::new(limit).unwrap())
}

fn key(pem: &str) -> Key {
    Key::from_pem(pem.as_bytes(), &ASYMMETRIC).unwrap()
}

/// The mark of a token whose signature follows its last dot.
fn mark(signatures: &Signatures, key: &Key, token: &str) -> Mark {
    let (input, signature) = token.rsplit_once('.').unwrap_or((token, ""));
    signatures.mark(key, &Signed::new(Algorithm::RS256, input.as_bytes(), signature.as_bytes())).unwrap()
}

fn note(signatures: &mut Signatures, key: &Key, token: &str) {
    let mark = mark(signatures, key, token);
    signatures.note(mark, true);
}

fn knows(signatures: &mut Signatures, key: &Key, token: &str) -> bool {
    let mark = mark(signatures, key, token);
    signatures.verdict(mark) == Some(true)
}

#[test]
fn a_signature_is_known_for_this_token_and_this_key() {
    let (mut ours, own, other) = (signatures(10), key(&RSA.public), key(&OTHER_RSA.public));
    assert!(!knows(&mut ours, &own, "a.b.c"));
    note(&mut ours, &own, "a.b.c");
    assert!(knows(&mut ours, &own, "a.b.c"));
    assert!(knows(&mut ours, &key(&RSA.public), "a.b.c"), "the same key, read once more");
    assert!(!knows(&mut ours, &other, "a.b.c"));
    let narrower = Key::from_pem(RSA.public.as_bytes(), &[Algorithm::RS256]).unwrap();
    assert!(!knows(&mut ours, &narrower, "a.b.c"), "the same key for other algorithms");
    for token in ["a.b.d", "a.b.", "a.b.cc", "", "A.b.c", "a.b.c "] {
        assert!(!knows(&mut ours, &own, token), "{token}");
    }
}

#[test]
fn nothing_moves_between_what_is_signed_and_the_signature() {
    let (ours, own) = (signatures(1), key(&RSA.public));
    for algorithm in ASYMMETRIC {
        let mark =
            |input: &[u8], signature: &[u8]| ours.mark(&own, &Signed::new(algorithm, input, signature));
        assert_eq!(mark(b"a.b", b"cd"), mark(b"a.b", b"cd"));
        for (input, signature) in
            [(&b"a.bc"[..], &b"d"[..]), (b"a.", b"bcd"), (b"a.bcd", b""), (b"", b"a.bcd")]
        {
            assert_ne!(mark(b"a.b", b"cd"), mark(input, signature), "{algorithm:?}");
        }
    }
}

#[test]
fn no_worker_could_foretell_what_another_writes_down() {
    let own = key(&RSA.public);
    assert_ne!(mark(&signatures(1), &own, "a.b.c"), mark(&signatures(1), &own, "a.b.c"));
}

#[test]
fn the_latest_third_is_known_and_never_more_than_was_promised() {
    let (mut ours, own) = (signatures(30), key(&RSA.public));
    for number in 0..500 {
        note(&mut ours, &own, &number.to_string());
        assert!(ours.good.known.len() <= 30);
        for earlier in (0..=number).rev().take(10) {
            let mark = mark(&ours, &own, &earlier.to_string());
            assert!(ours.good.known.contains_key(&mark), "{earlier} at {number}");
        }
    }
}

#[test]
fn as_many_in_turn_as_were_promised_are_all_known_on_the_second_turn() {
    let (mut ours, own) = (signatures(50), key(&RSA.public));
    for turn in 0..20 {
        for number in 0..50 {
            let known = knows(&mut ours, &own, &number.to_string());
            assert_eq!(known, turn > 0, "{number} at {turn}");
            if !known {
                note(&mut ours, &own, &number.to_string());
            }
        }
    }
}

#[test]
fn those_who_come_again_outlast_a_flood_of_others() {
    let (mut ours, own) = (signatures(100), key(&RSA.public));
    note(&mut ours, &own, "regular");
    for number in 0..10_000 {
        note(&mut ours, &own, &number.to_string());
        if number % 30 == 0 {
            assert!(knows(&mut ours, &own, "regular"), "{number}");
        }
    }
}

#[test]
fn bad_signatures_drive_out_no_good_ones_nor_the_other_way_round() {
    let (mut ours, own) = (signatures(2), key(&RSA.public));
    note(&mut ours, &own, "good");
    let bad = mark(&ours, &own, "bad");
    ours.note(bad, false);
    for number in 0..BAD * 3 {
        let mark = mark(&ours, &own, &number.to_string());
        assert_eq!(ours.verdict(mark), None);
        ours.note(mark, false);
        assert_eq!(ours.verdict(mark), Some(false));
    }
    assert!(ours.bad.known.len() <= BAD);
    assert_eq!(ours.verdict(bad), None, "it was driven out");
    assert!(knows(&mut ours, &own, "good"));
    ours.note(bad, false);
    for number in 0..100 {
        note(&mut ours, &own, &format!("good {number}"));
    }
    assert_eq!(ours.verdict(bad), Some(false));
}

#[test]
fn what_nobody_asks_for_is_forgotten() {
    let (mut ours, own) = (signatures(10), key(&RSA.public));
    let start = UnixTime::from_seconds(1_000_000);
    ours.purge(start);
    note(&mut ours, &own, "kept");
    note(&mut ours, &own, "gone");
    let bad = mark(&ours, &own, "bad");
    ours.note(bad, false);
    for turn in 1..5 {
        ours.purge(start.plus(TURN * turn));
        ours.purge(start.plus(TURN * turn));
        assert!(knows(&mut ours, &own, "kept"), "{turn}");
    }
    assert!(!knows(&mut ours, &own, "gone"));
    assert_eq!(ours.verdict(bad), None);
    ours.purge(start.plus(TURN * 5));
    // A clock that was set back does not stop the forgetting.
    ours.purge(start);
    assert!(!knows(&mut ours, &own, "kept"));
    assert_eq!(ours.good.known.capacity(), 0, "what is forgotten takes no room");
}
