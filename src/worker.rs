//! One worker: a thread with a runtime of its own, its own connections to clients and services, its own caches.
//!
//! Nothing on the way of a request waits for another worker. Every worker accepts from the same sockets; one that
//! has more connections than another hands what it accepts over, so that few long-lived connections spread out.

use crate::authn::cache::Bounds;
use crate::clock::{Clock, TICK, after, lately, strike};
use crate::config::log::LogFormat;
use crate::gateway::Gateway;
use crate::generation::Generation;
use crate::listener::accepted::Accepted;
use crate::listener::connection::{Options, Terms, serve};
use crate::listener::context::Drain;
use crate::stream::tune;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::audit::Audit;
use crate::telemetry::record::Recorder;
use crate::telemetry::sink::Sink;
use crate::telemetry::tally::Tally;
use crate::wire::buffers;
use socket2::{Domain, SockRef};
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::runtime::LocalOptions;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, MissedTickBehavior, sleep_until};

/// How often a draining worker looks whether it is done.
const DRAIN_TICK: Duration = Duration::from_millis(10);

/// How long a draining worker goes on accepting: whoever the kernel has told that it is connected must be served.
const LAST_CALL: Duration = Duration::from_millis(50);

/// How long tunnels may take to say goodbye once the grace is over.
const FAREWELL: Duration = Duration::from_millis(2500);

/// How long accepting rests after it has failed, for instance because no file descriptor is left.
const REST: Duration = Duration::from_millis(50);

/// A socket that clients connect to.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// A unix socket.
    Unix(std::os::unix::net::UnixListener),
}

impl fmt::Display for Socket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => address.fmt(formatter),
                Err(_) => formatter.write_str("unknown"),
            },
            Self::Unix(listener) => {
                let address = listener.local_addr().ok();
                let path = address.as_ref().and_then(|address| address.as_pathname());
                write!(formatter, "unix:{}", path.unwrap_or(Path::new("unknown")).display())
            }
        }
    }
}

impl Socket {
    /// The same socket once more, for another worker.
    ///
    /// # Errors
    /// No file descriptor is left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(listener) => Self::Tcp(listener.try_clone()?),
            Self::Unix(listener) => Self::Unix(listener.try_clone()?),
        })
    }
}

/// What a worker is told.
#[derive(Debug)]
pub enum Command {
    /// Serve this connection, which another worker has accepted.
    Serve(Handed),
    /// Judge by another configuration from now on.
    Renew(Box<Renewal>),
    /// Accept no more, finish what has begun within this time, and end.
    Drain(Duration),
}

/// Another configuration.
#[derive(Debug)]
pub struct Renewal {
    /// What requests are judged by.
    pub generation: Arc<Generation>,
    /// How connections are served from now on.
    pub options: Options,
    /// Whether those that there are were accepted on other terms: their clients are asked to connect anew.
    pub connections_anew: bool,
}

/// A connection on its way to another worker.
#[derive(Debug)]
pub struct Handed {
    socket: OwnedFd,
    address: SocketAddr,
    place: OwnedSemaphorePermit,
}

/// What workers know of each other.
#[derive(Clone, Debug)]
pub struct Colleague {
    /// How many connections it has.
    pub connections: Arc<AtomicUsize>,
    /// Tells it something.
    pub commands: UnboundedSender<Command>,
}

/// What a worker is made of.
#[derive(Debug)]
pub struct Plan {
    /// Its place among its colleagues.
    pub index: usize,
    /// All workers, itself included.
    pub colleagues: Vec<Colleague>,
    /// What it is told.
    pub commands: UnboundedReceiver<Command>,
    /// Where it accepts.
    pub sockets: Vec<Socket>,
    /// Places for connections, shared by all workers.
    pub places: Arc<Semaphore>,
    /// What it judges by.
    pub generation: Arc<Generation>,
    /// How connections are served.
    pub options: Options,
    /// How many verified tokens it may keep.
    pub sessions: Bounds,
    /// Its counters.
    pub tally: Arc<Tally>,
    /// Where its access log goes, unless it is switched off.
    pub log: Option<(LogFormat, Sink)>,
    /// The audit log, if there is one.
    pub audit: Option<Arc<Audit>>,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
}

/// Runs a worker on this thread until it is drained.
///
/// # Errors
/// The runtime or a socket cannot be set up.
pub fn run(plan: Plan) -> io::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(Worker::start(plan))
}

/// What the tasks of a worker share.
#[derive(Debug)]
struct Worker {
    index: usize,
    colleagues: Vec<Colleague>,
    places: Arc<Semaphore>,
    gateway: Rc<Gateway>,
    terms: RefCell<Terms>,
    /// Those of connections that were accepted on earlier terms.
    retired: RefCell<Vec<Weak<Drain>>>,
    ending: Drain,
}

