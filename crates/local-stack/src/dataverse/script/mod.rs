//! One answer on demand: what happens to the next request that matches.
//!
//! Rates ([`DataverseFaults`](super::DataverseFaults)) make a bad day; a script makes one certain
//! failure, so that a test can meet every one of them.

mod known;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

pub use known::{KNOWN_ANSWERS, KnownAnswer};

/// What happens to the next request of the integration that matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// HTTP method; any if absent.
    #[serde(default)]
    pub method: Option<String>,
    /// A part of the decoded URL below the service root, query included; any if absent.
    #[serde(default)]
    pub url: Option<String>,
    /// Look at the operations inside batches instead of at whole requests.
    #[serde(default)]
    pub in_batch: bool,
    /// How many matching requests to leave alone first.
    #[serde(default)]
    pub skip: u32,
    /// How many matching requests to hit.
    #[serde(default = "once")]
    pub times: u32,
    /// Do what was asked for first, and only then fail: the caller cannot know.
    #[serde(default)]
    pub after_commit: bool,
    /// What happens.
    pub fault: ScriptedFault,
}

fn once() -> u32 {
    1
}

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScriptedFault {
    /// One of [`KNOWN_ANSWERS`], by its name.
    Known(String),
    /// Any answer.
    Answer(ScriptedAnswer),
    /// The connection is reset; not inside a batch.
    Reset,
    /// It takes so many milliseconds longer; not inside a batch.
    SlowMs(u64),
}

/// An answer as it is to be given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScriptedAnswer {
    /// HTTP status.
    pub status: u16,
    /// Error code; with neither code nor message the body is empty.
    pub code: String,
    /// Error message.
    pub message: String,
    /// Shape of the body.
    pub body: BodyShape,
    /// The `Retry-After` header, word for word: gateways send dates too.
    pub retry_after: Option<String>,
}

/// What the body of an error looks like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BodyShape {
    /// `{"error":{"code":…,"message":…}}`
    #[default]
    Json,
    /// `{"Message":…}`, as some failures outside OData are told.
    Message,
    /// A page for people, as gateways send it.
    Html,
}

impl Script {
    /// The next request that matches is answered with the known answer of that name.
    pub fn known(name: &str) -> Self {
        Self::once(ScriptedFault::Known(name.to_owned()))
    }

    /// The next request meets this fault.
    pub fn once(fault: ScriptedFault) -> Self {
        Self {
            method: None,
            url: None,
            in_batch: false,
            skip: 0,
            times: 1,
            after_commit: false,
            fault,
        }
    }

    /// Only requests with this method, whose URL contains this.
    #[must_use]
    pub fn on(mut self, method: &str, url: &str) -> Self {
        self.method = Some(method.to_owned());
        self.url = Some(url.to_owned());
        self
    }

    /// # Errors
    /// A sentence naming a known answer that does not exist.
    pub(super) fn check(&self) -> Result<(), String> {
        match &self.fault {
            ScriptedFault::Known(name) if KnownAnswer::named(name).is_none() => {
                Err(format!("there is no known answer {name:?}"))
            }
            ScriptedFault::Reset | ScriptedFault::SlowMs(_) if self.in_batch => {
                Err("inside a batch only answers can be scripted".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// The scripted answer; `None` when there is none to give.
    pub(super) fn answer(&self) -> Option<ScriptedAnswer> {
        match &self.fault {
            ScriptedFault::Known(name) => KnownAnswer::named(name).map(KnownAnswer::answer),
            ScriptedFault::Answer(answer) => Some(answer.clone()),
            ScriptedFault::Reset | ScriptedFault::SlowMs(_) => None,
        }
    }

    fn matches(&self, method: &str, url: &str, in_batch: bool) -> bool {
        let (wanted, part) = (self.method.as_deref(), self.url.as_deref());
        self.in_batch == in_batch
            && wanted.is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && part.is_none_or(|part| url.contains(part))
    }
}

/// The scripts still to be played, in the order they were given.
#[derive(Debug, Default)]
pub(super) struct Scripts(Vec<Script>);

impl Scripts {
    pub(super) fn add(&mut self, script: Script) {
        self.0.push(script);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn pending(&self) -> &[Script] {
        &self.0
    }

    /// The script that hits this request, if any; one that is used up is forgotten.
    pub(super) fn take(&mut self, method: &str, url: &str, in_batch: bool) -> Option<Script> {
        if self.0.is_empty() {
            return None;
        }
        let url = percent_decode_str(&url.replace('+', " "))
            .decode_utf8_lossy()
            .into_owned();
        let mut hit = None;
        for script in &mut self.0 {
            if script.times == 0 || !script.matches(method, &url, in_batch) {
                continue;
            }
            if script.skip > 0 {
                script.skip -= 1;
                continue;
            }
            script.times -= 1;
            hit = Some(script.clone());
            break;
        }
        self.0.retain(|script| script.times > 0);
        hit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_hits_what_matches_so_often_and_is_forgotten() {
        let mut scripts = Scripts::default();
        scripts.add(Script {
            skip: 1,
            times: 2,
            ..Script::known("bad_gateway").on("GET", "accounts(A'1)?$select=name")
        });
        let url = "accounts(A%271)?%24select=name";
        assert!(scripts.take("PATCH", url, false).is_none());
        assert!(scripts.take("GET", url, true).is_none());
        let hits = (0..5).map(|_| scripts.take("get", url, false).is_some());
        assert_eq!(hits.collect::<Vec<_>>(), [false, true, true, false, false]);
        assert!(scripts.pending().is_empty());
    }

    #[test]
    fn scripts_are_written_in_json() {
        let text = r#"{"method":"PATCH","fault":{"known":"sql_deadlock"}}"#;
        let script: Script = serde_json::from_str(text).unwrap();
        assert_eq!(script.check(), Ok(()));
        assert_eq!((script.times, script.after_commit), (1, false));
        assert!(Script::known("sql_deadlok").check().is_err());
        let text = r#"{"fault":{"answer":{"status":503,"retry_after":"7","body":"html"}}}"#;
        assert!(serde_json::from_str::<Script>(text).is_ok());
        assert!(serde_json::from_str::<Script>(r#"{"fault":"reset"}"#).is_ok());
    }
}
