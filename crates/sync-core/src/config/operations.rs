//! `tables.*.target`: the calls that write and delete a row of one table in the target.

use std::collections::BTreeMap;

use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::answers::{AnswerClass, Answers};
use super::finding::Findings;

/// Stands for the id of the source row.
pub(super) const SOURCE_ROW_ID: &str = "{sourceRowId}";
/// Stands for the id that the target knows the row by.
const TARGET_ROW_ID: &str = "{targetRowId}";

/// The calls that write and delete a row. Their paths may hold `{sourceRowId}`, and, where `find` asks
/// for it, `{targetRowId}`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TableTargetFile {
    /// Where the target holds one row: what every call defaults to.
    #[schemars(example = &"/contacts/{sourceRowId}")]
    path: String,
    /// How a row is written there: by `PUT`, `POST`, `PATCH` or `DELETE`. By default `PUT`.
    #[schemars(example = &"PUT")]
    method: Option<String>,
    /// The statuses that mean success, from 200 to 299; by default all of them.
    #[schemars(example = json!([200, 201]))]
    success: Option<Vec<u16>>,
    /// JSON pointer to the row's id in the target's answer; by default `/id`.
    #[schemars(example = &"/id")]
    id: Option<String>,
    /// Answers that mean something else for this table; they win over `target.answers`.
    #[serde(default)]
    #[schemars(example = json!({"409": "permanent"}))]
    answers: BTreeMap<String, AnswerClass>,
    /// How a row is deleted, where that is not `DELETE` at `path`.
    delete: Option<CallFile>,
    /// Asks for the target's id of a row, for targets that cannot write under the source's id.
    find: Option<FindFile>,
    /// How a row is created that `find` did not find.
    create: Option<CallFile>,
    /// How a row is changed that `find` found, where that is not `method` at `path`.
    update: Option<CallFile>,
}

/// One call. The methods: `PUT`, `POST`, `PATCH` and `DELETE`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct CallFile {
    /// Its path below the target's URL, which may have a query. By default the table's `path`; `create` needs one.
    #[schemars(example = &"/contacts/{sourceRowId}")]
    path: Option<String>,
    /// Its method. By default `DELETE` to delete, `POST` to create, and the table's `method` to update.
    #[schemars(example = &"POST")]
    method: Option<String>,
    /// The statuses that mean success, from 200 to 299; by default all of them.
    #[schemars(example = json!([200, 201]))]
    success: Option<Vec<u16>>,
}

/// The call that finds a row: a `GET` whose answer may hold the row's id.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FindFile {
    /// Its path below the target's URL.
    #[schemars(example = &"/contacts?externalId={sourceRowId}")]
    path: String,
    /// JSON pointer to the row's id in the answer. No such value: no such row.
    #[schemars(example = &"/items/0/id")]
    id: String,
}

/// The calls for the rows of one table.
#[derive(Debug, Clone, PartialEq)]
pub struct Operations {
    /// Writes a row: creates or overwrites it, or, where rows have to be found, changes the one found.
    pub write: Call,
    /// Deletes a row.
    pub delete: Call,
    /// Tells the target that the source row is gone, under `onDelete.deactivate`.
    pub deactivate: Call,
    /// Finds the target's id of a row, and creates a row that was not found.
    pub find: Option<Find>,
    /// Where the target's answer to a write holds its id.
    pub id: Pointer,
    /// Answers that mean something else for this table; they win over those of the whole target.
    pub answers: Answers,
}

/// How rows are found in a target that cannot write under the source's id.
#[derive(Debug, Clone, PartialEq)]
pub struct Find {
    /// What is asked, by `GET`.
    pub path: PathTemplate,
    /// Where the answer holds the row's id. No value there: no such row.
    pub id: Pointer,
    /// Creates a row that was not found.
    pub create: Call,
}

/// One call.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Where.
    pub path: PathTemplate,
    /// How.
    pub method: Method,
    /// What means success.
    pub success: Success,
}

