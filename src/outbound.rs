//! How sidegate asks others: issuers, introspection endpoints, entitlements.
//!
//! One client with no surprises: no redirects, no proxy from the environment, no cookies, a deadline for everything and a
//! cap on what is read. It belongs on the control runtime; workers never wait for the network through it.

use bytes::{Bytes, BytesMut};
use http::{Request, Response, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use rustls::{ClientConfig, RootCertStore};
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// The largest body that is read, in bytes.
pub const MAX_BODY_BYTES: usize = 1 << 20;

/// How long a document may take, from the first packet to the last.
pub const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(5);

/// What is escaped in a part of a URL or form: everything but the unreserved characters (RFC 3986 §2.3).
pub const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a question stayed without an answer. URLs do not appear: they can hold what identifies a customer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The client could not be set up.
    #[error("the HTTP client cannot be set up: {0}")]
    Setup(String),
    /// The URL is not one that can be asked.
    #[error("not an http or https URL")]
    Url,
    /// No connection came about.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The deadline passed.
    #[error("no answer in time")]
    Timeout,
    /// The connection broke, or the answer was no HTTP.
    #[error("the exchange failed: {0}")]
    Exchange(String),
    /// The body is over [`MAX_BODY_BYTES`].
    #[error("the answer is larger than {MAX_BODY_BYTES} bytes")]
    TooLarge,
    /// A document was asked for, and the status was not 200; redirects are not followed.
    #[error("the answer's status is {0}")]
    Status(StatusCode),
}

/// An answer that is on its way.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

/// Whoever asks over HTTP; a test may be one.
pub trait HttpClient: fmt::Debug + Send + Sync {
    /// Sends a request and reads the whole answer, whatever its status, within `timeout`.
    fn send(&self, request: Request<Bytes>, timeout: Duration) -> Answer<'_>;
}

/// Fetches a document by GET; nothing but a 200 is one.
///
/// # Errors
/// If the URL is not http or https, or there is no such answer in time and within [`MAX_BODY_BYTES`].
pub async fn document(client: &dyn HttpClient, url: &str) -> Result<Bytes, HttpError> {
    let request = Request::get(url).header(header::ACCEPT, "application/json").body(Bytes::new());
    let response = client.send(request.map_err(|_| HttpError::Url)?, DOCUMENT_TIMEOUT).await?;
    match response.status() {
        StatusCode::OK if response.body().len() > MAX_BODY_BYTES => Err(HttpError::TooLarge),
        StatusCode::OK => Ok(response.into_body()),
        status => Err(HttpError::Status(status)),
    }
}

/// Whether that is a URL that can be asked: http or https, and without a password, which would end up in the log.
#[must_use]
pub fn is_http(url: &str) -> bool {
    let parsed: Option<http::Uri> = url.parse().ok();
    let is_plain = |authority: &http::uri::Authority| !authority.as_str().contains('@');
    parsed.is_some_and(|url| {
        matches!(url.scheme_str(), Some("http" | "https")) && url.authority().is_some_and(is_plain)
    })
}

/// The client that really asks.
#[derive(Clone, Debug)]
pub struct ReqwestClient(reqwest::Client);

impl ReqwestClient {
    /// A client that trusts the operating system's certificate authorities (`SSL_CERT_FILE` and `SSL_CERT_DIR` count).
    ///
    /// # Errors
    /// If TLS cannot be set up. A system without any certificate authority is not an error: plain http works there.
    pub fn new() -> Result<Self, HttpError> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            tracing::warn!(errors = ?found.errors, "no certificate authorities found: https issuers cannot be asked");
        }
        Self::trusting(roots)
    }

    /// A client that trusts these certificate authorities and no others.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn trusting(roots: RootCertStore) -> Result<Self, HttpError> {
        let setup = |error: &dyn Error| HttpError::Setup(chain(error));
        let tls =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(|error| setup(&error))?
                .with_root_certificates(roots)
                .with_no_client_auth();
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("sidegate/", env!("CARGO_PKG_VERSION")))
            .build();
        client.map(Self).map_err(|error| setup(&error))
    }

    /// Sends a request, and once more if a connection broke before the head of an answer: servers close connections that
    /// nobody uses, some in the very moment in which one is used. Whatever is asked here is a question and changes nothing.
    async fn execute(&self, request: reqwest::Request) -> reqwest::Result<reqwest::Response> {
        let again = request.try_clone();
        match (self.0.execute(request).await, again) {
            (Err(error), Some(again)) if is_cut_off(&error) => self.0.execute(again).await,
            (answered, _) => answered,
        }
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        if !matches!(request.uri().scheme_str(), Some("http" | "https")) {
            return Err(HttpError::Url);
        }
        let request = reqwest::Request::try_from(request).map_err(|_| HttpError::Url)?;
        let mut response = self.execute(request).await.map_err(failure)?;
        let limit = u64::try_from(MAX_BODY_BYTES).unwrap_or(u64::MAX);
        if response.content_length().is_some_and(|length| length > limit) {
            return Err(HttpError::TooLarge);
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(failure)? {
            if body.len().saturating_add(chunk.len()) > MAX_BODY_BYTES {
                return Err(HttpError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        let mut answer = Response::new(body.freeze());
        *answer.status_mut() = response.status();
        *answer.headers_mut() = std::mem::take(response.headers_mut());
        Ok(answer)
    }
}

impl HttpClient for ReqwestClient {
    fn send(&self, request: Request<Bytes>, timeout: Duration) -> Answer<'_> {
        Box::pin(async move {
            let exchange = tokio::time::timeout(timeout, self.exchange(request));
            exchange.await.unwrap_or(Err(HttpError::Timeout))
        })
    }
}

fn failure(error: reqwest::Error) -> HttpError {
    let error = error.without_url();
    if error.is_timeout() {
        HttpError::Timeout
    } else if error.is_connect() {
        HttpError::Connect(chain(&error))
    } else {
        HttpError::Exchange(chain(&error))
    }
}

/// Whether a connection that had come about was closed or reset before anything of an answer came.
fn is_cut_off(error: &reqwest::Error) -> bool {
    let mut source = error.source().filter(|_| !error.is_connect() && !error.is_timeout());
    while let Some(error) = source {
        let by_http = error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message);
        let by_system = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if by_http || matches!(by_system, Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)) {
            return true;
        }
        source = error.source();
    }
    false
}

/// An error and everything behind it, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
