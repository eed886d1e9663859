//! Words of `$filter` expressions and of keys in paths.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::dataverse::cell::parse_time;
use crate::dataverse::error::ApiError;

#[derive(Debug, Clone, PartialEq)]
pub(in crate::dataverse) enum Token {
    Open,
    Close,
    OpenBracket,
    CloseBracket,
    Comma,
    Equals,
    Slash,
    /// A property, operator or function name.
    Name(String),
    Text(String),
    Guid(Uuid),
    Time(OffsetDateTime),
    Int(i64),
    Number(f64),
    Bool(bool),
    Null,
}

/// Splits `text` into tokens.
pub(in crate::dataverse) fn tokens(text: &str) -> Result<Vec<Token>, ApiError> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let single = match first {
            '(' => Some(Token::Open),
            ')' => Some(Token::Close),
            '[' => Some(Token::OpenBracket),
            ']' => Some(Token::CloseBracket),
            ',' => Some(Token::Comma),
            '=' => Some(Token::Equals),
            '/' => Some(Token::Slash),
            _ => None,
        };
        let used = match (single, first) {
            (Some(token), _) => {
                tokens.push(token);
                first.len_utf8()
            }
            (None, '\'') => {
                let (value, used) = quoted(rest, '\'')?;
                tokens.push(Token::Text(value));
                used
            }
            // JSON-style text, as in PropertyValues=["a","b"].
            (None, '"') => {
                let (value, used) = quoted(rest, '"')?;
                tokens.push(Token::Text(value));
                used
            }
            (None, _) => {
                let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
                if end == 0 {
                    let message = format!("Syntax error: character '{first}' is not valid.");
                    return Err(ApiError::bad_request(message));
                }
                tokens.push(word(&rest[..end]));
                end
            }
        };
        rest = rest[used..].trim_start();
    }
    Ok(tokens)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '+' | '@' | '$')
}

/// A quoted text, a doubled quote standing for one; returns it and how many bytes it took.
fn quoted(text: &str, quote: char) -> Result<(String, usize), ApiError> {
    let mut value = String::new();
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = characters.next() {
        if c != quote {
            value.push(c);
        } else if characters.peek().is_some_and(|(_, next)| *next == quote) {
            characters.next();
            value.push(quote);
        } else {
            return Ok((value, at + quote.len_utf8()));
        }
    }
    Err(ApiError::bad_request(
        "There is an unterminated string literal.",
    ))
}

fn word(word: &str) -> Token {
    match word {
        "null" => return Token::Null,
        "true" => return Token::Bool(true),
        "false" => return Token::Bool(false),
        _ => {}
    }
    // 36 characters with hyphens: a bare number of 32 digits is not a GUID here.
    if word.len() == 36
        && let Ok(guid) = Uuid::parse_str(word)
    {
        return Token::Guid(guid);
    }
    if let Ok(number) = word.parse() {
        return Token::Int(number);
    }
    if word.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
        if let Ok(number) = word.parse() {
            return Token::Number(number);
        }
        if let Some(at) = parse_time(word) {
            return Token::Time(at);
        }
    }
    Token::Name(word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doubled_quote_is_one_quote() {
        let tokens = tokens("name eq 'O''Brien ''n'' Co'").unwrap();
        assert_eq!(tokens[2], Token::Text("O'Brien 'n' Co".to_owned()));
    }

    #[test]
    fn literals_are_told_apart() {
        let text = "6d81597f-0f9f-e711-8122-000d3aa2331c 2025-01-01T00:00:00Z 2025-01-01 12 -3 1.5";
        let tokens = tokens(text).unwrap();
        assert!(matches!(tokens[0], Token::Guid(_)));
        assert!(matches!(tokens[1], Token::Time(_)));
        assert_eq!(tokens[1], tokens[2]);
        assert_eq!(
            tokens[3..],
            [Token::Int(12), Token::Int(-3), Token::Number(1.5)]
        );
    }

    #[test]
    fn an_open_quote_is_an_error() {
        assert!(tokens("name eq 'A").is_err());
    }
}
