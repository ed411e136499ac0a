//! What the bridge says of itself, and where.

use std::io::IsTerminal;

use tracing::{Level, level_filters::LevelFilter};
use tracing_subscriber::{Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

/// Our own crates. Others (HTTP, SQL, TLS) are heard at `warn` at the most, whatever level is asked
/// for: some of them print URLs, statements or bodies below that.
const OURS: [&str; 3] = ["fhir_bridge", "matrix_appservice", "fhir"];

/// Text on a terminal, JSON lines elsewhere; to stderr.
pub(crate) fn init(level: Level) {
    let text = std::io::stderr().is_terminal();
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = if text {
        layer.with_target(false).boxed()
    } else {
        layer.json().flatten_event(true).boxed()
    };
    // Fails when a logger is set already, as in tests that run the bridge in their own process.
    let _ = tracing_subscriber::registry()
        .with(layer.with_filter(filter(level)))
        .try_init();
}

fn filter(level: Level) -> Targets {
    let others = LevelFilter::WARN.min(level.into());
    Targets::new()
        .with_default(others)
        .with_targets(OURS.map(|target| (target, level)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_stay_at_warn_even_when_trace_is_asked_for() {
        let filter = filter(Level::TRACE);
        assert!(filter.would_enable("fhir_bridge::puller", &Level::TRACE));
        assert!(filter.would_enable("matrix_appservice::dispatch", &Level::TRACE));
        for library in ["fhir_sdk", "hyper", "reqwest::connect", "sqlx::query", "h2"] {
            assert!(!filter.would_enable(library, &Level::INFO), "{library}");
            assert!(filter.would_enable(library, &Level::WARN), "{library}");
        }
        assert!(!super::filter(Level::ERROR).would_enable("sqlx", &Level::WARN));
    }
}
