//! Keys from files and secrets.

use super::*;

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
