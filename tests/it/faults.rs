//! The fault table: whoever the gate depends on is down, slow, talks nonsense or breaks off, and is back again, all under load.
//!
//! Of every request it is known who may get through and whom an outage may touch. Nobody who may not is ever let through, and
//! whoever does not need what has failed notices nothing. The table is printed; docs/reliability.md has one.

use crate::support::authority::{Authority, Mode};
use crate::support::client::Client;
use crate::support::faulty::{Fault, Relay};
use crate::support::gate::Gate;
use crate::support::idp::Idp;
use crate::support::keys::Key;
use crate::support::request::{Ask, get};
use crate::support::service::Service;
use crate::support::setup::Setup;
use crate::support::wait::{let_pass, until_true};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long a fault lasts.
const OUTAGE: Duration = Duration::from_millis(1500);

/// How long all but one in a hundred requests may take that do not need what has failed: less than any time-out of ours.
const UNDISTURBED: Duration = Duration::from_millis(250);

/// How soon everything must be well again.
const RECOVERY: Duration = Duration::from_secs(8);

/// Whom the gate depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Issuer,
    Introspection,
    Entitlements,
    Service,
}

/// What a client sends, again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// A JWT that was seen before.
    KnownJwt,
    /// A JWT with a key that is known.
    NewJwt,
    /// A JWT with a key that no issuer has.
    ForeignKey,
    /// A JWT with a signature of somebody else.
    Forged,
    /// No token at all.
    Nothing,
    /// An opaque token that was seen before.
    KnownOpaque,
    /// An opaque token that only its authority knows.
    NewOpaque,
    /// An opaque token that nobody has issued.
    BadOpaque,
    /// A customer whose facts were asked for before.
    KnownCustomer,
    /// A customer whose facts are not known yet.
    NewCustomer,
    /// A customer who may not.
    PoorCustomer,
    /// A route for everybody.
    Public,
}

impl Kind {
    const ALL: [Self; 12] = [
        Self::KnownJwt,
        Self::NewJwt,
        Self::ForeignKey,
        Self::Forged,
        Self::Nothing,
        Self::KnownOpaque,
        Self::NewOpaque,
        Self::BadOpaque,
        Self::KnownCustomer,
        Self::NewCustomer,
        Self::PoorCustomer,
        Self::Public,
    ];

    /// The statuses that it may get while all is well; if 200 is among them, it may get through.
    const fn in_peace(self) -> &'static [u16] {
        match self {
            Self::KnownJwt
            | Self::NewJwt
            | Self::KnownOpaque
            | Self::NewOpaque
            | Self::KnownCustomer
            | Self::NewCustomer
            | Self::Public => &[200],
            Self::ForeignKey | Self::Forged | Self::Nothing | Self::BadOpaque => &[401],
            Self::PoorCustomer => &[403],
        }
    }

    /// What more it may get while that part fails.
    fn touched_by(self, part: Part) -> &'static [u16] {
        match (self, part) {
            // Nobody can say whether there is such a key, such a token, such a customer.
            (Self::ForeignKey, Part::Issuer)
            | (Self::NewOpaque | Self::BadOpaque, Part::Introspection)
            | (Self::NewCustomer | Self::PoorCustomer, Part::Entitlements) => &[503],
            (_, Part::Service) if self.may_pass() => &[502, 503, 504],
            _ => &[],
        }
    }

    /// Whether it may take as long as a time-out of that part, though it gets what is due in the end: old facts serve only once
    /// new ones cannot be had, and for an unknown key the issuer is asked at most once a second.
    fn waits_for(self, part: Part) -> bool {
        self == Self::ForeignKey || (self == Self::KnownCustomer && part == Part::Entitlements)
    }

    fn may_pass(self) -> bool {
        self.in_peace().contains(&200)
    }
}

/// The gate and everything around it.
struct Stage {
    gate: Gate,
    relays: BTreeMap<Part, Relay>,
    service: Service,
    idp: Idp,
    stranger: Key,
    _authorities: [Authority; 2],
    number: AtomicUsize,
}

