//! Throw-away authorities and certificates.

use super::temp::TempDir;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::sync::{Arc, Once};

static PROVIDER: Once = Once::new();

/// One authority, a certificate of it for `localhost` and one for a client, as PEM.
#[derive(Debug)]
pub struct Certificates {
    pub ca: String,
    pub server: String,
    pub server_key: String,
    pub client: String,
    pub client_key: String,
    pub authority: Authority,
}

/// Who has issued them.
#[derive(Clone)]
pub struct Authority(Arc<CertifiedIssuer<'static, KeyPair>>);

impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Authority")
    }
}

impl Certificates {
    pub fn new() -> Self {
        Self::with_client(|_| {})
    }

    /// With something else in the client's certificate.
    pub fn with_client(change: impl FnOnce(&mut CertificateParams)) -> Self {
        PROVIDER.call_once(|| {
            rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        });
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let (server, server_key) = issue(&authority, &["localhost", "127.0.0.1"], |_| {});
        let (client, client_key) = issue(&authority, &["client.test"], change);
        let (ca, authority) = (authority.pem(), Authority(Arc::new(authority)));
        Self { ca, server, server_key, client, client_key, authority }
    }

    /// A further certificate of the same authority, and its key.
    pub fn another(&self, names: &[&str]) -> (String, String) {
        issue(&self.authority.0, names, |_| {})
    }

    /// Whether who asks for that name there is shown a good certificate of this authority.
    pub fn shown(&self, address: &str, name: &str) -> bool {
        let name = name.to_owned().try_into().unwrap();
        let mut session = rustls::ClientConnection::new(self.client_config(false, &[]), name).unwrap();
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        while session.is_handshaking() {
            if session.complete_io(&mut stream).is_err() {
                return false;
            }
        }
        true
    }

    /// Writes `ca.pem`, `server.pem`, `server.key`, `client.pem` and `client.key`.
    pub fn write_to(&self, dir: &TempDir) {
        dir.write("ca.pem", &self.ca);
        dir.write("server.pem", &self.server);
        dir.write("server.key", &self.server_key);
        dir.write("client.pem", &self.client);
        dir.write("client.key", &self.client_key);
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca.as_bytes()).unwrap()).unwrap();
        roots
    }

    pub fn server_config(&self, mutual: bool, protocols: &[&[u8]]) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder();
        let builder = if mutual {
            let roots = Arc::new(self.roots());
            let verifier = rustls::server::WebPkiClientVerifier::builder(roots).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let (chain, key) = parsed(&self.server, &self.server_key);
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Arc::new(config)
    }

    pub fn client_config(&self, own: bool, protocols: &[&[u8]]) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder().with_root_certificates(self.roots());
        let mut config = if own {
            let (chain, key) = parsed(&self.client, &self.client_key);
            builder.with_client_auth_cert(chain, key).unwrap()
        } else {
            builder.with_no_client_auth()
        };
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Arc::new(config)
    }
}

fn issue(
    authority: &CertifiedIssuer<'_, KeyPair>,
    names: &[&str],
    change: impl FnOnce(&mut CertificateParams),
) -> (String, String) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(names).unwrap();
    change(&mut params);
    let certificate = params.signed_by(&key, authority).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn parsed(chain: &str, key: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
    (vec![chain], PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
}
