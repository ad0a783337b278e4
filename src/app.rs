//! The gate as a whole: compiled, bound, run, reloaded, drained.

mod crew;
mod sockets;

pub use sockets::{BindError, Listeners};

use crate::admin::{self, Admin, Site};
use crate::clock::{Clock, SystemClock};
use crate::compile::{Compiled, World, compile};
use crate::config::Config;
use crate::config::load::Loaded;
use crate::config::problem::Problems;
use crate::config::server::Server;
use crate::descriptors::{self, Granted};
use crate::facade::{self, Facade};
use crate::generation::Generation;
use crate::notify::Notifier;
use crate::reload::{Fresh, Reloader};
use crate::shutdown::{Shutdown, Stage, Word};
use crate::standing::Standing;
use crate::telemetry::audit::Audit;
use crate::telemetry::events;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::sink::Sink;
use crate::telemetry::tally::Tally;
use crate::telemetry::tracing::export::Queue;
use crate::worker::{Command, Renewal};
use crew::{Crew, Workers, options};
use serde::Serialize;
use serde_json::{Value, json};
use sockets::SocketFile;
use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::LocalOptions;
use tokio::task::spawn_local;

/// How long the collector of traces may take for what is left when everything has ended.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// How long after its grace a worker is waited for.
const STRAGGLERS: Duration = Duration::from_secs(4);

/// A gate, compiled but not yet listening.
pub struct App {
    config: Config,
    file: Option<PathBuf>,
    compiled: Compiled,
    clock: Arc<dyn Clock>,
    bypass: bool,
}

/// How a gate has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything in flight was finished.
    Drained,
    /// The grace was over before everything was finished.
    GraceExpired,
    /// It was told a second time, and did not wait.
    Interrupted,
}

impl App {
    /// Compiles a configuration. There is a gate if and only if the problems are no more than warnings. With `bypass` nobody
    /// is judged, and only loopback addresses may be listened on.
    #[must_use]
    pub fn build(loaded: &Loaded, bypass: bool) -> (Option<Self>, Problems) {
        // An error means that there is a provider already, and it is this one.
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let world = World::of_process(Arc::clone(&clock), bypass);
        let mut problems = Problems::default();
        let compiled = compile(&loaded.config, &world, &mut problems);
        let app = compiled.filter(|_| !problems.has_errors()).map(|compiled| Self {
            config: loaded.config.clone(),
            file: loaded.file.clone(),
            compiled,
            clock,
            bypass,
        });
        (app, problems)
    }

    /// What it was compiled to, for those who judge without serving.
    #[must_use]
    pub fn into_compiled(self) -> Compiled {
        self.compiled
    }

    /// Opens the sockets.
    ///
    /// # Errors
    /// The address that could not be had.
    pub fn bind(&self) -> Result<Listeners, BindError> {
        Listeners::bind(&self.config)
    }

    /// Serves until `shutdown` begins, then drains. This thread becomes the control thread: it fetches keys, answers probes
    /// and reads the configuration again, while workers carry the traffic.
    #[must_use]
    pub fn run(self, listeners: Listeners, shutdown: Shutdown) -> Exit {
        let sink = Sink::stdout();
        events::install(&self.config.log, &sink);
        let control =
            tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        let exit = match control {
            Ok(control) => control.block_on(self.control(listeners, shutdown, &sink)),
            Err(error) => {
                tracing::error!(%error, "the control runtime cannot be set up");
                Exit::Interrupted
            }
        };
        sink.flush();
        exit
    }

    async fn control(self, listeners: Listeners, shutdown: Shutdown, sink: &Sink) -> Exit {
        let mut word = shutdown.listen();
        let files = self.compiled.files.clone();
        let circumstances = (Arc::clone(&self.clock), self.bypass);
        let mut reloader = Reloader::new(self.file.clone(), files, shutdown.hangups(), circumstances);
        let audit = self.config.log.audit.as_ref();
        let audit = audit.map(|written| Audit::open(written, Arc::clone(&self.clock))).transpose();
        let audit = match audit {
            Ok(audit) => audit,
            Err(error) => {
                tracing::error!(%error, "the audit log cannot be written");
                return Exit::Interrupted;
            }
        };
        let exit = self.serve((listeners, sink, audit.clone()), (&mut word, &mut reloader)).await;
        if let Some(audit) = audit {
            audit.event("stopped", &json!({ "exit": format!("{exit:?}") }));
            audit.flush();
        }
        exit
    }

