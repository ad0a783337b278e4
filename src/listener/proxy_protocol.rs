//! The PROXY protocol, versions 1 and 2: a load balancer that passes bytes on says whose they are.
//!
//! The header stands in front of everything else, TLS included. What is not exactly one is refused, and so is a connection
//! that begins with something else: whoever could leave it out would come with the load balancer's address. References are
//! to sections of haproxy's `proxy-protocol.txt`.

use super::accepted::Accepted;
use bytes::BytesMut;
use ipnet::IpNet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use tokio::io::AsyncReadExt as _;

/// The longest header of version 1, its line end included (§2.1).
const LONGEST_LINE: usize = 107;

/// How version 2 begins (§2.2); no version of HTTP or TLS does.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The part of version 2 that always has the same length: signature, version and command, family, length.
const FIXED: usize = 16;

/// The longest that may follow it. Addresses take at most 216 bytes; the rest is for additions, such as an authority or
/// a certificate's name, which nobody here looks at.
const LONGEST_REST: usize = 4096;

/// How much is looked at at once.
const STEP: usize = 512;

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// That of whoever has connected, for instance to see whether we live.
    Own,
    /// That of a client with this address.
    Client(SocketAddr),
    /// That of a client on a unix socket, which has no address that could be told.
    Nameless,
}

/// Why a connection is not let in.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// It ended before it had said anything, as probes do.
    #[error("it has said nothing")]
    Silent,
    /// Only some may speak the protocol, and this is nobody of them.
    #[error("its address is not in server.proxy_protocol_from")]
    Stranger,
    /// What it begins with is no header.
    #[error("it does not begin with a PROXY header")]
    Malformed,
    /// It failed, or ended in the middle of the header.
    #[error("it failed: {0}")]
    Failed(#[from] io::Error),
}

/// A connection that has said whose it is.
#[derive(Debug)]
pub(super) struct Introduced {
    /// The address of the client behind it; none on a unix socket.
    pub(super) client: Option<SocketAddr>,
    /// What was read of what follows.
    pub(super) first: BytesMut,
}

/// Reads the header that a connection must begin with. On TCP not one byte behind it is read: those are for TLS.
pub(super) async fn introduce(
    socket: &mut Accepted,
    address: Option<SocketAddr>,
    speakers: &[IpNet],
) -> Result<Introduced, Refused> {
    let speaks = |address: SocketAddr| speakers.iter().any(|net| net.contains(&address.ip().to_canonical()));
    if !speakers.is_empty() && address.is_some_and(|address| !speaks(address)) {
        return Err(Refused::Stranger);
    }
    let mut read = BytesMut::new();
    loop {
        more(socket, &mut read).await?;
        let Some((length, source)) = parse(&read)? else { continue };
        let first = read.split_off(length.min(read.len()));
        let client = match source {
            Source::Own => address,
            Source::Client(client) => Some(client),
            Source::Nameless => None,
        };
        return Ok(Introduced { client, first });
    }
}

/// Reads on; on TCP to the end of the header at most.
async fn more(socket: &mut Accepted, read: &mut BytesMut) -> Result<(), Refused> {
    let before = read.len();
    let count = match socket {
        Accepted::Unix(unix) => unix.read_buf(read).await?,
        Accepted::Tcp(tcp) => {
            read.resize(before.saturating_add(STEP), 0);
            let seen = tcp.peek(read.get_mut(before..).unwrap_or_default()).await?;
            read.truncate(before.saturating_add(seen));
            // As long as more is needed, all that was seen belongs to the header.
            let length = parse(read)?.map_or(read.len(), |(length, _)| length);
            read.truncate(length);
            tcp.read_exact(read.get_mut(before..).unwrap_or_default()).await?
        }
    };
    match count {
        0 if before == 0 => Err(Refused::Silent),
        0 => Err(Refused::Failed(io::ErrorKind::UnexpectedEof.into())),
        _ => Ok(()),
    }
}

