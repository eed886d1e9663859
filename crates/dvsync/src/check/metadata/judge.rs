//! The sync files against an environment: columns, types, options, lookups, names.

use sync_core::config::{ColumnPath, Field, Form, Reads, TableConfig, Translation};

use super::{Column, Environment, Table};
use crate::check::files::SyncFile;
use crate::check::finding::Report;
use crate::check::near::nearest;

/// Judges one sync file.
pub(in crate::check) fn judge(file: &SyncFile, environment: &Environment, report: &mut Report) {
    for (name, config) in &file.config.tables {
        let at = format!("tables.{name}");
        let Some(table) = environment.0.get(name) else {
            let known = environment.0.keys().map(String::as_str);
            report.add(
                &file.name,
                at,
                "is no table of this environment, as far as its metadata was saved",
                match nearest(name, known) {
                    Some(near) => format!("its logical name is {near}"),
                    None => "use the table's logical name, and save its definition too".to_owned(),
                },
            );
            continue;
        };
        let judge = Judge {
            file: &file.name,
            at: &at,
            config,
            table,
            environment,
        };
        judge.names(report);
        for (member, field) in &config.fields {
            judge.field(field, &format!("{at}.fields.{member}"), report);
        }
        judge.requires(report);
        judge.own_columns(report);
        for (place, column) in config.log_columns.iter().enumerate() {
            judge.column(column, &format!("{at}.logColumns.{place}"), report);
        }
    }
}

struct Judge<'a> {
    file: &'a str,
    at: &'a str,
    config: &'a TableConfig,
    table: &'a Table,
    environment: &'a Environment,
}

