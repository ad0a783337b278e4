//! The workers of a gate: how many, with what, and how they are told.

use crate::authn::cache::Bounds;
use crate::clock::Clock;
use crate::config::Config;
use crate::config::log::LogFormat;
use crate::config::server::Server;
use crate::generation::Generation;
use crate::listener::connection::Options;
use crate::listener::http1::{Settings, Timeouts};
use crate::telemetry::audit::Audit;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::sink::Sink;
use crate::wire::head::Limits;
use crate::worker::{self, Colleague, Command, Plan, Socket};
use arc_swap::ArcSwap;
use ipnet::IpNet;
use rustls::ServerConfig;
use std::io;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::thread;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// How many signatures the process remembers that were found good, as many as fill their tables, and how much memory the sessions of tokens may take.
const SESSIONS: (u32, u64) = (458_752, 10 << 20);

/// The same for one worker. More would hardly spare it anything: a token whose session had to go is read once more, and only
/// its signature need not be verified.
const SESSIONS_OF_ONE: (u32, u64) = (114_688, 2560 << 10);

/// What all workers are made of.
pub(super) struct Crew<'a> {
    pub(super) config: &'a Config,
    pub(super) generation: Arc<Generation>,
    pub(super) tls: Option<Arc<ArcSwap<ServerConfig>>>,
    pub(super) metrics: &'a Metrics,
    pub(super) sink: &'a Sink,
    pub(super) audit: Option<&'a Arc<Audit>>,
    pub(super) clock: Arc<dyn Clock>,
}

/// The running workers.
pub(super) struct Workers {
    commands: Vec<Colleague>,
    places: Places,
    ended: UnboundedReceiver<()>,
    left: usize,
}

impl Workers {
    /// How many there are.
    pub(super) const fn count(&self) -> usize {
        self.commands.len()
    }

    /// Tells each of them something.
    pub(super) fn tell(&self, command: impl Fn() -> Command) {
        for colleague in &self.commands {
            // A worker that is gone needs not be told.
            colleague.commands.send(command()).ok();
        }
    }

    /// Changes how many connections there may be at once; those that there are stay.
    pub(super) fn resize(&mut self, connections: u32) {
        self.places.resize(connections);
    }

    pub(super) async fn ended_one(&mut self) {
        if self.ended.recv().await.is_some() {
            self.left = self.left.saturating_sub(1);
        }
    }

    pub(super) async fn ended_all(&mut self) {
        while self.left > 0 {
            self.ended_one().await;
        }
    }
}

impl Crew<'_> {
    pub(super) fn start(&self, sockets: &[Socket]) -> io::Result<Workers> {
        let count = match usize::from(self.config.server.workers) {
            0 => thread::available_parallelism()?.get(),
            count => count,
        };
        let places = Places::new(self.config.server.limits.connections);
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
                places: Arc::clone(&places.permits),
                generation: Arc::clone(&self.generation),
                options: options(self.config, self.tls.clone()),
                sessions: sessions(count),
                tally: self.metrics.worker(),
                log: self.config.log.access.then(|| (self.format(), self.sink.clone())),
                audit: self.audit.map(Arc::clone),
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
        Ok(Workers { commands: colleagues, places, ended, left: count })
    }

    fn format(&self) -> LogFormat {
        self.config.log.format
    }
}

/// How connections are served, as the configuration says.
pub(super) fn options(config: &Config, tls: Option<Arc<ArcSwap<ServerConfig>>>) -> Options {
    let limits = &config.server.limits;
    Options {
        settings: Settings {
            limits: Limits {
                header_bytes: usize::try_from(limits.header_bytes.0).unwrap_or(usize::MAX),
                headers: usize::from(limits.headers),
            },
            timeouts: Timeouts {
                head: limits.header_timeout.0,
                idle: limits.idle_timeout.0,
                write: limits.write_timeout.0,
            },
        },
        streams: limits.streams,
        proxy_protocol: speakers(&config.server),
        tls,
    }
}

/// Who introduces clients with the PROXY protocol, if it is spoken.
fn speakers(server: &Server) -> Option<Vec<IpNet>> {
    server.proxy_protocol.then(|| server.proxy_protocol_from.iter().map(|network| network.0).collect())
}

/// Places for connections, shared by all workers.
struct Places {
    permits: Arc<Semaphore>,
    count: u32,
}

impl Places {
    fn new(count: u32) -> Self {
        let permits = usize::try_from(count).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { permits: Arc::new(Semaphore::new(permits)), count }
    }

    fn resize(&mut self, count: u32) {
        let before = std::mem::replace(&mut self.count, count);
        let more = usize::try_from(count.saturating_sub(before)).unwrap_or_default();
        let room = Semaphore::MAX_PERMITS.saturating_sub(self.permits.available_permits());
        self.permits.add_permits(more.min(room));
        let fewer = before.saturating_sub(count);
        if fewer > 0 {
            let permits = Arc::clone(&self.permits);
            // Those in use are taken away as they come back.
            drop(tokio::spawn(async move {
                if let Ok(taken) = permits.acquire_many_owned(fewer).await {
                    taken.forget();
                }
            }));
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
