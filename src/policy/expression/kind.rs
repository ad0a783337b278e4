//! What kind of value an expression has, as far as it is known before it is evaluated.

use cel::common::ast::LiteralValue;
use std::fmt;

/// A kind of value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Boolean,
    Integer,
    Unsigned,
    Double,
    Text,
    Bytes,
    Null,
    List,
    Map,
    /// A type, such as `int`.
    Type,
    /// Only the token, or the entry of a key file, can say.
    Unknown,
}

impl Kind {
    pub(super) const fn of(literal: &LiteralValue) -> Self {
        match literal {
            LiteralValue::Boolean(_) => Self::Boolean,
            LiteralValue::Bytes(_) => Self::Bytes,
            LiteralValue::Double(_) => Self::Double,
            LiteralValue::Int(_) => Self::Integer,
            LiteralValue::Null => Self::Null,
            LiteralValue::String(_) => Self::Text,
            LiteralValue::UInt(_) => Self::Unsigned,
        }
    }

    pub(super) const fn is_number(self) -> bool {
        matches!(self, Self::Integer | Self::Unsigned | Self::Double)
    }

    /// Whether it is one of these, or may be.
    pub(super) fn may_be(self, kinds: &[Self]) -> bool {
        self == Self::Unknown || kinds.contains(&self)
    }

    /// Whether two values of these kinds may be equal; numbers of different kinds may.
    pub(super) fn may_equal(self, other: Self) -> bool {
        self.may_be(&[other]) || other == Self::Unknown || (self.is_number() && other.is_number())
    }

    /// What two ways of an evaluation have in common.
    pub(super) fn or(self, other: Self) -> Self {
        if self == other { self } else { Self::Unknown }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Boolean => "a truth value",
            Self::Integer => "a whole number",
            Self::Unsigned => "an unsigned number",
            Self::Double => "a number",
            Self::Text => "text",
            Self::Bytes => "bytes",
            Self::Null => "null",
            Self::List => "a list",
            Self::Map => "a map",
            Self::Type => "a type",
            Self::Unknown => "something unknown",
        })
    }
}
