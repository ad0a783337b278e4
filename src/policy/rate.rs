//! The rate limits of a rule: whom each counts, and how much they may.

use crate::identity::{Attribute, Identity};
use crate::rates::{Charge, Key, Rate};
use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// A rate limit, compiled.
#[derive(Clone, Debug)]
pub struct RateLimit {
    /// What tells it from every other one, in this process and in Redis.
    pub scope: String,
    /// Who has a limit of their own.
    pub per: Per,
    /// Requests in a window.
    pub amount: Amount,
    /// Requests above that at once.
    pub burst: u64,
    /// The window.
    pub window: Duration,
    /// The places of the authenticators whose credentials it holds for; none = it holds for everybody.
    pub authenticators: Option<Vec<usize>>,
}

/// Who has a limit of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Per {
    /// Each address.
    Client,
    /// Each value of an attribute.
    Attribute(Box<str>),
}

/// Requests in a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Amount {
    /// As many for everybody.
    Fixed(u64),
    /// As many as an attribute says, or else the default.
    Attribute(Box<str>, u64),
}

/// The largest number that an attribute can grant.
pub const MOST: u64 = 1_000_000_000;

/// Who is asking, as far as it counts for limits.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The verified identity, and the place of its authenticator.
    pub identity: Option<(&'a Identity, usize)>,
    /// Where the request comes from.
    pub client: Option<IpAddr>,
}

impl RateLimit {
    /// Whether it can be charged before anybody is asked who is asking. Guesses at credentials count then as well.
    #[must_use]
    pub const fn is_early(&self) -> bool {
        matches!(self.per, Per::Client) && self.authenticators.is_none()
    }

    /// What it charges for a request; none if it does not hold for it.
    #[must_use]
    pub fn charge(&self, asker: &Asker<'_>) -> Option<Charge> {
        let identity = asker.identity.map(|(identity, _)| identity);
        if let Some(places) = &self.authenticators
            && !asker.identity.is_some_and(|(_, place)| places.contains(&place))
        {
            return None;
        }
        let value = match &self.per {
            Per::Client => None,
            Per::Attribute(name) => identity.and_then(|identity| identity.attribute(name)),
        };
        // A customer must not be able to name an address, nor an address a customer.
        let value = match value {
            Some(value) => format!("={}", text(value)),
            None => address(asker.client).into_owned(),
        };
        let limit = match &self.amount {
            Amount::Fixed(limit) => *limit,
            Amount::Attribute(name, default) => {
                identity.and_then(|identity| number(identity.attribute(name)?)).unwrap_or(*default)
            }
        };
        let rate = Rate { limit, burst: self.burst, window: self.window };
        Some(Charge { key: Key::of(&self.scope, &value), rate })
    }
}

fn text(value: &Attribute) -> Cow<'_, str> {
    match value {
        Attribute::Text(text) => Cow::Borrowed(text),
        Attribute::Integer(number) => Cow::Owned(number.to_string()),
        Attribute::Boolean(_) | Attribute::Set(_) | Attribute::Quotas(_) => {
            Cow::Owned(value.to_json().to_string())
        }
    }
}

/// What an attribute grants; less than nothing is nothing, and what is no number grants nothing either.
fn number(value: &Attribute) -> Option<u64> {
    let number = match value {
        Attribute::Integer(number) => *number,
        Attribute::Text(text) => text.parse().unwrap_or_default(),
        Attribute::Boolean(_) | Attribute::Set(_) | Attribute::Quotas(_) => 0,
    };
    u64::try_from(number.clamp(0, MOST.into())).ok()
}

/// An address as it is counted. Of IPv6 a client has a /64 at least (RFC 6177), so that is one; clients of a unix socket are one.
fn address(client: Option<IpAddr>) -> Cow<'static, str> {
    match client.map(|client| client.to_canonical()) {
        None => Cow::Borrowed("@local"),
        Some(IpAddr::V4(address)) => Cow::Owned(format!("@{address}")),
        Some(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            Cow::Owned(format!("@{}", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Amount, Asker, Per, RateLimit};
    use crate::identity::{Attribute, Identity};
    use std::time::Duration;

    fn limit(per: Per, amount: Amount) -> RateLimit {
        let window = Duration::from_secs(60);
        RateLimit { scope: "test".to_owned(), per, amount, burst: 0, window, authenticators: None }
    }

    fn identity(attributes: &[(&str, Attribute)]) -> Identity {
        let mut identity = Identity::default();
        for (name, value) in attributes {
            identity.insert(*name, value.clone());
        }
        identity
    }

    fn text(text: &str) -> Attribute {
        Attribute::Text(text.into())
    }

    #[test]
    fn each_value_is_counted_by_itself_and_nobody_can_pose_as_another() {
        let per = limit(Per::Attribute("customer".into()), Amount::Fixed(5));
        let of = |identity: Option<&Identity>, client: &str| {
            let client = Some(client.parse().unwrap());
            per.charge(&Asker { identity: identity.map(|identity| (identity, 0)), client }).unwrap().key
        };
        let (ada, bob, posing) = (
            identity(&[("customer", text("ada"))]),
            identity(&[("customer", text("bob"))]),
            identity(&[("customer", text("@192.0.2.1"))]),
        );
        assert_eq!(of(Some(&ada), "192.0.2.1"), of(Some(&ada), "192.0.2.2"));
        assert_ne!(of(Some(&ada), "192.0.2.1"), of(Some(&bob), "192.0.2.1"));
        assert_eq!(of(None, "192.0.2.1"), of(Some(&identity(&[])), "::ffff:192.0.2.1"), "counted by address");
        assert_ne!(of(Some(&posing), "192.0.2.2"), of(None, "192.0.2.1"));
        assert_eq!(of(None, "2001:db8::1"), of(None, "2001:db8::2"), "one /64");
        assert_ne!(of(None, "2001:db8::1"), of(None, "2001:db8:0:1::1"));
        let same_number = identity(&[("customer", Attribute::Integer(12))]);
        assert_eq!(of(Some(&same_number), "::1"), of(Some(&identity(&[("customer", text("12"))])), "::1"));
    }

    #[test]
    fn a_tier_says_how_much() {
        let tiers = limit(Per::Client, Amount::Attribute("tier".into(), 10));
        let of = |attributes: &[(&str, Attribute)]| {
            let identity = identity(attributes);
            tiers.charge(&Asker { identity: Some((&identity, 0)), client: None }).unwrap().rate.limit
        };
        assert_eq!(of(&[]), 10);
        assert_eq!(of(&[("tier", Attribute::Integer(1000))]), 1000);
        assert_eq!(of(&[("tier", text("1000"))]), 1000);
        assert_eq!(of(&[("tier", Attribute::Integer(-1))]), 0);
        assert_eq!(of(&[("tier", text("gold"))]), 0);
        assert_eq!(of(&[("tier", Attribute::Integer(i128::MAX))]), super::MOST);
    }

    #[test]
    fn a_limit_for_some_authenticators_holds_for_no_others() {
        let per = RateLimit { authenticators: Some(vec![1]), ..limit(Per::Client, Amount::Fixed(5)) };
        let nobody = identity(&[]);
        assert!(!per.is_early());
        assert!(per.charge(&Asker { identity: Some((&nobody, 0)), client: None }).is_none());
        assert!(per.charge(&Asker { identity: Some((&nobody, 1)), client: None }).is_some());
        assert!(per.charge(&Asker { identity: None, client: None }).is_none());
    }
}
