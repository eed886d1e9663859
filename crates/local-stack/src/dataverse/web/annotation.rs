//! `Prefer: odata.include-annotations`: what values look like to people, and where lookups point.

use http::HeaderMap;
use serde_json::{Map, Value, json};

use crate::dataverse::cell::Cell;
use crate::dataverse::odata::paging::preferences;
use crate::dataverse::protection::grouped;
use crate::dataverse::schema::{Kind, Table, labels};
use crate::dataverse::store::{Row, Store};

const FORMATTED: &str = "OData.Community.Display.V1.FormattedValue";
const NAVIGATION: &str = "Microsoft.Dynamics.CRM.associatednavigationproperty";
const LOGICAL_NAME: &str = "Microsoft.Dynamics.CRM.lookuplogicalname";
const TOTAL: &str = "Microsoft.Dynamics.CRM.totalrecordcount";
const TOTAL_EXCEEDED: &str = "Microsoft.Dynamics.CRM.totalrecordcountlimitexceeded";

/// The annotations a request asked for, as it wrote them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Annotations(Option<String>);

impl Annotations {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let wanted = preferences(headers).into_iter().find_map(|preference| {
            let wanted = preference.strip_prefix("odata.include-annotations=")?;
            Some(wanted.trim_matches('"').to_owned())
        });
        Self(wanted)
    }

    /// For `Preference-Applied`.
    pub(super) fn applied(&self) -> Option<String> {
        let wanted = self.0.as_ref()?;
        Some(format!("odata.include-annotations=\"{wanted}\""))
    }

    pub(super) fn any(&self) -> bool {
        self.0.is_some()
    }

    fn wants(&self, name: &str) -> bool {
        let patterns = self.0.as_deref().unwrap_or_default().split(',');
        patterns
            .map(str::trim)
            .any(|pattern| match pattern.strip_suffix('*') {
                Some(prefix) => name.starts_with(prefix),
                None => pattern == name,
            })
    }

    /// Adds the annotations of one value, which come before the value itself.
    pub(super) fn add(
        &self,
        document: &mut Map<String, Value>,
        store: &Store,
        table: &Table,
        row: &Row,
        column: usize,
    ) {
        if !self.any() || row.cells[column].is_null() {
            return;
        }
        let property = table.property_name(column);
        let mut add = |name: &str, value: Value| {
            if self.wants(name) {
                document.insert(format!("{property}@{name}"), value);
            }
        };
        if let Some(text) = formatted(store, table, row, column) {
            add(FORMATTED, json!(text));
        }
        if let Cell::Reference(target, _) = row.cells[column] {
            let name = table.columns[column].name;
            let mut navigations = table.navigations.iter();
            let navigation = navigations.find(|nav| nav.column == name && nav.target == target);
            if let Some(navigation) = navigation {
                add(NAVIGATION, json!(navigation.name));
            }
            add(LOGICAL_NAME, json!(target));
        }
    }

    /// Adds what is said of an error: details for people and support.
    pub(super) fn add_details(&self, body: &mut Map<String, Value>, code: &str, message: &str) {
        let help = format!(
            "http://go.microsoft.com/fwlink/?LinkID=398563&error=Microsoft.Crm.CrmException%3a{}&client=platform",
            code.trim_start_matches("0x")
        );
        for (name, value) in [
            ("ErrorDetails.OperationStatus", "0"),
            ("ErrorDetails.SubErrorCode", "-2146233088"),
            ("HelpLink", &help),
            ("TraceText", ""),
            ("InnerError.Message", message),
        ] {
            let name = format!("Microsoft.PowerApps.CDS.{name}");
            if self.wants(&name) {
                body.insert(format!("@{name}"), json!(value));
            }
        }
    }

    /// Adds what is said of a collection as a whole: its size, if it was counted.
    pub(super) fn add_total(
        &self,
        body: &mut Map<String, Value>,
        total: Option<usize>,
        max: usize,
    ) {
        let exceeded = total.is_some_and(|total| total > max);
        let total = total.map_or(json!(-1), |total| json!(total.min(max)));
        for (name, value) in [(TOTAL, total), (TOTAL_EXCEEDED, json!(exceeded))] {
            if self.wants(name) {
                body.insert(format!("@{name}"), value);
            }
        }
    }
}

/// A value as an American user sees it; `None` where the platform formats nothing.
fn formatted(store: &Store, table: &Table, row: &Row, column: usize) -> Option<String> {
    let cell = &row.cells[column];
    let described = &table.columns[column];
    match (described.kind, cell) {
        (Kind::Choice(_) | Kind::State(_) | Kind::Status(_), Cell::Int(value)) => {
            labels::choice(table.logical, described.name, *value).map(str::to_owned)
        }
        (Kind::Choices(_), Cell::Text(values)) => {
            let values = values.split(',').filter_map(|v| v.parse::<i64>().ok());
            let labels: Vec<_> = values
                .filter_map(|value| labels::choice(table.logical, described.name, value))
                .collect();
            Some(labels.join("; "))
        }
        (Kind::Money, Cell::Number(value)) => Some(money(*value)),
        (_, Cell::Int(value)) => {
            let digits = grouped(u128::from(value.unsigned_abs()));
            Some(if *value < 0 {
                format!("-{digits}")
            } else {
                digits
            })
        }
        (_, Cell::Bool(value)) => Some(if *value { "Yes" } else { "No" }.to_owned()),
        (_, Cell::Time(at)) => {
            let format = time::macros::format_description!(
                "[month padding:none]/[day padding:none]/[year] \
                 [hour repr:12 padding:none]:[minute] [period]"
            );
            at.format(format).ok()
        }
        (_, Cell::Reference(target, id)) => {
            let target = store.schema.by_logical(target)?;
            let name = store.row(target, *id)?.get(target, target.primary_name);
            name.as_text().map(str::to_owned)
        }
        _ => None,
    }
}

/// Dollars and cents: `$10,000.00`, and `($5.00)` for a debt.
fn money(value: f64) -> String {
    let cents = (value.abs() * 100.0).round();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // rounded and not negative
    let cents = cents as u128;
    let text = format!("${}.{:02}", grouped(cents / 100), cents % 100);
    if value < 0.0 {
        format!("({text})")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanting(prefer: &str) -> Annotations {
        let mut headers = HeaderMap::new();
        headers.insert("prefer", prefer.parse().unwrap());
        Annotations::of(&headers)
    }

    #[test]
    fn annotations_are_asked_for_by_name_prefix_or_all_at_once() {
        let all = wanting("odata.maxpagesize=3,odata.include-annotations=\"*\"");
        assert!(all.wants(FORMATTED) && all.wants(LOGICAL_NAME));
        let two = format!("odata.include-annotations=\"{FORMATTED},{LOGICAL_NAME}\"");
        let two = wanting(&two);
        assert!(two.wants(FORMATTED) && two.wants(LOGICAL_NAME) && !two.wants(NAVIGATION));
        let prefix = wanting("odata.include-annotations=Microsoft.Dynamics.CRM.*");
        assert!(prefix.wants(NAVIGATION) && !prefix.wants(FORMATTED));
        assert!(!wanting("return=representation").any());
    }

    #[test]
    fn money_is_written_in_dollars() {
        assert_eq!(money(10_000.0), "$10,000.00");
        assert_eq!(money(-5.005), "($5.01)");
        assert_eq!(money(0.1), "$0.10");
    }
}
