//! What can be known of an expression before it is evaluated: the names it uses, the kinds of its parts, how long it may
//! take.
//!
//! Everything that is not known to be harmless is refused here, so that evaluation need not be watched.

use super::kind::Kind;
use super::matching::{self, PATTERN_PREFIX};
use super::parse::{Flaw, Parsed};
use super::rounds::{self, ROUNDS};
use super::signatures::{self, Clash};
use super::uses::{Names, Uses};
use crate::identity::{QUOTAS, SET_ATTRIBUTES};
use cel::common::ast::operators as op;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SourceInfo};
use regex::Regex;

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
            uses: Uses {
                attributes: Names::NONE,
                claims: Names::NONE,
                parameters: Names::NONE,
                request: false,
                unwritten: false,
            },
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
        if call.target.is_none()
            && call.func_name == op::INDEX
            && let [operand, index] = call.args.as_mut_slice()
        {
            return self.index(id, operand, index);
        }
        let parts = call.target.as_deref_mut().into_iter().chain(&mut call.args);
        let kinds: Vec<Kind> = parts.map(|part| self.kind(part)).collect();
        if call.func_name == "matches" {
            self.pattern(id, call);
        }
        self.settle(id, signatures::result(&call.func_name, call.target.is_some(), &kinds))
    }

    fn index(&mut self, id: u64, operand: &mut IdedExpr, index: &mut IdedExpr) -> Kind {
        if let Expr::Literal(LiteralValue::String(name)) = &index.expr {
            let name = name.inner().to_owned();
            return self.member(id, operand, &name);
        }
        self.uses.unwritten = true;
        let (kind, index) = (self.kind(operand), self.kind(index));
        self.settle(id, signatures::index(kind, index))
    }

    /// The kind that comes out; after a clash nothing is known.
    fn settle(&mut self, id: u64, kind: Result<Kind, Clash>) -> Kind {
        kind.unwrap_or_else(|Clash { message, hint }| {
            self.flaw(id, message, hint);
            Kind::Unknown
        })
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
        let range = signatures::expect(range, &[Kind::List, Kind::Map], "what a macro goes through");
        self.settle(id, range);
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
        self.times = before.saturating_mul(rounds::longest(&each.iter_range));
        self.rounds = self.rounds.saturating_add(self.times);
        self.nested = self.nested.saturating_add(1);
        let outside = self.scope.len();
        self.scope.extend([each.iter_var.clone(), each.accu_var.clone()]);
        self.kind(&mut each.loop_step);
        let kind = self.kind(&mut each.result);
        self.scope.truncate(outside);
        self.nested = self.nested.saturating_sub(1);
        self.times = before;
        if kind == Kind::Boolean || rounds::is_boolean(each) {
            return Kind::Boolean;
        }
        if !rounds::keeps_elements(each) {
            self.flaw(id, "there is no `map` here", "use exists, all, exists_one or filter");
        }
        Kind::List
    }
}

/// Line and column of a character, counted from 1.
fn position(text: &str, start: u32) -> (usize, usize) {
    let before = text.chars().take(usize::try_from(start).unwrap_or(usize::MAX));
    before.fold((1, 1), |(line, column), character| {
        if character == '\n' { (line.saturating_add(1), 1) } else { (line, column.saturating_add(1)) }
    })
}
