//! What is made of the service protection limits, scaled down by a hundred: 60 requests per 3 s, per
//! identity and web server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use http::{HeaderMap, HeaderValue};
use local_stack::dataverse::{Dataverse, DataverseConfig, Limits, WebServers};
use sync_core::dataverse::{DataverseClient, DataverseOptions, RequestLimit};
use sync_core::failure::Class;
use sync_core::ports::Source;
use tokio::task::JoinSet;

use super::goal;
use super::world::{named, sync_config};
use crate::out;

/// Callers that ask again and again; more than can ever be served.
const CALLERS: usize = 32;
const SERVERS: usize = 4;

/// What a run came to.
struct Run {
    served: u64,
    refused: u64,
    /// Of what the servers would have allowed.
    share: f64,
}

impl Run {
    fn refused_share(&self) -> f64 {
        self.refused as f64 / (self.served + self.refused).max(1) as f64
    }

    fn show(&self, what: &str) {
        out::line(format!(
            "  {what:24} {:6} served, {:5.1} % of what is allowed; {} answers were 429 ({:.2} %)",
            self.served,
            100.0 * self.share,
            self.refused,
            100.0 * self.refused_share()
        ));
    }
}

/// One identity, without and with an affinity cookie.
pub(super) async fn governor(length: Duration) -> anyhow::Result<bool> {
    out::line(format!(
        "One identity, {SERVERS} web servers, 60 requests per 3 s each, {} s per run, the learning included",
        length.as_secs()
    ));
    let without = run(SERVERS, 1, length, false).await?;
    without.show("no cookies");
    let with = run(SERVERS, 1, length, true).await?;
    with.show("affinity cookie kept");
    let mut met = goal("at least 90 % of the allowed rate", without.share >= 0.9);
    met &= goal(
        "less than 0.5 % of the answers are 429",
        without.refused_share() < 0.005,
    );
    met &= goal(
        "keeping the cookie does worse",
        with.share < 0.5 * without.share,
    );
    Ok(met)
}

/// One, two and four identities.
pub(super) async fn identities(length: Duration) -> anyhow::Result<bool> {
    out::line(format!(
        "One web server, 60 requests per 3 s and identity, {} s per run, the learning included",
        length.as_secs()
    ));
    let mut served = Vec::new();
    for count in [1, 2, 4] {
        let run = run(1, count, length, false).await?;
        run.show(&format!("identities: {count}"));
        served.push(run.served as f64);
    }
    let (two, four) = (served[1] / served[0], served[2] / served[0]);
    let mut met = goal(
        &format!("two identities do 1.9 times as much ({two:.2})"),
        two >= 1.9,
    );
    met &= goal(
        &format!("four do 3.6 times as much ({four:.2})"),
        four >= 3.6,
    );
    Ok(met)
}

async fn run(
    servers: usize,
    identities: usize,
    length: Duration,
    keep_cookie: bool,
) -> anyhow::Result<Run> {
    let limits = Limits::REAL.scaled_down(100);
    let dataverse = Dataverse::start(DataverseConfig {
        sample_accounts: 100,
        servers: WebServers {
            count: servers,
            limits: Some(limits),
            dop_hint: 48,
            ..WebServers::default()
        },
        ..DataverseConfig::default()
    })
    .await?;
    let headers = if keep_cookie {
        affinity(dataverse.url()).await?
    } else {
        HeaderMap::new()
    };
    let options = DataverseOptions {
        merging: None,
        limit: RequestLimit {
            requests: u32::try_from(limits.requests)?,
            window: limits.window,
        },
        headers,
        ..DataverseOptions::default()
    };
    let client = DataverseClient::new(&dataverse.url().parse()?, named(identities), options)?;
    let config = sync_config()?;
    let table = config.tables.get("account").context("no table account")?;
    let ids = Arc::new(dataverse.ids("account"));

    let started = Instant::now();
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (client, table, ids) = (client.clone(), Arc::clone(table), Arc::clone(&ids));
        callers.spawn(async move {
            let mut next = caller;
            while started.elapsed() < length {
                let row = ids[next % ids.len()];
                next += 1;
                match client.version(&table, row, "bench").await {
                    Ok(_) => {}
                    // As the queue would: come back when told to, not sooner.
                    Err(failure) => match failure.class {
                        Class::Throttled { retry_after } => tokio::time::sleep(retry_after).await,
                        _ => return Err(failure),
                    },
                }
            }
            Ok(())
        });
    }
    while let Some(done) = callers.join_next().await {
        done??;
    }
    let seconds = started.elapsed().as_secs_f64();
    let counters = dataverse.counters();
    let (mut served, mut refused) = (0, 0);
    for counts in counters.servers.values() {
        served += counts.requests;
        refused += counts.refused.values().sum::<u64>();
    }
    let windows = seconds / limits.window.as_secs_f64();
    let allowed = (servers * identities) as f64 * limits.requests as f64 * windows;
    dataverse.shutdown().await;
    Ok(Run {
        served,
        refused,
        share: served as f64 / allowed,
    })
}

/// What a client that keeps cookies would send from its second request on.
async fn affinity(url: &str) -> anyhow::Result<HeaderMap> {
    let answer = reqwest::Client::new()
        .get(format!("{url}/api/data/v9.2/WhoAmI"))
        .bearer_auth("observer")
        .send()
        .await?;
    let cookies = answer.headers().get_all("set-cookie");
    let mut cookies = cookies.iter().filter_map(|cookie| cookie.to_str().ok());
    let cookie = cookies.find(|cookie| cookie.starts_with("ARRAffinity="));
    let cookie = cookie.and_then(|cookie| cookie.split(';').next());
    let cookie = HeaderValue::from_str(cookie.context("no affinity cookie")?)?;
    Ok(HeaderMap::from_iter([(http::header::COOKIE, cookie)]))
}
