//! One worker's connections to one service.
//!
//! No lock, no task and no timer a request. The most recently used connection is taken first, so that the others can
//! age out.

use super::connect::{ConnectionLimit, Upstream};
use super::exchange::Connection;
use super::request_body::RequestBody;
use crate::stream::Stream;
use crate::telemetry::tally::UpstreamTally;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::task::spawn_local;
use tokio::time::Instant;

/// Requests on one HTTP/2 connection; more open another.
const MOST_STREAMS: usize = 100;

/// A connection used so lately need not be asked about: what the runtime knows of it is hardly older.
const FRESH: Duration = Duration::from_millis(10);

/// How much a service may send ahead on one stream, and on all of a connection, in bytes: wide enough that clients who
/// do not read cannot use up the share of those who do.
const STREAM_WINDOW: u32 = 128 << 10;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// Runs hyper's background work on this worker's own thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalExecutor;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        drop(spawn_local(future));
    }
}

/// Why no connection could be had.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The service does not accept connections.
    #[error("cannot connect: {0}")]
    Unreachable(#[source] io::Error),
    /// No connection within the time.
    #[error("cannot connect: {0}")]
    Slow(#[source] io::Error),
    /// The connection broke before it could be used.
    #[error("the connection broke: {0}")]
    Broken(#[source] hyper::Error),
    /// All connections are in use.
    #[error("all connections are in use")]
    Overloaded,
}

/// A connection of many requests at once.
#[derive(Debug)]
struct Multiplexed {
    sender: http2::SendRequest<RequestBody>,
    /// Requests on it, and how many the service takes at once.
    streams: Rc<Cell<usize>>,
    room: Rc<Cell<usize>>,
}

/// Counts a request on a multiplexed connection as long as it lives.
#[derive(Debug)]
pub struct StreamCount(Rc<Cell<usize>>);

impl Drop for StreamCount {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// A place on a connection of many requests.
#[derive(Debug)]
pub struct Multiplexing {
    /// What the request is sent with.
    pub sender: http2::SendRequest<RequestBody>,
    /// To be kept until the response has ended.
    pub stream: StreamCount,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

/// One worker's connections to one service.
#[derive(Debug)]
pub struct Pool {
    upstream: Arc<Upstream>,
    tally: Arc<UpstreamTally>,
    idle: RefCell<Vec<Idle>>,
    multiplexed: RefCell<Vec<Multiplexed>>,
    connecting: tokio::sync::Mutex<()>,
    /// Requests of this worker that wait for a connection to come back.
    waiting: RefCell<VecDeque<oneshot::Sender<Connection>>>,
}

/// What a request that needed a connection has got.
enum Place {
    /// Leave to open one.
    Open(Option<OwnedSemaphorePermit>),
    /// One that came back.
    Returned(Connection),
}

impl Pool {
    /// An empty pool.
    #[must_use]
    pub fn new(upstream: Arc<Upstream>, tally: Arc<UpstreamTally>) -> Rc<Self> {
        let pool = Rc::new(Self {
            upstream,
            tally,
            idle: RefCell::default(),
            multiplexed: RefCell::default(),
            connecting: tokio::sync::Mutex::default(),
            waiting: RefCell::default(),
        });
        if pool.upstream.limit.is_some() {
            drop(spawn_local(give_up_when_wanted(Rc::downgrade(&pool), Arc::clone(&pool.upstream))));
        }
        pool
    }

    /// The service.
    #[must_use]
    pub const fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// The service's counters.
    #[must_use]
    pub fn tally(&self) -> &UpstreamTally {
        &self.tally
    }

    /// A connection that another request has used before, if one waits.
    pub fn take_idle(&self, now: Instant) -> Option<Connection> {
        loop {
            let Idle { mut connection, since } = self.idle.borrow_mut().pop()?;
            let unused = now.saturating_duration_since(since);
            // The longer it was unused, the likelier the service has closed it.
            if unused < self.upstream.idle_timeout && connection.is_sound(unused > FRESH) {
                return Some(connection);
            }
        }
    }

    /// A connection that nobody uses.
    ///
    /// # Errors
    /// The service cannot be reached, or all connections stay in use.
    pub async fn connect(&self) -> Result<Connection, ConnectError> {
        loop {
            match self.place().await? {
                Place::Open(place) => return Ok(Connection::new(self.open().await?, place)),
                Place::Returned(mut connection) => {
                    if connection.is_sound(true) {
                        return Ok(connection);
                    }
                }
            }
        }
    }

    /// A connection that nobody has used before, for a tunnel.
    ///
    /// # Errors
    /// As [`Pool::connect`].
    pub async fn connect_anew(&self) -> Result<Connection, ConnectError> {
        loop {
            match self.place().await? {
                Place::Open(place) => return Ok(Connection::new(self.open().await?, place)),
                // The connection itself cannot serve, but its place can, as soon as it is closed.
                Place::Returned(connection) => drop(connection),
            }
        }
    }

    async fn open(&self) -> Result<Stream, ConnectError> {
        self.upstream.connect().await.map_err(|error| {
            if error.kind() == io::ErrorKind::TimedOut {
                ConnectError::Slow(error)
            } else {
                ConnectError::Unreachable(error)
            }
        })
    }

    /// Takes a connection back whose response was read to its end: passes it on to whoever waits for one, here or in
    /// another worker, else keeps it.
    pub fn give_back(&self, mut connection: Connection) {
        while let Some(waiting) = self.waiting.borrow_mut().pop_front() {
            match waiting.send(connection) {
                Ok(()) => return,
                Err(unwanted) => connection = unwanted,
            }
        }
        // Another worker can have only the place, so the connection is closed for it.
        if !self.upstream.limit.as_ref().is_some_and(ConnectionLimit::is_wanted) {
            self.idle.borrow_mut().push(Idle { connection, since: Instant::now() });
        }
    }

    async fn place(&self) -> Result<Place, ConnectError> {
        let Some(limit) = &self.upstream.limit else { return Ok(Place::Open(None)) };
        if let Ok(permit) = Arc::clone(&limit.permits).try_acquire_owned() {
            return Ok(Place::Open(Some(permit)));
        }
        let (sender, returned) = oneshot::channel();
        self.waiting.borrow_mut().push_back(sender);
        let _waiting = limit.wait();
        tokio::select! {
            biased;
            Ok(connection) = returned => Ok(Place::Returned(connection)),
            Ok(permit) = Arc::clone(&limit.permits).acquire_owned() => Ok(Place::Open(Some(permit))),
            () = tokio::time::sleep(limit.queue_timeout) => Err(ConnectError::Overloaded),
        }
    }

    /// A place on a multiplexed connection, which is opened if need be.
    ///
    /// # Errors
    /// As [`Pool::connect`].
    pub async fn multiplex(&self) -> Result<Multiplexing, ConnectError> {
        if let Some(place) = self.take_stream() {
            return Ok(place);
        }
        // One connects; the others wait for it.
        let _turn = self.connecting.lock().await;
        if let Some(place) = self.take_stream() {
            return Ok(place);
        }
        let stream = TokioIo::new(self.open().await?);
        let (sender, mut connection) = http2::Builder::new(LocalExecutor)
            .timer(TokioTimer::new())
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(10))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(stream)
            .await
            .map_err(ConnectError::Broken)?;
        let room = Rc::new(Cell::new(MOST_STREAMS));
        let told = Rc::clone(&room);
        drop(spawn_local(poll_fn(move |cx| {
            let ended = Pin::new(&mut connection).poll(cx).map(|_| ());
            told.set(connection.current_max_send_streams().clamp(1, MOST_STREAMS));
            ended
        })));
        self.multiplexed.borrow_mut().push(Multiplexed { sender, streams: Rc::default(), room });
        self.take_stream().ok_or(ConnectError::Overloaded)
    }

    /// A place on a multiplexed connection that has room.
    fn take_stream(&self) -> Option<Multiplexing> {
        let mut connections = self.multiplexed.borrow_mut();
        connections.retain(|connection| !connection.sender.is_closed());
        let free = connections.iter().find(|connection| connection.streams.get() < connection.room.get())?;
        free.streams.set(free.streams.get().saturating_add(1));
        let stream = StreamCount(Rc::clone(&free.streams));
        Some(Multiplexing { sender: free.sender.clone(), stream })
    }

    /// Closes connections that were not used for too long, or that the service has closed.
    pub fn purge(&self) {
        let most = self.upstream.idle_timeout;
        self.idle
            .borrow_mut()
            .retain_mut(|idle| idle.since.elapsed() < most && idle.connection.is_sound(false));
    }
}

/// Gives up the connection unused for longest, whenever a worker waits for a permit.
async fn give_up_when_wanted(pool: Weak<Pool>, upstream: Arc<Upstream>) {
    let Some(limit) = &upstream.limit else { return };
    loop {
        limit.wanted().await;
        let Some(pool) = pool.upgrade() else { return };
        let mut idle = pool.idle.borrow_mut();
        if !idle.is_empty() {
            drop(idle.remove(0));
        }
    }
}
