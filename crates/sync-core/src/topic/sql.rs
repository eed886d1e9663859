//! The part of Service Bus' SQL filters that is about one property (Azure doc "Subscription rule SQL
//! filter syntax"): what is true of a message when only its target is known.
//!
//! Three answers: yes, no, and that it depends on the rest of the message (`None`).

use super::TARGET_SYSTEM;

/// A filter's expression.
#[derive(Debug)]
pub(super) enum Sql {
    Any(Vec<Sql>),
    All(Vec<Sql>),
    Not(Box<Sql>),
    /// The target is named, whichever it is.
    IsNamed,
    /// The target is one of these.
    IsOneOf(Vec<String>),
    Constant(Option<bool>),
}

/// Kleene's *or*: one yes is enough.
pub(super) fn or(left: Option<bool>, right: Option<bool>) -> Option<bool> {
    match (left, right) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    }
}

impl Sql {
    /// Reads an expression; `None` when it is none we understand.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let tokens = tokens(text)?;
        let mut parser = Parser {
            tokens: &tokens,
            at: 0,
        };
        let parsed = parser.any()?;
        (parser.at == tokens.len()).then_some(parsed)
    }

    /// Whether it is true of a message that names this target.
    pub(super) fn evaluate(&self, target: &str) -> Option<bool> {
        let not = |answer: Option<bool>| answer.map(|yes| !yes);
        match self {
            Self::Any(parts) => parts
                .iter()
                .map(|part| part.evaluate(target))
                .fold(Some(false), or),
            // De Morgan.
            Self::All(parts) => not(parts
                .iter()
                .map(|part| not(part.evaluate(target)))
                .fold(Some(false), or)),
            Self::Not(part) => not(part.evaluate(target)),
            Self::IsNamed => Some(true),
            Self::IsOneOf(names) => Some(names.iter().any(|name| name == target)),
            Self::Constant(answer) => *answer,
        }
    }

    /// The targets it mentions.
    pub(super) fn names(&self) -> Vec<&str> {
        match self {
            Self::Any(parts) | Self::All(parts) => parts.iter().flat_map(Self::names).collect(),
            Self::Not(part) => part.names(),
            Self::IsOneOf(names) => names.iter().map(String::as_str).collect(),
            Self::IsNamed | Self::Constant(_) => Vec::new(),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// A name or keyword, scopes and brackets taken off.
    Word(String),
    Text(String),
    Number(String),
    Sign(String),
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let chars: Vec<char> = text.chars().collect();
    let (mut tokens, mut at) = (Vec::new(), 0);
    while let Some(&first) = chars.get(at) {
        let end_of = |from: usize, within: fn(char) -> bool| {
            let more = chars.iter().skip(from).take_while(|c| within(**c)).count();
            from + more
        };
        let cut = |from: usize, to: usize| chars[from..to].iter().collect::<String>();
        if first.is_whitespace() {
            at += 1;
        } else if first == '\'' {
            let mut value = String::new();
            loop {
                at += 1;
                match (*chars.get(at)?, chars.get(at + 1)) {
                    ('\'', Some('\'')) => at += 1,
                    ('\'', _) => break,
                    _ => {}
                }
                value.push(chars[at]);
            }
            at += 1;
            tokens.push(Token::Text(value));
        } else if matches!(first, '[' | '"') {
            let close = if first == '[' { ']' } else { '"' };
            let end = at + 1 + chars.iter().skip(at + 1).position(|c| *c == close)?;
            tokens.push(Token::Word(cut(at + 1, end)));
            at = end + 1;
        } else if first.is_ascii_digit() {
            let end = end_of(at, |c| c.is_ascii_digit() || c == '.');
            tokens.push(Token::Number(cut(at, end)));
            at = end;
        } else if first.is_alphabetic() || matches!(first, '_' | '@' | '#') {
            let end = end_of(at, |c| c.is_alphanumeric() || matches!(c, '_' | '$' | '-'));
            tokens.push(Token::Word(cut(at, end)));
            at = end;
        } else {
            let two = cut(at, (at + 2).min(chars.len()));
            let sign = if matches!(two.as_str(), "<>" | "!=" | "<=" | ">=") {
                two
            } else {
                first.to_string()
            };
            at += sign.len();
            tokens.push(Token::Sign(sign));
        }
    }
    Some(tokens)
}

struct Parser<'t> {
    tokens: &'t [Token],
    at: usize,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<&Token> {
        self.at += 1;
        self.tokens.get(self.at - 1)
    }

    fn word(&mut self, keyword: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some(Token::Word(w)) if w.eq_ignore_ascii_case(keyword));
        self.at += usize::from(found);
        found
    }

    fn sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some(Token::Sign(s)) if s == sign);
        self.at += usize::from(found);
        found
    }

    fn any(&mut self) -> Option<Sql> {
        let mut parts = vec![self.all()?];
        while self.word("or") {
            parts.push(self.all()?);
        }
        Some(Sql::Any(parts))
    }

    fn all(&mut self) -> Option<Sql> {
        let mut parts = vec![self.one()?];
        while self.word("and") {
            parts.push(self.one()?);
        }
        Some(Sql::All(parts))
    }

    fn one(&mut self) -> Option<Sql> {
        if self.word("not") {
            return Some(Sql::Not(Box::new(self.one()?)));
        }
        if self.sign("(") {
            let inner = self.any()?;
            return self.sign(")").then_some(inner);
        }
        if self.word("exists") {
            let opened = self.sign("(");
            let named = self.property()?;
            let named = if named {
                Sql::IsNamed
            } else {
                Sql::Constant(None)
            };
            return (opened && self.sign(")")).then_some(named);
        }
        if matches!(self.tokens.get(self.at), Some(Token::Word(_))) {
            let ours = self.property()?;
            let meaning = self.said_of_a_property()?;
            return Some(if ours { meaning } else { Sql::Constant(None) });
        }
        // 1=1, which is what the default rule says.
        let left = self.next()?.clone();
        let equal = self.sign("=");
        let right = self.next()?.clone();
        equal.then(|| Sql::Constant(Some(left == right)))
    }

    /// Whether a property is the one that names the target.
    fn property(&mut self) -> Option<bool> {
        let Token::Word(mut name) = self.next()?.clone() else {
            return None;
        };
        let mut scope = "user".to_owned();
        if self.sign(".") {
            let Token::Word(inner) = self.next()?.clone() else {
                return None;
            };
            scope = std::mem::replace(&mut name, inner);
        }
        Some(scope.eq_ignore_ascii_case("user") && name.eq_ignore_ascii_case(TARGET_SYSTEM))
    }

    fn said_of_a_property(&mut self) -> Option<Sql> {
        let not = |negated: bool, said: Sql| {
            if negated {
                Sql::Not(Box::new(said))
            } else {
                said
            }
        };
        if self.word("is") {
            let negated = self.word("not");
            return self.word("null").then(|| not(!negated, Sql::IsNamed));
        }
        let negated = self.word("not");
        if self.word("in") {
            let mut names = Vec::new();
            let opened = self.sign("(");
            loop {
                names.push(self.literal()?);
                if !self.sign(",") {
                    break;
                }
            }
            let all_text = names.iter().cloned().collect::<Option<Vec<_>>>();
            let said = all_text.map_or(Sql::Constant(None), Sql::IsOneOf);
            return (opened && self.sign(")")).then(|| not(negated, said));
        }
        if self.word("like") {
            self.literal()?;
            return Some(Sql::Constant(None));
        }
        let Token::Sign(sign) = self.next()?.clone() else {
            return None;
        };
        let said = self.literal()?.map(|name| Sql::IsOneOf(vec![name]));
        let said = said.unwrap_or(Sql::Constant(None));
        match sign.as_str() {
            "=" if !negated => Some(said),
            "<>" | "!=" if !negated => Some(not(true, said)),
            "<" | ">" | "<=" | ">=" if !negated => Some(Sql::Constant(None)),
            _ => None,
        }
    }

    /// A text, or some other literal.
    fn literal(&mut self) -> Option<Option<String>> {
        match self.next()? {
            Token::Text(text) => Some(Some(text.clone())),
            Token::Number(_) => Some(None),
            Token::Word(_) | Token::Sign(_) => None,
        }
    }
}
