//! What an identity must have: roles, scopes, permissions, capabilities and quotas, and what must hold besides.

#[cfg(test)]
mod tests;

use super::expression::{Circumstances, Expression};
use crate::config::policy::Require;
use crate::config::problem::{KeyPath, Problems};
use crate::denial::{Denial, Reason};
use crate::facts::Holder;
use std::fmt;
use std::sync::Arc;

/// The sets that can be required, in the order in which they are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Roles,
    Scopes,
    Permissions,
    Capabilities,
}

impl Kind {
    /// The attribute's name, and the word for it.
    const fn name(self) -> &'static str {
        match self {
            Self::Roles => "roles",
            Self::Scopes => "scopes",
            Self::Permissions => "permissions",
            Self::Capabilities => "capabilities",
        }
    }

    const fn reason(self) -> Reason {
        match self {
            Self::Roles => Reason::RoleMissing,
            Self::Scopes => Reason::ScopeMissing,
            Self::Permissions => Reason::PermissionMissing,
            Self::Capabilities => Reason::CapabilityMissing,
        }
    }
}

/// Elements of one set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elements {
    kind: Kind,
    names: Vec<Box<str>>,
}

/// One thing that is required, in the order in which they are checked.
#[derive(Clone, Copy, Debug)]
pub enum Requirement<'a> {
    /// All elements of a set.
    All(&'a Elements),
    /// One element of a set.
    Any(&'a Elements),
    /// At least so much of a quota.
    Quota(&'a str, i64),
    /// That this holds.
    Expression(&'a Expression),
}

impl fmt::Display for Requirement<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(elements) => {
                write!(formatter, "{}: {}", elements.kind.name(), elements.names.join(", "))
            }
            Self::Any(elements) => {
                write!(formatter, "one of the {}: {}", elements.kind.name(), elements.names.join(", "))
            }
            Self::Quota(name, least) => write!(formatter, "quota {name} of at least {least}"),
            Self::Expression(expression) => write!(formatter, "expression: {expression}"),
        }
    }
}

impl Requirement<'_> {
    /// Whether it takes more than the identity itself to check this: capabilities and quotas may be known elsewhere.
    fn needs_facts(&self) -> bool {
        match self {
            Self::All(elements) | Self::Any(elements) => elements.kind == Kind::Capabilities,
            Self::Quota(..) => true,
            Self::Expression(expression) => expression.uses_facts(),
        }
    }

    /// Checks this alone.
    ///
    /// # Errors
    /// The reason that stands for it, naming what lacks (RFC 6750 §3.1).
    pub fn check(self, holder: &Holder<'_>, about: &Circumstances<'_>) -> Result<(), Denial> {
        match self {
            Self::All(Elements { kind, names }) => {
                let held = holder.held(kind.name());
                if names.iter().all(|name| held.contains(name)) {
                    return Ok(());
                }
                let lacking: Vec<&str> =
                    names.iter().map(AsRef::as_ref).filter(|name| !held.contains(name)).collect();
                Err(denial(*kind, "Missing", &lacking))
            }
            Self::Any(Elements { kind, names }) => {
                let held = holder.held(kind.name());
                if names.iter().any(|name| held.contains(name)) {
                    return Ok(());
                }
                Err(denial(*kind, "Missing one of", &names.iter().map(AsRef::as_ref).collect::<Vec<_>>()))
            }
            Self::Quota(name, least) => {
                let quota = holder.quota(name);
                if quota.suffices(least) {
                    return Ok(());
                }
                let text = format!("Quota {name}={quota} < required {least}");
                Err(Denial::new(Reason::QuotaTooLow).detail(text))
            }
            Self::Expression(expression) => expression.check(holder, about),
        }
    }
}

/// What an identity must have. Facts may be cached, this never is: it is checked for every request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirements {
    /// All elements of each.
    all: Vec<Elements>,
    /// One element of each.
    any: Vec<Elements>,
    /// At least so much of each.
    quotas: Vec<(Box<str>, i64)>,
    /// Each of them holds.
    expressions: Vec<Arc<Expression>>,
}

