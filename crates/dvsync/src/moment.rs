//! A time as an option: absolute, or so long ago.

use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

/// Reads one.
///
/// # Errors
/// A sentence with examples.
pub(crate) fn moment(text: &str) -> Result<OffsetDateTime, String> {
    moment_at(text, OffsetDateTime::now_utc())
}

fn moment_at(text: &str, now: OffsetDateTime) -> Result<OffsetDateTime, String> {
    if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
        return Ok(time);
    }
    let unit = match text.chars().last() {
        Some('m') => Duration::MINUTE,
        Some('h') => Duration::HOUR,
        Some('d') => Duration::DAY,
        _ => return Err(NO_TIME.into()),
    };
    let count: i32 = text[..text.len() - 1].parse().map_err(|_| NO_TIME)?;
    now.checked_sub(unit * count).ok_or_else(|| NO_TIME.into())
}

const NO_TIME: &str = "no time: give one like 2026-03-02T09:15:00Z, or so long ago: 90m, 12h, 3d";

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_time_is_absolute_or_so_long_ago() {
        let now = datetime!(2026-03-02 09:15:00 UTC);
        let read = |text: &str| moment_at(text, now);
        assert_eq!(
            read("2026-03-01T00:00:00Z"),
            Ok(datetime!(2026-03-01 00:00 UTC))
        );
        assert_eq!(read("90m"), Ok(datetime!(2026-03-02 07:45 UTC)));
        assert_eq!(read("3d"), Ok(datetime!(2026-02-27 09:15 UTC)));
        for wrong in [
            "",
            "m",
            "yesterday",
            "3w",
            "2026-03-01",
            "9999999999d",
            "3ä",
        ] {
            assert_eq!(read(wrong), Err(NO_TIME.to_owned()), "{wrong}");
        }
    }
}
