//! The homeserver and the FHIR server go away again and again, in the middle of everything.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use axum::http::StatusCode;

use crate::between::{self, Asked, Fate};
use testbed::{Bridge, BridgeSetup, Testbed, scene};

/// Longer than what one handler needs: it begins anew after each failure.
const PERIOD: Duration = Duration::from_secs(12);
const OUTAGE: Duration = Duration::from_secs(2);

/// Away for a part of each period. Half of what is asked then is done all the same, but the answer is lost.
fn away(from: Duration, count: Arc<AtomicU32>) -> impl Fn(&Asked) -> Fate + Send + Sync + 'static {
    let began = Instant::now();
    let number = AtomicU32::new(0);
    move |asked| {
        let now = Duration::from_millis(
            u64::try_from(began.elapsed().as_millis() % PERIOD.as_millis()).unwrap(),
        );
        if now < from || now >= from + OUTAGE {
            return Fate::Pass;
        }
        match asked.succeeded {
            None if number.fetch_add(1, Relaxed).is_multiple_of(2) => {
                count.fetch_add(1, Relaxed);
                Fate::Instead(StatusCode::BAD_GATEWAY)
            }
            None => Fate::Pass,
            Some(_) => {
                count.fetch_add(1, Relaxed);
                Fate::Instead(StatusCode::GATEWAY_TIMEOUT)
            }
        }
    }
}

/// The last lines of the bridge's log.
fn end_of(bridge: &Bridge) -> String {
    let log = bridge.log_text().unwrap();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_go_away_again_and_again_cost_time_and_nothing_else() {
    let testbed = Testbed::shared().await.unwrap();
    // The same as the other scenes': two bridges at once on one FHIR server would both carry what is there.
    let appservice = testbed.appservice("bridge1").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let fhir = testbed.start_fhir().await.unwrap();

    let [homeserver_away, fhir_away] = [(); 2].map(|()| Arc::new(AtomicU32::new(0)));
    let program = Path::new(env!("CARGO_BIN_EXE_fhir-bridge"));
    let mut setup = BridgeSetup::of(&appservice, program, folder.path(), fhir.clone());
    let at_once = away(Duration::ZERO, homeserver_away.clone());
    let later = away(PERIOD / 2, fhir_away.clone());
    setup.homeserver = between::put(&setup.homeserver, at_once).await;
    setup.fhir = between::put(&fhir, later).await;
    let bridge = Bridge::start(testbed, setup).await.unwrap();

    let tell = |line: &str| println!("{line}");
    let prefix = &appservice.user_prefix;
    let played = scene::play(testbed, &fhir, prefix, scene::Names::Unique, &tell)
        .await
        .unwrap_or_else(|error| panic!("{error:#}\n{}", end_of(&bridge)));
    scene::stays_the_same(testbed, &fhir, &played, Duration::from_secs(8))
        .await
        .unwrap();
    for (who, count) in [("homeserver", homeserver_away), ("FHIR server", fhir_away)] {
        let count = count.load(Relaxed);
        println!("the {who} was away for {count} requests");
        assert!(count > 0, "the {who} was never away");
    }
    let log = bridge.log_text().unwrap();
    assert!(
        !log.contains("dead letter"),
        "an outage makes no dead letters"
    );
    bridge.stop().await;
}
