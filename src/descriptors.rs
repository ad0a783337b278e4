//! How many file descriptors the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is open besides connections: listeners, files, timers, the control thread's own connections.
const OTHERS: u64 = 256;

/// What came of asking for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// How many may be open now.
    pub limit: u64,
    /// How many so many connections can need: one for each client, and one for the service.
    pub needed: u64,
}

impl Granted {
    /// Whether that is less than needed.
    #[must_use]
    pub const fn is_short(&self) -> bool {
        self.limit < self.needed
    }
}

/// Raises the soft limit as far as so many client connections need it, and as the hard limit allows; never lowers it.
///
/// Shells and containers mostly grant 1024 softly, for the sake of programs that use `select(2)`, and far more to those who ask.
#[must_use]
pub fn raise(connections: u32) -> Granted {
    let needed = u64::from(connections).saturating_mul(2).saturating_add(OTHERS);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let (soft, hard) = (current.unwrap_or(u64::MAX), maximum.unwrap_or(u64::MAX));
    let wanted = needed.min(hard);
    if soft >= wanted {
        return Granted { limit: soft, needed };
    }
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).is_ok();
    Granted { limit: if raised { wanted } else { soft }, needed }
}
