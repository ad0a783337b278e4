//! An issuer: serves OIDC discovery and a key set, and fails in whatever way a test asks for.

use super::keys::{Key, key_set};
use super::service::{Exchange, Service};
use super::tokens::Token;
use serde_json::{Value, json};
use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How the issuer behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As it should.
    Good,
    /// Closes every connection without a word.
    Down,
    /// Answers 500.
    Failing,
    /// Never answers.
    Slow,
    /// Answers 200 with what is no JSON.
    Garbage,
    /// Answers 200 with a good key set in a document of more than 1 MiB.
    Huge,
    /// Discovery names another issuer.
    WrongIssuer,
    /// Answers 302 to where everything is well.
    Redirect,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    keys: Vec<Value>,
    fetched: Option<Instant>,
}

/// A running issuer.
#[derive(Debug)]
pub struct Idp {
    service: Service,
    state: Arc<Mutex<State>>,
    /// The key that [`Idp::token`] signs with.
    pub key: Key,
}

const DISCOVERY: &str = "/.well-known/openid-configuration";
const KEYS: &str = "/keys";

impl Idp {
    /// With the RSA key of this process.
    pub fn start() -> Self {
        Self::with(&[Key::rsa()])
    }

    /// With these keys; [`Idp::token`] signs with the first.
    pub fn with(keys: &[Key]) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), keys)
    }

    pub fn on(listener: TcpListener, keys: &[Key]) -> Self {
        let address = listener.local_addr().unwrap();
        let published = keys.iter().map(Key::jwk).collect();
        let state = Arc::new(Mutex::new(State { mode: Mode::Good, keys: published, fetched: None }));
        let shared = Arc::clone(&state);
        let service = Service::on(listener, move |exchange| {
            let issuer = format!("http://{address}");
            answer(exchange, &shared, &issuer)
        });
        Self { service, state, key: keys[0].clone() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The `iss` value, with the final slash that Auth0 has.
    pub fn issuer(&self) -> String {
        format!("{}/", self.service.url())
    }

    pub fn jwks_url(&self) -> String {
        format!("{}{KEYS}", self.service.url())
    }

    pub fn mode(&self, mode: Mode) {
        self.state().mode = mode;
    }

    /// Publishes these keys instead.
    pub fn publish(&self, keys: &[Value]) {
        self.state().keys = keys.to_vec();
    }

    /// Requests for the discovery document so far, answered or not.
    pub fn discoveries(&self) -> usize {
        self.asked(DISCOVERY)
    }

    /// Requests for the key set so far, answered or not.
    pub fn fetches(&self) -> usize {
        self.asked(KEYS)
    }

    /// Requests of any kind so far.
    pub fn requests(&self) -> usize {
        self.service.requests().len()
    }

    fn asked(&self, target: &str) -> usize {
        self.service.targets().into_iter().filter(|asked| asked == target).count()
    }

    /// How long ago the key set was last asked for.
    pub fn since_fetch(&self) -> Duration {
        self.state().fetched.map_or(Duration::MAX, |fetched| fetched.elapsed())
    }

    /// `[authenticators.NAME]` for this issuer by discovery and the audience `api`.
    pub fn authenticator(&self, name: &str) -> String {
        format!(
            "\n[authenticators.{name}]\nkind = \"jwt\"\nissuer = \"{}\"\naudience = \"api\"\n",
            self.issuer()
        )
    }

    /// A good token in the making.
    pub fn token(&self) -> Token {
        Token::new(&self.issuer(), &self.key)
    }
}

fn answer(exchange: &mut Exchange<'_>, state: &Mutex<State>, issuer: &str) -> io::Result<()> {
    exchange.finish()?;
    let target = exchange.target();
    let (mode, keys) = {
        let mut state = state.lock().unwrap();
        if target == KEYS {
            state.fetched = Some(Instant::now());
        }
        (state.mode, key_set(&state.keys))
    };
    let stated = if mode == Mode::WrongIssuer { "http://evil.test/" } else { &format!("{issuer}/") };
    let mut document = match target.trim_start_matches("/moved") {
        DISCOVERY => json!({ "issuer": stated, "jwks_uri": format!("{issuer}{KEYS}") }),
        KEYS => keys,
        _ => return exchange.write("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
    };
    match mode {
        Mode::Down => return exchange.close(),
        Mode::Slow => return exchange.hold(),
        Mode::Failing => {
            return exchange.write("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n");
        }
        Mode::Garbage => return exchange.ok("<html>It works!</html>"),
        Mode::Redirect if !target.starts_with("/moved") => {
            let location = format!("{issuer}/moved{target}");
            return exchange
                .write(format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"));
        }
        Mode::Huge => document["padding"] = json!("x".repeat(1 << 20)),
        Mode::Good | Mode::WrongIssuer | Mode::Redirect => {}
    }
    let body = document.to_string();
    exchange.write(format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}