/// The header at the beginning of `bytes`, and its length; none if more bytes are needed to tell.
fn parse(bytes: &[u8]) -> Result<Option<(usize, Source)>, Refused> {
    let begins = |word: &[u8]| bytes.iter().zip(word).all(|(have, want)| have == want);
    if begins(SIGNATURE) {
        binary(bytes)
    } else if begins(b"PROXY ") {
        line(bytes)
    } else {
        Err(Refused::Malformed)
    }
}

/// Version 1 (§2.1): a line of text, with exactly one space between its words.
fn line(bytes: &[u8]) -> Result<Option<(usize, Source)>, Refused> {
    let Some(end) = bytes.iter().take(LONGEST_LINE).position(|byte| *byte == b'\n') else {
        return if bytes.len() < LONGEST_LINE { Ok(None) } else { Err(Refused::Malformed) };
    };
    let line = bytes.get(..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(Refused::Malformed)?;
    let words = line.strip_prefix(b"PROXY ").ok_or(Refused::Malformed)?;
    let length = end.saturating_add(1);
    // What follows UNKNOWN must be ignored.
    if words == b"UNKNOWN" || words.starts_with(b"UNKNOWN ") {
        return Ok(Some((length, Source::Own)));
    }
    let words = std::str::from_utf8(words).map_err(|_| Refused::Malformed)?;
    let source = match words.split_once(' ') {
        Some(("TCP4", rest)) => ends::<Ipv4Addr>(rest),
        Some(("TCP6", rest)) => ends::<Ipv6Addr>(rest),
        Some(_) | None => None,
    };
    source.map(|source| Some((length, Source::Client(source)))).ok_or(Refused::Malformed)
}

/// The source of `SOURCE DESTINATION PORT PORT`.
fn ends<A: FromStr + Into<IpAddr>>(text: &str) -> Option<SocketAddr> {
    let mut words = text.split(' ');
    let (source, destination) = (words.next()?, words.next()?);
    let (port, other) = (words.next()?, words.next()?);
    let whole = words.next().is_none();
    let (source, _) = (source.parse::<A>().ok()?, destination.parse::<A>().ok()?);
    let (port, _) = (self::port(port)?, self::port(other)?);
    whole.then(|| SocketAddr::new(source.into(), port))
}

/// A port in decimal, without sign and without leading zeros.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

/// Version 2 (§2.2): sixteen bytes, addresses, and additions that are skipped.
fn binary(bytes: &[u8]) -> Result<Option<(usize, Source)>, Refused> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED>() else { return Ok(None) };
    let [.., command, family, high, low] = *fixed;
    let rest_length = usize::from(u16::from_be_bytes([high, low]));
    if rest_length > LONGEST_REST {
        return Err(Refused::Malformed);
    }
    let claimed = match command {
        // LOCAL: whatever else it says must be ignored.
        0x20 => None,
        0x21 => Some(family),
        _ => return Err(Refused::Malformed),
    };
    let Some(rest) = rest.get(..rest_length) else { return Ok(None) };
    let source = match claimed {
        // Or AF_UNSPEC: the sender does not know, and ours is as good.
        None | Some(0x00) => Some(Source::Own),
        Some(0x11) => client::<4, 12>(rest),
        Some(0x21) => client::<16, 36>(rest),
        Some(0x31) => rest.first_chunk::<216>().map(|_| Source::Nameless),
        // Datagrams carry none of what is spoken here.
        Some(_) => None,
    };
    source.map(|source| Some((FIXED.saturating_add(rest_length), source))).ok_or(Refused::Malformed)
}

/// The source of two addresses of `SIZE` bytes and two ports, `WHOLE` bytes together.
fn client<const SIZE: usize, const WHOLE: usize>(rest: &[u8]) -> Option<Source>
where
    IpAddr: From<[u8; SIZE]>,
{
    let whole = rest.first_chunk::<WHOLE>()?;
    let (source, _) = whole.split_first_chunk::<SIZE>()?;
    let ports = whole.get(SIZE.saturating_mul(2)..)?;
    let port = u16::from_be_bytes(*ports.first_chunk::<2>()?);
    Some(Source::Client(SocketAddr::new(IpAddr::from(*source), port)))
}

#[cfg(test)]
mod tests;
