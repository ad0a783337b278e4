//! `[server]` and `[admin]`: addresses that could never be listened on are errors of the configuration, not of the
//! moment.

use super::World;
use crate::config::Config;
use crate::config::problem::{KeyPath, Problems};
use crate::generation::Limits;
use crate::policy::Bypass;
use crate::server_tls::{TlsError, follow, server_config};
use crate::standing::{Fingerprint, Running};
use arc_swap::ArcSwap;
use ipnet::IpNet;
use rustls::ServerConfig;
use std::net::SocketAddr;
use std::sync::Arc;

/// Checks the addresses; what there is to make of it is TLS, if it is served.
pub(super) fn compile(
    config: &Config,
    world: &World,
    problems: &mut Problems,
) -> Option<Arc<ArcSwap<ServerConfig>>> {
    check(config, problems);
    tls(config, world, problems)
}

fn check(config: &Config, problems: &mut Problems) {
    let at = KeyPath::root("server").key("listen");
    for (index, address) in config.server.listen.iter().enumerate() {
        let good = match address.strip_prefix("unix:") {
            Some(path) => path.starts_with('/'),
            None => is_address(address),
        };
        if !good {
            let hint = "write \"address:port\", such as \"0.0.0.0:8080\", or \"unix:/path/to/socket\"";
            problems.error(at.index(index), format!("{address:?} is not an address to listen on"), hint);
        }
        let fixed = !address.ends_with(":0");
        if fixed && config.server.listen.iter().take(index).any(|earlier| earlier == address) {
            problems.error(at.index(index), format!("{address:?} is named twice"), "name it once");
        }
        if fixed && *address == config.admin.listen {
            let hint = "give [admin] an address of its own: nothing of it may be reached through [server]";
            problems.error(at.index(index), format!("{address:?} is the address of [admin] as well"), hint);
        }
    }
    introductions(config, problems);
    let admin = &config.admin.listen;
    if !is_address(admin) {
        let hint = "write \"address:port\", such as \"127.0.0.1:9090\"";
        let at = KeyPath::root("admin").key("listen");
        problems.error(at, format!("{admin:?} is not an address to listen on"), hint);
    }
}

/// A PROXY header says any address: who may send one matters.
fn introductions(config: &Config, problems: &mut Problems) {
    let (spoken, speakers) = (config.server.proxy_protocol, &config.server.proxy_protocol_from);
    let at = |key: &str| KeyPath::root("server").key(key);
    let tcp = config.server.listen.iter().any(|address| !address.starts_with("unix:"));
    if spoken && speakers.is_empty() && tcp {
        let message = "whoever can connect may say any client address in a PROXY header";
        let hint = "name the load balancers in server.proxy_protocol_from";
        problems.warning(at("proxy_protocol"), message, hint);
    }
    if !spoken && !speakers.is_empty() {
        let hint = "set proxy_protocol = true, or remove the list";
        problems.error(at("proxy_protocol_from"), "the PROXY protocol is not spoken", hint);
    }
}

/// TLS towards clients; its files are followed, so that a new certificate needs nothing else to be read again.
fn tls(config: &Config, world: &World, problems: &mut Problems) -> Option<Arc<ArcSwap<ServerConfig>>> {
    let files = config.server.tls.as_ref()?;
    let make = || -> Result<_, TlsError> {
        let current = Arc::new(ArcSwap::from_pointee(server_config(files)?));
        let running: Running = Box::pin(follow(files.clone(), Arc::clone(&current)));
        Ok((current, Some(running)))
    };
    let kept = world.making.keep("server.tls", Fingerprint::of(files), make).map_err(|error| {
        let hint = "name PEM files that this process may read and that belong together";
        problems.error(KeyPath::root("server").key("tls"), error.to_string(), hint);
    });
    kept.ok().map(|kept| kept.value)
}

/// What to do about attributes of a certificate that nobody shows.
pub(super) const CERTIFICATES_HINT: &str =
    "set server.tls.client_ca_file, so that clients are asked for certificates";

/// Whether clients are asked for certificates.
pub(super) fn shows_certificates(config: &Config) -> bool {
    config.server.tls.as_ref().is_some_and(|tls| tls.client_ca_file.is_some())
}

/// Leave to judge nobody, where only this machine can connect.
pub(super) fn bypass(config: &Config, problems: &mut Problems) -> Option<Bypass> {
    let at = KeyPath::root("server").key("listen");
    let mut loopback = true;
    for (index, address) in config.server.listen.iter().enumerate() {
        let local = address.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback());
        if !local {
            let hint = "listen on 127.0.0.1 or [::1], or leave out --insecure-bypass";
            problems.error(at.index(index), "--insecure-bypass works on loopback addresses only", hint);
        }
        loopback &= local;
    }
    loopback.then(Bypass::for_development)
}

fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// How large requests may be, and how slow.
pub(super) fn limits(config: &Config) -> Limits {
    let written = &config.server.limits;
    Limits {
        body_bytes: written.body_bytes.0,
        body_timeout: written.body_timeout.0,
        headers: usize::from(written.headers),
        header_bytes: usize::try_from(written.header_bytes.0).unwrap_or(usize::MAX),
    }
}

/// Whose `X-Forwarded-*` is believed.
pub(super) fn trusted(config: &Config) -> Vec<IpNet> {
    config.server.trusted_proxies.iter().map(|network| network.0).collect()
}
