//! What can be known of an expression before it is evaluated: the names it uses, the kinds of its parts, how long it may
//! take.
//!
//! Everything that is not known to be harmless is refused here, so that evaluation need not be watched.

use super::kind::Kind;
use super::matching::{self, PATTERN_PREFIX};
use super::parse::{Flaw, Parsed};
use super::uses::{Names, Uses};
use super::values::MOST_VALUES;
use crate::identity::{QUOTAS, SET_ATTRIBUTES};
use cel::common::ast::operators as op;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SourceInfo};
use regex::Regex;

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

/// How deep macros may be nested.
const MOST_NESTED: usize = 2;

const VARIABLES: [&str; 4] = ["identity", "claims", "path", "request"];
const REQUEST: [&str; 4] = ["method", "host", "path", "client"];
const TYPES: [&str; 10] =
    ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];

/// What was found out.
#[derive(Debug)]
pub(super) struct Findings {
    pub(super) uses: Uses,
    /// What `@pattern0`, `@pattern1` and so on stand for.
    pub(super) patterns: Vec<Regex>,
}

/// Analyses an expression, and puts compiled patterns in place of written ones.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn analyse(text: &str, parsed: &mut Parsed) -> Result<Findings, Vec<Flaw>> {
    let (root, source) = parsed.split();
    let mut analysis = Analysis::of(text, source);
    let kind = analysis.kind(root);
    if !kind.may_be(&[Kind::Boolean]) && analysis.flaws.is_empty() {
        let message = format!("the expression is {kind}, never true");
        analysis.flaw(root.id, message, "compare it with something");
    }
    if analysis.rounds > ROUNDS && analysis.flaws.is_empty() {
        let message = format!("its macros could take {} rounds, more than {ROUNDS}", analysis.rounds);
        let hint = "use `in` instead of the inner macro, or fewer of them";
        analysis.flaws.push(Flaw::new(None, message, hint));
    }
    if analysis.flaws.is_empty() {
        Ok(Findings { uses: analysis.uses, patterns: analysis.patterns })
    } else {
        Err(analysis.flaws)
    }
}

struct Analysis<'a> {
    text: &'a str,
    source: &'a SourceInfo,
    uses: Uses,
    patterns: Vec<Regex>,
    flaws: Vec<Flaw>,
    /// The variables of the macros around.
    scope: Vec<String>,
    /// The macros around.
    nested: usize,
    /// How often what stands here is evaluated at most.
    times: usize,
    rounds: usize,
}

impl<'a> Analysis<'a> {
    const fn of(text: &'a str, source: &'a SourceInfo) -> Self {
        Self {
            text,
            source,
            uses: Uses { attributes: Names::NONE, claims: Names::NONE, parameters: Names::NONE, request: false },
            patterns: Vec::new(),
            flaws: Vec::new(),
            scope: Vec::new(),
            nested: 0,
            times: 1,
            rounds: 0,
        }
    }

    fn flaw(&mut self, id: u64, message: impl Into<String>, hint: &str) {
        let place = self.source.offset_for(id).map(|(start, _)| position(self.text, start));
        self.flaws.push(Flaw::new(place, message, hint));
    }

    fn kind(&mut self, expr: &mut IdedExpr) -> Kind {
        let id = expr.id;
        match &mut expr.expr {
            Expr::Unspecified => {
                self.flaw(id, "it cannot be read", "write what must hold");
                Kind::Unknown
            }
            Expr::Literal(literal) => Kind::of(literal),
            Expr::Ident(name) => self.variable(id, name),
            Expr::Select(select) => {
                let kind = self.member(id, &mut select.operand, &select.field);
                if select.test { Kind::Boolean } else { kind }
            }
            Expr::Call(call) => self.call(id, call),
            Expr::Comprehension(each) => self.each(id, each),
            Expr::List(list) => {
                for element in &mut list.elements {
                    self.kind(element);
                }
                Kind::List
            }
            Expr::Map(map) => {
                for entry in &mut map.entries {
                    match &mut entry.expr {
                        EntryExpr::MapEntry(entry) => {
                            self.kind(&mut entry.key);
                            self.kind(&mut entry.value);
                        }
                        EntryExpr::StructField(_) => {
                            self.flaw(entry.id, "it cannot be read", "write a map as {\"a\": 1}");
                        }
                    }
                }
                Kind::Map
            }
            Expr::Struct(_) => {
                self.flaw(id, "there are no messages", "compare single values");
                Kind::Unknown
            }
        }
    }

