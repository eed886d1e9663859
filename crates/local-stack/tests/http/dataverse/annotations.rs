use reqwest::Method;
use serde_json::json;

use super::{Answer, request, sample, sampled, send};

const FORMATTED: &str = "OData.Community.Display.V1.FormattedValue";

async fn read(dataverse: &local_stack::dataverse::Dataverse, path: &str, prefer: &str) -> Answer {
    send(request(dataverse, Method::GET, path).header("prefer", prefer)).await
}

#[tokio::test]
async fn every_kind_of_value_is_shown_as_a_user_sees_it() {
    let dataverse = sampled().await;
    let id = sample(&dataverse, "account", "A. Datum");
    let path = format!(
        "accounts({id})?$select=name,revenue,numberofemployees,creditonhold,statuscode,createdon,\
         versionnumber,description,_primarycontactid_value&$expand=primarycontactid($select=statecode)"
    );
    let all = read(&dataverse, &path, "odata.include-annotations=\"*\"").await;
    assert_eq!(
        all.header("preference-applied"),
        "odata.include-annotations=\"*\""
    );
    let shown = |column: &str| all.body[format!("{column}@{FORMATTED}")].clone();
    assert_eq!(shown("revenue"), "$10,000.00");
    assert_eq!(shown("numberofemployees"), "6,200");
    assert_eq!(shown("creditonhold"), "No");
    assert_eq!(shown("statuscode"), "Active");
    assert_eq!(shown("_primarycontactid_value"), "Rene Valdes (sample)");
    assert_eq!(shown("_transactioncurrencyid_value"), "US Dollar");
    assert!(shown("createdon").as_str().unwrap().ends_with('M'));
    assert!(shown("versionnumber").as_str().unwrap().contains(','));
    assert_eq!(shown("name"), json!(null));
    assert_eq!(shown("description"), json!(null));
    let lookup = |name: &str| {
        all.body[format!("_primarycontactid_value@Microsoft.Dynamics.CRM.{name}")].clone()
    };
    assert_eq!(lookup("lookuplogicalname"), "contact");
    assert_eq!(lookup("associatednavigationproperty"), "primarycontactid");
    let inner = &all.body["primarycontactid"];
    assert_eq!(inner[format!("statecode@{FORMATTED}")], "Active");
}

#[tokio::test]
async fn only_the_annotations_asked_for_come() {
    let dataverse = sampled().await;
    let path = "accounts?$select=revenue,_primarycontactid_value&$top=1";
    let none = send(request(&dataverse, Method::GET, path)).await;
    let annotated = |answer: &Answer| {
        let row = answer.values()[0].as_object().unwrap();
        let names = row
            .keys()
            .filter(|name| name.contains('@') && !name.starts_with('@'));
        names.cloned().collect::<Vec<_>>()
    };
    assert!(annotated(&none).is_empty());
    let prefer = format!("odata.maxpagesize=2,odata.include-annotations=\"{FORMATTED}\"");
    let one = read(&dataverse, path, &prefer).await;
    assert!(annotated(&one).iter().all(|name| name.ends_with(FORMATTED)));
    assert_eq!(
        one.header("preference-applied"),
        format!("odata.maxpagesize=2,odata.include-annotations=\"{FORMATTED}\"")
    );
}

#[tokio::test]
async fn a_counted_collection_says_whether_there_were_too_many_to_count() {
    let dataverse = sampled().await;
    let path = "accounts?$select=name&$count=true&$top=1";
    let all = read(&dataverse, path, "odata.include-annotations=\"*\"").await;
    assert_eq!(all.body["@odata.count"], 10);
    assert_eq!(all.body["@Microsoft.Dynamics.CRM.totalrecordcount"], 10);
    let exceeded = &all.body["@Microsoft.Dynamics.CRM.totalrecordcountlimitexceeded"];
    assert_eq!(exceeded, false);
}

#[tokio::test]
async fn an_error_is_told_in_detail_to_those_who_ask() {
    let dataverse = sampled().await;
    let path = "accounts(00000000-0000-0000-0000-000000000001)";
    let plain = send(request(&dataverse, Method::GET, path)).await;
    assert_eq!(plain.body["error"].as_object().unwrap().len(), 2);
    let told = read(&dataverse, path, "odata.include-annotations=\"*\"").await;
    assert_eq!((told.status, told.code()), (404, "0x80040217"));
    let error = &told.body["error"];
    let inner = &error["@Microsoft.PowerApps.CDS.InnerError.Message"];
    assert_eq!(inner, &error["message"]);
}
