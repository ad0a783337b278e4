//! The facade: what in-app middleware asks over the network, answered on loopback from what sidegate knows already.
//!
//! `POST /auth/validate` says whose a bearer token is, `GET /entitlements/resolve?customer_id=…` what a customer may do. Both run
//! on the control thread and ask the same authorities as the gate, through the same caches.

use crate::authn::cache::Bounds;
use crate::authn::credential::Carrier;
use crate::clock::{Clock, UnixTime};
use crate::denial::{Denial, Reason};
use crate::facts::Facts;
use crate::generation::Generation;
use crate::identity::{Attribute, Identity};
use crate::local_http;
use crate::sessions::{Session, Sessions};
use crate::telemetry::tally::Tally;
use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::cell::RefCell;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;
use tokio::net::TcpListener;

/// How much it may remember; the workers have caches of their own.
const BOUNDS: (u32, u64) = (10_000, 2 << 20);

/// One running facade.
pub struct Facade {
    generation: Arc<Generation>,
    sessions: Sessions,
    clock: Arc<dyn Clock>,
}

/// What there is no answer to, or no good one.
struct Fault {
    status: StatusCode,
    code: &'static str,
    text: String,
}

impl Fault {
    fn new(status: StatusCode, code: &'static str, text: impl Into<String>) -> Self {
        Self { status, code, text: text.into() }
    }

    fn of(denial: &Denial) -> Self {
        Self::new(denial.reason().status(), denial.reason().label(), denial.text())
    }
}

impl Facade {
    /// A facade in front of what `generation` judges by.
    #[must_use]
    pub fn new(generation: Arc<Generation>, tally: Arc<Tally>, clock: Arc<dyn Clock>) -> Self {
        let headers = Arc::clone(&generation.identity_headers);
        let bounds =
            Bounds { signatures: NonZeroU32::new(BOUNDS.0).unwrap_or(NonZeroU32::MIN), bytes: BOUNDS.1 };
        let sessions = Sessions::new(&generation.authenticators, headers, bounds, tally)
            .with_revocations(generation.revocations.clone());
        Self { generation, sessions, clock }
    }

    async fn answer(&self, head: &http::request::Parts) -> Result<Value, Fault> {
        if !is_local(&head.headers) {
            let text = "this listener is for programs on the same machine: Host must be a loopback address";
            return Err(Fault::new(StatusCode::FORBIDDEN, "host_refused", text));
        }
        match (&head.method, head.uri.path()) {
            (&Method::POST, "/auth/validate") => self.validate(&head.headers).await,
            (&Method::GET, "/entitlements/resolve") => {
                self.resolve(head.uri.query().unwrap_or_default()).await
            }
            (_, "/auth/validate" | "/entitlements/resolve") => {
                let text = "POST /auth/validate, GET /entitlements/resolve";
                Err(Fault::new(StatusCode::METHOD_NOT_ALLOWED, "method_refused", text))
            }
            _ => {
                let text = "there are POST /auth/validate and GET /entitlements/resolve";
                Err(Fault::new(StatusCode::NOT_FOUND, "not_found", text))
            }
        }
    }

    /// Whose token it is.
    async fn validate(&self, headers: &HeaderMap) -> Result<Value, Fault> {
        let session = self.session(headers).await.map_err(|denial| Fault::of(&denial))?;
        let mut answer = Map::new();
        answer.insert("valid".to_owned(), Value::Bool(true));
        let Some(rules) = self.generation.facade.as_ref().filter(|rules| !rules.validate.is_empty()) else {
            let all = session.identity.attributes();
            answer.extend(all.map(|(name, value)| (name.to_owned(), value.to_json())));
            return Ok(answer.into());
        };
        for member in &rules.validate {
            let value = match session.identity.attribute(&member.attribute) {
                Some(value) => value.to_json(),
                None if member.optional => Value::Null,
                None => {
                    let text = format!("The token has no {}", member.attribute);
                    return Err(Fault::new(StatusCode::NOT_FOUND, "attribute_missing", text));
                }
            };
            answer.insert(member.name.clone(), value);
        }
        Ok(answer.into())
    }

