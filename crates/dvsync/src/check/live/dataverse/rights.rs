//! What one identity may do: by reading what the apps read, and by asking how far its privileges reach
//! for what they write, since trying that would change rows.
//!
//! Privileges of tables: `Privileges` of their definitions. Those of a user: Web API function
//! `RetrieveUserPrivilegeByPrivilegeName`, which knows of teams, too.

use serde_json::Value;
use sync_core::config::TableConfig;
use sync_core::dataverse::{DataverseOutbox, Select};

use super::{Caller, DATAVERSE, said, tables};
use crate::check::live::line::Line;
use crate::check::live::parts::Parts;
use crate::dataverse::Answer;

pub(super) async fn check(parts: &Parts, caller: &Caller) -> Vec<Line> {
    let mut lines = Vec::new();
    for file in &parts.files {
        for table in file.config.tables.values() {
            let mut paths = Vec::new();
            if parts.outbound {
                paths.push(("its mapping reads", mapped(table)));
            }
            if parts.inbound {
                let columns = table.ack.all();
                let select = Select {
                    columns: &columns,
                    expand: &[],
                };
                let path = format!("{}?{}&$top=1", table.entity_set, select.options());
                paths.push(("acknowledgements read", path));
            }
            for (what, path) in paths {
                let check = format!(
                    "{}: what {what} ({}, {})",
                    table.name, file.name, caller.label
                );
                lines.push(read(check, caller, &path).await);
            }
        }
    }
    if parts.inbound && parts.sweep {
        let columns = DataverseOutbox::COLUMNS;
        let path = format!("{}?$select={columns}&$top=1", DataverseOutbox::SET);
        let check = format!("outbox: what the sweep reads ({})", caller.label);
        lines.push(read(check, caller, &path).await);
    }
    for table in tables(parts) {
        lines.extend(privileges(parts, caller, table).await);
    }
    lines
}

/// Where a fetch of the mapping's columns is asked for.
fn mapped(table: &TableConfig) -> String {
    let expand = table.expand();
    let expand: Vec<(&str, Vec<&str>)> = expand
        .into_iter()
        .map(|(navigation, columns)| (navigation, columns.into_iter().collect()))
        .collect();
    let expand: Vec<(&str, &[&str])> = expand
        .iter()
        .map(|(navigation, columns)| (*navigation, columns.as_slice()))
        .collect();
    let select = Select {
        columns: &table.select(),
        expand: &expand,
    };
    format!("{}?{}&$top=1", table.entity_set, select.options())
}

async fn read(check: String, caller: &Caller, path: &str) -> Line {
    let answer = match caller.environment.ask(path).await {
        Ok(answer) => answer,
        Err(error) => return super::PEER.lost(check, &error),
    };
    match answer.status {
        200 => DATAVERSE.ok(check, "can be read"),
        403 => DATAVERSE.wrong(
            check,
            "NoReadPrivilege",
            said(&answer.json()),
            "give the application user's security role the privilege to read this table, and those that lookups lead to, for the whole organization; columns with column security need a profile",
        ),
        400 | 404 => DATAVERSE.wrong(
            check,
            "ReadRefused",
            said(&answer.json()),
            "a name is wrong, here or in the sync file (the lines about tables say which); for the outbox, import the sync's solution",
        ),
        status => DATAVERSE.not_checked(check, format!("Dataverse answers {status}")),
    }
}

/// Which verbs the apps need on a table.
fn verbs(parts: &Parts, table: &str) -> Vec<&'static str> {
    if table == DataverseOutbox::TABLE {
        return vec!["Read", "Write", "Delete"];
    }
    let write = parts.inbound.then_some("Write");
    std::iter::once("Read").chain(write).collect()
}

async fn privileges(parts: &Parts, caller: &Caller, table: &str) -> Vec<Line> {
    let path = format!(
        "EntityDefinitions(LogicalName='{table}')?$select=LogicalName,IsOptimisticConcurrencyEnabled,Privileges"
    );
    let check = format!("{table}: privileges ({})", caller.label);
    let definition = match caller.environment.ask(&path).await {
        Ok(Answer { status: 200, body }) => serde_json::from_slice(&body).unwrap_or(Value::Null),
        // Whether it is there, other lines tell.
        Ok(answer) => {
            let why = format!("the table's definition is not told ({})", answer.status);
            return vec![DATAVERSE.not_checked(check, why)];
        }
        Err(error) => return vec![super::PEER.lost(check, &error)],
    };
    let mut lines = Vec::new();
    if definition["IsOptimisticConcurrencyEnabled"] == Value::Bool(false) {
        lines.push(DATAVERSE.wrong(
            format!("{table}: optimistic concurrency"),
            "NoOptimisticConcurrency",
            "conditional writes do not work on this table: acknowledgements would be refused",
            "turn IsOptimisticConcurrencyEnabled on in the table's definition",
        ));
    }
    let known = definition["Privileges"].as_array().cloned();
    let known = known.unwrap_or_default();
    let mut held = Vec::new();
    for verb in verbs(parts, table) {
        let named = known.iter().find(|one| one["PrivilegeType"] == verb);
        let Some(name) = named.and_then(|one| one["Name"].as_str()) else {
            continue;
        };
        match depth(caller, name).await {
            Depth::Reaches(depth) => held.push(format!("{verb} {depth}")),
            Depth::None => lines.push(DATAVERSE.wrong(
                check.clone(),
                code(verb),
                format!("lacks {name}"),
                format!(
                    "give the application user's security role {name} for the whole organization"
                ),
            )),
            Depth::OwnOnly => lines.push(DATAVERSE.wrong(
                check.clone(),
                "PrivilegeTooShallow",
                format!("{name} reaches only rows that the application user owns itself"),
                format!("give the role {name} for the whole organization (Global)"),
            )),
            Depth::NotTold(status) => {
                let why = format!("how far {name} reaches is not told ({status})");
                lines.push(DATAVERSE.not_checked(check.clone(), why));
            }
        }
    }
    if !held.is_empty() {
        lines.push(DATAVERSE.ok(check, held.join(", ")));
    }
    lines
}

fn code(verb: &str) -> &'static str {
    match verb {
        "Read" => "NoReadPrivilege",
        "Write" => "NoWritePrivilege",
        _ => "NoDeletePrivilege",
    }
}

/// How far a privilege reaches.
enum Depth {
    None,
    OwnOnly,
    Reaches(String),
    NotTold(u16),
}

async fn depth(caller: &Caller, privilege: &str) -> Depth {
    let path = format!(
        "systemusers({})/Microsoft.Dynamics.CRM.RetrieveUserPrivilegeByPrivilegeName(PrivilegeName='{privilege}')",
        caller.user
    );
    let json = match caller.environment.ask(&path).await {
        Ok(answer) if answer.status == 200 => answer.json(),
        Ok(answer) => return Depth::NotTold(answer.status),
        Err(_) => return Depth::NotTold(0),
    };
    let held = json["RolePrivileges"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let depths: Vec<&str> = held
        .iter()
        .filter_map(|one| one["Depth"].as_str())
        .collect();
    match ["Global", "Deep", "Local", "Basic"]
        .into_iter()
        .find(|depth| depths.contains(depth))
    {
        None => Depth::None,
        Some("Basic") => Depth::OwnOnly,
        Some(depth) => Depth::Reaches(depth.to_owned()),
    }
}
