//! Which certificate a client gets: the one that bears the name it asks for (SNI, RFC 6066 §3), else the first.

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::sync::Arc;
use webpki::EndEntityCert;

/// Certificates by the names that they bear.
#[derive(Debug)]
pub(super) struct ByName {
    first: Arc<CertifiedKey>,
    /// Names in lower case; a wildcard stands under the name behind its `*.`.
    exact: HashMap<String, Arc<CertifiedKey>>,
    wildcards: HashMap<String, Arc<CertifiedKey>>,
}

impl ByName {
    /// `first` is for whoever asks for no name, or for one that no certificate bears.
    pub(super) fn new(first: Arc<CertifiedKey>) -> Self {
        let (exact, wildcards) = (HashMap::new(), HashMap::new());
        let mut names = Self { first, exact, wildcards };
        names.add(&Arc::clone(&names.first));
        names
    }

    /// One more; names that are there already stay where they are. Returns how many it bears.
    pub(super) fn add(&mut self, certificate: &Arc<CertifiedKey>) -> usize {
        let names = names(certificate);
        for name in &names {
            let (map, name) = match name.strip_prefix("*.") {
                Some(parent) => (&mut self.wildcards, parent),
                None => (&mut self.exact, name.as_str()),
            };
            map.entry(name.to_owned()).or_insert_with(|| Arc::clone(certificate));
        }
        names.len()
    }

    fn find(&self, asked: Option<&str>) -> &Arc<CertifiedKey> {
        let find = |name: &str| {
            let name = name.to_ascii_lowercase();
            // A wildcard stands for one label (RFC 9525 §6.3).
            let parent = name.split_once('.').map(|(_, parent)| parent);
            self.exact.get(&name).or_else(|| self.wildcards.get(parent?))
        };
        asked.and_then(find).unwrap_or(&self.first)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.find(hello.server_name())))
    }
}

/// The DNS names that a certificate bears, in lower case.
fn names(certificate: &CertifiedKey) -> Vec<String> {
    let leaf = certificate.cert.first().map(EndEntityCert::try_from);
    let Some(Ok(leaf)) = leaf else { return Vec::new() };
    leaf.valid_dns_names().map(str::to_ascii_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::ByName;
    use rustls::crypto::aws_lc_rs::default_provider;
    use rustls::sign::CertifiedKey;
    use std::sync::Arc;

    fn certificate(names: &[&str]) -> Arc<CertifiedKey> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        Arc::new(CertifiedKey::from_der(vec![made.cert.der().clone()], key, &default_provider()).unwrap())
    }

    #[test]
    fn the_nearest_name_is_chosen() {
        let (first, wild, exact) = (
            certificate(&["one.test"]),
            certificate(&["*.Two.test"]),
            certificate(&["a.two.test", "one.test"]),
        );
        let mut names = ByName::new(Arc::clone(&first));
        assert_eq!((names.add(&wild), names.add(&exact), names.add(&certificate(&[]))), (1, 2, 0));
        for (asked, expected) in [
            (None, &first),
            (Some("one.test"), &first),
            (Some("b.two.test"), &wild),
            (Some("B.TWO.test"), &wild),
            (Some("A.two.test"), &exact),
            (Some("two.test"), &first),
            (Some("c.b.two.test"), &first),
            (Some("other.test"), &first),
            (Some("*.two.test"), &wild),
        ] {
            assert!(Arc::ptr_eq(names.find(asked), expected), "{asked:?}");
        }
    }
}
