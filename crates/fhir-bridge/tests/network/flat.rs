//! Conversations without a resource of their own: what is written to a care team.

use serde_json::{Value, json};

use crate::{
    stage::{PATIENCE, Stage, join, member, until},
    talk::{edit, said, sees},
};

async fn set() -> Stage {
    Stage::set_with(json!({"fhir": {"threads": "flat"}, "audit": {"sink": "fhir"}})).await
}

impl Stage {
    async fn write_to_team(&self, team: &str, sender: &str, text: &str) -> String {
        let message = json!({
            "resourceType": "Communication", "status": "completed",
            "sender": {"reference": sender}, "recipient": [{"reference": team}],
            "payload": [{"contentString": text}],
        });
        self.record.create(&message).await.unwrap()
    }

    /// The messages to a care team on the record.
    async fn to_team(&self, team: &str) -> Vec<Value> {
        let query = [("recipient", team), ("_count", "100")];
        self.record.search("Communication", &query).await.unwrap()
    }

    /// The message to a care team that says this, once there is one.
    async fn stored_to_team(&self, team: &str, text: &str) -> Value {
        until(text, async || {
            let mut messages = self.to_team(team).await;
            messages.retain(|one| one["payload"][0]["contentString"] == text);
            assert!(messages.len() < 2, "{text} is there once");
            messages.pop()
        })
        .await
    }
}

