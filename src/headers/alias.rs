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

/// A set of header names and name prefixes, each standing for all its aliases.
#[derive(Clone, Debug, Default)]
pub struct AliasSet {
    names: HashSet<Box<[u8]>, foldhash::fast::FixedState>,
    prefixes: Vec<Box<[u8]>>,
    /// Bit `n` is set when some name has `n` bytes: rules out most headers without a look at their letters.
    lengths: u128,
}

impl AliasSet {
    /// Adds a name.
    pub fn insert(&mut self, name: &str) {
        self.lengths |= length_bit(name.len());
        self.names.insert(fold(name).into_bytes().into());
    }

    /// Adds every name that begins so.
    pub fn insert_prefix(&mut self, prefix: &str) {
        self.prefixes.push(fold(prefix).into_bytes().into());
    }

    /// Whether `name` is one of the names, begins like one of the prefixes, or is an alias of such a name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        let bytes = name.as_bytes();
        self.prefixes.iter().any(|prefix| begins_with(bytes, prefix))
            || (self.lengths & length_bit(bytes.len()) != 0 && self.contains_exactly(bytes))
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

fn length_bit(length: usize) -> u128 {
    1_u128.checked_shl(u32::try_from(length.min(127)).unwrap_or(127)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::AliasSet;

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
}