impl Worker {
    async fn start(plan: Plan) -> io::Result<()> {
        let log = plan.log.map(|(format, sink)| AccessLog::new(format, sink));
        let recorder = Rc::new(Recorder::new(plan.tally, (log, plan.audit), plan.clock));
        let gateway = Gateway::new(Arc::clone(&plan.generation), recorder, plan.sessions);
        let worker = Rc::new(Self {
            index: plan.index,
            colleagues: plan.colleagues,
            places: plan.places,
            gateway: Rc::new(gateway),
            terms: RefCell::new(Terms {
                generation: plan.generation,
                options: Rc::new(plan.options),
                drain: Rc::default(),
            }),
            retired: RefCell::default(),
            ending: Drain::default(),
        });
        let mut accepting = Vec::new();
        for socket in plan.sockets {
            accepting.push(worker.accept_from(socket)?);
        }
        worker.obey(plan.commands, accepting).await;
        Ok(())
    }

    fn accept_from(self: &Rc<Self>, socket: Socket) -> io::Result<JoinHandle<()>> {
        let worker = Rc::clone(self);
        Ok(match socket {
            Socket::Tcp(listener) => {
                let listener = TcpListener::from_std(listener)?;
                spawn_local(async move { worker.accept_tcp(&listener).await })
            }
            Socket::Unix(listener) => {
                let listener = UnixListener::from_std(listener)?;
                spawn_local(async move { worker.accept_unix(&listener).await })
            }
        })
    }

    async fn obey(self: &Rc<Self>, mut commands: UnboundedReceiver<Command>, accepting: Vec<JoinHandle<()>>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let grace = loop {
            tokio::select! {
                _ = tick.tick() => self.tidy(),
                command = commands.recv() => match command {
                    Some(Command::Serve(handed)) => self.take_over(handed),
                    Some(Command::Renew(renewal)) => self.renew(*renewal),
                    Some(Command::Drain(grace)) => break grace,
                    None => break Duration::ZERO,
                },
            }
        };
        self.ending.begin();
        self.terms().drain.begin();
        let handed_over = async {
            while let Some(command) = commands.recv().await {
                if let Command::Serve(handed) = command {
                    self.take_over(handed);
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = self.finish(grace) => {}
            () = handed_over => {}
        }
        accepting.iter().for_each(JoinHandle::abort);
        self.tidy();
    }

    /// Waits for requests, then ends tunnels, then waits for them.
    async fn finish(&self, grace: Duration) {
        let tally = &self.gateway.recorder().tally;
        let deadline = after(Instant::now(), grace);
        loop {
            tokio::time::sleep(DRAIN_TICK).await;
            let now = Instant::now();
            // A connection that carries tunnels as streams may carry requests as well.
            let (streams, resting) = self.multiplexed();
            let tunnels = tally.tunnels.value().saturating_sub(streams);
            let served = tally.connections.value() <= tunnels.saturating_add(resting);
            if (served && now >= self.last_call()) || now >= deadline {
                break;
            }
        }
        self.terms().drain.end_tunnels();
        self.retired.borrow().iter().filter_map(Weak::upgrade).for_each(|drain| drain.end_tunnels());
        let farewell = after(Instant::now(), FAREWELL);
        while tally.tunnels.value() > 0 && Instant::now() < farewell {
            tokio::time::sleep(DRAIN_TICK).await;
        }
    }

    /// How many tunnels are streams of a connection, and how many connections carry nothing but such tunnels.
    fn multiplexed(&self) -> (u64, u64) {
        let retired = self.retired.borrow();
        let before = retired.iter().filter_map(Weak::upgrade).map(|drain| drain.multiplexed());
        let sum = |(a, b): (usize, usize), (c, d)| (a.saturating_add(c), b.saturating_add(d));
        let (tunnels, resting) = before.fold(self.terms().drain.multiplexed(), sum);
        (u64::try_from(tunnels).unwrap_or(u64::MAX), u64::try_from(resting).unwrap_or_default())
    }

    fn terms(&self) -> Terms {
        self.terms.borrow().clone()
    }

    fn renew(&self, renewal: Renewal) {
        let Renewal { generation, options, connections_anew } = renewal;
        self.gateway.renew(Arc::clone(&generation));
        let mut terms = self.terms.borrow_mut();
        (terms.generation, terms.options) = (generation, Rc::new(options));
        if connections_anew {
            let before = std::mem::take(&mut terms.drain);
            before.begin();
            let mut retired = self.retired.borrow_mut();
            retired.retain(|drain| drain.strong_count() > 0);
            retired.push(Rc::downgrade(&before));
        }
    }

    fn tidy(&self) {
        strike(self.gateway.recorder().clock.as_ref());
        let (_, now) = lately();
        self.gateway.snapshot().purge(now);
        self.gateway.review(now);
        buffers::trim();
        if let Some(log) = &self.gateway.recorder().log {
            log.flush();
        }
    }

    fn last_call(&self) -> Instant {
        after(self.ending.since(), LAST_CALL)
    }

    /// What is accepted next; nothing once the last call of a draining worker is over.
    async fn accepted<T>(&self, listener: SockRef<'_>, accept: impl Future<Output = T>) -> Option<T> {
        let closing = async {
            self.ending.begun().await;
            turn_newcomers_away(&listener);
            sleep_until(self.last_call()).await;
        };
        tokio::select! {
            biased;
            accepted = accept => Some(accepted),
            () = closing => None,
        }
    }

    async fn accept_tcp(self: &Rc<Self>, listener: &TcpListener) {
        loop {
            match self.accepted(SockRef::from(listener), listener.accept()).await {
                None => return,
                Some(Ok((stream, address))) => {
                    // Beyond the limit this connection waits here, and all others in the kernel's backlog.
                    let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return };
                    self.admit(stream, address, place);
                }
                Some(Err(error)) => rest(&error).await,
            }
        }
    }

    async fn accept_unix(self: &Rc<Self>, listener: &UnixListener) {
        loop {
            match self.accepted(SockRef::from(listener), listener.accept()).await {
                None => return,
                Some(Ok((stream, _))) => {
                    let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return };
                    self.load().fetch_add(1, Ordering::Relaxed);
                    self.serve(Accepted::Unix(stream), None, place);
                }
                Some(Err(error)) => rest(&error).await,
            }
        }
    }

