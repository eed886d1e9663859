//! A running broker's test hooks.

use std::sync::Arc;
use std::time::Duration;

use super::fault::{ConnectionView, Disturbance, Script, Whom};
use super::server::hub::Hub;

/// Makes a broker misbehave. Cheap to clone; does not keep the broker running.
#[derive(Clone)]
pub struct Hooks {
    hub: Arc<Hub>,
}

impl Hooks {
    pub(super) fn of(hub: &Arc<Hub>) -> Self {
        Hooks {
            hub: Arc::clone(hub),
        }
    }

    /// The next operations that match meet the script's fault. Scripts are asked in the order in
    /// which they came; each operation meets at most one fault.
    ///
    /// # Errors
    /// [`Script::check`]'s sentence.
    pub fn script(&self, script: Script) -> Result<(), String> {
        script.check()?;
        self.hub.faults.add(script);
        Ok(())
    }

    /// The scripts that have something left to do.
    pub fn pending(&self) -> Vec<Script> {
        self.hub.faults.pending()
    }

    /// Forgets all scripts.
    pub fn clear(&self) {
        self.hub.faults.clear();
    }

    /// The connections of the present.
    pub fn connections(&self) -> Vec<ConnectionView> {
        self.hub.registry.views()
    }

    /// Disturbs connections; how many were told. They do it within a moment.
    pub fn disturb(&self, whom: &Whom, what: &Disturbance) -> usize {
        self.hub.registry.disturb(whom, what)
    }

    /// Is silent on all connections for a time, on those that are made meanwhile too: what a
    /// client sees of a broken network.
    pub fn partition(&self, time: Duration) {
        self.hub.be_silent((self.hub.clock)() + time);
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.disturb(&Whom::default(), &Disturbance::StallMs(millis));
    }

    /// Ends all locks of an entity and its dead-letter queue as if their time had run out; how many
    /// there were (a session's lock covers all its messages), or `None` if there is no such entity.
    pub fn lose_locks(&self, entity: &str) -> Option<usize> {
        let entity = self.hub.entity(entity)?;
        Some(entity.with(|queue, now| queue.lose_locks(now)))
    }
}

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hooks").finish_non_exhaustive()
    }
}
