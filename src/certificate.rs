//! Who a client is by its certificate: attributes of the connection, beside those of the token.
//!
//! The certificate was verified by TLS before it comes here; it is read once per connection. What cannot be read is not
//! there: an attribute that nothing else can set is missing then, and what wants it refuses.

use crate::clock::UnixTime;
use crate::denial::{Denial, Reason};
use crate::headers::trusted::{IdentityHeaders, Prepared, Unfit};
use crate::identity::{
    Attribute, CLIENT_CERT_FINGERPRINT, CLIENT_CERT_SAN, CLIENT_CERT_SPIFFE_ID, CLIENT_CERT_SUBJECT, Identity,
};
use aws_lc_rs::digest::{SHA256, digest};
use std::cell::RefCell;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// A SPIFFE id is at most so long, in bytes (SPIFFE-ID §2.3).
const LONGEST_SPIFFE_ID: usize = 2048;

/// The verified certificate of one client connection.
#[derive(Debug)]
pub struct Certificate {
    identity: Identity,
    /// When it expires: from then on it says nothing any more, though the connection may live.
    ends: UnixTime,
    /// The fields that were last made of it, and for whom.
    prepared: RefCell<Option<(Arc<IdentityHeaders>, Prepared)>>,
}

impl Certificate {
    /// Reads a verified certificate. Of one that cannot be read there is only the fingerprint.
    #[must_use]
    pub fn read(der: &[u8]) -> Self {
        let mut identity = Identity::default();
        let fingerprint = digest(&SHA256, der).as_ref().iter().fold(String::new(), |mut text, byte| {
            // Writing to a string cannot fail.
            write!(text, "{byte:02x}").ok();
            text
        });
        identity.insert(CLIENT_CERT_FINGERPRINT, Attribute::Text(fingerprint.into()));
        let mut ends = UnixTime::NEVER;
        if let Ok(certificate) = x509_cert::Certificate::from_der(der) {
            let certificate = certificate.tbs_certificate;
            ends = UnixTime::from_seconds(certificate.validity.not_after.to_unix_duration().as_secs());
            let subject = certificate.subject.to_string();
            if !subject.is_empty() {
                identity.insert(CLIENT_CERT_SUBJECT, Attribute::Text(subject.into()));
            }
            if let Ok(names) = certificate.get::<SubjectAltName>() {
                name(&mut identity, names.map_or_else(Vec::new, |(_, names)| names.0));
            } else {
                // Nobody can tell what they say.
                tracing::debug!("the names of a client certificate cannot be read");
            }
        }
        Self { identity, ends, prepared: RefCell::default() }
    }

    /// What it says of the client, as long as it has not expired.
    #[must_use]
    pub fn identity(&self, at: UnixTime) -> Option<&Identity> {
        (at < self.ends).then_some(&self.identity)
    }

    fn prepare(&self, headers: &Arc<IdentityHeaders>) -> Result<Prepared, Denial> {
        if let Some((known, prepared)) = &*self.prepared.borrow()
            && Arc::ptr_eq(known, headers)
        {
            return Ok(prepared.clone());
        }
        let prepared = headers.prepare_certificate(Some(&self.identity)).map_err(denial)?;
        *self.prepared.borrow_mut() = Some((Arc::clone(headers), prepared.clone()));
        Ok(prepared)
    }
}

/// The fields that tell the service about the client's certificate. What is missing or cannot stand in a header refuses a
/// request that is `identified`, as for every identity attribute; where nobody need be known it is left out.
///
/// # Errors
/// `token_claim`.
pub fn fields(
    certificate: Option<&Certificate>,
    headers: &Arc<IdentityHeaders>,
    (at, identified): (UnixTime, bool),
) -> Result<Option<Prepared>, Denial> {
    let prepared = match certificate.filter(|certificate| certificate.identity(at).is_some()) {
        Some(certificate) => certificate.prepare(headers),
        None => headers.prepare_certificate(None).map_err(denial),
    };
    match prepared {
        Ok(prepared) => Ok(Some(prepared)),
        Err(denial) if identified => Err(denial),
        Err(_) => {
            let known = certificate.and_then(|certificate| certificate.identity(at));
            Ok(known.map(|identity| headers.prepare_certificate_as_far_as_it_goes(identity)))
        }
    }
}

fn denial((attribute, unfit): (&str, Unfit)) -> Denial {
    Denial::new(Reason::TokenClaim).because(format_args!("the attribute {attribute} {unfit}"))
}

/// Sets what the alternative names say. Each has its kind in front, as OpenSSL writes them: an authority that lets clients
/// choose a mail address has not let them choose a host name that reads the same.
fn name(identity: &mut Identity, names: Vec<GeneralName>) {
    let mut texts = Vec::new();
    let mut uris = Vec::new();
    for name in names {
        match name {
            GeneralName::DnsName(name) => texts.push(format!("DNS:{}", name.as_str())),
            GeneralName::Rfc822Name(name) => texts.push(format!("email:{}", name.as_str())),
            GeneralName::UniformResourceIdentifier(name) => {
                texts.push(format!("URI:{}", name.as_str()));
                uris.push(name.as_str().to_owned());
            }
            GeneralName::IpAddress(octets) => texts.extend(address(octets.as_bytes())),
            GeneralName::OtherName(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EdiPartyName(_)
            | GeneralName::RegisteredId(_) => {}
        }
    }
    identity.insert(CLIENT_CERT_SAN, Attribute::Set(texts.iter().map(String::as_str).collect()));
    // A certificate with more than one URI is no SVID, whatever the others are (X509-SVID §2).
    if let [uri] = uris.as_slice()
        && is_spiffe_id(uri)
    {
        identity.insert(CLIENT_CERT_SPIFFE_ID, Attribute::Text(uri.as_str().into()));
    }
}

fn address(octets: &[u8]) -> Option<String> {
    let four = octets.try_into().map(|octets: [u8; 4]| IpAddr::from(octets));
    let address = four.or_else(|_| octets.try_into().map(|octets: [u8; 16]| IpAddr::from(octets)));
    address.ok().map(|address| format!("IP:{address}"))
}

/// Whether this is a SPIFFE id of a workload (SPIFFE-ID §2): a trust domain and a path, without anything that two readers
/// could take for different things.
fn is_spiffe_id(uri: &str) -> bool {
    let Some((domain, path)) = uri.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/')) else {
        return false;
    };
    let of_domain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
    let of_segment = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let segment_fits = |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(of_segment);
    let fit = (1..=255).contains(&domain.len()) && domain.bytes().all(of_domain);
    uri.len() <= LONGEST_SPIFFE_ID && fit && path.split('/').all(segment_fits)
}

#[cfg(test)]
mod tests;
