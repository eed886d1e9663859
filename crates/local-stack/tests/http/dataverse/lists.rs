use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Answer, empty, get, request, sample, sampled, send};

async fn filtered(dataverse: &local_stack::dataverse::Dataverse, filter: &str) -> Answer {
    let filter = utf8_percent_encode(filter, NON_ALPHANUMERIC);
    get(
        dataverse,
        &format!("accounts?$select=name&$orderby=name&$filter={filter}"),
    )
    .await
}

fn names(answer: &Answer) -> Vec<&str> {
    let names = answer.values().iter().map(|row| &row["name"]);
    names.map(|name| name.as_str().unwrap()).collect()
}

#[tokio::test]
async fn rows_are_filtered_by_values_of_every_type() {
    let dataverse = sampled().await;
    let nancy = sample(&dataverse, "contact", "Nancy Anderson");
    for (filter, found) in [
        ("name eq 'litware, inc. (SAMPLE)'".to_owned(), 1),
        (
            "numberofemployees ge 4300 and numberofemployees lt 6200".to_owned(),
            3,
        ),
        ("revenue gt 80000.5 or revenue eq 10000".to_owned(), 5),
        (
            "description eq null and not (creditonhold eq true)".to_owned(),
            10,
        ),
        (format!("_primarycontactid_value eq {nancy}"), 1),
        ("createdon lt 2020-01-01T00:00:00Z".to_owned(), 0),
        ("createdon gt 2020-01-01".to_owned(), 10),
        ("statecode ne 1".to_owned(), 10),
        (
            "contains(name,'&') and startswith(name,'City')".to_owned(),
            1,
        ),
        ("versionnumber gt 1".to_owned(), 10),
    ] {
        let answer = filtered(&dataverse, &filter).await;
        assert_eq!(answer.status, 200, "{filter}: {}", answer.body);
        assert_eq!(answer.values().len(), found, "{filter}");
    }
}

#[tokio::test]
async fn a_text_with_a_quote_is_found() {
    let dataverse = empty().await;
    dataverse
        .save("account", None, &json!({"name": "O'Brien"}))
        .unwrap();
    let answer = filtered(&dataverse, "name eq 'O''Brien'").await;
    assert_eq!(names(&answer), ["O'Brien"]);
}

#[tokio::test]
async fn many_rows_are_read_by_their_ids_at_once() {
    let dataverse = sampled().await;
    let ids = [
        sample(&dataverse, "account", "Litware"),
        sample(&dataverse, "account", "Coho"),
        Uuid::new_v4(),
    ];
    let values = ids.map(|id| format!("'{id}'")).join(",");
    let function =
        format!("Microsoft.Dynamics.CRM.In(PropertyName='accountid',PropertyValues=[{values}])");
    let answer = filtered(&dataverse, &function).await;
    assert_eq!(
        names(&answer),
        ["Coho Winery (sample)", "Litware, Inc. (sample)"]
    );
    let narrowed = filtered(&dataverse, &format!("{function} and revenue gt 10000")).await;
    assert_eq!(names(&narrowed), ["Litware, Inc. (sample)"]);
}

#[tokio::test]
async fn a_filter_that_makes_no_sense_is_refused() {
    let dataverse = sampled().await;
    for filter in [
        "nam eq 'x'",
        "name eq 5",
        "numberofemployees eq 'many'",
        "accountid eq 'not-a-guid'",
        "primarycontactid/fullname eq 'x'",
        "name in ('a','b')",
        "Microsoft.Dynamics.CRM.In(PropertyName='accountid',PropertyValues=['x'])",
    ] {
        let answer = filtered(&dataverse, filter).await;
        assert_eq!(
            (answer.status, answer.code()),
            (400, "0x80060888"),
            "{filter}"
        );
    }
}

#[tokio::test]
async fn rows_are_sorted_and_the_top_ones_taken() {
    let dataverse = sampled().await;
    let path =
        "accounts?$select=name,numberofemployees&$orderby=numberofemployees desc,name&$top=3";
    let answer = get(&dataverse, path).await;
    let expected = [
        "A. Datum Corporation (sample)",
        "Litware, Inc. (sample)",
        "Alpine Ski House (sample)",
    ];
    assert_eq!(names(&answer), expected);
    assert!(
        answer.body.get("@odata.nextLink").is_none(),
        "$top is no page"
    );
}