impl Judge<'_> {
    fn names(&self, report: &mut Report) {
        for (key, given, right) in [
            ("entitySet", &self.config.entity_set, &self.table.set),
            (
                "primaryKey",
                &self.config.primary_key,
                &self.table.primary_key,
            ),
        ] {
            if given != right && !right.is_empty() {
                report.add(
                    self.file,
                    format!("{}.{key}", self.at),
                    format!("is {given:?}, but the table's is {right:?}"),
                    format!("set \"{key}\": \"{right}\""),
                );
            }
        }
    }

    fn field(&self, field: &Field, at: &str, report: &mut Report) {
        match field {
            Field::Constant(_) => {}
            Field::Column { column, form, .. } => {
                if let Some(found) = self.path(column, at, report) {
                    self.form(found, column, form, at, report);
                }
            }
            Field::Expression { reads, .. } => {
                for (place, column) in reads.iter().enumerate() {
                    self.path(column, &format!("{at}.reads.{place}"), report);
                }
            }
            Field::Object(members) => {
                for (member, field) in members {
                    self.field(field, &format!("{at}.object.{member}"), report);
                }
            }
        }
    }

    /// The column a path leads to, or a finding.
    fn path(&self, path: &ColumnPath, at: &str, report: &mut Report) -> Option<&Column> {
        match path.reads() {
            Reads::Own(name) => self.column(name, at, report),
            Reads::Related { navigation, column } => {
                let target = self.navigation(navigation, at, report)?;
                let table = self.environment.0.get(target)?;
                self.column_of(table, target, column, at, report)
            }
        }
    }

    fn column(&self, name: &str, at: &str, report: &mut Report) -> Option<&Column> {
        self.column_of(self.table, &self.config.name, name, at, report)
    }

    fn column_of<'t>(
        &self,
        table: &'t Table,
        table_name: &str,
        name: &str,
        at: &str,
        report: &mut Report,
    ) -> Option<&'t Column> {
        let lookup = name
            .strip_prefix('_')
            .and_then(|n| n.strip_suffix("_value"));
        let found = table.columns.get(lookup.unwrap_or(name));
        let Some(found) = found else {
            let known = table.columns.keys().map(String::as_str);
            report.add(
                self.file,
                at,
                format!("reads {name}, which is no column of {table_name}"),
                match nearest(name, known) {
                    Some(near) => format!("its name is {near}"),
                    None => "use the column's logical name; it is in lower case".to_owned(),
                },
            );
            return None;
        };
        let leads = matches!(&*found.kind, "Lookup" | "Customer" | "Owner");
        if leads != lookup.is_some() {
            let (what, right) = match lookup {
                Some(own) => ("is no lookup", own.to_owned()),
                None => ("is a lookup", format!("_{name}_value")),
            };
            report.add(
                self.file,
                at,
                format!("reads {name}, but the column {what}"),
                format!("read {right}"),
            );
        }
        if !found.readable || matches!(&*found.kind, "Virtual" | "Image" | "File" | "PartyList") {
            report.add(
                self.file,
                at,
                format!(
                    "reads {name}, which is {} and cannot be read as a value",
                    found.kind
                ),
                "leave it out",
            );
            return None;
        }
        Some(found)
    }

    /// The table that a navigation property leads to, or a finding.
    fn navigation(&self, name: &str, at: &str, report: &mut Report) -> Option<&str> {
        if let Some((_, target)) = self.table.navigations.get(name) {
            return Some(target);
        }
        let mut names = self.table.navigations.iter();
        let same = names.find(|(known, _)| known.eq_ignore_ascii_case(name));
        let of_lookup: Vec<&str> = self
            .table
            .navigations
            .iter()
            .filter(|(_, (column, _))| column.eq_ignore_ascii_case(name))
            .map(|(known, _)| known.as_str())
            .collect();
        let known = self.table.navigations.keys().map(String::as_str);
        let fix = match same {
            Some((right, _)) => format!("its case matters: {right}"),
            None if !of_lookup.is_empty() => format!(
                "that is the lookup's column; follow {}",
                of_lookup.join(" or ")
            ),
            None => match nearest(name, known.clone()) {
                Some(near) => format!("it is called {near}"),
                None => format!("there are {}", known.collect::<Vec<_>>().join(", ")),
            },
        };
        report.add(
            self.file,
            at,
            format!(
                "follows {name}, which is no navigation property of {}",
                self.config.name
            ),
            fix,
        );
        None
    }

    fn form(&self, found: &Column, path: &ColumnPath, form: &Form, at: &str, report: &mut Report) {
        let (key, fits, needed): (_, &[&str], _) = match form {
            Form::Same => return,
            Form::Options(_) => (
                "options",
                &["Picklist", "State", "Status", "Boolean"],
                "a choice",
            ),
            Form::MultiSelect(_) => (
                "multiSelect",
                &["MultiSelectPicklist"],
                "a choice of several values",
            ),
            Form::Money(_) => (
                "money",
                &["Money", "Decimal", "Double", "Integer", "BigInt"],
                "an amount",
            ),
            Form::Date(_) => ("date", &["DateTime"], "a date"),
        };
        if !fits.contains(&found.kind.as_str()) {
            report.add(
                self.file,
                format!("{at}.{key}"),
                format!("is for {needed}, but {} is {}", path.as_str(), found.kind),
                match suited(&found.kind) {
                    Some(right) => format!("use {right}"),
                    None => "send the column as it is".to_owned(),
                },
            );
            return;
        }
        if let Form::Options(translation) | Form::MultiSelect(translation) = form {
            self.options(found, translation, &format!("{at}.{key}"), report);
        }
    }

    fn options(&self, found: &Column, given: &Translation, at: &str, report: &mut Report) {
        let Some(options) = &found.options else {
            return;
        };
        let unmapped: Vec<String> = options
            .iter()
            .map(i64::to_string)
            .filter(|value| !given.values.contains_key(value))
            .collect();
        if !unmapped.is_empty() && given.default.is_none() {
            report.add(
                self.file,
                at,
                format!(
                    "lacks {}: a row with such a value would be dead-lettered",
                    unmapped.join(", ")
                ),
                "translate them, or set \"default\" beside it",
            );
        }
        for value in given.values.keys() {
            let known = value.parse().is_ok_and(|value| options.contains(&value));
            if !known {
                report.add(
                    self.file,
                    format!("{at}.{value}"),
                    "is no value of the column in this environment",
                    "correct it, or delete it",
                );
            }
        }
    }

    fn requires(&self, report: &mut Report) {
        for (place, requirement) in self.config.requires.iter().enumerate() {
            let at = format!("{}.requires.{place}", self.at);
            let lookup = format!("{at}.lookup");
            let Some(target) = self.navigation(&requirement.navigation, &lookup, report) else {
                continue;
            };
            if target != requirement.table {
                report.add(
                    self.file,
                    format!("{at}.table"),
                    format!(
                        "is {}, but {} leads to {target}",
                        requirement.table, requirement.navigation
                    ),
                    format!("set \"table\": \"{target}\", or follow another lookup"),
                );
            }
        }
    }

    /// What acknowledgements write.
    fn own_columns(&self, report: &mut Report) {
        for (key, name) in self.config.ack.named() {
            let at = format!("{}.acknowledgement.{key}", self.at);
            let (fits, what, length): (&[&str], _, _) = match key {
                "state" => (&["Integer"], "a whole number", 0),
                "acknowledgedOn" => (&["DateTime"], "date and time", 0),
                "error" => (
                    &["Memo", "String"],
                    "text of 2000 characters at least",
                    2000,
                ),
                "payloadHash" => (&["String", "Memo"], "text of 64 characters at least", 64),
                "version" => (&["String", "Memo"], "text of 20 characters at least", 20),
                _ => (&["String", "Memo"], "text of 36 characters at least", 36),
            };
            let Some(found) = self.table.columns.get(name) else {
                report.add(
                    self.file,
                    at,
                    format!(
                        "is {name}, which is no column of {}: no acknowledgement could be written",
                        self.config.name
                    ),
                    format!("create the column ({what}), or name one that is there"),
                );
                continue;
            };
            let long_enough = found.max_length.is_none_or(|max| max >= length);
            if !fits.contains(&found.kind.as_str()) || !long_enough || !found.writable {
                let length = found
                    .max_length
                    .map_or(String::new(), |max| format!(" of {max}"));
                report.add(
                    self.file,
                    at,
                    format!(
                        "is {name}, which is {}{length}, but must be {what}, writable",
                        found.kind
                    ),
                    "create a column of that type, or name one",
                );
            }
        }
    }
}

/// The form that fits a column's type.
fn suited(kind: &str) -> Option<&'static str> {
    match kind {
        "Picklist" | "State" | "Status" | "Boolean" => Some("options"),
        "MultiSelectPicklist" => Some("multiSelect"),
        "Money" | "Decimal" | "Double" => Some("money"),
        "DateTime" => Some("date"),
        _ => None,
    }
}