    /// A variable as a whole.
    fn variable(&mut self, id: u64, name: &str) -> Kind {
        if self.scope.iter().any(|known| known == name) {
            return Kind::Unknown;
        }
        match name {
            "identity" => self.uses.attributes = Names::All,
            "claims" => self.uses.claims = Names::All,
            "path" => self.uses.parameters = Names::All,
            "request" => self.uses.request = true,
            name if TYPES.contains(&name) => return Kind::Type,
            name => {
                let message = format!("there is no variable {name}");
                self.flaw(id, message, "there is identity, claims, path, request; text stands in quotes");
                return Kind::Unknown;
            }
        }
        Kind::Map
    }

    /// A member of something, by a name that is written out.
    fn member(&mut self, id: u64, operand: &mut IdedExpr, name: &str) -> Kind {
        if let Expr::Ident(variable) = &operand.expr
            && !self.scope.contains(variable)
            && VARIABLES.contains(&variable.as_str())
        {
            return self.member_of_variable(id, &variable.clone(), name);
        }
        let kind = self.kind(operand);
        if !kind.may_be(&[Kind::Map]) {
            self.flaw(id, format!("{kind} has no member {name}"), "only maps have members");
        }
        Kind::Unknown
    }

    fn member_of_variable(&mut self, id: u64, variable: &str, name: &str) -> Kind {
        match variable {
            "identity" => {
                self.uses.attributes.add(name);
                match name {
                    QUOTAS => Kind::Map,
                    "authenticator" | "auth_method" => Kind::Text,
                    name if SET_ATTRIBUTES.contains(&name) => Kind::List,
                    _ => Kind::Unknown,
                }
            }
            "claims" => {
                self.uses.claims.add(name);
                Kind::Unknown
            }
            "path" => {
                self.uses.parameters.add(name);
                Kind::Text
            }
            _ => {
                self.uses.request = true;
                if !REQUEST.contains(&name) {
                    let hint = "there is request.method, request.host, request.path, request.client";
                    self.flaw(id, format!("a request has no {name}"), hint);
                }
                Kind::Text
            }
        }
    }

    fn call(&mut self, id: u64, call: &mut CallExpr) -> Kind {
        let name = call.func_name.clone();
        if call.target.is_none()
            && let [left, right] = call.args.as_mut_slice()
        {
            if name == op::INDEX {
                return self.index(id, left, right);
            }
            let kinds = (self.kind(left), self.kind(right));
            if let Some(kind) = self.binary(id, &name, kinds) {
                return kind;
            }
            // It is a function then, whose arguments have been looked at.
            return self.function(id, call, &[kinds.0, kinds.1]);
        }
        let mut kinds = Vec::new();
        if let Some(target) = &mut call.target {
            kinds.push(self.kind(target));
        }
        for argument in &mut call.args {
            kinds.push(self.kind(argument));
        }
        match (name.as_str(), kinds.as_slice()) {
            (op::CONDITIONAL, [condition, one, other]) => {
                self.expect(id, *condition, &[Kind::Boolean], "what stands before `?`");
                one.or(*other)
            }
            (op::LOGICAL_NOT, [kind]) => {
                self.expect(id, *kind, &[Kind::Boolean], "what stands after `!`");
                Kind::Boolean
            }
            (op::NEGATE, [kind]) => {
                self.expect(id, *kind, &[Kind::Integer, Kind::Double], "what stands after `-`");
                *kind
            }
            _ => self.function(id, call, &kinds),
        }
    }

    fn index(&mut self, id: u64, operand: &mut IdedExpr, index: &mut IdedExpr) -> Kind {
        if let Expr::Literal(LiteralValue::String(name)) = &index.expr {
            let name = name.inner().to_owned();
            return self.member(id, operand, &name);
        }
        let (kind, index) = (self.kind(operand), self.kind(index));
        let fits = match kind {
            Kind::List => index == Kind::Unknown || index.is_number(),
            Kind::Map => index.may_be(&[Kind::Text, Kind::Boolean]) || index.is_number(),
            kind => kind == Kind::Unknown,
        };
        if !fits {
            let hint = "maps have members by name, lists by number";
            self.flaw(id, format!("{kind} has no member by {index}"), hint);
        }
        Kind::Unknown
    }

