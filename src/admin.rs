//! The listener for probes and metrics. It has no way to the service, and `[server]` has no way here.

use crate::authn::api_key::KeyFile;
use crate::authn::keys::KeyStore;
use crate::inquiry::Figures;
use crate::local_http;
use crate::telemetry::metrics::{AuthorityFigures, FileFigures, KeyFigures, Metrics, Upkeep};
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::TcpListener;

/// What probes and scrapes ask about.
#[derive(Debug)]
pub struct Admin {
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// The keys of every jwt authenticator.
    pub stores: Vec<Arc<KeyStore>>,
    /// How the asking of authorities goes, by authenticator; none = the entitlements.
    pub authorities: Vec<(Option<Arc<str>>, Arc<Figures>)>,
    /// The files of every authenticator of API keys.
    pub key_files: Vec<Arc<KeyFile>>,
    /// Whether readiness waits for keys.
    pub ready_requires_keys: bool,
    /// Set when the process begins to end.
    pub draining: AtomicBool,
}

impl Admin {
    /// Why the gate is not ready; empty when it is.
    #[must_use]
    pub fn unready(&self) -> Vec<String> {
        let mut why = Vec::new();
        if self.draining.load(Ordering::Relaxed) {
            why.push("draining".to_owned());
        }
        if self.ready_requires_keys {
            let waiting = self.stores.iter().filter(|store| !store.has_had_keys());
            why.extend(
                waiting.map(|store| format!("authenticator {} has no keys yet", store.settings().name)),
            );
        }
        why
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match request.uri().path() {
            "/livez" | "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" => match self.unready().as_slice() {
                [] => text(StatusCode::OK, "ready\n"),
                why => text(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", why.join("\n"))),
            },
            "/metrics" => {
                let mut response = text(StatusCode::OK, self.metrics.render(&self.upkeep()));
                let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                response.headers_mut().insert(CONTENT_TYPE, kind);
                response
            }
            _ => text(StatusCode::NOT_FOUND, "there are /livez, /readyz and /metrics\n"),
        }
    }

    fn upkeep(&self) -> Upkeep {
        Upkeep { keys: self.key_figures(), authorities: self.authority_figures(), files: self.file_figures() }
    }

    fn key_figures(&self) -> Vec<KeyFigures> {
        let figures = |store: &Arc<KeyStore>| {
            let refreshes = store.refreshes();
            KeyFigures {
                authenticator: Arc::clone(&store.settings().name),
                successes: refreshes.successes(),
                errors: refreshes.errors(),
                last_success: refreshes.last_success().map(crate::clock::UnixTime::seconds),
                ignored: refreshes.ignored_keys(),
            }
        };
        self.stores.iter().map(figures).collect()
    }

    fn authority_figures(&self) -> Vec<AuthorityFigures> {
        let figures = |(authenticator, figures): &(Option<Arc<str>>, Arc<Figures>)| AuthorityFigures {
            authenticator: authenticator.clone(),
            successes: figures.successes(),
            errors: figures.errors(),
        };
        self.authorities.iter().map(figures).collect()
    }

    fn file_figures(&self) -> Vec<FileFigures> {
        let figures = |file: &Arc<KeyFile>| FileFigures {
            authenticator: Arc::clone(file.authenticator()),
            successes: file.reloads().successes(),
            errors: file.reloads().errors(),
        };
        self.key_files.iter().map(figures).collect()
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Answers probes and scrapes for as long as it is polled.
pub async fn serve(listener: TcpListener, admin: Rc<Admin>) {
    local_http::serve(listener, move |request| {
        let response = admin.answer(&request);
        async move { response }
    })
    .await;
}
