//! Reading collections: filter, order, page, count.

use std::borrow::Cow;
use std::cmp::Ordering;

use http::{HeaderName, StatusCode};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::dispatch::Operation;
use super::message::ApiResponse;
use super::read::Shape;
use crate::dataverse::cell::Cell;
use crate::dataverse::error::ApiError;
use crate::dataverse::odata::filter::{Filter, Literal};
use crate::dataverse::odata::options::order;
use crate::dataverse::odata::paging::{Cookie, MAX_PAGE, page_size};
use crate::dataverse::payload::cell;
use crate::dataverse::schema::{Kind, Table};
use crate::dataverse::store::{Row, Store};

pub(super) fn count(
    store: &Store,
    operation: &Operation<'_>,
    table: &Table,
) -> Result<ApiResponse, ApiError> {
    operation.options.only(&["$filter"])?;
    let count = matching(store, operation, table)?.len().min(MAX_PAGE);
    // The real answer starts with a byte order mark.
    let body = format!("\u{feff}{count}");
    Ok(ApiResponse::empty(StatusCode::OK).with_body("text/plain", body))
}

pub(super) fn collection(
    store: &Store,
    operation: &Operation<'_>,
    table: &Table,
) -> Result<ApiResponse, ApiError> {
    let options = &operation.options;
    options.only(&[
        "$select",
        "$filter",
        "$orderby",
        "$top",
        "$expand",
        "$count",
        "$skiptoken",
    ])?;
    let shape = Shape::of(operation, table)?;
    let order = order(table, options.get("$orderby"))?;
    let counted = match options.get("$count") {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(ApiError::bad_request("Invalid value for $count.")),
    };
    let top = match options.get("$top").map(str::parse::<usize>) {
        None => None,
        Some(Ok(top)) if top > 0 => Some(top),
        Some(_) => return Err(ApiError::bad_request("Invalid value for $top.")),
    };
    let preferred = page_size(&operation.request.headers);
    let mut rows = matching(store, operation, table)?;
    let total = rows.len();
    if !order.is_empty() {
        rows.sort_by(|a, b| compare_rows(&order, a, b));
    }
    let mut page = 1;
    if let Some(token) = options.get("$skiptoken") {
        let cookie = Cookie::decode(token)?;
        page = cookie.page;
        let sort = order.iter().zip(&cookie.sort);
        let sort = sort.map(|((column, _), value)| cell(table, *column, value));
        let position = sort.collect::<Result<Vec<_>, _>>()?;
        rows.retain(|row| compare_to(&order, row, &position, cookie.id).is_gt());
    }
    // $top limits the answer for good; a page size only says how much comes at once, and wins.
    let size = match (preferred, top) {
        (None, Some(top)) => top.min(MAX_PAGE),
        (preferred, _) => preferred.unwrap_or(MAX_PAGE),
    };
    let more = rows.len() > size && (preferred.is_some() || top.is_none());
    rows.truncate(size);
    let listed = u32::try_from(rows.len()).unwrap_or(u32::MAX);
    operation.spend(|costs| costs.listed_row * listed);
    let documents = rows
        .iter()
        .map(|row| Value::Object(shape.document(store, row)));
    let documents: Vec<Value> = documents.collect();

    let names = shape.names(options.get("$select").is_some());
    let mut body = Map::new();
    let context = format!("{}/$metadata#{}{names}", operation.root(), table.set);
    body.insert("@odata.context".to_owned(), json!(context));
    let annotations = &shape.annotations;
    annotations.add_total(&mut body, counted.then_some(total), MAX_PAGE);
    if counted {
        body.insert("@odata.count".to_owned(), json!(total.min(MAX_PAGE)));
    }
    body.insert("value".to_owned(), Value::Array(documents));
    if let Some(last) = rows.last().filter(|_| more) {
        let cookie = Cookie {
            page: page + 1,
            id: last.id,
            sort: order
                .iter()
                .map(|(c, _)| last.cells[*c].to_json())
                .collect(),
        };
        let link = next_link(operation, table, &cookie.encode(false));
        body.insert("@odata.nextLink".to_owned(), json!(link));
    }
    let answer = ApiResponse::json(StatusCode::OK, &Value::Object(body));
    let page = preferred.map(|size| format!("odata.maxpagesize={size}"));
    let applied: Vec<String> = page.into_iter().chain(annotations.applied()).collect();
    Ok(match applied.is_empty() {
        true => answer,
        false => {
            let header = HeaderName::from_static("preference-applied");
            answer.with(header, &applied.join(","))
        }
    })
}

