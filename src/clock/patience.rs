//! How long the other side may do nothing while we wait for it. It costs a timer only once there is something to wait for.

use super::{TICK, after, lately};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// How long the other side may do nothing while we wait for it.
#[derive(Debug)]
pub struct Patience {
    most: Duration,
    since: Option<Instant>,
    /// It may fire early, but never late; it is moved only when it fires.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    /// At most so long.
    #[must_use]
    pub const fn new(most: Duration) -> Self {
        Self { most, since: None, sleep: None }
    }

    /// Something has happened, or the other side is not waited for: its time begins anew when it is.
    pub const fn renew(&mut self) {
        self.since = None;
    }

    /// The other side is waited for. Ready when that has taken too long; it may take a moment more.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let since = *self.since.get_or_insert_with(|| lately().0);
        let deadline = after(after(since, self.most), TICK);
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        loop {
            ready!(sleep.as_mut().poll(cx));
            if deadline <= Instant::now() {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Patience;
    use std::future::poll_fn;
    use std::time::Duration;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn time_begins_anew_with_every_move() {
        let begin = Instant::now();
        let mut patience = Patience::new(Duration::from_secs(10));
        for _ in 0..3 {
            let waits = poll_fn(|cx| patience.poll(cx));
            assert!(tokio::time::timeout(Duration::from_secs(6), waits).await.is_err());
            patience.renew();
        }
        poll_fn(|cx| patience.poll(cx)).await;
        assert!((17..=29).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());
    }
}
