//! The host of an authority: one spelling for matching, whatever the client wrote.

use std::borrow::Cow;
use std::net::Ipv6Addr;

/// No host name is longer (RFC 1035 §2.3.4).
const LONGEST: usize = 255;

/// Why an authority is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostFault {
    /// Nothing there.
    #[error("the host is empty")]
    Empty,
    /// A character that no host name has, an empty label, or too many of them.
    #[error("the host is not a valid name or address")]
    Name,
    /// Brackets without an IPv6 address.
    #[error("the host is not a valid IPv6 address")]
    Address,
    /// Not a number up to 65535.
    #[error("the port is not a number up to 65535")]
    Port,
}

/// How many bytes of an authority are its host, where that needs no other spelling and has no port but a short one. Nearly
/// all are so, and for them [`without_port`] and [`normal_host`] say the same.
pub(super) fn usual(authority: &[u8]) -> Option<usize> {
    let mut label_is_empty = true;
    let mut length = 0_usize;
    for byte in authority {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => label_is_empty = false,
            b'.' if !label_is_empty => label_is_empty = true,
            b':' if is_short_port(authority.get(length..)?) => break,
            _ => return None,
        }
        length = length.saturating_add(1);
    }
    (!label_is_empty && length <= LONGEST).then_some(length)
}

/// A colon and up to four digits.
fn is_short_port(text: &[u8]) -> bool {
    matches!(text, [b':', digits @ ..] if digits.len() <= 4 && digits.iter().all(u8::is_ascii_digit))
}

/// Splits the port off, which may be empty (RFC 3986 §3.2.3), and checks it.
pub(super) fn without_port(authority: &str) -> Result<&str, HostFault> {
    let from = if authority.starts_with('[') { authority.find(']').unwrap_or_default() } else { 0 };
    let Some(colon) = authority.get(from..).and_then(|tail| tail.find(':')) else { return Ok(authority) };
    let (host, port) = authority.split_at_checked(from.saturating_add(colon)).ok_or(HostFault::Name)?;
    let digits = port.strip_prefix(':').unwrap_or(port);
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok();
    if digits.is_empty() || is_number { Ok(host) } else { Err(HostFault::Port) }
}

/// The form in which hosts are compared: lower-case, without trailing dot; an IPv6 address in brackets as RFC
/// 5952 writes it.
///
/// Names are letters, digits, `-`, `_` and dots: what RFC 3986 allows beyond that is in no DNS name, and
/// means something to whoever reads `Forwarded` or a list of hosts.
///
/// # Errors
///
/// Says what is wrong with a host that is neither name nor address, or that has a port.
pub fn normal_host(host: &str) -> Result<Cow<'_, str>, HostFault> {
    if let Some(bracketed) = host.strip_prefix('[') {
        let address = bracketed.strip_suffix(']').and_then(|address| address.parse::<Ipv6Addr>().ok());
        let normal = format!("[{}]", address.ok_or(HostFault::Address)?);
        return Ok(if normal == host { Cow::Borrowed(host) } else { Cow::Owned(normal) });
    }
    if host.is_empty() {
        return Err(HostFault::Empty);
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let mut label_is_empty = true;
    for byte in name.bytes() {
        match byte {
            b'.' if label_is_empty => return Err(HostFault::Name),
            b'.' => label_is_empty = true,
            b'-' | b'_' => label_is_empty = false,
            _ if byte.is_ascii_alphanumeric() => label_is_empty = false,
            _ => return Err(HostFault::Name),
        }
    }
    if label_is_empty || name.len() > LONGEST {
        return Err(HostFault::Name);
    }
    let has_capitals = name.bytes().any(|byte| byte.is_ascii_uppercase());
    Ok(if has_capitals { Cow::Owned(name.to_ascii_lowercase()) } else { Cow::Borrowed(name) })
}
