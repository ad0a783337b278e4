//! The actor that holds the connection to Redis.

use super::script::in_full;
use super::{Figures, Settings, Unavailable};
use crate::clock::after;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, ErrorKind, RedisError, ServerErrorKind, Value, cmd};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout, timeout_at};

/// How many commands may be under way.
const MAX_FLIGHTS: usize = 1024;

/// After so many commands in a row without an answer in time, Redis counts as away.
const MISSES: u32 = 3;

/// How often an idle connection is tried.
const PING_PERIOD: Duration = Duration::from_secs(1);

/// How soon a connection is tried again, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How often an error is worth a warning.
const WARNING_PERIOD: Duration = Duration::from_secs(10);

/// A command, and where its answer goes.
pub(super) struct Ask {
    pub(super) command: Cmd,
    /// The text of the script that it calls by digest.
    pub(super) script: Option<&'static str>,
    pub(super) deadline: Instant,
    /// None: nobody waits for it.
    pub(super) reply: Option<oneshot::Sender<Result<Value, Unavailable>>>,
}

impl Ask {
    fn ping() -> Self {
        Self { command: cmd("PING"), script: None, deadline: Instant::now(), reply: None }
    }

    fn answer(self, answer: Result<Value, Unavailable>) {
        if let Some(reply) = self.reply {
            // Whoever has given up needs no answer.
            reply.send(answer).ok();
        }
    }

    /// Carries it over the connection and back.
    async fn fly(mut self, mut connection: MultiplexedConnection, patience: Duration) -> Landed {
        if self.reply.is_none() {
            self.deadline = after(Instant::now(), patience);
        } else if self.reply.as_ref().is_some_and(oneshot::Sender::is_closed) {
            return Landed::Unwanted;
        }
        match timeout_at(self.deadline, self.put(&mut connection)).await {
            Ok(Ok(value)) => {
                self.answer(Ok(value));
                Landed::Answered
            }
            Ok(Err(error)) => {
                self.answer(Err(Unavailable));
                if is_away(&error) { Landed::Away(error) } else { Landed::Refused(error) }
            }
            Err(_) => {
                self.answer(Err(Unavailable));
                Landed::Late
            }
        }
    }

    async fn put(&self, connection: &mut MultiplexedConnection) -> Result<Value, RedisError> {
        let answer = send(connection, &self.command).await;
        match (answer, self.script) {
            (Err(error), Some(text)) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                send(connection, &in_full(&self.command, text)).await
            }
            (answer, _) => answer,
        }
    }
}

async fn send(connection: &mut MultiplexedConnection, command: &Cmd) -> Result<Value, RedisError> {
    connection.send_packed_command(command).await?.extract_error()
}

/// Whether the connection is of no use any more: it is broken, or whoever is at its other end does not serve.
fn is_away(error: &RedisError) -> bool {
    let kind = error.kind();
    kind == ErrorKind::Io
        || kind == ErrorKind::Parse
        || kind == ErrorKind::AuthenticationFailed
        || [ServerErrorKind::BusyLoading, ServerErrorKind::MasterDown, ServerErrorKind::ReadOnly]
            .iter()
            .any(|server| kind == ErrorKind::Server(*server))
}

/// How a command came back.
enum Landed {
    Answered,
    /// Nobody waited for it any more.
    Unwanted,
    /// Not in time.
    Late,
    /// With an error about itself.
    Refused(RedisError),
    /// With an error about the connection.
    Away(RedisError),
}

/// Holds the connection.
pub(super) struct Actor {
    settings: Settings,
    asks: mpsc::Receiver<Ask>,
    figures: Arc<Figures>,
    /// When the next error is worth a warning.
    warning: Option<Instant>,
}

impl Actor {
    pub(super) const fn new(settings: Settings, asks: mpsc::Receiver<Ask>, figures: Arc<Figures>) -> Self {
        Self { settings, asks, figures, warning: None }
    }

    /// Runs until nobody can ask any more.
    pub(super) async fn run(mut self) {
        // Those who come while it is tried for the first time wait for the outcome.
        let mut next = self.connect().await;
        loop {
            let connection = match next.take() {
                Some(connection) => connection,
                None => match self.reconnect().await {
                    Some(connection) => connection,
                    None => return,
                },
            };
            tracing::info!("Redis answers");
            self.figures.is_up.store(true, Ordering::Relaxed);
            let goes_on = self.serve(connection).await;
            self.figures.is_up.store(false, Ordering::Relaxed);
            if !goes_on {
                return;
            }
        }
    }

