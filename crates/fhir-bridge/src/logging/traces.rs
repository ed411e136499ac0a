//! Which spans go to the collector: a trace is what becomes of one entry, from the handler to each request that it makes.

use anyhow::Context as _;
use telemetry::{Source, Traces};
use tracing::{Level, Metadata};
use tracing_subscriber::{Layer, filter::filter_fn, layer::SubscriberExt, util::SubscriberInitExt};
use url::Url;

use super::{Telling, is_ours};

/// The span that a trace begins with: see `Bridge::traced`. What is asked without one, such as whether something has changed
/// or how a server is, is asked all the time and says nothing of any one event.
const ROOTS: &[&str] = &["work"];

/// The span that names the FHIR server in the log. It lasts as long as the process, and would make one trace of all.
const SERVER: &str = "fhir";

/// The log, and traces.
pub(super) fn start(level: Level, endpoint: &Url, homeserver: &str) -> anyhow::Result<Telling> {
    let source = Source {
        service: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        instance: homeserver,
        roots: ROOTS,
    };
    let traces = match Traces::start(endpoint, source) {
        Ok(traces) => traces,
        Err(error) => {
            super::init(level);
            return Err(error).context("`opentelemetry.endpoint`");
        }
    };
    let spans = filter_fn(is_traced).with_max_level_hint(Level::DEBUG);
    let _ = tracing_subscriber::registry()
        .with(super::log(level))
        .with(traces.layer().with_filter(spans))
        .try_init();
    Ok(Telling {
        traces: Some(traces),
    })
}

/// Our own spans, which hold ids, and no events: those are for the log.
fn is_traced(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && is_ours(metadata.target()) && metadata.name() != SERVER
}