impl Requirements {
    /// Compiles the policy's own requirements, written at `at`. What is wrong goes to `problems`.
    pub fn compile(require: &Require, at: &KeyPath, problems: &mut Problems) -> Self {
        if require.inherit.is_some() {
            let hint = "leave it out here: a route says whether it inherits from the policy";
            problems.error(at.key("inherit"), "there is nothing to inherit from", hint);
        }
        Self::default().with(require, at, problems)
    }

    /// Compiles a route's requirements: added to these, the policy's, unless it says `inherit = false`.
    #[must_use]
    pub fn for_route(&self, require: &Require, at: &KeyPath, problems: &mut Problems) -> Self {
        let base = if require.inherit == Some(false) { Self::default() } else { self.clone() };
        base.with(require, at, problems)
    }

    fn with(mut self, require: &Require, at: &KeyPath, problems: &mut Problems) -> Self {
        let written = [
            (Kind::Roles, "roles", &require.roles, "any_role", &require.any_role),
            (Kind::Scopes, "scopes", &require.scopes, "any_scope", &require.any_scope),
            (
                Kind::Permissions,
                "permissions",
                &require.permissions,
                "any_permission",
                &require.any_permission,
            ),
            (
                Kind::Capabilities,
                "capabilities",
                &require.capabilities,
                "any_capability",
                &require.any_capability,
            ),
        ];
        for (kind, all_key, all, any_key, any) in written {
            let names = elements(kind, all, &at.key(all_key), problems);
            match self.all.iter_mut().find(|held| held.kind == kind) {
                Some(held) => {
                    let new = names.into_iter().filter(|name| !held.names.contains(name)).collect::<Vec<_>>();
                    held.names.extend(new);
                }
                None if names.is_empty() => {}
                None => self.all.push(Elements { kind, names }),
            }
            let one_of = Elements { kind, names: elements(kind, any, &at.key(any_key), problems) };
            if !one_of.names.is_empty() && !self.any.contains(&one_of) {
                self.any.push(one_of);
            }
        }
        for (name, least) in &require.quotas {
            let at = at.key("quotas").key(name);
            if name.is_empty() || name.trim() != name || name.contains(char::is_control) {
                problems.error(
                    at.clone(),
                    format!("{name:?} is not a name for a quota"),
                    "name the quota as its service does",
                );
            }
            let least = i64::try_from(*least).unwrap_or(i64::MAX);
            match self.quotas.iter_mut().find(|(held, _)| **held == **name) {
                Some((_, held)) => *held = least.max(*held),
                None => self.quotas.push((name.as_str().into(), least)),
            }
        }
        if let Some(text) = &require.expression {
            let expression = Expression::compile(text, &at.key("expression"), problems).map(Arc::new);
            self.expressions.extend(expression.filter(|new| !self.expressions.contains(new)));
        }
        self.all.sort_by_key(|elements| elements.kind);
        self.any.sort_by_key(|elements| elements.kind);
        self
    }

