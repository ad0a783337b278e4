//! What operators and functions take, and what comes out, as far as kinds tell.

use super::kind::Kind;
use cel::common::ast::operators as op;

/// Kinds that do not fit together.
#[derive(Debug)]
pub(super) struct Clash {
    pub(super) message: String,
    pub(super) hint: &'static str,
}

impl Clash {
    fn new(message: impl Into<String>, hint: &'static str) -> Self {
        Self { message: message.into(), hint }
    }
}

/// What comes of an operator or a function; `kinds` are those of its target, if there is one, and its arguments.
///
/// # Errors
/// If it cannot be applied to them, or is unknown.
pub(super) fn result(name: &str, is_member: bool, kinds: &[Kind]) -> Result<Kind, Clash> {
    match (name, kinds) {
        (op::CONDITIONAL, [condition, one, other]) => {
            expect(*condition, &[Kind::Boolean], "what stands before `?`")?;
            Ok(one.or(*other))
        }
        (op::LOGICAL_NOT, [kind]) => expect(*kind, &[Kind::Boolean], "what stands after `!`"),
        (op::NEGATE, [kind]) => {
            expect(*kind, &[Kind::Integer, Kind::Double], "what stands after `-`")?;
            Ok(*kind)
        }
        (_, [left, right]) if !is_member => {
            binary(name, (*left, *right)).unwrap_or_else(|| function(name, false, kinds))
        }
        _ => function(name, is_member, kinds),
    }
}

/// The kind itself, or the one that it must be if it is unknown.
///
/// # Errors
/// If it is none of these.
pub(super) fn expect(kind: Kind, expected: &[Kind], what: &str) -> Result<Kind, Clash> {
    let first = expected.first().copied().unwrap_or(Kind::Unknown);
    if !kind.may_be(expected) {
        let hint = "compare it with something, or convert it";
        return Err(Clash::new(format!("{what} is {kind}, not {first}"), hint));
    }
    Ok(if kind == Kind::Unknown { first } else { kind })
}

/// What comes of a member by something that is not written out.
///
/// # Errors
/// If there is no such member in anything of that kind.
pub(super) fn index(kind: Kind, index: Kind) -> Result<Kind, Clash> {
    let by_number = index == Kind::Unknown || index.is_number();
    let fits = match kind {
        Kind::List => by_number,
        Kind::Map => by_number || matches!(index, Kind::Text | Kind::Boolean),
        Kind::Unknown => true,
        Kind::Boolean
        | Kind::Integer
        | Kind::Unsigned
        | Kind::Double
        | Kind::Text
        | Kind::Bytes
        | Kind::Null
        | Kind::Type => false,
    };
    if fits {
        return Ok(Kind::Unknown);
    }
    Err(Clash::new(format!("{kind} has no member by {index}"), "maps have members by name, lists by number"))
}

/// What comes of two values; none if it is no operator.
fn binary(name: &str, (left, right): (Kind, Kind)) -> Option<Result<Kind, Clash>> {
    let clash = match name {
        op::LOGICAL_AND | op::LOGICAL_OR => {
            let left = expect(left, &[Kind::Boolean], "what stands left of `&&` or `||`");
            return Some(
                left.and_then(|_| expect(right, &[Kind::Boolean], "what stands right of `&&` or `||`")),
            );
        }
        op::EQUALS | op::NOT_EQUALS => (!left.may_equal(right)).then(|| {
            Clash::new(
                format!("{left} and {right} are never equal"),
                "convert one of them: string(…), int(…)",
            )
        }),
        op::LESS | op::LESS_EQUALS | op::GREATER | op::GREATER_EQUALS => {
            let unordered = [Kind::List, Kind::Map, Kind::Null, Kind::Type];
            let fits = left.may_equal(right) && !unordered.contains(&left) && !unordered.contains(&right);
            (!fits).then(|| {
                let hint = "compare numbers with numbers, text with text";
                Clash::new(format!("{left} and {right} have no order"), hint)
            })
        }
        op::IN => expect(right, &[Kind::List, Kind::Map], "what stands right of `in`").err(),
        op::ADD | op::SUBSTRACT | op::MULTIPLY | op::DIVIDE | op::MODULO => {
            return Some(arithmetic(name == op::ADD, (left, right)));
        }
        _ => return None,
    };
    Some(clash.map_or(Ok(Kind::Boolean), Err))
}

fn arithmetic(joins: bool, (left, right): (Kind, Kind)) -> Result<Kind, Clash> {
    let numbers = [Kind::Integer, Kind::Unsigned, Kind::Double];
    let fits = |kind: Kind| {
        kind.may_be(&numbers) || (joins && matches!(kind, Kind::Text | Kind::Bytes | Kind::List))
    };
    let same = left == right || left == Kind::Unknown || right == Kind::Unknown;
    if fits(left) && fits(right) && same {
        return Ok(if left == Kind::Unknown { right } else { left });
    }
    let hint = "convert one of them: string(…), int(…), double(…)";
    Err(Clash::new(format!("{left} and {right} cannot be calculated with"), hint))
}

fn function(name: &str, is_member: bool, kinds: &[Kind]) -> Result<Kind, Clash> {
    const HINT: &str = "see the list of functions in docs/expressions.md";
    let all = |expected: &[Kind]| kinds.iter().all(|kind| kind.may_be(expected));
    let scalar = all(&[Kind::Integer, Kind::Unsigned, Kind::Double, Kind::Text]);
    let (fits, kind) = match (name, is_member, kinds.len()) {
        ("size", _, 1) => (all(&[Kind::Text, Kind::Bytes, Kind::List, Kind::Map]), Kind::Integer),
        ("contains" | "startsWith" | "endsWith", true, 2) | ("matches", _, 2) => {
            (all(&[Kind::Text]), Kind::Boolean)
        }
        ("string", false, 1) => (scalar || all(&[Kind::Boolean, Kind::Bytes]), Kind::Text),
        ("int", false, 1) => (scalar, Kind::Integer),
        ("uint", false, 1) => (scalar, Kind::Unsigned),
        ("double", false, 1) => (scalar, Kind::Double),
        ("bool", false, 1) => (all(&[Kind::Boolean, Kind::Text]), Kind::Boolean),
        ("bytes", false, 1) => (all(&[Kind::Bytes, Kind::Text]), Kind::Bytes),
        ("type", false, 1) => (true, Kind::Type),
        ("dyn", false, 1) => (true, Kind::Unknown),
        _ => return Err(Clash::new(format!("there is no function {name} of this form"), HINT)),
    };
    if fits {
        return Ok(kind);
    }
    let given: Vec<String> = kinds.iter().map(ToString::to_string).collect();
    Err(Clash::new(format!("{name} cannot take {}", given.join(" and ")), HINT))
}
