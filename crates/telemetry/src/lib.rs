//! Telemetry of the function apps: traces, metrics and logs, to Application Insights and to any OTLP receiver.
//!
//! Knows nothing of sync. The code that is watched makes `tracing` spans of target [`SPANS`] and uses
//! OpenTelemetry's instruments; this crate decides what becomes of them:
//!
//! - Off, which is the default, costs nothing: spans are disabled where they are made.
//! - [`sampler`] keeps what failed, whole, and of the rest as much as is asked for.
//! - [`shorten`] keeps the exporter's panic on long texts from ever happening.
//! - Nothing here waits for the ingestion, and nothing grows while it is down: full queues drop what comes.
#![forbid(unsafe_code)]

mod in_span;
mod ingestion;
mod logs;
mod sampler;
pub mod settings;
mod shorten;

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{KeyValue, global};
use opentelemetry_application_insights::Exporter;
use opentelemetry_otlp::{LogExporter, MetricExporter, SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{BatchLogProcessor, SdkLoggerProvider};
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{BatchSpanProcessor, SdkTracerProvider};
use tokio::runtime::Handle;
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use in_span::InSpan;
use ingestion::Ingestion;
use sampler::InvocationSampler;
use shorten::ShorteningLogs;

pub use ingestion::{Bearer, SCOPE};
pub use logs::{Level, NoLevel, init_stderr};
pub use sampler::KEEP;
pub use settings::{SendAs, TelemetrySettings};
pub use shorten::start_of;

/// Target of the spans that are exported.
pub const SPANS: &str = "dvsync.trace";

/// At the end, this long is waited for the ingestion to take what is left.
const PARTING: Duration = Duration::from_secs(4);

/// Why telemetry cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The connection string.
    #[error("setting APPLICATIONINSIGHTS_CONNECTION_STRING cannot be used: {0}")]
    ConnectionString(String),
    /// OTLP.
    #[error("setting OTEL_EXPORTER_OTLP_ENDPOINT cannot be used: {0}")]
    Otlp(String),
    /// TLS of this machine.
    #[error("TLS cannot be set up for telemetry: {0}")]
    Tls(#[from] reqwest::Error),
}

/// What runs while the app does.
pub struct Telemetry {
    running: Option<Running>,
}

struct Running {
    ingestion: Ingestion,
    identity: Option<SendAs>,
    metrics_every: Duration,
    traces: SdkTracerProvider,
    metrics: SdkMeterProvider,
    logs: SdkLoggerProvider,
}

impl Telemetry {
    /// Sets up the log on stdout, and the exporters that `settings` name. The process's only call; requests run on
    /// `runtime`.
    ///
    /// # Errors
    /// See [`TelemetryError`]; the log on stdout is set up nevertheless.
    pub fn start(settings: &TelemetrySettings, runtime: Handle) -> Result<Self, TelemetryError> {
        let stdout = logs::stdout(&settings.stdout_level);
        let running = if settings.is_on() {
            Running::new(settings, runtime)
        } else {
            let _ = tracing_subscriber::registry().with(stdout).try_init();
            return Ok(Self { running: None });
        };
        let running = match running {
            Ok(running) => running,
            Err(error) => {
                let _ = tracing_subscriber::registry().with(stdout).try_init();
                return Err(error);
            }
        };
        let tracer = running.traces.tracer("dataverse-sync");
        let spans = tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            // Costs at every poll of everything inside a span. Logs find the span without; see `InSpan`.
            .with_context_activation(false)
            .with_filter(filter_fn(|m| m.is_span() && m.target() == SPANS));
        let bridge =
            opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge::new(&running.logs);
        // What the exporters and their clients say would make new telemetry of telemetry.
        let own = filter_fn(|m| {
            m.is_event()
                && !["opentelemetry", "reqwest", "hyper", "h2", "rustls"]
                    .iter()
                    .any(|theirs| m.target().starts_with(theirs))
        });
        let bridge = bridge.with_filter(settings.log_level.filter().and(own));
        let _ = tracing_subscriber::registry()
            .with(stdout)
            .with(spans)
            .with(bridge)
            .try_init();
        global::set_meter_provider(running.metrics.clone());
        Ok(Self {
            running: Some(running),
        })
    }

    /// The identity that telemetry is to be sent as; `None` when nothing asks for one.
    #[must_use]
    pub fn send_as(&self) -> Option<&SendAs> {
        self.running.as_ref()?.identity.as_ref()
    }

    /// Gives that identity's tokens. What came before waits for them.
    pub fn authenticate(&self, bearer: Arc<dyn Bearer>) {
        if let Some(running) = &self.running {
            running.ingestion.authenticate(bearer);
        }
    }

    /// How often metrics are exported; `None` when nothing is.
    #[must_use]
    pub fn metrics_every(&self) -> Option<Duration> {
        self.running.as_ref().map(|running| running.metrics_every)
    }

    /// Sends what is left, as far as that goes within a few seconds. Blocks: not on a thread of the runtime,
    /// which the requests need.
    pub fn end(self) {
        let Some(running) = self.running else { return };
        // Side by side: with the ingestion down, each takes all the time there is.
        std::thread::scope(|scope| {
            scope.spawn(|| running.traces.shutdown_with_timeout(PARTING));
            scope.spawn(|| running.logs.shutdown_with_timeout(PARTING));
            scope.spawn(|| running.metrics.shutdown_with_timeout(PARTING));
        });
    }
}

impl Running {
    fn new(settings: &TelemetrySettings, runtime: Handle) -> Result<Self, TelemetryError> {
        let ingestion = Ingestion::new(runtime, settings.identity.is_some())?;
        let resource = resource(settings);
        let mut traces = SdkTracerProvider::builder().with_resource(resource.clone());
        let mut metrics = SdkMeterProvider::builder().with_resource(resource.clone());
        let mut logs = SdkLoggerProvider::builder()
            .with_resource(resource)
            .with_log_processor(InSpan);
        let fraction = settings.sampling_percent / 100.0;
        let chance = (settings.sampling_percent < 100.0).then_some(settings.sampling_percent);
        if let Some(text) = &settings.connection_string {
            let exporter = || {
                Exporter::new_from_connection_string(text, ingestion.clone())
                    .map_err(|e| TelemetryError::ConnectionString(e.to_string()))
            };
            let kept = BatchSpanProcessor::builder(exporter()?).build();
            let sampled = match chance {
                Some(percent) => {
                    let exporter = exporter()?.with_sample_rate(fraction);
                    Some((percent, BatchSpanProcessor::builder(exporter).build()))
                }
                None => None,
            };
            traces = traces.with_span_processor(InvocationSampler::new(kept, sampled));
            metrics = metrics.with_reader(
                PeriodicReader::builder(exporter()?)
                    .with_interval(settings.metrics_every)
                    .build(),
            );
            let batch = BatchLogProcessor::builder(exporter()?).build();
            logs = logs.with_log_processor(ShorteningLogs::new(batch));
        }
        if settings.otlp {
            let wrong =
                |e: opentelemetry_otlp::ExporterBuildError| TelemetryError::Otlp(e.to_string());
            let client = ingestion.for_otlp();
            let spans = || {
                let exporter = SpanExporter::builder().with_http();
                exporter
                    .with_http_client(client.clone())
                    .build()
                    .map_err(wrong)
            };
            let kept = BatchSpanProcessor::builder(spans()?).build();
            let sampled = match chance {
                Some(percent) => Some((percent, BatchSpanProcessor::builder(spans()?).build())),
                None => None,
            };
            traces = traces.with_span_processor(InvocationSampler::new(kept, sampled));
            let exporter = MetricExporter::builder().with_http();
            let exporter = exporter
                .with_http_client(client.clone())
                .build()
                .map_err(wrong)?;
            metrics = metrics.with_reader(
                PeriodicReader::builder(exporter)
                    .with_interval(settings.metrics_every)
                    .build(),
            );
            let exporter = LogExporter::builder().with_http();
            let exporter = exporter.with_http_client(client).build().map_err(wrong)?;
            logs = logs.with_log_processor(BatchLogProcessor::builder(exporter).build());
        }
        Ok(Self {
            ingestion,
            identity: settings.identity.clone(),
            metrics_every: settings.metrics_every,
            traces: traces.build(),
            metrics: metrics.build(),
            logs: logs.build(),
        })
    }
}

/// Built empty: every item repeats it.
fn resource(settings: &TelemetrySettings) -> Resource {
    let short = |text: &str| start_of(text, 200).to_owned();
    Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", short(&settings.role)),
            KeyValue::new("service.instance.id", short(&settings.instance)),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ])
        .build()
}
