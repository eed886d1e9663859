//! What Entra checks of a client assertion: the certificate it names, the signature, for whom and how
//! long it is meant. Pure, and none of the code that makes assertions.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::CertificateDer;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;
use webpki::EndEntityCert;
use webpki::ring::{RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256_LEGACY_KEY};

/// Why an assertion was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Rejected {
    #[error("Invalid JWT token: no client assertion of this shape.")]
    Malformed,
    #[error(
        "The certificate with identifier used to sign the client assertion is not registered on application."
    )]
    UnknownCertificate,
    #[error("Client assertion contains an invalid signature.")]
    Signature,
    #[error("Client assertion audience claim does not match Realm issuer.")]
    Audience,
    #[error("Client assertion application identifier doesn't match 'client_id' parameter.")]
    Application,
    #[error("Client assertion is not within its valid time range.")]
    Time,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(rename = "x5t#S256")]
    thumbprint: String,
}

#[derive(Deserialize)]
struct Claims {
    aud: String,
    iss: String,
    sub: String,
    nbf: i64,
    exp: i64,
    /// Only that it is there.
    #[serde(rename = "jti")]
    _jti: String,
}

/// Clocks may differ by this much.
const SKEW: Duration = Duration::minutes(5);
/// Entra takes no assertion that is valid for longer.
const LONGEST: Duration = Duration::hours(24);

/// Checks `jwt` against the certificates (DER) that are registered with application `client_id`.
pub(super) fn check(
    jwt: &str,
    certificates: &[Vec<u8>],
    audiences: &[String],
    client_id: Uuid,
    now: OffsetDateTime,
) -> Result<(), Rejected> {
    let (signed, signature) = jwt.rsplit_once('.').ok_or(Rejected::Malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(Rejected::Malformed)?;
    let header: Header = json(header)?;
    let claims: Claims = json(claims)?;
    let signature = URL_SAFE_NO_PAD
        .decode(signature)
        .map_err(|_| Rejected::Malformed)?;
    let named = |der: &&Vec<u8>| URL_SAFE_NO_PAD.encode(Sha256::digest(der)) == header.thumbprint;
    let certificate = certificates
        .iter()
        .find(named)
        .ok_or(Rejected::UnknownCertificate)?;
    let algorithm = match header.alg.as_str() {
        "PS256" => RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
        "RS256" => RSA_PKCS1_2048_8192_SHA256,
        _ => return Err(Rejected::Malformed),
    };
    let der = CertificateDer::from(certificate.as_slice());
    let certificate = EndEntityCert::try_from(&der).map_err(|_| Rejected::UnknownCertificate)?;
    certificate
        .verify_signature(algorithm, signed.as_bytes(), &signature)
        .map_err(|_| Rejected::Signature)?;
    if !audiences.contains(&claims.aud) {
        return Err(Rejected::Audience);
    }
    let client_id = client_id.to_string();
    if claims.iss != client_id || claims.sub != client_id {
        return Err(Rejected::Application);
    }
    let at =
        |seconds| OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| Rejected::Malformed);
    let (from, until) = (at(claims.nbf)?, at(claims.exp)?);
    if now + SKEW < from || until + SKEW <= now || until - from > LONGEST {
        return Err(Rejected::Time);
    }
    Ok(())
}

fn json<T: DeserializeOwned>(part: &str) -> Result<T, Rejected> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok();
    bytes
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or(Rejected::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by openssl.
    const CERTIFICATE: &[u8] = include_bytes!("golden/certificate.der");
    const PS256: &str = include_str!("golden/assertion-ps256.jwt");
    const RS256: &str = include_str!("golden/assertion-rs256.jwt");
    const AUDIENCE: &str = "https://localhost/t/oauth2/v2.0/token";
    const CLIENT: Uuid = Uuid::from_u128(0x1111_1111_2222_3333_4444_5555_5555_5555);

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_700_000_000 + seconds).unwrap()
    }

    fn checked(jwt: &str, audience: &str, client: Uuid, seconds: i64) -> Result<(), Rejected> {
        let certificates = [CERTIFICATE.to_vec()];
        check(
            jwt,
            &certificates,
            &[audience.to_owned()],
            client,
            at(seconds),
        )
    }

    #[test]
    fn an_assertion_of_the_registered_certificate_is_taken_while_it_is_valid() {
        for jwt in [PS256, RS256] {
            assert_eq!(checked(jwt, AUDIENCE, CLIENT, 60), Ok(()));
            for seconds in [-400, 1000] {
                assert_eq!(checked(jwt, AUDIENCE, CLIENT, seconds), Err(Rejected::Time));
            }
        }
    }

    #[test]
    fn one_for_somebody_else_is_refused() {
        let elsewhere = "https://elsewhere/t/oauth2/v2.0/token";
        assert_eq!(
            checked(PS256, elsewhere, CLIENT, 60),
            Err(Rejected::Audience)
        );
        assert_eq!(
            checked(PS256, AUDIENCE, Uuid::nil(), 60),
            Err(Rejected::Application)
        );
        let none = check(PS256, &[], &[AUDIENCE.to_owned()], CLIENT, at(60));
        assert_eq!(none, Err(Rejected::UnknownCertificate));
    }

    #[test]
    fn one_that_was_changed_or_is_none_is_refused() {
        let mut parts: Vec<_> = PS256.split('.').collect();
        let claims = URL_SAFE_NO_PAD.decode(parts[1]).unwrap();
        let later = String::from_utf8(claims)
            .unwrap()
            .replace("1700000600", "1700009999");
        let later = URL_SAFE_NO_PAD.encode(later);
        parts[1] = &later;
        assert_eq!(
            checked(&parts.join("."), AUDIENCE, CLIENT, 60),
            Err(Rejected::Signature)
        );
        for odd in ["", "a.b.c", "secret"] {
            assert_eq!(checked(odd, AUDIENCE, CLIENT, 60), Err(Rejected::Malformed));
        }
    }
}
