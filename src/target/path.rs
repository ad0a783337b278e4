//! The one form of a path: what is matched is what is forwarded.
//!
//! Two programs that read one path differently are the oldest way around a proxy (Envoy's CVE-2021-29492 was
//! an encoded slash, CVE-2021-32779 a fragment): whatever has two readings is refused here, or brought into one
//! form, before any rule sees it.

use std::borrow::Cow;

/// Which unusual paths are tolerated; the default is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "four switches that do not depend on each other")]
pub struct PathRules {
    /// Resolve `.` and `..` (RFC 3986 §5.2.4) instead of refusing them.
    pub resolve_dot_segments: bool,
    /// Merge `//` into one slash instead of refusing it.
    pub merge_slashes: bool,
    /// Keep `%2F` and `%5C` as part of a segment instead of refusing them.
    pub keep_encoded_slash: bool,
    /// Keep `;` and `%3B` as part of a segment instead of refusing them.
    pub keep_semicolon: bool,
}

impl PathRules {
    /// The same rules for what the configuration says: there, a path is written as it is meant.
    #[must_use]
    pub const fn for_configuration(self) -> Self {
        Self { resolve_dot_segments: false, merge_slashes: false, ..self }
    }
}

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It does not begin with a slash (`*`, authority form, an empty `:path`).
    #[error("it does not begin with a slash")]
    NotAbsolute,
    /// `.` or `..`, whatever the spelling.
    #[error("it has a dot segment")]
    DotSegment,
    /// `..` above the root.
    #[error("it climbs above the root")]
    AboveRoot,
    /// `//`, or a segment that is empty but for parameters.
    #[error("it has an empty segment")]
    EmptySegment,
    /// `%2F` or `%5C`.
    #[error("it has an encoded slash or backslash")]
    EncodedSlash,
    /// `\`.
    #[error("it has a backslash")]
    Backslash,
    /// `;` or `%3B`.
    #[error("it has a semicolon")]
    Semicolon,
    /// `%00`-`%1F` or `%7F`.
    #[error("it has an encoded control character")]
    Control,
    /// A `%` that is not followed by two hexadecimal digits.
    #[error("it has a broken escape")]
    BrokenEscape,
    /// A byte that no path may hold: control, space, non-ASCII, `?`, `#`, `<`, `>` or a backtick.
    #[error("it has a character that must be percent-encoded")]
    Character,
    /// Longer than a request target may be.
    #[error("it is too long")]
    TooLong,
}

/// The canonical form of a path (RFC 3986 §6.2.2); `None` when it has that form already.
///
/// Percent-encoded unreserved characters are decoded and other escapes upper-cased, once: what an escape
/// yields is never part of another escape, so `%252e` stays. Raw characters outside RFC 3986 that clients do
/// send (`"[]^{|}`) stay as well: [`folded`] makes both of their spellings meet the same rule.
///
/// # Errors
///
/// Says why a path that could be read in two ways is refused.
pub fn canonical(path: &str, rules: PathRules) -> Result<Option<String>, Refusal> {
    let findings = inspect(path.as_bytes(), rules)?;
    let decoded = findings.escapes.then(|| unescaped(path.as_bytes()));
    if findings.segments { resolved(decoded.as_deref().unwrap_or(path)).map(Some) } else { Ok(decoded) }
}

/// What a raw byte is to a path.
#[derive(Clone, Copy)]
enum Class {
    Plain,
    Dot,
    Slash,
    Escape,
    Semicolon,
    Backslash,
    Refused,
}

/// Compiles into one table of 256 entries.
const fn class(byte: u8) -> Class {
    match byte {
        b'/' => Class::Slash,
        b'.' => Class::Dot,
        b'%' => Class::Escape,
        b';' => Class::Semicolon,
        b'\\' => Class::Backslash,
        0..=b' ' | 0x7F..=0xFF | b'?' | b'#' | b'<' | b'>' | b'`' => Class::Refused,
        _ => Class::Plain,
    }
}

/// What the part of a segment that was read so far looks like. Parts end at a slash, and at what some
/// services take for the end of a name: a parameter (`..;x`, as Tomcat reads it) or an encoded slash
/// (`..%2F`).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Empty,
    Dot,
    DotDot,
    Name,
}

impl Part {
    const fn after_dot(self) -> Self {
        match self {
            Self::Empty => Self::Dot,
            Self::Dot => Self::DotDot,
            Self::DotDot | Self::Name => Self::Name,
        }
    }

    const fn is_dots(self) -> bool {
        matches!(self, Self::Dot | Self::DotDot)
    }
}

/// What must be rewritten, and where the reader stands.
struct Findings {
    rules: PathRules,
    escapes: bool,
    segments: bool,
    part: Part,
    /// Whether the segment has parts, so that dots in it cannot be resolved.
    parted: bool,
}

/// Reads a path once; refuses, or notes what has to be rewritten.
fn inspect(path: &[u8], rules: PathRules) -> Result<Findings, Refusal> {
    let [b'/', rest @ ..] = path else { return Err(Refusal::NotAbsolute) };
    let mut rest = rest;
    let mut findings = Findings { rules, escapes: false, segments: false, part: Part::Empty, parted: false };
    while let [byte, after @ ..] = rest {
        rest = after;
        match class(*byte) {
            Class::Plain => findings.part = Part::Name,
            Class::Dot => findings.part = findings.part.after_dot(),
            Class::Slash => findings.slash()?,
            Class::Escape => {
                let [high, low, after @ ..] = after else { return Err(Refusal::BrokenEscape) };
                findings.escape(*high, *low)?;
                rest = after;
            }
            Class::Semicolon => findings.semicolon()?,
            Class::Backslash => return Err(Refusal::Backslash),
            Class::Refused => return Err(Refusal::Character),
        }
    }
    findings.end()?;
    Ok(findings)
}

