//! What metadata says of tables, columns, keys and relationships.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::dataverse::schema::{Column, Kind, Schema, Table, labels};
use crate::dataverse::users::{Verb, privilege};

/// The same for the same thing in every environment.
pub(super) fn metadata_id(name: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes())
}

pub(super) fn table(table: &Table) -> Value {
    json!({
        "MetadataId": metadata_id(table.logical),
        "LogicalName": table.logical,
        "SchemaName": table.schema_name,
        "EntitySetName": table.set,
        "PrimaryIdAttribute": table.primary_key,
        "PrimaryNameAttribute": table.primary_name,
        "IsOptimisticConcurrencyEnabled": true,
        "ChangeTrackingEnabled": true,
        "IsCustomEntity": Table::is_own_column(table.logical),
        "IsPrivate": false,
        "TableType": "Standard",
        "OwnershipType": "UserOwned",
        "Privileges": privileges(table),
        "DisplayName": label(table.schema_name),
        "DisplayCollectionName": label(table.set),
        "Description": label(""),
    })
}

fn privileges(table: &Table) -> Vec<Value> {
    let privileges = Verb::ALL.into_iter();
    privileges
        .map(|verb| {
            let name = privilege(verb, table);
            json!({
                "CanBeBasic": true,
                "CanBeDeep": true,
                "CanBeGlobal": true,
                "CanBeLocal": true,
                "PrivilegeId": metadata_id(&name),
                "Name": name,
                "PrivilegeType": verb.as_str(),
            })
        })
        .collect()
}

pub(super) fn column(table: &Table, column: &Column) -> Value {
    let (kind, type_name, cast) = match column.kind {
        Kind::PrimaryKey => ("Uniqueidentifier", "UniqueidentifierType", ""),
        Kind::Version => ("BigInt", "BigIntType", "BigInt"),
        Kind::Text(_) => ("String", "StringType", "String"),
        Kind::Memo(_) => ("Memo", "MemoType", "Memo"),
        Kind::Whole => ("Integer", "IntegerType", "Integer"),
        Kind::Money => ("Money", "MoneyType", "Money"),
        Kind::Bool => ("Boolean", "BooleanType", "Boolean"),
        Kind::Choice(_) => ("Picklist", "PicklistType", "Picklist"),
        Kind::Choices(_) => ("Virtual", "MultiSelectPicklistType", "MultiSelectPicklist"),
        Kind::State(_) => ("State", "StateType", "State"),
        Kind::Status(_) => ("Status", "StatusType", "Status"),
        Kind::Time => ("DateTime", "DateTimeType", "DateTime"),
        Kind::Lookup if column.name == "parentcustomerid" => ("Customer", "CustomerType", "Lookup"),
        Kind::Lookup => ("Lookup", "LookupType", "Lookup"),
    };
    let is_key = column.kind == Kind::PrimaryKey;
    let mut attribute = json!({
        "@odata.type": format!("#Microsoft.Dynamics.CRM.{cast}AttributeMetadata"),
        "MetadataId": metadata_id(&format!("{}.{}", table.logical, column.name)),
        "LogicalName": column.name,
        "SchemaName": column.name,
        "EntityLogicalName": table.logical,
        "AttributeType": kind,
        "AttributeTypeName": {"Value": type_name},
        "IsPrimaryId": is_key,
        "IsPrimaryName": column.name == table.primary_name,
        "IsCustomAttribute": Table::is_own_column(column.name) || column.name.starts_with("new_"),
        "IsValidForRead": true,
        "IsValidForCreate": column.writable || is_key,
        "IsValidForUpdate": column.writable,
        "IsLogical": false,
        "AttributeOf": null,
        "RequiredLevel": {"Value": "None", "CanBeChanged": true},
        "DisplayName": label(column.name),
        "Description": label(""),
    });
    match column.kind {
        Kind::Text(max) | Kind::Memo(max) => attribute["MaxLength"] = json!(max),
        Kind::Choice(values)
        | Kind::Choices(values)
        | Kind::State(values)
        | Kind::Status(values) => {
            let options = values.iter().map(|value| option(table, column, *value));
            let name = format!("{}_{}", table.logical, column.name);
            attribute["OptionSet"] = json!({
                "MetadataId": metadata_id(&name),
                "Name": name,
                "IsGlobal": false,
                "OptionSetType": if cast == "MultiSelectPicklist" { "Picklist" } else { kind },
                "Options": options.collect::<Vec<_>>(),
            });
        }
        Kind::Lookup => {
            let targets = table.navigations.iter();
            let targets = targets.filter(|nav| nav.column == column.name);
            let targets: Vec<_> = targets.map(|nav| nav.target).collect();
            attribute["Targets"] = json!(targets);
        }
        _ => {}
    }
    attribute
}

pub(super) fn keys(table: &Table) -> Vec<Value> {
    let keys = table.keys.iter();
    keys.map(|key| {
        json!({
            "MetadataId": metadata_id(&format!("{} key {}", table.logical, key.name)),
            "LogicalName": key.name,
            "SchemaName": key.name,
            "EntityLogicalName": table.logical,
            "KeyAttributes": key.columns,
            "EntityKeyIndexStatus": "Active",
        })
    })
    .collect()
}

/// Every relationship there is; all are one-to-many.
pub(super) fn relationships(schema: &Schema) -> impl Iterator<Item = Value> + '_ {
    let navigations = schema.tables.iter().flat_map(|table| {
        let navigations = table.navigations.iter();
        navigations.map(move |navigation| (table, navigation))
    });
    navigations.map(|(table, navigation)| {
        let target = schema.by_logical(navigation.target);
        let schema_name = format!("{}_{}", table.logical, navigation.name);
        json!({
            "@odata.type": "#Microsoft.Dynamics.CRM.OneToManyRelationshipMetadata",
            "MetadataId": metadata_id(&schema_name),
            "SchemaName": schema_name,
            "RelationshipType": "OneToManyRelationship",
            "IsCustomRelationship": false,
            "ReferencingEntity": table.logical,
            "ReferencingAttribute": navigation.column,
            "ReferencingEntityNavigationPropertyName": navigation.name,
            "ReferencedEntity": navigation.target,
            "ReferencedEntityNavigationPropertyName": schema_name,
            "ReferencedAttribute": target.map(|target| target.primary_key),
        })
    })
}

/// A text in the one language there is.
fn label(text: &str) -> Value {
    let label = json!({
        "Label": text,
        "LanguageCode": 1033,
        "IsManaged": true,
        "MetadataId": metadata_id(text),
        "HasChanged": null,
    });
    json!({"LocalizedLabels": [label], "UserLocalizedLabel": label})
}

fn option(table: &Table, column: &Column, value: i64) -> Value {
    let text = labels::choice(table.logical, column.name, value).unwrap_or_default();
    json!({"Value": value, "Label": label(text), "Color": null, "IsManaged": true})
}