    /// Serves a connection here, or hands it to a worker that has fewer.
    fn admit(self: &Rc<Self>, stream: TcpStream, address: SocketAddr, place: OwnedSemaphorePermit) {
        tune(&stream);
        let least =
            self.colleagues.iter().min_by_key(|colleague| colleague.connections.load(Ordering::Relaxed));
        let own = self.load().load(Ordering::Relaxed);
        match least {
            Some(other)
                if other.connections.load(Ordering::Relaxed).saturating_add(1) < own.saturating_add(1) =>
            {
                let Ok(socket) = stream.into_std() else { return };
                other.connections.fetch_add(1, Ordering::Relaxed);
                let handed = Handed { socket: socket.into(), address, place };
                if other.commands.send(Command::Serve(handed)).is_err() {
                    other.connections.fetch_sub(1, Ordering::Relaxed);
                }
            }
            Some(_) | None => {
                self.load().fetch_add(1, Ordering::Relaxed);
                self.serve(Accepted::Tcp(stream), Some(address), place);
            }
        }
    }

    fn take_over(self: &Rc<Self>, handed: Handed) {
        match TcpStream::from_std(std::net::TcpStream::from(handed.socket)) {
            Ok(stream) => self.serve(Accepted::Tcp(stream), Some(handed.address), handed.place),
            Err(error) => {
                self.load().fetch_sub(1, Ordering::Relaxed);
                tracing::warn!(%error, "a connection could not be taken over");
            }
        }
    }

    /// Serves a connection that is already counted.
    fn serve(self: &Rc<Self>, accepted: Accepted, address: Option<SocketAddr>, place: OwnedSemaphorePermit) {
        let (gateway, terms) = (Rc::clone(&self.gateway), self.terms());
        let counted = Counted { worker: Rc::clone(self), _place: place };
        counted.tally().connections.increment();
        drop(spawn_local(async move {
            serve(accepted, address, gateway, terms).await;
            drop(counted);
        }));
    }

    fn load(&self) -> &AtomicUsize {
        static NOBODY: AtomicUsize = AtomicUsize::new(0);
        self.colleagues.get(self.index).map_or(&NOBODY, |own| &own.connections)
    }
}

/// Counts a connection as long as it lives, however it ends.
struct Counted {
    worker: Rc<Worker>,
    _place: OwnedSemaphorePermit,
}

impl Counted {
    fn tally(&self) -> &Tally {
        &self.worker.gateway.recorder().tally
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.tally().connections.decrement();
        self.worker.load().fetch_sub(1, Ordering::Relaxed);
    }
}

/// Lets the kernel drop what would open new connections, and nothing else. Closing a listener resets those connections that
/// it was not asked for yet, and with them requests that are on their way; so first there must be no more of them. Whoever
/// knocks meanwhile knocks once more a second later, and finds the door closed.
#[cfg(target_os = "linux")]
fn turn_newcomers_away(listener: &SockRef<'_>) {
    use socket2::SockFilter;
    // Classic BPF over the TCP header (RFC 9293 §3.1): drop a segment that has SYN and not ACK, pass every other one.
    let program = [
        SockFilter::new(0x30, 0, 0, 13),
        SockFilter::new(0x54, 0, 0, 0x12),
        SockFilter::new(0x15, 0, 1, 0x02),
        SockFilter::new(0x06, 0, 0, 0),
        SockFilter::new(0x06, 0, 0, u32::MAX),
    ];
    let is_tcp = listener.domain().is_ok_and(|domain| domain != Domain::UNIX);
    // Where it is not allowed, the moment between the last accept and the close remains.
    if is_tcp {
        listener.attach_filter(&program).ok();
    }
}

#[cfg(not(target_os = "linux"))]
const fn turn_newcomers_away(_: &SockRef<'_>) {}

async fn rest(error: &io::Error) {
    // A client that went away before it was accepted is no reason to rest.
    if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        tracing::warn!(%error, "connections cannot be accepted");
        tokio::time::sleep(REST).await;
    }
}
