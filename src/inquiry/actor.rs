//! The actor that asks one authority, on behalf of all workers.

use super::answers::{Answers, Key, MAX_BYTES};
use super::breaker::{Breaker, Change};
use super::{Answer, Authority, Failure, Figures, Heard, Settings, Unavailable};
use crate::clock::{Clock, after};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, timeout};
use zeroize::Zeroizing;

/// How many questions may be out at once.
const MAX_FLIGHTS: usize = 64;

/// How many more may wait for their turn.
const MAX_QUEUED: usize = 512;

/// How many requests may wait for answers.
const MAX_WAITING: usize = 4096;

/// How long a question that failed is not put again.
const RETRY_PERIOD: Duration = Duration::from_secs(1);

/// How many such questions are remembered.
const MAX_FAILED: usize = 4096;

/// How often a failure is worth a warning.
const WARNING_PERIOD: Duration = Duration::from_secs(10);

type Reply<T> = Result<Arc<Answer<T>>, Unavailable>;
type Waiter<T> = oneshot::Sender<Reply<T>>;
type Landed<T> = Result<Heard<T>, Failure>;

/// A question, and where its answer goes.
pub(super) struct Ask<T> {
    question: Zeroizing<String>,
    reply: Waiter<T>,
}

impl<T> Ask<T> {
    pub(super) fn new(question: &str, reply: Waiter<T>) -> Self {
        Self { question: Zeroizing::new(question.to_owned()), reply }
    }
}

/// Asks one authority.
pub(super) struct Actor<A: Authority> {
    settings: Settings,
    authority: Arc<A>,
    clock: Arc<dyn Clock>,
    asks: mpsc::Receiver<Ask<A::Value>>,
    figures: Arc<Figures>,
    answers: Answers<A::Value>,
    breaker: Breaker,
    /// Who waits for the answer to which question, whether it is out or in the queue.
    waiting: HashMap<Key, Vec<Waiter<A::Value>>>,
    waiters: usize,
    queue: VecDeque<(Key, Zeroizing<String>)>,
    flights: JoinSet<Landed<A::Value>>,
    /// Which question each flight carries; one that crashes cannot say so itself.
    carried: HashMap<Id, Key>,
    /// When the next failure is worth a warning.
    warning: Option<Instant>,
    /// Questions that failed, and until when they are not put again.
    failed: HashMap<Key, Instant>,
}

impl<A: Authority> Actor<A> {
    pub(super) fn new(
        settings: Settings,
        authority: A,
        clock: Arc<dyn Clock>,
        asks: mpsc::Receiver<Ask<A::Value>>,
        figures: Arc<Figures>,
    ) -> Self {
        Self {
            settings,
            authority: Arc::new(authority),
            clock,
            asks,
            figures,
            answers: Answers::new(MAX_BYTES),
            breaker: Breaker::default(),
            waiting: HashMap::new(),
            waiters: 0,
            queue: VecDeque::new(),
            flights: JoinSet::new(),
            carried: HashMap::new(),
            warning: None,
            failed: HashMap::new(),
        }
    }

    /// Runs until nobody can ask any more; what is under way is dropped then.
    pub(super) async fn run(mut self) {
        loop {
            tokio::select! {
                biased;
                Some(landed) = self.flights.join_next_with_id() => self.landed(landed),
                ask = self.asks.recv() => match ask {
                    Some(ask) => self.hear(ask),
                    None => return,
                },
            }
        }
    }

    fn hear(&mut self, ask: Ask<A::Value>) {
        let key = Key::of(&ask.question);
        if let Some(answer) = self.answers.fresh(&key, self.clock.now()) {
            return send(ask.reply, Ok(answer));
        }
        if !self.has_room() {
            return self.settle_one(&key, ask.reply);
        }
        if let Some(waiting) = self.waiting.get_mut(&key) {
            waiting.push(ask.reply);
            self.waiters = self.waiters.saturating_add(1);
            return;
        }
        if self.failed.get(&key).is_some_and(|until| Instant::now() < *until) {
            return self.settle_one(&key, ask.reply);
        }
        let is_full = self.flights.len() >= MAX_FLIGHTS;
        if is_full && self.queue.len() >= MAX_QUEUED {
            self.forget_the_gone();
        }
        let refused = is_full && self.queue.len() >= MAX_QUEUED;
        if refused || !self.breaker.admits(Instant::now()) {
            return self.settle_one(&key, ask.reply);
        }
        self.waiting.insert(key, vec![ask.reply]);
        self.waiters = self.waiters.saturating_add(1);
        if is_full {
            self.queue.push_back((key, ask.question));
        } else {
            self.start(key, ask.question);
        }
    }

    /// Whether one more request may wait.
    fn has_room(&mut self) -> bool {
        if self.waiters >= MAX_WAITING {
            self.forget_the_gone();
        }
        self.waiters < MAX_WAITING
    }

