//! Runs a timer function, one run at a time (azure-webjobs-sdk-extensions `TimerListener`).

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Schedule, ScheduleRecord, TimerLock, TimerStorage};
use crate::host::config::{FunctionConfig, TimerConfig};
use crate::host::encode::{Sys, encode_timer};
use crate::host::invoke::Dispatcher;
use crate::host::process::LineLevel;

/// One timer function of a running host.
pub(crate) struct TimerListener {
    pub(crate) function: Arc<FunctionConfig>,
    pub(crate) config: TimerConfig,
    pub(crate) schedule: Schedule,
    pub(crate) storage: TimerStorage,
    /// Which instance this is, for those who look at the lock.
    pub(crate) instance: String,
    pub(crate) dispatcher: Dispatcher,
}

/// The pause after storage could not be reached.
const PAUSE: Duration = Duration::from_secs(1);

impl TimerListener {
    /// Runs until `stop`; a run that is under way then still ends. Of several instances only the one
    /// that has the lock runs the timer; another takes over when it is gone.
    pub(crate) async fn run(self, stop: CancellationToken) {
        while let Some(lock) = self.lock(&stop).await {
            let lost = tokio::select! {
                () = self.run_alone(&stop) => false,
                () = self.hold(&lock) => true,
            };
            if !lost {
                if let Err(error) = lock.release().await {
                    self.warn(format!("giving back the lock: {error}"));
                }
                return;
            }
            // The host itself ends here, and the platform starts a new one.
            self.warn("another instance took the lock over".to_owned());
        }
    }

    /// Waits for the lock. `None` when told to stop.
    async fn lock(&self, stop: &CancellationToken) -> Option<TimerLock> {
        let host = &self.dispatcher.host;
        while !stop.is_cancelled() {
            let name = &self.function.name;
            let period = host.listener_lock_period;
            let wait = match self.storage.try_lock(name, period, &self.instance).await {
                Ok(Some(lock)) => return Some(lock),
                Ok(None) => host.listener_lock_poll,
                Err(error) => {
                    self.warn(error.to_string());
                    PAUSE
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        None
    }

    /// Renews the lock half-way, and every second while that fails. Returns when it is lost.
    async fn hold(&self, lock: &TimerLock) {
        let period = self.dispatcher.host.listener_lock_period;
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep_until(renewed + period / 2).await;
            let at = Instant::now();
            match lock.renew().await {
                Ok(true) => renewed = at,
                Ok(false) => return,
                Err(error) => {
                    self.warn(error.to_string());
                    if renewed.elapsed() >= period {
                        return;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// What was kept, however long storage is away: to go on without would lose a missed occurrence.
    /// `None` when told to stop.
    async fn recorded(&self, stop: &CancellationToken) -> Option<Option<ScheduleRecord>> {
        loop {
            match self.storage.get(&self.function.name).await {
                Ok(recorded) => return Some(recorded),
                Err(error) => self.warn(error.to_string()),
            }
            tokio::select! {
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    fn warn(&self, what: String) {
        let text = format!("timer {}: {what}", self.function.name);
        self.dispatcher.log.host(LineLevel::Warning, text);
    }

    async fn run_alone(&self, stop: &CancellationToken) {
        let now = OffsetDateTime::now_utc();
        let monitored = self.config.use_monitor && !self.schedule.is_too_frequent_to_monitor(now);
        let mut record = None;
        let mut past_due = false;
        if monitored {
            let Some(recorded) = self.recorded(stop).await else {
                return;
            };
            let Some(start) = ScheduleRecord::at_start(recorded, &self.schedule, now) else {
                return stop.cancelled().await;
            };
            self.keep(start.0).await;
            (record, past_due) = (Some(start.0), start.1);
        }
        if past_due || self.config.run_on_startup {
            self.tick(&mut record, past_due, false).await;
        }
        loop {
            let now = OffsetDateTime::now_utc();
            // An expression whose day never comes never runs.
            let Some(next) = self.schedule.next_after(now) else {
                return stop.cancelled().await;
            };
            let wait = (next - now).try_into().unwrap_or_default();
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            self.tick(&mut record, false, true).await;
        }
    }

    /// One run. Its failure is logged by the dispatcher and otherwise ignored, as the host does.
    async fn tick(&self, record: &mut Option<ScheduleRecord>, past_due: bool, on_schedule: bool) {
        let ran_at = OffsetDateTime::now_utc();
        let sys = Sys {
            method_name: self.function.name.clone(),
            utc_now: ran_at,
            rand_guid: Uuid::new_v4(),
        };
        let dst = self.schedule.adjusts_for_dst();
        let shown = *record;
        let run = self.dispatcher.invoke(&self.function, |retry| {
            encode_timer(
                &self.function.binding,
                dst,
                shown.as_ref(),
                past_due,
                &sys,
                retry.as_ref(),
            )
        });
        let _ = run.await;
        if let Some(before) = *record
            && let Some(after) = before.after_run(&self.schedule, ran_at, on_schedule)
        {
            self.keep(after).await;
            *record = Some(after);
        }
    }

    async fn keep(&self, record: ScheduleRecord) {
        if let Err(error) = self.storage.set(&self.function.name, record).await {
            self.warn(format!("its schedule is not kept: {error}"));
        }
    }
}
