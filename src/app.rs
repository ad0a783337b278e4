//! The gate as a whole: compiled, bound, run, drained.

use crate::admin::{self, Admin};
use crate::authn::cache::Bounds;
use crate::clock::{Clock, SystemClock};
use crate::compile::{Compiled, World, compile};
use crate::config::Config;
use crate::config::load::Loaded;
use crate::config::log::LogFormat;
use crate::config::problem::{KeyPath, Problems};
use crate::facade::{self, Facade};
use crate::generation::Generation;
use crate::listener::connection::Options;
use crate::listener::http1::{Settings, Timeouts};
use crate::listener::tls;
use crate::shutdown::{Shutdown, Stage};
use crate::telemetry::events;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::sink::Sink;
use crate::wire::head::Limits;
use crate::worker::{self, Colleague, Command, Plan, Socket};
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use socket2::{Domain, Protocol, Type};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroU32;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::LocalOptions;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::spawn_local;

/// Connections that the kernel keeps for us while we are busy.
const BACKLOG: i32 = 4096;

/// How many signatures the process remembers that were found good, and how much memory the sessions of tokens may take.
const SESSIONS: (u32, u64) = (400_000, 24 << 20);

/// The same for one worker. More would hardly spare it anything: a token whose session had to go is read once more, and only
/// its signature need not be verified.
const SESSIONS_OF_ONE: (u32, u64) = (100_000, 8 << 20);

/// How long after its grace a worker is waited for.
const STRAGGLERS: Duration = Duration::from_secs(4);

/// A gate, compiled but not yet listening.
pub struct App {
    config: Config,
    compiled: Compiled,
    tls: Option<Arc<ArcSwap<ServerConfig>>>,
    clock: Arc<dyn Clock>,
}

