//! The access log as JSON: written straight into the buffer, member by member.

use super::Line;
use super::stamp::Stamp;
use crate::identity::Attribute;
use std::io::{Result, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Writes one object, without line end.
pub(super) fn write(out: &mut Vec<u8>, line: &Line<'_>, stamp: &mut Stamp) -> Result<()> {
    out.extend_from_slice(b"{\"timestamp\":\"");
    stamp.write(out, line.timestamp);
    out.extend_from_slice(b"\",\"level\":\"INFO\",\"message\":\"request\",\"request_id\":");
    text(out, line.request_id)?;
    if let Some(trace) = line.trace_id {
        out.extend_from_slice(b",\"trace_id\":");
        text(out, trace)?;
    }
    out.extend_from_slice(b",\"client\":");
    client(out, line.client)?;
    out.extend_from_slice(b",\"method\":");
    text(out, line.method)?;
    out.extend_from_slice(b",\"host\":");
    text(out, line.host)?;
    out.extend_from_slice(b",\"path\":");
    text(out, line.path)?;
    out.extend_from_slice(b",\"status\":");
    number(out, line.status.into())?;
    out.extend_from_slice(b",\"route\":");
    text(out, line.route)?;
    out.extend_from_slice(b",\"decision\":");
    label(out, line.decision.label());
    out.extend_from_slice(b",\"reason\":");
    label(out, line.reason.label());
    if let Some(cause) = line.cause {
        out.extend_from_slice(b",\"cause\":");
        text(out, cause)?;
    }
    out.extend_from_slice(b",\"authenticator\":");
    optional(out, line.authenticator, text)?;
    out.extend_from_slice(b",\"subject\":");
    optional(out, line.subject, text)?;
    customer(out, line.customer_id)?;
    out.extend_from_slice(b",\"bytes\":");
    number(out, line.bytes)?;
    out.extend_from_slice(b",\"duration\":");
    seconds(out, line.duration)?;
    out.extend_from_slice(b",\"upstream_duration\":");
    optional(out, line.upstream_duration, seconds)?;
    out.push(b'}');
    Ok(())
}

/// A string; most need no escapes.
fn text(out: &mut Vec<u8>, text: &str) -> Result<()> {
    if !is_plain(text.as_bytes()) {
        return Ok(serde_json::to_writer(out, text)?);
    }
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
    Ok(())
}

/// Whether there is nothing to escape: no control character, quote or backslash. Eight bytes are looked at in one step,
/// the last eight perhaps twice.
fn is_plain(text: &[u8]) -> bool {
    let Some(last) = text.last_chunk() else {
        return text.iter().all(|byte| !matches!(byte, ..b' ' | b'"' | b'\\'));
    };
    let (chunks, _) = text.as_chunks();
    chunks.iter().chain([last]).fold(0, |found, chunk| found | escapes(*chunk)) == 0
}

/// Not zero if one of these bytes must be escaped (Hacker's Delight §6-1).
fn escapes(bytes: [u8; 8]) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let bytes = u64::from_ne_bytes(bytes);
    let below = |bytes: u64, limit: u64| bytes.wrapping_sub(limit) & !bytes & HIGH;
    let equal = |wanted: u8| below(bytes ^ u64::from_ne_bytes([wanted; 8]), ONES);
    below(bytes, u64::from_ne_bytes([b' '; 8])) | equal(b'"') | equal(b'\\')
}

/// One of our own words, which need no escapes.
fn label(out: &mut Vec<u8>, label: &'static str) {
    out.push(b'"');
    out.extend_from_slice(label.as_bytes());
    out.push(b'"');
}

fn number(out: &mut Vec<u8>, number: u64) -> Result<()> {
    Ok(serde_json::to_writer(out, &number)?)
}

/// Seconds as a decimal fraction, without needless zeros.
fn seconds(out: &mut Vec<u8>, duration: Duration) -> Result<()> {
    number(out, duration.as_secs())?;
    let mut fraction = *b".000000000";
    let mut rest = duration.subsec_nanos();
    for digit in fraction.iter_mut().skip(1).rev() {
        *digit |= u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
    }
    let length = fraction.iter().rposition(|digit| *digit != b'0').unwrap_or_default().max(1);
    out.extend_from_slice(fraction.get(..=length).unwrap_or_default());
    Ok(())
}

fn optional<T>(
    out: &mut Vec<u8>,
    value: Option<T>,
    write: impl FnOnce(&mut Vec<u8>, T) -> Result<()>,
) -> Result<()> {
    let Some(value) = value else {
        out.extend_from_slice(b"null");
        return Ok(());
    };
    write(out, value)
}

fn client(out: &mut Vec<u8>, address: Option<IpAddr>) -> Result<()> {
    match address {
        Some(IpAddr::V4(address)) => {
            dotted(out, address);
            Ok(())
        }
        Some(IpAddr::V6(address)) => write!(out, "\"{address}\""),
        None => optional(out, None, text),
    }
}

fn dotted(out: &mut Vec<u8>, address: Ipv4Addr) {
    let mut before = b'"';
    for octet in address.octets() {
        out.push(before);
        if octet >= 100 {
            out.push((octet / 100) | b'0');
        }
        if octet >= 10 {
            out.push((octet / 10 % 10) | b'0');
        }
        out.push((octet % 10) | b'0');
        before = b'.';
    }
    out.push(b'"');
}

/// A customer's id is a text or a number, and always written as a text.
fn customer(out: &mut Vec<u8>, id: Option<&Attribute>) -> Result<()> {
    match id {
        Some(Attribute::Text(id)) => {
            out.extend_from_slice(b",\"customer_id\":");
            text(out, id)
        }
        Some(Attribute::Integer(id)) => write!(out, ",\"customer_id\":\"{id}\""),
        Some(Attribute::Boolean(_) | Attribute::Set(_) | Attribute::Quotas(_)) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
