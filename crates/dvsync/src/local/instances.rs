//! What each instance of the apps asked of Key Vault and of the identity endpoint, by their records.

use std::collections::{BTreeMap, BTreeSet};

use local_stack::stack::Stack;
use serde::Serialize;
use time::OffsetDateTime;

/// What one instance asked for, over all its processes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InstanceReport {
    /// Values of secrets that the vault gave it.
    pub(crate) vault_reads: u64,
    /// Calls of the identity endpoint, by scope.
    pub(crate) token_requests: BTreeMap<String, u64>,
}

impl InstanceReport {
    /// One line for people.
    pub(super) fn line(&self) -> String {
        let tokens: u64 = self.token_requests.values().sum();
        let scopes = self.token_requests.len();
        let reads = self.vault_reads;
        format!("{reads} Key Vault reads, {tokens} token requests for {scopes} scopes")
    }
}

/// Each instance that asked for anything, e.g. `outbound-fn#1`.
pub(super) fn instances(stack: &Stack) -> BTreeMap<String, InstanceReport> {
    let mut reports: BTreeMap<String, InstanceReport> = BTreeMap::new();
    for request in stack.identity.requests() {
        let (Some(instance), Some(resource)) = (request.instance, request.resource) else {
            continue;
        };
        let report = reports.entry(instance).or_default();
        let scope = format!("{resource}/.default");
        *report.token_requests.entry(scope).or_default() += 1;
    }
    let holders = holders(stack);
    for request in stack.vault.requests().iter().filter(|r| r.read) {
        let instance = request.token.as_ref().and_then(|token| holders.get(token));
        if let Some(instance) = instance {
            reports.entry(instance.clone()).or_default().vault_reads += 1;
        }
    }
    reports
}

/// Which instances were given the secret since `since`.
pub(super) fn readers(stack: &Stack, secret: &str, since: OffsetDateTime) -> BTreeSet<String> {
    let holders = holders(stack);
    let requests = stack.vault.requests();
    let reads = requests.iter();
    let reads = reads.filter(|r| r.read && r.secret == secret && r.at >= since);
    let readers = reads.filter_map(|r| holders.get(r.token.as_ref()?).cloned());
    readers.collect()
}

/// Instances by the tokens they were given.
fn holders(stack: &Stack) -> BTreeMap<String, String> {
    let requests = stack.identity.requests().into_iter();
    requests
        .filter_map(|r| Some((r.token?, r.instance?)))
        .collect()
}
