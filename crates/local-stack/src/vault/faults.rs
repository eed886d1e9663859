//! What goes wrong at the vault, on purpose.

use serde::{Deserialize, Serialize};

/// Scripted failures of authenticated calls.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VaultFaults {
    /// The status to answer; `None` ends it. 429 is answered as the service does when a vault's limit is
    /// reached, 403 as it does to a caller without a role.
    pub fail_with: Option<u16>,
    /// So many calls, and then no more; `None` means all calls.
    pub fail_next: Option<u32>,
    /// `Retry-After` of these answers, seconds. The service itself has been seen to send 429 without one.
    pub retry_after_s: Option<u64>,
}

impl VaultFaults {
    /// The failure that hits a call: its status, and seconds to wait.
    pub(super) fn draw(&mut self) -> Option<(u16, Option<u64>)> {
        let status = self.fail_with?;
        if let Some(left) = &mut self.fail_next {
            *left = left.checked_sub(1)?;
        }
        Some((status, self.retry_after_s))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_strikes_as_often_as_it_was_told_to() {
        let mut faults = VaultFaults {
            fail_with: Some(429),
            fail_next: Some(2),
            retry_after_s: Some(1),
        };
        let drawn: Vec<_> = (0..3).map(|_| faults.draw()).collect();
        assert_eq!(drawn, [Some((429, Some(1))), Some((429, Some(1))), None]);
        faults.fail_next = None;
        assert!(faults.draw().is_some());
        assert_eq!(VaultFaults::default().draw(), None);
    }
}
