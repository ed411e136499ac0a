use serde_json::{Value, json};

use crate::stage::Stage;

async fn frozen(stage: &Stage, room: &str) -> bool {
    let levels = stage.content(room, "m.room.power_levels", "").await;
    let level = |key: &str| levels.as_ref()?.pointer(key)?.as_i64();
    level("/events_default") > Some(100)
        && level("/events/m.room.message").is_none_or(|level| level > 100)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_freezes_closes_and_opens_again_with_its_resource() {
    let stage = Stage::set().await;
    let client = stage.client().await;
    let nurse = stage.practitioner(None).await;
    let other = stage.team(&client, &[&nurse]).await;
    let team = stage.team(&client, &[&nurse]).await;
    let thread = stage.thread(&client, &team, &nurse, "hello").await;
    let space = stage.room_of(&team).await;
    let room = stage.room_of(&thread).await;
    let ghost = stage.ghost(&nurse);
    stage.wait_membership(&room, &ghost, "join").await;

    let set = async |reference: &str, status: &str| {
        stage
            .record
            .change(reference, |resource| resource["status"] = json!(status))
            .await
            .unwrap();
    };
    // The care team rests, and so do its conversations.
    set(&team, "suspended").await;
    for room in [&space, &room] {
        stage
            .wait("it to freeze", async || frozen(&stage, room).await)
            .await;
    }
    // What is written meanwhile is not lost.
    let held = testbed::unique("held");
    let message = stage
        .record
        .create(&json!({
            "resourceType": "Communication", "status": "completed", "partOf": [{"reference": thread}],
            "sender": {"reference": nurse}, "payload": [{"contentString": held}],
        }))
        .await
        .unwrap();
    set(&team, "active").await;
    for room in [&space, &room] {
        stage
            .wait("it to thaw", async || !frozen(&stage, room).await)
            .await;
    }
    stage
        .wait("the message that was held", async || {
            let message = stage.record.read(&message).await.unwrap();
            message["identifier"]
                .as_array()
                .is_some_and(|list| !list.is_empty())
        })
        .await;

    // The conversation ends and begins again.
    set(&thread, "completed").await;
    stage
        .wait("it to freeze", async || frozen(&stage, &room).await)
        .await;
    assert!(!frozen(&stage, &space).await);
    assert_eq!(
        stage.membership(&room, &ghost).await.as_deref(),
        Some("join")
    );
    set(&thread, "active").await;
    stage
        .wait("it to thaw", async || !frozen(&stage, &room).await)
        .await;

    // It moves to another care team.
    let new_space = stage.room_of(&other).await;
    stage
        .record
        .change(&thread, |thread| {
            thread["recipient"] = json!([{"reference": other}]);
        })
        .await
        .unwrap();
    stage
        .wait("it to hang in the other space", async || {
            let child = stage.content(&new_space, "m.space.child", &room).await;
            let before = stage.content(&space, "m.space.child", &room).await;
            let parent = stage.content(&room, "m.space.parent", &new_space).await;
            let old = stage.content(&room, "m.space.parent", &space).await;
            child.is_some_and(|child| child["via"] == json!(["vvt"]) && child["suggested"] == true)
                && parent.is_some_and(|parent| parent["canonical"] == true)
                && before.is_some_and(|child| child == Value::Object(serde_json::Map::new()))
                && old.is_some_and(|parent| parent == Value::Object(serde_json::Map::new()))
        })
        .await;

    // The care team is no more: nobody writes, the ghosts go, nothing leads there.
    set(&other, "inactive").await;
    for (resource, room) in [(&other, &new_space), (&thread, &room)] {
        stage.wait_membership(room, &ghost, "leave").await;
        stage
            .wait("the alias to go", async || !stage.has_alias(resource).await)
            .await;
        assert!(frozen(&stage, room).await);
    }
    stage
        .wait("the child to go", async || {
            let child = stage.content(&new_space, "m.space.child", &room).await;
            child.is_none_or(|child| child.get("via").is_none())
        })
        .await;
    // And again.
    set(&other, "active").await;
    for (resource, room) in [(&other, &new_space), (&thread, &room)] {
        stage.wait_membership(room, &ghost, "join").await;
        stage
            .wait("the alias to come back", async || {
                stage.has_alias(resource).await
            })
            .await;
        stage
            .wait("it to thaw", async || !frozen(&stage, room).await)
            .await;
    }
    // A conversation that is deleted closes.
    let short = stage.thread(&client, &other, &nurse, "spare").await;
    let room = stage.room_of(&short).await;
    stage.wait_membership(&room, &ghost, "join").await;
    stage.record.delete(&short).await.unwrap();
    stage.wait_membership(&room, &ghost, "leave").await;
    assert_eq!(
        stage.membership(&new_space, &ghost).await.as_deref(),
        Some("join")
    );
    stage.bridge.stop().await;
}