/// The request's own URL with another `$skiptoken`.
pub(super) fn next_link(operation: &Operation<'_>, table: &Table, token: &str) -> String {
    let kept = operation.request.query.split('&').filter(|part| {
        let name = part.split('=').next().unwrap_or_default();
        !part.is_empty() && name != "$skiptoken" && !name.eq_ignore_ascii_case("%24skiptoken")
    });
    let token = format!("$skiptoken={token}");
    let query: Vec<&str> = kept.chain(std::iter::once(token.as_str())).collect();
    format!("{}/{}?{}", operation.root(), table.set, query.join("&"))
}

/// The rows `$filter` lets through, in the order of their ids.
fn matching<'a>(
    store: &'a Store,
    operation: &Operation<'_>,
    table: &Table,
) -> Result<Vec<&'a Row>, ApiError> {
    let Some(text) = operation.options.get("$filter") else {
        return Ok(store.rows(table).collect());
    };
    let mut filter = Filter::parse(text)?;
    filter.typed(&|name, literal, quoted| typed(table, name, literal, quoted))?;
    let holds = |row: &&Row| {
        filter.holds(&|name| match table.property(name) {
            Some(column) => Cow::Borrowed(&row.cells[column]),
            None => Cow::Owned(Cell::Null),
        })
    };
    // A list of ids is looked up rather than searched for.
    let Some(ids) = filter.required(table.primary_key) else {
        return Ok(store.rows(table).filter(holds).collect());
    };
    let mut ids: Vec<Uuid> = ids
        .iter()
        .filter_map(|cell| match cell {
            Cell::Guid(id) => Some(*id),
            _ => None,
        })
        .collect();
    ids.sort_unstable();
    ids.dedup();
    let rows = ids.iter().filter_map(|id| store.row(table, *id));
    Ok(rows.filter(holds).collect())
}

/// Gives a literal the type of its column, or says why it cannot have it.
fn typed(
    table: &Table,
    name: &mut String,
    literal: &Cell,
    quoted: Literal,
) -> Result<Cell, ApiError> {
    // Query functions take a lookup by its logical name too.
    let logical = || (quoted == Literal::Quoted).then(|| table.column(name))?;
    let Some(column) = table.property(name).or_else(logical) else {
        return Err(ApiError::unknown_column(name, table.logical));
    };
    *name = table.property_name(column);
    let fits = matches!(
        (table.columns[column].kind, literal),
        (_, Cell::Null)
            | (Kind::PrimaryKey | Kind::Lookup, Cell::Guid(_))
            | (Kind::Text(_) | Kind::Memo(_), Cell::Text(_))
            | (Kind::Time, Cell::Time(_))
            | (Kind::Bool, Cell::Bool(_))
            | (Kind::Money, Cell::Int(_) | Cell::Number(_))
            | (
                Kind::Whole | Kind::Choice(_) | Kind::State(_) | Kind::Status(_) | Kind::Version,
                Cell::Int(_),
            )
    );
    if fits {
        return Ok(literal.clone());
    }
    let read = match (quoted, literal) {
        (Literal::Quoted, Cell::Text(text)) => {
            let kind = table.columns[column].kind;
            match kind {
                Kind::PrimaryKey | Kind::Lookup => Uuid::parse_str(text).ok().map(Cell::Guid),
                _ => text.parse().ok().map(Cell::Int),
            }
        }
        _ => None,
    };
    read.ok_or_else(|| {
        ApiError::bad_request(format!(
            "A binary operator with incompatible types was detected on property '{name}'."
        ))
    })
}

fn compare_rows(order: &[(usize, bool)], a: &Row, b: &Row) -> Ordering {
    compare(order, a, |at| &b.cells[order[at].0], b.id)
}

/// Where a row stands relative to a position in the sorted rows.
fn compare_to(order: &[(usize, bool)], row: &Row, position: &[Cell], id: Uuid) -> Ordering {
    compare(order, row, |at| position.get(at).unwrap_or(&Cell::Null), id)
}

/// Compares by each sort column in turn; ids decide between equals.
fn compare<'a>(
    order: &[(usize, bool)],
    row: &Row,
    other: impl Fn(usize) -> &'a Cell,
    id: Uuid,
) -> Ordering {
    let by_columns = order.iter().enumerate().map(|(at, (column, descending))| {
        let order = row.cells[*column].sort(other(at));
        if *descending { order.reverse() } else { order }
    });
    by_columns
        .fold(Ordering::Equal, Ordering::then)
        .then_with(|| row.id.cmp(&id))
}
