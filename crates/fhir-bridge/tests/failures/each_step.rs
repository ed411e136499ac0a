//! The bridge dies behind each of its writes: the server has done what it was asked for, the bridge never hears of it.

use std::{collections::HashSet, path::Path, sync::Mutex, time::Duration};

use axum::http::Method;

use crate::between::{self, Asked, Fate};
use testbed::{Bridge, BridgeSetup, Testbed, scene};
use tokio::sync::mpsc;

/// Steps that the scene has and that the bridge must have died behind.
const STEPS: [&str; 8] = [
    "/register",
    "/displayname",
    "/createRoom",
    "/state/m.space.child",
    "/state/m.room.member",
    "/join",
    "/send/m.room.message",
    "/fhir/Communication",
];

/// Swallows the answer to each write that has not been seen before, and has the bridge killed.
fn deadly(kill: mpsc::UnboundedSender<String>) -> impl Fn(&Asked) -> Fate + Send + Sync + 'static {
    let seen = Mutex::new(HashSet::new());
    move |asked| {
        let is_write = asked.method == Method::PUT
            || asked.method == Method::POST
                && !asked.path.ends_with("/_search")
                && !asked.path.ends_with("/ping");
        let what = (asked.method.clone(), asked.path.clone(), asked.body.clone());
        if asked.succeeded == Some(true) && is_write && seen.lock().unwrap().insert(what) {
            let route = asked.path.split('?').next().unwrap_or_default();
            kill.send(format!("{} {route}", asked.method)).unwrap();
            return Fate::Silence;
        }
        Fate::Pass
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_that_dies_behind_each_of_its_writes_does_each_thing_once() {
    let testbed = Testbed::shared().await.unwrap();
    // The same as the other scenes': two bridges at once on one FHIR server would both carry what is there.
    let appservice = testbed.appservice("bridge1").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let fhir = testbed.start_fhir().await.unwrap();
    let (kill, mut killed) = mpsc::unbounded_channel();

    let program = Path::new(env!("CARGO_BIN_EXE_fhir-bridge"));
    let mut setup = BridgeSetup::of(&appservice, program, folder.path(), fhir.clone());
    setup.homeserver = between::put(&setup.homeserver, deadly(kill.clone())).await;
    setup.fhir = between::put(&fhir, deadly(kill)).await;
    let bridge = Bridge::start(testbed, setup).await.unwrap();

    let tell = |line: &str| println!("{line}");
    let prefix = &appservice.user_prefix;
    let playing = scene::play(testbed, &fhir, prefix, scene::Names::Unique, &tell);
    let mut deaths = Vec::new();
    let dying = async {
        loop {
            let behind = killed.recv().await.unwrap();
            bridge.kill().await;
            println!("         died behind {behind}");
            deaths.push(behind);
            // What else had been done by then, beside it: of that, too, it never heard.
            while let Ok(also) = killed.try_recv() {
                println!("                 and {also}");
                deaths.push(also);
            }
            bridge.restart().await.unwrap();
        }
    };
    let played = tokio::select! {
        played = playing => played.unwrap(),
        () = dying => unreachable!(),
    };
    bridge.restart_if_dead().await.unwrap();
    println!("it died {} times", deaths.len());
    for step in STEPS {
        assert!(
            deaths.iter().any(|death| death.contains(step)),
            "it never died behind {step}"
        );
    }
    scene::stays_the_same(testbed, &fhir, &played, Duration::from_secs(8))
        .await
        .unwrap();
    bridge.stop().await;
}
