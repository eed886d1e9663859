//! Paths below the service root: entity sets, keys, bound actions.

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use uuid::Uuid;

use super::lexer::{Token, tokens};
use crate::dataverse::cell::format_time;
use crate::dataverse::error::ApiError;

/// How a row is addressed.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::dataverse) enum RowKey {
    Id(Uuid),
    /// Column and value pairs.
    Alternate(Vec<(String, Value)>),
}

/// One segment: a name, and a key if it had parentheses with something in them.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::dataverse) struct Segment {
    pub(in crate::dataverse) name: String,
    pub(in crate::dataverse) key: Option<RowKey>,
}

/// Splits a path (no query, no service root) into its segments.
pub(in crate::dataverse) fn segments(path: &str) -> Result<Vec<Segment>, ApiError> {
    let path = path.trim_matches('/');
    if path.is_empty() {
        return Ok(Vec::new());
    }
    split(path).into_iter().map(segment).collect()
}

/// Splits at slashes outside parentheses and quotes.
fn split(path: &str) -> Vec<&str> {
    let (mut depth, mut quoted, mut start) = (0_u32, false, 0);
    let mut parts = Vec::new();
    for (at, c) in path.char_indices() {
        match c {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.saturating_sub(1),
            '/' if !quoted && depth == 0 => {
                parts.push(&path[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&path[start..]);
    parts
}

fn segment(raw: &str) -> Result<Segment, ApiError> {
    let decoded = percent_decode_str(raw)
        .decode_utf8()
        .map_err(|_| ApiError::bad_request("The path is not valid UTF-8."))?;
    let Some((name, rest)) = decoded.split_once('(') else {
        return Ok(Segment {
            name: decoded.into_owned(),
            key: None,
        });
    };
    let Some(inner) = rest.strip_suffix(')') else {
        return Err(ApiError::bad_request("Syntax error in the resource path."));
    };
    let key = match inner.trim() {
        "" => None,
        inner => Some(key(inner)?),
    };
    Ok(Segment {
        name: name.to_owned(),
        key,
    })
}

fn key(inner: &str) -> Result<RowKey, ApiError> {
    let tokens = tokens(inner)?;
    if let [Token::Guid(id)] = tokens[..] {
        return Ok(RowKey::Id(id));
    }
    let parts = tokens.split(|token| *token == Token::Comma);
    let parts = parts.map(|part| match part {
        [Token::Name(name), Token::Equals, value] => Some((name.clone(), literal(value)?)),
        _ => None,
    });
    match parts.collect::<Option<Vec<_>>>() {
        Some(parts) => Ok(RowKey::Alternate(parts)),
        None => Err(ApiError::bad_request(
            "Bad Request - Error in query syntax: the key is not valid.",
        )),
    }
}

fn literal(token: &Token) -> Option<Value> {
    match token {
        Token::Text(text) => Some(json!(text)),
        Token::Guid(id) => Some(json!(id)),
        Token::Time(at) => Some(json!(format_time(*at))),
        Token::Int(number) => Some(json!(number)),
        Token::Number(number) => Some(json!(number)),
        Token::Bool(value) => Some(json!(value)),
        _ => None,
    }
}

/// Reads `/contacts(…)`, `contacts(…)` or an absolute URL: an entity set and a key.
pub(in crate::dataverse) fn parse_reference(reference: &str) -> Result<(String, RowKey), ApiError> {
    let path = below_root(reference).unwrap_or(reference);
    let mut segments = segments(path)?;
    match (segments.pop(), segments.is_empty()) {
        (
            Some(Segment {
                name,
                key: Some(key),
            }),
            true,
        ) => Ok((name, key)),
        _ => Err(ApiError::bad_request(format!(
            "Resource not found for the segment '{reference}'."
        ))),
    }
}

/// What follows `/api/data/v9.x/` in a path or URL; `None` when it is not there.
pub(in crate::dataverse) fn below_root(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("/api/data/v9.")?;
    let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    match rest.strip_prefix('/') {
        Some(rest) => Some(rest),
        None => rest.is_empty().then_some(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_text_may_hold_slashes_quotes_and_parentheses() {
        let parsed = segments("accounts(accountnumber='A''1/2 (b)')/name").unwrap();
        assert_eq!(parsed.len(), 2);
        let expected = vec![("accountnumber".to_owned(), json!("A'1/2 (b)"))];
        assert_eq!(parsed[0].key, Some(RowKey::Alternate(expected)));
        assert_eq!(parsed[1].name, "name");
    }

    #[test]
    fn a_percent_encoded_key_is_decoded() {
        let parsed = segments("accounts(accountnumber=%27A%2F1%27)").unwrap();
        let expected = vec![("accountnumber".to_owned(), json!("A/1"))];
        assert_eq!(parsed[0].key, Some(RowKey::Alternate(expected)));
    }

    #[test]
    fn empty_parentheses_are_no_key() {
        let parsed = segments("WhoAmI()").unwrap();
        assert_eq!((parsed[0].name.as_str(), &parsed[0].key), ("WhoAmI", &None));
    }

    #[test]
    fn every_version_of_the_service_root_is_recognised() {
        assert_eq!(below_root("/api/data/v9.2/accounts"), Some("accounts"));
        assert_eq!(below_root("http://h:1/api/data/v9.0/x?y"), Some("x?y"));
        assert_eq!(below_root("/api/data/v8.2/accounts"), None);
    }
}
