//! Asking an authority: one flight a question, answers kept, a circuit breaker. The control thread asks, workers wait.

use crate::clock::UnixTime;
use std::marker::PhantomData;
use std::sync::Arc;

/// What an authority said, and how long that counts.
#[derive(Debug)]
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

/// The authority cannot be asked, and nothing serves in its place: 503, never 401.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the authority is unavailable")]
pub struct Unavailable;

/// The workers' end of the questions to one authority.
#[derive(Debug)]
pub struct Inquiry<T>(PhantomData<T>);

impl<T: Send + Sync + 'static> Inquiry<T> {
    /// Asks, and awaits the answer; one that is known and fresh comes at once.
    ///
    /// # Errors
    /// The authority fails, or too many questions are open.
    #[expect(clippy::unused_async, reason = "a sketch")]
    pub async fn ask(&self, _question: &str) -> Result<Arc<Answer<T>>, Unavailable> {
        Err(Unavailable)
    }
}
