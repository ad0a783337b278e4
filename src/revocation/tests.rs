use super::list::{Full, List, Term};
use super::mark::{LOGOUT, Mark, Marked, TOKEN, Watched, digest_of, logout_digest};
use crate::clock::UnixTime;
use crate::identity::{Attribute, Identity};
use crate::json;
use std::cell::Cell;
use std::time::{Duration, Instant};

const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);

fn later(seconds: u64) -> UnixTime {
    NOW.plus(Duration::from_secs(seconds))
}

fn mark(value: &str) -> Mark {
    Mark::new("sid", digest_of(value.as_bytes()))
}

fn until(seconds: u64) -> Term {
    Term { until: later(seconds), before: None }
}

fn marked(values: &[&str], issued: Option<UnixTime>) -> Marked {
    Marked { marks: values.iter().map(|value| mark(value)).collect(), issued, seen: Cell::new(0) }
}

#[test]
fn what_is_added_hits_until_it_ends() {
    let list = List::default();
    let (session, other) = (marked(&["a", "b"], None), marked(&["c"], None));
    assert!(!list.hits(&session, NOW));
    list.add(vec![(mark("b"), until(10))], NOW).unwrap();
    assert!(list.hits(&session, NOW) && list.hits(&session, later(9)));
    assert!(!list.hits(&other, NOW));
    assert!(!list.hits(&session, later(10)));
    list.add(vec![(mark("b"), until(11))], NOW).unwrap();
    assert!(
        list.hits(&session, later(10)) && !list.hits(&session, later(11)),
        "one second more is one second more"
    );
    // Added again after it was found to have ended.
    list.add(vec![(mark("b"), until(30))], later(11)).unwrap();
    assert!(list.hits(&session, later(11)));
    assert_eq!(list.held(), 1);
}

#[test]
fn what_was_not_found_is_looked_for_again_when_the_list_has_changed() {
    let list = List::default();
    let session = marked(&["a"], None);
    list.add(vec![(mark("x"), until(10))], NOW).unwrap();
    assert!(!list.hits(&session, NOW));
    let seen = session.seen.get();
    assert!(!list.hits(&session, NOW));
    // What changes nothing costs nothing.
    list.add_inexact(vec![(mark("x"), until(11))], Duration::from_secs(2), NOW).unwrap();
    list.add(vec![(mark("x"), until(9)), (mark("y"), Term { until: NOW, before: None })], NOW).unwrap();
    assert!(!list.hits(&session, NOW));
    assert_eq!(session.seen.get(), seen);
    list.add(vec![(mark("a"), until(10))], NOW).unwrap();
    assert!(list.hits(&session, NOW));
}

#[test]
fn a_revocation_is_only_ever_widened() {
    let list = List::default();
    let before = |seconds, at| Term { until: later(seconds), before: Some(later(at)) };
    let (old, new) = (marked(&["a"], Some(later(5))), marked(&["a"], Some(later(6))));
    let silent = marked(&["a"], None);
    list.add(vec![(mark("a"), before(100, 5))], NOW).unwrap();
    assert!(list.hits(&old, NOW) && list.hits(&silent, NOW) && !list.hits(&new, NOW));
    list.add(vec![(mark("a"), before(50, 6))], NOW).unwrap();
    assert!(list.hits(&new, later(99)), "the longer end, and the later time");
    list.add(vec![(mark("a"), before(100, 1))], NOW).unwrap();
    assert!(list.hits(&new, NOW));
    list.add(vec![(mark("a"), until(20)), (mark("a"), before(500, 0))], NOW).unwrap();
    assert!(list.hits(&marked(&["a"], Some(later(400))), later(450)));
}

