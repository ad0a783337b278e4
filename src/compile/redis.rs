//! `[redis]` → a connection that workers and control tasks share.

use super::World;
use super::secrets::Sources;
use crate::config::Config;
use crate::config::problem::{KeyPath, Problems};
use crate::config::redis::Redis as Written;
use crate::pem;
use crate::redis::{Address, AddressError, Redis, Settings};
use crate::standing::{Fingerprint, Kept};
use zeroize::Zeroizing;

const URL_HINT: &str = "write \"redis://host:6379/0\", \"rediss://host:6379/0\" (TLS) or \"unix:///path\"";

/// A connection that is not made yet.
pub(super) struct Draft {
    settings: Settings,
    made_of: Fingerprint,
}

pub(super) fn draft(config: &Config, world: &World, problems: &mut Problems) -> Option<Draft> {
    let written = config.redis.as_ref()?;
    let at = KeyPath::root("redis");
    let authorities = match &written.ca_file {
        None => Some(None),
        Some(path) => {
            world.making.depends_on(path);
            let read = pem::authorities(path).map_err(|error| error.to_string());
            let read = read.and_then(|_| std::fs::read(path).map_err(|error| error.to_string()));
            read.map(Some).map_err(|why| problems.error(at.key("ca_file"), why, pem::HINT)).ok()
        }
    };
    let (key, url) = url(written, &at, world, problems)?;
    let authorities = authorities?;
    let made_of =
        Fingerprint::of(written).and(url.as_bytes()).and(authorities.as_deref().unwrap_or_default());
    let address = Address::parse(&url, authorities);
    let address = address.map_err(|error| {
        let (at, hint) = match error {
            AddressError::Url => (at.key(key), URL_HINT),
            AddressError::Insecure => (at.key(key), "remove it, and name the authority in ca_file"),
            AddressError::Plain => (at.key("ca_file"), "write rediss:// in the URL, or remove ca_file"),
            AddressError::Authorities => (at.key("ca_file"), pem::HINT),
        };
        problems.error(at, error.to_string(), hint);
    });
    let address = address.ok()?;
    if key == "url" && address.has_password() {
        problems.error(
            at.key("url"),
            "the password stands in the file",
            "put the whole URL into an environment variable or a file, and name it in url_env or url_file",
        );
        return None;
    }
    let (connect_timeout, timeout) = (written.connect_timeout.0, written.timeout.0);
    let settings = Settings { address, connect_timeout, timeout, prefix: written.prefix.as_str().into() };
    Some(Draft { settings, made_of })
}

impl Draft {
    /// Makes it, or hands on the one that there was.
    pub(super) fn open(self, world: &World) -> Kept<Redis> {
        let make = || {
            let (redis, running) = Redis::open(self.settings);
            (redis, Some(running))
        };
        world.making.keep_always("redis", self.made_of, make)
    }
}

/// The URL, and the key that it comes from.
fn url(
    written: &Written,
    at: &KeyPath,
    world: &World,
    problems: &mut Problems,
) -> Option<(&'static str, Zeroizing<String>)> {
    let sources =
        Sources { name: "url", variable: written.url_env.as_deref(), file: written.url_file.as_deref() };
    let elsewhere = written.url_env.is_some() || written.url_file.is_some();
    let key = match (&written.url, elsewhere) {
        (Some(_), true) => {
            let hint = "keep exactly one of url, url_env and url_file";
            problems.error(at.key("url"), "there is more than one URL", hint);
            return None;
        }
        (Some(url), false) => return Some(("url", Zeroizing::new(url.clone()))),
        (None, _) if written.url_file.is_some() => "url_file",
        (None, _) => "url_env",
    };
    let secret = sources.required(at, world, problems)?;
    let text = String::from_utf8(secret.expose().to_vec());
    let text = text.map_err(|_| problems.error(at.key(key), AddressError::Url.to_string(), URL_HINT));
    Some((key, Zeroizing::new(text.ok()?)))
}
