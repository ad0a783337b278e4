mod discovery;
mod sources;

use super::source::{LoadError, SourceError};
use super::{ASK_TIMEOUT, KeyStore, MAX_ASKS, Settings, Source, Unavailable};
use crate::authn::algorithm::ASYMMETRIC;
use crate::authn::testing::{OTHER_RSA, P256, RSA, SECRET, config};
use crate::clock::{Clock, UnixTime};
use crate::config::authenticator::Algorithm;
use crate::outbound::{Answer, HttpClient, HttpError};
use crate::secret::Secret;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, advance, sleep, timeout};

const URL: &str = "https://issuer.example/jwks";

/// What the fake issuer does when it is asked.
#[derive(Clone, Debug)]
enum Behaviour {
    Says(StatusCode, String),
    Refuses,
    Hangs,
}

/// An issuer in memory, that notes who asked when.
#[derive(Debug)]
struct Issuer {
    pages: Mutex<HashMap<String, Behaviour>>,
    delay: Mutex<Duration>,
    asked: Mutex<Vec<(String, Instant)>>,
}

impl Issuer {
    fn new() -> Arc<Self> {
        Arc::new(Self { pages: Mutex::default(), delay: Mutex::default(), asked: Mutex::default() })
    }

    fn says(&self, url: &str, document: &Value) {
        self.behaves(url, Behaviour::Says(StatusCode::OK, document.to_string()));
    }

    fn behaves(&self, url: &str, behaviour: Behaviour) {
        self.pages.lock().unwrap().insert(url.to_owned(), behaviour);
    }

    fn takes(&self, delay: Duration) {
        *self.delay.lock().unwrap() = delay;
    }

    fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn urls(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|(url, _)| url.clone()).collect()
    }

    fn times(&self, since: Instant) -> Vec<Duration> {
        self.asked.lock().unwrap().iter().map(|(_, at)| at.duration_since(since)).collect()
    }
}

impl HttpClient for Issuer {
    fn send(&self, request: Request<Bytes>, _: Duration) -> Answer<'_> {
        let url = request.uri().to_string();
        Box::pin(async move {
            self.asked.lock().unwrap().push((url.clone(), Instant::now()));
            let delay = *self.delay.lock().unwrap();
            sleep(delay).await;
            let behaviour = self.pages.lock().unwrap().get(&url).cloned();
            match behaviour {
                Some(Behaviour::Says(status, body)) => {
                    let mut response = Response::new(Bytes::from(body));
                    *response.status_mut() = status;
                    Ok(response)
                }
                Some(Behaviour::Hangs) => std::future::pending().await,
                Some(Behaviour::Refuses) | None => Err(HttpError::Connect("refused".to_owned())),
            }
        })
    }
}

/// Wall time that goes with the paused time of the runtime.
#[derive(Debug)]
struct RuntimeClock(Instant);

impl Clock for RuntimeClock {
    fn now(&self) -> UnixTime {
        UnixTime::from_seconds(1_700_000_000).plus(self.0.elapsed())
    }
}

struct Bench {
    issuer: Arc<Issuer>,
    clock: Arc<RuntimeClock>,
    store: Arc<KeyStore>,
    actor: JoinHandle<()>,
    start: Instant,
}

impl Bench {
    fn new(source: Source, issuer: Arc<Issuer>) -> Self {
        let settings = Settings {
            name: "auth".into(),
            source,
            algorithms: ASYMMETRIC.to_vec(),
            refresh: Duration::from_secs(300),
            max_stale: Duration::from_secs(3600),
        };
        let start = Instant::now();
        let clock = Arc::new(RuntimeClock(start));
        let (store, refresher) = KeyStore::open(settings, None, issuer.clone(), clock.clone());
        Self { issuer, clock, store, actor: tokio::spawn(refresher.run()), start }
    }

    /// A store of a key set at a URL, with its first keys.
    async fn with_keys(kids: &[&str]) -> Self {
        let issuer = Issuer::new();
        issuer.says(URL, &key_set(kids));
        let bench = Self::new(Source::Jwks(URL.to_owned()), issuer);
        pass(1).await;
        assert!(bench.knows(kids[0]));
        assert_eq!(bench.issuer.count(), 1);
        bench
    }