/// Open sockets.
#[derive(Debug)]
pub struct Listeners {
    sockets: Vec<Socket>,
    admin: std::net::TcpListener,
    admin_address: SocketAddr,
    facade: Option<std::net::TcpListener>,
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    address: String,
    source: io::Error,
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
        let environment = Arc::new(|name: &str| std::env::var(name).ok());
        let world = World { environment, clock: Arc::clone(&clock), bypass };
        let mut problems = Problems::default();
        let compiled = compile(&loaded.config, &world, &mut problems);
        let tls = server_tls(&loaded.config, &mut problems);
        let app = compiled.filter(|_| !problems.has_errors()).map(|compiled| Self {
            config: loaded.config.clone(),
            compiled,
            tls,
            clock,
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
        let mut sockets = Vec::new();
        for address in self.config.server.listen.iter() {
            let failed = |source| BindError { address: address.clone(), source };
            match address.strip_prefix("unix:") {
                Some(path) => sockets.push(bind_unix(Path::new(path)).map_err(failed)?),
                None => sockets.extend(bind_tcp(address).map_err(failed)?.into_iter().map(Socket::Tcp)),
            }
        }
        let address = &self.config.admin.listen;
        let admin = bind_one(address)?;
        let failed = |source| BindError { address: address.clone(), source };
        let admin_address = admin.local_addr().map_err(failed)?;
        let facade = self.config.facade.as_ref().map(|facade| bind_one(&facade.listen)).transpose()?;
        Ok(Listeners { sockets, admin, admin_address, facade })
    }

    /// Serves until `shutdown` begins, then drains. This thread becomes the control thread: it fetches keys and
    /// answers probes, while workers carry the traffic.
    #[must_use]
    pub fn run(self, listeners: Listeners, shutdown: Shutdown) -> Exit {
        let sink = Sink::stdout();
        events::install(self.config.log, &sink);
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
        let Compiled { generation, stores, refreshers, inquiries, figures, key_files } = self.compiled;
        let metrics = Arc::new(Metrics::new(sink.clone(), generation.bypass.is_some()));
        if generation.bypass.is_some() {
            tracing::warn!(
                "INSECURE: --insecure-bypass judges nobody and believes every identity header; for development only"
            );
        }
        for refresher in refreshers {
            drop(spawn_local(refresher.run()));
        }
        for inquiry in inquiries {
            drop(spawn_local(inquiry));
        }
        for file in &key_files {
            drop(spawn_local(Arc::clone(file).follow()));
        }
        if let (Some(files), Some(current)) = (&self.config.server.tls, &self.tls) {
            drop(spawn_local(tls::follow(files.clone(), Arc::clone(current))));
        }
        let probes = Rc::new(Admin {
            metrics: Arc::clone(&metrics),
            stores,
            authorities: figures,
            key_files,
            ready_requires_keys: self.config.admin.ready_requires_keys,
            draining: AtomicBool::new(false),
        });
        let addresses: Vec<String> = listeners.sockets.iter().map(ToString::to_string).collect();
        let crew = Crew {
            config: &self.config,
            generation: Arc::new(generation),
            tls: self.tls,
            metrics,
            sink,
            clock: self.clock,
        };
        let started = crew.start(&listeners.sockets).and_then(|workers| {
            drop(spawn_local(admin::serve(TcpListener::from_std(listeners.admin)?, Rc::clone(&probes))));
            if let Some(listener) = listeners.facade {
                tracing::info!(facade = %listener.local_addr()?, "the facade listens");
                let generation = Arc::clone(&crew.generation);
                let facade = Facade::new(generation, crew.metrics.worker(), Arc::clone(&crew.clock));
                drop(spawn_local(facade::serve(TcpListener::from_std(listener)?, facade)));
            }
            Ok(workers)
        });
        let mut workers = match started {
            Ok(workers) => workers,
            Err(error) => {
                tracing::error!(%error, "the workers cannot be started");
                return Exit::Interrupted;
            }
        };
        // Every worker has its own handle of these; they close when the last worker stops accepting.
        drop(listeners.sockets);
        let server = addresses.join(",");
        let workers_count = workers.commands.len();
        tracing::info!(server, admin = %listeners.admin_address, workers = workers_count, "listening");
        let limits = self.config.server.shutdown.clone();
        drain(&mut workers, &probes, shutdown, (limits.delay.0, limits.grace.0)).await
    }
}

/// Waits for the word, then lets everything end in order.
async fn drain(
    workers: &mut Workers,
    probes: &Admin,
    shutdown: Shutdown,
    (delay, grace): (Duration, Duration),
) -> Exit {
    let mut word = shutdown.listen();
    let early = tokio::select! {
        stage = word.next() => Some(stage),
        // Workers end only when told to; one that ends by itself has failed.
        () = workers.ended_one() => None,
    };
    let Some(stage) = early else {
        tracing::error!("a worker has ended unexpectedly");
        return Exit::Interrupted;
    };
    if stage == Stage::Now {
        return Exit::Interrupted;
    }
    tracing::info!(?delay, ?grace, "draining");
    probes.draining.store(true, Ordering::Relaxed);
    let orderly = async {
        tokio::time::sleep(delay).await;
        for commands in &workers.commands {
            // A worker that is gone has nothing left to drain.
            commands.commands.send(Command::Drain(grace)).ok();
        }
        let patience = grace.saturating_add(STRAGGLERS);
        let started = tokio::time::Instant::now();
        let all = tokio::time::timeout(patience, workers.ended_all()).await;
        if all.is_ok() && started.elapsed() <= grace { Exit::Drained } else { Exit::GraceExpired }
    };
    let exit = tokio::select! {
        exit = orderly => exit,
        _ = word.next() => Exit::Interrupted,
    };
    tracing::info!(?exit, "ended");
    exit
}

/// What all workers are made of.
struct Crew<'a> {
    config: &'a Config,
    generation: Arc<Generation>,
    tls: Option<Arc<ArcSwap<ServerConfig>>>,
    metrics: Arc<Metrics>,
    sink: &'a Sink,
    clock: Arc<dyn Clock>,
}

/// The running workers.
struct Workers {
    commands: Vec<Colleague>,
    ended: UnboundedReceiver<()>,
    left: usize,
}

impl Workers {
    async fn ended_one(&mut self) {
        if self.ended.recv().await.is_some() {
            self.left = self.left.saturating_sub(1);
        }
    }

    async fn ended_all(&mut self) {
        while self.left > 0 {
            self.ended_one().await;
        }
    }
}

