//! Change tracking: `Prefer: odata.track-changes`, and what a delta link returns.
//!
//! Contract: "Use change tracking to synchronize data with external systems" (Power Apps docs).
//! Changed rows come before deleted ones, each in its last state only. How a delta is paged is not
//! documented: here as every other collection, and the link at the end continues from where the
//! first page was read.

use http::{HeaderName, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::macros::format_description;
use uuid::Uuid;

use super::dispatch::Operation;
use super::list::next_link;
use super::message::ApiResponse;
use super::read::Shape;
use crate::dataverse::error::ApiError;
use crate::dataverse::odata::paging::{Cookie, MAX_PAGE, page_size, preferences};
use crate::dataverse::schema::Table;
use crate::dataverse::store::Store;

/// Whether a request takes part in change tracking.
pub(super) fn wanted(operation: &Operation<'_>) -> bool {
    let options = &operation.options;
    let token = options.get("$skiptoken").unwrap_or_default();
    options.get("$deltatoken").is_some()
        || token.contains("istracking=\"True\"")
        || preferences(&operation.request.headers).contains(&"odata.track-changes")
}

pub(super) fn answer(
    store: &Store,
    operation: &Operation<'_>,
    table: &Table,
) -> Result<ApiResponse, ApiError> {
    let options = &operation.options;
    options.only(&["$select", "$deltatoken", "$skiptoken"])?;
    let shape = Shape::of(operation, table)?;
    let since = options
        .get("$deltatoken")
        .map(|token| Token::decode(token, operation, store));
    let since = since.transpose()?.map(|token| token.version);
    let cookie = options.get("$skiptoken").map(Cookie::decode).transpose()?;
    // The first page decides up to where this answer goes; what comes later is in the next one.
    let until = cookie
        .as_ref()
        .and_then(|cookie| cookie.sort.get(1)?.as_i64());
    let until = until.unwrap_or_else(|| store.version());
    let after = cookie.as_ref().map(|cookie| {
        (
            cookie.sort.first().and_then(Value::as_u64).unwrap_or(0),
            cookie.id,
        )
    });

    let mut items = items(store, operation, table, &shape, (since, until));
    items.retain(|(phase, id, _)| after.is_none_or(|after| (*phase, *id) > after));
    let preferred = page_size(&operation.request.headers);
    let size = preferred.unwrap_or(MAX_PAGE);
    let more = items.len() > size;
    items.truncate(size);
    let listed = u32::try_from(items.len()).unwrap_or(u32::MAX);
    operation.spend(|costs| costs.listed_row * listed);

    let names = shape.names(options.get("$select").is_some());
    let delta = if since.is_some() { "/$delta" } else { "" };
    let context = format!("{}/$metadata#{}{names}{delta}", operation.root(), table.set);
    let mut body = Map::new();
    body.insert("@odata.context".to_owned(), json!(context));
    match items.last().filter(|_| more) {
        Some((phase, id, _)) => {
            let cookie = Cookie {
                page: cookie.map_or(1, |cookie| cookie.page) + 1,
                id: *id,
                sort: vec![json!(phase), json!(until)],
            };
            let link = next_link(operation, table, &cookie.encode(true));
            body.insert("@odata.nextLink".to_owned(), json!(link));
        }
        None => {
            let token = Token {
                version: until,
                at: operation.context.now,
            };
            let select = options
                .get("$select")
                .map(|select| format!("$select={select}&"));
            let link = format!(
                "{}/{}?{}$deltatoken={}",
                operation.root(),
                table.set,
                select.unwrap_or_default(),
                token.encode()
            );
            body.insert("@odata.deltaLink".to_owned(), json!(link));
        }
    }
    let values = items.into_iter().map(|(_, _, value)| value).collect();
    body.insert("value".to_owned(), Value::Array(values));
    let page = preferred.map(|size| format!(",odata.maxpagesize={size}"));
    let applied = format!("odata.track-changes{}", page.unwrap_or_default());
    let header = HeaderName::from_static("preference-applied");
    Ok(ApiResponse::json(StatusCode::OK, &Value::Object(body)).with(header, &applied))
}

/// Phase (0 for rows, 1 for deleted ones), id, and what is said of it; in that order.
fn items(
    store: &Store,
    operation: &Operation<'_>,
    table: &Table,
    shape: &Shape<'_>,
    (since, until): (Option<i64>, i64),
) -> Vec<(u64, Uuid, Value)> {
    let within = |version: i64| since.is_none_or(|since| since < version && version <= until);
    let rows = store.rows(table).filter(|row| within(row.version));
    let rows = rows.map(|row| (0, row.id, Value::Object(shape.document(store, row))));
    let mut items: Vec<_> = rows.collect();
    if since.is_none() {
        return items;
    }
    let context = format!(
        "{}/$metadata#{}/$deletedEntity",
        operation.root(),
        table.set
    );
    let gone = store.deleted(table).filter(|(id, version)| {
        // A row that came back is told as it is now.
        within(*version) && store.row(table, *id).is_none()
    });
    let mut gone: Vec<Uuid> = gone.map(|(id, _)| id).collect();
    gone.sort_unstable();
    gone.dedup();
    items.extend(gone.into_iter().map(|id| {
        (
            1,
            id,
            json!({"@odata.context": context, "id": id, "reason": "deleted"}),
        )
    }));
    items
}

/// What a delta link knows: a version, and when it was given.
struct Token {
    version: i64,
    at: OffsetDateTime,
}

impl Token {
    /// In the platform's shape, `919042!08/22/2017 08:10:44`, percent-encoded.
    fn encode(&self) -> String {
        let format = format_description!("[month]/[day]/[year] [hour]:[minute]:[second]");
        let at = self
            .at
            .to_offset(time::UtcOffset::UTC)
            .format(format)
            .unwrap_or_default();
        let token = format!("{}!{at}", self.version);
        utf8_percent_encode(&token, NON_ALPHANUMERIC).to_string()
    }

    fn decode(token: &str, operation: &Operation<'_>, store: &Store) -> Result<Self, ApiError> {
        let read = || {
            let (version, at) = token.split_once('!')?;
            let format = format_description!("[month]/[day]/[year] [hour]:[minute]:[second]");
            let at = time::PrimitiveDateTime::parse(at, format)
                .ok()?
                .assume_utc();
            Some(Self {
                version: version.parse().ok()?,
                at,
            })
        };
        let token = read().ok_or_else(|| ApiError::bad_request("Invalid delta token."))?;
        let expires = token.at + operation.state.delta_lifetime;
        if operation.context.now > expires || store.is_forgotten(token.version) {
            return Err(ApiError::version_stamp_expired());
        }
        Ok(token)
    }
}
