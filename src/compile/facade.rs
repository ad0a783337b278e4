//! `[facade]` → who may ask it, and with what it answers.

use super::identity::is_established;
use super::judges;
use crate::authn::Authenticator;
use crate::config::Config;
use crate::config::problem::{KeyPath, Problems};
use crate::generation::{FacadeRules, Member};
use std::net::SocketAddr;
use std::sync::Arc;

/// What is wrong with the table; and the authenticators that its tokens are judged by.
pub(super) fn check(config: &Config, problems: &mut Problems) -> Option<Arc<[usize]>> {
    let facade = config.facade.as_ref()?;
    let at = KeyPath::root("facade");
    match facade.listen.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => {}
        Ok(_) | Err(_) => {
            let message = format!("{:?} is not a loopback address and a port", facade.listen);
            problems.error(
                at.key("listen"),
                message,
                "write \"127.0.0.1:9091\": whoever can connect there is believed to be the service",
            );
        }
    }
    let others = config.server.listen.iter().chain([&config.admin.listen]);
    if !facade.listen.ends_with(":0") && others.into_iter().any(|other| *other == facade.listen) {
        let message = format!("{:?} is the address of [server] or [admin] as well", facade.listen);
        problems.error(at.key("listen"), message, "give the facade a port of its own");
    }
    for (member, source) in &facade.validate {
        let at = at.key("validate").key(member);
        if member == "valid" {
            problems.error(at, "`valid` is always there", "choose another name for the member");
        } else if !is_established(source.attribute(), &config.authenticators) {
            let message = format!("no authenticator establishes the attribute {:?}", source.attribute());
            let hint =
                format!("add it to an authenticator's claims, e.g. claims.{} = \"sub\"", source.attribute());
            problems.warning(at, message, hint);
        }
    }
    let names = facade.authenticators.as_ref().or(config.policy.authenticators.as_ref());
    let Some(names) = names else { return Some((0..config.authenticators.len()).collect()) };
    Some(judges::places(names, config, &at.key("authenticators"), problems))
}

pub(super) fn rules(
    config: &Config,
    tried: &[usize],
    authenticators: &[Arc<Authenticator>],
) -> Option<FacadeRules> {
    let facade = config.facade.as_ref()?;
    let member = |(name, source): (&String, &crate::config::identity::HeaderSource)| Member {
        name: name.clone(),
        attribute: source.attribute().to_owned(),
        optional: source.optional(),
    };
    let lookup = judges::lookup(tried, authenticators);
    Some(FacadeRules { lookup, validate: facade.validate.iter().map(member).collect() })
}