    /// The kind of what an operator makes of two values; none if it is no operator.
    fn binary(&mut self, id: u64, name: &str, (left, right): (Kind, Kind)) -> Option<Kind> {
        match name {
            op::LOGICAL_AND | op::LOGICAL_OR => {
                self.expect(id, left, &[Kind::Boolean], "what stands left of `&&` or `||`");
                self.expect(id, right, &[Kind::Boolean], "what stands right of `&&` or `||`");
            }
            op::EQUALS | op::NOT_EQUALS => {
                if !left.may_equal(right) {
                    let hint = "convert one of them: string(…), int(…)";
                    self.flaw(id, format!("{left} and {right} are never equal"), hint);
                }
            }
            op::LESS | op::LESS_EQUALS | op::GREATER | op::GREATER_EQUALS => {
                let unordered = [Kind::List, Kind::Map, Kind::Null, Kind::Type];
                if !left.may_equal(right) || unordered.contains(&left) || unordered.contains(&right) {
                    let hint = "compare numbers with numbers, text with text";
                    self.flaw(id, format!("{left} and {right} have no order"), hint);
                }
            }
            op::IN => self.expect(id, right, &[Kind::List, Kind::Map], "what stands right of `in`"),
            op::ADD | op::SUBSTRACT | op::MULTIPLY | op::DIVIDE | op::MODULO => {
                return Some(self.arithmetic(id, name == op::ADD, (left, right)));
            }
            _ => return None,
        }
        Some(Kind::Boolean)
    }

    fn arithmetic(&mut self, id: u64, joins: bool, (left, right): (Kind, Kind)) -> Kind {
        let numbers = [Kind::Integer, Kind::Unsigned, Kind::Double];
        let fits = |kind: Kind| {
            kind.may_be(&numbers) || (joins && matches!(kind, Kind::Text | Kind::Bytes | Kind::List))
        };
        let same = left == right || left == Kind::Unknown || right == Kind::Unknown;
        if !(fits(left) && fits(right) && same) {
            let hint = "convert one of them: string(…), int(…), double(…)";
            self.flaw(id, format!("{left} and {right} cannot be calculated with"), hint);
        }
        if left == Kind::Unknown { right } else { left }
    }

    fn expect(&mut self, id: u64, kind: Kind, expected: &[Kind], what: &str) {
        if let (false, Some(first)) = (kind.may_be(expected), expected.first()) {
            self.flaw(id, format!("{what} is {kind}, not {first}"), "compare it with something, or convert it");
        }
    }

    /// A function of the language; `kinds` are those of its target, if there is one, and its arguments.
    fn function(&mut self, id: u64, call: &mut CallExpr, kinds: &[Kind]) -> Kind {
        let is_member = call.target.is_some();
        let all = |expected: &[Kind]| kinds.iter().all(|kind| kind.may_be(expected));
        let (fits, kind) = match (call.func_name.as_str(), is_member, kinds.len()) {
            ("size", _, 1) => (all(&[Kind::Text, Kind::Bytes, Kind::List, Kind::Map]), Kind::Integer),
            ("contains" | "startsWith" | "endsWith", true, 2) => (all(&[Kind::Text]), Kind::Boolean),
            ("matches", _, 2) => {
                self.pattern(id, call);
                (all(&[Kind::Text]), Kind::Boolean)
            }
            ("string", false, 1) => (all(&[Kind::Boolean, Kind::Bytes]) || conversion(kinds), Kind::Text),
            ("int", false, 1) => (conversion(kinds), Kind::Integer),
            ("uint", false, 1) => (conversion(kinds), Kind::Unsigned),
            ("double", false, 1) => (conversion(kinds), Kind::Double),
            ("bool", false, 1) => (all(&[Kind::Boolean, Kind::Text]), Kind::Boolean),
            ("bytes", false, 1) => (all(&[Kind::Bytes, Kind::Text]), Kind::Bytes),
            ("type", false, 1) => (true, Kind::Type),
            ("dyn", false, 1) => (true, Kind::Unknown),
            ("map", true, _) => {
                self.flaw(id, "there is no `map` here", "use exists, all, exists_one or filter");
                return Kind::List;
            }
            (name, ..) => {
                let message = format!("there is no function {name} of this form");
                let hint = "see the list of functions in docs/expressions.md";
                self.flaw(id, message, hint);
                return Kind::Unknown;
            }
        };
        if !fits {
            let given: Vec<String> = kinds.iter().map(ToString::to_string).collect();
            let message = format!("{} cannot take {}", call.func_name, given.join(" and "));
            self.flaw(id, message, "see the list of functions in docs/expressions.md");
        }
        kind
    }

