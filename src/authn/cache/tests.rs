use super::{HASHED_BYTES, MAX_FORGOTTEN, PURGE_PERIOD, SLOT_BYTES, TokenCache, UNUSED};
use crate::clock::UnixTime;
use std::rc::Rc;

fn cache(bytes: u64) -> TokenCache<Rc<str>> {
    TokenCache::new(bytes)
}

fn at(seconds: u64) -> UnixTime {
    UnixTime::from_seconds(seconds)
}

#[test]
fn a_token_is_known_until_it_expires() {
    let mut cache = cache(10_000);
    cache.insert("token", "facts".into(), (at(0), at(100)), 5);
    assert_eq!(cache.get("token", UnixTime::from_millis(99_999), |_| true).as_deref(), Some("facts"));
    assert_eq!(cache.get("token", at(100), |_| true), None);
    assert!(cache.is_empty());
    // Not even after the clock was set back.
    assert_eq!(cache.get("token", at(1), |_| true), None);
}

#[test]
fn the_whole_token_counts() {
    let mut cache = cache(10_000);
    cache.insert("token", "facts".into(), (at(0), at(100)), 5);
    for other in ["token ", "toke", "Token", "", "tokem"] {
        assert_eq!(cache.get(other, at(1), |_| true), None);
    }
}

#[test]
fn what_no_longer_holds_is_dropped() {
    let mut cache = cache(10_000);
    cache.insert("token", "facts".into(), (at(0), at(100)), 5);
    assert_eq!(cache.get("token", at(1), |_| false), None);
    assert_eq!(cache.get("token", at(1), |_| true), None);
    cache.insert("one", "a".into(), (at(0), at(100)), 1);
    cache.insert("two", "b".into(), (at(0), at(100)), 1);
    cache.retain(|value| &**value == "a");
    assert_eq!(cache.len(), 1);
    assert!(cache.get("one", at(1), |_| true).is_some());
    cache.clear();
    assert!(cache.is_empty());
}

#[test]
fn the_bytes_are_bounded_and_with_them_the_number() {
    let mut small = cache(20_000);
    for number in 0..1000 {
        small.insert(&format!("{number} {}", "x".repeat(1000)), "facts".into(), (at(0), at(100)), 5);
    }
    assert!((10..20).contains(&small.len()), "{}", small.len());
    let mut few = cache(20_000);
    for number in 0..1000 {
        few.insert(&format!("token {number}"), "facts".into(), (at(0), at(100)), 0);
    }
    assert!(few.len() <= 20_000 / SLOT_BYTES, "{}", few.len());
    let mut tiny = cache(1000);
    tiny.insert(&"x".repeat(5000), "facts".into(), (at(0), at(100)), 5);
    assert!(tiny.is_empty());
    let mut none = cache(0);
    none.insert("token", "facts".into(), (at(0), at(100)), 5);
    assert!(none.is_empty());
}

#[test]
fn tokens_that_end_alike_are_different_ones() {
    let mut cache = cache(10_000);
    let end = "e".repeat(HASHED_BYTES);
    cache.insert(&format!("a{end}"), "a".into(), (at(0), at(100)), 1);
    cache.insert(&format!("b{end}"), "b".into(), (at(0), at(100)), 1);
    assert_eq!(cache.get(&format!("a{end}"), at(1), |_| true).as_deref(), Some("a"));
    assert_eq!(cache.get(&format!("b{end}"), at(1), |_| true).as_deref(), Some("b"));
    for other in [end.clone(), format!("c{end}"), format!("aa{end}"), format!("{end}a")] {
        assert_eq!(cache.get(&other, at(1), |_| true), None);
    }
}

#[test]
fn what_nobody_sends_any_more_is_forgotten() {
    let mut cache = cache(10_000);
    for token in ["kept", "gone"] {
        cache.insert(token, "facts".into(), (at(1000), at(9000)), 5);
    }
    let unused = UNUSED.as_secs();
    cache.purge(at(1000 + unused - 1));
    assert_eq!(cache.len(), 2);
    assert!(cache.get("kept", at(1000 + unused - 1), |_| true).is_some());
    // Not looked at again so soon.
    cache.purge(at(1000 + unused));
    assert_eq!(cache.len(), 2);
    cache.purge(at(1000 + unused).plus(PURGE_PERIOD));
    assert!(cache.get("gone", at(1001 + unused), |_| true).is_none());
    assert!(cache.get("kept", at(1001 + unused), |_| true).is_some());
    // A clock that was set back makes nothing old, and does not stop the purging.
    cache.purge(at(1));
    assert_eq!(cache.len(), 1);
    cache.purge(at(9000));
    assert!(cache.is_empty());
}

#[test]
fn many_are_forgotten_bit_by_bit() {
    let mut cache = cache(1 << 20);
    for number in 0..MAX_FORGOTTEN * 2 + 10 {
        cache.insert(&number.to_string(), "facts".into(), (at(1000), at(9000)), 5);
    }
    let mut lengths = Vec::new();
    for _ in 0..3 {
        cache.purge(at(2000));
        lengths.push(cache.len());
    }
    assert_eq!(lengths, [MAX_FORGOTTEN + 10, 10, 0]);
}

#[test]
fn tokens_that_come_once_do_not_drive_out_those_that_come_often() {
    let mut cache = cache(30_000);
    for number in 0..10_000 {
        cache.insert(&format!("once {number}"), "x".into(), (at(0), at(100)), 1);
        if cache.get("often", at(1), |_| true).is_none() {
            cache.insert("often", "facts".into(), (at(0), at(100)), 5);
        }
        if number > 1000 {
            assert!(cache.get("often", at(1), |_| true).is_some(), "{number}");
        }
    }
}
