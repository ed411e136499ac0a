//! Conversations: what their rooms are called, who comes and goes, and rooms of an older version.

use serde_json::{Value, json};

use crate::{
    stage::{BSN, PATIENCE, Stage, join, member, until},
    talk::sees,
};

const LEAD: &str = "768820003";

impl Stage {
    async fn name_of(&self, room: &str) -> String {
        // The alias leads to a room while that is still being made.
        until("the room to have a name", async || {
            let name = self.content(room, "m.room.name", "").await?;
            name["name"].as_str().map(str::to_owned)
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_is_called_by_its_subject_line_unless_that_names_the_client() {
    let stage = Stage::set_with(json!({"network": {"room_names": "subject"}})).await;
    let client = stage.client().await;
    let nurse = stage.practitioner(None).await;
    let team = stage.team(&client, &[&nurse]).await;
    let call = async |thread: &str, line: &str| {
        let change = |json: &mut Value| json["reasonCode"] = json!([{"text": line}]);
        stage.record.change(thread, change).await.unwrap();
    };
    let thread = stage.thread(&client, &team, &nurse, "hello").await;
    let room = stage.room_of(&thread).await;
    assert_eq!(stage.name_of(&room).await, "Medicatie");
    let long = "Afspraken over de medicatie van de komende twee weken";
    for (line, name) in [
        ("Wondzorg\n  thuis", "Wondzorg thuis"),
        (long, "Afspraken over de medicatie van de komende twee w…"),
        ("Testina valt", "Conversation"),
        ("Wondzorg", "Wondzorg"),
        (BSN, "Conversation"),
    ] {
        call(&thread, line).await;
        stage
            .wait(name, async || stage.name_of(&room).await == name)
            .await;
    }
    let space = stage.room_of(&team).await;
    assert_eq!(stage.name_of(&space).await, "Care team");
    stage.assert_silent(&[&space, &room]).await;
    stage.bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_to_a_conversation_and_goes_from_it_does_so_on_the_record() {
    let stage = Stage::set().await;
    let gp = stage.gp().await;
    let name = testbed::unique("apotheker");
    let pharmacist = stage.testbed.client("apotheek", &name).await.unwrap();
    let client = stage.client().await;
    let nurse = stage.practitioner(None).await;
    let doctor = stage.practitioner(Some(gp.user_id())).await;
    let chemist = stage.practitioner(Some(pharmacist.user_id())).await;
    let team = stage.team(&client, &[&nurse, &doctor, &chemist]).await;
    // Of two of them, in the care team's space.
    let thread = json!({
        "resourceType": "CommunicationRequest", "status": "active",
        "subject": {"reference": client}, "requester": {"reference": nurse},
        "recipient": [{"reference": doctor}], "basedOn": [{"reference": team}],
        "note": [{"text": "of an application"}],
    });
    let thread = stage.record.create(&thread).await.unwrap();
    let room = stage.room_of(&thread).await;
    gp.wait_for_invite(&room, PATIENCE).await.unwrap();
    join(&gp, &room).await;
    stage.wait_membership(&room, gp.user_id(), "join").await;
    let now = async || {
        let json = stage.record.read(&thread).await.unwrap();
        let recipients = json["recipient"].as_array().cloned().unwrap_or_default();
        let named = recipients.iter().map(|one| one["reference"].clone());
        let named: Vec<Value> = named.collect();
        (named, json)
    };

    gp.invite(&room, pharmacist.user_id()).await.unwrap();
    pharmacist.wait_for_invite(&room, PATIENCE).await.unwrap();
    join(&pharmacist, &room).await;
    stage
        .wait("the pharmacist among the recipients", async || {
            now().await.0 == [json!(doctor), json!(chemist)]
        })
        .await;
    // Behind that change, so that the room is in line with it by then.
    stage.write(&thread, &nurse, "welcome").await;
    sees(&pharmacist, &room, "welcome").await;

    pharmacist.leave(&room).await.unwrap();
    stage
        .wait("the pharmacist to go from the recipients", async || {
            now().await.0 == [json!(doctor)]
        })
        .await;
    let (_, json) = now().await;
    assert_eq!(json["note"][0]["text"], "of an application");
    assert_eq!(json["requester"]["reference"], json!(nurse));
    // That one is still a member of the care team.
    let team = stage.record.read(&team).await.unwrap();
    assert!(!team.to_string().contains("period"), "{team}");
    stage.bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_rooms_below_version_12_the_bridge_is_above_all_by_its_level() {
    let stage = Stage::set_with(json!({"network": {"room_version": "11"}})).await;
    let gp = stage.gp().await;
    let client = stage.client().await;
    let nurse = stage.practitioner(None).await;
    let doctor = stage.practitioner(Some(gp.user_id())).await;
    let team = stage.team(&client, &[&nurse]).await;
    let thread = stage.thread(&client, &team, &nurse, "hello").await;
    let space = stage.room_of(&team).await;
    let room = stage.room_of(&thread).await;
    let users = async |room: &str| {
        let levels = stage.content(room, "m.room.power_levels", "").await;
        levels.unwrap()["users"].clone()
    };
    for one in [&space, &room] {
        stage
            .wait_membership(one, &stage.ghost(&nurse), "join")
            .await;
        let create = stage.content(one, "m.room.create", "").await.unwrap();
        assert_eq!(create["room_version"], "11");
        let users = users(one).await;
        assert_eq!(users[stage.bot()], 200, "{users}");
        assert_eq!(users[stage.ghost(&nurse)], 75);
    }

    // A lead has less than the bridge, which can take it back.
    let role = json!([{"coding": [{"system": "http://snomed.info/sct", "code": LEAD}]}]);
    let lead = |team: &mut Value| {
        team["participant"] =
            json!([member(&nurse), {"member": {"reference": doctor}, "role": role}]);
    };
    stage.record.change(&team, lead).await.unwrap();
    for one in [&space, &room] {
        gp.wait_for_invite(one, PATIENCE).await.unwrap();
        join(&gp, one).await;
        stage
            .wait("the lead's level", async || {
                users(one).await[gp.user_id()] == 100
            })
            .await;
    }
    sees(&gp, &room, "hello").await;
    stage.set_status(&thread, "on-hold").await;
    stage
        .wait("it to freeze", async || stage.is_frozen(&room).await)
        .await;
    until("the GP's homeserver to know", async || {
        let levels = gp.state(&room, "m.room.power_levels").await.unwrap();
        (levels[0].content["events_default"].as_i64() > Some(100)).then_some(())
    })
    .await;
    let early = gp.send_text(&room, "too early").await;
    assert!(early.is_err(), "not even the lead may write");
    stage.set_status(&thread, "active").await;
    stage
        .wait("it to thaw", async || !stage.is_frozen(&room).await)
        .await;
    let without = |team: &mut Value| team["participant"] = json!([member(&nurse)]);
    stage.record.change(&team, without).await.unwrap();
    for one in [&space, &room] {
        stage.wait_membership(one, gp.user_id(), "leave").await;
        stage
            .wait("the level to go", async || {
                users(one).await.get(gp.user_id()).is_none()
            })
            .await;
        assert_eq!(users(one).await[stage.bot()], 200);
    }
    stage.bridge.stop().await;
}