    /// Compiles the pattern of `matches`: one that came with a token could be as large as a token, and would be compiled
    /// for every request.
    fn pattern(&mut self, id: u64, call: &mut CallExpr) {
        let Some(argument) = call.args.last_mut() else { return };
        let Expr::Literal(LiteralValue::String(text)) = &argument.expr else {
            self.flaw(id, "the pattern is not written out", "write it in quotes");
            return;
        };
        match matching::compile(text.inner()) {
            Ok(regex) => {
                argument.expr = Expr::Ident(format!("{PATTERN_PREFIX}{}", self.patterns.len()));
                self.patterns.push(regex);
            }
            Err(why) => self.flaw(id, why, "write it as the crate `regex` reads it"),
        }
    }

    /// A macro: `all`, `exists`, `exists_one` or `filter`.
    fn each(&mut self, id: u64, each: &mut ComprehensionExpr) -> Kind {
        let range = self.kind(&mut each.iter_range);
        self.expect(id, range, &[Kind::List, Kind::Map], "what a macro goes through");
        let name = each.iter_var.as_str();
        let is_known = VARIABLES.contains(&name) || TYPES.contains(&name);
        if is_known || self.scope.contains(&each.iter_var) {
            self.flaw(id, format!("{name} is the name of something else"), "name the macro's variable x");
        }
        if self.nested >= MOST_NESTED {
            self.flaw(id, "macros are nested too deeply", "use `in` instead of the innermost one");
            return Kind::Unknown;
        }
        let before = self.times;
        self.times = before.saturating_mul(longest(&each.iter_range));
        self.rounds = self.rounds.saturating_add(self.times);
        self.nested = self.nested.saturating_add(1);
        let outside = self.scope.len();
        self.scope.extend([each.iter_var.clone(), each.accu_var.clone()]);
        self.kind(&mut each.loop_step);
        let kind = self.kind(&mut each.result);
        self.scope.truncate(outside);
        self.nested = self.nested.saturating_sub(1);
        self.times = before;
        let boolean = |step: &CallExpr| matches!(step.func_name.as_str(), op::LOGICAL_AND | op::LOGICAL_OR);
        match &each.loop_step.expr {
            Expr::Call(step) if boolean(step) => Kind::Boolean,
            Expr::Call(step) if step.func_name == op::ADD => {
                self.flaw(id, "there is no `map` here", "use exists, all, exists_one or filter");
                Kind::List
            }
            _ if kind == Kind::Boolean => kind,
            _ => {
                if !keeps_elements(each) {
                    self.flaw(id, "there is no `map` here", "use exists, all, exists_one or filter");
                }
                Kind::List
            }
        }
    }
}

/// Whether a macro makes a list of elements as they are: `filter`, or what is the same.
fn keeps_elements(each: &ComprehensionExpr) -> bool {
    let Expr::Call(step) = &each.loop_step.expr else { return false };
    let Some(Expr::Call(add)) = step.args.get(1).map(|expr| &expr.expr) else { return false };
    let Some(Expr::List(list)) = add.args.get(1).map(|expr| &expr.expr) else { return false };
    list.elements.iter().all(|element| matches!(&element.expr, Expr::Ident(name) if *name == each.iter_var))
}

/// How many elements a list or map has at most.
fn longest(range: &IdedExpr) -> usize {
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

fn conversion(kinds: &[Kind]) -> bool {
    kinds.iter().all(|kind| kind.is_number() || kind.may_be(&[Kind::Text]))
}

/// Line and column of a character, counted from 1.
fn position(text: &str, start: u32) -> (usize, usize) {
    let before = text.chars().take(usize::try_from(start).unwrap_or(usize::MAX));
    before.fold((1, 1), |(line, column), character| {
        if character == '\n' {
            (line.saturating_add(1), 1)
        } else {
            (line, column.saturating_add(1))
        }
    })
}
