//! The few things a host does with blobs: small texts, and leases as locks between instances.

use std::sync::Arc;

use azure_core::credentials::TokenCredential;
use azure_core::http::{ClientOptions, StatusCode, Transport};
use azure_storage_blob::models::{BlobClientAcquireLeaseOptions, BlobClientSetMetadataOptions};
use azure_storage_blob::{
    BlobClient, BlobClientOptions, BlobContainerClient, BlobContainerClientOptions,
};
use bytes::Bytes;
use time::OffsetDateTime;
use uuid::Uuid;

use super::account::{Account, Auth};

/// The container of every Functions host.
const CONTAINER: &str = "azure-webjobs-hosts";
/// An API version that older Azurites know too.
const API_VERSION: &str = "2021-12-02";

/// Why storage did not do it. Shows no signature.
#[derive(Debug, thiserror::Error)]
#[error("AzureWebJobsStorage, blob {blob}: {reason}")]
pub(crate) struct StorageError {
    blob: String,
    reason: String,
}

/// The blobs of a host.
#[derive(Debug, Clone)]
pub(crate) struct Blobs {
    account: Account,
    http: Arc<reqwest::Client>,
}

impl Blobs {
    pub(crate) fn new(account: Account) -> Result<Self, reqwest::Error> {
        // The library wants to see what the service sent, not what a client unpacked.
        let http = reqwest::Client::builder().no_gzip().no_proxy().build()?;
        Ok(Self {
            account,
            http: Arc::new(http),
        })
    }

    /// The blob's text; `None` when there is no such blob.
    pub(crate) async fn read(&self, path: &str) -> Result<Option<Bytes>, StorageError> {
        let blob = self.blob(path)?;
        let downloaded = match blob.download(None).await {
            Ok(downloaded) => downloaded,
            Err(error) if error.http_status() == Some(StatusCode::NotFound) => return Ok(None),
            Err(error) => return Err(failed(path, &error)),
        };
        let body = downloaded.body.collect().await;
        body.map(Some).map_err(|error| failed(path, &error))
    }

    /// Writes the blob, and the container if it is not there yet.
    pub(crate) async fn write(&self, path: &str, text: String) -> Result<(), StorageError> {
        let blob = self.blob(path)?;
        let content = Bytes::from(text);
        match blob.upload(content.clone().into(), None).await {
            Err(error) if error.http_status() == Some(StatusCode::NotFound) => {
                self.create_container(path).await?;
                let again = blob.upload(content.into(), None).await;
                again.map(|_| ()).map_err(|error| failed(path, &error))
            }
            other => other.map(|_| ()).map_err(|error| failed(path, &error)),
        }
    }

    /// Takes the lease of a blob, which is created if need be. `None` when another has it.
    ///
    /// `holder` is written on the blob, for people who look.
    pub(crate) async fn lease(
        &self,
        path: &str,
        period: std::time::Duration,
        holder: &str,
    ) -> Result<Option<Uuid>, StorageError> {
        let blob = self.blob(path)?;
        let id = Uuid::new_v4();
        // From 15 to 60, as host.json was checked.
        let seconds = i32::try_from(period.as_secs()).unwrap_or(60);
        let options = || BlobClientAcquireLeaseOptions {
            proposed_lease_id: Some(id.to_string()),
            ..BlobClientAcquireLeaseOptions::default()
        };
        let mut taken = blob.acquire_lease(seconds, Some(options())).await;
        if taken
            .as_ref()
            .is_err_and(|error| error.http_status() == Some(StatusCode::NotFound))
        {
            // Should another instance create it at the same time, and take the lease before we write,
            // then writing fails, and the next look finds the lease taken.
            self.write(path, String::new()).await?;
            taken = blob.acquire_lease(seconds, Some(options())).await;
        }
        match taken {
            Ok(_) => {}
            Err(error) if error.http_status() == Some(StatusCode::Conflict) => return Ok(None),
            Err(error) => return Err(failed(path, &error)),
        }
        let metadata = [("FunctionInstance".to_owned(), holder.to_owned())].into();
        let options = BlobClientSetMetadataOptions {
            lease_id: Some(id.to_string()),
            ..BlobClientSetMetadataOptions::default()
        };
        let noted = blob.set_metadata(&metadata, Some(options)).await;
        noted.map_err(|error| failed(path, &error))?;
        Ok(Some(id))
    }

    /// Keeps a lease for another period. `false` when it is another's by now.
    pub(crate) async fn renew(&self, path: &str, lease: Uuid) -> Result<bool, StorageError> {
        match self.blob(path)?.renew_lease(lease.to_string(), None).await {
            Ok(_) => Ok(true),
            Err(error) if error.http_status() == Some(StatusCode::Conflict) => Ok(false),
            Err(error) => Err(failed(path, &error)),
        }
    }

    /// Gives a lease back.
    pub(crate) async fn release(&self, path: &str, lease: Uuid) -> Result<(), StorageError> {
        let released = self
            .blob(path)?
            .release_lease(lease.to_string(), None)
            .await;
        released.map(|_| ()).map_err(|error| failed(path, &error))
    }

    async fn create_container(&self, path: &str) -> Result<(), StorageError> {
        let options = BlobContainerClientOptions {
            client_options: self.client_options(),
            version: API_VERSION.to_owned(),
        };
        let url = self.account.url(CONTAINER, "", OffsetDateTime::now_utc());
        let container = BlobContainerClient::new(url, self.credential(), Some(options));
        let container = container.map_err(|error| failed(path, &error))?;
        match container.create(None).await {
            // Another instance was faster.
            Err(error) if error.http_status() == Some(StatusCode::Conflict) => Ok(()),
            other => other.map(|_| ()).map_err(|error| failed(path, &error)),
        }
    }

    fn blob(&self, path: &str) -> Result<BlobClient, StorageError> {
        let options = BlobClientOptions {
            client_options: self.client_options(),
            version: API_VERSION.to_owned(),
        };
        let url = self.account.url(CONTAINER, path, OffsetDateTime::now_utc());
        BlobClient::new(url, self.credential(), Some(options)).map_err(|error| failed(path, &error))
    }

    fn client_options(&self) -> ClientOptions {
        ClientOptions {
            transport: Some(Transport::new(self.http.clone())),
            ..ClientOptions::default()
        }
    }

    fn credential(&self) -> Option<Arc<dyn TokenCredential>> {
        match &self.account.auth {
            Auth::Token(credential) => Some(Arc::clone(credential)),
            Auth::Key { .. } | Auth::Sas(_) => None,
        }
    }
}

/// The kind of an error says enough; its text may hold the signed address.
fn failed(blob: &str, error: &azure_core::Error) -> StorageError {
    StorageError {
        blob: blob.to_owned(),
        reason: error.kind().to_string(),
    }
}