    /// A connection that answers, unless there is none.
    async fn connect(&mut self) -> Option<MultiplexedConnection> {
        let outcome = connect(self.settings.clone()).await;
        outcome.map_err(|error| self.warn(&error, "Redis is away")).ok()
    }

    /// Tries again and again; whoever asks meanwhile is told at once that Redis is away. None = nobody can ask any more.
    async fn reconnect(&mut self) -> Option<MultiplexedConnection> {
        let (mut pause, longest) = RETRY;
        loop {
            let settings = self.settings.clone();
            let mut attempt = pin!(async move {
                sleep(pause).await;
                connect(settings).await
            });
            let outcome = loop {
                tokio::select! {
                    outcome = &mut attempt => break outcome,
                    ask = self.asks.recv() => {
                        self.figures.failed.fetch_add(1, Ordering::Relaxed);
                        ask?.answer(Err(Unavailable));
                    }
                }
            };
            match outcome {
                Ok(connection) => return Some(connection),
                Err(error) => self.warn(&error, "Redis is away"),
            }
            pause = pause.saturating_mul(2).min(longest);
        }
    }

    /// Carries commands until the connection breaks, and says whether anybody can ask any more.
    async fn serve(&mut self, connection: MultiplexedConnection) -> bool {
        // Those that are under way when it ends are given up with it.
        let mut flights = JoinSet::new();
        let mut misses = 0_u32;
        let mut pings = interval(PING_PERIOD);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                Some(landed) = flights.join_next() => {
                    if !self.landed(landed.unwrap_or(Landed::Unwanted), &mut misses) {
                        return true;
                    }
                }
                ask = self.asks.recv(), if flights.len() < MAX_FLIGHTS => match ask {
                    Some(ask) => drop(flights.spawn(ask.fly(connection.clone(), self.settings.timeout))),
                    None => return false,
                },
                _ = pings.tick(), if flights.is_empty() => {
                    drop(flights.spawn(Ask::ping().fly(connection.clone(), self.settings.timeout)));
                }
            }
        }
    }

    /// Whether the connection is still good.
    fn landed(&mut self, landed: Landed, misses: &mut u32) -> bool {
        match landed {
            Landed::Unwanted => return true,
            Landed::Answered => {
                self.figures.answered.fetch_add(1, Ordering::Relaxed);
                *misses = 0;
                return true;
            }
            Landed::Refused(_) | Landed::Away(_) | Landed::Late => {
                self.figures.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
        match landed {
            Landed::Unwanted | Landed::Answered => true,
            Landed::Refused(error) => {
                *misses = 0;
                self.warn(&error, "Redis refuses a command");
                true
            }
            Landed::Away(error) => {
                self.warn(&error, "Redis is away");
                false
            }
            Landed::Late => {
                *misses = misses.saturating_add(1);
                let is_good = *misses < MISSES;
                if !is_good {
                    tracing::warn!("Redis is away: it does not answer in time");
                }
                is_good
            }
        }
    }

    fn warn(&mut self, error: &RedisError, what: &'static str) {
        let now = Instant::now();
        if self.warning.is_none_or(|next| now >= next) {
            self.warning = Some(after(now, WARNING_PERIOD));
            tracing::warn!(%error, "{what}");
        } else {
            tracing::debug!(%error, "{what}");
        }
    }
}

async fn connect(settings: Settings) -> Result<MultiplexedConnection, RedisError> {
    // Answers are timed here, and establishing a connection as a whole.
    let config = AsyncConnectionConfig::new()
        .set_response_timeout(None)
        .set_connection_timeout(None)
        .set_pipeline_buffer_size(MAX_FLIGHTS);
    let attempt = async {
        let client = &settings.address.client;
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        send(&mut connection, &cmd("PING")).await?;
        Ok(connection)
    };
    timeout(settings.connect_timeout, attempt).await.unwrap_or_else(|_| Err(timed_out()))
}

fn timed_out() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}
