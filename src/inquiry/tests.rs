use super::{Answer, Authority, Failure, Heard, Inquiry, Settings, Unavailable};
use crate::clock::{Clock, UnixTime};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, advance, sleep};

const TIMEOUT: Duration = Duration::from_secs(2);

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Wall time that stands still with tokio's.
#[derive(Clone, Copy, Debug)]
struct Paused(Instant);

impl Clock for Paused {
    fn now(&self) -> UnixTime {
        UnixTime::from_seconds(1_800_000_000).plus(self.0.elapsed())
    }
}

/// What the oracle does when it is asked.
#[derive(Clone, Copy, Debug)]
enum Behaviour {
    Says(u32),
    Fails,
    Puzzles,
    Hangs,
    Panics,
}
use Behaviour::{Fails, Hangs, Panics, Puzzles, Says};

/// How long answers count: new, stale, and in place of others.
type Terms = (Duration, Duration, Duration);

#[derive(Debug)]
struct Script {
    usual: Behaviour,
    special: HashMap<String, Behaviour>,
    delay: Duration,
    asked: Vec<String>,
}

/// An authority in memory, that notes what it was asked.
#[derive(Clone, Debug)]
struct Oracle {
    script: Arc<Mutex<Script>>,
    terms: Terms,
    clock: Paused,
}

impl Authority for Oracle {
    type Value = u32;

    async fn ask(&self, question: &str) -> Result<Heard<u32>, Failure> {
        let (behaviour, delay) = {
            let mut script = self.script.lock().unwrap();
            script.asked.push(question.to_owned());
            (script.special.get(question).copied().unwrap_or(script.usual), script.delay)
        };
        sleep(delay).await;
        let (ttl, stale, fallback) = self.terms;
        match behaviour {
            Says(value) => {
                let received = self.clock.now();
                let fresh_until = received.plus(ttl);
                let stale_until = fresh_until.plus(stale);
                let answer = Answer { value, received, fresh_until, stale_until };
                Ok(Heard { answer, fallback_until: fresh_until.plus(fallback), bytes: 8 })
            }
            Fails => Err(Failure::Down("down".to_owned())),
            Puzzles => Err(Failure::malformed("garbage")),
            Hangs => std::future::pending().await,
            Panics => panic!("what it was asked: {question}"),
        }
    }
}

struct Stage {
    oracle: Oracle,
    inquiry: Arc<Inquiry<u32>>,
    actor: JoinHandle<()>,
}

impl Stage {
    fn new(usual: Behaviour, terms: Terms) -> Self {
        let script = Script { usual, special: HashMap::new(), delay: Duration::ZERO, asked: Vec::new() };
        let clock = Paused(Instant::now());
        let oracle = Oracle { script: Arc::new(Mutex::new(script)), terms, clock };
        let settings = Settings { name: "oracle".into(), timeout: TIMEOUT };
        let (inquiry, running) = Inquiry::open(settings, oracle.clone(), Arc::new(clock));
        Self { oracle, inquiry, actor: tokio::spawn(running) }
    }

    /// Whose answers count ten seconds, and no longer.
    fn strict(usual: Behaviour) -> Self {
        Self::new(usual, (seconds(10), Duration::ZERO, Duration::ZERO))
    }

    fn usually(&self, behaviour: Behaviour) {
        self.oracle.script.lock().unwrap().usual = behaviour;
    }

    fn on(&self, question: &str, behaviour: Behaviour) {
        self.oracle.script.lock().unwrap().special.insert(question.to_owned(), behaviour);
    }

    fn takes(&self, delay: Duration) {
        self.oracle.script.lock().unwrap().delay = delay;
    }

    fn asked(&self) -> usize {
        self.oracle.script.lock().unwrap().asked.len()
    }

    async fn ask(&self, question: &str) -> Result<u32, Unavailable> {
        self.inquiry.ask(question).await.map(|answer| answer.value)
    }

