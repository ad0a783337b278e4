//! The demo's requests: each is told as a curl line, and played by `--once`, from the same data.

mod client;
mod curl;
mod fact;

use bytes::Bytes;
use fact::Fact;
use http::{Request, header};
use http_body_util::Full;
use std::net::SocketAddr;

/// Where requests go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    /// The gate.
    pub(super) gate: SocketAddr,
    /// Its probes and metrics.
    pub(super) admin: SocketAddr,
}

/// Tokens, good and bad.
pub(super) struct Tokens {
    /// A customer's.
    pub(super) customer: String,
    /// The same, signed with RS256.
    pub(super) customer_rs256: String,
    /// Somebody's with the role `admin` and the capability `reports.read`.
    pub(super) admin: String,
    /// Past its time.
    pub(super) expired: String,
    /// For another audience.
    pub(super) other_audience: String,
    /// From another issuer.
    pub(super) other_issuer: String,
    /// Signed with a stranger's key.
    pub(super) forged: String,
    /// Not signed at all.
    pub(super) unsigned: String,
}

/// How curl has to be asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Plain,
    RawPath,
    Stream,
    WebSocket,
}

/// A request, and what is expected of the answer.
pub(super) struct Scenario {
    title: &'static str,
    admin: bool,
    manner: Manner,
    method: &'static str,
    path: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Option<&'static str>,
    facts: Vec<Fact>,
}

/// One expectation, and how it turned out.
pub(super) struct Finding {
    /// What was expected.
    pub(super) expected: String,
    /// What came.
    pub(super) got: String,
    /// Whether they agree.
    pub(super) ok: bool,
}

impl Scenario {
    fn get(title: &'static str, path: &'static str, status: u16) -> Self {
        Self {
            title,
            admin: false,
            manner: Manner::Plain,
            method: "GET",
            path,
            headers: Vec::new(),
            body: None,
            facts: vec![Fact::Status(status)],
        }
    }

    fn token(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn post(mut self, body: &'static str) -> Self {
        (self.method, self.body) = ("POST", Some(body));
        self.header("Content-Type", "application/json").fact(Fact::SeesBody(body.to_owned()))
    }

    fn manner(mut self, manner: Manner) -> Self {
        self.manner = manner;
        self
    }

    fn on_admin(mut self) -> Self {
        self.admin = true;
        self
    }

    fn websocket(self) -> Self {
        self.manner(Manner::WebSocket)
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    }

    fn fact(mut self, fact: Fact) -> Self {
        self.facts.push(fact);
        self
    }

    fn sees(self, name: &'static str, value: &str) -> Self {
        self.fact(Fact::Sees(name, Some(value.to_owned())))
    }

    fn sees_no(self, name: &'static str) -> Self {
        self.fact(Fact::Sees(name, None))
    }

    fn refused(self, error: &str) -> Self {
        self.fact(Fact::Challenge(Some(error.to_owned()))).fact(Fact::Reached(false))
    }

    /// What it shows.
    pub(super) const fn title(&self) -> &'static str {
        self.title
    }

    /// What is expected, in one line.
    pub(super) fn expectation(&self) -> String {
        self.facts.iter().map(Fact::to_string).collect::<Vec<_>>().join(", ")
    }

    const fn address(&self, addresses: Addresses) -> SocketAddr {
        if self.admin { addresses.admin } else { addresses.gate }
    }

    /// The line for a POSIX shell.
    pub(super) fn curl(&self, addresses: Addresses) -> String {
        let options = match self.manner {
            Manner::Plain => "-i",
            Manner::RawPath => "-i --path-as-is",
            Manner::Stream => "-i -N",
            Manner::WebSocket => "-i -N --http1.1 --max-time 2",
        };
        let url = format!("http://{}{}", self.address(addresses), self.path);
        let (method, headers) = (self.method, self.headers.as_slice());
        curl::Line { options, method, headers, body: self.body, url: &url }.render()
    }

    /// The line that carries on where curl has to stop, for a WebSocket that is expected to open.
    pub(super) fn websocat(&self, addresses: Addresses) -> Option<String> {
        let opens = self.manner == Manner::WebSocket && self.facts.contains(&Fact::Status(101));
        let (_, value) = self.headers.iter().find(|(name, _)| *name == "Authorization").filter(|_| opens)?;
        let header = curl::quote(&format!("Authorization: {value}"));
        Some(format!("websocat -H {header} 'ws://{}{}'", self.address(addresses), self.path))
    }

