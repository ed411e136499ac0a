//! What the bridge says of itself, and where.

use std::io::IsTerminal;

use tracing::{Level, Metadata};
use tracing_subscriber::{
    Layer,
    filter::{FilterFn, filter_fn},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

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

fn filter(level: Level) -> FilterFn<impl Fn(&Metadata<'_>) -> bool> {
    filter_fn(move |metadata| is_heard(metadata.target(), *metadata.level(), level))
        .with_max_level_hint(level)
}

fn is_heard(target: &str, at: Level, asked: Level) -> bool {
    // The whole first word: `fhir` is ours, `fhir_sdk` is not.
    let ours = target
        .split("::")
        .next()
        .is_some_and(|name| OURS.contains(&name));
    at <= asked && (ours || at <= Level::WARN)
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
