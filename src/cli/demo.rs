//! `sidegate demo`: an issuer, a service and the gate in one process, and requests that show each outcome.

mod echo;
mod issuer;
mod playbill;
mod scenario;
mod stage;

#[cfg(test)]
mod tests;

use crate::app::{App, Exit, Listeners};
use crate::clock::{Clock as _, SystemClock};
use crate::config::load::parse;
use crate::console::{Console, Status};
use crate::shutdown::Shutdown;
use http::Request;
use hyper::body::Incoming;
use issuer::{Issuer, IssuerError, Signature};
use scenario::{Addresses, Finding, Scenario, Tokens};
use serde_json::{Value, json};
use stage::Stage;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

const CONFIGURATION: &str = include_str!("demo/demo.toml");
const AUDIENCE: &str = "demo-api";
const HOUR: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("cannot listen on 127.0.0.1: {0}")]
    Listen(io::Error),
    #[error("{0}")]
    Bind(String),
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    #[error(transparent)]
    Issuer(#[from] IssuerError),
    #[error("{0}")]
    Configuration(String),
}

impl DemoError {
    const fn status(&self) -> Status {
        match self {
            Self::Listen(_) | Self::Bind(_) => Status::CannotListen,
            Self::Configuration(_) => Status::Configuration,
            Self::Thread(_) | Self::Issuer(_) => Status::Failed,
        }
    }
}

/// Everything that the demo is made of, listening.
struct Demo {
    stage: Stage,
    app: App,
    listeners: Listeners,
    addresses: Addresses,
    places: Vec<[String; 3]>,
    configuration: String,
    scenarios: Vec<Scenario>,
}

/// Runs the demo until Ctrl-C, or, `once`, until every request has been answered.
pub(super) fn demo(once: bool, console: &mut Console<'_>) -> Status {
    let demo = match Demo::prepare() {
        Ok(demo) => demo,
        Err(error) => {
            console.complain(format_args!("sidegate: {error}"));
            return error.status();
        }
    };
    demo.introduce(console);
    if once { demo.play(console) } else { demo.wait(console) }
}

impl Demo {
    fn prepare() -> Result<Self, DemoError> {
        let issuer_listener = stage::listen(9100).map_err(DemoError::Listen)?;
        let echo_listener = stage::listen(9101).map_err(DemoError::Listen)?;
        let issuer_address = issuer_listener.local_addr().map_err(DemoError::Listen)?;
        let echo_address = echo_listener.local_addr().map_err(DemoError::Listen)?;
        let gate = stage::free_address(8080).map_err(DemoError::Listen)?;
        let admin = stage::free_address(9090).map_err(DemoError::Listen)?;
        let configuration = CONFIGURATION
            .replace("127.0.0.1:8080", &gate.to_string())
            .replace("127.0.0.1:9090", &admin.to_string())
            .replace("127.0.0.1:9100", &issuer_address.to_string())
            .replace("127.0.0.1:9101", &echo_address.to_string());
        let url = format!("http://{issuer_address}");
        let issuer = Arc::new(Issuer::new(&url)?);
        let tokens = tokens(&issuer, &url)?;
        let app = build(&configuration)?;
        let listeners = app.bind().map_err(|error| DemoError::Bind(error.to_string()))?;
        let gate = listeners.server_addresses().first().copied().unwrap_or(gate);
        let addresses = Addresses { gate, admin: listeners.admin_address() };
        let stage = set_stage(issuer_listener, issuer, echo_listener).map_err(DemoError::Thread)?;
        let place = |name: &str, url: String, what: &str| [format!("  {name}"), url, what.to_owned()];
        let places = vec![
            place("gate", format!("http://{}", addresses.gate), "what clients talk to"),
            place("service", format!("http://{echo_address}"), "answers with what reached it"),
            place("issuer", url, "whose tokens the gate believes; those below hold for an hour"),
            place("admin", format!("http://{}", addresses.admin), "probes and metrics of the gate"),
        ];
        let scenarios = scenario::all(&tokens, echo::EVENTS);
        Ok(Self { stage, app, listeners, addresses, places, configuration, scenarios })
    }

    fn introduce(&self, console: &mut Console<'_>) {
        console.say("sidegate demo: everything in one process, on this machine only\n");
        console.say(playbill::table(&self.places));
        console.say("The gate runs with this configuration; saved to a file, `sidegate run --config FILE` takes it too:\n");
        console.say(playbill::indented(&self.configuration));
    }

    /// Tells the requests, and leaves sending them to the reader.
    fn wait(self, console: &mut Console<'_>) -> Status {
        console.say("Requests to send from another terminal, each with what to expect:\n");
        for (number, scenario) in (1_u32..).zip(&self.scenarios) {
            console.say(format_args!("{number:2}. {}", scenario.title()));
            console.say(format_args!("    expect: {}", scenario.expectation()));
            console.say(scenario.curl(self.addresses));
            if let Some(line) = scenario.websocat(self.addresses) {
                console.say("    curl opens the WebSocket and gives up after 2 s; websocat, where installed, talks on:");
                console.say(line);
            }
            console.say("");
        }
        console.say("Ctrl-C ends the demo.");
        let exit = self.app.run(self.listeners, Shutdown::on_signals());
        self.stage.clear();
        console.say(match exit {
            Exit::Drained => "\nEverything has been drained.",
            Exit::GraceExpired | Exit::Interrupted => "\nWhat was still in flight has been cut off.",
        });
        Status::Well
    }