#[test]
fn there_is_an_end_to_its_size_and_nothing_is_forgotten_for_it() {
    let list = List::with_room(3);
    let all = |values: &[&str]| values.iter().map(|value| (mark(value), until(10))).collect::<Vec<_>>();
    list.add(all(&["a", "b", "c"]), NOW).unwrap();
    assert_eq!(list.add(all(&["d"]), NOW), Err(Full));
    assert_eq!(list.held(), 3);
    list.add(vec![(mark("a"), until(90))], NOW).unwrap();
    for value in ["a", "b", "c"] {
        assert!(list.hits(&marked(&[value], None), NOW), "{value}");
    }
    assert!(!list.hits(&marked(&["d"], None), NOW));
    // What has ended makes room.
    list.add(vec![(mark("d"), until(90)), (mark("e"), until(90))], later(10)).unwrap();
    assert_eq!(list.held(), 3);
    assert!(list.hits(&marked(&["a"], None), later(10)));
    assert_eq!(list.lasting(later(50)).len(), 3);
    list.purge_all(later(90));
    assert_eq!(list.held(), 0);
}

#[test]
fn one_more_of_very_many_is_added_in_no_time() {
    let list = List::default();
    let many = (0..100_000).map(|number: u32| (mark(&number.to_string()), until(1000))).collect();
    list.add(many, NOW).unwrap();
    assert_eq!(list.held(), 100_000);
    let started = Instant::now();
    for number in 0..1000 {
        list.add(vec![(mark(&format!("more {number}")), until(1000))], NOW).unwrap();
    }
    // Copying all of them each time would take seconds.
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert!(list.hits(&marked(&["77777"], None), NOW) && list.hits(&marked(&["more 999"], None), NOW));
}

#[test]
fn a_list_that_becomes_a_copy_was_whole_until_then() {
    let (fresh, alone) = (List::default(), List::default());
    fresh.becomes(true, NOW);
    assert_eq!(fresh.whole_at(), None, "nobody has ever read it");
    alone.becomes(false, NOW);
    assert_eq!(alone.whole_at(), None);
    alone.becomes(true, later(5));
    alone.becomes(true, later(9));
    assert_eq!(alone.whole_at(), Some(later(5)));
}

#[test]
fn workers_read_while_it_is_written() {
    let list = List::default();
    std::thread::scope(|scope| {
        for reader in 0..2 {
            let list = &list;
            scope.spawn(move || {
                for number in 0..500 {
                    let session = marked(&[&number.to_string()], None);
                    // Once it hits it hits for good, and it does so at last.
                    while !list.hits(&session, NOW) {
                        std::thread::yield_now();
                    }
                    assert!(list.hits(&session, NOW), "reader {reader}");
                }
            });
        }
        for number in 0..500 {
            list.add(vec![(mark(&number.to_string()), until(10))], NOW).unwrap();
        }
    });
}

#[test]
fn values_are_those_of_the_identity_or_else_of_the_claims() {
    let watched = Watched::new(&["sid", "sub", "jti", "token"].map(str::to_owned));
    let mut identity = Identity::default();
    identity.insert("sid", Attribute::Integer(7));
    identity.insert("subject", Attribute::Text("person".into()));
    let claims = json::object(br#"{"sid":"claim","jti":"j","iat":1700000000.9,"iss":"i"}"#).unwrap();
    let traces = watched.traces(&identity, Some(&claims)).of("a.b.c");
    let expected = [
        mark("7"),
        Mark::new("sub", digest_of(b"person")),
        Mark::new("jti", digest_of(b"j")),
        Mark::new(LOGOUT, logout_digest("i", "sid", "claim")),
        Mark::new(TOKEN, digest_of(b"a.b.c")),
    ];
    assert_eq!(*traces.marks, expected);
    assert_eq!(traces.issued, Some(UnixTime::from_millis(1_700_000_000_900)));
    let odd = json::object(br#"{"sid":["x"],"jti":"","sub":null,"iat":"x","iss":1.5}"#).unwrap();
    let traces = watched.traces(&Identity::default(), Some(&odd)).of("t");
    assert_eq!((&*traces.marks, traces.issued), (&[Mark::new(TOKEN, digest_of(b"t"))][..], None));
    assert_ne!(logout_digest("a", "sub", "b"), logout_digest("a", "sid", "b"));
    assert_ne!(logout_digest("ab", "sub", "c"), logout_digest("a", "bsub", "c"));
}
