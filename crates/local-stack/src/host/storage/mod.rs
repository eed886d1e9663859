//! `AzureWebJobsStorage`: the storage account behind a host, real or Azurite.

mod account;
mod blobs;

pub(crate) use account::Account;
pub(crate) use blobs::{Blobs, StorageError};
