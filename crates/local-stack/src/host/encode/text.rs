//! A message body as text, when a function binds it as a string.

/// Strict UTF-8 with the byte order mark removed, else UTF-8 with replacement characters.
///
/// Between the two the real converter also tries .NET's binary DataContract form, which only old .NET
/// senders use; it is not modelled.
pub(super) fn body_text(body: &[u8]) -> String {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    String::from_utf8_lossy(body).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_byte_order_mark_is_removed_and_bad_bytes_are_replaced() {
        assert_eq!(body_text(b"\xEF\xBB\xBF{}"), "{}");
        assert_eq!(body_text(b"a\xFFb"), "a\u{FFFD}b");
    }
}
