use serde_json::json;

use crate::stage::{BSN, PATIENCE, PSEUDONYM, Stage, in_seconds, join, member};

const LEAD: &str = "768820003";

/// Both rooms of a care team, as somebody from elsewhere is invited to them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_added_to_a_care_team_comes_in_and_who_is_removed_goes() {
    let stage = Stage::set().await;
    let name = testbed::unique("arts");
    let gp = stage.testbed.client("huisarts", &name).await.unwrap();
    let client = stage.client().await;
    let nurse = stage.practitioner(None).await;
    let doctor = stage.practitioner(Some(gp.user_id())).await;
    let team = stage.team(&client, &[&nurse]).await;
    let text = testbed::unique("first");
    let thread = stage.thread(&client, &team, &nurse, &text).await;
    let space = stage.room_of(&team).await;
    let room = stage.room_of(&thread).await;
    for room in [&space, &room] {
        stage
            .wait_membership(room, &stage.ghost(&nurse), "join")
            .await;
        assert_eq!(stage.membership(room, gp.user_id()).await, None);
    }
    stage
        .wait("the ghost to say who it is", async || {
            let said = stage
                .content(&room, "custom.user_mappings", &stage.ghost(&nurse))
                .await;
            said == Some(json!({"fhirRef": nurse}))
        })
        .await;

    // Added, as its lead: invited from elsewhere, with the pseudonym.
    let role = json!([{"coding": [{"system": "http://snomed.info/sct", "code": LEAD}]}]);
    stage
        .record
        .change(&team, |team| {
            team["participant"] =
                json!([member(&nurse), {"member": {"reference": doctor}, "role": role}]);
        })
        .await
        .unwrap();
    for invite in gp.wait_for_invites(2, PATIENCE).await.unwrap() {
        let context = &invite.content["nl-ta-chat.invite.context"];
        assert_eq!(context["version"], "1.0");
        assert_eq!(
            context["room.subject"]["identifier"],
            json!([{"system": "http://fhir.nl/fhir/NamingSystem/pseudo-bsn", "value": PSEUDONYM}])
        );
        assert!(!invite.content.to_string().contains(BSN));
        assert!(invite.content["reason"].is_string());
        join(&gp, &invite.room_id).await;
    }
    for room in [&space, &room] {
        stage.wait_membership(room, gp.user_id(), "join").await;
        let levels = stage
            .content(room, "m.room.power_levels", "")
            .await
            .unwrap();
        assert_eq!(levels["users"][gp.user_id()], 100);
        assert_eq!(levels["users"][&stage.ghost(&nurse)], 75);
    }
    let seen = gp.messages(&room, 50).await.unwrap();
    let first: Vec<_> = seen.iter().filter(|event| event.body() == text).collect();
    assert_eq!(
        first.len(),
        1,
        "the request's own payload is its first message, once"
    );
    assert_eq!(first[0].sender, stage.ghost(&nurse));
    stage.assert_silent(&[&space, &room]).await;

    // Removed: out of the space and its rooms, and no longer with a level.
    stage
        .record
        .change(&team, |team| team["participant"] = json!([member(&nurse)]))
        .await
        .unwrap();
    for room in [&space, &room] {
        stage.wait_membership(room, gp.user_id(), "leave").await;
    }
    let kicked = stage
        .content(&room, "m.room.member", gp.user_id())
        .await
        .unwrap();
    assert_eq!(kicked["reason"], "No longer a member.");
    stage
        .wait("the level to go", async || {
            let levels = stage
                .content(&room, "m.room.power_levels", "")
                .await
                .unwrap();
            levels["users"].get(gp.user_id()).is_none()
        })
        .await;

    // Added again until a moment that comes by itself.
    let end = in_seconds(15);
    stage
        .record
        .change(&team, |team| {
            team["participant"] =
                json!([member(&nurse), {"member": {"reference": doctor}, "period": {"end": end}}]);
        })
        .await
        .unwrap();
    stage.wait_membership(&room, gp.user_id(), "invite").await;
    for room in [&space, &room] {
        stage.wait_membership(room, gp.user_id(), "leave").await;
    }
    assert_eq!(
        stage
            .membership(&room, &stage.ghost(&nurse))
            .await
            .as_deref(),
        Some("join")
    );
    let rooms = stage.rooms().await;
    assert!(rooms.contains(&space) && rooms.contains(&room));
    let rooms: Vec<&str> = rooms.iter().map(String::as_str).collect();
    stage.assert_silent(&rooms).await;
    stage.bridge.stop().await;
}
