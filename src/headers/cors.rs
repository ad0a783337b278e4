//! What browsers read about requests across origins (Fetch §3.2): the answer to a preflight, and the fields of every other
//! response. With `[cors]` it is said here and nowhere else; what the service says of it is removed.

use crate::single::single;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
};
use http::{Response, StatusCode};

/// What every field about origins begins with.
const FAMILY: &str = "access-control-";

/// What the answer to a preflight depends on.
const PREFLIGHT_VARY: HeaderValue =
    HeaderValue::from_static("Origin, Access-Control-Request-Method, Access-Control-Request-Headers");

/// Everything, where credentials are not sent along.
const ANY: HeaderValue = HeaderValue::from_static("*");

/// `[cors]`, checked: who may read answers, and what browsers are told.
#[derive(Clone, Debug)]
pub struct Cors {
    /// The origins that may read answers.
    pub origins: Origins,
    /// `Access-Control-Allow-Methods`; without it there are those that need no leave.
    pub methods: Option<HeaderValue>,
    /// The request headers that preflights allow.
    pub request_headers: RequestHeaders,
    /// `Access-Control-Expose-Headers`; none where there is nothing to expose.
    pub exposed: Option<HeaderValue>,
    /// Whether browsers may send cookies and the like; never beside [`Origins::Any`].
    pub credentials: bool,
    /// `Access-Control-Max-Age`.
    pub max_age: HeaderValue,
}

/// The origins whose scripts may read answers.
#[derive(Clone, Debug)]
pub enum Origins {
    /// All of them.
    Any,
    /// These, as browsers send them.
    Listed(Vec<HeaderValue>),
}

/// The request headers that preflights allow.
#[derive(Clone, Debug)]
pub enum RequestHeaders {
    /// Whatever is asked for.
    Asked,
    /// These; none = no field.
    Listed(Option<HeaderValue>),
}

impl Cors {
    /// The value of `Access-Control-Allow-Origin` for the sender of these request fields; none where it may read nothing.
    ///
    /// Origins are compared byte by byte: browsers send them in one form only (RFC 6454 §6.2). Two `Origin` fields are none.
    #[must_use]
    pub fn reader(&self, request: &HeaderMap) -> Option<HeaderValue> {
        let listed = match &self.origins {
            Origins::Any => return Some(ANY),
            Origins::Listed(listed) => listed,
        };
        let origin = single(request, &ORIGIN)?;
        listed.iter().find(|allowed| *allowed == origin).cloned()
    }

    /// The answer to a preflight (Fetch §4.8); none for an origin that may not ask.
    ///
    /// It lists what is allowed, and the browser compares. Access to private networks is never granted.
    #[must_use]
    pub fn preflight(&self, request: &HeaderMap) -> Option<Response<()>> {
        let reader = self.reader(request)?;
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, reader);
        if let Some(methods) = &self.methods {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods.clone());
        }
        let allowed = match &self.request_headers {
            RequestHeaders::Asked => asked_headers(request),
            RequestHeaders::Listed(listed) => listed.clone(),
        };
        if let Some(allowed) = allowed {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
        }
        self.allow_credentials(headers);
        headers.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        headers.insert(VARY, PREFLIGHT_VARY);
        Some(response)
    }

    /// Replaces what a response says about origins by what is true: `reader` may read it, or nobody may.
    ///
    /// Where the answer depends on the origin, it says so even when there was none, or caches would hand it to those who
    /// have one (Fetch §3.2, "CORS protocol and HTTP caches").
    pub fn dress(&self, headers: &mut HeaderMap, reader: Option<HeaderValue>) {
        let theirs: Vec<HeaderName> = headers.keys().filter(|name| is_about_origins(name)).cloned().collect();
        for name in theirs {
            headers.remove(name);
        }
        if matches!(self.origins, Origins::Listed(_)) && !varies_by_origin(headers) {
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
        let Some(reader) = reader else { return };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, reader);
        self.allow_credentials(headers);
        if let Some(exposed) = &self.exposed {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed.clone());
        }
    }

    fn allow_credentials(&self, headers: &mut HeaderMap) {
        if self.credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }
}

/// Whether a field of this name says something about origins.
#[must_use]
pub fn is_about_origins(name: &HeaderName) -> bool {
    name.as_str().starts_with(FAMILY)
}

/// What to do about a text that is none.
pub const ORIGIN_HINT: &str =
    "write scheme and host in lower case, and a port only if it is unusual, such as \"https://app.example\"";

/// Whether this is an origin as browsers send it: scheme and authority in lower case, the usual port left out, nothing else
/// (RFC 6454 §6.2).
#[must_use]
pub fn is_origin(text: &str) -> bool {
    let small = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    let usual_port = match scheme {
        "https" | "wss" => ":443",
        "http" | "ws" => ":80",
        _ => "://",
    };
    scheme.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase())
        && scheme.bytes().all(|byte| small(byte) || b"+-.".contains(&byte))
        && authority.bytes().next().is_some_and(|byte| small(byte) || byte == b'[')
        && authority.bytes().all(|byte| small(byte) || b"-._:[]".contains(&byte))
        && !authority.ends_with(usual_port)
        && !authority.ends_with(':')
}

/// The headers that a preflight asks for, as far as they are names.
fn asked_headers(request: &HeaderMap) -> Option<HeaderValue> {
    let fields = request.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter();
    let pieces = fields.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let names = pieces.filter_map(|piece| HeaderName::from_bytes(piece.trim_ascii()).ok());
    let list = names.map(|name| name.as_str().to_owned()).collect::<Vec<_>>().join(", ");
    HeaderValue::try_from(list).ok().filter(|list| !list.is_empty())
}

fn varies_by_origin(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(VARY).iter();
    let mut pieces = fields.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    pieces.any(|piece| {
        [b"*".as_slice(), b"origin"].iter().any(|word| piece.trim_ascii().eq_ignore_ascii_case(word))
    })
}

#[cfg(test)]
mod tests;
