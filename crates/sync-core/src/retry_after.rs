//! `Retry-After` in both of its forms: seconds, or a date (RFC 9110, section 10.2.3).

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// How long to stay away from `now` on; `None` when the header cannot be read.
pub(crate) fn read(header: &str, now: OffsetDateTime) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = OffsetDateTime::parse(header, &Rfc2822).ok()?;
    // A date that has passed means: come back now.
    Some((until - now).try_into().unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn seconds_and_dates_are_both_obeyed() {
        let now = datetime!(2026-03-02 09:15:00 UTC);
        assert_eq!(read(" 37 ", now), Some(Duration::from_secs(37)));
        let date = "Mon, 02 Mar 2026 09:15:30 GMT";
        assert_eq!(read(date, now), Some(Duration::from_secs(30)));
        assert_eq!(
            read("Sun, 01 Mar 2026 09:15:30 GMT", now),
            Some(Duration::ZERO)
        );
        assert_eq!(read("soon", now), None);
    }
}
