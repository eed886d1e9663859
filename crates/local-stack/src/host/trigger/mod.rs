//! What starts invocations: messages and timers.

mod batch;
mod http;
mod ncrontab;
mod renewal;
mod schedule;
mod service_bus;
mod sessions;
mod timer;
mod timer_record;
mod timer_storage;

pub(crate) use self::http::HttpListener;
pub(crate) use schedule::Schedule;
pub(crate) use service_bus::ServiceBusListener;
pub(crate) use timer::TimerListener;
pub(crate) use timer_record::{ScheduleRecord, TimerRecords};
pub(crate) use timer_storage::{TimerLock, TimerStorage};
