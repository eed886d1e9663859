//! The part of jq that a mapping may use: what comes to an end, changes nothing, and gives the same
//! result for the same row whenever and wherever it runs.
//!
//! So: no definitions, since they may call themselves; no generators without end; no folds, whose value
//! may grow with each step; no assignments, whose index may be any number; no texts parsed as JSON, which may be
//! nested without bound; nothing that reads a clock, an environment or an input.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::ops::Math;
use jaq_core::path::Part;

/// The filters an expression may call.
const CALLS: &[&str] = &[
    "abs",
    "add",
    "all",
    "any",
    "arrays",
    "ascii",
    "ascii_downcase",
    "ascii_upcase",
    "booleans",
    "capture",
    "ceil",
    "contains",
    "empty",
    "endswith",
    "error",
    "explode",
    "false",
    "first",
    "flatten",
    "floor",
    "fromdate",
    "fromdateiso8601",
    "from_entries",
    "getpath",
    "gmtime",
    "group_by",
    "gsub",
    "has",
    "implode",
    "in",
    "index",
    "indices",
    "inside",
    "isempty",
    "join",
    "keys",
    "last",
    "length",
    "limit",
    "ltrim",
    "ltrimstr",
    "map",
    "map_values",
    "match",
    "max",
    "max_by",
    "min",
    "min_by",
    "mktime",
    "not",
    "nth",
    "null",
    "nulls",
    "numbers",
    "objects",
    "pow",
    "reverse",
    "rindex",
    "round",
    "rtrim",
    "rtrimstr",
    "scalars",
    "scan",
    "select",
    "skip",
    "sort",
    "sort_by",
    "split",
    "splits",
    "sqrt",
    "startswith",
    "strftime",
    "strings",
    "strptime",
    "sub",
    "test",
    "to_entries",
    "todate",
    "todateiso8601",
    "tojson",
    "tonumber",
    "tostring",
    "transpose",
    "trim",
    "true",
    "trunc",
    "type",
    "unique",
    "unique_by",
    "utf8bytelength",
    "values",
    "with_entries",
    "@base64",
    "@base64d",
    "@csv",
    "@html",
    "@json",
    "@text",
    "@tsv",
    "@uri",
    "@urid",
];

/// What stands in for two filters of jq's: `*` repeats a text as often as a number says, and `tonumber`
/// parses any JSON.
const INSTEAD: &str = r#"
def times($l; $r):
  if ($l | type) == "string" or ($r | type) == "string" then error("a text cannot be multiplied") else $l * $r end;
def number:
  if type == "number" then .
  elif test("^-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][-+]?[0-9]{1,3})?$") then fromjson
  else error("no number") end;
"#;

