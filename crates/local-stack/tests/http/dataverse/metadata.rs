use serde_json::json;

use super::{empty, get};

#[tokio::test]
async fn a_table_is_found_by_its_logical_name_either_way() {
    let dataverse = empty().await;
    let select = "$select=EntitySetName,PrimaryIdAttribute,IsOptimisticConcurrencyEnabled";
    let path = format!("EntityDefinitions(LogicalName='account')?{select}");
    let one = get(&dataverse, &path).await;
    assert_eq!(one.body["EntitySetName"], "accounts");
    assert_eq!(one.body["PrimaryIdAttribute"], "accountid");
    assert_eq!(one.body["IsOptimisticConcurrencyEnabled"], true);
    assert!(one.body.get("SchemaName").is_none());

    let path = format!("EntityDefinitions?{select}&$filter=LogicalName+eq+'dvs_outbox'");
    let list = get(&dataverse, &path).await;
    assert_eq!(list.values().len(), 1);
    assert_eq!(list.values()[0]["EntitySetName"], "dvs_outboxes");
}

#[tokio::test]
async fn a_table_that_does_not_exist_is_not_found() {
    let dataverse = empty().await;
    let answer = get(&dataverse, "EntityDefinitions(LogicalName='acount')").await;
    assert_eq!(answer.status, 404);
    let list = get(
        &dataverse,
        "EntityDefinitions?$filter=LogicalName eq 'acount'",
    )
    .await;
    assert!(list.values().is_empty());
}

#[tokio::test]
async fn columns_say_what_they_are() {
    let dataverse = empty().await;
    let path = "EntityDefinitions(LogicalName='account')/Attributes\
                ?$select=LogicalName,AttributeType,IsValidForUpdate";
    let answer = get(&dataverse, path).await;
    let of = |name: &str| {
        let found = answer
            .values()
            .iter()
            .find(|one| one["LogicalName"] == name);
        found.unwrap_or_else(|| panic!("{name}"))
    };
    assert_eq!(of("name")["AttributeType"], "String");
    assert_eq!(of("revenue")["AttributeType"], "Money");
    assert_eq!(of("primarycontactid")["AttributeType"], "Lookup");
    assert_eq!(of("versionnumber")["IsValidForUpdate"], false);
    assert_eq!(of("dvs_ackversion")["IsValidForUpdate"], true);

    let path = format!("{path}&$filter=LogicalName eq 'dvs_ackstate'");
    let one = get(&dataverse, &path).await;
    assert_eq!(one.values().len(), 1);
    let unknown = get(&dataverse, &format!("{path} and Nonsense eq 'x'")).await;
    assert_eq!(unknown.status, 400);
}

#[tokio::test]
async fn choices_keys_and_lookups_are_listed() {
    let dataverse = empty().await;
    let table = "EntityDefinitions(LogicalName='account')";
    let path = format!(
        "{table}/Attributes/Microsoft.Dynamics.CRM.PicklistAttributeMetadata\
         ?$select=LogicalName&$expand=OptionSet($select=Options)"
    );
    let choices = get(&dataverse, &path).await;
    assert_eq!(choices.values().len(), 1);
    assert_eq!(choices.values()[0]["LogicalName"], "industrycode");
    assert_eq!(choices.values()[0]["OptionSet"]["Options"][0]["Value"], 1);

    let keys = get(&dataverse, &format!("{table}/Keys")).await;
    assert_eq!(keys.values()[0]["KeyAttributes"], json!(["accountnumber"]));
    assert_eq!(keys.values()[0]["EntityKeyIndexStatus"], "Active");

    let lookups = get(&dataverse, &format!("{table}/ManyToOneRelationships")).await;
    assert_eq!(
        lookups.values()[0]["ReferencingAttribute"],
        "primarycontactid"
    );
    assert_eq!(
        lookups.values()[0]["ReferencingEntityNavigationPropertyName"],
        "primarycontactid"
    );
}

#[tokio::test]
async fn option_sets_come_only_when_expanded_and_with_their_labels() {
    let dataverse = empty().await;
    let column = "EntityDefinitions(LogicalName='account')/Attributes(LogicalName='industrycode')\
                  /Microsoft.Dynamics.CRM.PicklistAttributeMetadata";
    let plain = get(&dataverse, column).await;
    assert_eq!(plain.body["LogicalName"], "industrycode");
    assert!(plain.body.get("OptionSet").is_none());
    let path = format!("{column}?$select=LogicalName&$expand=OptionSet($select=Options)");
    let expanded = get(&dataverse, &path).await;
    let option = &expanded.body["OptionSet"]["Options"][6];
    assert_eq!(option["Value"], 7);
    assert_eq!(option["Label"]["UserLocalizedLabel"]["Label"], "Consulting");
    assert_eq!(option["Label"]["LocalizedLabels"][0]["LanguageCode"], 1033);
    let wrong = column.replace("Picklist", "String");
    assert_eq!(get(&dataverse, &wrong).await.status, 404);
}

#[tokio::test]
async fn relationships_are_seen_from_both_ends() {
    let dataverse = empty().await;
    let table = "EntityDefinitions(LogicalName='contact')";
    let one = get(&dataverse, &format!("{table}/OneToManyRelationships")).await;
    let ends = |one: &serde_json::Value| {
        let end = |name: &str| one[name].as_str().unwrap().to_owned();
        (end("ReferencingEntity"), end("ReferencingAttribute"))
    };
    let of_contact: Vec<_> = one.values().iter().map(ends).collect();
    assert!(of_contact.contains(&("account".to_owned(), "primarycontactid".to_owned())));
    let many = get(&dataverse, &format!("{table}/ManyToManyRelationships")).await;
    assert!(many.values().is_empty());
    let path = "RelationshipDefinitions?$filter=SchemaName eq 'account_primarycontactid'";
    let found = get(&dataverse, path).await;
    assert_eq!(found.values()[0]["ReferencedEntity"], "contact");
    let id = found.values()[0]["MetadataId"].as_str().unwrap();
    let by_id = get(&dataverse, &format!("RelationshipDefinitions({id})")).await;
    assert_eq!(by_id.body["SchemaName"], "account_primarycontactid");
}
