//! App registrations against the stand-in of Entra's token endpoint.
#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use local_stack::identity::{Grant, Identity, IdentityConfig};
use local_stack::tls::LocalCa;
use sync_core::credentials::{
    Application, ApplicationTokens, Proof, Secret, SecretSource, TokenSource,
};
use sync_core::failure::{Class, Failure, Stage};
use uuid::Uuid;

const SCOPE: &str = "https://contoso.crm4.dynamics.com/.default";
const PEM: &str = include_str!("../../crates/sync-core/src/credentials/golden/certificate.pem");
const PFX: &str =
    include_str!("../../crates/sync-core/src/credentials/golden/certificate-aes256.pfx.base64");
const DER: &[u8] = include_bytes!("../../crates/local-stack/src/identity/golden/certificate.der");

/// A vault whose next version shows once the current one was refused.
struct Versions(Mutex<(VecDeque<&'static str>, u32)>);

#[async_trait]
impl SecretSource for Versions {
    async fn secret(&self, name: &str) -> Result<Secret, Failure> {
        assert_eq!(name, "sync-two");
        let mut state = self.0.lock().unwrap();
        state.1 += 1;
        Ok(Secret::new(state.0[0]))
    }

    fn forget(&self, _: &str, stale: &Secret) {
        let mut state = self.0.lock().unwrap();
        if state.0.len() > 1 && stale.secret() == state.0[0] {
            state.0.pop_front();
        }
    }
}

struct World {
    identity: Identity,
    tokens: Arc<ApplicationTokens>,
    vault: Arc<Versions>,
}

impl World {
    /// `stored`: the versions of the secret in the vault, oldest first.
    async fn start(proof: Proof, stored: &[&'static str]) -> Self {
        // The tests of this binary share the process; one of them installs it.
        let _: Result<_, _> = rustls::crypto::ring::default_provider().install_default();
        let ca = LocalCa::new().unwrap();
        let config = IdentityConfig {
            tls: Some(ca.server_config().unwrap()),
            ..IdentityConfig::default()
        };
        let identity = Identity::start(config).await.unwrap();
        let client_id = Uuid::new_v4();
        identity.set_client_secret(client_id, "current");
        identity.add_certificate(client_id, DER);
        let root = reqwest::Certificate::from_pem(ca.pem().as_bytes()).unwrap();
        let http = reqwest::Client::builder()
            .tls_certs_only([root])
            .timeout(Duration::from_secs(30))
            .build()
            .unwrap();
        let vault = Arc::new(Versions(Mutex::new((stored.iter().copied().collect(), 0))));
        let application = Application {
            tenant: identity.tenant().to_string(),
            client_id: client_id.to_string(),
            proof,
            secret_name: "sync-two".into(),
        };
        let authority = identity.authority().parse().unwrap();
        let tokens = ApplicationTokens::new(application, authority, Arc::clone(&vault) as _);
        Self {
            tokens: Arc::new(tokens.through(http)),
            identity,
            vault,
        }
    }

    /// Grants and statuses of all token calls so far.
    fn calls(&self) -> Vec<(Grant, u16)> {
        let calls = self.identity.requests();
        calls.iter().map(|call| (call.grant, call.status)).collect()
    }

    fn reads(&self) -> u32 {
        self.vault.0.lock().unwrap().1
    }
}

#[tokio::test]
async fn a_secret_or_a_certificate_gives_one_token_however_many_wait_for_it() {
    for (proof, stored, grant) in [
        (Proof::ClientSecret, "current", Grant::ClientSecret),
        (Proof::Certificate, PEM, Grant::Assertion),
        (Proof::Certificate, PFX, Grant::Assertion),
    ] {
        let world = World::start(proof, &[stored]).await;
        assert_eq!(
            (world.reads(), world.calls().len()),
            (0, 0),
            "not before it is needed"
        );
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let tokens = Arc::clone(&world.tokens);
                tokio::spawn(async move { tokens.token(SCOPE).await.unwrap() })
            })
            .collect();
        for token in waiting {
            let token = token.await.unwrap();
            let (audience, now) = (
                SCOPE.trim_end_matches("/.default"),
                time::OffsetDateTime::now_utc(),
            );
            let claims = world
                .identity
                .key()
                .verify(token.secret(), audience, now)
                .unwrap();
            assert_eq!(claims.appid, world.tokens.label());
        }
        assert_eq!((world.reads(), world.calls()), (1, vec![(grant, 200)]));
        // Dataverse refused it: a new one, by the proof that is known to be good.
        world.tokens.forget(SCOPE);
        world.tokens.token(SCOPE).await.unwrap();
        assert_eq!(world.calls(), [(grant, 200); 2]);
    }
}

#[tokio::test]
async fn a_proof_that_was_rotated_is_read_again_once() {
    for (proof, stored, grant) in [
        (
            Proof::ClientSecret,
            ["former", "current"],
            Grant::ClientSecret,
        ),
        (
            Proof::Certificate,
            ["no certificate", PEM],
            Grant::Assertion,
        ),
    ] {
        let world = World::start(proof, &stored).await;
        world.tokens.token(SCOPE).await.unwrap();
        assert_eq!(world.reads(), 2);
        assert_eq!(world.calls().last(), Some(&(grant, 200)));
        assert!(world.calls().len() <= 2);
    }
}

#[tokio::test]
async fn a_proof_that_stays_refused_is_a_config_failure_that_names_it_and_not_its_value() {
    for (proof, stored, code) in [
        (Proof::ClientSecret, "former-value", "ProofRefused"),
        (Proof::Certificate, "former-value", "ProofUnusable"),
    ] {
        let world = World::start(proof, &[stored]).await;
        let failure = world.tokens.token(SCOPE).await.unwrap_err();
        assert_eq!((failure.class, failure.code), (Class::Config, code));
        assert_eq!(failure.stage, Stage::Credentials);
        let text = failure.to_string();
        assert!(
            text.contains("\"sync-two\"") && !text.contains("former-value"),
            "{text}"
        );
        assert!(
            code != "ProofRefused" || text.contains("AADSTS7000215"),
            "{text}"
        );
        assert!(
            world.calls().len() <= 1,
            "the same value is not tried twice"
        );
        assert_eq!(world.reads(), 2);
    }
}

#[tokio::test]
async fn an_entra_that_is_down_is_worth_another_try_and_says_nothing_about_the_secret() {
    let world = World::start(Proof::ClientSecret, &["current"]).await;
    world.identity.fail_with(Some(503));
    let failure = world.tokens.token(SCOPE).await.unwrap_err();
    assert_eq!(
        (failure.class, failure.status),
        (Class::Transient, Some(503))
    );
    assert_eq!(world.reads(), 1);
    world.identity.fail_with(None);
    world.tokens.token(SCOPE).await.unwrap();
}
