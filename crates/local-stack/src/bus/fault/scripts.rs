//! The scripts that still have something to do, and which of them an operation meets.

use super::{Fault, Operation, Script};
use crate::dice::Dice;

/// Scripts in the order in which they were added; each operation meets at most one.
#[derive(Debug, Default)]
pub(crate) struct Scripts(Vec<Armed>);

#[derive(Debug)]
struct Armed {
    script: Script,
    dice: Dice,
}

/// What an operation meets.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Hit {
    pub(crate) fault: Fault,
    /// Whether the operation is carried out first.
    pub(crate) after: bool,
}

impl Scripts {
    pub(crate) fn add(&mut self, script: Script) {
        let dice = Dice::new(script.chance.map_or(0, |chance| chance.seed));
        if script.times > 0 {
            self.0.push(Armed { script, dice });
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is left to do.
    pub(crate) fn pending(&self) -> Vec<Script> {
        self.0.iter().map(|armed| armed.script.clone()).collect()
    }

    /// What this operation meets. `request` is the full name of a management request.
    pub(crate) fn take(
        &mut self,
        operation: Operation,
        entity: &str,
        request: Option<&str>,
    ) -> Option<Hit> {
        for index in 0..self.0.len() {
            let Armed { script, dice } = &mut self.0[index];
            if !script.matches(operation, entity, request) {
                continue;
            }
            if script.skip > 0 {
                script.skip -= 1;
                continue;
            }
            if let Some(chance) = script.chance
                && dice.pick(&[chance.rate]).is_none()
            {
                continue;
            }
            let hit = Hit {
                fault: script.fault.clone(),
                after: script.after,
            };
            script.times -= 1;
            if script.times == 0 {
                self.0.remove(index);
            }
            return Some(hit);
        }
        None
    }
}

impl Script {
    fn matches(&self, operation: Operation, entity: &str, request: Option<&str>) -> bool {
        let is_operation = self.operation.is_none_or(|one| one == operation);
        let is_entity = self
            .entity
            .as_ref()
            .is_none_or(|one| one.eq_ignore_ascii_case(entity));
        let is_request = self.request.as_ref().is_none_or(|one| {
            let one = one.trim_start_matches("com.microsoft:");
            request.is_some_and(|name| name.trim_start_matches("com.microsoft:") == one)
        });
        is_operation && is_entity && is_request
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::fault::Chance;

    fn take(scripts: &mut Scripts, operation: Operation, entity: &str) -> bool {
        scripts.take(operation, entity, None).is_some()
    }

    #[test]
    fn a_script_hits_what_it_names_and_so_often_only() {
        let mut scripts = Scripts::default();
        let script = Script::once(Fault::NoAnswer).on(Operation::Send, "Orders");
        scripts.add(script.times(2).skipping(1));
        assert!(!take(&mut scripts, Operation::Settle, "orders"));
        assert!(!take(&mut scripts, Operation::Send, "others"));
        let hits: Vec<bool> = (0..4)
            .map(|_| take(&mut scripts, Operation::Send, "orders"))
            .collect();
        assert_eq!(hits, [false, true, true, false]);
        assert!(scripts.is_empty());
    }

    #[test]
    fn a_request_is_named_with_or_without_its_prefix() {
        let mut scripts = Scripts::default();
        for name in ["renew-lock", "com.microsoft:renew-lock"] {
            scripts.add(Script::once(Fault::NoAnswer).on_request(name, "q"));
        }
        let hit = |scripts: &mut Scripts, name| {
            scripts.take(Operation::Request, "q", Some(name)).is_some()
        };
        assert!(!hit(&mut scripts, "com.microsoft:peek-message"));
        assert!(hit(&mut scripts, "com.microsoft:renew-lock"));
        assert!(hit(&mut scripts, "com.microsoft:renew-lock"));
        assert!(!hit(&mut scripts, "com.microsoft:renew-lock"));
    }

    #[test]
    fn a_chance_is_the_same_for_the_same_seed() {
        let hits = |seed| {
            let mut scripts = Scripts::default();
            let mut script = Script::once(Fault::NoAnswer).times(u32::MAX);
            script.chance = Some(Chance { rate: 0.5, seed });
            scripts.add(script);
            (0..64)
                .map(|_| take(&mut scripts, Operation::Send, "q"))
                .collect::<Vec<_>>()
        };
        assert_eq!(hits(3), hits(3));
        assert_ne!(hits(3), hits(4));
        assert!(hits(3).contains(&true) && hits(3).contains(&false));
    }

    #[test]
    fn a_fault_that_does_not_fit_its_operation_is_refused() {
        let check = |fault, operation| Script::once(fault).on(operation, "q").check();
        assert!(check(Fault::busy(), Operation::Deliver).is_err());
        assert!(check(Fault::LoseLock, Operation::Send).is_err());
        assert!(check(Fault::LoseLock, Operation::Settle).is_ok());
        assert!(Script::once(Fault::LoseLock).check().is_err());
    }
}
