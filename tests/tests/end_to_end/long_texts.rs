//! Long texts of characters that take several bytes, on their way through the real exporter, which panics where
//! it would have to split one (see `telemetry::shorten`).

use std::process::Command;

use local_stack::insights::{Insights, InsightsConfig, Item, Kind};
use local_stack::tls::LocalCa;
use sync_core::failure::{Failure, Stage};
use sync_core::trace;
use telemetry::{Telemetry, TelemetrySettings};
use tracing::{error, info_span};

/// For each width of a character, and each place in it where a limit may fall: longer than any limit.
fn texts() -> Vec<String> {
    let mut texts = Vec::new();
    for character in ["é", "€", "😀"] {
        for before in 0..character.len() {
            let text = |bytes: usize| {
                let count = bytes / character.len();
                format!("{}{}", "x".repeat(before), character.repeat(count))
            };
            texts.extend([140, 520, 1_100, 9_000, 40_000].map(text));
        }
    }
    texts
}

/// Not a test of its own: the settings of telemetry, its subscriber and its certificates are a process's.
#[test]
#[ignore = "a process that the test below starts"]
fn tells_long_texts() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let settings = TelemetrySettings::read(&|name| std::env::var(name).ok(), "teller").unwrap();
    let telemetry = Telemetry::start(&settings, runtime.handle().clone()).unwrap();
    for text in texts() {
        let row = text.as_str();
        let request = info_span!(
            target: telemetry::SPANS, "attempt", otel.name = row, otel.kind = "consumer", row
        );
        trace::failed(&request, &Failure::permanent(Stage::Map, "Long", row));
        request.in_scope(|| {
            drop(trace::call("target", row, "PUT", row));
            error!(row, "{row}");
        });
    }
    telemetry.end();
}

#[tokio::test]
async fn long_texts_arrive_cut_between_characters_and_none_stops_what_comes_after_it() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let (ca, ca_file) = (LocalCa::new().unwrap(), folder.path().join("ca.pem"));
    ca.write_pem(&ca_file).unwrap();
    let insights = Insights::start(InsightsConfig::new(&ca)).await.unwrap();
    let mut teller = Command::new(std::env::current_exe().unwrap());
    teller
        .args(["--ignored", "--exact", "long_texts::tells_long_texts"])
        .env("SSL_CERT_FILE", &ca_file)
        .env(
            "APPLICATIONINSIGHTS_CONNECTION_STRING",
            insights.connection_string(),
        );
    let ended = tokio::task::spawn_blocking(move || teller.output())
        .await
        .unwrap();
    let ended = ended.unwrap();
    assert!(
        ended.status.success() && !String::from_utf8_lossy(&ended.stderr).contains("panicked"),
        "{ended:?}"
    );
    let (items, texts) = (insights.items(), texts());
    let row = |item: &Item| item.property("row").map(ToOwned::to_owned);
    type Text = fn(&Item) -> Option<String>;
    let name: Text = |item| Some(item.name.clone());
    let detail: Text = |item| Some(item.detail.clone());
    let target: Text = |item| Some(item.target.clone());
    for (kind, texts_of) in [
        (Kind::Request, vec![name, row]),
        (Kind::Dependency, vec![name, target]),
        (Kind::Exception, vec![detail]),
        (Kind::Message, vec![name, row]),
    ] {
        let of_kind: Vec<_> = items.iter().filter(|item| item.kind == kind).collect();
        assert_eq!(of_kind.len(), texts.len(), "{kind:?}");
        for text_of in texts_of {
            for told in &texts {
                // The longest that it may have been cut to.
                let arrived = of_kind.iter().filter_map(|item| text_of(item));
                let cut = arrived.filter(|text| told.starts_with(text.as_str()));
                let longest = cut.max_by_key(String::len).unwrap_or_default();
                assert!(
                    longest == *told || longest.len() > 490,
                    "{kind:?}: {} bytes of {}",
                    longest.len(),
                    told.len()
                );
            }
        }
    }
}
