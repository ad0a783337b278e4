//! What a configuration means without being asked for: where methods fall through to, and rules that never
//! match.

use super::pattern::{Pattern, Segment};
use super::trie::{Leaf, Node};
use http::Method;

/// The rules of one pattern that shares paths with another.
struct Overlap<'n> {
    leaf: &'n Leaf,
    /// It has every path that the other has.
    covers: bool,
    /// It is the other's own pattern.
    same: bool,
}

/// Collects what a request may fall through to.
pub(super) struct Fall<'m> {
    /// Methods that have found a rule.
    taken: Vec<&'m Method>,
    /// Rules that a method may fall through to, the most specific first.
    pub(super) rules: Vec<usize>,
    /// Whether every method has found one.
    pub(super) landed: bool,
}

impl<'m> Fall<'m> {
    /// From a rule with these methods.
    pub(super) fn from(methods: &'m [Method]) -> Self {
        Self { taken: methods.iter().collect(), rules: Vec::new(), landed: false }
    }

    /// Through the rules of a tree. `less`: all of them are less specific than the rule that was fallen from.
    pub(super) fn through(&mut self, tree: &'m Node, pattern: &Pattern, less: bool) {
        let mut overlaps = Vec::new();
        let walk = Walk { open: pattern.is_open() };
        walk.overlaps(tree, pattern.segments(), Place { less, covers: true }, &mut overlaps);
        for overlap in overlaps {
            self.land(&overlap);
        }
    }

    fn land(&mut self, overlap: &Overlap<'m>) {
        if self.landed {
            return;
        }
        for (method, rule) in &overlap.leaf.methods {
            // A rule for another method of the very same path was written next to this one: nothing falls
            // there.
            if !overlap.same && !self.has(method) && !self.rules.contains(rule) {
                self.rules.push(*rule);
            }
        }
        if overlap.covers {
            self.taken.extend(overlap.leaf.methods.iter().map(|(method, _)| method));
        }
        if let Some(rule) = overlap.leaf.any {
            if !self.rules.contains(&rule) {
                self.rules.push(rule);
            }
            self.landed = overlap.covers;
        }
    }

    fn has(&self, method: &Method) -> bool {
        self.taken.contains(&method) || *method == Method::HEAD && self.taken.contains(&&Method::GET)
    }
}

struct Walk {
    /// The pattern ends with `**`.
    open: bool,
}

#[derive(Clone, Copy)]
struct Place {
    less: bool,
    covers: bool,
}

impl Walk {
    /// The leaves that share paths with a pattern and are not more specific, the most specific first.
    fn overlaps<'n>(&self, node: &'n Node, segments: &[Segment], at: Place, out: &mut Vec<Overlap<'n>>) {
        let Some((segment, rest)) = segments.split_first() else { return self.ends(node, at, out) };
        let less = Place { less: true, ..at };
        match segment {
            Segment::Literal(text) => {
                if let Some(next) = node.literals.get(text) {
                    self.overlaps(next, rest, at, out);
                }
                if let Some(next) = &node.parameter {
                    self.overlaps(next, rest, less, out);
                }
            }
            Segment::Parameter(_) => {
                for next in literals(node).filter(|_| at.less) {
                    self.overlaps(next, rest, Place { less: true, covers: false }, out);
                }
                if let Some(next) = &node.parameter {
                    self.overlaps(next, rest, at, out);
                }
            }
        }
        out.push(Overlap { leaf: &node.below, covers: at.covers, same: false });
    }

    fn ends<'n>(&self, node: &'n Node, at: Place, out: &mut Vec<Overlap<'n>>) {
        let same = !at.less;
        if self.open {
            if at.less {
                whole(node, out);
            }
            out.push(Overlap { leaf: &node.below, covers: at.covers, same });
        } else {
            out.push(Overlap { leaf: &node.here, covers: at.covers, same });
            out.push(Overlap { leaf: &node.below, covers: at.covers, same: false });
        }
    }
}

/// All leaves below a node, and the one at it; each shares only some paths with the whole.
fn whole<'n>(node: &'n Node, out: &mut Vec<Overlap<'n>>) {
    for next in literals(node).chain(node.parameter.as_deref()) {
        whole(next, out);
        out.push(Overlap { leaf: &next.below, covers: false, same: false });
    }
    out.push(Overlap { leaf: &node.here, covers: false, same: false });
}

/// In the order of their text, so that messages are the same on every run.
fn literals(node: &Node) -> impl Iterator<Item = &Node> {
    let mut literals = node.literals.iter().collect::<Vec<_>>();
    literals.sort_unstable_by_key(|(text, _)| *text);
    literals.into_iter().map(|(_, next)| next)
}

/// Whether more specific rules take every request of a method from a pattern that ends with `**` at this
/// node. A pattern without cannot be hidden: there are always more segments than literals, and equal patterns
/// are conflicts.
pub(super) fn is_hidden(node: &Node, method: Option<&Method>) -> bool {
    node.here.takes(method) && node.parameter.as_deref().is_some_and(|next| takes_all(next, method))
}

fn takes_all(node: &Node, method: Option<&Method>) -> bool {
    node.below.takes(method) || is_hidden(node, method)
}