/// Checks a parsed expression, and puts [`INSTEAD`] in the place of what it replaces.
pub(super) fn restrict(term: &mut Term<&str>) -> Result<(), String> {
    let list = |terms: &mut [Term<&str>]| terms.iter_mut().try_for_each(restrict);
    match term {
        Term::Id | Term::Recurse | Term::Num(_) | Term::Break(_) | Term::Var(_) => Ok(()),
        Term::Str(format, parts) => {
            format.map_or(Ok(()), allowed)?;
            parts.iter_mut().try_for_each(|part| match part {
                StrPart::Term(term) => restrict(term),
                StrPart::Str(_) | StrPart::Char(_) => Ok(()),
            })
        }
        Term::Arr(inner) => inner.as_deref_mut().map_or(Ok(()), restrict),
        Term::Obj(members) => members.iter_mut().try_for_each(|(key, value)| {
            restrict(key)?;
            value.as_mut().map_or(Ok(()), restrict)
        }),
        Term::Neg(inner) | Term::Label(_, inner) => restrict(inner),
        Term::BinOp(left, op, right) => {
            restrict(left)?;
            restrict(right)?;
            match op {
                BinaryOp::Pipe(pattern) => pattern.as_mut().map_or(Ok(()), restrict_pattern),
                BinaryOp::Math(Math::Mul) => {
                    let sides = vec![std::mem::take(&mut **left), std::mem::take(&mut **right)];
                    *term = Term::Call("times", sides);
                    Ok(())
                }
                BinaryOp::Assign
                | BinaryOp::Update
                | BinaryOp::UpdateMath(_)
                | BinaryOp::UpdateAlt => Err("may not assign: build the value instead".into()),
                _ => Ok(()),
            }
        }
        Term::Fold(name, ..) => Err(format!("may not use {name}: use add, map or join")),
        Term::TryCatch(tried, caught) => {
            restrict(tried)?;
            caught.as_deref_mut().map_or(Ok(()), restrict)
        }
        Term::IfThenElse(cases, otherwise) => {
            for (condition, then) in cases {
                restrict(condition)?;
                restrict(then)?;
            }
            otherwise.as_deref_mut().map_or(Ok(()), restrict)
        }
        Term::Def(..) => {
            Err("may not define filters: one that calls itself might never end".into())
        }
        Term::Call(name, arguments) => {
            allowed(name)?;
            if *name == "tonumber" {
                *name = "number";
            }
            list(arguments)
        }
        Term::Path(start, path) => {
            restrict(start)?;
            path.0.iter_mut().try_for_each(|(part, _)| match part {
                Part::Index(index) => restrict(index),
                Part::Range(from, to) => [from, to].into_iter().flatten().try_for_each(restrict),
            })
        }
    }
}

fn restrict_pattern(pattern: &mut Pattern<&str>) -> Result<(), String> {
    match pattern {
        Pattern::Var(_) => Ok(()),
        Pattern::Arr(items) => items.iter_mut().try_for_each(restrict_pattern),
        Pattern::Obj(members) => members.iter_mut().try_for_each(|(key, inner)| {
            restrict(key)?;
            restrict_pattern(inner)
        }),
    }
}

fn allowed(name: &str) -> Result<(), String> {
    if CALLS.contains(&name) {
        return Ok(());
    }
    Err(format!(
        "may not call {name:?}: a mapping has to come to an end and to depend on nothing but the row"
    ))
}

/// The columns that an expression certainly reads off its input: `.name`, wherever `.` is still the
/// whole input. A name that is not there would be null without a word.
pub(super) fn columns<'s>(term: &Term<&'s str>, found: &mut Vec<&'s str>) {
    match term {
        Term::Path(start, path) => {
            if let (Term::Id, Some((Part::Index(Term::Str(None, parts)), _))) =
                (&**start, path.0.first())
                && let [StrPart::Str(name)] = parts[..]
            {
                found.push(name);
            }
            columns(start, found);
        }
        Term::Str(_, parts) => {
            for part in parts {
                if let StrPart::Term(term) = part {
                    columns(term, found);
                }
            }
        }
        Term::Arr(Some(inner)) | Term::Neg(inner) | Term::TryCatch(inner, _) => {
            columns(inner, found);
        }
        Term::Obj(members) => {
            for (key, value) in members {
                columns(key, found);
                value.iter().for_each(|value| columns(value, found));
            }
        }
        Term::BinOp(left, op, right) => {
            columns(left, found);
            if !matches!(op, BinaryOp::Pipe(None)) {
                columns(right, found);
            }
        }
        Term::IfThenElse(cases, otherwise) => {
            for (condition, then) in cases {
                columns(condition, found);
                columns(then, found);
            }
            otherwise.iter().for_each(|term| columns(term, found));
        }
        _ => {}
    }
}

/// What stands ready for an expression.
pub(super) fn prelude() -> impl Iterator<Item = Def<&'static str>> {
    let instead = jaq_core::load::parse(INSTEAD, |p| p.defs()).unwrap_or_default();
    jaq_core::defs()
        .chain(jaq_std::defs())
        .chain(jaq_json::defs())
        .chain(instead)
}
