//! What goes wrong in a chaos run: on the network, by a [`Meddler`], and in the broker, by its test
//! hooks.

use std::time::Duration;

use local_stack::bus::{Broker, Chance, Disturbance, Fault, Operation, Script, Whom};
use rand::Rng;
use rand::rngs::StdRng;
use tokio::time::sleep;

use super::meddler::{Meddler, Mode};

/// What the chaos breaks things with.
pub(super) struct Mischief<'a> {
    pub(super) broker: &'a Broker,
    pub(super) meddler: &'a Meddler,
    pub(super) queues: &'a [&'static str],
}

impl Mischief<'_> {
    /// Does something bad, and names it.
    ///
    /// # Errors
    /// A fault that does not fit the operation it was meant for.
    pub(super) async fn do_something(&self, rng: &mut StdRng) -> Result<&'static str, String> {
        match rng.random() {
            true => Ok(self.on_the_network(rng).await),
            false => self.in_the_broker(rng),
        }
    }

    /// Ends what has begun: from here on everything works.
    pub(super) fn end(&self) {
        self.meddler.set(Mode::Pass);
        self.broker.hooks().clear();
    }

    async fn on_the_network(&self, rng: &mut StdRng) -> &'static str {
        let fault = match rng.random_range(0..100) {
            0..40 => {
                self.broker.drop_connections();
                "connections cut"
            }
            40..65 => {
                // Whatever the broker accepts or settles meanwhile, nobody will know.
                self.meddler.set(Mode::Swallow);
                sleep(Duration::from_millis(rng.random_range(1..500))).await;
                self.meddler.cut();
                "answers lost"
            }
            65..80 => {
                self.meddler.set(Mode::Tear);
                sleep(Duration::from_millis(rng.random_range(1..100))).await;
                self.meddler.cut();
                "frames torn"
            }
            80..90 => {
                self.meddler.set(Mode::Stall);
                sleep(Duration::from_millis(rng.random_range(10..1000))).await;
                "network stalled"
            }
            _ => {
                // Longer than a try may take: the client has to give the connection up by itself.
                self.meddler.set(Mode::Swallow);
                sleep(Duration::from_millis(rng.random_range(3500..5000))).await;
                self.meddler.cut();
                "broker silent"
            }
        };
        self.meddler.set(Mode::Pass);
        fault
    }

    fn in_the_broker(&self, rng: &mut StdRng) -> Result<&'static str, String> {
        let hooks = self.broker.hooks();
        let queue = self.queues[rng.random_range(0..self.queues.len())];
        let disturb = |what: Disturbance| {
            hooks.disturb(&Whom::default(), &what);
        };
        match rng.random_range(0..11) {
            0 => self.script(rng, Operation::Send, Fault::NoAnswer, "sends not answered"),
            1 => self.script(
                rng,
                Operation::Settle,
                Fault::NoAnswer,
                "dispositions dropped",
            ),
            2 => self.script(
                rng,
                Operation::Request,
                Fault::NoAnswer,
                "requests not answered",
            ),
            3 => {
                let late = Fault::LateMs(rng.random_range(10..4000));
                self.script(rng, Operation::Settle, late, "dispositions late")
            }
            4 => {
                let operation = match rng.random_range(0..4) {
                    0 => Operation::Attach,
                    1 => Operation::Send,
                    2 => Operation::Settle,
                    _ => Operation::Request,
                };
                self.script(rng, operation, Fault::busy(), "server busy")
            }
            5 => self.script(rng, Operation::Deliver, Fault::NoAnswer, "deliveries lost"),
            6 => {
                let operation = match rng.random() {
                    true => Operation::Settle,
                    false => Operation::Deliver,
                };
                self.script(rng, operation, Fault::LoseLock, "locks lost")
            }
            7 => {
                disturb(Disturbance::ExpireTokens);
                Ok("tokens expired")
            }
            8 => {
                disturb(Disturbance::detach_forced());
                Ok("links detached")
            }
            9 => {
                hooks.lose_locks(queue);
                Ok("all locks lost")
            }
            _ => {
                hooks.partition(Duration::from_millis(rng.random_range(10..5000)));
                Ok("partition")
            }
        }
    }

    /// A fault that some of the next operations meet, before or after they are carried out.
    fn script(
        &self,
        rng: &mut StdRng,
        operation: Operation,
        fault: Fault,
        name: &'static str,
    ) -> Result<&'static str, String> {
        let mut script = Script::once(fault).times(rng.random_range(1..20));
        script.operation = Some(operation);
        script.after = rng.random();
        script.chance = Some(Chance {
            rate: rng.random_range(0.05..1.0),
            seed: rng.random(),
        });
        self.broker.hooks().script(script).map(|()| name)
    }
}