impl Findings {
    fn escape(&mut self, high: u8, low: u8) -> Result<(), Refusal> {
        let value = decoded(high, low).ok_or(Refusal::BrokenEscape)?;
        self.escapes |= high.is_ascii_lowercase() || low.is_ascii_lowercase() || is_unreserved(value);
        match value {
            0..=0x1F | 0x7F => Err(Refusal::Control),
            b'/' | b'\\' if self.rules.keep_encoded_slash => self.next_part(),
            b'/' | b'\\' => Err(Refusal::EncodedSlash),
            b';' => self.semicolon(),
            b'.' => {
                self.part = self.part.after_dot();
                Ok(())
            }
            _ => {
                self.part = Part::Name;
                Ok(())
            }
        }
    }

    fn semicolon(&mut self) -> Result<(), Refusal> {
        if !self.rules.keep_semicolon {
            return Err(Refusal::Semicolon);
        }
        if self.part == Part::Empty && !self.parted {
            return Err(Refusal::EmptySegment);
        }
        self.next_part()
    }

    fn next_part(&mut self) -> Result<(), Refusal> {
        if self.part.is_dots() {
            return Err(Refusal::DotSegment);
        }
        self.part = Part::Empty;
        self.parted = true;
        Ok(())
    }

    fn slash(&mut self) -> Result<(), Refusal> {
        if self.part == Part::Empty && !self.parted {
            if !self.rules.merge_slashes {
                return Err(Refusal::EmptySegment);
            }
            self.segments = true;
        }
        self.end()?;
        self.part = Part::Empty;
        self.parted = false;
        Ok(())
    }

    fn end(&mut self) -> Result<(), Refusal> {
        if self.part.is_dots() {
            if self.parted || !self.rules.resolve_dot_segments {
                return Err(Refusal::DotSegment);
            }
            self.segments = true;
        }
        Ok(())
    }
}

/// Decodes unreserved characters and upper-cases the other escapes of an inspected path.
fn unescaped(mut rest: &[u8]) -> String {
    let mut out = String::with_capacity(rest.len());
    while let [byte, after @ ..] = rest {
        rest = after;
        let escape = if *byte == b'%' { after.split_first_chunk() } else { None };
        let Some(([high, low], after)) = escape else {
            out.push(char::from(*byte));
            continue;
        };
        rest = after;
        if let Some(value) = decoded(*high, *low).filter(|value| is_unreserved(*value)) {
            out.push(char::from(value));
        } else {
            out.extend(['%', char::from(high.to_ascii_uppercase()), char::from(low.to_ascii_uppercase())]);
        }
    }
    out
}

/// Merges slashes and resolves dot segments (RFC 3986 §5.2.4), in this order, of an inspected and unescaped
/// path.
fn resolved(path: &str) -> Result<String, Refusal> {
    let mut kept = Vec::new();
    let mut directory = false;
    for segment in path.split('/').skip(1) {
        directory = matches!(segment, "" | "." | "..");
        if segment == ".." {
            kept.pop().ok_or(Refusal::AboveRoot)?;
        } else if !directory {
            kept.push(segment);
        }
    }
    let mut out = String::with_capacity(path.len());
    for segment in &kept {
        out.push('/');
        out.push_str(segment);
    }
    if directory || kept.is_empty() {
        out.push('/');
    }
    Ok(out)
}

/// The byte that `%`, `high`, `low` stands for.
fn decoded(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// A canonical path as rules are compared with it: every escape of a character that could have stood there
/// raw is decoded.
///
/// RFC 3986 tells `/jobs:purge` from `/jobs%3Apurge`, services that decode before they route do not: were
/// they two for the rules, the second would be a way around the rule for the first. It is never forwarded,
/// and `%25`, `%2F` and `%5C` stay.
#[must_use]
pub fn folded(path: &str) -> Cow<'_, str> {
    let has_escape = memchr::memchr(b'%', path.as_bytes()).is_some();
    if !has_escape || Folded(path.as_bytes()).count() == path.len() {
        return Cow::Borrowed(path);
    }
    let mut bytes = Vec::with_capacity(path.len());
    bytes.extend(Folded(path.as_bytes()));
    String::from_utf8(bytes).map_or(Cow::Borrowed(path), Cow::Owned)
}

/// What follows `prefix` in `path`, as [`folded`] compares them; both canonical, the prefix without trailing
/// slash.
#[must_use]
pub(super) fn after_prefix<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    let mut bytes = Folded(path.as_bytes());
    for expected in Folded(prefix.as_bytes()) {
        if bytes.next() != Some(expected) {
            return None;
        }
    }
    let rest = path.get(path.len().checked_sub(bytes.0.len())?..)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// The bytes of a canonical path as [`folded`] has them.
struct Folded<'p>(&'p [u8]);

impl Iterator for Folded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if let [b'%', high, low, after @ ..] = self.0
            && let Some(value) = decoded(*high, *low)
            && value.is_ascii_graphic()
            && !matches!(value, b'%' | b'/' | b'\\' | b'?' | b'#')
        {
            self.0 = after;
            return Some(value);
        }
        let (byte, after) = self.0.split_first()?;
        self.0 = after;
        Some(*byte)
    }
}
