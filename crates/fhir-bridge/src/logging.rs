//! What the bridge says of itself, and where.

#[cfg(feature = "opentelemetry")]
mod traces;

use std::io::IsTerminal;

use tracing::{Level, Metadata};
use tracing_subscriber::{
    Layer,
    filter::{FilterFn, filter_fn},
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use crate::config::Config;

/// Our own crates. Others (HTTP, SQL, TLS) are heard at `warn` at the most, whatever level is asked
/// for: some of them print URLs, statements or bodies below that.
const OURS: [&str; 4] = ["fhir_bridge", "matrix_appservice", "fhir", "telemetry"];

/// Text on a terminal, JSON lines elsewhere; to stderr.
pub(crate) fn init(level: Level) {
    // Fails when a logger is set already, as in tests that run the bridge in their own process.
    let _ = tracing_subscriber::registry().with(log(level)).try_init();
}

/// What is to be ended when the bridge has: traces that were not sent yet.
#[derive(Debug, Default)]
pub(crate) struct Telling {
    #[cfg(feature = "opentelemetry")]
    traces: Option<telemetry::Traces>,
}

impl Telling {
    /// The log as by [`init`], and traces where the configuration wants them.
    ///
    /// # Errors
    ///
    /// When they can't be sent at all; the log is there nevertheless.
    #[cfg_attr(
        not(feature = "opentelemetry"),
        expect(clippy::unnecessary_wraps, reason = "only traces can fail")
    )]
    pub(crate) fn start(level: Level, config: Option<&Config>) -> anyhow::Result<Self> {
        #[cfg(feature = "opentelemetry")]
        if let Some(config) = config
            && let Some(endpoint) = &config.opentelemetry.endpoint
        {
            return traces::start(level, endpoint, config.homeserver.name.as_str());
        }
        let _ = config;
        init(level);
        Ok(Self::default())
    }

    /// Sends what is left; blocks for some seconds at the most.
    #[cfg_attr(
        not(feature = "opentelemetry"),
        expect(clippy::unused_self, reason = "only traces have an end")
    )]
    pub(crate) fn end(self) {
        #[cfg(feature = "opentelemetry")]
        if let Some(traces) = self.traces {
            traces.close();
        }
    }
}

fn log<S>(level: Level) -> impl Layer<S>
where
    S: tracing::Subscriber + for<'span> LookupSpan<'span>,
{
    let text = std::io::stderr().is_terminal();
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = if text {
        layer.with_target(false).boxed()
    } else {
        layer.json().flatten_event(true).boxed()
    };
    layer.with_filter(filter(level))
}

fn filter(level: Level) -> FilterFn<impl Fn(&Metadata<'_>) -> bool> {
    filter_fn(move |metadata| is_heard(metadata.target(), *metadata.level(), level))
        .with_max_level_hint(level)
}

fn is_heard(target: &str, at: Level, asked: Level) -> bool {
    at <= asked && (is_ours(target) || at <= Level::WARN)
}

fn is_ours(target: &str) -> bool {
    // The whole first word: `fhir` is ours, `fhir_sdk` is not.
    let name = target.split("::").next();
    name.is_some_and(|name| OURS.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_stay_at_warn_even_when_trace_is_asked_for() {
        assert!(is_heard("fhir_bridge::puller", Level::TRACE, Level::TRACE));
        assert!(is_heard("fhir::client", Level::TRACE, Level::TRACE));
        assert!(is_heard("matrix_appservice", Level::TRACE, Level::TRACE));
        for library in [
            "fhir_sdk",
            "fhir_model::x",
            "hyper",
            "reqwest::connect",
            "sqlx::query",
            "h2",
        ] {
            assert!(!is_heard(library, Level::INFO, Level::TRACE), "{library}");
            assert!(is_heard(library, Level::WARN, Level::TRACE), "{library}");
            assert!(!is_heard(library, Level::WARN, Level::ERROR), "{library}");
        }
        assert!(!is_heard("fhir_bridge", Level::DEBUG, Level::INFO));
    }
}
