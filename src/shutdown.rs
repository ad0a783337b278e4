//! The word that ends a gate: from a signal, or from whoever runs it.

use std::sync::Arc;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// How far the ending has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nobody has said a word.
    Serving,
    /// Finish what has begun, then end.
    Drain,
    /// End at once.
    Now,
}

/// The way to end a gate.
#[derive(Clone, Debug)]
pub struct Shutdown {
    stage: Arc<watch::Sender<Stage>>,
    signals: bool,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// One that only its holder begins.
    #[must_use]
    pub fn new() -> Self {
        Self { stage: Arc::new(watch::Sender::new(Stage::Serving)), signals: false }
    }

    /// One that SIGTERM and SIGINT begin as well: the first drains, the second ends at once.
    #[must_use]
    pub fn on_signals() -> Self {
        Self { signals: true, ..Self::new() }
    }

    /// Lets what has begun finish.
    pub fn begin(&self) {
        self.stage.send_if_modified(|stage| {
            let first = *stage == Stage::Serving;
            *stage = if first { Stage::Drain } else { *stage };
            first
        });
    }

    /// Listens for the word, inside a runtime.
    #[must_use]
    pub fn listen(&self) -> Word {
        let open = |kind| if self.signals { signal(kind).ok() } else { None };
        Word {
            stage: self.stage.subscribe(),
            terminate: open(SignalKind::terminate()),
            interrupt: open(SignalKind::interrupt()),
            said: false,
        }
    }

    /// Listens for SIGHUP, the word to read the configuration again.
    #[must_use]
    pub fn hangups(&self) -> Hangups {
        Hangups(if self.signals { signal(SignalKind::hangup()).ok() } else { None })
    }
}

/// Listens for SIGHUP.
#[derive(Debug)]
pub struct Hangups(Option<Signal>);

impl Hangups {
    /// Ends with the next one.
    pub async fn next(&mut self) {
        received(&mut self.0).await;
    }
}

/// Listens for the word.
#[derive(Debug)]
pub struct Word {
    stage: watch::Receiver<Stage>,
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
    said: bool,
}

impl Word {
    /// The next stage; a signal is [`Stage::Drain`] the first time, [`Stage::Now`] afterwards.
    pub async fn next(&mut self) -> Stage {
        let stage = loop {
            tokio::select! {
                changed = self.stage.changed() => match changed {
                    Ok(()) => break *self.stage.borrow_and_update(),
                    // Without a holder only signals are left.
                    Err(_) => std::future::pending().await,
                },
                () = received(&mut self.terminate) => break self.by_signal(),
                () = received(&mut self.interrupt) => break self.by_signal(),
            }
        };
        self.said = true;
        stage
    }

    const fn by_signal(&self) -> Stage {
        if self.said { Stage::Now } else { Stage::Drain }
    }
}

async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}
