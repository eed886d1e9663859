mod annotations;
mod auth;
mod batch;
mod bus;
mod events;
mod faults;
mod lists;
mod metadata;
mod multiple;
mod native;
pub(super) mod posting;
mod protection;
mod reads;
mod rights;
mod scripts;
mod tls;
mod tracking;
mod wire;
mod writes;

use local_stack::dataverse::{Dataverse, DataverseConfig};
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use uuid::Uuid;

use crate::client;

/// An environment with Microsoft's sample accounts, where nobody posts.
async fn sampled() -> Dataverse {
    Dataverse::start(DataverseConfig {
        sample_accounts: 10,
        ..DataverseConfig::default()
    })
    .await
    .unwrap()
}

async fn empty() -> Dataverse {
    Dataverse::start(DataverseConfig::default()).await.unwrap()
}

fn request(dataverse: &Dataverse, method: Method, path: &str) -> RequestBuilder {
    let url = format!("{}/api/data/v9.2/{path}", dataverse.url());
    client().request(method, url)
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    fn values(&self) -> &[Value] {
        self.body["value"].as_array().unwrap()
    }
}

async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let body = response.bytes().await.unwrap();
    Answer {
        status,
        headers,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    }
}

async fn get(dataverse: &Dataverse, path: &str) -> Answer {
    send(request(dataverse, Method::GET, path)).await
}

async fn patch(dataverse: &Dataverse, path: &str, body: Value) -> Answer {
    send(request(dataverse, Method::PATCH, path).json(&body)).await
}

/// The sample account or contact whose name begins so.
fn sample(dataverse: &Dataverse, table: &str, name: &str) -> Uuid {
    let (column, key) = match table {
        "account" => ("name", "accountid"),
        _ => ("fullname", "contactid"),
    };
    let rows = dataverse.rows(table);
    let found = rows
        .iter()
        .find(|row| row[column].as_str().unwrap().starts_with(name));
    found.unwrap()[key].as_str().unwrap().parse().unwrap()
}
