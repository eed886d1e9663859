//! Tokens for connections by identity, of the machine that the host runs on.
//!
//! What `Microsoft.Extensions.Azure` makes of the settings, with the developer's own sign-in where
//! Azure has a managed identity: `AZURE_TENANT_ID`, `AZURE_CLIENT_ID` and `AZURE_CLIENT_SECRET`, then the
//! endpoint that `IDENTITY_ENDPOINT` names, then `az` or `azd`.

use std::sync::Arc;

use async_trait::async_trait;
use azure_core::credentials::TokenCredential;
use azure_identity::{
    ClientSecretCredential, DeveloperToolsCredential, ManagedIdentityCredential,
    ManagedIdentityCredentialOptions, UserAssignedId,
};
use service_bus::{BearerToken, BoxError, ClientOptions, Credential, Endpoint, TokenProvider};

use super::config::{Connection, IdentityConfig};

/// What Service Bus tokens are for.
const BUS_SCOPE: &str = "https://servicebus.azure.net/.default";

/// The identity's credential.
pub(crate) fn credential(
    identity: &IdentityConfig,
) -> azure_core::Result<Arc<dyn TokenCredential>> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let managed = |client_id: &Option<String>| -> azure_core::Result<Arc<dyn TokenCredential>> {
        let options = ManagedIdentityCredentialOptions {
            user_assigned_id: client_id.clone().map(UserAssignedId::ClientId),
            ..ManagedIdentityCredentialOptions::default()
        };
        Ok(ManagedIdentityCredential::new(Some(options))?)
    };
    let secret = |tenant: &str, id: String, secret: String| -> azure_core::Result<_> {
        let credential: Arc<dyn TokenCredential> =
            ClientSecretCredential::new(tenant, id, secret.into(), None)?;
        Ok(credential)
    };
    match identity {
        IdentityConfig::Managed { client_id } if variable("IDENTITY_ENDPOINT").is_some() => {
            managed(client_id)
        }
        IdentityConfig::Secret {
            tenant,
            client_id,
            secret: value,
        } => secret(tenant, client_id.clone(), value.clone()),
        // A developer's machine has no managed identity: the one who develops stands in for it.
        IdentityConfig::Managed { client_id } | IdentityConfig::Default { client_id } => {
            let own = (
                variable("AZURE_TENANT_ID"),
                variable("AZURE_CLIENT_ID"),
                variable("AZURE_CLIENT_SECRET"),
            );
            match own {
                (Some(tenant), Some(id), Some(value)) => secret(&tenant, id, value),
                _ if variable("IDENTITY_ENDPOINT").is_some() => managed(client_id),
                _ => Ok(DeveloperToolsCredential::new(None)?),
            }
        }
    }
}

/// A client of the namespace that `connection` names.
pub(crate) fn client(connection: &Connection) -> azure_core::Result<service_bus::Client> {
    let (endpoint, credential) = match connection {
        Connection::Key(parsed) => (parsed.endpoint.clone(), parsed.credential.clone()),
        Connection::Identity {
            namespace,
            identity,
        } => {
            let tokens = Arc::new(BusTokens(credential(identity)?));
            (endpoint(namespace), Credential::Token(tokens))
        }
    };
    Ok(service_bus::Client::new(
        endpoint,
        credential,
        ClientOptions::default(),
    ))
}

/// The endpoint of a namespace, which on this machine may have a port.
fn endpoint(namespace: &str) -> Endpoint {
    let Some((host, port)) = namespace.rsplit_once(':') else {
        return Endpoint::namespace(namespace);
    };
    let endpoint = Endpoint::namespace(host);
    Endpoint {
        port: port.parse().unwrap_or(endpoint.port),
        ..endpoint
    }
}

/// Service Bus tokens of a credential, which caches them.
struct BusTokens(Arc<dyn TokenCredential>);

#[async_trait]
impl TokenProvider for BusTokens {
    async fn token(&self) -> Result<BearerToken, BoxError> {
        let token = self.0.get_token(&[BUS_SCOPE], None).await?;
        Ok(BearerToken {
            token: token.token.secret().to_owned(),
            expires_at: token.expires_on,
        })
    }
}