/// The statuses that mean success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Success {
    /// Any 2xx.
    Any,
    /// These.
    Only(Vec<u16>),
}

impl Success {
    /// Whether this status is one.
    #[must_use]
    pub fn is(&self, status: u16) -> bool {
        match self {
            Self::Any => (200..300).contains(&status),
            Self::Only(statuses) => statuses.contains(&status),
        }
    }
}

/// A path below the target's URL, perhaps with a query, and with placeholders for ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct PathTemplate(String);

impl PathTemplate {
    /// The path and query of one row. Without the target's id its placeholder stays empty: a path that
    /// has it is only used for rows that were found.
    #[must_use]
    pub fn fill(&self, source: Uuid, target: Option<&str>) -> String {
        let target = utf8_percent_encode(target.unwrap_or_default(), NON_ALPHANUMERIC);
        self.0
            .replace(SOURCE_ROW_ID, &source.to_string())
            .replace(TARGET_ROW_ID, &target.to_string())
    }

    /// The path without its query, and with `{key}` for ids: what all rows' calls have in common.
    #[must_use]
    pub fn route(&self) -> String {
        let path = self.0.split('?').next().unwrap_or_default();
        path.replace(SOURCE_ROW_ID, "{key}")
            .replace(TARGET_ROW_ID, "{key}")
    }

    fn names(&self, placeholder: &str) -> bool {
        self.0.contains(placeholder)
    }
}

/// A JSON pointer (RFC 6901).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer(String);

impl Pointer {
    /// The text or number it points at, as text.
    #[must_use]
    pub fn id_in(&self, body: &Value) -> Option<String> {
        match body.pointer(&self.0)? {
            Value::String(id) if !id.is_empty() => Some(id.clone()),
            Value::Number(id) => Some(id.to_string()),
            _ => None,
        }
    }
}

impl TableTargetFile {
    pub(super) fn check(self, findings: &mut Findings<'_>) -> Option<Operations> {
        let finds = self.find.is_some();
        let base = CallFile {
            path: Some(self.path),
            method: self.method,
            success: self.success,
        };
        let row = base.check(None, &Method::PUT, true, finds, findings)?;
        let id = pointer(self.id.as_deref().unwrap_or("/id"), "id", findings);
        let answers = Answers::from(self.answers);
        answers.check(&mut findings.below("answers"));
        let delete = self.delete.unwrap_or_default().check(
            Some(&row),
            &Method::DELETE,
            true,
            finds,
            &mut findings.below("delete"),
        );
        let update = match self.update {
            Some(update) => update.check(
                Some(&row),
                &row.method,
                true,
                finds,
                &mut findings.below("update"),
            ),
            None => Some(row.clone()),
        };
        let find = match (self.find, self.create) {
            (Some(find), Some(create)) => find.check(&create, findings).map(Some),
            (Some(_), None) => {
                findings.add(
                    "create",
                    "is missing: a row that find does not find has to be created, e.g. {\"path\": \"/customers\"}",
                );
                None
            }
            (None, Some(_)) => {
                findings.add(
                    "create",
                    "is only for targets whose rows have to be found: add find, or leave it out",
                );
                None
            }
            (None, None) => Some(None),
        };
        Some(Operations {
            deactivate: Call {
                path: row.path.clone(),
                method: Method::PATCH,
                success: Success::Any,
            },
            write: update?,
            delete: delete?,
            find: find?,
            id: id?,
            answers,
        })
    }
}

impl FindFile {
    fn check(&self, create: &CallFile, findings: &mut Findings<'_>) -> Option<Find> {
        let mut below = findings.below("find");
        let path = template(&self.path, true, false, &mut below);
        let id = pointer(&self.id, "id", &mut below);
        let create = create.check(
            None,
            &Method::POST,
            false,
            false,
            &mut findings.below("create"),
        );
        Some(Find {
            path: path?,
            id: id?,
            create: create?,
        })
    }
}

