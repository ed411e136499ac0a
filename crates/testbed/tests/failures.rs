//! What tests of failures rely on: links are cut and restored, homeservers killed and started, data kept.

use std::time::Duration;

use testbed::{Testbed, TestbedBuilder, root, unique};

const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn messages_survive_a_cut_link_a_killed_homeserver_and_a_restart_of_everything()
-> anyhow::Result<()> {
    let _ = tracing_subscriber::fmt()
        .with_env_filter("testbed=info,failures=info")
        .with_test_writer()
        .try_init();
    let data = root().join("tests").join(unique("failures"));
    let builder = || -> TestbedBuilder { Testbed::builder().data(&data) };

    let testbed = builder().start().await?;
    let arts = testbed.client("huisarts", "arts").await?;
    let nurse = testbed.client("vvt", "nurse").await?;
    let room = arts.create_room("Meneer Smit", &[nurse.user_id()]).await?;
    nurse.wait_for_invite(&room, PATIENCE).await?;
    nurse.join(&room).await?;

    testbed.proxy()?.cut("vvt")?;
    arts.send_text(&room, "while the link is cut").await?;
    let early = nurse
        .wait_for_text(&room, "while the link is cut", Duration::from_secs(2))
        .await;
    assert!(early.is_err(), "the message came through a cut link");
    testbed.proxy()?.restore("vvt")?;
    nurse
        .wait_for_text(&room, "while the link is cut", PATIENCE)
        .await?;

    testbed.homeserver("vvt")?.kill().await?;
    arts.send_text(&room, "while vvt is dead").await?;
    testbed.homeserver("vvt")?.start().await?;
    nurse
        .wait_for_text(&room, "while vvt is dead", PATIENCE)
        .await?;

    let first_net = testbed.net();
    testbed.stop().await;

    let testbed = builder().start().await?;
    assert_ne!(testbed.net(), first_net);
    let arts = testbed.client("huisarts", "arts").await?;
    let nurse = testbed.client("vvt", "nurse").await?;
    nurse.send_text(&room, "after the restart").await?;
    let seen = arts
        .wait_for_messages(&room, nurse.user_id(), 1, PATIENCE)
        .await?;
    assert_eq!(seen[0].body(), "after the restart");
    testbed.stop().await;
    std::fs::remove_dir_all(&data)?;
    Ok(())
}