fn conversation(team: &str) -> String {
    team.replace("CareTeam/", "Conversation/")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_to_a_care_team_is_one_room_both_ways() {
    let stage = set().await;
    let gp = stage.gp().await;
    let client = stage.client().await;
    let nurse = stage.practitioner(None).await;
    let doctor = stage.practitioner(Some(gp.user_id())).await;
    let team = stage.team(&client, &[&nurse, &doctor]).await;
    let ghost = stage.ghost(&nurse);

    // The room is there with the care team, in its space, with its members.
    let space = stage.room_of(&team).await;
    let room = stage.room_of(&conversation(&team)).await;
    assert_ne!(space, room);
    stage.wait_membership(&room, &ghost, "join").await;
    for one in [&space, &room] {
        gp.wait_for_invite(one, PATIENCE).await.unwrap();
        join(&gp, one).await;
    }
    stage
        .wait("the room to hang in the space", async || {
            stage
                .content(&space, "m.space.child", &room)
                .await
                .is_some_and(|child| child["via"] == json!(["vvt"]))
        })
        .await;
    let name = stage.content(&room, "m.room.name", "").await;
    assert_eq!(name.unwrap()["name"], "Conversation");

    // A message each way.
    let asked = stage.write_to_team(&team, &nurse, "asked").await;
    let question = sees(&gp, &room, "asked").await;
    assert_eq!(question.sender, ghost);
    assert_eq!(stage.event_of(&asked).await, question.event_id);
    let answer = gp.send_text(&room, "answered").await.unwrap();
    let stored = stage.stored_to_team(&team, "answered").await;
    assert_eq!(stored["sender"]["reference"], json!(doctor));
    assert_eq!(stored["subject"]["reference"], json!(client));
    assert_eq!(stored["recipient"].as_array().unwrap().len(), 1);
    assert_eq!(stored.get("partOf"), None);
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
    let edited = edit(&answer, "more");
    gp.send(&room, "m.room.message", edited).await.unwrap();
    stage.stored_to_team(&team, "more").await;
    let now = stage.record.read(&answered).await.unwrap();
    assert_eq!(now["payload"][0]["contentString"], "more");

    // While the bridge is away, people write on.
    stage.bridge.stop().await;
    stage
        .write_to_team(&team, &nurse, "meanwhile written")
        .await;
    gp.send_text(&room, "meanwhile said").await.unwrap();
    stage.bridge.restart().await.unwrap();
    sees(&gp, &room, "meanwhile written").await;
    stage.stored_to_team(&team, "meanwhile said").await;

    // What is part of something, or for nobody's care team, is none of its messages.
    let request = stage.thread(&client, &team, &nurse, "elsewhere").await;
    for (key, value) in [
        ("partOf", json!([{"reference": request}])),
        ("recipient", json!([{"reference": doctor}])),
    ] {
        let mut other = json!({
            "resourceType": "Communication", "status": "completed",
            "sender": {"reference": nurse}, "recipient": [{"reference": team}],
            "payload": [{"contentString": "elsewhere"}],
        });
        other[key] = value;
        stage.record.create(&other).await.unwrap();
    }
    // Behind them, so that they have been looked at by then.
    stage.write_to_team(&team, &nurse, "and here").await;
    sees(&gp, &room, "and here").await;
    assert!(!stage.has_alias(&request).await);

    // The care team rests; what is written meanwhile comes afterwards.
    stage.set_status(&team, "suspended").await;
    let frozen = async || stage.is_frozen(&room).await;
    stage.wait("it to freeze", frozen).await;
    stage.write_to_team(&team, &nurse, "held").await;
    stage.set_status(&team, "active").await;
    sees(&gp, &room, "held").await;
    assert_eq!(said(&gp, &room).await.len(), 6, "each once, and no others");

    // An AuditEvent can name what is on record only.
    let query = [("entity", team.as_str()), ("_count", "50")];
    until("the audit events of both rooms", async || {
        let audit = stage.record.search("AuditEvent", &query).await.unwrap();
        let about = |code: &str, room: &str| {
            let is_one =
                |one: &&Value| one["subtype"][0]["code"] == code && one.to_string().contains(room);
            audit.iter().filter(is_one).count()
        };
        // Frozen and thawed: each change of who may do what.
        (about("sent-to-matrix", &space) == 1
            && about("sent-to-matrix", &room) == 1
            && about("levels-set", &room) >= 2)
            .then_some(())
    })
    .await;

    // It ends: nobody writes, the ghosts go, nothing leads there.
    stage.set_status(&team, "inactive").await;
    stage.wait_membership(&room, &ghost, "leave").await;
    stage
        .wait("the alias to go", async || {
            !stage.has_alias(&conversation(&team)).await
        })
        .await;
    let log = stage.bridge.log_text().unwrap();
    assert!(!log.contains("dead letter"));
    stage.bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_members_are_the_care_teams_and_rooms_of_ones_own_are_told_that_they_are_none() {
    let stage = set().await;
    let gp = stage.gp().await;
    let name = testbed::unique("apotheker");
    let pharmacist = stage.testbed.client("apotheek", &name).await.unwrap();
    let client = stage.client().await;
    let nurse = stage.practitioner(None).await;
    let doctor = stage.practitioner(Some(gp.user_id())).await;
    let chemist = stage.practitioner(Some(pharmacist.user_id())).await;
    let team = stage.team(&client, &[&nurse, &doctor]).await;
    let space = stage.room_of(&team).await;
    let room = stage.room_of(&conversation(&team)).await;
    for one in [&space, &room] {
        gp.wait_for_invite(one, PATIENCE).await.unwrap();
        join(&gp, one).await;
        stage.wait_membership(one, gp.user_id(), "join").await;
    }

    // Whoever is added to the care team comes into its room, with a task for what is said from then on.
    let add = |team: &mut Value| {
        team["participant"] = json!([member(&nurse), member(&doctor), member(&chemist)]);
    };
    stage.record.change(&team, add).await.unwrap();
    pharmacist.wait_for_invite(&room, PATIENCE).await.unwrap();
    join(&pharmacist, &room).await;
    stage
        .wait_membership(&room, pharmacist.user_id(), "join")
        .await;
    gp.send_text(&room, "for all").await.unwrap();
    let stored = stage.stored_to_team(&team, "for all").await;
    let focus = format!("Communication/{}", stored["id"].as_str().unwrap());
    let query = [("focus", focus.as_str())];
    until("a task for each of three", async || {
        let tasks = stage.record.search("Task", &query).await.unwrap();
        (tasks.len() == 3).then_some(())
    })
    .await;

    // A room of somebody's own is told, once, that it is none.
    let own = gp.create_room("Overleg", &[&stage.bot()]).await.unwrap();
    stage.wait_membership(&own, &stage.bot(), "join").await;
    let via = json!({"via": ["huisarts"]});
    gp.set_state(&space, "m.space.child", &own, via)
        .await
        .unwrap();
    let told = async || {
        let events = gp.messages(&own, 50).await.unwrap();
        let is_told = |event: &&testbed::Event| {
            event.sender == stage.bot() && event.body().contains("does not get into the record")
        };
        events.iter().filter(is_told).count()
    };
    stage
        .wait("the room to be told", async || told().await > 0)
        .await;
    gp.send_text(&own, "not on record").await.unwrap();

    // Who leaves the room stays a member, and is not called back.
    pharmacist.leave(&room).await.unwrap();
    stage
        .wait_membership(&room, pharmacist.user_id(), "leave")
        .await;
    gp.send_text(&room, "behind it").await.unwrap();
    stage.stored_to_team(&team, "behind it").await;
    let now = stage.record.read(&team).await.unwrap();
    assert_eq!(now["participant"].as_array().unwrap().len(), 3);
    assert!(!now.to_string().contains("period"), "{now}");
    assert_eq!(
        stage.membership(&room, pharmacist.user_id()).await.unwrap(),
        "leave"
    );
    assert_eq!(told().await, 1);
    let messages = stage.to_team(&team).await;
    assert_eq!(messages.len(), 2, "nothing of the other room");
    stage.bridge.stop().await;
}
