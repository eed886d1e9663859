//! Query options: which were sent, and whether they are understood.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

use crate::dataverse::error::ApiError;
use crate::dataverse::schema::{Navigation, Schema, Table};

/// The decoded query of one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::dataverse) struct Options(BTreeMap<String, String>);

impl Options {
    /// Decodes a raw query; `+` stands for a space.
    pub(in crate::dataverse) fn parse(query: &str) -> Result<Self, ApiError> {
        let mut options = BTreeMap::new();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let name = decode(name)?;
            if options.insert(name.clone(), decode(value)?).is_some() {
                return Err(ApiError::bad_request(format!(
                    "Query option '{name}' was specified more than once, but it must be specified \
                     at most once."
                )));
            }
        }
        Ok(Self(options))
    }

    pub(in crate::dataverse) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Refuses every option that is not among `understood`: one that is ignored would let a
    /// mistake pass here and fail in a real environment.
    pub(in crate::dataverse) fn only(&self, understood: &[&str]) -> Result<(), ApiError> {
        // A plug-in's shared variable, allowed on every request.
        let unknown = |name: &&String| *name != "tag" && !understood.contains(&name.as_str());
        match self.0.keys().find(unknown) {
            None => Ok(()),
            Some(name) if name.starts_with('$') => Err(ApiError::bad_request(format!(
                "The query option '{name}' is not supported here."
            ))),
            Some(name) => Err(ApiError::bad_request(format!(
                "The query parameter {name} is not supported"
            ))),
        }
    }
}

fn decode(text: &str) -> Result<String, ApiError> {
    let text = text.replace('+', " ");
    match percent_decode_str(&text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(ApiError::bad_request("The query is not valid UTF-8.")),
    }
}

/// `$select`: column numbers in the order asked for; all columns when it is absent.
pub(in crate::dataverse) fn select(
    table: &Table,
    select: Option<&str>,
) -> Result<Vec<usize>, ApiError> {
    let all = || (0..table.columns.len()).collect();
    let Some(select) = select else {
        return Ok(all());
    };
    let mut columns = Vec::new();
    for name in select.split(',').map(str::trim) {
        if name == "*" {
            return Ok(all());
        }
        match table.property(name) {
            Some(column) if columns.contains(&column) => {}
            Some(column) => columns.push(column),
            None => return Err(ApiError::unknown_column(name, table.logical)),
        }
    }
    Ok(columns)
}

/// One expanded navigation property.
#[derive(Debug)]
pub(in crate::dataverse) struct Expand<'a> {
    pub(in crate::dataverse) navigation: &'a Navigation,
    pub(in crate::dataverse) target: &'a Table,
    pub(in crate::dataverse) columns: Vec<usize>,
    /// Whether a `$select` named the columns.
    pub(in crate::dataverse) selected: bool,
}

/// `$expand` of single-valued lookups, each with an optional `$select`.
pub(in crate::dataverse) fn expand<'a>(
    schema: &'a Schema,
    table: &'a Table,
    expand: Option<&str>,
) -> Result<Vec<Expand<'a>>, ApiError> {
    let mut expands = Vec::new();
    for item in expand.map(split_items).unwrap_or_default() {
        let (name, inner) = match item.split_once('(') {
            None => (item, None),
            Some((name, rest)) => (name, Some(rest.trim_end().trim_end_matches(')'))),
        };
        let navigation = table.navigation(name.trim());
        let Some(navigation) = navigation else {
            return Err(ApiError::unknown_column(name.trim(), table.logical));
        };
        let Some(target) = schema.by_logical(navigation.target) else {
            return Err(ApiError::unknown_column(name.trim(), table.logical));
        };
        let columns = match inner.map(str::trim) {
            None => None,
            Some(inner) => match inner.strip_prefix("$select=") {
                Some(columns) if !columns.contains(';') => Some(columns),
                _ => {
                    return Err(ApiError::not_played(
                        "options in $expand other than $select",
                    ));
                }
            },
        };
        expands.push(Expand {
            navigation,
            target,
            columns: select(target, columns)?,
            selected: columns.is_some(),
        });
    }
    Ok(expands)
}

/// Splits at commas outside parentheses.
fn split_items(text: &str) -> Vec<&str> {
    let (mut depth, mut start) = (0_u32, 0);
    let mut items = Vec::new();
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                items.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    items.push(text[start..].trim());
    items
}

/// `$orderby`: column numbers, each with whether it descends.
pub(in crate::dataverse) fn order(
    table: &Table,
    order: Option<&str>,
) -> Result<Vec<(usize, bool)>, ApiError> {
    let Some(order) = order else {
        return Ok(Vec::new());
    };
    let items = order.split(',').map(|item| {
        let mut words = item.split_whitespace();
        let name = words.next().unwrap_or_default();
        let descending = match (words.next(), words.next()) {
            (None | Some("asc"), None) => false,
            (Some("desc"), None) => true,
            _ => return Err(ApiError::bad_request(format!("Syntax error in '{order}'."))),
        };
        match table.property(name) {
            Some(column) => Ok((column, descending)),
            None => Err(ApiError::unknown_column(name, table.logical)),
        }
    });
    items.collect()
}
