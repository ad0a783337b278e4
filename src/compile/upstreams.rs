//! `[upstreams.NAME]` → [`Upstream`].

use super::World;
use crate::config::problem::{KeyPath, Problems};
use crate::config::upstream::{Upstream as Written, UpstreamTls};
use crate::pem;
use crate::proxy::connect::{ConnectionLimit, Endpoint, Tls, Upstream};
use crate::standing::Fingerprint;
use http::Uri;
use indexmap::IndexMap;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::path::PathBuf;
use std::sync::Arc;

const URL_HINT: &str =
    "write \"http://host:port\", \"https://host:port\" or \"unix:/path/to/socket\", without a path";

pub(super) fn compile(
    written: &IndexMap<String, Written>,
    world: &World,
    problems: &mut Problems,
) -> Option<Vec<Arc<Upstream>>> {
    let at = KeyPath::root("upstreams");
    let compiled: Vec<Option<Arc<Upstream>>> =
        written.iter().map(|(name, upstream)| kept(name, upstream, &at.key(name), world, problems)).collect();
    compiled.into_iter().collect()
}

/// An upstream that did not change stays the same one, and with it the connections to it.
fn kept(
    name: &str,
    written: &Written,
    at: &KeyPath,
    world: &World,
    problems: &mut Problems,
) -> Option<Arc<Upstream>> {
    let tls = written.tls.as_ref();
    let files = tls.into_iter().flat_map(|tls| [&tls.ca_file, &tls.cert_file, &tls.key_file]).flatten();
    let mut made_of = Fingerprint::of(written);
    for file in files {
        world.making.depends_on(file);
        made_of = made_of.and_file(file);
    }
    let make = || one(name, written, at, problems).map(|upstream| (Arc::new(upstream), None)).ok_or(());
    world.making.keep(format!("upstreams.{name}"), made_of, make).ok().map(|kept| kept.value)
}

fn one(name: &str, written: &Written, at: &KeyPath, problems: &mut Problems) -> Option<Upstream> {
    let Some((endpoint, encrypted)) = endpoint(&written.url) else {
        problems.error(at.key("url"), "this is not the address of a service", URL_HINT);
        return None;
    };
    let tls = match (&written.tls, encrypted) {
        (Some(_), false) => {
            problems.error(
                at.key("tls"),
                "TLS settings for a service that is not reached by https",
                "write the url with https://, or remove this table",
            );
            return None;
        }
        (tls, true) => Some(client_tls(tls.as_ref(), &endpoint, written.http2, at, problems)?),
        (None, false) => None,
    };
    let limit = usize::try_from(written.connections).ok().filter(|connections| *connections > 0);
    if limit.is_some() && written.http2 {
        problems.error(
            at.key("connections"),
            "a limit on connections to a service that is spoken to in HTTP/2",
            "remove it: each worker uses one connection for all its requests",
        );
        return None;
    }
    Some(Upstream {
        name: name.into(),
        endpoint,
        tls,
        http2: written.http2,
        connect_timeout: written.connect_timeout.0,
        response_timeout: written.response_timeout.0,
        idle_timeout: written.idle_timeout.0,
        limit: limit.map(|connections| ConnectionLimit::new(connections, written.queue_timeout.0)),
    })
}

fn endpoint(url: &str) -> Option<(Endpoint, bool)> {
    if let Some(path) = url.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return path.starts_with('/').then(|| (Endpoint::Unix(PathBuf::from(path)), false));
    }
    let uri: Uri = url.parse().ok()?;
    let encrypted = match uri.scheme_str()? {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    let authority = uri.authority()?;
    let bare = matches!(uri.path(), "" | "/")
        && uri.query().is_none()
        && !authority.as_str().contains('@')
        && !url.contains('#');
    let host = authority.host();
    if !bare || host.is_empty() || authority.as_str().ends_with(':') {
        return None;
    }
    let port = match authority.port() {
        Some(port) => port.as_str().parse().ok().filter(|port| *port != 0)?,
        None if encrypted => 443,
        None => 80,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Some((Endpoint::Tcp { host, port }, encrypted))
}

fn client_tls(
    written: Option<&UpstreamTls>,
    endpoint: &Endpoint,
    http2: bool,
    at: &KeyPath,
    problems: &mut Problems,
) -> Option<Tls> {
    let at = at.key("tls");
    let written = written.cloned().unwrap_or_default();
    let name = match (&written.server_name, endpoint) {
        (Some(name), _) => name.clone(),
        (None, Endpoint::Tcp { host, .. }) => host.clone(),
        (None, Endpoint::Unix(_)) => return None,
    };
    let Ok(server_name) = ServerName::try_from(name.clone()) else {
        problems.error(
            at.key("server_name"),
            format!("{name:?} is not a name that a certificate could bear"),
            "write a DNS name or an IP address",
        );
        return None;
    };
    let roots = match &written.ca_file {
        Some(path) => pem::authorities(path),
        None => Ok(system_roots()),
    };
    let roots =
        roots.map_err(|error| problems.error(at.key("ca_file"), error.to_string(), pem::HINT)).ok()?;
    let builder = ClientConfig::builder().with_root_certificates(roots);
    let mut config = match (&written.cert_file, &written.key_file) {
        (None, None) => builder.with_no_client_auth(),
        (Some(chain), Some(key)) => {
            let pair = pem::certificates(chain).and_then(|chain| Ok((chain, pem::private_key(key)?)));
            let pair = pair
                .map_err(|error| problems.error(at.key("cert_file"), error.to_string(), pem::HINT))
                .ok()?;
            let config = builder.with_client_auth_cert(pair.0, pair.1);
            config
                .map_err(|error| {
                    problems.error(
                        at.key("cert_file"),
                        error.to_string(),
                        "certificate and key must belong together",
                    );
                })
                .ok()?
        }
        (Some(_), None) | (None, Some(_)) => {
            problems.error(at, "only one of cert_file and key_file", "give both, or neither");
            return None;
        }
    };
    config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    Some(Tls { config: Arc::new(config), server_name })
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}
