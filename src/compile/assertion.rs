//! `[identity.assertion]` → what signs assertions.

use super::World;
use crate::assertion::claims::Settings;
use crate::assertion::key::{HINT, SigningKeyError};
use crate::assertion::{Assertions, Follower};
use crate::config::Config;
use crate::config::problem::{KeyPath, Problems};
use crate::standing::{Fingerprint, Running};
use http::header::HeaderName;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

/// The permission of everybody to read a file.
const READABLE_BY_ALL: u32 = 0o004;

pub(super) fn compile(
    config: &Config,
    header: Option<HeaderName>,
    world: &World,
    problems: &mut Problems,
) -> Option<Arc<Assertions>> {
    let written = config.identity.assertion.as_ref()?;
    let at = KeyPath::root("identity").key("assertion").key("key_file");
    let settings = Settings {
        // What is wrong with the header is said already, and the key is looked at all the same.
        header: header.unwrap_or(HeaderName::from_static("x-identity-assertion")),
        issuer: written.issuer.clone(),
        audience: written.audience.clone(),
        ttl: written.ttl.0,
    };
    let make = || -> Result<_, SigningKeyError> {
        let follower = Follower::new(settings, &written.key_file, Arc::clone(&world.clock))?;
        let assertions = Arc::clone(follower.assertions());
        let running: Running = Box::pin(follower.run());
        Ok((assertions, Some(running)))
    };
    match world.making.keep("identity.assertion", Fingerprint::of(written), make) {
        Ok(kept) => {
            if is_readable_by_all(&written.key_file) {
                let hint = "chmod 600, and let it belong to whom sidegate runs as";
                problems.warning(at, "everybody on this machine can read the key", hint);
            }
            Some(kept.value)
        }
        Err(error) => {
            problems.error(at, error.to_string(), HINT);
            None
        }
    }
}

fn is_readable_by_all(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & READABLE_BY_ALL != 0)
}
