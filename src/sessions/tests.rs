use super::{Session, Sessions};
use crate::authn::algorithm::ASYMMETRIC;
use crate::authn::cache::Bounds;
use crate::authn::credential::Places;
use crate::authn::jwt::Jwt;
use crate::authn::keys::{KeyStore, Settings, Source};
use crate::authn::testing::{OTHER_RSA, RSA, Signer, config, with};
use crate::authn::{Authenticator, Kind};
use crate::clock::{Clock, UnixTime};
use crate::config::authenticator::Algorithm;
use crate::config::problem::KeyPath;
use crate::denial::Reason;
use crate::headers::trusted::{Content, IdentityHeader, IdentityHeaders};
use crate::outbound::{Answer, HttpClient, HttpError};
use crate::telemetry::tally::Tally;
use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Value, json};
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const START: u64 = 1_700_000_000;

/// Answers every request with these keys, or with nothing.
#[derive(Debug, Default)]
struct Issuer(Mutex<Option<Value>>);

impl Issuer {
    fn says(&self, keys: &[Value]) {
        *self.0.lock().unwrap() = Some(json!({"keys": keys}));
    }
}

impl HttpClient for Issuer {
    fn send(&self, _: Request<Bytes>, _: Duration) -> Answer<'_> {
        let document = self.0.lock().unwrap().as_ref().map(Value::to_string);
        Box::pin(async move {
            document
                .map(|document| Response::new(Bytes::from(document)))
                .ok_or(HttpError::Connect("refused".to_owned()))
        })
    }
}

/// Wall time that goes with the paused time of the runtime.
#[derive(Debug)]
struct RuntimeClock(Instant);

impl Clock for RuntimeClock {
    fn now(&self) -> UnixTime {
        UnixTime::from_seconds(START).plus(self.0.elapsed())
    }
}

fn jwk(signer: &Signer, kid: &str) -> Value {
    signer.jwk_with(Algorithm::RS256, json!({"kid": kid}))
}

fn claims() -> Value {
    json!({"iss": "https://a.example/", "aud": "api", "sub": "u", "exp": START + 5000, "scope": "a b"})
}

fn mint(changes: Value) -> String {
    RSA.mint(Algorithm::RS256, &with(claims(), changes))
}

/// A token whose signature is that of another.
fn forged() -> String {
    let (good, other) = (mint(json!({"sub": "admin"})), mint(json!({})));
    format!("{}.{}", good.rsplit_once('.').unwrap().0, other.rsplit_once('.').unwrap().1)
}

struct Bench {
    issuer: Arc<Issuer>,
    clock: Arc<RuntimeClock>,
    tally: Arc<Tally>,
    sessions: Sessions,
    all: Vec<usize>,
}

impl Bench {
    /// Authenticators of these configurations, whose issuer has published the key "k".
    async fn new(configurations: &[&str], bytes: u64) -> Self {
        let (issuer, clock) = (Arc::new(Issuer::default()), Arc::new(RuntimeClock(Instant::now())));
        issuer.says(&[jwk(&RSA, "k")]);
        let authenticators: Vec<_> =
            configurations.iter().map(|text| authenticator(text, &issuer, &clock)).collect();
        sleep(Duration::from_millis(10)).await;
        let header = IdentityHeader {
            name: "x-user".parse().unwrap(),
            content: Content::named("subject"),
            optional: false,
            entitled: false,
        };
        let headers = Arc::new(IdentityHeaders(vec![header]));
        let (tally, bounds) = (Arc::default(), Bounds { signatures: NonZeroU32::new(100).unwrap(), bytes });
        let sessions = Sessions::new(&authenticators, headers, bounds, Arc::clone(&tally));
        Self { issuer, clock, tally, sessions, all: (0..configurations.len()).collect() }
    }

    async fn one(bytes: u64) -> Self {
        Self::new(&[ONE], bytes).await
    }

    async fn session(&self, token: &str) -> Result<Rc<Session>, (usize, Reason)> {
        let judged = self.sessions.authenticate(&self.all, token, self.clock.now(), None).await;
        judged.map_err(|(place, denial)| (place, denial.reason()))
    }

    async fn reason(&self, token: &str) -> Reason {
        self.session(token).await.map_or_else(|(_, reason)| reason, |_| Reason::Allowed)
    }

    fn lookups(&self) -> (u64, u64) {
        (self.tally.cache_hits.value(), self.tally.cache_misses.value())
    }

    fn results(&self) -> (u64, u64) {
        let figures = self.tally.authenticator_figures();
        let sum = |of: fn(&(Arc<str>, u64, u64)) -> u64| figures.iter().map(of).sum();
        (sum(|(_, success, _)| *success), sum(|(_, _, error)| *error))
    }
}

const ONE: &str = "issuer = 'https://a.example/'\naudience = 'api'\njwks_url = 'https://a.example/jwks'";

