//! What is written by hand is what a serializer would write.

use super::super::Line;
use super::super::stamp::Stamp;
use super::{is_plain, write};
use crate::clock::UnixTime;
use crate::denial::Reason;
use crate::identity::Attribute;
use crate::telemetry::tally::Decision;
use proptest::prelude::*;
use serde::Serialize;
use std::net::IpAddr;
use std::time::Duration;

/// What a serializer makes of the members, in this order.
#[derive(Serialize)]
struct Reference<'a> {
    timestamp: &'a str,
    level: &'a str,
    message: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
    client: Option<IpAddr>,
    method: &'a str,
    host: &'a str,
    path: &'a str,
    status: u16,
    route: &'a str,
    decision: &'a str,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'a str>,
    authenticator: Option<&'a str>,
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer_id: Option<&'a str>,
    bytes: u64,
    duration: f64,
    upstream_duration: Option<f64>,
}

fn address() -> impl Strategy<Value = Option<IpAddr>> {
    prop_oneof![
        Just(None),
        any::<[u8; 4]>().prop_map(|octets| Some(octets.into())),
        any::<[u8; 16]>().prop_map(|octets| Some(octets.into())),
    ]
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(prop_oneof!["[ -~]{0,40}", "[a-z0-9/-]{0,60}", any::<String>()], 9)
}

proptest! {
    #[test]
    fn it_is_what_a_serializer_writes(
        texts in texts(),
        there in any::<[bool; 4]>(),
        client in address(),
        (status, bytes) in any::<(u16, u64)>(),
        duration in prop_oneof![
            any::<u32>().prop_map(|seconds| Duration::from_secs(seconds.into())),
            (1_000_000..1_000_000_000_u64).prop_map(Duration::from_nanos),
        ],
    ) {
        let customer = Attribute::Text(texts[7].as_str().into());
        let line = Line {
            timestamp: UnixTime::from_millis(1_800_000_000_120),
            request_id: &texts[0],
            trace_id: there[2].then_some(&texts[8]),
            client,
            method: &texts[1],
            host: &texts[2],
            path: &texts[3],
            status,
            route: &texts[4],
            decision: Decision::Deny,
            reason: Reason::TokenExpired,
            cause: there[0].then_some(&texts[5]),
            authenticator: there[1].then_some(&texts[6]),
            subject: there[1].then_some(&texts[8]),
            customer_id: there[2].then_some(&customer),
            bytes,
            duration,
            upstream_duration: there[3].then_some(duration),
        };
        let reference = Reference {
            timestamp: "2027-01-15T08:00:00.12Z",
            level: "INFO",
            message: "request",
            request_id: line.request_id,
            trace_id: line.trace_id,
            client,
            method: line.method,
            host: line.host,
            path: line.path,
            status,
            route: line.route,
            decision: "deny",
            reason: "token_expired",
            cause: line.cause,
            authenticator: line.authenticator,
            subject: line.subject,
            customer_id: there[2].then_some(&texts[7]),
            bytes,
            duration: duration.as_secs_f64(),
            upstream_duration: there[3].then_some(duration.as_secs_f64()),
        };
        let mut written = Vec::new();
        write(&mut written, &line, &mut Stamp::default()).unwrap();
        prop_assert_eq!(String::from_utf8(written).unwrap(), serde_json::to_string(&reference).unwrap());
    }
}

#[test]
fn durations_are_decimal_fractions() {
    for (nanos, expected) in [
        (0, "0.0"),
        (1, "0.000000001"),
        (9_990, "0.00000999"),
        (153_421, "0.000153421"),
        (100_000_000, "0.1"),
        (1_000_000_000, "1.0"),
        (3_600_000_000_010, "3600.00000001"),
    ] {
        let mut written = Vec::new();
        super::seconds(&mut written, Duration::from_nanos(nanos)).unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), expected);
    }
}

#[test]
fn every_byte_that_needs_an_escape_is_found_wherever_it_stands() {
    for (byte, length) in (0..=255_u8).flat_map(|byte| (1..20).map(move |length| (byte, length))) {
        let needs_escape = byte < 0x20 || byte == b'"' || byte == b'\\';
        for (place, other) in
            (0..length).flat_map(|place| [b' ', b'!', b'#', 0x7f, 0x80, 0xff].map(|other| (place, other)))
        {
            let mut text = vec![other; length];
            text[place] = byte;
            assert_eq!(is_plain(&text), !needs_escape, "{byte:#x} among {other:#x} at {place} of {length}");
        }
    }
}

#[test]
fn a_number_of_a_customer_is_a_text_as_well() {
    for (id, member) in [
        (Some(Attribute::Integer(-42)), ",\"customer_id\":\"-42\""),
        (Some(Attribute::Boolean(true)), ""),
        (None, ""),
    ] {
        let mut written = Vec::new();
        super::customer(&mut written, id.as_ref()).unwrap();
        assert_eq!(written, member.as_bytes());
    }
}
