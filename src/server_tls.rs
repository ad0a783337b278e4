//! TLS towards clients: certificates from files, read again when the files change.

mod names;

use crate::config::server::{ClientAuth, ServerTls};
use crate::pem::{PemError, authorities, certificates, private_key};
use crate::stamp::Stamp;
use arc_swap::ArcSwap;
use names::ByName;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be used.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// The certificate and the key do not fit each other.
    #[error("{} and {}: {source}", cert_file.display(), key_file.display())]
    Pair {
        /// The certificate's file.
        cert_file: PathBuf,
        /// The key's file.
        key_file: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// Nobody can ask for a certificate without a name.
    #[error("{}: the certificate bears no DNS name", .0.display())]
    Nameless(PathBuf),
    /// The authorities for client certificates cannot be used.
    #[error("client_ca_file: {0}")]
    Authorities(#[from] VerifierBuilderError),
}

/// What `[server.tls]` says, with the files as they are now.
///
/// # Errors
/// A file cannot be read, or certificate and key do not fit each other.
pub fn server_config(tls: &ServerTls) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder();
    let builder = match &tls.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let verifier = WebPkiClientVerifier::builder(Arc::new(authorities(path)?));
            let verifier = match tls.client_auth {
                ClientAuth::Required => verifier,
                ClientAuth::Optional => verifier.allow_unauthenticated(),
            };
            builder.with_client_cert_verifier(verifier.build()?)
        }
    };
    let mutual = tls.client_ca_file.is_some();
    let mut config = builder.with_cert_resolver(Arc::new(by_name(tls)?));
    if mutual {
        // A resumed session is not verified again: a certificate that has expired, or an authority that is not trusted any
        // more, would go on being good as long as the client resumes.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn by_name(tls: &ServerTls) -> Result<ByName, TlsError> {
    let mut names = ByName::new(pair(&tls.cert_file, &tls.key_file)?);
    for further in &tls.certificates {
        if names.add(&pair(&further.cert_file, &further.key_file)?) == 0 {
            return Err(TlsError::Nameless(further.cert_file.clone()));
        }
    }
    Ok(names)
}

fn pair(cert_file: &Path, key_file: &Path) -> Result<Arc<CertifiedKey>, TlsError> {
    let (chain, key) = (certificates(cert_file)?, private_key(key_file)?);
    let pair = CertifiedKey::from_der(chain, key, &default_provider());
    pair.map(Arc::new).map_err(|source| TlsError::Pair {
        cert_file: cert_file.to_owned(),
        key_file: key_file.to_owned(),
        source,
    })
}

/// Reads the files again whenever one of them has changed. A pair that is only half written fits nothing, is
/// logged, and changes nothing.
pub async fn follow(tls: ServerTls, current: Arc<ArcSwap<ServerConfig>>) {
    let mut seen = stamps(&tls);
    loop {
        tokio::time::sleep(LOOK).await;
        let now = stamps(&tls);
        if now == seen {
            continue;
        }
        match server_config(&tls) {
            Ok(config) => {
                current.store(Arc::new(config));
                tracing::info!("the TLS certificate was read again");
                seen = now;
            }
            Err(error) => {
                tracing::warn!(%error, "the TLS files have changed, but cannot be used; the old certificate stays");
                seen = now;
            }
        }
    }
}

fn stamps(tls: &ServerTls) -> Vec<Option<Stamp>> {
    let files = [Some(&tls.cert_file), Some(&tls.key_file), tls.client_ca_file.as_ref()];
    let further = tls.certificates.iter().flat_map(|pair| [&pair.cert_file, &pair.key_file]);
    files.into_iter().flatten().chain(further).map(|path| Stamp::of(path)).collect()
}
