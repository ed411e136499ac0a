//! What is exported is what is described, and nothing else.

use std::collections::BTreeSet;

use super::*;
use crate::ops::testing::World;

const DOCS: &str = include_str!("../../../../../docs/src/metrics.md");
const ALERTS: &str = include_str!("../../../../../deploy/prometheus/alerts.yaml");
const DASHBOARD: &str = include_str!("../../../../../deploy/grafana/fhir-bridge.json");

/// Words in a text that are the names of metrics, or would be.
fn names(text: &str) -> BTreeSet<&str> {
    let prefixes = ["fhir_", "matrix_appservice_", "process_"];
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| prefixes.iter().any(|prefix| word.starts_with(prefix)))
        .collect()
}

/// The names under which Prometheus stores a metric.
fn series() -> BTreeSet<String> {
    ALL.iter()
        .flat_map(|(kind, name, ..)| match kind {
            Counter | Gauge => vec![(*name).to_owned()],
            Histogram => ["_bucket", "_sum", "_count"]
                .map(|end| format!("{name}{end}"))
                .into(),
        })
        .collect()
}

#[test]
fn names_end_as_prometheus_wants_it() {
    for (kind, name, ..) in ALL {
        assert_eq!(name.ends_with("_total"), *kind == Counter, "{name}");
        assert_eq!(
            name.ends_with("_duration_seconds"),
            *kind == Histogram,
            "{name}"
        );
    }
}

#[test]
fn the_documentation_has_each_metric_with_its_type_and_labels() {
    for (kind, name, labels, help) in ALL {
        let kind = format!("{kind:?}").to_lowercase();
        let labels: Vec<String> = labels
            .split(", ")
            .filter(|label| !label.is_empty())
            .map(|label| format!("`{label}`"))
            .collect();
        let row = format!("| `{name}` | {kind} | {} | {help} |", labels.join(", "));
        assert!(
            DOCS.contains(&row),
            "docs/src/metrics.md lacks the row\n{row}"
        );
    }
    let (table, _) = DOCS.split_once("## Labels").unwrap();
    let documented = table.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(
        documented,
        ALL.len(),
        "docs/src/metrics.md has a row too many"
    );
}

#[test]
fn alerts_and_dashboard_use_what_there_is() {
    let series = series();
    for (file, text) in [("alerts.yaml", ALERTS), ("fhir-bridge.json", DASHBOARD)] {
        let used = names(text);
        assert!(used.len() > 5, "{file}");
        for name in used {
            assert!(
                series.contains(name),
                "{file} uses {name}, which nobody exports"
            );
        }
    }
}

#[test]
fn each_alert_says_what_it_means_and_what_to_do() {
    let rules: serde_json::Value = serde_yaml::from_str(ALERTS).unwrap();
    let rules = rules["groups"][0]["rules"].as_array().unwrap();
    for rule in rules {
        let name = rule["alert"].as_str().unwrap();
        assert!(
            rule["expr"].is_string() && rule["labels"]["severity"].is_string(),
            "{name}"
        );
        for key in ["summary", "description"] {
            assert!(rule["annotations"][key].is_string(), "{name} lacks {key}");
        }
    }
}

#[tokio::test]
async fn what_is_exported_is_described_and_names_nobody() {
    install();
    let world = World::new().await;
    begin(&world.desk);
    world.dead_letter("Communication/canary/1", "canary").await;
    world.link(None, "CareTeam/canary", "!canary:vvt").await;
    world.desk.components.set("database", None);
    let problem = "canary.example can't be reached".to_owned();
    world.desk.components.set("fhirServer", Some(problem));
    let asked = world.get("/metrics").await;
    assert_eq!(asked.status, 200);
    let text = &asked.body;
    assert!(!text.contains("canary"), "{text}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        assert!(line.is_empty() || series().contains(name), "{line}");
    }
    for line in [
        "fhir_bridge_component_up{component=\"database\"} 1",
        "fhir_bridge_component_up{component=\"fhirServer\"} 0",
        "fhir_bridge_dead_letters 1",
        "fhir_bridge_held_lanes 0",
        "fhir_bridge_journal_oldest_waiting_seconds 0",
        "fhir_bridge_messages_total{direction=\"to_matrix\",outcome=\"new\"} 0",
        "matrix_appservice_failures_total{source=\"fhir:north\",kind=\"final\"} 0",
        "# TYPE matrix_appservice_entries_total counter",
        concat!(
            "fhir_bridge_build_info{version=\"",
            env!("CARGO_PKG_VERSION"),
            "\"} 1"
        ),
    ] {
        assert!(
            text.lines().any(|one| one == line),
            "{line} is not in\n{text}"
        );
    }
}