fn authenticator(text: &str, issuer: &Arc<Issuer>, clock: &Arc<RuntimeClock>) -> Arc<Authenticator> {
    let settings = Settings {
        name: "auth".into(),
        source: Source::from_config(&config(text), |_| None).unwrap(),
        algorithms: ASYMMETRIC.to_vec(),
        refresh: Duration::from_secs(60),
        max_stale: Duration::from_secs(3600),
    };
    let (keys, refresher) = KeyStore::open(settings, None, issuer.clone(), clock.clone());
    tokio::spawn(refresher.run());
    let jwt = Jwt::new("auth", &config(text), &KeyPath::root("authenticators")).unwrap();
    Arc::new(Authenticator {
        name: "auth".into(),
        places: Arc::new(Places::new(&[]).unwrap()),
        strip_credential: false,
        kind: Kind::Jwt { jwt: Box::new(jwt), keys },
    })
}

#[tokio::test(start_paused = true)]
async fn a_token_is_judged_once_and_known_after_that() {
    let bench = Bench::one(1 << 20).await;
    let token = mint(json!({}));
    let session = bench.session(&token).await.unwrap();
    assert_eq!(&*session.subject, "u");
    assert!(session.identity.set_contains("scopes", "b"));
    assert_eq!(session.headers.iter().count(), 1);
    let again = bench.session(&token).await.unwrap();
    assert!(!Rc::ptr_eq(&session, &again), "most tokens of a flood come once");
    assert!(Rc::ptr_eq(&again, &bench.session(&token).await.unwrap()));
    assert_eq!((bench.lookups(), bench.results()), ((2, 1), (3, 0)));
    sleep(Duration::from_secs(5000)).await;
    assert!(bench.session(&token).await.is_ok(), "the leeway");
    sleep(Duration::from_secs(60)).await;
    assert_eq!(bench.reason(&token).await, Reason::TokenExpired);
}

#[tokio::test(start_paused = true)]
async fn of_a_token_whose_session_had_to_go_all_but_the_signature_is_judged_again() {
    let bench = Bench::one(0).await;
    let token = mint(json!({}));
    for _ in 0..3 {
        assert_eq!(bench.reason(&token).await, Reason::Allowed);
    }
    assert_eq!((bench.lookups(), bench.results()), ((2, 1), (3, 0)));
    assert_eq!(bench.reason(&forged()).await, Reason::TokenSignature);
    bench.issuer.says(&[jwk(&OTHER_RSA, "k"), jwk(&RSA, "other")]);
    sleep(Duration::from_secs(61)).await;
    assert_eq!(bench.reason(&token).await, Reason::TokenSignature, "the id is another key's by now");
    bench.issuer.says(&[jwk(&OTHER_RSA, "other")]);
    sleep(Duration::from_secs(61)).await;
    assert_eq!(bench.reason(&token).await, Reason::TokenKeyUnknown);
    bench.issuer.says(&[jwk(&OTHER_RSA, "k"), jwk(&RSA, "k")]);
    sleep(Duration::from_secs(61)).await;
    assert_eq!(bench.reason(&token).await, Reason::Allowed, "two keys of one id");
    sleep(Duration::from_secs(5000)).await;
    assert_eq!(bench.reason(&token).await, Reason::TokenExpired);
}

