//! Splits a filter or action into words, constants and signs.

/// What one piece is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A regular identifier or a keyword; which of them, the parser knows.
    Word(String),
    /// An identifier in brackets or double quotes, which is never a keyword.
    Quoted(String),
    Text(String),
    Int(i64),
    Double(f64),
    /// `@name`.
    Parameter(String),
    /// `=`, `<>`, `(` and the like.
    Sign(&'static str),
}

/// A piece, and where it begins (in characters, from 1).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Piece {
    pub(super) token: Token,
    pub(super) position: usize,
}

/// Two-character signs stand before those they begin with.
const SIGNS: [&str; 17] = [
    "<>", "!=", "<=", ">=", "<", ">", "=", "(", ")", ",", ".", ";", "+", "-", "*", "/", "%",
];

/// All pieces of `expression`.
///
/// # Errors
/// The position of what is not a piece, and what is wrong with it.
pub(super) fn pieces(expression: &str) -> Result<Vec<Piece>, (usize, String)> {
    let letters: Vec<char> = expression.chars().collect();
    let mut pieces = Vec::new();
    let mut at = 0;
    while let Some(&letter) = letters.get(at) {
        if letter.is_whitespace() {
            at += 1;
            continue;
        }
        let (token, length) = piece(&letters[at..]).map_err(|problem| (at + 1, problem))?;
        pieces.push(Piece {
            token,
            position: at + 1,
        });
        at += length;
    }
    Ok(pieces)
}

fn piece(rest: &[char]) -> Result<(Token, usize), String> {
    match rest[0] {
        '\'' => delimited(rest, '\'').map(|(text, length)| (Token::Text(text), length)),
        '"' => delimited(rest, '"').map(|(name, length)| (Token::Quoted(name), length)),
        '[' => delimited(rest, ']').map(|(name, length)| (Token::Quoted(name), length)),
        '@' => {
            let length = word(&rest[1..]);
            if length == 0 {
                return Err("has no name after @".to_owned());
            }
            let name = rest[1..=length].iter().collect();
            Ok((Token::Parameter(name), length + 1))
        }
        letter if letter.is_alphabetic() => {
            let length = word(rest);
            Ok((Token::Word(rest[..length].iter().collect()), length))
        }
        letter
            if is_digit(letter)
                || (letter == '.' && rest.get(1).copied().is_some_and(is_digit)) =>
        {
            number(rest)
        }
        letter => {
            let sign = SIGNS.into_iter().find(|sign| {
                sign.chars()
                    .enumerate()
                    .all(|(index, letter)| rest.get(index) == Some(&letter))
            });
            match sign {
                Some(sign) => Ok((Token::Sign(sign), sign.len())),
                None => Err(format!("has an unexpected {letter:?}")),
            }
        }
    }
}

/// The length of the regular identifier `rest` begins with.
fn word(rest: &[char]) -> usize {
    if !rest.first().copied().is_some_and(char::is_alphabetic) {
        return 0;
    }
    rest.iter()
        .take_while(|letter| letter.is_alphanumeric() || **letter == '_')
        .count()
}

/// Text up to `end`; a doubled `end` stands for one.
fn delimited(rest: &[char], end: char) -> Result<(String, usize), String> {
    let mut text = String::new();
    let mut at = 1;
    while let Some(&letter) = rest.get(at) {
        at += 1;
        if letter != end {
            text.push(letter);
        } else if rest.get(at) == Some(&end) {
            text.push(end);
            at += 1;
        } else {
            return Ok((text, at));
        }
    }
    Err(format!("has no closing {end}"))
}

fn number(rest: &[char]) -> Result<(Token, usize), String> {
    let digits = |from: usize| {
        let rest = rest.get(from..).unwrap_or_default();
        rest.iter().take_while(|letter| is_digit(**letter)).count()
    };
    let mut length = digits(0);
    let mut is_whole = true;
    if rest.get(length) == Some(&'.') {
        is_whole = false;
        length += 1 + digits(length + 1);
    }
    if matches!(rest.get(length), Some('e' | 'E')) {
        let sign = usize::from(matches!(rest.get(length + 1), Some('+' | '-')));
        let exponent = digits(length + 1 + sign);
        if exponent > 0 {
            is_whole = false;
            length += 1 + sign + exponent;
        }
    }
    if rest.get(length).copied().is_some_and(char::is_alphabetic) {
        return Err("has letters right after a number".to_owned());
    }
    let text: String = rest[..length].iter().collect();
    let token = if is_whole {
        text.parse().map(Token::Int).ok()
    } else {
        text.parse().map(Token::Double).ok()
    };
    match token {
        Some(token) => Ok((token, length)),
        None => Err(format!("has the number {text}, which is too large")),
    }
}

fn is_digit(letter: char) -> bool {
    letter.is_ascii_digit()
}