impl Stage {
    fn set() -> Self {
        let idp = Idp::start();
        let introspection = Authority::start(Mode::good(&json!({ "active": true, "sub": "somebody" })));
        introspection.on_question("bad", 200, &json!({ "active": false }));
        let entitlements =
            Authority::start(Mode::good(&json!({ "capabilities": { "sail": true }, "quotas": {} })));
        entitlements.on_question(
            "/resolve?customer_id=poor",
            200,
            &json!({ "capabilities": {}, "quotas": {} }),
        );
        let service = Service::ok("hello");
        let relays = BTreeMap::from([
            (Part::Issuer, Relay::to(idp.jwks_url().split('/').nth(2).unwrap())),
            (Part::Introspection, Relay::to(introspection.service().address())),
            (Part::Entitlements, Relay::to(entitlements.service().address())),
            (Part::Service, Relay::to(service.address())),
        ]);
        let at = |part: Part| relays[&part].address();
        let gate = Setup::new(&format!("http://{}", at(Part::Service)))
            .upstream("connect_timeout = \"500ms\"\nresponse_timeout = \"500ms\"")
            .with(&format!(
                "[authenticators.main]\nkind = \"jwt\"\nissuer = {:?}\naudience = \"api\"\njwks_url = \"http://{}/keys\"\n\
                 jwks_refresh = \"1s\"\nclaims.customer_id = \"customer_id\"",
                idp.issuer(),
                at(Part::Issuer)
            ))
            .with(&introspection.introspection("opaque").replace(introspection.url(), &format!("http://{}", at(Part::Introspection))))
            .with("timeout = \"300ms\"\nttl = \"1h\"")
            .with(&entitlements.entitlements().replace(entitlements.url(), &format!("http://{}", at(Part::Entitlements))))
            .with("timeout = \"300ms\"\nttl = \"300ms\"\nstale_while_revalidate = \"100ms\"\nstale_if_error = \"1h\"")
            .with("[identity.headers]\nx-user-id = \"subject\"")
            .route("/public/**", "access = \"public\"")
            .route("/jwt/**", "authenticators = [\"main\"]")
            .route("/opaque/**", "authenticators = [\"opaque\"]")
            .route("/entitled/**", "authenticators = [\"main\"]\nrequire.capabilities = [\"sail\"]")
            .env("INTROSPECTION_SECRET", "secret")
            .workers(2)
            .start();
        let authorities = [introspection, entitlements];
        let stranger = Key::rsa_other();
        let number = AtomicUsize::new(0);
        Self { gate, relays, service, idp, stranger, _authorities: authorities, number }
    }

    fn request(&self, kind: Kind) -> Ask {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let customer = |id: &str| self.idp.token().claim("customer_id", id).claim("sub", id).build();
        let (place, token) = match kind {
            Kind::Public => return get("/public/Public"),
            Kind::Nothing => return get("/jwt/Nothing"),
            Kind::KnownJwt => (
                "jwt",
                self.idp.token().claim("exp", 4_000_000_000_i64).claim("sub", "known").without("iat").build(),
            ),
            Kind::NewJwt => ("jwt", self.idp.token().claim("sub", format!("u-{number}")).build()),
            Kind::ForeignKey => {
                let token = crate::support::tokens::Token::new(
                    &self.idp.issuer(),
                    &self.stranger.clone().kid("nobody"),
                );
                ("jwt", token.claim("sub", format!("f-{number}")).build())
            }
            Kind::Forged => (
                "jwt",
                self.idp.token().claim("sub", format!("x-{number}")).forged_with(&self.stranger).build(),
            ),
            Kind::KnownOpaque => ("opaque", "known".to_owned()),
            Kind::NewOpaque => ("opaque", format!("new-{number}")),
            Kind::BadOpaque => ("opaque", "bad".to_owned()),
            Kind::KnownCustomer => ("entitled", customer("rich")),
            Kind::NewCustomer => ("entitled", customer(&format!("rich-{number}"))),
            Kind::PoorCustomer => ("entitled", customer("poor")),
        };
        get(&format!("/{place}/{kind:?}")).bearer(&token)
    }

    /// Whether everybody gets what is due in peace.
    fn is_well(&self) -> bool {
        Kind::ALL.iter().all(|kind| kind.in_peace().contains(&self.request(*kind).send(&self.gate).status))
    }
}

/// What happened during one fault.
#[derive(Debug, Default)]
struct Row {
    requests: usize,
    /// Passed, and might not.
    trespassers: Vec<Kind>,
    /// Without an answer, or with one that this fault does not excuse.
    lost: Vec<(Kind, String)>,
    unavailable: usize,
    /// How long requests took that do not need what failed.
    others: Vec<Duration>,
    recovery: Duration,
}

impl Row {
    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.trespassers.extend(other.trespassers);
        self.lost.extend(other.lost);
        self.unavailable += other.unavailable;
        self.others.extend(other.others);
    }

    fn note(&mut self, part: Part, kind: Kind, outcome: Result<u16, String>, took: Duration) {
        self.requests += 1;
        let excused = kind.touched_by(part);
        if excused.is_empty() && !kind.waits_for(part) {
            self.others.push(took);
        }
        match outcome {
            Ok(200) if !kind.may_pass() => self.trespassers.push(kind),
            Ok(status) if kind.in_peace().contains(&status) => {}
            Ok(status) if excused.contains(&status) => self.unavailable += 1,
            Ok(status) => self.lost.push((kind, status.to_string())),
            Err(error) => self.lost.push((kind, error)),
        }
    }
}

