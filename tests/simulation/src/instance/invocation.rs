//! One invocation under the Functions host: the message in, lock renewals meanwhile, and the settlement.

use std::sync::Arc;
use std::time::Duration;

use sync_core::decide::Disposition;
use sync_core::message::Message;
use sync_core::queue::NotSettled;
use tokio::time::sleep;
use uuid::Uuid;

use super::Handler;
use crate::broker::{LOCK, Stored};
use crate::life::Life;
use crate::plan::{Fault, TargetKind};
use crate::world::Which;

pub(super) struct Invocation {
    pub(super) life: Arc<Life>,
    pub(super) which: Which,
    pub(super) token: Uuid,
    pub(super) stored: Stored,
    pub(super) handler: Handler,
}

enum Ended {
    Answered(Result<Disposition, NotSettled>),
    Dropped,
}

impl Invocation {
    pub(super) async fn run(self) {
        let world = Arc::clone(&self.life.world);
        let (network, drop_after, lose_after) = {
            let mut s = world.lock();
            s.handling(&self.life, self.which, self.token, &self.stored);
            // A dropped invocation leaves a flight behind that nobody can fence on a plain target.
            let drops = s.plan.target == TargetKind::Comparing && s.strikes(Fault::Drop);
            let loses = s.strikes(Fault::LockLost);
            let never = Duration::from_secs(86_400);
            let drop_after = if drops { s.dice.millis(1, 4000) } else { never };
            let lose_after = if loses { s.dice.millis(1, 4000) } else { never };
            (s.hop(), drop_after, lose_after)
        };
        sleep(network).await;
        let work = (self.handler)(self.message());
        let ended = tokio::select! {
            biased;
            answer = work => Ended::Answered(answer),
            () = sleep(drop_after) => Ended::Dropped,
            () = self.keep_lock(lose_after) => Ended::Dropped,
        };
        let failed = !matches!(ended, Ended::Answered(Ok(_)));
        world.lock().handled(self.token, failed);
        self.settle(ended).await;
    }

    /// Renews the lock for as long as it can; never ends.
    async fn keep_lock(&self, lose_after: Duration) {
        let world = &self.life.world;
        if lose_after < LOCK {
            sleep(lose_after).await;
            {
                let mut s = world.lock();
                s.figures.locks_lost += 1;
                s.give_back(world, self.which, self.token, "its lock was lost");
            }
            return std::future::pending().await;
        }
        loop {
            sleep(LOCK / 2).await;
            let mut s = world.lock();
            let now = s.now();
            if !s.is_down(self.which.part()) {
                s.queue(self.which).renew(self.token, now);
            }
        }
    }

    async fn settle(&self, ended: Ended) {
        self.life.point().await;
        let world = &self.life.world;
        let pause = world.lock().hop();
        sleep(pause).await;
        let mut s = world.lock();
        if s.is_down(self.which.part()) || s.strikes(Fault::SettleLost) {
            return;
        }
        match ended {
            Ended::Answered(Ok(disposition)) => {
                s.answered(self.which, &disposition);
                s.complete(self.which, self.token);
            }
            Ended::Answered(Err(_)) => {
                s.give_back(world, self.which, self.token, "its invocation failed");
            }
            Ended::Dropped => {
                s.give_back(world, self.which, self.token, "its invocation was dropped");
            }
        }
    }

    fn message(&self) -> Message {
        Message {
            body: self.stored.body.clone(),
            message_id: self.stored.message_id.clone(),
            correlation_id: self.stored.correlation_id.clone(),
            lock_token: self.token,
            delivery_count: self.stored.failed + 1,
            enqueued_time: self.stored.enqueued,
            session_id: self.stored.session_id.clone(),
            content_type: self.stored.content_type.clone(),
            subject: self.stored.subject.clone(),
            properties: self.stored.properties.clone(),
        }
    }
}