    async fn serve(
        self,
        (listeners, sink, audit): (Listeners, &Sink, Option<Arc<Audit>>),
        (word, reloader): (&mut Word, &mut Reloader),
    ) -> Exit {
        let mut running = match Running::start(self, listeners, (sink, audit)) {
            Ok(running) => running,
            Err(error) => {
                tracing::error!(%error, "the workers cannot be started");
                return Exit::Interrupted;
            }
        };
        let stage = loop {
            tokio::select! {
                stage = word.next() => break stage,
                // Workers end only when told to; one that ends by itself has failed.
                () = running.workers.ended_one() => {
                    tracing::error!("a worker has ended unexpectedly");
                    return Exit::Interrupted;
                }
                () = reloader.wanted() => running.reload(reloader),
            }
        };
        if stage == Stage::Now { Exit::Interrupted } else { running.drain(word).await }
    }
}

/// The facade by which requests are answered now.
type CurrentFacade = Rc<RefCell<Rc<Facade>>>;

/// A gate that serves.
struct Running {
    config: Config,
    standing: Standing,
    workers: Workers,
    admin: Rc<Admin>,
    facade: Option<(CurrentFacade, Arc<Tally>)>,
    clock: Arc<dyn Clock>,
    audit: Option<Arc<Audit>>,
    traces: Option<Arc<Queue>>,
    notifier: Notifier,
    _files: Vec<SocketFile>,
}

impl Running {
    fn start(app: App, listeners: Listeners, (sink, audit): (&Sink, Option<Arc<Audit>>)) -> io::Result<Self> {
        let App { config, compiled, clock, .. } = app;
        let bypass = compiled.generation.bypass.is_some();
        let metrics = Arc::new(Metrics::new(sink.clone(), audit.clone(), bypass));
        if compiled.generation.bypass.is_some() {
            tracing::warn!(
                "INSECURE: --insecure-bypass judges nobody and believes every identity header; for development only"
            );
        }
        allow_descriptors(&config);
        compiled.standing.begin();
        let site = site(&config, &compiled, audit.as_ref());
        let Compiled { generation, tls, standing, .. } = compiled;
        let admin = Rc::new(Admin::new(Arc::clone(&metrics), site, Arc::clone(&clock)));
        let addresses: Vec<String> = listeners.sockets.iter().map(ToString::to_string).collect();
        let generation = Arc::new(generation);
        let traces = traces(&generation);
        let crew = Crew {
            config: &config,
            generation: Arc::clone(&generation),
            tls,
            metrics: &metrics,
            sink,
            audit: audit.as_ref(),
            clock: Arc::clone(&clock),
        };
        let workers = crew.start(&listeners.sockets)?;
        drop(spawn_local(admin::serve(TcpListener::from_std(listeners.admin)?, Rc::clone(&admin))));
        let mut facade = None;
        if let Some(listener) = listeners.facade {
            tracing::info!(facade = %listener.local_addr()?, "the facade listens");
            let tally = metrics.worker();
            let first = Facade::new(generation, Arc::clone(&tally), Arc::clone(&clock));
            let current = Rc::new(RefCell::new(Rc::new(first)));
            drop(spawn_local(facade::serve(TcpListener::from_std(listener)?, Rc::clone(&current))));
            facade = Some((current, tally));
        }
        // Every worker has its own handle of these; they close when the last worker stops accepting.
        drop(listeners.sockets);
        let server = addresses.join(",");
        tracing::info!(server, admin = %listeners.admin_address, workers = workers.count(), "listening");
        let files = listeners.files;
        let notifier = Notifier::from_environment();
        notifier.ready();
        let running =
            Self { config, standing, workers, admin, facade, clock, audit, traces, notifier, _files: files };
        running.tell("started", &json!({ "version": env!("CARGO_PKG_VERSION"), "server": server }));
        Ok(running)
    }

    /// Reads the configuration again, and lets every worker judge by it; one that cannot be used changes nothing.
    fn reload(&mut self, reloader: &mut Reloader) {
        self.notifier.reloading();
        self.take_over(reloader);
        self.notifier.ready();
    }

    fn take_over(&mut self, reloader: &mut Reloader) {
        let Fresh { config, compiled, warnings } = match reloader.read(self.standing.clone()) {
            Ok(fresh) => fresh,
            Err(report) => {
                self.admin.reloaded(None);
                let error = report.trim_end();
                tracing::error!(error, "the configuration cannot be used; nothing has changed");
                self.tell("reload", &json!({ "result": "error", "cause": error }));
                return;
            }
        };
        if !warnings.is_empty() {
            tracing::warn!(warnings = warnings.trim_end(), "the configuration is suspicious");
        }
        let restart = wants_restart(&self.config, &config);
        if !restart.is_empty() {
            let keys = restart.join(", ");
            tracing::warn!(
                keys,
                "these keys have changed, but need a restart; everything else is taken over"
            );
        }
        compiled.standing.begin();
        self.admin.renew(site(&config, &compiled, self.audit.as_ref()));
        let Compiled { generation, tls, standing, .. } = compiled;
        let generation = Arc::new(generation);
        if let Some((current, tally)) = &self.facade {
            let next = Facade::new(Arc::clone(&generation), Arc::clone(tally), Arc::clone(&self.clock));
            *current.borrow_mut() = Rc::new(next);
        }
        allow_descriptors(&config);
        self.workers.resize(config.server.limits.connections);
        let connections_anew =
            !is_same(&for_connections(&self.config.server), &for_connections(&config.server));
        self.workers.tell(|| {
            let (generation, options) = (Arc::clone(&generation), options(&config, tls.clone()));
            Command::Renew(Box::new(Renewal { generation, options, connections_anew }))
        });
        (self.config, self.standing, self.traces) = (config, standing, traces(&generation));
        self.admin.reloaded(Some(self.clock.now()));
        tracing::info!("the configuration was read again");
        self.tell("reload", &json!({ "result": "success" }));
    }

