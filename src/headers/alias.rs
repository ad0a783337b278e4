//! Header names that services take for the same name.
//!
//! CGI and WSGI turn `X-Customer-Id`, `x_customer_id` and (in some servers) `x.customer.id` into one variable,
//! so stripping the exact name is not enough (GHSA-vjrc-mh2v-45x6). Names are folded before they are compared:
//! letter case is ignored and every character that is no letter or digit counts as `-`.

use std::collections::HashSet;

/// The folded form of a header name.
#[must_use]
pub fn fold(name: &str) -> String {
    name.bytes().map(|byte| char::from(fold_byte(byte))).collect()
}

const fn fold_byte(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

/// The longest name that is folded on the stack.
const INLINE: usize = 64;

/// Rules out most names by their length and first letter: what it stops is in none of the sets that were merged.
#[derive(Clone, Debug)]
pub struct Sieve {
    /// For each length, the last one standing for all beyond, which first letters names of it may have; a bit is
    /// shared by letters that differ by a multiple of 32.
    by_length: [u32; LENGTHS],
}

const LENGTHS: usize = 64;

impl Default for Sieve {
    fn default() -> Self {
        Self { by_length: [0; LENGTHS] }
    }
}

impl Sieve {
    /// Whether a name may be in one of the sets.
    #[must_use]
    pub fn passes(&self, name: &str) -> bool {
        let letters = self.by_length.get(place(name.len())).copied().unwrap_or_default();
        letters & letter(name.as_bytes()) != 0
    }

    /// Lets through what the other one lets through.
    pub fn merge(&mut self, other: &Self) {
        for (letters, more) in self.by_length.iter_mut().zip(other.by_length) {
            *letters |= more;
        }
    }

    /// Lets a name through, and all aliases of it.
    pub fn insert(&mut self, name: &str) {
        if let Some(letters) = self.by_length.get_mut(place(name.len())) {
            *letters |= letter(name.as_bytes());
        }
    }

    fn insert_prefix(&mut self, prefix: &[u8]) {
        let letters = if prefix.is_empty() { u32::MAX } else { letter(prefix) };
        self.by_length.iter_mut().skip(place(prefix.len())).for_each(|known| *known |= letters);
    }
}

fn place(length: usize) -> usize {
    length.min(LENGTHS.saturating_sub(1))
}

fn letter(name: &[u8]) -> u32 {
    1_u32.rotate_left(u32::from(name.first().copied().map_or(0, fold_byte)))
}

/// A set of header names and name prefixes, each standing for all its aliases.
#[derive(Clone, Debug, Default)]
pub struct AliasSet {
    names: HashSet<Box<[u8]>, foldhash::fast::FixedState>,
    prefixes: Vec<Box<[u8]>>,
    sieve: Sieve,
}

impl AliasSet {
    /// Adds a name.
    pub fn insert(&mut self, name: &str) {
        self.sieve.insert(name);
        self.names.insert(fold(name).into_bytes().into());
    }

    /// Adds every name that begins so.
    pub fn insert_prefix(&mut self, prefix: &str) {
        self.sieve.insert_prefix(prefix.as_bytes());
        self.prefixes.push(fold(prefix).into_bytes().into());
    }

    /// What rules out most names.
    #[must_use]
    pub const fn sieve(&self) -> &Sieve {
        &self.sieve
    }

    /// Whether `name` is one of the names, begins like one of the prefixes, or is an alias of such a name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        let bytes = name.as_bytes();
        self.sieve.passes(name)
            && (self.prefixes.iter().any(|prefix| begins_with(bytes, prefix)) || self.contains_exactly(bytes))
    }

    fn contains_exactly(&self, name: &[u8]) -> bool {
        let mut inline = [0_u8; INLINE];
        if let Some(folded) = inline.get_mut(..name.len()) {
            for (to, from) in folded.iter_mut().zip(name) {
                *to = fold_byte(*from);
            }
            return self.names.contains(&*folded);
        }
        let folded: Vec<u8> = name.iter().map(|byte| fold_byte(*byte)).collect();
        self.names.contains(folded.as_slice())
    }
}

fn begins_with(name: &[u8], prefix: &[u8]) -> bool {
    name.len() >= prefix.len() && name.iter().zip(prefix).all(|(byte, wanted)| fold_byte(*byte) == *wanted)
}

#[cfg(test)]
mod tests {
    use super::{AliasSet, Sieve, fold};
    use proptest::prelude::*;

    fn set() -> AliasSet {
        let mut set = AliasSet::default();
        set.insert("X-Customer-Id");
        set.insert(&"l".repeat(200));
        set.insert_prefix("x-auth-");
        set
    }

    #[test]
    fn every_alias_of_a_name_is_found() {
        for alias in [
            "x-customer-id",
            "X_CUSTOMER_ID",
            "x.customer.id",
            "x-customer_id",
            "X!Customer~Id",
            "x'customer|id",
        ] {
            assert!(set().contains(alias), "{alias}");
        }
        assert!(set().contains(&"L".repeat(200)));
    }

    #[test]
    fn other_names_are_not() {
        for other in
            ["x-customer-idx", "xx-customer-id", "xcustomerid", "x-customer--id", "x-custome-rid", "", "host"]
        {
            assert!(!set().contains(other), "{other}");
        }
        assert!(!set().contains(&"l".repeat(201)));
    }

    #[test]
    fn a_prefix_covers_what_begins_so() {
        for alias in ["x-auth-user", "X_Auth_", "x.auth.anything-at-all"] {
            assert!(set().contains(alias), "{alias}");
        }
        assert!(!set().contains("x-auth"));
        assert!(!set().contains("x-authority"));
    }

    proptest! {
        #[test]
        fn a_set_holds_its_names_and_prefixes_and_their_aliases_and_nothing_else(
            names in prop::collection::vec("[aA1_-]{1,4}|[b-e]{62,66}", 0..4),
            prefixes in prop::collection::vec("[aA1_-]{0,3}|[b-e]{62,66}", 0..2),
            asked in prop::collection::vec("[aA1_-]{0,5}|[b-e]{62,66}", 8),
        ) {
            let mut set = AliasSet::default();
            for name in &names {
                set.insert(name);
            }
            for prefix in &prefixes {
                set.insert_prefix(prefix);
            }
            let mut merged = Sieve::default();
            merged.merge(set.sieve());
            for name in asked.iter().chain(&names).chain(&prefixes) {
                let folded = fold(name);
                let is_in = names.iter().any(|known| fold(known) == folded)
                    || prefixes.iter().any(|prefix| folded.starts_with(&fold(prefix)));
                prop_assert_eq!(set.contains(name), is_in, "{}", name);
                prop_assert!(merged.passes(name) || !is_in);
            }
        }
    }
}
