//! Three homeservers federate, as three people with ordinary clients see it.

use std::time::{Duration, Instant};

use serde_json::json;
use testbed::{Testbed, unique};

const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn people_of_three_homeservers_talk_in_one_room() -> anyhow::Result<()> {
    let _ = tracing_subscriber::fmt()
        .with_env_filter("testbed=info,trio=info")
        .with_test_writer()
        .try_init();
    let began = Instant::now();
    let testbed = Testbed::shared().await?;
    tracing::info!(took = ?began.elapsed(), "testbed");

    let began = Instant::now();
    let (arts, nurse, pharmacist) = (unique("arts"), unique("nurse"), unique("pharmacist"));
    let (arts, nurse, pharmacist) = tokio::try_join!(
        testbed.client("huisarts", &arts),
        testbed.client("vvt", &nurse),
        testbed.client("apotheek", &pharmacist),
    )?;
    tracing::info!(took = ?began.elapsed(), "three people registered and logged in");

    let began = Instant::now();
    let guests = [nurse.user_id(), pharmacist.user_id()];
    let room = arts.create_room("Mevrouw Jansen", &guests).await?;
    for guest in [&nurse, &pharmacist] {
        let invite = guest.wait_for_invite(&room, PATIENCE).await?;
        assert_eq!(invite.inviter, arts.user_id());
        assert_eq!(invite.name.as_deref(), Some("Mevrouw Jansen"));
        assert_eq!(invite.content["membership"], json!("invite"));
        guest.join(&room).await?;
    }
    tracing::info!(took = ?began.elapsed(), "room, two federated invitations and joins");

    let began = Instant::now();
    let sent = arts.send_text(&room, "Is er nog insuline?").await?;
    for guest in [&nurse, &pharmacist] {
        let seen = guest
            .wait_for_text(&room, "Is er nog insuline?", PATIENCE)
            .await?;
        assert_eq!(seen.event_id, sent);
        assert_eq!(seen.sender, arts.user_id());
    }
    tracing::info!(took = ?began.elapsed(), "a message to two homeservers");

    let began = Instant::now();
    pharmacist.send_text(&room, "Ja, tot vrijdag.").await?;
    let answers = arts
        .wait_for_messages(&room, pharmacist.user_id(), 1, PATIENCE)
        .await?;
    assert_eq!(answers[0].body(), "Ja, tot vrijdag.");
    nurse
        .wait_for_text(&room, "Ja, tot vrijdag.", PATIENCE)
        .await?;
    tracing::info!(took = ?began.elapsed(), "the answer");

    assert_eq!(nurse.joined_rooms().await?, std::slice::from_ref(&room));
    let names = nurse.state(&room, "m.room.name").await?;
    assert_eq!(names[0].content["name"], json!("Mevrouw Jansen"));
    let history = nurse.messages(&room, 20).await?;
    assert_eq!(
        history.last().map(testbed::Event::body),
        Some("Ja, tot vrijdag.")
    );
    Ok(())
}
