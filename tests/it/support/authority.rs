//! Whoever is asked about credentials or customers: answers by script, and notes each question.

use super::service::{Exchange, Request, Service};
use serde_json::Value;
use std::collections::HashMap;
use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// How the authority behaves.
#[derive(Clone, Debug, PartialEq)]
pub enum Mode {
    /// Answers this status and body, unless the question has an answer of its own.
    Says(u16, String),
    /// The same after a while.
    Late(Duration, u16, String),
    /// Closes every connection without a word.
    Down,
    /// Never answers.
    Slow,
    /// Begins an answer and never ends it.
    Stuck,
    /// Answers 200 with this document and more than 1 MiB of padding in it.
    Huge(Value),
    /// Answers 200 with this document in chunks, without end.
    Endless(Value),
    /// Answers 302 to where this document is.
    Redirect(Value),
}

impl Mode {
    /// 200 with this document.
    pub fn good(document: &Value) -> Self {
        Self::Says(200, document.to_string())
    }

    /// Every way in which an authority fails that would say `good`.
    pub fn outages(good: &Value) -> Vec<Self> {
        let text = good.to_string();
        let doubled = text.replacen('{', &format!("{{{},", text.trim_matches(['{', '}'])), 1);
        vec![
            Self::Down,
            Self::Slow,
            Self::Stuck,
            Self::Huge(good.clone()),
            Self::Endless(good.clone()),
            Self::Redirect(good.clone()),
            Self::Says(200, "<html>It works!</html>".to_owned()),
            Self::Says(200, String::new()),
            Self::Says(200, format!("[{text}]")),
            Self::Says(200, format!("{text}{text}")),
            Self::Says(200, doubled),
            Self::Says(204, String::new()),
            Self::Says(206, text.clone()),
            Self::Says(400, text.clone()),
            Self::Says(429, text.clone()),
            Self::Says(500, text.clone()),
            Self::Says(503, text),
        ]
    }
}

#[derive(Debug)]
struct State {
    mode: Mode,
    special: HashMap<String, (u16, String)>,
}

/// A running authority.
#[derive(Debug)]
pub struct Authority {
    service: Service,
    state: Arc<Mutex<State>>,
}

impl Authority {
    pub fn start(mode: Mode) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), mode)
    }

    pub fn on(listener: TcpListener, mode: Mode) -> Self {
        let state = Arc::new(Mutex::new(State { mode, special: HashMap::new() }));
        let shared = Arc::clone(&state);
        let service = Service::on(listener, move |exchange| answer(exchange, &shared));
        Self { service, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// `http://host:port`.
    pub fn url(&self) -> &str {
        self.service.url()
    }

    pub fn mode(&self, mode: Mode) {
        self.state().mode = mode;
    }

    /// What it says of one token or target, while it is well.
    pub fn on_question(&self, question: &str, status: u16, body: &Value) {
        self.state().special.insert(question.to_owned(), (status, body.to_string()));
    }

    /// What was asked so far: the token if there is one, else the target.
    #[track_caller]
    pub fn questions(&self) -> Vec<String> {
        self.service.requests().iter().filter(|request| request.complete).map(question).collect()
    }

    /// Everything that arrived.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// `[authenticators.NAME]` of kind introspection; the secret is `INTROSPECTION_SECRET`.
    pub fn introspection(&self, name: &str) -> String {
        format!(
            "\n[authenticators.{name}]\nkind = \"introspection\"\nurl = \"{}/introspect\"\nclient_id = \"gate\"\n\
             client_secret_env = \"INTROSPECTION_SECRET\"\n",
            self.url()
        )
    }

    /// `[authenticators.NAME]` of kind remote.
    pub fn remote(&self, name: &str) -> String {
        format!("\n[authenticators.{name}]\nkind = \"remote\"\nurl = \"{}/profile\"\n", self.url())
    }

    /// `[entitlements]` by `customer_id`.
    pub fn entitlements(&self) -> String {
        format!("\n[entitlements]\nurl = \"{}/resolve?customer_id={{customer_id}}\"\n", self.url())
    }
}

fn question(request: &Request) -> String {
    let body = String::from_utf8_lossy(&request.body).into_owned();
    let form = body.split('&').find_map(|pair| pair.strip_prefix("token="));
    let bearer = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    match form.or(bearer.filter(|_| !request.target.contains('?'))) {
        Some(token) => token.to_owned(),
        None => request.target.clone(),
    }
}

fn answer(exchange: &mut Exchange<'_>, state: &Mutex<State>) -> io::Result<()> {
    exchange.finish()?;
    let request = exchange.request();
    let (mode, special) = {
        let state = state.lock().unwrap();
        (state.mode.clone(), state.special.get(&question(&request)).cloned())
    };
    match mode {
        Mode::Says(status, body) => {
            let (status, body) = special.unwrap_or((status, body));
            says(exchange, status, &body)
        }
        Mode::Late(delay, status, body) => {
            super::wait::let_pass(delay);
            let (status, body) = special.unwrap_or((status, body));
            says(exchange, status, &body)
        }
        Mode::Down => exchange.close(),
        Mode::Slow => exchange.hold(),
        Mode::Stuck => {
            exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"active\":true,")?;
            exchange.hold()
        }
        Mode::Huge(mut document) => {
            document["padding"] = "x".repeat(1 << 20).into();
            says(exchange, 200, &document.to_string())
        }
        Mode::Endless(document) => {
            exchange.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            let text = document.to_string();
            exchange.write(format!("{:x}\r\n{text}\r\n", text.len()))?;
            let chunk = format!("10000\r\n{}\r\n", " ".repeat(1 << 16));
            // Until the gate has enough of it.
            while exchange.write(&chunk).is_ok() {}
            exchange.close()
        }
        Mode::Redirect(document) if request.target.starts_with("/moved") => {
            says(exchange, 200, &document.to_string())
        }
        Mode::Redirect(_) => {
            exchange.write("HTTP/1.1 302 Found\r\nLocation: /moved\r\nContent-Length: 0\r\n\r\n".to_owned())
        }
    }
}

fn says(exchange: &mut Exchange<'_>, status: u16, body: &str) -> io::Result<()> {
    let length = if status == 204 { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    exchange.write(format!("HTTP/1.1 {status} Word\r\nContent-Type: application/json\r\n{length}\r\n{body}"))
}
