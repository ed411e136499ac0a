//! Conversations that are headers: a `Communication` without payload, and messages that are `partOf` it.

use serde_json::{Value, json};

use crate::{
    stage::{PATIENCE, Stage, join, until},
    talk::{edit, said, sees},
};

async fn set() -> Stage {
    Stage::set_with(json!({
        "fhir": {"threads": "communication-header"},
        "network": {"room_names": "subject"},
    }))
    .await
}

impl Stage {
    /// A header of a conversation of the whole care team.
    async fn header(&self, client: &str, team: &str, sender: &str) -> String {
        let header = json!({
            "resourceType": "Communication", "status": "in-progress",
            "topic": {"text": "Medicatie"},
            "subject": {"reference": client}, "sender": {"reference": sender},
            "recipient": [{"reference": sender}, {"reference": team}],
            "sent": "2026-11-21T10:00:00Z",
        });
        self.record.create(&header).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_is_a_room_and_its_messages_edits_and_end_come_through() {
    let stage = set().await;
    let gp = stage.gp().await;
    let client = stage.client().await;
    let nurse = stage.practitioner(None).await;
    let doctor = stage.practitioner(Some(gp.user_id())).await;
    let team = stage.team(&client, &[&nurse, &doctor]).await;
    // Neither the other form of a conversation nor what is part of nothing gets a room.
    let request = stage.thread(&client, &team, &nurse, "elsewhere").await;
    let lone = json!({
        "resourceType": "Communication", "status": "in-progress", "sender": {"reference": nurse},
        "recipient": [{"reference": team}], "payload": [{"contentString": "lone"}],
    });
    let lone = stage.record.create(&lone).await.unwrap();
    stage.write(&lone, &nurse, "about something alone").await;
    let header = stage.header(&client, &team, &nurse).await;

    // The room, its place, its name and its people.
    let space = stage.room_of(&team).await;
    let room = stage.room_of(&header).await;
    let ghost = stage.ghost(&nurse);
    stage.wait_membership(&room, &ghost, "join").await;
    gp.wait_for_invite(&room, PATIENCE).await.unwrap();
    join(&gp, &room).await;
    let child = stage.content(&space, "m.space.child", &room).await;
    assert_eq!(child.unwrap()["order"], "1795255200000");
    let name = stage.content(&room, "m.room.name", "").await;
    assert_eq!(name.unwrap()["name"], "Medicatie");

    // A message each way, and an answer.
    let asked = stage.write(&header, &nurse, "asked").await;
    let question = sees(&gp, &room, "asked").await;
    assert_eq!(question.sender, ghost);
    assert_eq!(stage.event_of(&asked).await, question.event_id);
    let answer = gp.send_text(&room, "answered").await.unwrap();
    let stored = stage.stored(&header, "answered").await;
    assert_eq!(stored["sender"]["reference"], json!(doctor));
    assert_eq!(stored["subject"]["reference"], json!(client));
    assert_eq!(stored["recipient"][0]["reference"], json!(nurse));
    assert_eq!(stored["partOf"][0]["reference"], json!(header));
    let answered = format!("Communication/{}", stored["id"].as_str().unwrap());

    // An edit each way, in the same resource and of the same event.
    let change = |json: &mut Value| json["payload"][0]["contentString"] = json!("asked again");
    stage.record.change(&asked, change).await.unwrap();
    until("the nurse's edit", async || {
        let events = gp.messages(&room, 100).await.unwrap();
        let mut edits = events.iter().filter(|event| {
            event.content["m.relates_to"]["event_id"] == json!(question.event_id)
                && event.content["m.new_content"]["body"] == "asked again"
        });
        edits.next().is_some().then_some(())
    })
    .await;
    gp.send(&room, "m.room.message", edit(&answer, "more"))
        .await
        .unwrap();
    stage.stored(&header, "more").await;
    let now = stage.record.read(&answered).await.unwrap();
    assert_eq!(now["payload"][0]["contentString"], "more");

    // While the bridge is away, people write on.
    stage.bridge.stop().await;
    stage.write(&header, &nurse, "meanwhile written").await;
    gp.send_text(&room, "meanwhile said").await.unwrap();
    stage.bridge.restart().await.unwrap();
    sees(&gp, &room, "meanwhile written").await;
    stage.stored(&header, "meanwhile said").await;

    // It ends, and is taken up again.
    // However it looks by then: what has a room is no message.
    let end = |json: &mut Value| {
        json["status"] = json!("completed");
        json["payload"] = json!([{"contentString": "closed by hand"}]);
    };
    stage.record.change(&header, end).await.unwrap();
    let frozen = async || stage.is_frozen(&room).await;
    stage.wait("it to freeze", frozen).await;
    stage.write(&header, &nurse, "too late").await;
    stage.set_status(&header, "in-progress").await;
    stage
        .wait("it to thaw", async || !stage.is_frozen(&room).await)
        .await;
    sees(&gp, &room, "too late").await;

    // Nothing was doubled, and nothing else got a room.
    assert_eq!(said(&gp, &room).await.len(), 5);
    assert_eq!(stage.messages(&header).await.len(), 5);
    for other in [&request, &lone] {
        assert!(!stage.has_alias(other).await, "{other}");
    }

    // One that was made by mistake closes, and so does one that is deleted.
    for close in ["entered-in-error", ""] {
        let unused = stage.header(&client, &team, &nurse).await;
        let room = stage.room_of(&unused).await;
        stage.wait_membership(&room, &ghost, "join").await;
        match close {
            "" => stage.record.delete(&unused).await.unwrap(),
            status => stage.set_status(&unused, status).await,
        }
        stage.wait_membership(&room, &ghost, "leave").await;
    }
    stage.bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_that_is_made_in_matrix_becomes_a_header() {
    let stage = set().await;
    let gp = stage.gp().await;
    let name = testbed::unique("apotheker");
    let pharmacist = stage.testbed.client("apotheek", &name).await.unwrap();
    let client = stage.client().await;
    let nurse = stage.practitioner(None).await;
    let doctor = stage.practitioner(Some(gp.user_id())).await;
    let chemist = stage.practitioner(Some(pharmacist.user_id())).await;
    let team = stage.team(&client, &[&nurse, &doctor, &chemist]).await;
    let space = stage.room_of(&team).await;
    gp.wait_for_invite(&space, PATIENCE).await.unwrap();
    join(&gp, &space).await;
    stage.wait_membership(&space, gp.user_id(), "join").await;

    let room = gp
        .create_room("Overleg", &[&stage.ghost(&nurse)])
        .await
        .unwrap();
    gp.set_state(&space, "m.space.child", &room, json!({"via": ["huisarts"]}))
        .await
        .unwrap();
    gp.invite(&room, &stage.bot()).await.unwrap();
    let headers = async || {
        let query = [("based-on", team.as_str())];
        stage.record.search("Communication", &query).await.unwrap()
    };
    let header = until("the header", async || headers().await.pop()).await;
    assert_eq!(header["status"], "in-progress");
    assert_eq!(header["sender"]["reference"], json!(doctor));
    assert_eq!(header["recipient"][0]["reference"], json!(doctor));
    assert_eq!(header["recipient"][1]["reference"], json!(nurse));
    assert_eq!(header["subject"]["reference"], json!(client));
    assert_eq!(header.get("payload"), None);
    let thread = format!("Communication/{}", header["id"].as_str().unwrap());

    gp.send_text(&room, "said").await.unwrap();
    stage.stored(&thread, "said").await;
    stage.bridge.stop().await;
    stage.bridge.restart().await.unwrap();
    stage.write(&thread, &nurse, "written").await;
    sees(&gp, &room, "written").await;
    gp.send_text(&room, "said again").await.unwrap();
    stage.stored(&thread, "said again").await;

    // Who comes and goes does so in the header.
    let is_named = async |person: &str| {
        let header = stage.record.read(&thread).await.unwrap();
        let recipients = header["recipient"].as_array().unwrap();
        (recipients.iter()).any(|one| one["reference"] == json!(person))
    };
    gp.invite(&room, pharmacist.user_id()).await.unwrap();
    pharmacist.wait_for_invite(&room, PATIENCE).await.unwrap();
    join(&pharmacist, &room).await;
    stage
        .wait("the pharmacist in the header", async || {
            is_named(&chemist).await
        })
        .await;
    // Behind the header's change, so that the room is in line with it by then.
    stage.write(&thread, &nurse, "written again").await;
    sees(&gp, &room, "written again").await;
    pharmacist.leave(&room).await.unwrap();
    stage
        .wait("the pharmacist to go from the header", async || {
            !is_named(&chemist).await
        })
        .await;

    assert_eq!(headers().await.len(), 1, "it is one conversation");
    assert_eq!(stage.messages(&thread).await.len(), 4);
    assert_eq!(said(&gp, &room).await.len(), 4);
    let query = [("based-on", team.as_str())];
    let requests = stage.record.search("CommunicationRequest", &query).await;
    assert!(requests.unwrap().is_empty());
    assert!(!stage.has_alias(&thread).await, "it has no other room");
    stage.bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_conversations_are_requests_headers_are_left_alone() {
    let stage = Stage::set().await;
    let client = stage.client().await;
    let nurse = stage.practitioner(None).await;
    let team = stage.team(&client, &[&nurse]).await;
    let header = stage.header(&client, &team, &nurse).await;
    let message = stage.write(&header, &nurse, "elsewhere").await;
    // Behind them, so that they have been looked at by then.
    let thread = stage.thread(&client, &team, &nurse, "hello").await;
    stage.room_of(&thread).await;
    let written = stage.write(&thread, &nurse, "here").await;
    stage.event_of(&written).await;
    assert!(!stage.has_alias(&header).await);
    for resource in [&header, &message] {
        let now = stage.record.read(resource).await.unwrap();
        assert_eq!(now["meta"]["versionId"], "1", "{resource}");
    }
    stage.bridge.stop().await;
}
