//! A real FHIR server, which keeps what it has confirmed.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::{FhirServer, Testbed};

#[tokio::test]
async fn what_the_fhir_server_has_confirmed_survives_its_death() -> anyhow::Result<()> {
    let _ = tracing_subscriber::fmt()
        .with_env_filter("testbed=info,fhir=info")
        .with_test_writer()
        .try_init();
    let testbed = Testbed::builder().fhir(FhirServer::Hapi).start().await?;
    let base = testbed.fhir_url().unwrap();
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(30))
        .build()?;

    let patient = json!({"resourceType": "Patient", "active": true});
    let created = client
        .post(format!("{base}/Patient"))
        .header("content-type", "application/fhir+json")
        .body(patient.to_string())
        .send()
        .await?;
    assert_eq!(created.status(), 201);
    let created: Value = created.json().await?;
    let id = created["id"].as_str().unwrap();

    testbed.kill_fhir().await?;
    let began = Instant::now();
    testbed.restart_fhir().await?;
    tracing::info!(took = ?began.elapsed(), "the FHIR server started again");

    let read = client.get(format!("{base}/Patient/{id}")).send().await?;
    assert_eq!(read.status(), 200);
    let began = Instant::now();
    testbed.stop().await;
    tracing::info!(took = ?began.elapsed(), "everything stopped");
    Ok(())
}