    /// Sends the request and compares.
    pub(super) async fn play(&self, addresses: Addresses) -> Vec<Finding> {
        let address = self.address(addresses);
        let outcome = match self.request(address) {
            Ok(request) => {
                client::exchange(address, request, "hello").await.map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        let finding = |fact: &Fact| {
            let observed = outcome.as_ref().map(|response| fact.observed(response));
            Finding {
                expected: fact.to_string(),
                ok: observed == Ok(fact.clone()),
                got: observed.map_or_else(Clone::clone, |fact| fact.to_string()),
            }
        };
        self.facts.iter().map(finding).collect()
    }

    fn request(&self, address: SocketAddr) -> http::Result<Request<Full<Bytes>>> {
        let request =
            Request::builder().method(self.method).uri(self.path).header(header::HOST, address.to_string());
        let request =
            self.headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        request.body(Full::from(self.body.unwrap_or_default()))
    }
}

/// The requests that anybody can make, and those that show that a client cannot speak for itself.
fn admitted(tokens: &Tokens) -> Vec<Scenario> {
    let customer = |title, path| Scenario::get(title, path, 200).token(&tokens.customer);
    vec![
        Scenario::get("A public route asks nobody", "/public/hello", 200).sees_no("x-customer-id"),
        Scenario::get("... but believes nobody either: forged identity is removed", "/public/hello", 200)
            .header("X-Customer-Id", "c-1")
            .sees_no("x-customer-id"),
        customer("A good token: the service is told who is asking", "/orders?page=2")
            .sees("x-customer-id", "c-42")
            .sees("x-user-roles", "customer")
            .sees("x-user-email", "ada@example.com"),
        Scenario::get("The same, signed with RS256 instead of ES256", "/orders", 200)
            .token(&tokens.customer_rs256)
            .sees("x-customer-id", "c-42"),
        customer("A forged x-customer-id beside a good token is replaced", "/orders")
            .header("X-Customer-Id", "c-1")
            .sees("x-customer-id", "c-42"),
        customer("Aliases that some frameworks confuse with it are removed", "/orders")
            .header("x_customer_id", "c-1")
            .header("X.Customer-Id", "c-1")
            .sees("x-customer-id", "c-42")
            .sees_no("x_customer_id")
            .sees_no("x.customer-id"),
        customer("A request body arrives as it was sent", "/orders")
            .post(r#"{"item": "tea", "note": "it's hot"}"#),
    ]
}

/// The tokens that are refused.
fn refused(tokens: &Tokens) -> Vec<Scenario> {
    let bad = |title, token: &str| Scenario::get(title, "/orders", 401).token(token).refused("invalid_token");
    vec![
        Scenario::get("No token", "/orders", 401).refused(""),
        bad("An expired token", &tokens.expired),
        bad("A token signed with a stranger's key", &tokens.forged),
        bad("A token without signature (\"alg\": \"none\")", &tokens.unsigned),
        bad("A token of another issuer", &tokens.other_issuer),
        bad("A token for another audience", &tokens.other_audience),
    ]
}

/// What a good token does not suffice for, and paths that try to get around the rules.
fn entitled(tokens: &Tokens) -> Vec<Scenario> {
    let lacking =
        |title, path| Scenario::get(title, path, 403).token(&tokens.customer).refused("insufficient_scope");
    vec![
        lacking("A capability that the customer lacks", "/reports/2026"),
        Scenario::get("... and somebody who has it", "/reports/2026", 200)
            .token(&tokens.admin)
            .sees("x-customer-id", "c-7"),
        lacking("A role that the customer lacks", "/admin/users"),
        Scenario::get("... and somebody who has it", "/admin/users", 200)
            .token(&tokens.admin)
            .sees("x-user-roles", "admin"),
        Scenario::get("A path that climbs out of the public route", "/public/%2e%2e/admin/users", 400)
            .manner(Manner::RawPath)
            .fact(Fact::Reached(false)),
    ]
}

/// Streams, tunnels, and what the operator sees.
fn streamed(tokens: &Tokens, events: usize) -> Vec<Scenario> {
    vec![
        Scenario::get("Server-sent events arrive as they are sent", "/events", 200)
            .manner(Manner::Stream)
            .token(&tokens.customer)
            .fact(Fact::Events { count: events, live: true }),
        Scenario::get("A WebSocket without token", "/chat", 401).websocket().refused(""),
        Scenario::get("A WebSocket", "/chat", 101)
            .websocket()
            .token(&tokens.customer)
            .fact(Fact::Answers("sec-websocket-accept", Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned())))
            .fact(Fact::Messages(vec!["welcome, c-42".to_owned(), "hello".to_owned()])),
        Scenario::get("Readiness, for the orchestrator", "/readyz", 200).on_admin(),
        Scenario::get("Metrics, for Prometheus", "/metrics", 200)
            .on_admin()
            .fact(Fact::Mentions("sidegate_decisions_total", true)),
    ]
}

/// All of them, in the order in which they are told and played; the service sends `events` events.
pub(super) fn all(tokens: &Tokens, events: usize) -> Vec<Scenario> {
    [admitted(tokens), refused(tokens), entitled(tokens), streamed(tokens, events)]
        .into_iter()
        .flatten()
        .collect()
}

/// Whether the gate says that it is ready.
pub(super) async fn ready(addresses: Addresses) -> bool {
    let findings = Scenario::get("", "/readyz", 200).on_admin().play(addresses).await;
    findings.iter().all(|finding| finding.ok)
}
