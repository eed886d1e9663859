//! ISO 8601 durations as .NET's `XmlConvert` writes them: days, hours, minutes, seconds.

use std::time::Duration;

/// Reads `P1DT2H3M4.5S` and its shorter forms; `None` for everything else, years and months (whose
/// length depends on the calendar) included.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let (date, time) = match text.strip_prefix('P')?.split_once('T') {
        Some((_, "")) => return None,
        Some((date, time)) => (date, time),
        None => (text.strip_prefix('P')?, ""),
    };
    if date.is_empty() && time.is_empty() {
        return None;
    }
    let mut total = Duration::ZERO;
    let mut rest = date;
    let units = [('D', 86_400), ('H', 3_600), ('M', 60), ('S', 1)];
    for (index, (unit, seconds)) in units.into_iter().enumerate() {
        if index == 1 {
            if !rest.is_empty() {
                return None;
            }
            rest = time;
        }
        let Some((number, tail)) = rest.split_once(unit) else {
            continue;
        };
        rest = tail;
        total = total.checked_add(amount(number, unit)?.checked_mul(seconds)?)?;
    }
    rest.is_empty().then_some(total)
}

/// A number of one unit, counted in seconds; only seconds may have a fraction.
fn amount(number: &str, unit: char) -> Option<Duration> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    if number.contains('.') && (unit != 'S' || fraction.is_empty()) {
        return None;
    }
    let nanos: u32 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    Some(Duration::new(whole.parse().ok()?, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_counts() {
        assert_eq!(parse("PT1M"), Some(Duration::from_secs(60)));
        assert_eq!(parse("P14D"), Some(Duration::from_secs(14 * 86_400)));
        assert_eq!(
            parse("P1DT2H3M4.5S"),
            Some(Duration::from_millis(93_784_500))
        );
        assert_eq!(parse("PT0S"), Some(Duration::ZERO));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "", "P", "PT", "1M", "PT1", "P1M", "P1Y", "PT1H1D", "PT1.5M", "PT-1S", "PT1S ", "P1DT",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