    /// Writes an entry into the audit log, if there is one.
    fn tell(&self, event: &str, details: &Value) {
        if let Some(audit) = &self.audit {
            audit.event(event, details);
        }
    }

    /// Lets everything end in order.
    async fn drain(mut self, word: &mut Word) -> Exit {
        let limits = self.config.server.shutdown.clone();
        let (delay, grace) = (limits.delay.0, limits.grace.0);
        tracing::info!(?delay, ?grace, "draining");
        self.notifier.stopping();
        self.admin.drain();
        let orderly = async {
            tokio::time::sleep(delay).await;
            self.workers.tell(|| Command::Drain(grace));
            let patience = grace.saturating_add(STRAGGLERS);
            let started = tokio::time::Instant::now();
            let all = tokio::time::timeout(patience, self.workers.ended_all()).await;
            if all.is_ok() && started.elapsed() <= grace { Exit::Drained } else { Exit::GraceExpired }
        };
        let exit = tokio::select! {
            exit = orderly => exit,
            _ = word.next() => Exit::Interrupted,
        };
        if let (Some(traces), true) = (&self.traces, exit != Exit::Interrupted) {
            traces.flush(LAST_SPANS).await;
        }
        tracing::info!(?exit, "ended");
        exit
    }
}

/// Makes room for as many connections as there may be.
fn allow_descriptors(config: &Config) {
    let connections = config.server.limits.connections;
    let granted = descriptors::raise(connections);
    if granted.is_short() {
        let Granted { limit, needed } = granted;
        tracing::warn!(
            connections,
            limit,
            needed,
            "server.limits.connections can need more file descriptors than may be open: raise the hard limit (ulimit -Hn)"
        );
    }
}

/// Where the spans of requests wait, if they are traced.
fn traces(generation: &Generation) -> Option<Arc<Queue>> {
    generation.tracer.as_ref().map(|tracer| Arc::clone(tracer.queue()))
}

/// What probes and scrapes ask about.
fn site(config: &Config, compiled: &Compiled, audit: Option<&Arc<Audit>>) -> Site {
    Site {
        stores: compiled.stores.clone(),
        assertions: compiled.generation.assertions.clone(),
        authorities: compiled.figures.clone(),
        key_files: compiled.key_files.clone(),
        redis: compiled.redis.clone(),
        spans: traces(&compiled.generation),
        revoking: compiled.revoking.clone().map(|revoking| revoking.with_audit(audit)),
        ready_requires_keys: config.admin.ready_requires_keys,
    }
}

/// The keys that cannot be changed while the gate runs, as far as they were changed.
fn wants_restart(before: &Config, now: &Config) -> Vec<&'static str> {
    let facade = |config: &Config| config.facade.as_ref().map(|facade| facade.listen.clone());
    let changed = [
        ("server.listen", !is_same(&before.server.listen, &now.server.listen)),
        ("server.workers", before.server.workers != now.server.workers),
        ("admin.listen", before.admin.listen != now.admin.listen),
        ("facade.listen", facade(before) != facade(now)),
        ("log", !is_same(&before.log, &now.log)),
    ];
    changed.into_iter().filter(|(_, is_changed)| *is_changed).map(|(key, _)| key).collect()
}

/// What a connection is served by from its first byte to its last: when this changes, clients are asked to connect anew.
fn for_connections(server: &Server) -> impl Serialize {
    let introduced = (server.proxy_protocol, server.proxy_protocol_from.clone());
    (server.trusted_proxies.clone(), introduced, server.tls.clone(), server.limits.clone())
}

fn is_same(before: &impl Serialize, now: &impl Serialize) -> bool {
    match (serde_json::to_value(before), serde_json::to_value(now)) {
        (Ok(before), Ok(now)) => before == now,
        (Err(_), _) | (_, Err(_)) => false,
    }
}
