use std::time::Duration;

use local_stack::dataverse::{Dataverse, Depth, ListedStep};
use local_stack::identity::TokenKey;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::auth::{guarded, token};
use super::{Answer, empty, get, request, send};

struct Caller {
    dataverse: Dataverse,
    token: String,
}

impl Caller {
    async fn new() -> Self {
        let key = TokenKey::random();
        let dataverse = guarded(&key, Uuid::new_v4()).await;
        let minute = Duration::from_secs(60);
        let token = token(&key, dataverse.url(), "object", minute);
        Self { dataverse, token }
    }

    async fn get(&self, path: &str) -> Answer {
        send(request(&self.dataverse, Method::GET, path).bearer_auth(&self.token)).await
    }

    /// What the Web API says of a privilege of the caller's.
    async fn depths(&self, privilege: &str) -> Vec<Value> {
        let user = self.get("WhoAmI").await.body["UserId"].clone();
        let user = user.as_str().unwrap();
        let function = "Microsoft.Dynamics.CRM.RetrieveUserPrivilegeByPrivilegeName";
        let path = format!("systemusers({user})/{function}(PrivilegeName='{privilege}')");
        let answer = self.get(&path).await;
        let held = answer.body["RolePrivileges"].as_array().unwrap().iter();
        held.map(|one| one["Depth"].clone()).collect()
    }
}

#[tokio::test]
async fn an_application_without_a_user_is_refused_whatever_it_asks() {
    let caller = Caller::new().await;
    caller.dataverse.set_user("app", false);
    for path in ["WhoAmI", "accounts"] {
        let answer = caller.get(path).await;
        assert_eq!(
            (answer.status, answer.code()),
            (403, "0x80072560"),
            "{path}"
        );
    }
    caller.dataverse.set_user("app", true);
    assert_eq!(caller.get("WhoAmI").await.status, 200);
}

#[tokio::test]
async fn a_privilege_that_was_taken_away_is_neither_listed_nor_given() {
    let caller = Caller::new().await;
    let definition = "EntityDefinitions(LogicalName='account')?$select=Privileges";
    let definition = get(&empty().await, definition).await;
    let privileges = definition.body["Privileges"].as_array().unwrap();
    let read = privileges.iter().find(|one| one["PrivilegeType"] == "Read");
    assert_eq!(read.unwrap()["Name"], "prvReadAccount");

    assert_eq!(caller.depths("prvReadAccount").await, [json!("Global")]);
    let dataverse = &caller.dataverse;
    dataverse.set_privilege("app", "prvReadAccount", Some(Depth::Basic));
    assert_eq!(caller.depths("prvReadAccount").await, [json!("Basic")]);
    assert_eq!(caller.get("accounts").await.status, 200);
    dataverse.set_privilege("app", "prvReadAccount", None);
    assert!(caller.depths("prvReadAccount").await.is_empty());
    let refused = caller.get("accounts").await;
    assert_eq!((refused.status, refused.code()), (403, "0x80040220"));
    assert_eq!(caller.get("contacts").await.status, 200);
}

#[tokio::test]
async fn the_steps_of_a_table_are_listed_with_their_filtering_attributes() {
    let dataverse = empty().await;
    dataverse.set_further_steps(vec![ListedStep {
        name: "Somebody's".into(),
        table: "account".into(),
        filtering_attributes: None,
    }]);
    let path = "sdkmessageprocessingsteps?$select=name,filteringattributes\
                &$filter=statecode eq 0 and sdkmessageid/name eq 'Update' \
                and sdkmessagefilterid/primaryobjecttypecode eq 'account'";
    let answer = get(&dataverse, path).await;
    let names: Vec<_> = answer.values().iter().map(|step| &step["name"]).collect();
    assert_eq!(names, ["Sync: account Update", "Somebody's"]);
    let listed = answer.values()[0]["filteringattributes"].as_str().unwrap();
    assert!(listed.split(',').any(|column| column == "accountnumber"));
    assert!(answer.values()[1]["filteringattributes"].is_null());
}