    async fn session(&self, headers: &HeaderMap) -> Result<Rc<Session>, Denial> {
        let Some(rules) = &self.generation.facade else { return Err(Denial::new(Reason::RouteDenied)) };
        let candidate = rules.lookup.find(&Carrier { headers, query: None, is_websocket: false })?;
        let candidate = candidate.ok_or(Denial::new(Reason::CredentialMissing))?;
        // Whose key may be used from where is for the gate to say: here only the service itself asks.
        let client = None;
        let now = self.now();
        let judged =
            self.sessions.authenticate(&candidate.authenticators, candidate.token(), now, client).await;
        judged.map_err(|(_, denial)| denial)
    }

    /// What a customer may do.
    async fn resolve(&self, query: &str) -> Result<Value, Fault> {
        let Some(entitlements) = &self.generation.entitlements else {
            let text = "there is no [entitlements] table in the configuration";
            return Err(Fault::new(StatusCode::NOT_FOUND, "not_found", text));
        };
        let mut asked = Identity::default();
        for (name, value) in parameters(query) {
            if asked.attribute(&name).is_some() {
                let text = format!("{name} is given twice");
                return Err(Fault::new(StatusCode::BAD_REQUEST, "parameter_repeated", text));
            }
            asked.insert(name, Attribute::Text(value.into()));
        }
        let url = entitlements.question.url(&asked).map_err(|attribute| {
            let text = format!("the parameter {attribute} is missing");
            Fault::new(StatusCode::BAD_REQUEST, "parameter_missing", text)
        })?;
        let answer = entitlements.inquiry.ask(&url).await.map_err(|unavailable| {
            Fault::of(&Denial::new(Reason::AuthorityUnavailable).because(unavailable))
        })?;
        let asked = asked.attributes().map(|(name, value)| (name.to_owned(), value.to_json()));
        let mut members: Map<String, Value> = asked.collect();
        members.extend(facts(&answer.value));
        members.insert("cached_at".to_owned(), stamp(answer.received).into());
        Ok(members.into())
    }

    fn now(&self) -> UnixTime {
        self.clock.now()
    }
}

/// Answers for as long as it is polled, each request by the facade that there is when it comes.
pub async fn serve(listener: TcpListener, current: Rc<RefCell<Rc<Facade>>>) {
    local_http::serve(listener, move |request: Request<_>| {
        let (facade, head) = (Rc::clone(&current.borrow()), request.into_parts().0);
        async move {
            match facade.answer(&head).await {
                Ok(answer) => response(StatusCode::OK, &answer),
                Err(fault) => refusal(&fault),
            }
        }
    })
    .await;
}

/// Whether it was asked for under a name that only this machine has: pages in a browser are kept out, whatever their DNS says.
fn is_local(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) else {
        return false;
    };
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let name = match host.rsplit_once(':') {
        Some((name, port)) if is_port(port) => name,
        Some(_) | None => host,
    };
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The parameters of a query (WHATWG URL §5.1), decoded.
fn parameters(query: &str) -> impl Iterator<Item = (String, String)> {
    let decoded =
        |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8().map(Cow::into_owned).ok();
    query.split('&').filter_map(move |pair| {
        let (name, value) = pair.split_once('=')?;
        Some((decoded(name)?, decoded(value)?))
    })
}

fn facts(facts: &Facts) -> [(String, Value); 2] {
    let capabilities: Map<String, Value> =
        facts.capabilities.iter().map(|name| (name.to_owned(), Value::Bool(true))).collect();
    [("capabilities".to_owned(), capabilities.into()), ("quotas".to_owned(), facts.quotas.to_json().into())]
}

/// RFC 3339 in UTC.
fn stamp(time: UnixTime) -> String {
    let seconds = i64::try_from(time.seconds()).unwrap_or(i64::MAX);
    let date = time::OffsetDateTime::from_unix_timestamp(seconds).ok();
    date.and_then(|date| date.format(&time::format_description::well_known::Rfc3339).ok()).unwrap_or_default()
}

fn refusal(fault: &Fault) -> Response<Full<Bytes>> {
    let phrase = fault.status.canonical_reason().unwrap_or_default();
    let body = json!({ "error": phrase, "detail": fault.text, "code": fault.code });
    let mut response = response(fault.status, &body);
    let headers = response.headers_mut();
    if fault.status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, POST"));
    }
    if fault.status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"sidegate\""));
    }
    if fault.status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn response(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
