//! Refusals on the wire: status, challenge (RFC 6750), problem details (RFC 9457) or gRPC status.

use crate::config::log::DenialBody;
use crate::denial::{Denial, Reason};
use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::json;

/// The protection space of our challenges (RFC 9110 §11.5).
const REALM: &str = "sidegate";

/// The media type of gRPC; a suffix says how messages are encoded.
const GRPC: &[u8] = b"application/grpc";

/// What gRPC wants escaped in `grpc-message`.
const GRPC_MESSAGE: &AsciiSet = &CONTROLS.add(b'%');

/// How a refusal is written for this request.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// The form of the body.
    pub body: DenialBody,
    /// Whether the client speaks gRPC.
    pub grpc: bool,
    /// Whether the connection speaks HTTP/1.x, where a connection can be closed by a header.
    pub http1: bool,
}

/// Whether a request is a gRPC call.
#[must_use]
pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| {
        let (family, rest) = kind.as_bytes().split_at_checked(GRPC.len()).unwrap_or_default();
        family.eq_ignore_ascii_case(GRPC)
            && matches!(rest.trim_ascii_start().first(), None | Some(b'+' | b';'))
    })
}

/// The answer to a refused request.
#[must_use]
pub fn denied(denial: &Denial, style: Style) -> Response<Bytes> {
    let mut response = if style.grpc { trailers_only(denial) } else { plain(denial, style.body) };
    let headers = response.headers_mut();
    if style.http1 && closes(denial.reason()) {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if denial.reason().status() == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if let Some(challenge) = challenge(denial) {
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    if denial.reason() == Reason::MethodRefused {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    }
    response
}

/// Whether a service's response refuses the request: 401 or 403, or UNAUTHENTICATED or `PERMISSION_DENIED` in the head of a
/// gRPC response that is all trailers.
#[must_use]
pub fn is_refusal(status: StatusCode, headers: &HeaderMap) -> bool {
    let grpc = || headers.get("grpc-status").is_some_and(|status| matches!(status.as_bytes(), b"16" | b"7"));
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) || grpc()
}

/// After these nothing that follows on the connection can be trusted to begin where it seems to.
const fn closes(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::HeadMalformed
            | Reason::HeadTooLarge
            | Reason::HeadTimeout
            | Reason::BodyTooLarge
            | Reason::BodyTimeout
    )
}

fn plain(denial: &Denial, form: DenialBody) -> Response<Bytes> {
    let status = denial.reason().status();
    let body = match form {
        DenialBody::Problem => json!({
            "type": "about:blank",
            "title": status.canonical_reason().unwrap_or_default(),
            "status": status.as_u16(),
            "detail": denial.text(),
        }),
        DenialBody::Detail => json!({ "detail": denial.text() }),
        DenialBody::Error => json!({ "error": denial.text() }),
    };
    let kind = match form {
        DenialBody::Problem => "application/problem+json",
        DenialBody::Detail | DenialBody::Error => "application/json",
    };
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A gRPC response that is all trailers: the status travels in the head.
fn trailers_only(denial: &Denial) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from(grpc_status(denial.reason().status())));
    let message = utf8_percent_encode(denial.text(), GRPC_MESSAGE).to_string();
    if let Ok(message) = HeaderValue::from_str(&message) {
        headers.insert("grpc-message", message);
    }
    response
}

/// UNAUTHENTICATED, `PERMISSION_DENIED`, UNAVAILABLE, `RESOURCE_EXHAUSTED`, UNIMPLEMENTED; else INTERNAL.
const fn grpc_status(status: StatusCode) -> u16 {
    match status.as_u16() {
        401 => 16,
        403 => 7,
        405 => 12,
        413 | 429 | 431 => 8,
        502..=504 => 14,
        _ => 13,
    }
}

/// The challenge (RFC 6750 §3): without an error code when no credential was sent (§3.1).
fn challenge(denial: &Denial) -> Option<HeaderValue> {
    let reason = denial.reason();
    let Some(error) = reason.bearer_error() else {
        let bare = reason.status() == StatusCode::UNAUTHORIZED;
        return bare.then(|| HeaderValue::from_str(&format!("Bearer realm=\"{REALM}\"")).ok()).flatten();
    };
    let mut text = format!("Bearer realm=\"{REALM}\", error=\"{}\"", error.code());
    let description = denial.text();
    let quotable = |byte: u8| (0x20..0x7f).contains(&byte) && !matches!(byte, b'"' | b'\\');
    if description.bytes().all(quotable) {
        text = format!("{text}, error_description=\"{description}\"");
    }
    if let Some(scope) = denial.missing_scope().filter(|scope| scope.bytes().all(quotable)) {
        text = format!("{text}, scope=\"{scope}\"");
    }
    HeaderValue::from_str(&text).ok()
}

/// A refusal before there is a request, as bytes for an HTTP/1.1 connection that is then closed, and how many of them
/// are its body.
#[must_use]
pub fn raw(denial: &Denial, body: DenialBody, headers: &HeaderMap) -> (Vec<u8>, u64) {
    let response = denied(denial, Style { body, grpc: false, http1: true });
    let status = response.status();
    let phrase = status.canonical_reason().unwrap_or_default();
    let length = response.body().len();
    let start = format!("HTTP/1.1 {} {phrase}\r\ncontent-length: {length}\r\n", status.as_u16());
    let mut bytes = start.into_bytes();
    let mut fields = response.headers().clone();
    fields.extend(headers.iter().map(|(name, value)| (name.clone(), value.clone())));
    fields.insert(CONNECTION, HeaderValue::from_static("close"));
    for (name, value) in &fields {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(response.body());
    (bytes, u64::try_from(length).unwrap_or(u64::MAX))
}