    fn spawn(&self, question: impl Into<String>) -> JoinHandle<Result<u32, Unavailable>> {
        let (inquiry, question) = (Arc::clone(&self.inquiry), question.into());
        tokio::spawn(async move { inquiry.ask(&question).await.map(|answer| answer.value) })
    }

    fn figures(&self) -> (u64, u64) {
        (self.inquiry.figures().successes(), self.inquiry.figures().errors())
    }
}

/// Lets everybody go on who can.
async fn settle() {
    for _ in 0..2000 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_fresh_answer_is_given_without_asking_and_none_is_believed_too_long() {
    let stage = Stage::strict(Says(1));
    let answer = stage.inquiry.ask("a").await.unwrap();
    assert_eq!(answer.value, 1);
    assert_eq!(answer.fresh_until, stage.oracle.clock.now().plus(seconds(10)));
    stage.usually(Says(2));
    advance(Duration::from_millis(9999)).await;
    assert_eq!((stage.ask("a").await, stage.asked()), (Ok(1), 1));
    assert_eq!((stage.ask("b").await, stage.asked()), (Ok(2), 2), "another question is another one");
    advance(Duration::from_millis(1)).await;
    assert_eq!((stage.ask("a").await, stage.asked()), (Ok(2), 3));
    assert_eq!(stage.figures(), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_counts_no_longer_when_it_comes_is_given_and_not_kept() {
    let stage = Stage::new(Says(1), (Duration::ZERO, Duration::ZERO, Duration::ZERO));
    assert_eq!(stage.ask("a").await, Ok(1));
    assert_eq!((stage.ask("a").await, stage.asked()), (Ok(1), 2));
}

#[tokio::test(start_paused = true)]
async fn equal_questions_are_one_and_different_ones_do_not_wait_for_each_other() {
    let stage = Stage::strict(Says(1));
    stage.takes(seconds(1));
    let begin = Instant::now();
    let same: Vec<_> = (0..20).map(|_| stage.spawn("same")).collect();
    let others: Vec<_> = (0..20).map(|number| stage.spawn(format!("other {number}"))).collect();
    for asking in same.into_iter().chain(others) {
        assert_eq!(asking.await.unwrap(), Ok(1));
    }
    assert_eq!(stage.asked(), 21);
    assert_eq!(begin.elapsed(), seconds(1));
}

#[tokio::test(start_paused = true)]
async fn questions_beyond_the_flights_wait_for_their_turn_and_beyond_the_queue_are_refused() {
    let stage = Stage::strict(Says(1));
    stage.takes(seconds(1));
    let all: Vec<_> = (0..64 + 512 + 10).map(|number| stage.spawn(number.to_string())).collect();
    settle().await;
    assert_eq!(stage.asked(), 64);
    let begin = Instant::now();
    let mut outcomes = Vec::new();
    for asking in all {
        outcomes.push(asking.await.unwrap());
    }
    let refused = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    // After two rounds of flights whoever still waits has given up, and is not asked for any more.
    assert_eq!(outcomes.len() - refused, 64 * 2);
    assert_eq!(begin.elapsed(), TIMEOUT + Duration::from_millis(250));
    settle().await;
    assert_eq!(stage.asked(), 64 * 3, "and those who went away are forgotten");
    advance(seconds(2)).await;
    settle().await;
    assert_eq!(stage.asked(), 64 * 3);
    assert_eq!(stage.ask("0").await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_makes_room_for_others_when_its_own_go_away() {
    let stage = Stage::strict(Says(1));
    stage.usually(Hangs);
    let all: Vec<_> = (0..64 + 512).map(|number| stage.spawn(number.to_string())).collect();
    settle().await;
    assert_eq!(stage.ask("one too many").await, Err(Unavailable));
    for asking in &all {
        asking.abort();
    }
    settle().await;
    stage.usually(Says(1));
    let late = stage.spawn("late");
    settle().await;
    assert!(!late.is_finished(), "it has a place in the queue");
    assert_eq!(late.await.unwrap(), Ok(1), "and goes out as soon as a flight is over");
}

#[tokio::test(start_paused = true)]
async fn the_old_answer_serves_when_asking_fails_and_a_second_passes_between_two_attempts() {
    let stage = Stage::new(Says(1), (seconds(10), seconds(5), seconds(100)));
    assert_eq!(stage.ask("a").await, Ok(1));
    advance(seconds(10)).await;
    stage.usually(Puzzles);
    let answer = stage.inquiry.ask("a").await.unwrap();
    assert_eq!((answer.value, stage.asked()), (1, 2));
    assert_eq!(answer.received.plus(seconds(10)), stage.oracle.clock.now(), "it is as old as it is");
    assert_eq!(answer.fresh_until, stage.oracle.clock.now().plus(seconds(1)));
    assert_eq!(answer.stale_until, stage.oracle.clock.now().plus(seconds(5)), "no longer than was said");
    for _ in 0..50 {
        assert_eq!(stage.ask("a").await, Ok(1));
    }
    assert_eq!(stage.asked(), 2, "fresh for a second");
    advance(seconds(1)).await;
    assert_eq!((stage.ask("a").await, stage.asked()), (Ok(1), 3));
    assert_eq!(stage.ask("b").await, Err(Unavailable), "nothing was known of this one");
    // Until the time that was given is over.
    advance(seconds(98)).await;
    let last = stage.inquiry.ask("a").await.unwrap();
    assert_eq!(last.fresh_until, last.stale_until);
    assert_eq!(last.fresh_until, stage.oracle.clock.now().plus(seconds(1)));
    advance(seconds(1)).await;
    assert_eq!(stage.ask("a").await, Err(Unavailable));
    stage.usually(Says(2));
    advance(seconds(1)).await;
    assert_eq!(stage.ask("a").await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn who_is_down_is_tried_once_a_second_and_comes_back_with_the_first_answer() {
    let stage = Stage::strict(Fails);
    for number in 0..5 {
        assert_eq!(stage.ask(&number.to_string()).await, Err(Unavailable));
    }
    assert_eq!(stage.asked(), 5);
    for number in 0..100 {
        assert_eq!(stage.ask(&number.to_string()).await, Err(Unavailable));
    }
    assert_eq!((stage.asked(), stage.figures()), (5, (0, 5)), "nobody is asked in vain");
    advance(seconds(1)).await;
    for number in 0..100 {
        assert_eq!(stage.ask(&number.to_string()).await, Err(Unavailable));
    }
    assert_eq!(stage.asked(), 6, "one probe");
    stage.usually(Says(1));
    assert_eq!(stage.ask("x").await, Err(Unavailable), "not yet");
    advance(seconds(1)).await;
    assert_eq!(stage.ask("x").await, Ok(1));
    assert_eq!(stage.ask("y").await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn who_is_down_does_not_keep_waiting_those_that_an_old_answer_can_serve() {
    let stage = Stage::new(Says(1), (seconds(1), Duration::ZERO, seconds(1000)));
    assert_eq!(stage.ask("known").await, Ok(1));
    advance(seconds(1)).await;
    stage.usually(Hangs);
    let waiting: Vec<_> = (0..5).map(|number| stage.spawn(number.to_string())).collect();
    for asking in waiting {
        assert_eq!(asking.await.unwrap(), Err(Unavailable));
    }
    let begin = Instant::now();
    assert_eq!((stage.ask("known").await, stage.asked()), (Ok(1), 6));
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn when_the_breaker_opens_whoever_is_in_the_queue_is_told() {
    let stage = Stage::strict(Hangs);
    let all: Vec<_> = (0..100).map(|number| stage.spawn(number.to_string())).collect();
    let begin = Instant::now();
    for asking in all {
        assert_eq!(asking.await.unwrap(), Err(Unavailable));
    }
    assert_eq!(begin.elapsed(), TIMEOUT + Duration::from_millis(250));
    settle().await;
    // Until the fifth flight failed, four from the queue had gone out.
    assert_eq!(stage.asked(), 64 + 4);
}

#[tokio::test(start_paused = true)]
async fn odd_questions_do_not_cut_off_the_others() {
    let stage = Stage::strict(Says(1));
    stage.on("odd", Puzzles);
    for number in 0..20 {
        stage.on(&format!("odd-{number}"), Puzzles);
        assert_eq!(stage.ask(&format!("odd-{number}")).await, Err(Unavailable));
    }
    assert_eq!(stage.asked(), 20);
    assert_eq!(stage.ask("even").await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_question_that_fails_is_put_once_a_second_and_cuts_off_nobody() {
    for behaviour in [Puzzles, Fails] {
        let stage = Stage::strict(Says(1));
        stage.on("stumble", behaviour);
        for _ in 0..20 {
            assert_eq!(stage.ask("stumble").await, Err(Unavailable));
        }
        assert_eq!(stage.asked(), 1);
        for second in 2..10 {
            advance(seconds(1)).await;
            assert_eq!(stage.ask("stumble").await, Err(Unavailable));
            assert_eq!(stage.asked(), second);
        }
        assert_eq!(stage.ask("another").await, Ok(1));
    }
}

#[tokio::test(start_paused = true)]
async fn an_authority_that_panics_or_hangs_cannot_stop_the_others() {
    let stage = Stage::strict(Says(1));
    stage.on("bad", Panics);
    stage.on("slow", Hangs);
    let slow = stage.spawn("slow");
    for _ in 0..10 {
        assert_eq!(stage.ask("bad").await, Err(Unavailable));
    }
    assert_eq!(stage.ask("good").await, Ok(1));
    let begin = Instant::now();
    assert_eq!(slow.await.unwrap(), Err(Unavailable));
    assert_eq!(begin.elapsed(), TIMEOUT);
    assert_eq!(stage.ask("other").await, Ok(1));
    assert!(!stage.actor.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_request_gives_up_though_the_actor_says_nothing() {
    let stage = Stage::strict(Says(1));
    stage.actor.abort();
    settle().await;
    assert_eq!(stage.ask("a").await, Err(Unavailable));
    let settings = Settings { name: "oracle".into(), timeout: TIMEOUT };
    let (inquiry, running) = Inquiry::open(settings, stage.oracle.clone(), Arc::new(stage.oracle.clock));
    let begin = Instant::now();
    assert_eq!(inquiry.ask("a").await.map(|answer| answer.value), Err(Unavailable));
    assert_eq!(begin.elapsed(), TIMEOUT + Duration::from_millis(250));
    drop(running);
}

#[tokio::test(start_paused = true)]
async fn the_actor_ends_with_its_handle_and_drops_what_is_under_way() {
    let Stage { oracle, inquiry, actor } = Stage::strict(Hangs);
    let asking = {
        let inquiry = Arc::clone(&inquiry);
        tokio::spawn(async move { inquiry.ask("a").await.map(|answer| answer.value) })
    };
    settle().await;
    assert_eq!(Arc::strong_count(&oracle.script), 2);
    asking.abort();
    drop(inquiry);
    actor.await.unwrap();
    settle().await;
    assert_eq!(Arc::strong_count(&oracle.script), 1, "the flight is over as well");
}

#[test]
fn the_handle_tells_nothing_of_what_was_asked() {
    let clock = Paused(Instant::now());
    let script = Script { usual: Says(1), special: HashMap::new(), delay: Duration::ZERO, asked: Vec::new() };
    let oracle = Oracle { script: Arc::new(Mutex::new(script)), terms: Terms::default(), clock };
    let (inquiry, _) =
        Inquiry::open(Settings { name: "oracle".into(), timeout: TIMEOUT }, oracle, Arc::new(clock));
    assert_eq!(format!("{inquiry:?}"), "Inquiry { figures: Figures { successes: 0, errors: 0 }, .. }");
}