    /// Sends the requests, and compares what comes back with what is expected.
    fn play(self, console: &mut Console<'_>) -> Status {
        let Self { stage, app, listeners, addresses, scenarios, .. } = self;
        let shutdown = Shutdown::new();
        let ending = shutdown.clone();
        let gate =
            std::thread::Builder::new().name("gate".to_owned()).spawn(move || app.run(listeners, ending));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let (gate, runtime) = match (gate, runtime) {
            (Ok(gate), Ok(runtime)) => (gate, runtime),
            (Err(error), _) | (_, Err(error)) => {
                console.complain(format_args!("sidegate: {}", DemoError::Thread(error)));
                return Status::Failed;
            }
        };
        let findings = runtime.block_on(play_all(&scenarios, addresses));
        shutdown.begin();
        let drained = gate.join().is_ok();
        stage.clear();
        if report(&scenarios, &findings, console) && drained { Status::Well } else { Status::Failed }
    }
}

/// Compiles the demo's configuration.
fn build(configuration: &str) -> Result<App, DemoError> {
    let loaded = parse("demo.toml", configuration, |_| None)
        .map_err(|error| DemoError::Configuration(error.to_string()))?;
    let (app, problems) = App::build(&loaded, false);
    app.ok_or_else(|| DemoError::Configuration(loaded.document.render(&problems)))
}

fn set_stage(at_issuer: TcpListener, issuer: Arc<Issuer>, at_echo: TcpListener) -> io::Result<Stage> {
    let publish = move |request: Request<Incoming>| {
        let response = issuer.answer(request.uri().path());
        async move { response }
    };
    Stage::set(
        async move { tokio::join!(stage::serve(at_issuer, publish), stage::serve(at_echo, echo::answer)) },
    )
}

fn tokens(issuer: &Issuer, url: &str) -> Result<Tokens, IssuerError> {
    let now = SystemClock.now();
    let claims = json!({
        "iss": url,
        "aud": AUDIENCE,
        "sub": "user-42",
        "iat": now.seconds(),
        "exp": now.plus(HOUR).seconds(),
        "customer_id": "c-42",
        "email": "ada@example.com",
        "roles": ["customer"],
        "permissions": ["orders:read"],
        "capabilities": ["orders.manage"],
    });
    let but = |changes: Value| {
        let mut claims = claims.clone();
        if let (Some(claims), Value::Object(changes)) = (claims.as_object_mut(), changes) {
            claims.extend(changes);
        }
        claims
    };
    let admin = json!({
        "sub": "user-7",
        "customer_id": "c-7",
        "email": "grace@example.com",
        "roles": ["admin"],
        "capabilities": ["reports.read"],
    });
    let seconds = |hours: u64| now.seconds().saturating_sub(HOUR.as_secs().saturating_mul(hours));
    let past = json!({ "iat": seconds(2), "exp": seconds(1) });
    let es256 = |claims: &Value| issuer.token(Signature::Es256, claims);
    Ok(Tokens {
        customer: es256(&claims)?,
        customer_rs256: issuer.token(Signature::Rs256, &claims)?,
        admin: es256(&but(admin))?,
        expired: es256(&but(past))?,
        other_audience: es256(&but(json!({ "aud": "another-api" })))?,
        other_issuer: es256(&but(json!({ "iss": "https://issuer.example" })))?,
        forged: issuer.token(Signature::Forged, &claims)?,
        unsigned: issuer.token(Signature::Absent, &claims)?,
    })
}

async fn play_all(scenarios: &[Scenario], addresses: Addresses) -> Vec<Vec<Finding>> {
    await_ready(addresses).await;
    let mut findings = Vec::new();
    for scenario in scenarios {
        findings.push(scenario.play(addresses).await);
    }
    findings
}

/// Gives the gate a moment to fetch its keys; if it never gets ready, the requests show it.
async fn await_ready(addresses: Addresses) {
    let ready = async {
        while !scenario::ready(addresses).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    drop(tokio::time::timeout(PATIENCE, ready).await);
}

/// Prints a table of expectations and findings; whether they all agree.
fn report(scenarios: &[Scenario], findings: &[Vec<Finding>], console: &mut Console<'_>) -> bool {
    let mut rows = vec![["#", "what", "expected", "got", "ok"].map(str::to_owned)];
    let mut agreed = 0_usize;
    for ((number, scenario), findings) in (1_u32..).zip(scenarios).zip(findings) {
        let mut labels = [number.to_string(), scenario.title().to_owned()];
        for Finding { expected, got, ok } in findings {
            let [number, title] = std::mem::take(&mut labels);
            let verdict = if *ok { "yes" } else { "NO" };
            rows.push([number, title, expected.clone(), got.clone(), verdict.to_owned()]);
        }
        agreed = agreed.saturating_add(usize::from(findings.iter().all(|finding| finding.ok)));
    }
    console.say(playbill::table(&rows));
    console.say(format_args!("{agreed} of {} as expected", scenarios.len()));
    agreed == scenarios.len()
}