    /// Forgets requests that went away, and questions in the queue that nobody waits for any more.
    fn forget_the_gone(&mut self) {
        let waiting = &mut self.waiting;
        for waiters in waiting.values_mut() {
            waiters.retain(|waiter| !waiter.is_closed());
        }
        self.queue.retain(|(key, _)| {
            let is_wanted = waiting.get(key).is_some_and(|waiters| !waiters.is_empty());
            if !is_wanted {
                drop(waiting.remove(key));
            }
            is_wanted
        });
        self.waiters = waiting.values().map(Vec::len).fold(0, usize::saturating_add);
    }

    fn start(&mut self, key: Key, question: Zeroizing<String>) {
        let (authority, patience) = (Arc::clone(&self.authority), self.settings.timeout);
        let flight = self.flights.spawn(async move {
            let asked = timeout(patience, authority.ask(&question)).await;
            asked.unwrap_or_else(|_| Err(Failure::Down("no answer in time".to_owned())))
        });
        self.carried.insert(flight.id(), key);
    }

    fn landed(&mut self, landed: Result<(Id, Landed<A::Value>), JoinError>) {
        let (id, outcome) = match landed {
            Ok(landed) => landed,
            // What it panicked with may hold the question.
            Err(error) => (error.id(), Err(Failure::Unusable("the asking itself has failed".to_owned()))),
        };
        let Some(key) = self.carried.remove(&id) else { return };
        match outcome {
            Ok(heard) => {
                self.figures.successes.fetch_add(1, Ordering::Relaxed);
                self.failed.remove(&key);
                self.answered();
                let answer = self.answers.keep(key, heard, self.clock.now());
                self.reply(&key, &Ok(answer));
            }
            Err(failure) => {
                self.figures.errors.fetch_add(1, Ordering::Relaxed);
                self.remember_failure(key);
                self.failed(&failure, key);
                self.settle(&key);
            }
        }
        self.start_next();
    }

    /// The authority can be reached.
    fn answered(&mut self) {
        if self.breaker.succeeded(Instant::now()) == Change::Closed {
            tracing::info!(authority = &*self.settings.name, "the authority answers again");
        }
    }

    /// Who asks again and again what fails must not keep the authority from the others.
    fn remember_failure(&mut self, key: Key) {
        let now = Instant::now();
        if self.failed.len() >= MAX_FAILED {
            self.failed.retain(|_, until| now < *until);
        }
        if self.failed.len() < MAX_FAILED {
            self.failed.insert(key, after(now, RETRY_PERIOD));
        }
    }

    fn failed(&mut self, failure: &Failure, key: Key) {
        let name = &*self.settings.name;
        let now = Instant::now();
        if self.warning.is_none_or(|next| now >= next) {
            self.warning = Some(after(now, WARNING_PERIOD));
            tracing::warn!(authority = name, error = %failure, "the authority was asked in vain");
        } else {
            tracing::debug!(authority = name, error = %failure, "the authority was asked in vain");
        }
        match failure {
            // It is there; and a client that puts odd questions must not cut it off from all the others.
            Failure::Unusable(_) => self.answered(),
            Failure::Down(_) if self.breaker.failed(now, key) == Change::Opened => {
                tracing::warn!(
                    authority = name,
                    "the authority is down: from now on it is tried once a second"
                );
                for (key, _) in std::mem::take(&mut self.queue) {
                    self.settle(&key);
                }
            }
            Failure::Down(_) => {}
        }
    }

    /// Answers everybody who waits for an answer that does not come.
    fn settle(&mut self, key: &Key) {
        let fallback = self.answers.fallback(key, self.clock.now()).ok_or(Unavailable);
        self.reply(key, &fallback);
    }

    fn settle_one(&mut self, key: &Key, waiter: Waiter<A::Value>) {
        send(waiter, self.answers.fallback(key, self.clock.now()).ok_or(Unavailable));
    }

    fn reply(&mut self, key: &Key, reply: &Reply<A::Value>) {
        let waiters = self.waiting.remove(key).unwrap_or_default();
        self.waiters = self.waiters.saturating_sub(waiters.len());
        for waiter in waiters {
            send(waiter, reply.clone());
        }
    }

    /// Lets questions from the queue go out, those that somebody still waits for.
    fn start_next(&mut self) {
        while self.flights.len() < MAX_FLIGHTS {
            let Some((key, question)) = self.queue.pop_front() else { return };
            let waiters = self.waiting.get(&key).map(Vec::as_slice).unwrap_or_default();
            if waiters.iter().all(oneshot::Sender::is_closed) {
                self.reply(&key, &Err(Unavailable));
            } else {
                self.start(key, question);
            }
        }
    }
}

fn send<T>(waiter: Waiter<T>, reply: Reply<T>) {
    if waiter.send(reply).is_err() {
        tracing::trace!("whoever asked has given up");
    }
}
