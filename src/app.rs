//! STUB, dropped at merge: the program in one piece.

use crate::config::load::Loaded;
use crate::config::problem::Problems;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// The gate.
#[derive(Debug)]
pub struct App {
    server: Vec<String>,
    admin: String,
}

/// Open sockets.
#[derive(Debug)]
pub struct Listeners {
    server: Vec<SocketAddr>,
    admin: SocketAddr,
}

/// Why a socket could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {0}: {1}")]
pub struct BindError(String, std::io::Error);

/// How it ended.
#[derive(Clone, Copy, Debug)]
pub enum Exit {
    /// Everything in flight was finished.
    Drained,
    /// Something had to be cut off.
    GraceExpired,
}

/// The way to end it.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(Arc<(Mutex<bool>, Condvar)>);

impl Shutdown {
    /// One that the program begins by itself.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One that signals begin.
    #[must_use]
    pub fn on_signals() -> Self {
        Self::default()
    }

    /// Drain.
    pub fn begin(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Exit at once.
    pub fn begin_now(&self) {
        self.begin();
    }
}

impl App {
    /// Compiles a configuration.
    #[must_use]
    pub fn build(loaded: &Loaded) -> (Option<Self>, Problems) {
        let server = loaded.config.server.listen.0.clone();
        (Some(Self { server, admin: loaded.config.admin.listen.clone() }), Problems::default())
    }

    /// Opens the sockets.
    ///
    /// # Errors
    /// The address that could not be had.
    pub fn bind(&self) -> Result<Listeners, BindError> {
        let address = |text: &String| {
            TcpListener::bind(text)
                .and_then(|listener| listener.local_addr())
                .map_err(|error| BindError(text.clone(), error))
        };
        let server = self.server.iter().map(address).collect::<Result<_, _>>()?;
        Ok(Listeners { server, admin: address(&self.admin)? })
    }

    /// Serves until the end.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "a stub")]
    pub fn run(self, listeners: Listeners, shutdown: Shutdown) -> Exit {
        let (begun, told) = &*shutdown.0;
        let mut guard = begun.lock().unwrap_or_else(PoisonError::into_inner);
        while !*guard {
            guard = told.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        if listeners.server.is_empty() { Exit::GraceExpired } else { Exit::Drained }
    }
}

impl Listeners {
    /// Where clients connect.
    #[must_use]
    pub fn server_addresses(&self) -> Vec<SocketAddr> {
        self.server.clone()
    }

    /// Where probes connect.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }
}