impl Crew<'_> {
    fn start(&self, sockets: &[Socket]) -> io::Result<Workers> {
        let count = match usize::from(self.config.server.workers) {
            0 => thread::available_parallelism()?.get(),
            count => count,
        };
        let places = usize::try_from(self.config.server.limits.connections).unwrap_or(usize::MAX);
        let places = Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS)));
        let (mut colleagues, mut queues) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (commands, queue) = unbounded_channel();
            colleagues.push(Colleague { connections: Arc::default(), commands });
            queues.push(queue);
        }
        let (done, ended) = unbounded_channel();
        for (index, commands) in queues.into_iter().enumerate() {
            let plan = Plan {
                index,
                colleagues: colleagues.clone(),
                commands,
                sockets: sockets.iter().map(Socket::try_clone).collect::<io::Result<_>>()?,
                places: Arc::clone(&places),
                generation: Arc::clone(&self.generation),
                options: self.options(),
                sessions: sessions(count),
                tally: self.metrics.worker(),
                log: self.config.log.access.then(|| (self.format(), self.sink.clone())),
                clock: Arc::clone(&self.clock),
            };
            let done = done.clone();
            thread::Builder::new().name(format!("sidegate-{index}")).spawn(move || {
                if let Err(error) = worker::run(plan) {
                    tracing::error!(%error, index, "a worker has failed");
                }
                // Nobody listens any more when the gate is told to end at once.
                done.send(()).ok();
            })?;
        }
        Ok(Workers { commands: colleagues, ended, left: count })
    }

    fn format(&self) -> LogFormat {
        self.config.log.format
    }

    fn options(&self) -> Options {
        let limits = &self.config.server.limits;
        Options {
            settings: Settings {
                limits: Limits {
                    header_bytes: usize::try_from(limits.header_bytes.0).unwrap_or(usize::MAX),
                    headers: usize::from(limits.headers),
                },
                timeouts: Timeouts { head: limits.header_timeout.0, idle: limits.idle_timeout.0 },
            },
            streams: limits.streams,
            tls: self.tls.clone(),
        }
    }
}

/// A worker's share of what the process may keep.
fn sessions(workers: usize) -> Bounds {
    let workers = u32::try_from(workers).unwrap_or(u32::MAX);
    let signatures = SESSIONS.0.checked_div(workers).unwrap_or(SESSIONS.0).min(SESSIONS_OF_ONE.0);
    let bytes = SESSIONS.1.checked_div(workers.into()).unwrap_or(SESSIONS.1).min(SESSIONS_OF_ONE.1);
    Bounds { signatures: NonZeroU32::new(signatures).unwrap_or(NonZeroU32::MIN), bytes }
}

impl Listeners {
    /// Where clients connect; unix sockets are left out.
    #[must_use]
    pub fn server_addresses(&self) -> Vec<SocketAddr> {
        let address = |socket: &Socket| match socket {
            Socket::Tcp(listener) => listener.local_addr().ok(),
            Socket::Unix(_) => None,
        };
        self.sockets.iter().filter_map(address).collect()
    }

    /// Where probes connect.
    #[must_use]
    pub const fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }
}

fn server_tls(config: &Config, problems: &mut Problems) -> Option<Arc<ArcSwap<ServerConfig>>> {
    let files = config.server.tls.as_ref()?;
    match tls::server_config(files) {
        Ok(config) => Some(Arc::new(ArcSwap::from_pointee(config))),
        Err(error) => {
            let at = KeyPath::root("server").key("tls");
            problems.error(
                at,
                error.to_string(),
                "name PEM files that this process may read and that belong together",
            );
            None
        }
    }
}

/// The first socket of an address.
fn bind_one(address: &str) -> Result<std::net::TcpListener, BindError> {
    let failed = |source| BindError { address: address.to_owned(), source };
    let socket = bind_tcp(address).map_err(failed)?.into_iter().next();
    socket.ok_or_else(|| failed(io::ErrorKind::AddrNotAvailable.into()))
}

fn bind_tcp(address: &str) -> io::Result<Vec<std::net::TcpListener>> {
    let mut listeners = Vec::new();
    for address in address.to_socket_addrs()? {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        listeners.push(socket.into());
    }
    Ok(listeners)
}

fn bind_unix(path: &Path) -> io::Result<Socket> {
    use std::os::unix::fs::FileTypeExt as _;
    use std::os::unix::net::{UnixListener, UnixStream};
    let is_socket = std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    // A socket that nobody answers on was left behind by a process that is gone.
    if is_socket && UnixStream::connect(path).is_err() {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(Socket::Unix(listener))
}
