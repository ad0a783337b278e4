//! Heads, chunks and trailers as bytes.
//!
//! Names and values come from `http`, which lets no line end stand in them, so that nothing written here can be taken
//! for a line of its own.

use super::date;
use crate::clock::UnixTime;
use http::header::{CONTENT_LENGTH, DATE, HeaderMap, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{Method, StatusCode};
use std::io::Write as _;

/// How the receiver is told where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// There is none, and the head says nothing of a length.
    Nothing,
    /// There is none, but the head says how long it would be.
    Described,
    /// By its length.
    Length(u64),
    /// In chunks.
    Chunked,
    /// With the connection.
    Close,
}

/// What the head of a response says of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// Nothing: HTTP/1.1 stays.
    Silent,
    /// It stays, which HTTP/1.0 must be told.
    KeepAlive,
    /// It closes.
    Close,
    /// It becomes a WebSocket.
    Upgrade,
}

/// Appends the head of a request; `write_fields` appends the lines of its fields, without those that frame it.
pub fn request_head(
    out: &mut Vec<u8>,
    method: &Method,
    target: &PathAndQuery,
    sending: Sending,
    write_fields: impl FnOnce(&mut Vec<u8>),
) {
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(target.as_str().as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    write_fields(out);
    framing(out, sending);
    out.extend_from_slice(b"\r\n");
}

/// Appends the head of a response; with a `Date` if it has none.
pub fn response_head(
    out: &mut Vec<u8>,
    status: StatusCode,
    headers: &HeaderMap,
    sending: Sending,
    (connection, now): (Connection, UnixTime),
) {
    if status == StatusCode::OK {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    } else {
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(status.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    let dated = fields(out, headers, sending == Sending::Described);
    framing(out, sending);
    out.extend_from_slice(match connection {
        Connection::Silent => b"".as_slice(),
        Connection::KeepAlive => b"connection: keep-alive\r\n",
        Connection::Close => b"connection: close\r\n",
        Connection::Upgrade => b"connection: Upgrade\r\nupgrade: websocket\r\n",
    });
    if !dated {
        out.extend_from_slice(b"date: ");
        date::append(out, now);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the line that begins a chunk of `length` bytes.
pub fn chunk(out: &mut Vec<u8>, length: usize) {
    // Writing to memory does not fail.
    write!(out, "{length:x}\r\n").unwrap_or_default();
}

/// Appends the last chunk and the trailers behind it.
pub fn last_chunk(out: &mut Vec<u8>, trailers: Option<&HeaderMap>) {
    out.extend_from_slice(b"0\r\n");
    if let Some(trailers) = trailers {
        fields(out, trailers, false);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the lines of the fields, without those that frame a message, unless it only `describes` one. Whether there was a
/// date.
pub fn fields(out: &mut Vec<u8>, headers: &HeaderMap, describes: bool) -> bool {
    let mut dated = false;
    for (name, value) in headers {
        dated |= name == DATE;
        if name == TRANSFER_ENCODING || (name == CONTENT_LENGTH && !describes) {
            continue;
        }
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    dated
}

/// Appends the line that says where the body ends: ours, whatever stood there.
fn framing(out: &mut Vec<u8>, sending: Sending) {
    match sending {
        Sending::Nothing | Sending::Described | Sending::Close => {}
        Sending::Length(length) => {
            out.extend_from_slice(b"content-length: ");
            out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        Sending::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Connection, Sending, chunk, fields, last_chunk, request_head, response_head};
    use crate::clock::UnixTime;
    use http::{HeaderMap, Method, StatusCode};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn what_frames_a_message_is_ours() {
        let headers = headers(&[("a", "1"), ("content-length", "007"), ("transfer-encoding", "gzip")]);
        for (sending, framing) in [
            (Sending::Nothing, ""),
            (Sending::Length(7), "content-length: 7\r\n"),
            (Sending::Chunked, "transfer-encoding: chunked\r\n"),
            (Sending::Close, ""),
        ] {
            let mut out = Vec::new();
            request_head(&mut out, &Method::POST, &"/x?y".parse().unwrap(), sending, |out| {
                fields(out, &headers, false);
            });
            let expected = format!("POST /x?y HTTP/1.1\r\na: 1\r\n{framing}\r\n");
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{sending:?}");
        }
    }

    #[test]
    fn a_response_has_one_date_and_says_what_becomes_of_the_connection() {
        let written = |status: u16, headers: &HeaderMap, connection| {
            let mut out = Vec::new();
            let status = StatusCode::from_u16(status).unwrap();
            let at = (connection, UnixTime::from_seconds(784_111_777));
            response_head(&mut out, status, headers, Sending::Nothing, at);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            written(418, &headers(&[]), Connection::Close),
            "HTTP/1.1 418 I'm a teapot\r\nconnection: close\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n"
        );
        let dated = headers(&[("date", "then")]);
        assert_eq!(written(200, &dated, Connection::Silent), "HTTP/1.1 200 OK\r\ndate: then\r\n\r\n");
        assert_eq!(written(299, &dated, Connection::Silent), "HTTP/1.1 299 \r\ndate: then\r\n\r\n");
    }

    #[test]
    fn chunks_say_their_length_in_hex() {
        for length in [0, 1, 9, 10, 15, 16, 255, 256, 4095, 4096, 65_536, usize::MAX] {
            let mut out = Vec::new();
            chunk(&mut out, length);
            assert_eq!(String::from_utf8(out).unwrap(), format!("{length:x}\r\n"));
        }
        let mut out = Vec::new();
        last_chunk(&mut out, Some(&headers(&[("x-sum", "1")])));
        last_chunk(&mut out, None);
        assert_eq!(out, b"0\r\nx-sum: 1\r\n\r\n0\r\n\r\n");
    }
}
