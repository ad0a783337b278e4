//! Quotas: how much of something a customer may use.

use crate::footprint::allocated;
use serde_json::{Map, Value};
use std::cmp::Ordering;
use std::fmt;

/// How much of something may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// So much; a fraction is rounded down.
    Limit(i64),
    /// As much as anybody likes.
    Unlimited,
}

impl Default for Quota {
    fn default() -> Self {
        Self::Limit(0)
    }
}

impl Quota {
    /// Whether so much may be used.
    #[must_use]
    pub const fn suffices(self, wanted: i64) -> bool {
        match self {
            Self::Limit(limit) => limit >= wanted,
            Self::Unlimited => true,
        }
    }
}

impl Ord for Quota {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Limit(limit), Self::Limit(other)) => limit.cmp(other),
            (Self::Limit(_), Self::Unlimited) => Ordering::Less,
            (Self::Unlimited, Self::Limit(_)) => Ordering::Greater,
            (Self::Unlimited, Self::Unlimited) => Ordering::Equal,
        }
    }
}

impl PartialOrd for Quota {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit(limit) => limit.fmt(formatter),
            Self::Unlimited => formatter.write_str("unlimited"),
        }
    }
}

/// Quotas by name, in the order of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quotas(Box<[(Box<str>, Quota)]>);

impl Quotas {
    /// The quota of that name; one that is absent is 0, whoever is asked.
    #[must_use]
    pub fn quota(&self, name: &str) -> Quota {
        let place = self.0.binary_search_by(|(held, _)| (**held).cmp(name));
        let found = place.ok().and_then(|place| self.0.get(place));
        found.map(|(_, quota)| *quota).unwrap_or_default()
    }

    /// Every quota that is known.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Quota)> {
        self.0.iter().map(|(name, quota)| (&**name, *quota))
    }

    /// What they are in JSON: numbers by name; `null` is unlimited, as services write it themselves.
    #[must_use]
    pub fn to_json(&self) -> Map<String, Value> {
        let value = |quota| match quota {
            Quota::Limit(limit) => limit.into(),
            Quota::Unlimited => Value::Null,
        };
        self.iter().map(|(name, quota)| (name.to_owned(), value(quota))).collect()
    }

    /// How many bytes they occupy beside themselves.
    #[must_use]
    pub fn weight(&self) -> usize {
        let names = self.0.iter().map(|(name, _)| allocated(name.len()));
        names.fold(allocated(size_of_val(&*self.0)), usize::saturating_add)
    }
}

impl<'a> FromIterator<(&'a str, Quota)> for Quotas {
    /// Of two quotas of one name the smaller one counts.
    fn from_iter<I: IntoIterator<Item = (&'a str, Quota)>>(quotas: I) -> Self {
        let mut sorted: Vec<(Box<str>, Quota)> =
            quotas.into_iter().map(|(name, quota)| (name.into(), quota)).collect();
        sorted.sort_unstable();
        sorted.dedup_by(|later, earlier| later.0 == earlier.0);
        Self(sorted.into())
    }
}

#[cfg(test)]
mod tests {
    use super::{Quota, Quotas};

    #[test]
    fn absent_is_nothing_and_unlimited_is_enough() {
        let quotas: Quotas = [("a", Quota::Limit(2)), ("b", Quota::Unlimited)].into_iter().collect();
        let suffices = |name, wanted| quotas.quota(name).suffices(wanted);
        assert!(suffices("a", 2) && !suffices("a", 3) && suffices("b", i64::MAX));
        assert!(!suffices("c", 1) && suffices("c", 0));
        let told: Vec<String> = quotas.iter().map(|(name, quota)| format!("{name}={quota}")).collect();
        assert_eq!(told, ["a=2", "b=unlimited"]);
    }

    #[test]
    fn of_two_of_one_name_the_smaller_counts() {
        let quotas: Quotas =
            [("a", Quota::Unlimited), ("a", Quota::Limit(1)), ("a", Quota::Limit(5))].into_iter().collect();
        assert_eq!(quotas.quota("a"), Quota::Limit(1));
    }
}