    fn knows(&self, kid: &str) -> bool {
        self.store.current(self.clock.now()).is_some_and(|set| set.knows(kid))
    }

    fn has_keys(&self) -> bool {
        self.store.current(self.clock.now()).is_some()
    }
}

fn key_set(kids: &[&str]) -> Value {
    let keys: Vec<Value> =
        kids.iter().map(|kid| P256.jwk_with(Algorithm::ES256, json!({"kid": kid}))).collect();
    json!({ "keys": keys })
}

/// Lets everything happen that happens in so many milliseconds.
async fn pass(millis: u64) {
    sleep(Duration::from_millis(millis)).await;
}

async fn seconds(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn it_starts_while_the_issuer_is_down_and_tries_again_less_and_less_often() {
    let bench = Bench::new(Source::Jwks(URL.to_owned()), Issuer::new());
    seconds(100).await;
    assert!(!bench.has_keys() && !bench.store.has_had_keys());
    let times = bench.issuer.times(bench.start);
    let pauses: Vec<f64> = times.windows(2).map(|pair| pair[1].abs_diff(pair[0]).as_secs_f64()).collect();
    for (pause, expected) in pauses.iter().zip([1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]) {
        assert!(*pause >= 1.0 && *pause >= expected * 0.89 && *pause <= expected + 0.01, "{pauses:?}");
    }
    assert!((6..=8).contains(&times.len()), "{times:?}");
    assert_eq!(usize::try_from(bench.store.refreshes().errors()).unwrap(), times.len());
    assert_eq!(bench.store.refreshes().last_success(), None);
    bench.issuer.says(URL, &key_set(&["a"]));
    seconds(31).await;
    assert!(bench.knows("a") && bench.store.has_had_keys());
    assert_eq!(bench.store.refreshes().successes(), 1);
}

#[tokio::test(start_paused = true)]
async fn keys_are_read_again_in_the_background() {
    let bench = Bench::with_keys(&["a"]).await;
    bench.issuer.says(URL, &key_set(&["b"]));
    seconds(269).await;
    assert!(bench.knows("a"));
    seconds(35).await;
    assert!(bench.knows("b") && !bench.knows("a"));
    assert_eq!(bench.issuer.count(), 2);
    assert!(bench.store.refreshes().last_success().unwrap() >= UnixTime::from_seconds(1_700_000_270));
}

#[tokio::test(start_paused = true)]
async fn the_first_token_of_a_new_key_passes_at_once() {
    let bench = Bench::with_keys(&["a"]).await;
    seconds(5).await;
    bench.issuer.says(URL, &key_set(&["a", "b"]));
    bench.issuer.takes(Duration::from_millis(50));
    let asked = Instant::now();
    assert_eq!(bench.store.ask(Some("b")).await, Ok(()));
    assert!(asked.elapsed() < Duration::from_millis(200));
    assert!(bench.knows("a") && bench.knows("b"));
}

#[tokio::test(start_paused = true)]
async fn many_questions_are_one_flight() {
    let bench = Bench::with_keys(&["a"]).await;
    seconds(5).await;
    bench.issuer.says(URL, &key_set(&["b"]));
    bench.issuer.takes(Duration::from_millis(100));
    let asks: Vec<_> = (0..200)
        .map(|number| {
            let store = Arc::clone(&bench.store);
            tokio::spawn(async move {
                pass(number / 4).await;
                store.ask(Some("b")).await
            })
        })
        .collect();
    for ask in asks {
        assert_eq!(ask.await.unwrap(), Ok(()));
    }
    assert_eq!(bench.issuer.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn at_most_one_reading_begins_each_second() {
    let bench = Bench::with_keys(&["a"]).await;
    let until = Instant::now() + Duration::from_secs(20);
    let mut number = 0;
    while Instant::now() < until {
        let store = Arc::clone(&bench.store);
        drop(tokio::spawn(async move { store.ask(Some(&format!("unknown {number}"))).await }));
        number += 1;
        pass(10).await;
    }
    let times = bench.issuer.times(bench.start);
    assert!(times.windows(2).all(|pair| pair[1].abs_diff(pair[0]) >= Duration::from_secs(1)), "{times:?}");
    assert!((15..=21).contains(&times.len()), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn the_same_unknown_key_is_not_asked_for_again_for_ten_seconds() {
    let bench = Bench::with_keys(&["a"]).await;
    seconds(5).await;
    for kid in [Some("x"), None] {
        let before = bench.issuer.count();
        assert_eq!(bench.store.ask(kid).await, Ok(()));
        assert_eq!(bench.issuer.count(), before + 1);
        for _ in 0..4 {
            seconds(2).await;
            assert_eq!(bench.store.ask(kid).await, Ok(()));
        }
        assert_eq!(bench.issuer.count(), before + 1);
        seconds(3).await;
        assert_eq!(bench.store.ask(kid).await, Ok(()));
        assert_eq!(bench.issuer.count(), before + 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_there_by_now_needs_no_reading() {
    let bench = Bench::with_keys(&["a"]).await;
    seconds(5).await;
    for _ in 0..10 {
        assert_eq!(bench.store.ask(Some("a")).await, Ok(()));
    }
    assert_eq!(bench.issuer.count(), 1);
    assert_eq!(bench.store.ask(Some(&"x".repeat(2000))).await, Ok(()));
    assert_eq!(bench.issuer.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_asks_while_a_reading_is_under_way_gets_another_one() {
    let bench = Bench::with_keys(&["a"]).await;
    seconds(5).await;
    bench.issuer.takes(Duration::from_millis(300));
    let first = Arc::clone(&bench.store);
    let first = tokio::spawn(async move { first.ask(Some("x")).await });
    pass(100).await;
    // The answer of the reading under way may be older than the key.
    let second = Arc::clone(&bench.store);
    let second = tokio::spawn(async move { second.ask(Some("b")).await });
    assert_eq!(first.await.unwrap(), Ok(()));
    bench.issuer.says(URL, &key_set(&["a", "b"]));
    assert_eq!(second.await.unwrap(), Ok(()));
    assert!(bench.knows("b"));
    assert_eq!(bench.issuer.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn good_keys_serve_while_the_issuer_is_down_until_they_are_too_old() {
    let bench = Bench::with_keys(&["a"]).await;
    bench.issuer.behaves(URL, Behaviour::Refuses);
    seconds(3590).await;
    assert!(bench.knows("a"));
    assert!(bench.store.refreshes().errors() > 100);
    seconds(20).await;
    assert!(!bench.has_keys());
    assert!(bench.store.has_had_keys());
    bench.issuer.says(URL, &key_set(&["a"]));
    seconds(31).await;
    assert!(bench.knows("a"));
}

#[tokio::test(start_paused = true)]
async fn a_document_without_usable_keys_keeps_the_old_ones() {
    let bench = Bench::with_keys(&["a"]).await;
    let encryption = json!({"keys": [P256.jwk_with(Algorithm::ES256, json!({"kid": "a", "use": "enc"}))]});
    let large = format!("{}{}", key_set(&["b"]), " ".repeat(1 << 20));
    for behaviour in [
        Behaviour::Says(StatusCode::OK, json!({"keys": []}).to_string()),
        Behaviour::Says(StatusCode::OK, encryption.to_string()),
        Behaviour::Says(StatusCode::OK, "<html>".to_owned()),
        Behaviour::Says(StatusCode::OK, large),
        Behaviour::Says(StatusCode::INTERNAL_SERVER_ERROR, key_set(&["b"]).to_string()),
        Behaviour::Says(StatusCode::FOUND, key_set(&["b"]).to_string()),
        Behaviour::Says(StatusCode::CREATED, key_set(&["b"]).to_string()),
    ] {
        bench.issuer.behaves(URL, behaviour.clone());
        seconds(12).await;
        let errors = bench.store.refreshes().errors();
        assert_eq!(bench.store.ask(Some("b")).await, Err(Unavailable), "{behaviour:?}");
        assert_eq!(bench.store.refreshes().errors(), errors + 1);
        assert!(bench.knows("a") && !bench.knows("b"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_is_unavailable_not_unknown_while_nobody_can_tell() {
    let bench = Bench::with_keys(&["a"]).await;
    seconds(5).await;
    bench.issuer.behaves(URL, Behaviour::Refuses);
    assert_eq!(bench.store.ask(Some("b")).await, Err(Unavailable));
    // Within the cool-down as well: nobody was told that the key does not exist.
    assert_eq!(bench.store.ask(Some("b")).await, Err(Unavailable));
    assert_eq!(bench.store.ask(Some("a")).await, Ok(()));
    bench.issuer.says(URL, &key_set(&["a"]));
    seconds(2).await;
    // The background reading succeeded in the meantime, and did not bring it.
    assert_eq!(bench.store.ask(Some("b")).await, Ok(()));
    assert!(!bench.knows("b"));
}

#[tokio::test(start_paused = true)]
async fn without_keys_a_question_causes_a_reading_at_once() {
    let bench = Bench::new(Source::Jwks(URL.to_owned()), Issuer::new());
    seconds(40).await;
    bench.issuer.says(URL, &key_set(&["a"]));
    let asked = Instant::now();
    assert_eq!(bench.store.ask(Some("a")).await, Ok(()));
    assert!(asked.elapsed() < Duration::from_millis(1010), "{:?}", asked.elapsed());
    assert!(bench.knows("a"));
}

#[tokio::test(start_paused = true)]
async fn a_question_waits_two_seconds_at_most() {
    let issuer = Issuer::new();
    issuer.behaves(URL, Behaviour::Hangs);
    let bench = Bench::new(Source::Jwks(URL.to_owned()), issuer);
    seconds(1).await;
    let asked = Instant::now();
    assert_eq!(bench.store.ask(Some("a")).await, Err(Unavailable));
    assert_eq!(asked.elapsed().as_secs(), ASK_TIMEOUT.as_secs());
    // A reading that hangs is given up, and the next one finds the keys.
    bench.issuer.says(URL, &key_set(&["a"]));
    seconds(30).await;
    assert!(bench.knows("a"));
}

#[tokio::test(start_paused = true)]
async fn too_many_questions_are_answered_at_once() {
    let bench = Bench::with_keys(&["a"]).await;
    seconds(5).await;
    bench.issuer.behaves(URL, Behaviour::Hangs);
    for number in 0..MAX_ASKS {
        let store = Arc::clone(&bench.store);
        drop(tokio::spawn(async move { store.ask(Some(&format!("{}", number % 7))).await }));
    }
    pass(100).await;
    let asked = Instant::now();
    assert_eq!(bench.store.ask(Some("b")).await, Err(Unavailable));
    assert!(asked.elapsed() < Duration::from_millis(10));
    assert_eq!(bench.store.ask(Some("a")).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_store_without_its_actor_is_unavailable_and_an_actor_ends_with_its_store() {
    let bench = Bench::with_keys(&["a"]).await;
    bench.actor.abort();
    pass(1).await;
    let asked = Instant::now();
    assert_eq!(bench.store.ask(Some("b")).await, Err(Unavailable));
    assert!(asked.elapsed() < Duration::from_millis(10));
    assert!(bench.knows("a"));
    let Bench { store, actor, .. } = Bench::with_keys(&["a"]).await;
    drop(store);
    timeout(Duration::from_secs(1), actor).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_set_that_did_not_change_stays_the_same_one() {
    let bench = Bench::with_keys(&["a", "b"]).await;
    let before = bench.store.current(bench.clock.now()).unwrap();
    bench.issuer.says(URL, &key_set(&["b", "a"]));
    seconds(310).await;
    let same = bench.store.current(bench.clock.now()).unwrap();
    assert!(std::ptr::eq(&raw const *before, &raw const *same));
    bench
        .issuer
        .says(URL, &json!({"keys": [RSA.jwk_with(Algorithm::RS256, json!({"kid": "a"})), {"kty": "oct"}]}));
    seconds(310).await;
    let changed = bench.store.current(bench.clock.now()).unwrap();
    assert_ne!(before.generation(), changed.generation());
    assert_eq!(bench.store.refreshes().ignored_keys(), 1);
    assert_eq!(bench.store.refreshes().successes(), 3);
}
