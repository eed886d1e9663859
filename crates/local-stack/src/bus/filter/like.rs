//! `LIKE`: `%` for any text, `_` for one character, and an escape character that takes both their
//! meaning.

/// Whether `text` matches `pattern`. Case matters, as in every comparison of text.
pub(super) fn matches(text: &str, pattern: &str, escape: Option<char>) -> bool {
    let text: Vec<char> = text.chars().collect();
    let pattern = tokens(pattern, escape);
    // Greedy with one step back: each `%` needs to remember only where the last one began, so that
    // no pattern costs more than text times pattern.
    let (mut at, mut token) = (0, 0);
    let mut retry = None;
    while at < text.len() {
        match pattern.get(token) {
            Some(Token::Many) => {
                retry = Some((at, token));
                token += 1;
                continue;
            }
            Some(Token::One) => {
                at += 1;
                token += 1;
                continue;
            }
            Some(Token::Exactly(letter)) if *letter == text[at] => {
                at += 1;
                token += 1;
                continue;
            }
            Some(Token::Exactly(_)) | None => {}
        }
        let Some((from, many)) = retry else {
            return false;
        };
        retry = Some((from + 1, many));
        at = from + 1;
        token = many + 1;
    }
    pattern[token..].iter().all(|rest| *rest == Token::Many)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Many,
    One,
    Exactly(char),
}

fn tokens(pattern: &str, escape: Option<char>) -> Vec<Token> {
    let mut letters = pattern.chars();
    let mut tokens = Vec::new();
    while let Some(letter) = letters.next() {
        tokens.push(match letter {
            letter if Some(letter) == escape => match letters.next() {
                Some(escaped) => Token::Exactly(escaped),
                None => Token::Exactly(letter),
            },
            '%' => Token::Many,
            '_' => Token::One,
            letter => Token::Exactly(letter),
        });
    }
    tokens
}
