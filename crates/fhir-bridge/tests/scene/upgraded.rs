//! A bridge of an earlier version is replaced by this one, as operators do it.

use std::{fs, path::Path, time::Duration};

use testbed::{Bridge, BridgeSetup, Testbed, scene};

use super::{APPSERVICE, PROGRAM, command, moved::write_again};

/// The program of an earlier version. There is none in this repository: whoever makes a release builds it.
const EARLIER: &str = "FHIR_BRIDGE_EARLIER";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the program of an earlier version, in the variable FHIR_BRIDGE_EARLIER"]
async fn what_an_earlier_version_has_begun_is_gone_on_with() {
    let earlier = std::env::var(EARLIER).unwrap();
    let testbed = Testbed::shared().await.unwrap();
    let appservice = testbed.appservice(APPSERVICE).await.unwrap();
    let fhir = testbed.start_fhir().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let setup =
        |program: &str| BridgeSetup::of(&appservice, Path::new(program), folder, fhir.clone());
    let bridge = Bridge::start(testbed, setup(&earlier)).await.unwrap();
    let tell = |line: &str| println!("{line}");
    let prefix = &appservice.user_prefix;
    let mut played = scene::play(testbed, &fhir, prefix, scene::Names::Unique, &tell)
        .await
        .unwrap();
    bridge.stop().await;

    let bridge = Bridge::start(testbed, setup(PROGRAM)).await.unwrap();
    write_again(testbed, &fhir, &mut played).await;
    scene::stays_the_same(testbed, &fhir, &played, Duration::from_secs(8))
        .await
        .unwrap();
    let (is_done, said) = command(folder, &["links", "--json"]).await;
    for id in [&played.space, &played.room, &played.thread] {
        assert!(
            is_done && said.contains(id.as_str()),
            "{id} is not in\n{said}"
        );
    }
    bridge.stop().await;

    // There is no way back, and the earlier one says so.
    let back = tokio::process::Command::new(&earlier)
        .args(["run", "--config", "bridge.yaml"])
        .current_dir(folder)
        .output();
    let back = tokio::time::timeout(Duration::from_mins(1), back).await;
    let back = back.unwrap().unwrap();
    let said = String::from_utf8_lossy(&back.stderr);
    assert!(
        !back.status.success() && said.contains("newer version"),
        "{said}"
    );
    assert!(fs::read_dir(folder.join("data")).unwrap().count() > 0);
    // And what is there is as it was.
    bridge.restart().await.unwrap();
    scene::stays_the_same(testbed, &fhir, &played, Duration::from_secs(4))
        .await
        .unwrap();
    bridge.stop().await;
}