impl CallFile {
    /// `row`: what the path defaults to. `names_row`: whether the path has to say which row. `found`:
    /// whether the target's id is known.
    fn check(
        &self,
        row: Option<&Call>,
        method: &Method,
        names_row: bool,
        found: bool,
        findings: &mut Findings<'_>,
    ) -> Option<Call> {
        let path = match (&self.path, row) {
            (Some(path), _) => template(path, names_row, found, findings),
            (None, Some(row)) => Some(row.path.clone()),
            (None, None) => {
                findings.note("lacks \"path\"");
                None
            }
        };
        let method = match self.method.as_deref() {
            None => Some(method.clone()),
            Some(name @ ("PUT" | "POST" | "PATCH" | "DELETE")) => name.parse().ok(),
            Some(other) => {
                findings.add(
                    "method",
                    format!("is {other:?}, but must be \"PUT\", \"POST\", \"PATCH\" or \"DELETE\""),
                );
                None
            }
        };
        let success = match &self.success {
            None => Some(Success::Any),
            Some(statuses)
                if !statuses.is_empty() && statuses.iter().all(|s| (200..300).contains(s)) =>
            {
                Some(Success::Only(statuses.clone()))
            }
            Some(statuses) => {
                findings.add(
                    "success",
                    format!("is {statuses:?}, but must hold statuses from 200 to 299, e.g. [200, 201]; another status that is as good as success goes into answers, as \"accepted\""),
                );
                None
            }
        };
        Some(Call {
            path: path?,
            method: method?,
            success: success?,
        })
    }
}

fn template(
    path: &str,
    names_row: bool,
    found: bool,
    findings: &mut Findings<'_>,
) -> Option<PathTemplate> {
    let template = PathTemplate(path.to_owned());
    let mut wrong = |problem: String| {
        findings.add("path", format!("is {path:?}, but {problem}"));
        None
    };
    if !path.starts_with('/') || path.starts_with("//") {
        return wrong(format!(
            "must start with one /, e.g. \"/customers/{SOURCE_ROW_ID}\""
        ));
    }
    let rest = path.replace(SOURCE_ROW_ID, "").replace(TARGET_ROW_ID, "");
    if rest.contains(['{', '}', '#', ' ']) || !rest.is_ascii() {
        return wrong(format!(
            "may hold no blanks, no # and no braces but those of {SOURCE_ROW_ID} and {TARGET_ROW_ID}"
        ));
    }
    if template.names(TARGET_ROW_ID) && !found {
        return wrong(format!(
            "{TARGET_ROW_ID} is only known where find asks for it: add find, or use {SOURCE_ROW_ID}"
        ));
    }
    if names_row && !template.names(SOURCE_ROW_ID) && !template.names(TARGET_ROW_ID) {
        return wrong(format!(
            "must say which row, e.g. \"/customers/{SOURCE_ROW_ID}\""
        ));
    }
    Some(template)
}

fn pointer(text: &str, key: &str, findings: &mut Findings<'_>) -> Option<Pointer> {
    let bytes = text.as_bytes();
    let escaped = |i: usize| matches!(bytes.get(i + 1), Some(b'0' | b'1'));
    let well_escaped = (0..bytes.len()).all(|i| bytes[i] != b'~' || escaped(i));
    if text.starts_with('/') && well_escaped {
        return Some(Pointer(text.to_owned()));
    }
    findings.add(
        key,
        format!("is {text:?}, but must be a JSON pointer, e.g. \"/id\" or \"/data/customer/id\""),
    );
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_keeps_what_the_template_says_and_hides_the_ids() {
        for (path, route) in [
            ("/v2/customers/{sourceRowId}", "/v2/customers/{key}"),
            (
                "/api_1/items-2/{targetRowId}/lines",
                "/api_1/items-2/{key}/lines",
            ),
            ("/Customers('{sourceRowId}')", "/Customers('{key}')"),
            ("/v2/customers?externalId={sourceRowId}", "/v2/customers"),
        ] {
            assert_eq!(PathTemplate(path.to_owned()).route(), route);
        }
    }
}
