//! The listener for probes and metrics. It has no way to the service, and `[server]` has no way here.

use crate::assertion::Assertions;
use crate::assertion::ring::MAX_AGE;
use crate::authn::api_key::KeyFile;
use crate::authn::keys::KeyStore;
use crate::clock::{Clock, UnixTime};
use crate::inquiry::Figures;
use crate::local_http;
use crate::redis::Redis;
use crate::revoking::{MAX_BODY_BYTES, Revoking, problem};
use crate::telemetry::metrics::{
    AuthorityFigures, FileFigures, KeyFigures, Metrics, RedisFigures, ReloadFigures, RevocationFigures,
    Upkeep,
};
use crate::telemetry::tracing::export::Queue;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::timeout;

/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// What probes and scrapes ask about.
#[derive(Debug)]
pub struct Admin {
    metrics: Arc<Metrics>,
    site: RefCell<Rc<Site>>,
    reloads: Cell<ReloadFigures>,
    last_reload: Cell<UnixTime>,
    draining: Cell<bool>,
    clock: Arc<dyn Clock>,
}

/// The part of it that comes with a configuration.
#[derive(Debug)]
pub struct Site {
    /// The keys of every jwt authenticator.
    pub stores: Vec<Arc<KeyStore>>,
    /// What is signed for services, if anything is.
    pub assertions: Option<Arc<Assertions>>,
    /// How the asking of authorities goes, by authenticator; none = the entitlements.
    pub authorities: Vec<(Option<Arc<str>>, Arc<Figures>)>,
    /// The files of every authenticator of API keys.
    pub key_files: Vec<Arc<KeyFile>>,
    /// What replicas share, if they share anything.
    pub redis: Option<Arc<Redis>>,
    /// What is revoked, and who may add to it.
    pub revoking: Option<Revoking>,
    /// The spans of requests, where they are traced.
    pub spans: Option<Arc<Queue>>,
    /// Whether readiness waits for keys.
    pub ready_requires_keys: bool,
}

