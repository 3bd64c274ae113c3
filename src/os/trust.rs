//! The certificates that the system trusts.

use std::sync::Arc;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// TLS with the system's certificates, or those in `SSL_CERT_FILE` and `SSL_CERT_DIR`. Reading them takes milliseconds:
/// callers that use plain HTTP do without.
pub fn tls() -> TlsConfig {
    let certificates = rustls_native_certs::load_native_certs().certs;
    let roots = certificates
        .iter()
        .map(|one| Certificate::from_der(one).to_owned());
    TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots.collect())))
        .build()
}
