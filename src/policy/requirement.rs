//! What an identity must have: roles, scopes, permissions and capabilities.

#[cfg(test)]
mod tests;

use crate::config::policy::Require;
use crate::config::problem::{KeyPath, Problems};
use crate::denial::{Denial, Reason};
use crate::identity::{Attribute, Identity, Texts};

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
struct Elements {
    kind: Kind,
    names: Vec<Box<str>>,
}

/// What an identity must have. Facts may be cached, this never is: it is checked for every request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirements {
    /// All elements of each.
    all: Vec<Elements>,
    /// One element of each.
    any: Vec<Elements>,
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
        self.all.sort_by_key(|elements| elements.kind);
        self.any.sort_by_key(|elements| elements.kind);
        self
    }

    /// Whether nothing is required.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.all.is_empty() && self.any.is_empty()
    }

    /// Checks an identity: roles, scopes, permissions, capabilities, and at last the `any_*` in the same
    /// order.
    ///
    /// # Errors
    ///
    /// `role_missing`, `scope_missing`, `permission_missing` or `capability_missing`, naming what lacks; RFC
    /// 6750 §3.1.
    pub fn check(&self, identity: &Identity) -> Result<(), Denial> {
        for Elements { kind, names } in &self.all {
            let held = set(identity, *kind);
            if !names.iter().all(|name| holds(held, name)) {
                let lacking =
                    names.iter().map(AsRef::as_ref).filter(|name| !holds(held, name)).collect::<Vec<_>>();
                return Err(denial(*kind, "Missing", &lacking));
            }
        }
        for Elements { kind, names } in &self.any {
            let held = set(identity, *kind);
            if !names.iter().any(|name| holds(held, name)) {
                return Err(denial(
                    *kind,
                    "Missing one of",
                    &names.iter().map(AsRef::as_ref).collect::<Vec<_>>(),
                ));
            }
        }
        Ok(())
    }

    /// Whether somebody could pass here who would not pass `other`.
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
        !(other.all.iter().all(implies_all) && other.any.iter().all(implies_any))
    }
}

fn set(identity: &Identity, kind: Kind) -> Option<&Texts> {
    match identity.attribute(kind.name()) {
        Some(Attribute::Set(set)) => Some(set),
        Some(Attribute::Text(_) | Attribute::Integer(_) | Attribute::Boolean(_)) | None => None,
    }
}

fn holds(set: Option<&Texts>, name: &str) -> bool {
    set.is_some_and(|set| set.contains(name))
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
