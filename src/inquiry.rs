//! Asking an authority: one flight a question, answers kept, a circuit breaker.
//!
//! An [`Authority`] knows how to put a question; everything else is the same for all of them. An actor on the control runtime
//! asks, workers wait for its answers by message. So an authority that is slow or down holds up only the requests that need
//! it, and those not for long.

mod actor;
mod answers;
mod breaker;

use crate::clock::{Clock, UnixTime};
use crate::outbound::HttpError;
use crate::standing::Running;
use actor::{Actor, Ask};
use http::StatusCode;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How many questions may be on their way to the actor; more are answered with [`Unavailable`].
const MAX_ASKS: usize = 1024;

/// How much longer than its authority's timeout a request waits for the actor.
const AIR: Duration = Duration::from_millis(250);

/// What an authority said, and how long that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<T> {
    /// What it said.
    pub value: T,
    /// When it said so.
    pub received: UnixTime,
    /// Until then it is as good as new.
    pub fresh_until: UnixTime,
    /// Until then it may be used while the next one is on its way; never before `fresh_until`.
    pub stale_until: UnixTime,
}

/// An answer, and what is kept beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard<T> {
    /// The answer.
    pub answer: Answer<T>,
    /// Until then it serves when the authority fails.
    pub fallback_until: UnixTime,
    /// How many bytes it occupies.
    pub bytes: usize,
}

impl<T> Heard<T> {
    /// An answer that counts until `until`, and not a moment longer, whatever happens.
    #[must_use]
    pub const fn until(value: T, (received, until): (UnixTime, UnixTime), bytes: usize) -> Self {
        let answer = Answer { value, received, fresh_until: until, stale_until: until };
        Self { answer, fallback_until: until, bytes }
    }
}

/// The authority cannot be asked, and nothing serves in its place: 503, never 401.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the authority is unavailable")]
pub struct Unavailable;

/// Why an authority gave no answer. The text is for the log: it holds nothing of the question.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It could not be reached, or said that it is not well. Whoever asks it something else will hardly fare better.
    #[error("{0}")]
    Down(String),
    /// It answered something that cannot be used. That may be due to the question, which a client has chosen.
    #[error("{0}")]
    Unusable(String),
}

impl Failure {
    /// Of an answer with a status that means nothing here.
    #[must_use]
    pub fn status(status: StatusCode) -> Self {
        let unwell = status.is_server_error()
            || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
        let why = format!("the answer's status is {}", status.as_u16());
        if unwell { Self::Down(why) } else { Self::Unusable(why) }
    }

    /// Of an answer that is not what it should be.
    #[must_use]
    pub fn malformed(why: impl fmt::Display) -> Self {
        Self::Unusable(format!("the answer is malformed: {why}"))
    }
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Setup(_) | HttpError::Connect(_) | HttpError::Timeout | HttpError::Exchange(_) => {
                Self::Down(error.to_string())
            }
            HttpError::Url | HttpError::TooLarge => Self::Unusable(error.to_string()),
            HttpError::Status(status) => Self::status(status),
        }
    }
}

/// Whoever can be asked.
pub trait Authority: Send + Sync + 'static {
    /// What it says.
    type Value: Clone + Send + Sync + 'static;

    /// Puts a question to it, now.
    fn ask(&self, question: &str) -> impl Future<Output = Result<Heard<Self::Value>, Failure>> + Send;
}

/// How an authority is asked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its name, for the log.
    pub name: Arc<str>,
    /// How long an answer is waited for.
    pub timeout: Duration,
}

/// How the asking went so far, for metrics.
#[derive(Debug, Default)]
pub struct Figures {
    successes: AtomicU64,
    errors: AtomicU64,
}

impl Figures {
    /// How often the authority gave an answer.
    #[must_use]
    pub fn successes(&self) -> u64 {
        self.successes.load(Ordering::Relaxed)
    }

    /// How often it was asked in vain.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }
}

/// The workers' end of the questions to one authority.
pub struct Inquiry<T> {
    asks: mpsc::Sender<Ask<T>>,
    patience: Duration,
    figures: Arc<Figures>,
}

impl<T: Clone + Send + Sync + 'static> Inquiry<T> {
    /// A handle for workers, and the actor that asks on their behalf; it ends with the handle.
    #[must_use]
    pub fn open(
        settings: Settings,
        authority: impl Authority<Value = T>,
        clock: Arc<dyn Clock>,
    ) -> (Arc<Self>, Running) {
        let (asks, questions) = mpsc::channel(MAX_ASKS);
        let figures = Arc::new(Figures::default());
        let patience = settings.timeout.saturating_add(AIR);
        let inquiry = Arc::new(Self { asks, patience, figures: Arc::clone(&figures) });
        // Made where it runs, since it is no thing to send.
        let running = async move { Actor::new(settings, authority, clock, questions, figures).run().await };
        (inquiry, Box::pin(running))
    }

    /// Asks, and awaits the answer; one that is known and fresh comes at once.
    ///
    /// Equal questions wait for the one that is under way.
    ///
    /// # Errors
    /// The authority fails and no earlier answer may serve in place of this one, or too many questions are open.
    pub async fn ask(&self, question: &str) -> Result<Arc<Answer<T>>, Unavailable> {
        let (reply, answer) = oneshot::channel();
        self.asks.try_send(Ask::new(question, reply)).map_err(|_| Unavailable)?;
        match tokio::time::timeout(self.patience, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(Unavailable),
        }
    }

    /// How the asking went so far.
    #[must_use]
    pub const fn figures(&self) -> &Arc<Figures> {
        &self.figures
    }
}

impl<T> fmt::Debug for Inquiry<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Inquiry").field("figures", &self.figures).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
