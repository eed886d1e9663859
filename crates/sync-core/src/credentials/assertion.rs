//! The assertions that a certificate signs to prove who an application is. Pure.
//!
//! Wire format: Microsoft identity platform docs, "Application authentication certificate credentials".
//! `azure_identity` reads no certificate without openssl.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PSS_SHA256, RsaKeyPair};
use rustls_pki_types::PrivateKeyDer;
use serde_json::json;
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::certificate::{self, BadCertificate, Parts};

/// How long an assertion serves: one token call, and clocks that differ.
const LIFETIME: Duration = Duration::minutes(10);

/// A certificate with its private key.
pub(super) struct SigningCertificate {
    key: RsaKeyPair,
    /// SHA-256 of the certificate, base64url: Entra finds the certificate by it.
    thumbprint: String,
}

impl fmt::Debug for SigningCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningCertificate(..)")
    }
}

impl SigningCertificate {
    /// Reads the value of a certificate's secret.
    pub(super) fn read(text: &str) -> Result<Self, BadCertificate> {
        let Parts { key, certificates } = certificate::read(text)?;
        let key = match &key {
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            _ => return Err(BadCertificate::NotRsa),
        };
        let key = key.map_err(|_| BadCertificate::NotRsa)?;
        let own = certificate::own(&certificates, key.public().as_ref());
        let own = &certificates[own.ok_or(BadCertificate::NoCertificate)?];
        let thumbprint = URL_SAFE_NO_PAD.encode(Sha256::digest(own));
        Ok(Self { key, thumbprint })
    }

    /// An assertion that its bearer is the application `client_id`, for the token endpoint `audience`.
    /// `None` when the system has no random numbers.
    pub(super) fn assertion(
        &self,
        audience: &str,
        client_id: &str,
        now: OffsetDateTime,
        id: Uuid,
    ) -> Option<String> {
        let header = json!({"alg": "PS256", "typ": "JWT", "x5t#S256": self.thumbprint});
        let claims = json!({
            "aud": audience,
            "iss": client_id,
            "sub": client_id,
            "jti": id,
            "iat": now.unix_timestamp(),
            "nbf": now.unix_timestamp(),
            "exp": (now + LIFETIME).unix_timestamp(),
        });
        let part = |json: serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(
                &RSA_PSS_SHA256,
                &SystemRandom::new(),
                signed.as_bytes(),
                &mut signature,
            )
            .ok()?;
        Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = include_str!("golden/certificate.pem");
    /// `openssl x509 -fingerprint -sha256` of it, base64url.
    const THUMBPRINT: &str = "C94kc4rgwlBdSOIDppKnNh2QFTehXXlQSXmQpv_uEZ4";

    #[test]
    fn a_certificate_is_read_in_each_form_key_vault_stores() {
        for text in [
            PEM,
            include_str!("golden/certificate-aes256.pfx.base64"),
            include_str!("golden/certificate-3des.pfx.base64"),
        ] {
            let certificate = SigningCertificate::read(text).unwrap();
            assert_eq!(certificate.thumbprint, THUMBPRINT);
        }
    }

    #[test]
    fn what_is_no_certificate_says_why_and_is_not_repeated() {
        let (key, _) = PEM.split_at(PEM.find("-----BEGIN CERT").unwrap());
        let (_, only) = PEM.split_at(PEM.find("-----BEGIN CERT").unwrap());
        let ec = include_str!("golden/certificate-ec.pem");
        let foreign = format!("{key}{}", &ec[ec.find("-----BEGIN CERT").unwrap()..]);
        for (text, expected) in [
            ("a-client-secret", BadCertificate::Unreadable),
            ("bm90IGEgY2VydGlmaWNhdGU=", BadCertificate::Unreadable),
            (only, BadCertificate::NoKey),
            (key, BadCertificate::NoCertificate),
            (&foreign, BadCertificate::NoCertificate),
            (ec, BadCertificate::NotRsa),
        ] {
            let error = SigningCertificate::read(text).unwrap_err();
            assert_eq!(error, expected);
            assert!(!error.to_string().contains("secret"));
        }
    }

    #[test]
    fn an_assertion_names_the_application_its_endpoint_and_when_it_ends() {
        let certificate = SigningCertificate::read(PEM).unwrap();
        let now = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
        let jwt = certificate
            .assertion(
                "https://login/t/oauth2/v2.0/token",
                "app-1",
                now,
                Uuid::nil(),
            )
            .unwrap();
        let parts: Vec<_> = jwt.split('.').collect();
        let json = |part: &str| -> serde_json::Value {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
        };
        assert_eq!(
            json(parts[0]),
            json!({"alg": "PS256", "typ": "JWT", "x5t#S256": THUMBPRINT})
        );
        assert_eq!(
            json(parts[1]),
            json!({"aud": "https://login/t/oauth2/v2.0/token", "iss": "app-1", "sub": "app-1",
                "jti": Uuid::nil(), "iat": 1_700_000_000, "nbf": 1_700_000_000, "exp": 1_700_000_600})
        );
        assert_eq!(parts.len(), 3);
    }
}