#[tokio::test]
async fn rows_are_counted_on_request() {
    let dataverse = sampled().await;
    let path = "accounts?$select=name&$filter=numberofemployees gt 4000&$count=true&$top=1";
    let answer = get(&dataverse, path).await;
    assert_eq!(answer.body["@odata.count"], 4);
    assert_eq!(answer.values().len(), 1);

    let response = request(&dataverse, Method::GET, "accounts/$count")
        .send()
        .await;
    let bytes = response.unwrap().bytes().await.unwrap();
    assert_eq!(
        &bytes[..],
        b"\xef\xbb\xbf10",
        "a byte order mark comes first"
    );
}

/// Follows nextLink to the end; returns the pages' names.
async fn pages(dataverse: &local_stack::dataverse::Dataverse, path: &str) -> Vec<Vec<String>> {
    let prefer = ("prefer", "odata.maxpagesize=4");
    let mut pages = Vec::new();
    let mut next = request(dataverse, Method::GET, path);
    loop {
        let answer = send(next.header(prefer.0, prefer.1)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.header("preference-applied"), "odata.maxpagesize=4");
        pages.push(names(&answer).into_iter().map(str::to_owned).collect());
        match &answer.body["@odata.nextLink"] {
            Value::String(link) => next = crate::client().get(link),
            _ => return pages,
        }
    }
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repetition() {
    let dataverse = sampled().await;
    for path in [
        "accounts?$select=name",
        "accounts?$select=name&$orderby=revenue desc",
        "accounts?$select=name&$orderby=description,name",
    ] {
        let pages = pages(&dataverse, path).await;
        let sizes: Vec<usize> = pages.iter().map(Vec::len).collect();
        assert_eq!(sizes, [4, 4, 2], "{path}");
        let mut all = pages.concat();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 10, "{path}");
    }
}

#[tokio::test]
async fn a_page_begins_after_the_last_row_even_if_that_row_is_gone() {
    let dataverse = sampled().await;
    let first = request(
        &dataverse,
        Method::GET,
        "accounts?$select=name&$orderby=name",
    )
    .header("prefer", "odata.maxpagesize=3");
    let first = send(first).await;
    let last = sample(&dataverse, "account", names(&first)[2]);
    dataverse.delete("account", last).unwrap();
    let link = first.body["@odata.nextLink"].as_str().unwrap();
    let second = send(
        crate::client()
            .get(link)
            .header("prefer", "odata.maxpagesize=3"),
    )
    .await;
    assert_eq!(names(&second)[0], "Blue Yonder Airlines (sample)");
}

#[tokio::test]
async fn generated_accounts_reach_the_number_asked_for_and_are_the_same_for_the_same_seed() {
    let start = |seed| {
        local_stack::dataverse::Dataverse::start(local_stack::dataverse::DataverseConfig {
            sample_accounts: 60,
            sample_seed: seed,
            ..Default::default()
        })
    };
    let (one, same, other) = (start(1).await, start(1).await, start(2).await);
    let names = |dataverse: &local_stack::dataverse::Dataverse| {
        let rows = dataverse.rows("account").into_iter();
        rows.map(|row| row["name"].clone()).collect::<Vec<_>>()
    };
    let (one, same, other) = (
        names(&one.unwrap()),
        names(&same.unwrap()),
        names(&other.unwrap()),
    );
    assert_eq!(one.len(), 60);
    assert_eq!(one, same);
    assert_ne!(one, other);
}

#[tokio::test]
async fn links_begin_with_the_name_the_caller_used() {
    let dataverse = sampled().await;
    let root = format!(
        "http://localhost:{}/api/data/v9.2/",
        dataverse.addr().port()
    );
    let list = crate::client().get(format!("{root}accounts?$select=name"));
    let answer = send(list.header("prefer", "odata.maxpagesize=3")).await;
    for link in ["@odata.nextLink", "@odata.context"] {
        let link = answer.body[link].as_str().unwrap();
        assert!(link.starts_with(&root), "{link}");
    }
}

#[tokio::test]
async fn a_url_over_32_kilobytes_is_too_long() {
    let dataverse = sampled().await;
    let ids = |count| vec![format!("'{}'", Uuid::nil()); count].join(",");
    let filter = |count| {
        let values = ids(count);
        format!("Microsoft.Dynamics.CRM.In(PropertyName='accountid',PropertyValues=[{values}])")
    };
    assert_eq!(filtered(&dataverse, &filter(500)).await.status, 200);
    assert_eq!(filtered(&dataverse, &filter(1000)).await.status, 414);
}
