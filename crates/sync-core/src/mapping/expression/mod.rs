//! Computed fields: jq expressions, by jaq.

mod language;

use std::fmt;
use std::sync::Arc;

use crate::exact;
use jaq_core::data::JustLut;
use jaq_core::load::lex::{Lexer, Token};
use jaq_core::load::parse::{Def, Parser, Term};
use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Filter, Vars, unwrap_valr};
use jaq_json::{Num, Val};
use serde_json::{Map, Number, Value};

/// Longer expressions belong into the target or the row.
const LONGEST: usize = 4096;
/// What an expression may read of one row, and give, in characters of text.
const MOST_TEXT: usize = 65_536;
const MAIN: &str = "main";

/// A compiled expression.
#[derive(Clone)]
pub struct Program {
    code: String,
    columns: Vec<String>,
    filter: Arc<Filter<JustLut<Val>>>,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Program").field(&self.code).finish()
    }
}

impl PartialEq for Program {
    fn eq(&self, other: &Self) -> bool {
        self.code == other.code
    }
}

/// Why an expression gave no value for a row. Never says what was in the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// It ended in an error, e.g. because a column holds a text where it calculates.
    #[error("ended in an error")]
    Failed,
    /// It gave several values.
    #[error("gave more than one value; collect them with [ ]")]
    Several,
    /// It gave something that JSON has no word for.
    #[error("gave something that is no JSON, such as infinity")]
    NotJson,
    /// The columns it reads, or what it gave, are too long.
    #[error("read or gave more than 65536 characters")]
    TooLong,
}

impl Program {
    /// Compiles an expression.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence about it.
    pub fn compile(code: &str) -> Result<Self, String> {
        if code.len() > LONGEST {
            return Err(format!("is longer than {LONGEST} characters"));
        }
        let tokens = Lexer::new(code).lex().map_err(|errors| {
            errors.first().map_or_else(
                || "is no expression".to_owned(),
                |(expected, rest)| unreadable(code, expected.as_str(), rest),
            )
        })?;
        let mut term = Parser::new(&tokens).parse(|p| p.term()).map_err(|errors| {
            errors.first().map_or_else(
                || "is no expression".to_owned(),
                |(expected, found)| {
                    unreadable(code, expected.as_str(), Token::opt_as_str(*found, code))
                },
            )
        })?;
        let mut columns = Vec::new();
        language::columns(&term, &mut columns);
        language::restrict(&mut term)?;
        Ok(Self {
            code: code.to_owned(),
            columns: columns.into_iter().map(str::to_owned).collect(),
            filter: Arc::new(compile(term)?),
        })
    }

    /// The columns that it certainly reads. There may be more.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(String::as_str)
    }

    /// The one value that it gives for these columns; `None` when it gives nothing at all (`empty`).
    ///
    /// # Errors
    /// See [`ExpressionError`].
    pub fn run(&self, columns: &Value) -> Result<Option<Value>, ExpressionError> {
        let mut budget = MOST_TEXT;
        let input = val(columns, &mut budget)?;
        let ctx = Ctx::<JustLut<Val>>::new(&self.filter.lut, Vars::new([]));
        let mut given = self.filter.id.run((ctx, input)).map(unwrap_valr);
        let Some(first) = given.next() else {
            return Ok(None);
        };
        let first = first.map_err(|_| ExpressionError::Failed)?;
        match given.next() {
            None => json(&first, &mut MOST_TEXT.clone()).map(Some),
            Some(Ok(_)) => Err(ExpressionError::Several),
            Some(Err(_)) => Err(ExpressionError::Failed),
        }
    }
}

fn compile(term: Term<&str>) -> Result<Filter<JustLut<Val>>, String> {
    let main = Def {
        name: MAIN,
        args: vec![],
        body: term,
    };
    let mut definitions: Vec<Def<&str>> = language::prelude().collect::<Vec<_>>();
    definitions.push(main);
    let arena = Arena::default();
    let file = File {
        code: MAIN,
        path: (),
    };
    let modules = Loader::new(definitions).load(&arena, file);
    // The file only names a filter.
    let modules = modules.map_err(|_| "cannot be loaded".to_owned())?;
    let funs = jaq_core::funs()
        .chain(jaq_std::funs())
        .chain(jaq_json::funs());
    let compiled = Compiler::default().with_funs(funs).compile(modules);
    compiled.map_err(|errors| {
        let undefined = errors.into_iter().flat_map(|(_, undefined)| undefined);
        let names: Vec<_> = undefined
            .map(|(name, kind)| format!("{} {name}", kind.as_str()))
            .collect();
        format!("uses what is not there: {}", names.join(", "))
    })
}

fn unreadable(code: &str, expected: &str, rest: &str) -> String {
    let place = if rest.is_empty() {
        "at its end".to_owned()
    } else {
        format!(
            "at character {}",
            jaq_core::load::span(code, rest).start + 1
        )
    };
    format!("cannot be read: {expected} expected {place}")
}

fn spend(budget: &mut usize, characters: usize) -> Result<(), ExpressionError> {
    *budget = budget
        .checked_sub(characters)
        .ok_or(ExpressionError::TooLong)?;
    Ok(())
}

/// A JSON value as jaq's. A fraction keeps its digits until something is calculated with it.
fn val(value: &Value, budget: &mut usize) -> Result<Val, ExpressionError> {
    Ok(match value {
        Value::Null => Val::Null,
        Value::Bool(b) => Val::Bool(*b),
        Value::Number(n) => number(n),
        Value::String(s) => {
            spend(budget, s.len())?;
            Val::from(s.clone())
        }
        Value::Array(items) => {
            spend(budget, items.len())?;
            let items = items.iter().map(|item| val(item, budget));
            items.collect::<Result<Val, _>>()?
        }
        Value::Object(_) if exact::digits(value).is_some() => {
            let digits = exact::digits(value).unwrap_or_default();
            Val::Num(Num::Dec(digits.to_owned().into()))
        }
        Value::Object(members) => {
            let mut map = jaq_json::Map::default();
            for (name, member) in members {
                spend(budget, name.len())?;
                map.insert(Val::from(name.clone()), val(member, budget)?);
            }
            Val::obj(map)
        }
    })
}

fn number(n: &Number) -> Val {
    match n.as_i64().and_then(|i| isize::try_from(i).ok()) {
        Some(i) => Val::from(i),
        None => Val::Num(Num::Dec(n.to_string().into())),
    }
}

fn json(value: &Val, budget: &mut usize) -> Result<Value, ExpressionError> {
    let text =
        |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| ExpressionError::NotJson);
    spend(budget, 1)?;
    Ok(match value {
        Val::Null => Value::Null,
        Val::Bool(b) => Value::Bool(*b),
        Val::Num(n) => {
            // Only what JSON itself has: no NaN, no infinity.
            let n: Number = n
                .to_string()
                .parse()
                .map_err(|_| ExpressionError::NotJson)?;
            Value::Number(n)
        }
        Val::TStr(s) => {
            spend(budget, s.len())?;
            Value::String(text(s)?)
        }
        Val::BStr(_) => return Err(ExpressionError::NotJson),
        Val::Arr(items) => {
            let items = items.iter().map(|item| json(item, budget));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        Val::Obj(members) => {
            let mut map = Map::new();
            for (name, member) in members.iter() {
                let Val::TStr(name) = name else {
                    return Err(ExpressionError::NotJson);
                };
                spend(budget, name.len())?;
                map.insert(text(name)?, json(member, budget)?);
            }
            Value::Object(map)
        }
    })
}
