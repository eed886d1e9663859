//! What starts invocations: messages and timers.

mod ncrontab;
mod renewal;
mod schedule;
mod service_bus;
mod timer;
mod timer_record;

pub(crate) use schedule::Schedule;
pub(crate) use service_bus::ServiceBusListener;
pub(crate) use timer::TimerListener;
pub(crate) use timer_record::{ScheduleRecord, TimerRecords};
