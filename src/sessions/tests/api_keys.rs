//! Sessions that rest on an entry of a key file.

use super::{START, Session, Sessions};
use crate::authn::api_key::KeyFile;
use crate::authn::cache::Bounds;
use crate::authn::credential::Places;
use crate::authn::{Authenticator, Kind};
use crate::clock::UnixTime;
use crate::denial::Reason;
use crate::headers::trusted::IdentityHeaders;
use crate::telemetry::tally::Tally;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// START is 2023-11-14T22:13:20Z; this key ("sb_key") ends a minute later, and is for one network.
const ENTRY: &str = "[[keys]]\nid = \"a\"\nexpires = 2023-11-14T22:14:20Z\nallowed_ips = [\"10.0.0.0/8\"]\n\
    sha256 = \"4a8acf3e9abb54d4e6b09d3d882cd0bdd5c45c4ebca6f107daa3a9ac93a6f0ba\"\n";

fn sessions() -> (Sessions, Arc<Tally>) {
    let path = std::env::temp_dir().join(format!(
        "sidegate-sessions-{}-{:?}.toml",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::write(&path, ENTRY).unwrap();
    let file = KeyFile::open("keys", path.clone()).unwrap();
    std::fs::remove_file(path).unwrap();
    let authenticator = Arc::new(Authenticator {
        name: "keys".into(),
        places: Arc::new(Places::new(&[]).unwrap()),
        strip_credential: false,
        kind: Kind::ApiKey(Arc::new(file)),
    });
    let bounds = Bounds { signatures: NonZeroU32::MIN, bytes: 1 << 20 };
    let tally = Arc::<Tally>::default();
    let headers = Arc::new(IdentityHeaders(Vec::new()));
    (Sessions::new(&[authenticator], headers, bounds, Arc::clone(&tally)), tally)
}

async fn ask(sessions: &Sessions, seconds: u64, client: &str) -> Result<Rc<Session>, Reason> {
    let now = UnixTime::from_seconds(START).plus(Duration::from_secs(seconds));
    let client: IpAddr = client.parse().unwrap();
    sessions.authenticate(&[0], "sb_key", now, Some(client)).await.map_err(|(_, denial)| denial.reason())
}

#[tokio::test]
async fn a_key_that_is_known_ends_when_it_ends() {
    let (sessions, tally) = sessions();
    let first = ask(&sessions, 0, "10.0.0.1").await.unwrap();
    assert_eq!((&*first.subject, first.ends), ("a", UnixTime::from_seconds(START + 60)));
    assert!(Rc::ptr_eq(&first, &ask(&sessions, 59, "10.0.0.1").await.unwrap()));
    for seconds in [60, 61, 100_000] {
        assert_eq!(ask(&sessions, seconds, "10.0.0.1").await.unwrap_err(), Reason::ApiKeyExpired);
    }
    assert_eq!((tally.cache_hits.value(), tally.cache_misses.value()), (1, 4));
}

#[tokio::test]
async fn an_address_is_judged_anew_for_a_key_that_is_known() {
    let (sessions, tally) = sessions();
    for client in ["10.0.0.1", "192.0.2.1", "::ffff:10.0.0.1", "::1"] {
        let expected = if client.contains("10.") { None } else { Some(Reason::ApiKeyAddress) };
        assert_eq!(ask(&sessions, 0, client).await.err(), expected, "{client}");
    }
    assert_eq!(tally.cache_hits.value(), 3);
    let figures = tally.authenticator_figures();
    assert_eq!(figures, [("keys".into(), 2, 2)], "who was turned away for the address is no success");
}
