//! Where traces go.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

/// Traces of what the bridge does, for a collector of OpenTelemetry. Only for programs that were built with the feature
/// `opentelemetry`; others refuse it.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OpenTelemetry {
    /// The collector's receiver of OTLP over HTTP, such as `http://127.0.0.1:4318`; `/v1/traces` is appended. Read at the start
    /// only. Absent: there are no traces.
    pub endpoint: Option<Url>,
}

impl OpenTelemetry {
    /// What is wrong with it: the key, and what it must be.
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        const KEY: &str = "opentelemetry.endpoint";
        let endpoint = self.endpoint.as_ref()?;
        if !cfg!(feature = "opentelemetry") {
            return Some((
                KEY,
                "can't be used: this program was built without traces. Build it with `--features fhir-bridge/opentelemetry`, or take the key out",
            ));
        }
        super::mistake_in_url(endpoint).map(|what| (KEY, what))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{GOOD, load};

    #[test]
    fn an_endpoint_is_taken_by_programs_that_have_traces_and_refused_by_others() {
        let with = |endpoint: &str| {
            load(&format!(
                "{GOOD}\nopentelemetry: {{endpoint: '{endpoint}'}}\n"
            ))
        };
        let loaded = with("http://127.0.0.1:4318");
        if cfg!(feature = "opentelemetry") {
            assert!(loaded.unwrap().opentelemetry.endpoint.is_some());
            let error = with("http://me:secret@x").unwrap_err().to_string();
            assert!(
                error.contains("opentelemetry.endpoint") && !error.contains("secret"),
                "{error}"
            );
        } else {
            let error = loaded.unwrap_err().to_string();
            assert!(
                error.contains("--features fhir-bridge/opentelemetry"),
                "{error}"
            );
        }
    }
}
