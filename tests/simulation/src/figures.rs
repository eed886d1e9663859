//! What a run counts.

use std::ops::AddAssign;

macro_rules! figures {
    ($($(#[$doc:meta])* $name:ident: $label:literal),* $(,)?) => {
        /// Counters of one run, or of many added up.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Figures { $($(#[$doc])* pub $name: u64,)* }

        impl AddAssign for Figures {
            fn add_assign(&mut self, other: Self) { $(self.$name += other.$name;)* }
        }

        impl Figures {
            /// Each counter with its label.
            #[must_use]
            pub fn labelled(&self) -> Vec<(&'static str, u64)> { vec![$(($label, self.$name)),*] }
        }
    };
}

figures! {
    /// Business changes announced.
    notifications: "notifications",
    /// Calls to the target that changed it.
    deliveries: "deliveries applied",
    /// Calls the target answered with anything but success, or not at all.
    failed_deliveries: "deliveries failed",
    /// Notifications that completed, minus acknowledgements sent: coalesced or superseded.
    coalesced: "coalesced or superseded",
    /// Acknowledgements written to a row.
    acknowledged: "acknowledgements written",
    /// Scheduled copies.
    retries: "retries scheduled",
    /// Deliveries of a message after its first.
    redeliveries: "redeliveries",
    /// Messages that duplicate detection dropped.
    folded: "duplicates folded",
    /// Messages in a dead-letter queue.
    dead: "dead-lettered",
    /// Of those, the ones the broker moved itself after too many deliveries.
    worn_out: "dead-lettered by MaxDeliveryCount",
    /// Dead letters that an operator sent again.
    resent: "dead letters resent",
    /// Instances that died.
    crashes: "crashes",
    /// Locks lost while their message was worked on.
    locks_lost: "locks lost",
    /// Parts that were stopped.
    outages: "outages",
    /// Answers that never reached their caller.
    answers_lost: "answers lost",
    /// Requests the target applied after its caller had given up.
    late: "late applies",
    /// Outbox rows sent by the sweeper.
    swept: "swept from the outbox",
    /// Rows that differ, and a dead letter says why.
    explained: "rows that differ with a dead letter",
    /// Rows that differ because their last overwriter lost its lock and then died or failed, on a target
    /// that does not compare versions: only a comparing target can fence those.
    unfenced: "rows that differ since no lock could fence",
    /// Virtual seconds.
    virtual_seconds: "virtual seconds",
}