impl Admin {
    /// For a gate that begins to serve now.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>, site: Site, clock: Arc<dyn Clock>) -> Self {
        let reloads = ReloadFigures { successes: 0, errors: 0 };
        Self {
            metrics,
            site: RefCell::new(Rc::new(site)),
            reloads: Cell::new(reloads),
            last_reload: Cell::new(clock.now()),
            draining: Cell::new(false),
            clock,
        }
    }

    /// Answers about another configuration from now on.
    pub fn renew(&self, site: Site) {
        *self.site.borrow_mut() = Rc::new(site);
    }

    /// The configuration was read again at that time, or in vain.
    pub fn reloaded(&self, at: Option<UnixTime>) {
        let ReloadFigures { mut successes, mut errors } = self.reloads.get();
        let count = if at.is_some() { &mut successes } else { &mut errors };
        *count = count.saturating_add(1);
        self.reloads.set(ReloadFigures { successes, errors });
        self.last_reload.set(at.unwrap_or(self.last_reload.get()));
    }

    /// The process begins to end.
    pub fn drain(&self) {
        self.draining.set(true);
    }

    fn site(&self) -> Rc<Site> {
        Rc::clone(&self.site.borrow())
    }

    /// Why the gate is not ready; empty when it is.
    #[must_use]
    pub fn unready(&self) -> Vec<String> {
        let mut why = Vec::new();
        let site = self.site();
        if self.draining.get() {
            why.push("draining".to_owned());
        }
        if site.ready_requires_keys {
            let waiting = site.stores.iter().filter(|store| !store.has_had_keys());
            why.extend(
                waiting.map(|store| format!("authenticator {} has no keys yet", store.settings().name)),
            );
        }
        if site.revoking.as_ref().is_some_and(|revoking| !revoking.revocations.has_been_whole()) {
            why.push("the list of revocations was not read yet".to_owned());
        }
        why
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let site = self.site();
        match (&site.revoking, request.uri().path()) {
            (Some(revoking), "/revocations") if revoking.takes_revocations() => {
                match revoking.challenge(request.headers()) {
                    Some(challenge) => challenge,
                    None => self.take(request, revoking, true).await,
                }
            }
            (Some(revoking), "/backchannel-logout") if revoking.takes_logouts() => {
                self.take(request, revoking, false).await
            }
            (_, "/revocations" | "/backchannel-logout") => {
                text(StatusCode::NOT_FOUND, "[revocation] does not open this\n")
            }
            _ => self.probe(&request),
        }
    }

    /// Takes a revocation, or a logout.
    async fn take(
        &self,
        request: Request<Incoming>,
        revoking: &Revoking,
        is_revocation: bool,
    ) -> Response<Full<Bytes>> {
        if request.method() != Method::POST {
            let mut answer = problem(StatusCode::METHOD_NOT_ALLOWED, "only POST");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return answer;
        }
        let (head, body) = request.into_parts();
        let body = timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY_BYTES).collect()).await;
        let body = match body {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                return problem(StatusCode::PAYLOAD_TOO_LARGE, "the body has more than 16 KiB");
            }
            Ok(Err(_)) => return problem(StatusCode::BAD_REQUEST, "the body is broken"),
            Err(_) => return problem(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"),
        };
        let now = self.clock.now();
        if is_revocation {
            revoking.revoke(&body, now).await
        } else {
            revoking.log_out(&head.headers, &body, now).await
        }
    }

    fn probe(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
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
            "/.well-known/jwks.json" => match &self.site().assertions {
                Some(assertions) => key_set(assertions),
                None => text(StatusCode::NOT_FOUND, "there is no [identity.assertion]\n"),
            },
            _ => text(StatusCode::NOT_FOUND, "there are /livez, /readyz and /metrics\n"),
        }
    }

    fn upkeep(&self) -> Upkeep {
        Upkeep {
            keys: self.key_figures(),
            authorities: self.authority_figures(),
            files: self.file_figures(),
            redis: self.redis_figures(),
            revocations: self.revocation_figures(),
            spans: self.site().spans.as_ref().map(|queue| queue.figures()),
            assertion_key: self.reload_figures(),
            configuration: Some((self.reloads.get(), self.last_reload.get().seconds())),
        }
    }

    fn key_figures(&self) -> Vec<KeyFigures> {
        let figures = |store: &Arc<KeyStore>| {
            let refreshes = store.refreshes();
            KeyFigures {
                authenticator: Arc::clone(&store.settings().name),
                successes: refreshes.successes(),
                errors: refreshes.errors(),
                last_success: refreshes.last_success().map(UnixTime::seconds),
                ignored: refreshes.ignored_keys(),
            }
        };
        self.site().stores.iter().map(figures).collect()
    }

    fn reload_figures(&self) -> Option<ReloadFigures> {
        let (successes, errors) = self.site().assertions.as_ref()?.reloads();
        Some(ReloadFigures { successes, errors })
    }

    fn redis_figures(&self) -> Option<RedisFigures> {
        let site = self.site();
        let figures = site.redis.as_ref()?.figures();
        let (successes, errors) = (figures.answered(), figures.failed());
        Some(RedisFigures { is_up: figures.is_up(), successes, errors })
    }

    fn revocation_figures(&self) -> Option<RevocationFigures> {
        let site = self.site();
        let revocations = &site.revoking.as_ref()?.revocations;
        let age = revocations.age(self.clock.now());
        Some(RevocationFigures { held: revocations.list().held(), age })
    }

    fn authority_figures(&self) -> Vec<AuthorityFigures> {
        let figures = |(authenticator, figures): &(Option<Arc<str>>, Arc<Figures>)| AuthorityFigures {
            authenticator: authenticator.clone(),
            successes: figures.successes(),
            errors: figures.errors(),
        };
        self.site().authorities.iter().map(figures).collect()
    }

    fn file_figures(&self) -> Vec<FileFigures> {
        let figures = |file: &Arc<KeyFile>| FileFigures {
            authenticator: Arc::clone(file.authenticator()),
            successes: file.reloads().successes(),
            errors: file.reloads().errors(),
        };
        self.site().key_files.iter().map(figures).collect()
    }
}

/// The public keys of assertions (RFC 7517 §8.5).
fn key_set(assertions: &Assertions) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::OK, assertions.key_set());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
    if let Ok(caching) = HeaderValue::try_from(format!("public, max-age={}", MAX_AGE.as_secs())) {
        headers.insert(CACHE_CONTROL, caching);
    }
    response
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
        let admin = Rc::clone(&admin);
        async move { admin.answer(request).await }
    })
    .await;
}
