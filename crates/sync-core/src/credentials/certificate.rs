//! A certificate with its private key, as Key Vault hands it out. Pure.
//!
//! Key Vault docs, "About Azure Key Vault certificates": the secret of a certificate is a base64 PKCS#12
//! file without a password, or PEM.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::ring::sign::any_supported_type;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

/// Why the value of a secret is no certificate to prove oneself with. Says nothing of the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadCertificate {
    #[error("is neither PEM nor a base64 PKCS#12 file without a password")]
    Unreadable,
    #[error("holds no private key; its key must be exportable")]
    NoKey,
    #[error("holds a key that is not RSA; Entra ID takes RSA keys only")]
    NotRsa,
    #[error("holds a key that TLS cannot use; RSA, P-256, P-384 and Ed25519 work")]
    UnknownKey,
    #[error("holds no certificate that belongs to its key")]
    NoCertificate,
}

/// The private key, and the certificates beside it in the order of the file.
pub(super) struct Parts {
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) certificates: Vec<CertificateDer<'static>>,
}

/// Reads the value of a certificate's secret.
pub(super) fn read(text: &str) -> Result<Parts, BadCertificate> {
    if text.contains("-----BEGIN") {
        from_pem(text)
    } else {
        from_pkcs12(text)
    }
}

fn from_pem(text: &str) -> Result<Parts, BadCertificate> {
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|e| match e {
        pem::Error::NoItemsFound => BadCertificate::NoKey,
        _ => BadCertificate::Unreadable,
    })?;
    let certificates = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| BadCertificate::Unreadable)?;
    Ok(Parts { key, certificates })
}

fn from_pkcs12(text: &str) -> Result<Parts, BadCertificate> {
    let file = STANDARD.decode(text.trim());
    let file = Zeroizing::new(file.map_err(|_| BadCertificate::Unreadable)?);
    let store =
        p12_keystore::KeyStore::from_pkcs12(&file, "").map_err(|_| BadCertificate::Unreadable)?;
    let (_, entry) = store.private_key_chain().ok_or(BadCertificate::NoKey)?;
    let certificates = entry.chain().iter();
    let certificates = certificates.map(|c| CertificateDer::from(c.as_der().to_vec()));
    Ok(Parts {
        key: PrivatePkcs8KeyDer::from(entry.key().to_vec()).into(),
        certificates: certificates.collect(),
    })
}

/// The certificate that holds the public key (its place), whatever else comes along with it, in any order.
pub(super) fn own(certificates: &[CertificateDer<'_>], public: &[u8]) -> Option<usize> {
    let holds = |der: &CertificateDer<'_>| der.windows(public.len()).any(|part| part == public);
    certificates.iter().position(holds)
}

/// The secret's value as the certificate that a TLS client shows.
pub(crate) fn tls_identity(text: &str) -> Result<reqwest::Identity, BadCertificate> {
    let mut parts = read(text)?;
    let key = any_supported_type(&parts.key).map_err(|_| BadCertificate::UnknownKey)?;
    let public = key.public_key().ok_or(BadCertificate::UnknownKey)?;
    let own = own(&parts.certificates, &public).ok_or(BadCertificate::NoCertificate)?;
    // Its own certificate comes first (RFC 8446, 4.4.2).
    parts.certificates[..=own].rotate_right(1);
    let label = match &parts.key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    let mut pem = Zeroizing::new(String::new());
    section(&mut pem, label, parts.key.secret_der());
    for certificate in &parts.certificates {
        section(&mut pem, "CERTIFICATE", certificate);
    }
    reqwest::Identity::from_pem(pem.as_bytes()).map_err(|_| BadCertificate::Unreadable)
}

fn section(pem: &mut String, label: &str, der: &[u8]) {
    let text = Zeroizing::new(STANDARD.encode(der));
    // Grown once: a string that grows leaves copies of itself behind.
    pem.reserve(2 * text.len() + 128);
    pem.push_str(&format!("-----BEGIN {label}-----\n"));
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str(&format!("-----END {label}-----\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = include_str!("golden/certificate.pem");
    const EC: &str = include_str!("golden/certificate-ec.pem");

    fn after(text: &str, mark: &str) -> usize {
        text.find(mark).unwrap()
    }

    #[test]
    fn a_tls_client_can_show_a_certificate_in_each_form_key_vault_stores() {
        for text in [
            PEM,
            EC,
            include_str!("golden/certificate-aes256.pfx.base64"),
            include_str!("golden/certificate-3des.pfx.base64"),
        ] {
            tls_identity(text).unwrap();
        }
    }

    #[test]
    fn what_is_no_certificate_to_show_is_told_without_its_value() {
        let (key, only) = PEM.split_at(after(PEM, "-----BEGIN CERT"));
        let foreign = format!("{key}{}", &EC[after(EC, "-----BEGIN CERT")..]);
        for (text, expected) in [
            ("just a key", BadCertificate::Unreadable),
            (only, BadCertificate::NoKey),
            (key, BadCertificate::NoCertificate),
            (&foreign, BadCertificate::NoCertificate),
        ] {
            assert_eq!(tls_identity(text).unwrap_err(), expected);
        }
    }

    #[test]
    fn the_certificate_of_the_key_is_shown_first_wherever_it_stands() {
        let parts = read(PEM).unwrap();
        let other = read(EC).unwrap().certificates.remove(0);
        let key = any_supported_type(&parts.key).unwrap();
        let mut certificates = parts.certificates;
        certificates.insert(0, other);
        assert_eq!(own(&certificates, &key.public_key().unwrap()), Some(1));
    }
}
