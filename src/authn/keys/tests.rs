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

fn discovery(issuer: &str, jwks_uri: &str) -> Value {
    json!({"issuer": issuer, "jwks_uri": jwks_uri, "authorization_endpoint": "https://issuer.example/auth"})
}

/// Whether an issuer's keys are read when its discovery document is this one.
async fn discovers(issuer: &str, at: &str, document: &Value) -> bool {
    let fake = Issuer::new();
    fake.says(at, document);
    for url in [URL, "http://issuer.example/jwks", "https://keys.example/jwks"] {
        fake.says(url, &key_set(&["a"]));
    }
    let bench = Bench::new(Source::Discovery(issuer.to_owned()), fake);
    pass(10).await;
    bench.has_keys()
}

#[tokio::test(start_paused = true)]
async fn discovery_believes_nobody_but_the_issuer() {
    let at = "https://issuer.example/.well-known/openid-configuration";
    let (plain, slash) = ("https://issuer.example", "https://issuer.example/");
    for (issuer, document, good) in [
        (plain, discovery(plain, URL), true),
        (slash, discovery(slash, URL), true),
        (plain, discovery(plain, "https://keys.example/jwks"), true),
        (plain, discovery(slash, URL), false),
        (slash, discovery(plain, URL), false),
        (plain, discovery("https://evil.example", URL), false),
        (plain, discovery("https://Issuer.example", URL), false),
        (plain, discovery(plain, "http://issuer.example/jwks"), false),
        (plain, discovery(plain, "file:///jwks"), false),
        (plain, discovery(plain, "/jwks"), false),
        (plain, json!({"issuer": plain}), false),
        (plain, json!({"issuer": [plain], "jwks_uri": URL}), false),
        (plain, json!({"jwks_uri": URL}), false),
        (plain, json!([]), false),
    ] {
        assert_eq!(discovers(issuer, at, &document).await, good, "{issuer} {document}");
    }
    let insecure = "http://issuer.example/realms/a";
    let at = "http://issuer.example/realms/a/.well-known/openid-configuration";
    assert!(discovers(insecure, at, &discovery(insecure, "http://issuer.example/jwks")).await);
}

#[tokio::test(start_paused = true)]
async fn who_waits_does_not_wait_for_discovery() {
    let at = "https://issuer.example/.well-known/openid-configuration";
    let issuer = Issuer::new();
    issuer.says(at, &discovery("https://issuer.example", URL));
    issuer.says(URL, &key_set(&["a"]));
    let bench = Bench::new(Source::Discovery("https://issuer.example".to_owned()), issuer);
    seconds(2).await;
    assert!(bench.knows("a"));
    assert_eq!(bench.store.ask(Some("b")).await, Ok(()));
    assert_eq!(bench.issuer.urls(), [at, URL, URL]);
    // The issuer moves its keys: the old address fails once, then discovery names the new one.
    bench.issuer.behaves(URL, Behaviour::Says(StatusCode::NOT_FOUND, String::new()));
    bench.issuer.says(at, &discovery("https://issuer.example", "https://keys.example/jwks"));
    bench.issuer.says("https://keys.example/jwks", &key_set(&["a", "c"]));
    seconds(2).await;
    assert_eq!(bench.store.ask(Some("c")).await, Err(Unavailable));
    seconds(2).await;
    assert!(bench.knows("c"));
    assert_eq!(bench.issuer.urls()[3..], [URL, at, "https://keys.example/jwks"]);
}

