//! Why a request over HTTP got no answer.

use std::error::Error;

use sync_core::target::tls_error;

use super::line::{Line, System};

/// How a system is called when it is not reached.
pub(super) struct Peer {
    pub(super) system: System,
    /// The setting that holds its address.
    pub(super) setting: &'static str,
    pub(super) unreachable: &'static str,
    pub(super) untrusted: &'static str,
    /// How to have its certificate trusted.
    pub(super) trust: &'static str,
}

impl Peer {
    /// The line for a request that failed.
    pub(super) fn lost(&self, check: impl Into<String>, error: &reqwest::Error) -> Line {
        let setting = self.setting;
        if let Some(tls) = tls_error(error) {
            let problem = format!("there is no safe connection: {tls}");
            return self
                .system
                .wrong(check, self.untrusted, problem, self.trust);
        }
        let (problem, fix) = if error.is_timeout() {
            (
                "does not answer in time",
                format!(
                    "check {setting}, and that a firewall or private endpoint lets this machine through"
                ),
            )
        } else if mentions(error, "dns error") {
            (
                "has a name that does not resolve",
                format!("correct {setting}, or link the private DNS zone to this network"),
            )
        } else if error.is_connect() {
            (
                "takes no connection",
                format!("check host and port of {setting}, and that the system runs"),
            )
        } else {
            (
                "broke the connection off",
                format!("check what stands between here and {setting}: proxy, firewall, gateway"),
            )
        };
        self.system.wrong(check, self.unreachable, problem, fix)
    }
}

fn mentions(error: &reqwest::Error, words: &str) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.to_string().contains(words) {
            return true;
        }
        cause = error.source();
    }
    false
}