impl Row {
    /// What all but one in a hundred of the others took at most.
    fn undisturbed(&self) -> Duration {
        let mut others = self.others.clone();
        others.sort_unstable();
        others.get(others.len() * 99 / 100).copied().unwrap_or_default()
    }
}

impl fmt::Display for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, trespassers, lost, unavailable, recovery, .. } = self;
        let (trespassers, lost) = (trespassers.len(), lost.len());
        let (others, recovery) = (self.undisturbed().as_secs_f64() * 1000.0, recovery.as_millis());
        write!(
            formatter,
            "{requests} | {trespassers} | {lost} | {unavailable} | {others:.1} ms | {recovery} ms |"
        )
    }
}

/// One client: sends each kind in turn on a connection of its own until it is stopped.
fn client(stage: &Stage, part: Part, first: usize, stop: &AtomicBool) -> Row {
    let mut row = Row::default();
    let mut client: Option<Client> = None;
    let mut turn = first;
    while !stop.load(Ordering::SeqCst) {
        let kind = Kind::ALL[turn % Kind::ALL.len()];
        turn += 1;
        let request = stage.request(kind);
        let begun = Instant::now();
        let mut connection = client.take().unwrap_or_else(|| stage.gate.connect());
        connection.send_anyway(request.bytes());
        match connection.try_reply("GET") {
            Ok(reply) => {
                row.note(part, kind, Ok(reply.status), begun.elapsed());
                if reply.status == 503 && reply.header("retry-after").is_none() {
                    row.lost.push((kind, "503 without Retry-After".to_owned()));
                }
                client = Some(connection).filter(|_| !reply.headers.lists("connection", "close"));
            }
            Err(error) => row.note(part, kind, Err(error.to_string()), begun.elapsed()),
        }
        let_pass(Duration::from_millis(1));
    }
    row
}

fn outage(stage: &Stage, part: Part, fault: Fault) -> Row {
    let stop = AtomicBool::new(false);
    let mut row = Row::default();
    std::thread::scope(|scope| {
        let stop = &stop;
        let clients: Vec<_> =
            (0..6).map(|first| scope.spawn(move || client(stage, part, first * 2, stop))).collect();
        let_pass(Duration::from_millis(200));
        stage.relays[&part].fail(fault);
        let_pass(OUTAGE);
        stage.relays[&part].fail(Fault::None);
        let back = Instant::now();
        let_pass(Duration::from_millis(200));
        stop.store(true, Ordering::SeqCst);
        for client in clients {
            row.add(client.join().unwrap());
        }
        until_true("everything is well again", || stage.is_well());
        row.recovery = back.elapsed();
    });
    row
}

#[test]
fn whoever_fails_lets_nobody_in_and_keeps_nobody_out_who_does_not_need_it() {
    let stage = Stage::set();
    until_true("all is well at first", || stage.is_well());
    let mut table = String::new();
    let mut faults = Vec::new();
    for part in [Part::Issuer, Part::Introspection, Part::Entitlements, Part::Service] {
        for fault in Fault::ALL {
            let row = outage(&stage, part, fault);
            writeln!(table, "| {part:?} | {fault:?} | {row}").unwrap();
            let (trespassers, lost) = (&row.trespassers, &row.lost);
            if !trespassers.is_empty() {
                faults.push(format!("{part:?} {fault:?}: let through: {trespassers:?}"));
            }
            if !lost.is_empty() {
                faults.push(format!("{part:?} {fault:?}: lost: {:?}", &lost[..lost.len().min(8)]));
            }
            if row.undisturbed() > UNDISTURBED || row.recovery > RECOVERY {
                faults.push(format!(
                    "{part:?} {fault:?}: {:?}, recovery {:?}",
                    row.undisturbed(),
                    row.recovery
                ));
            }
        }
    }
    println!(
        "| part | fault | requests | let through | lost | unavailable | 99 % of the others within | well again |\n|---|---|---:|---:|---:|---:|---:|---:|\n{table}"
    );
    assert!(faults.is_empty(), "{}\n{table}", faults.join("\n"));
    let strangers = stage.service.targets().into_iter().find(|target| {
        Kind::ALL.iter().any(|kind| !kind.may_pass() && target.ends_with(&format!("/{kind:?}")))
    });
    assert_eq!(strangers, None, "the service itself saw nobody who may not pass");
}
