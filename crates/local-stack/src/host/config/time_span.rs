//! .NET's `TimeSpan` in its invariant text form: `[-][d.]hh:mm[:ss[.fffffff]]`, or whole days.

use std::time::Duration;

/// Reads a time span, which may be negative. `None` when it is not one.
pub(crate) fn parse_time_span(text: &str) -> Option<time::Duration> {
    let text = text.trim();
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (days, clock) = match text.split_once(':') {
        None => (text, None),
        Some((first, _)) => match first.split_once('.') {
            None => ("0", Some(text)),
            Some((days, _)) => (days, Some(&text[days.len() + 1..])),
        },
    };
    let mut span = time::Duration::days(number(days, 10_675_199)?);
    if let Some(clock) = clock {
        let mut parts = clock.split(':');
        span += time::Duration::hours(number(parts.next()?, 23)?);
        span += time::Duration::minutes(number(parts.next()?, 59)?);
        if let Some(seconds) = parts.next() {
            let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
            span += time::Duration::seconds(number(whole, 59)?);
            if fraction.len() > 7 {
                return None;
            }
            span +=
                time::Duration::nanoseconds(number(&format!("{fraction:0<7}"), 9_999_999)? * 100);
        }
        if parts.next().is_some() {
            return None;
        }
    }
    Some(if negative { -span } else { span })
}

/// The span as a duration, `None` when it is negative, which the host's settings use for "infinite".
pub(crate) fn positive(span: time::Duration) -> Option<Duration> {
    Duration::try_from(span).ok()
}

fn number(text: &str, max: i64) -> Option<i64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| text.parse().ok()).flatten()?;
    (number <= max).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_host_json_are_read() {
        for (text, seconds) in [
            ("00:10:00", 600.0),
            ("01:30", 5400.0),
            ("1.02:00:00", 93_600.0),
            ("2", 172_800.0),
            ("00:00:00.0010000", 0.001),
            ("-00:00:00.0010000", -0.001),
            ("00:00:01.5", 1.5),
        ] {
            let span = parse_time_span(text).map(time::Duration::as_seconds_f64);
            assert_eq!(span, Some(seconds), "{text}");
        }
    }

    #[test]
    fn what_dotnet_refuses_is_refused() {
        for text in [
            "",
            "24:00:00",
            "00:60:00",
            "1:2:3:4",
            "ten",
            "00:00:00.12345678",
            "1.",
            "+1",
        ] {
            assert_eq!(parse_time_span(text), None, "{text}");
        }
    }
}
