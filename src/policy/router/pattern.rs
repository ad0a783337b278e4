//! Path patterns: `/a/b`, `/a/{id}`, `/a/**`.

use crate::target::{PathRules, Prefix, Refusal, canonical, folded};
use std::fmt;

/// Deep enough for any path that people write, and keeps the recursion over patterns shallow.
const DEEPEST: usize = 128;

/// What is wrong with something in a rule, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl Fault {
    pub(super) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }
}

/// Which paths a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
    segments: Box<[Segment]>,
    below: bool,
}

/// One segment of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// This text, in the form in which paths are compared.
    Literal(Box<str>),
    /// Any one segment, by this name.
    Parameter(Box<str>),
}

impl Pattern {
    /// Parses a pattern under the rules for paths: a literal that no request could have is a fault.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the pattern.
    pub fn parse(text: &str, rules: PathRules) -> Result<Self, Fault> {
        if text.contains(['?', '#']) {
            let hint = "leave out the query: it is forwarded as it is, and never matched";
            return Err(Fault::new("a path has neither query nor fragment", hint));
        }
        let normal = canonical(text, rules.for_configuration()).map_err(describe)?;
        let text = normal.unwrap_or_else(|| text.to_owned());
        let inner = text.strip_prefix('/').unwrap_or(&text);
        let mut segments = Vec::new();
        let mut below = false;
        for segment in
            inner.strip_suffix('/').unwrap_or(inner).split('/').filter(|segment| !segment.is_empty())
        {
            if below {
                return Err(Fault::new("`**` stands before the end", "`**` may only be the last segment"));
            }
            if segment == "**" {
                below = true;
            } else {
                segments.push(parse_segment(segment, &segments)?);
            }
        }
        if segments.len() > DEEPEST {
            let hint = "end the pattern with `**` further up";
            return Err(Fault::new(format!("a path of more than {DEEPEST} segments"), hint));
        }
        Ok(Self { text: text.into(), segments: segments.into(), below })
    }

    /// The pattern in canonical form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names of its parameters, from left to right.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Parameter(name) => Some(name.as_ref()),
            Segment::Literal(_) => None,
        })
    }

    /// The segment of a canonical path that this pattern matched where the parameter `name` stands; still
    /// percent-encoded.
    #[must_use]
    pub fn parameter<'p>(&self, name: &str, path: &'p str) -> Option<&'p str> {
        let stands_here =
            |segment: &Segment| matches!(segment, Segment::Parameter(other) if **other == *name);
        let position = self.segments.iter().position(stands_here)?;
        path.strip_prefix('/')?.split('/').nth(position).filter(|segment| !segment.is_empty())
    }

    /// Whether this pattern matches every path that the other one matches.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let reaches = if self.below {
            other.segments.len() >= self.segments.len()
        } else {
            other.segments.len() == self.segments.len() && !other.below
        };
        reaches
            && self.segments.iter().zip(&other.segments).all(|(own, theirs)| match own {
                Segment::Parameter(_) => true,
                Segment::Literal(_) => own == theirs,
            })
    }

    /// Whether every path that this pattern matches begins with `prefix`, so that it can always be replaced.
    #[must_use]
    pub fn begins_with(&self, prefix: &Prefix) -> bool {
        // A literal's first braces are escaped in canonical text, so what is left of them are parameters.
        prefix.stripped(self.text.strip_suffix('/').unwrap_or(&self.text)).is_some_and(|rest| {
            let kept = self.text.len().saturating_sub(rest.len());
            !self.text.get(..kept).unwrap_or_default().contains(['{', '*'])
        })
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Whether it ends with `**`.
    pub(super) fn is_open(&self) -> bool {
        self.below
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

fn parse_segment(segment: &str, before: &[Segment]) -> Result<Segment, Fault> {
    if segment.contains('*') {
        let hint = "write `{name}` for one segment, `**` as the last one for all below, `%2A` for a star";
        return Err(Fault::new(format!("a star in the segment `{segment}`"), hint));
    }
    let Some(name) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
        if segment.contains(['{', '}']) {
            let hint = "a parameter `{name}` is a whole segment; write `%7B` and `%7D` for braces";
            return Err(Fault::new(format!("a brace in the segment `{segment}`"), hint));
        }
        return Ok(Segment::Literal(folded(segment).into()));
    };
    let is_identifier = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty();
    if !is_identifier {
        let hint = "a name has letters, digits and `_`, and does not begin with a digit";
        return Err(Fault::new(format!("`{name}` is not a name for a parameter"), hint));
    }
    if before.iter().any(|segment| matches!(segment, Segment::Parameter(other) if **other == *name)) {
        return Err(Fault::new(format!("the parameter `{name}` occurs twice"), "give each its own name"));
    }
    Ok(Segment::Parameter(name.into()))
}

fn describe(refusal: Refusal) -> Fault {
    let hint = match refusal {
        Refusal::NotAbsolute => "begin it with `/`",
        Refusal::DotSegment | Refusal::AboveRoot | Refusal::EmptySegment => "write the path as it is meant",
        Refusal::EncodedSlash => {
            "no request can have such a path unless server.paths.encoded_slash is \"keep\""
        }
        Refusal::Semicolon => "no request can have such a path unless server.paths.semicolon is \"keep\"",
        Refusal::Backslash | Refusal::Control => "no request can have such a path: leave it out",
        Refusal::BrokenEscape => "`%` stands before two hexadecimal digits; write `%25` for the sign itself",
        Refusal::Character => "percent-encode it as UTF-8, such as `%C3%A9`",
        Refusal::TooLong => "shorten it",
    };
    Fault::new(format!("the path cannot be matched: {refusal}"), hint)
}
