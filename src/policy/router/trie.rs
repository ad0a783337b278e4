//! The tree of path segments that rules hang in.

use super::pattern::{Pattern, Segment};
use http::Method;
use std::collections::HashMap;

/// A place in the tree: what may come next, and the rules that end here.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// Next segments by their text.
    pub(super) literals: HashMap<Box<str>, Self, foldhash::fast::RandomState>,
    /// Any next segment.
    pub(super) parameter: Option<Box<Self>>,
    /// Rules for paths that end here.
    pub(super) here: Leaf,
    /// Rules for paths that end here, and all below.
    pub(super) below: Leaf,
}

/// The rules of one pattern: by method, and for any.
#[derive(Debug, Default)]
pub(super) struct Leaf {
    /// Rules that name methods. Few: no one writes more than there are methods.
    pub(super) methods: Vec<(Method, usize)>,
    /// The rule that names none.
    pub(super) any: Option<usize>,
}

impl Node {
    /// The leaf for a pattern; made when it is not there.
    pub(super) fn leaf_mut(&mut self, pattern: &Pattern) -> &mut Leaf {
        let node = pattern.segments().iter().fold(self, |node, segment| match segment {
            Segment::Literal(text) => node.literals.entry(text.clone()).or_default(),
            Segment::Parameter(_) => node.parameter.get_or_insert_default(),
        });
        if pattern.is_open() { &mut node.below } else { &mut node.here }
    }

    /// The node that a pattern leads to.
    pub(super) fn node(&self, pattern: &Pattern) -> Option<&Self> {
        pattern.segments().iter().try_fold(self, |node, segment| match segment {
            Segment::Literal(text) => node.literals.get(text),
            Segment::Parameter(_) => node.parameter.as_deref(),
        })
    }

    /// The rule for the rest of a path: its segments without outer slashes; `None` = nothing is left.
    ///
    /// Recursion is as deep as the tree, however long the path. No node is visited twice, because only one
    /// way leads to each: so at worst as many are visited as patterns make, and more than one a segment only
    /// where the tree has both that literal and a parameter. A client cannot add to either.
    pub(super) fn find(&self, rest: Option<&str>, method: &Method) -> Option<usize> {
        let Some(rest) = rest else { return self.here.find(method).or_else(|| self.below.find(method)) };
        // Segments are short: to set up a faster search would take longer.
        let slash = rest.bytes().position(|byte| byte == b'/');
        let (segment, rest) = match slash.and_then(|at| rest.split_at_checked(at)) {
            Some((segment, after)) => (segment, after.strip_prefix('/')),
            None => (rest, None),
        };
        if let Some(found) = self.literals.get(segment).and_then(|next| next.find(rest, method)) {
            return Some(found);
        }
        let parameter = self.parameter.as_deref().filter(|_| !segment.is_empty());
        parameter.and_then(|next| next.find(rest, method)).or_else(|| self.below.find(method))
    }
}

impl Leaf {
    /// The rule for a method: one that names it, for HEAD one that names GET, one that names none.
    ///
    /// Letter case is ignored, as some services do: else `delete` would slip past the rule for DELETE.
    pub(super) fn find(&self, method: &Method) -> Option<usize> {
        let named = |method: &Method| {
            let fits = |(other, _): &&(Method, usize)| other.as_str().eq_ignore_ascii_case(method.as_str());
            self.methods.iter().find(fits).map(|(_, rule)| *rule)
        };
        if self.methods.is_empty() {
            return self.any;
        }
        let is_head = || method.as_str().eq_ignore_ascii_case("HEAD");
        named(method).or_else(|| if is_head() { named(&Method::GET) } else { None }).or(self.any)
    }

    /// Hangs a rule in; gives back the rule that is there already for one of its methods.
    pub(super) fn insert(
        &mut self,
        rule: usize,
        methods: Option<&[Method]>,
    ) -> Option<(usize, Option<Method>)> {
        let Some(methods) = methods else {
            return self.any.replace(rule).map(|first| (first, None));
        };
        let mut conflict = None;
        for method in methods {
            if let Some((_, first)) = self.methods.iter().find(|(other, _)| other == method) {
                conflict = conflict.or_else(|| Some((*first, Some(method.clone()))));
            } else {
                self.methods.push((method.clone(), rule));
            }
        }
        conflict
    }

    /// Whether it takes every request of that method; `None` = of any method.
    pub(super) fn takes(&self, method: Option<&Method>) -> bool {
        method.map_or(self.any, |method| self.find(method)).is_some()
    }
}