/// A file that is gone after the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(content: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("sidegate-{}", uuid::Uuid::now_v7()));
        std::fs::write(&path, content).unwrap();
        Self(path)
    }

    fn write(&self, content: &[u8]) {
        std::fs::write(&self.0, content).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_is_read_again() {
    let file = Scratch::new(key_set(&["a"]).to_string().as_bytes());
    let bench = Bench::new(Source::JwksFile(file.0.clone()), Issuer::new());
    seconds(2).await;
    assert!(bench.knows("a"));
    file.write(key_set(&["b"]).to_string().as_bytes());
    assert_eq!(bench.store.ask(Some("b")).await, Ok(()));
    assert!(bench.knows("b"));
    file.write(key_set(&["c"]).to_string().as_bytes());
    seconds(310).await;
    assert!(bench.knows("c"));
    file.write(b"half a file");
    seconds(310).await;
    assert!(bench.knows("c"));
}

#[test]
fn local_sources_are_read_at_start() {
    let pem = Scratch::new(RSA.public.as_bytes());
    let read = Source::PublicKeyFile(pem.0.clone()).read(&ASYMMETRIC).unwrap().unwrap();
    assert_eq!(read.set.len(), 1);
    pem.write(RSA.private.as_bytes());
    let error = Source::PublicKeyFile(pem.0.clone()).read(&ASYMMETRIC).unwrap().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the key cannot be used: this is a private key; sidegate needs only the public half"
    );
    pem.write(&vec![b' '; (1 << 20) + 1]);
    assert!(matches!(Source::PublicKeyFile(pem.0.clone()).read(&ASYMMETRIC), Some(Err(LoadError::File(..)))));
    assert!(matches!(Source::JwksFile(pem.0.clone()).read(&ASYMMETRIC), Some(Err(LoadError::File(..)))));
    pem.write(json!({"keys": [OTHER_RSA.jwk(Algorithm::RS256)]}).to_string().as_bytes());
    assert!(Source::JwksFile(pem.0.clone()).read(&ASYMMETRIC).unwrap().is_ok());
    let missing = Source::JwksFile("/nonexistent/keys.json".into()).read(&ASYMMETRIC).unwrap().unwrap_err();
    assert!(missing.to_string().starts_with("cannot read /nonexistent/keys.json: "));
    assert!(Source::Jwks(URL.to_owned()).read(&ASYMMETRIC).is_none());
    assert!(Source::Discovery(URL.to_owned()).read(&ASYMMETRIC).is_none());
}

#[test]
fn one_final_newline_of_a_secret_is_dropped() {
    let hs = [Algorithm::HS256];
    let file = Scratch::new(b"");
    let key = |content: &str| {
        file.write(content.as_bytes());
        Source::SecretFile(file.0.clone()).read(&hs).unwrap().map(|loaded| loaded.set)
    };
    let plain = Source::Secret(Secret::new(SECRET.into())).read(&hs).unwrap().unwrap().set;
    for same in [SECRET.to_owned(), format!("{SECRET}\n"), format!("{SECRET}\r\n")] {
        assert!(plain.is_same(&key(&same).unwrap()), "{same:?}");
    }
    for other in
        [format!("{SECRET}\n\n"), format!("{SECRET}\r"), format!(" {SECRET}"), format!("{SECRET} \n")]
    {
        assert!(!plain.is_same(&key(&other).unwrap()), "{other:?}");
    }
    assert!(key(&format!("{}\n", "x".repeat(31))).is_err());
    assert!(key(&"x".repeat(32)).is_ok());
    assert!(Source::Secret(Secret::new(vec![b'x'; 31])).read(&hs).unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_secret_never_changes_and_never_gets_stale() {
    let settings = Settings {
        name: "auth".into(),
        source: Source::Secret(Secret::new(SECRET.into())),
        algorithms: vec![Algorithm::HS256],
        refresh: Duration::from_secs(300),
        max_stale: Duration::from_secs(1),
    };
    let initial = settings.source.read(&settings.algorithms).unwrap().unwrap();
    let clock = Arc::new(RuntimeClock(Instant::now()));
    let (store, refresher) = KeyStore::open(settings, Some(initial), Issuer::new(), clock.clone());
    assert!(store.has_had_keys());
    refresher.run().await;
    advance(Duration::from_secs(1_000_000)).await;
    assert!(store.current(clock.now()).is_some());
    assert_eq!(store.ask(Some("x")).await, Ok(()));
}

#[test]
fn a_configuration_names_one_source() {
    let environment = |name: &str| (name == "SET").then(|| SECRET.to_owned());
    let source =
        |text: &str| Source::from_config(&config(text), environment).map(|source| format!("{source:?}"));
    for (text, expected) in [
        ("issuer = ['https://a', 'https://b']", r#"Discovery("https://a")"#),
        ("issuer = 'https://a'\njwks_url = 'https://b'", r#"Jwks("https://b")"#),
        ("jwks_file = 'f'", r#"JwksFile("f")"#),
        ("public_key_file = 'f'", r#"PublicKeyFile("f")"#),
        ("secret_file = 'f'", r#"SecretFile("f")"#),
        ("secret_env = 'SET'", "Secret(Secret(redacted))"),
    ] {
        assert_eq!(source(text).unwrap(), expected);
    }
    assert_eq!(source("secret_env = 'UNSET'"), Err(SourceError::Unset("UNSET".to_owned())));
    assert_eq!(source("audience = 'a'"), Err(SourceError::None));
    assert_eq!(
        source("jwks_url = 'https://b'\nsecret_env = 'SET'"),
        Err(SourceError::Several(vec!["jwks_url", "secret_env"]))
    );
}
