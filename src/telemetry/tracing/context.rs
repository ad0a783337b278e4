//! W3C Trace Context: what `traceparent` says, and how it is said (<https://www.w3.org/TR/trace-context/>).

use crate::hex;
use crate::single::single;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::ops::Range;

/// `traceparent`.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// `tracestate`.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The length of version 00, in characters.
const LENGTH: usize = 55;

/// What a value begins with that we say.
const VERSION: &str = "00-";

/// The digits of a trace in such a value.
const TRACE: Range<usize> = 3..35;

/// The flag by which a caller says that it records the trace (§3.2.3.5.1).
const SAMPLED: u8 = 1;

/// The id of a trace; never zero.
pub type TraceId = [u8; 16];

/// The id of a span; never zero.
pub type SpanId = [u8; 8];

/// What a `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The trace.
    pub trace: TraceId,
    /// The caller's span.
    pub span: SpanId,
    /// Whether the caller records it.
    pub sampled: bool,
}

impl Context {
    /// What a request says; none if it says nothing, says it twice, or says something that is no `traceparent`: then a trace
    /// begins anew (§3.2.4).
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        Self::parse(single(headers, &TRACEPARENT)?.as_bytes())
    }

    /// Reads a value. Of later versions only what version 00 has is read (§4.3).
    fn parse(text: &[u8]) -> Option<Self> {
        let (known, rest) = text.split_at_checked(LENGTH)?;
        let mut parts = known.split(|byte| *byte == b'-');
        let [version] = octets(parts.next()?)?;
        let trace = octets(parts.next()?)?;
        let span = octets(parts.next()?)?;
        let [flags] = octets(parts.next()?)?;
        let ends_well = match version {
            0 => rest.is_empty(),
            0xff => false,
            1..0xff => rest.first().is_none_or(|byte| *byte == b'-'),
        };
        let is_valid = ends_well && parts.next().is_none() && trace != [0; 16] && span != [0; 8];
        is_valid.then_some(Self { trace, span, sampled: flags & SAMPLED != 0 })
    }

    /// How it is said to whoever is called.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        let (trace, span) = (hex::encode(&self.trace), hex::encode(&self.span));
        let text = format!("{VERSION}{trace}-{span}-0{}", u8::from(self.sampled));
        HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

/// The trace's id in a value that [`Context::header`] has made, as digits.
#[must_use]
pub fn trace_id(header: &HeaderValue) -> &str {
    header.to_str().ok().and_then(|text| text.get(TRACE)).unwrap_or_default()
}

/// Exactly `N` bytes; upper-case digits are not valid here (§3.2.2).
fn octets<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    hex::decode(text).filter(|_| !text.iter().any(u8::is_ascii_uppercase))
}

#[cfg(test)]
mod tests {
    use super::{Context, TRACEPARENT, trace_id};
    use http::HeaderMap;

    const SENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn parsed(text: &str) -> Option<Context> {
        Context::parse(text.as_bytes())
    }

    #[test]
    fn what_is_read_is_written_alike() {
        let context = parsed(SENT).unwrap();
        assert!(context.sampled);
        assert_eq!(context.header(), SENT);
        assert_eq!(trace_id(&context.header()), "4bf92f3577b34da6a3ce929d0e0e4736");
        let unsampled = SENT.replace("-01", "-00");
        assert_eq!(parsed(&unsampled).unwrap().header(), unsampled);
        // Flags that nobody knows are not passed on (§3.2.3.5.2).
        assert_eq!(parsed(&SENT.replace("-01", "-ff")).unwrap().header(), SENT);
    }

    #[test]
    fn later_versions_are_read_as_far_as_they_are_known() {
        let later = SENT.replace("00-4", "cc-4");
        assert_eq!(parsed(&later).unwrap().header(), SENT);
        assert_eq!(parsed(&format!("{later}-more")).unwrap().header(), SENT);
        assert_eq!(parsed(&format!("{later}.more")), None);
    }

    #[test]
    fn anything_else_begins_a_trace_anew() {
        let zero_trace = SENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32));
        let zero_span = SENT.replace("00f067aa0ba902b7", &"0".repeat(16));
        for bad in [
            "",
            "00",
            SENT.strip_suffix('1').unwrap(),
            &format!("{SENT}-more"),
            &SENT.replace("00-4", "ff-4"),
            &SENT.to_uppercase(),
            &SENT.replace('-', "_"),
            &SENT.replace("4bf9", "4bg9"),
            &SENT.replace("-00f067aa0ba902b7", "00f067aa0ba902b7-"),
            &zero_trace,
            &zero_span,
        ] {
            assert_eq!(parsed(bad), None, "{bad:?}");
        }
        let mut twice = HeaderMap::new();
        twice.append(TRACEPARENT, SENT.parse().unwrap());
        assert!(Context::of(&twice).is_some());
        twice.append(TRACEPARENT, SENT.parse().unwrap());
        assert_eq!(Context::of(&twice), None);
    }
}
