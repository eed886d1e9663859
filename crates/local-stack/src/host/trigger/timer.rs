//! Runs a timer function, one run at a time (azure-webjobs-sdk-extensions `TimerListener`).

use std::sync::Arc;

use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Schedule, ScheduleRecord, TimerRecords};
use crate::host::config::{FunctionConfig, TimerConfig};
use crate::host::encode::{Sys, encode_timer};
use crate::host::invoke::Dispatcher;
use crate::host::process::LineLevel;

/// One timer function of a running host.
pub(crate) struct TimerListener {
    pub(crate) function: Arc<FunctionConfig>,
    pub(crate) config: TimerConfig,
    pub(crate) schedule: Schedule,
    pub(crate) records: TimerRecords,
    pub(crate) dispatcher: Dispatcher,
}

impl TimerListener {
    /// Runs until `stop`; a run that is under way then still ends.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let now = OffsetDateTime::now_utc();
        let monitored = self.config.use_monitor && !self.schedule.is_too_frequent_to_monitor(now);
        let mut record = None;
        let mut past_due = false;
        if monitored {
            let recorded = self.records.get(&self.function.name);
            let Some(start) = ScheduleRecord::at_start(recorded, &self.schedule, now) else {
                return;
            };
            self.keep(start.0);
            (record, past_due) = (Some(start.0), start.1);
        }
        if past_due || self.config.run_on_startup {
            self.tick(&mut record, past_due, false).await;
        }
        loop {
            let now = OffsetDateTime::now_utc();
            // An expression whose day never comes never runs.
            let Some(next) = self.schedule.next_after(now) else {
                return;
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
            self.keep(after);
            *record = Some(after);
        }
    }

    fn keep(&self, record: ScheduleRecord) {
        if let Err(error) = self.records.set(&self.function.name, record) {
            let text = format!(
                "cannot keep the schedule of timer {}: {error}",
                self.function.name
            );
            self.dispatcher.log.host(LineLevel::Warning, text);
        }
    }
}
