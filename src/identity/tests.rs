use super::{Attribute, Identity, Texts, allocated};
use proptest::collection::vec;
use std::collections::BTreeSet;

fn texts(elements: &[&str]) -> Texts {
    elements.iter().copied().collect()
}

#[test]
fn attributes_stand_in_the_order_of_names_and_the_last_one_counts() {
    let mut identity = Identity::default();
    for (name, number) in [("b", 1), ("a", 2), ("c", 3), ("a", 4)] {
        identity.insert(name, Attribute::Integer(number));
    }
    let all: Vec<_> = identity.attributes().map(|(name, value)| (name, value.clone())).collect();
    let integer = Attribute::Integer;
    assert_eq!(all, [("a", integer(4)), ("b", integer(1)), ("c", integer(3))]);
    assert_eq!(identity.attribute("d"), None);
}

#[test]
fn a_set_contains_what_it_was_made_of_and_nothing_across_its_borders() {
    let set = texts(&["b", "", "ab", "b", "c"]);
    assert_eq!(set.iter().collect::<Vec<_>>(), ["", "ab", "b", "c"]);
    assert_eq!(set.len(), 4);
    for other in ["a", "abb", "bc", "abbc", "bb"] {
        assert!(!set.contains(other), "{other}");
    }
    assert!(texts(&[]).is_empty() && !texts(&[]).contains(""));
    assert!(!texts(&[""]).is_empty() && texts(&[""]).contains(""));
    assert_ne!(texts(&["ab", "c"]), texts(&["a", "bc"]));
    let mut identity = Identity::default();
    identity.insert("roles", Attribute::Set(set));
    assert!(identity.set_contains("roles", "ab") && !identity.set_contains("scopes", "ab"));
}

#[test]
fn an_allocation_is_weighed_as_it_is() {
    for (bytes, really) in [(0, 0), (1, 32), (24, 32), (25, 48), (40, 48), (41, 64), (759, 768), (1000, 1008)]
    {
        assert_eq!(allocated(bytes), really, "{bytes}");
    }
    let mut identity = Identity::with_capacity(1);
    assert!(identity.weight() < 100);
    identity.insert("roles", Attribute::Set(texts(&[&"x".repeat(1000)])));
    assert!((1000..1200).contains(&identity.weight()));
}

proptest::proptest! {
    #[test]
    fn a_set_is_a_set(elements in vec("[ab\u{0}é]{0,3}", 0..12), other in "[ab\u{0}é]{0,3}") {
        let theirs: BTreeSet<&str> = elements.iter().map(String::as_str).collect();
        let ours: Texts = elements.iter().map(String::as_str).collect();
        assert_eq!(ours.iter().collect::<Vec<_>>(), theirs.iter().copied().collect::<Vec<_>>());
        assert_eq!(ours.contains(&other), theirs.contains(other.as_str()));
        assert!(elements.iter().all(|element| ours.contains(element)));
    }
}
