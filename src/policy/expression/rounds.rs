//! How often macros go round: they are the only loops of the language.

use super::values::MOST_VALUES;
use cel::common::ast::operators as op;
use cel::common::ast::{ComprehensionExpr, Expr, IdedExpr};

/// How many rounds all macros of an expression may make together, if every list is as long as it may be.
///
/// Macros are the only loops of the language. What bounds an evaluation:
/// - the depth of the tree, the length of the text ([`super::parse`]), and with them how often anything outside of a macro
///   is done;
/// - the number of values that it can look at, [`MOST_VALUES`] in all: a list of the token is no longer than that;
/// - so the rounds of a macro are known: the length of its range, times those of the macro around it. One over a list of
///   the token inside one over another is refused, one over a written list inside of it is not;
/// - `map` is refused: it alone could make values out of values, which a chain of such makes grow exponentially;
/// - patterns for `matches` are written out and compiled at start.
pub(super) const ROUNDS: usize = 4 * MOST_VALUES;

/// Whether a macro says whether something holds of all elements, or of one: `all` and `exists`.
pub(super) fn is_boolean(each: &ComprehensionExpr) -> bool {
    matches!(&each.loop_step.expr, Expr::Call(step) if matches!(step.func_name.as_str(), op::LOGICAL_AND | op::LOGICAL_OR))
}

/// Whether a macro makes a list of elements as they are: `filter`, or what is the same.
pub(super) fn keeps_elements(each: &ComprehensionExpr) -> bool {
    let Expr::Call(step) = &each.loop_step.expr else { return false };
    let Some(Expr::Call(add)) = step.args.get(1).map(|expr| &expr.expr) else { return false };
    let Some(Expr::List(list)) = add.args.get(1).map(|expr| &expr.expr) else { return false };
    list.elements.iter().all(|element| matches!(&element.expr, Expr::Ident(name) if *name == each.iter_var))
}

/// How many elements a list or map has at most.
pub(super) fn longest(range: &IdedExpr) -> usize {
    match &range.expr {
        Expr::List(list) => list.elements.len(),
        Expr::Map(map) => map.entries.len(),
        Expr::Comprehension(each) => longest(&each.iter_range),
        Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
            (op::ADD, [left, right]) => longest(left).saturating_add(longest(right)),
            (op::CONDITIONAL, [_, one, other]) => longest(one).max(longest(other)),
            // A list out of a written list may be as long as the text, which is no more than other lists.
            _ => MOST_VALUES,
        },
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) | Expr::Select(_) | Expr::Struct(_) => {
            MOST_VALUES
        }
    }
}
