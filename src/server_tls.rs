//! TLS towards clients: certificates from files, read again when the files change.

use crate::config::server::{ClientAuth, ServerTls};
use crate::pem::{PemError, authorities, certificates, private_key};
use crate::stamp::Stamp;
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
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
    #[error("cert_file and key_file: {0}")]
    Pair(#[from] rustls::Error),
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
    let pair = builder.with_single_cert(certificates(&tls.cert_file)?, private_key(&tls.key_file)?);
    let mut config = pair?;
    if mutual {
        // A resumed session is not verified again: a certificate that has expired, or an authority that is not trusted any
        // more, would go on being good as long as the client resumes.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
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
    files.into_iter().flatten().map(|path| Stamp::of(path)).collect()
}
