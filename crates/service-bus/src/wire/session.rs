//! How a receiving link asks for a session, and what it is told of the one it gets.
//!
//! Filter and property are those of Azure.Messaging.ServiceBus (`AmqpReceiver`) and azure-servicebus
//! for Python (`_servicebus_session.py`): a plain value, not a described one.

use std::time::Duration;

use fe2o3_amqp_types::definitions::Fields;
use fe2o3_amqp_types::messaging::{Source, SourceBuilder};
use serde_amqp::Value as Amqp;
use serde_amqp::primitives::{OrderedMap, Symbol};
use time::OffsetDateTime;

use super::value::{integer, text};

const FILTER: &str = "com.microsoft:session-filter";
const LOCKED_UNTIL: &str = "com.microsoft:locked-until-utc";
const TIMEOUT: &str = "com.microsoft:timeout";
/// .NET counts in tenths of microseconds since the year 1; this is 1970.
const UNIX_EPOCH_TICKS: i64 = 621_355_968_000_000_000;

/// Which session is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    Named(String),
    /// The next that is free and has messages; the broker may look for one so long.
    Next(Duration),
}

/// A session granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) id: String,
    pub(crate) locked_until: OffsetDateTime,
}

/// The source of a link that asks for a session.
pub(crate) fn source(address: &str, ask: &Ask) -> SourceBuilder {
    let wanted = match ask {
        Ask::Named(id) => Amqp::String(id.clone()),
        Ask::Next(_) => Amqp::Null,
    };
    Source::builder()
        .address(address)
        .add_to_filter_using_legacy_format(FILTER, wanted)
}

/// The properties of such a link.
pub(crate) fn properties(ask: &Ask) -> Fields {
    let mut properties = OrderedMap::new();
    if let Ask::Next(patience) = ask {
        let millis = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
        properties.insert(Symbol::from(TIMEOUT), Amqp::Uint(millis));
    }
    properties
}

/// What the broker says of the session it granted; `None` if it says nothing that makes sense.
pub(crate) fn granted(source: Option<&Source>, properties: Option<&Fields>) -> Option<Granted> {
    let filter = source?.filter.as_ref()?;
    let id = match filter.get(&Symbol::from(FILTER))? {
        Amqp::Described(described) => text(&described.value)?,
        plain => text(plain)?,
    };
    let ticks = integer(properties?.get(&Symbol::from(LOCKED_UNTIL))?)?;
    let since_1970 = i128::from(ticks.checked_sub(UNIX_EPOCH_TICKS)?) * 100;
    Some(Granted {
        id: id.to_owned(),
        locked_until: OffsetDateTime::from_unix_timestamp_nanos(since_1970).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_granted_session_is_read_from_filter_and_property() {
        let source = source("orders", &Ask::Named("s".into())).build();
        let mut properties = properties(&Ask::Next(Duration::from_secs(5)));
        assert_eq!(
            properties.get(&Symbol::from(TIMEOUT)),
            Some(&Amqp::Uint(5_000))
        );
        assert_eq!(granted(Some(&source), Some(&properties)), None);
        // `new DateTime(2026, 1, 5, 8, 0, 0, DateTimeKind.Utc).Ticks`
        let ticks = Amqp::Long(639_031_968_000_000_000);
        properties.insert(Symbol::from(LOCKED_UNTIL), ticks);
        let granted = granted(Some(&source), Some(&properties)).unwrap();
        assert_eq!(granted.id, "s");
        assert_eq!(granted.locked_until, datetime!(2026-01-05 08:00 UTC));
    }
}
