//! Redis: what replicas share.
//!
//! An actor on the control runtime holds one connection, over which everything is pipelined; workers send it commands by
//! message and wait for the answers no longer than [`Settings::timeout`]. While Redis is away everybody is told so at once,
//! and it is tried again in the background. No command is ever sent twice: who asks decides what to do without an answer.

mod actor;
mod script;

pub use redis::{Client, Cmd, Value, cmd};
pub use script::Script;

use crate::standing::Running;
use actor::{Actor, Ask};
use redis::{ConnectionAddr, IntoConnectionInfo, TlsCertificates, ToRedisArgs};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// How many commands may be on their way to the actor; more are answered with [`Unavailable`].
const MAX_ASKS: usize = 2048;

/// Redis cannot be asked, does not answer in time, or answers with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Redis is unavailable")]
pub struct Unavailable;

/// Why an address is none of a Redis server. It never repeats the address, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It cannot be read.
    #[error("this is not the URL of a Redis server")]
    Url,
    /// It asks for TLS that does not look at certificates.
    #[error("\"#insecure\" would trust any certificate")]
    Insecure,
    /// There are authorities to trust, but no certificates will be shown.
    #[error("there are authorities to trust, but the URL is not rediss://")]
    Plain,
    /// The authorities cannot be used.
    #[error("the authorities to trust cannot be used")]
    Authorities,
}

/// Where a Redis server is, and how it is logged in to.
#[derive(Clone)]
pub struct Address {
    client: Client,
    has_password: bool,
}

impl Address {
    /// Reads `redis://`, `rediss://` (TLS) and `unix://` URLs; `authorities` is PEM, to trust instead of the system's.
    ///
    /// # Errors
    /// It is none of these, or does not fit the authorities.
    pub fn parse(url: &str, authorities: Option<Vec<u8>>) -> Result<Self, AddressError> {
        let info = url.into_connection_info().map_err(|_| AddressError::Url)?;
        let has_password = info.redis_settings().password().is_some();
        let encrypted = match info.addr() {
            ConnectionAddr::TcpTls { insecure: true, .. } => return Err(AddressError::Insecure),
            ConnectionAddr::TcpTls { .. } => true,
            ConnectionAddr::Tcp(..) | ConnectionAddr::Unix(_) => false,
            // The enum may grow.
            _ => return Err(AddressError::Url),
        };
        // One packet a command, at once; and the library's name need not be told.
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        let login = info.redis_settings().clone().set_skip_set_lib_name();
        let info = info.set_tcp_settings(tcp).set_redis_settings(login);
        let client = match (encrypted, authorities) {
            (false, Some(_)) => return Err(AddressError::Plain),
            (true, Some(root)) => {
                let certificates = TlsCertificates { client_tls: None, root_cert: Some(root) };
                Client::build_with_tls(info, certificates).map_err(|_| AddressError::Authorities)?
            }
            (_, None) => Client::open(info).map_err(|_| AddressError::Url)?,
        };
        Ok(Self { client, has_password })
    }

    /// Whether it holds a password.
    #[must_use]
    pub const fn has_password(&self) -> bool {
        self.has_password
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Address(redacted)")
    }
}

/// How Redis is asked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it is.
    pub address: Address,
    /// How long establishing a connection may take, login included.
    pub connect_timeout: Duration,
    /// How long an answer is waited for.
    pub timeout: Duration,
    /// What the names of all keys begin with.
    pub prefix: Box<str>,
}

/// How the asking goes, for metrics.
#[derive(Debug, Default)]
pub struct Figures {
    is_up: AtomicBool,
    answered: AtomicU64,
    failed: AtomicU64,
}

impl Figures {
    /// Whether there is a connection that answers.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }

    /// How many commands were answered.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// How many commands were not, or with an error.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

/// Everybody's end of the commands to Redis.
pub struct Redis {
    asks: mpsc::Sender<Ask>,
    timeout: Duration,
    prefix: Box<str>,
    figures: Arc<Figures>,
}

impl Redis {
    /// A handle for workers and control tasks alike, and the actor that holds the connection; it ends with the handle.
    #[must_use]
    pub fn open(settings: Settings) -> (Arc<Self>, Running) {
        let (asks, queue) = mpsc::channel(MAX_ASKS);
        let figures = Arc::new(Figures::default());
        let (timeout, prefix) = (settings.timeout, settings.prefix.clone());
        let redis = Arc::new(Self { asks, timeout, prefix, figures: Arc::clone(&figures) });
        (redis, Box::pin(Actor::new(settings, queue, figures).run()))
    }

    /// The name of a key: `prefix` and this.
    #[must_use]
    pub fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Sends a command, and awaits the answer.
    ///
    /// # Errors
    /// Redis is away, too many commands are open, or there was no answer in time, or an error. It may have been carried out
    /// all the same.
    pub async fn run(&self, command: Cmd) -> Result<Value, Unavailable> {
        self.send(command, None).await
    }

    /// Runs a script, which Redis must see in full only once.
    ///
    /// # Errors
    /// As [`Redis::run`].
    pub async fn evaluate(
        &self,
        script: &Script,
        keys: &[impl ToRedisArgs],
        arguments: &[impl ToRedisArgs],
    ) -> Result<Value, Unavailable> {
        let mut command = cmd("EVALSHA");
        command.arg(script.digest()).arg(keys.len()).arg(keys).arg(arguments);
        self.send(command, Some(script.text())).await
    }

    async fn send(&self, command: Cmd, script: Option<&'static str>) -> Result<Value, Unavailable> {
        let (reply, answer) = oneshot::channel();
        let deadline = crate::clock::after(Instant::now(), self.timeout);
        let ask = Ask { command, script, deadline, reply: Some(reply) };
        if self.asks.try_send(ask).is_err() {
            self.figures.failed.fetch_add(1, Ordering::Relaxed);
            return Err(Unavailable);
        }
        match tokio::time::timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(Unavailable),
        }
    }

    /// How the asking goes.
    #[must_use]
    pub const fn figures(&self) -> &Arc<Figures> {
        &self.figures
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Redis").field("figures", &self.figures).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
