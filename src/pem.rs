//! Certificates and keys from PEM files (RFC 7468).

use rustls::RootCertStore;
use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};

/// What to do about a file that cannot be used.
pub const HINT: &str = "name a PEM file that this process may read";

/// Why a PEM file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// It cannot be read, or holds nothing of the wanted kind.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Error,
    },
    /// What it holds cannot be used.
    #[error("{}: {source}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
}

fn failed(path: &Path, source: Error) -> PemError {
    PemError::File { path: path.to_owned(), source }
}

/// Reads every certificate of a file.
///
/// # Errors
/// The file cannot be read, or holds no certificate.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let certificates = CertificateDer::pem_file_iter(path).map_err(|source| failed(path, source))?;
    let certificates = certificates.collect::<Result<Vec<_>, _>>().map_err(|source| failed(path, source))?;
    if certificates.is_empty() { Err(failed(path, Error::NoItemsFound)) } else { Ok(certificates) }
}

/// Reads the private key of a file.
///
/// # Errors
/// The file cannot be read, or holds no private key.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, PemError> {
    PrivateKeyDer::from_pem_file(path).map_err(|source| failed(path, source))
}

/// Reads certificates as authorities to trust.
///
/// # Errors
/// The file cannot be read, or a certificate of it is broken.
pub fn authorities(path: &Path) -> Result<RootCertStore, PemError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(path)? {
        store.add(certificate).map_err(|source| PemError::Content { path: path.to_owned(), source })?;
    }
    Ok(store)
}
