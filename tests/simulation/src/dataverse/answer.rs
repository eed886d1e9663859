//! How Dataverse fails. The answers go through the shipped classification.

use std::time::Duration;

use sync_core::dataverse::{ServiceError, classify};
use sync_core::failure::{Failure, Stage};

use super::MARKER;
use crate::life::Life;
use crate::plan::Fault;
use crate::wire::{Lost, Wire, exchange};
use crate::world::{Part, State};

/// The client gives up after this.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes one call: `asked` for logs, `effect` at the moment it takes effect.
pub(super) async fn call<T: Send + 'static>(
    life: &Life,
    row: Option<usize>,
    stage: Stage,
    asked: &'static str,
    effect: impl FnOnce(&mut State) -> T + Send + 'static,
) -> Result<T, Failure> {
    let (wire, error) = {
        let mut s = life.world.lock();
        let (error, lost) = trouble(&mut s);
        (
            Wire {
                up: s.hop(),
                down: s.hop(),
                patience: PATIENCE,
                lost,
            },
            error,
        )
    };
    let answer = exchange(life, wire, move |s| match error {
        Some(error) => Err(error),
        None if s.is_down(Part::Dataverse) => Err(unavailable(None)),
        None => Ok(effect(s)),
    });
    let failure = match answer.await {
        Some(Ok(value)) => return Ok(value),
        Some(Err(error)) => classify(&error, stage, asked),
        None => {
            let text = format!("Dataverse did not answer {asked} within {PATIENCE:?}.");
            Failure::transient(stage, "DataverseUnreachable", text)
        }
    };
    life.world.lock().saw_failure(life, row, asked, &failure);
    Err(failure)
}

fn trouble(s: &mut State) -> (Option<ServiceError>, Lost) {
    if s.is_down(Part::Dataverse) {
        return match s.dice.index(4) {
            0 => (None, Lost::Request),
            1 => (Some(unavailable(Some("20"))), Lost::Nothing),
            _ => (Some(unavailable(None)), Lost::Nothing),
        };
    }
    if s.strikes(Fault::DataverseThrottle) {
        let after = s.dice.between(1, 90).to_string();
        return (Some(error(429, Some(&after), "0x80072322")), Lost::Nothing);
    }
    if s.strikes(Fault::DataverseError) {
        return match s.dice.index(4) {
            0 => (None, Lost::Request),
            1 => (None, Lost::Answer),
            2 => (Some(error(500, None, "0x80044151")), Lost::Nothing),
            _ => (Some(unavailable(None)), Lost::Nothing),
        };
    }
    (None, Lost::Nothing)
}

fn unavailable(retry_after: Option<&str>) -> ServiceError {
    ServiceError::read(
        503,
        retry_after,
        vec![],
        b"<html>Service Unavailable</html>",
    )
}

fn error(status: u16, retry_after: Option<&str>, code: &str) -> ServiceError {
    // Texts of Dataverse may quote the row.
    let body = format!(r#"{{"error":{{"code":"{code}","message":"{MARKER}text"}}}}"#);
    ServiceError::read(status, retry_after, vec!["r-1".into()], body.as_bytes())
}