#[tokio::test(start_paused = true)]
async fn a_bad_signature_stays_bad_until_the_key_is_another_one() {
    let bench = Bench::one(1 << 20).await;
    let token = OTHER_RSA.mint(Algorithm::RS256, &claims());
    for _ in 0..3 {
        assert_eq!(bench.reason(&token).await, Reason::TokenSignature);
    }
    assert_eq!(bench.reason(&mint(json!({}))).await, Reason::Allowed);
    bench.issuer.says(&[jwk(&OTHER_RSA, "k")]);
    sleep(Duration::from_secs(61)).await;
    assert_eq!(bench.reason(&token).await, Reason::Allowed);
    assert_eq!(bench.reason(&mint(json!({}))).await, Reason::TokenSignature);
    bench.issuer.says(&[jwk(&RSA, "k"), jwk(&OTHER_RSA, "k")]);
    sleep(Duration::from_secs(61)).await;
    for token in [token, mint(json!({}))] {
        assert_eq!(bench.reason(&token).await, Reason::Allowed);
    }
    for _ in 0..3 {
        assert_eq!(bench.reason(&forged()).await, Reason::TokenSignature);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_with_its_key() {
    let bench = Bench::one(1 << 20).await;
    let token = mint(json!({}));
    assert_eq!(bench.reason(&token).await, Reason::Allowed);
    bench.issuer.says(&[jwk(&RSA, "k"), jwk(&OTHER_RSA, "new")]);
    sleep(Duration::from_secs(61)).await;
    assert_eq!(bench.reason(&token).await, Reason::Allowed);
    assert_eq!(bench.lookups(), (1, 1), "its key is still there");
    bench.issuer.says(&[jwk(&OTHER_RSA, "new")]);
    sleep(Duration::from_secs(61)).await;
    assert_eq!(bench.reason(&token).await, Reason::TokenKeyUnknown);
    *bench.issuer.0.lock().unwrap() = None;
    sleep(Duration::from_secs(4000)).await;
    assert_eq!(bench.reason(&token).await, Reason::AuthorityUnavailable);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_not_remembered_and_drives_out_nothing() {
    let bench = Bench::one(16 << 10).await;
    let good = mint(json!({}));
    assert_eq!(bench.reason(&good).await, Reason::Allowed);
    let expired = mint(json!({"exp": START - 3600}));
    let forged = forged();
    for number in 0..200 {
        assert_eq!(bench.reason(&forged).await, Reason::TokenSignature);
        assert_eq!(bench.reason(&expired).await, Reason::TokenExpired);
        assert_eq!(bench.reason(&format!("{number}")).await, Reason::TokenMalformed);
    }
    let (hits, _) = bench.lookups();
    assert_eq!(bench.reason(&good).await, Reason::Allowed);
    assert_eq!(bench.lookups().0, hits + 1);
    assert_eq!(bench.results(), (2, 600));
}

#[tokio::test(start_paused = true)]
async fn whoever_would_judge_a_token_is_whose_session_it_finds() {
    let a_other = ONE.replace("'api'", "'other'");
    let b = ONE.replace("issuer = 'https://a", "issuer = 'https://b");
    for bytes in [0, 1 << 20] {
        let bench = Bench::new(&[ONE, &a_other, &b], bytes).await;
        for _ in 0..2 {
            for (changes, place) in [
                (json!({}), Ok(0)),
                (json!({"aud": ["x", "other"]}), Ok(1)),
                (json!({"iss": "https://b.example/"}), Ok(2)),
                (json!({"aud": "x"}), Err((0, Reason::TokenAudience))),
                (json!({"aud": null}), Err((0, Reason::TokenClaim))),
                (json!({"iss": "https://c.example/"}), Err((0, Reason::TokenIssuer))),
                (json!({"iss": null}), Err((0, Reason::TokenClaim))),
            ] {
                let found = bench.session(&mint(changes.clone())).await.map(|session| session.authenticator);
                assert_eq!(found, place, "{changes}");
            }
        }
        assert_eq!(bench.lookups().0, 3, "at the second time, with a session in the cache or without");
        let both = mint(json!({"aud": ["api", "other"]}));
        for (candidates, place) in [([0, 1], 0), ([1, 0], 1), ([0, 1], 0)] {
            let now = bench.clock.now();
            let session = bench.sessions.authenticate(&candidates, &both, now, None).await.unwrap();
            assert_eq!(session.authenticator, place, "{candidates:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn keys_are_asked_for_when_there_are_none_and_when_one_is_new() {
    let bench = Bench::one(1 << 20).await;
    let token = RSA.sign(Algorithm::RS256, &json!({"alg": "RS256", "kid": "new"}), &claims());
    assert_eq!(bench.reason(&token).await, Reason::TokenKeyUnknown);
    sleep(Duration::from_secs(20)).await;
    bench.issuer.says(&[jwk(&RSA, "new")]);
    assert_eq!(bench.reason(&token).await, Reason::Allowed);
    *bench.issuer.0.lock().unwrap() = None;
    let unknown = RSA.sign(Algorithm::RS256, &json!({"alg": "RS256", "kid": "unknown"}), &claims());
    sleep(Duration::from_secs(20)).await;
    assert_eq!(bench.reason(&unknown).await, Reason::AuthorityUnavailable);
    sleep(Duration::from_secs(4000)).await;
    assert_eq!(bench.reason(&token).await, Reason::AuthorityUnavailable);
    bench.issuer.says(&[jwk(&RSA, "new")]);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(bench.reason(&token).await, Reason::Allowed);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_sends_any_more_is_forgotten() {
    let bench = Bench::one(1 << 20).await;
    let token = mint(json!({}));
    assert_eq!(bench.reason(&token).await, Reason::Allowed);
    for _ in 0..10 {
        sleep(Duration::from_secs(20)).await;
        bench.sessions.purge(bench.clock.now());
    }
    assert_eq!(bench.reason(&token).await, Reason::Allowed);
    assert_eq!(bench.lookups(), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_session_is_weighed_as_it_is() {
    let bench = Bench::one(1 << 20).await;
    let few = bench.session(&mint(json!({}))).await.unwrap().weight();
    let many = bench.session(&mint(json!({"scope": "s".repeat(5000)}))).await.unwrap().weight();
    assert!((300..1500).contains(&few), "{few}");
    assert!((4900..5100).contains(&(many - few)), "{few} {many}");
}

mod api_keys;
