//! A private certificate authority, so that shipped clients speak real TLS to the stand-ins.
//!
//! The authority's certificate goes to a PEM file named by `SSL_CERT_FILE`; clients that read the
//! system's trust store from there then trust the stand-ins without being changed.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// Why no certificate could be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Making a key or signing failed.
    #[error("cannot make a certificate for the local stack")]
    Certificate(#[from] rcgen::Error),
    /// rustls refused the result.
    #[error("cannot use the local stack's certificate")]
    Config(#[from] rustls::Error),
}

/// A certificate authority that exists for as long as the local stack does.
pub struct LocalCa {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl LocalCa {
    /// Makes a new authority with a key of its own.
    ///
    /// # Errors
    /// Key generation failed.
    pub fn new() -> Result<Self, TlsError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name("dataverse-sync local stack CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self { issuer })
    }

    /// The authority's certificate, PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Writes the authority's certificate to `path`, for `SSL_CERT_FILE`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_pem(&self, path: &Path) -> io::Result<()> {
        std::fs::write(path, self.pem())
    }

    /// TLS settings for a server that is called `localhost` or `127.0.0.1`.
    ///
    /// # Errors
    /// The certificate could not be made.
    pub fn server_config(&self) -> Result<Arc<rustls::ServerConfig>, TlsError> {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = name("dataverse-sync local stack");
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

impl fmt::Debug for LocalCa {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("LocalCa(..)")
    }
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}
