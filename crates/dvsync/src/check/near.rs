//! Names that somebody probably meant.

/// The known name that this one is a slip of.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = plain(name);
    let scored = known.into_iter().map(|candidate| {
        let distance = strsim::damerau_levenshtein(&name, &plain(candidate));
        (distance, candidate)
    });
    let (distance, candidate) = scored.min()?;
    // One slip in six letters, and two at least where there are enough letters.
    let most = (name.len() / 6).clamp(1, 3);
    (distance <= most).then_some(candidate)
}

fn plain(name: &str) -> String {
    name.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_name_is_not() {
        let known = ["OUTBOUND_QUEUE", "INBOUND_QUEUE", "LOG_LEVEL"];
        assert_eq!(nearest("OUTBOUND_QUEU", known), Some("OUTBOUND_QUEUE"));
        assert_eq!(nearest("outboundQueue", known), Some("OUTBOUND_QUEUE"));
        assert_eq!(nearest("WEBSITE_SITE_NAME", known), None);
        assert_eq!(nearest("", known), None);
    }
}