    /// Whether nothing is required.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.all.is_empty() && self.any.is_empty() && self.quotas.is_empty() && self.expressions.is_empty()
    }

    /// Whether it takes more than the identity itself to check everything.
    #[must_use]
    pub fn need_facts(&self) -> bool {
        self.iter().any(|requirement| requirement.needs_facts())
    }

    /// Whether an expression looks at claims, so that they must be kept with the session.
    #[must_use]
    pub fn need_claims(&self) -> bool {
        self.expressions().any(Expression::uses_claims)
    }

    /// The expressions, the policy's first.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.expressions.iter().map(AsRef::as_ref)
    }

    /// Everything that is required, in the order in which it is checked: roles, scopes, permissions, capabilities, the
    /// `any_*` in the same order, quotas, and expressions.
    pub fn iter(&self) -> impl Iterator<Item = Requirement<'_>> {
        let all = self.all.iter().map(Requirement::All);
        let any = self.any.iter().map(Requirement::Any);
        let quotas = self.quotas.iter().map(|(name, least)| Requirement::Quota(name, *least));
        all.chain(any).chain(quotas).chain(self.expressions().map(Requirement::Expression))
    }

    /// Checks everything in its order.
    ///
    /// # Errors
    /// `role_missing`, `scope_missing`, `permission_missing`, `capability_missing` or `quota_too_low`, naming what lacks
    /// (RFC 6750 §3.1), or `expression_false`.
    pub fn check(&self, holder: &Holder<'_>, about: &Circumstances<'_>) -> Result<(), Denial> {
        self.iter().try_for_each(|requirement| requirement.check(holder, about))
    }

    /// Checks in its order what comes before anything that needs facts: nobody need be asked about who fails there already.
    ///
    /// # Errors
    /// As [`Requirements::check`].
    pub fn check_before_facts(&self, holder: &Holder<'_>, about: &Circumstances<'_>) -> Result<(), Denial> {
        let mut before = self.iter().take_while(|requirement| !requirement.needs_facts());
        before.try_for_each(|requirement| requirement.check(holder, about))
    }

    /// Whether somebody could pass here who would not pass `other`; an expression implies nothing but itself.
    #[must_use]
    pub fn is_weaker_than(&self, other: &Self) -> bool {
        let requires = |kind: Kind, name: &str| {
            let holds = |elements: &Elements| {
                elements.kind == kind && elements.names.iter().any(|own| **own == *name)
            };
            self.all.iter().any(holds)
        };
        let implies_all = |wanted: &Elements| wanted.names.iter().all(|name| requires(wanted.kind, name));
        let implies_any = |wanted: &Elements| {
            let narrower = |own: &Elements| {
                own.kind == wanted.kind && own.names.iter().all(|name| wanted.names.contains(name))
            };
            wanted.names.iter().any(|name| requires(wanted.kind, name)) || self.any.iter().any(narrower)
        };
        let implies_quota = |(name, least): &(Box<str>, i64)| {
            self.quotas.iter().any(|(own, enough)| own == name && enough >= least)
        };
        let implies_expression = |wanted: &Arc<Expression>| self.expressions.contains(wanted);
        !(other.all.iter().all(implies_all)
            && other.expressions.iter().all(implies_expression)
            && other.any.iter().all(implies_any)
            && other.quotas.iter().all(implies_quota))
    }
}

fn denial(kind: Kind, what: &str, lacking: &[&str]) -> Denial {
    let list = |separator: &str| lacking.join(separator);
    let denial = Denial::new(kind.reason()).detail(format!("{what} {}: {}", kind.name(), list(", ")));
    if kind == Kind::Scopes { denial.scope(list(" ")) } else { denial }
}

/// The elements of one list; those that no identity could have, or that would be misread in an answer, are problems.
fn elements(kind: Kind, written: &[String], at: &KeyPath, problems: &mut Problems) -> Vec<Box<str>> {
    let mut names: Vec<Box<str>> = Vec::new();
    for (index, name) in written.iter().enumerate() {
        if name.is_empty() {
            problems.error(at.index(index), "an empty name", "name what is required, or leave it out");
        } else if kind == Kind::Scopes && !name.bytes().all(is_scope_character) {
            let hint = "use printable ASCII without space, comma, quote and backslash (RFC 6749 §3.3)";
            problems.error(at.index(index), format!("{name:?} cannot be required"), hint);
        } else if name.trim() != name
            || name.contains(|character: char| character == ',' || character.is_control())
        {
            let hint = "use text without comma, control character and outer space";
            problems.error(at.index(index), format!("{name:?} cannot be required"), hint);
        } else if !names.iter().any(|known| **known == **name) {
            names.push(name.as_str().into());
        }
    }
    names
}

/// A scope token's characters (RFC 6749 §3.3) without comma and single quote: safe in `scope="…"` and in
/// joined headers.
const fn is_scope_character(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\' | b',')
}
