//! Care teams: teams in teams, members who are named by an identifier, teams that are deleted.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use axum::http::Method;
use serde_json::{Value, json};

use crate::{
    between::{self, Fate},
    stage::{PATIENCE, Stage, join, member, telecom},
    talk::sees,
};

const UZI: &str = "http://fhir.nl/fhir/NamingSystem/uzi-nr-pers";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_members_of_a_care_team_in_a_care_team_are_members_for_as_long_as_they_are_there() {
    let stage = Stage::set().await;
    let gp = stage.gp().await;
    let client = stage.client().await;
    let nurse = stage.practitioner(None).await;
    let other = stage.practitioner(None).await;
    let doctor = stage.practitioner(Some(gp.user_id())).await;
    let practice = stage.team(&client, &[&doctor]).await;
    let team = stage.team(&client, &[&nurse, &practice]).await;
    let thread = stage.thread(&client, &team, &nurse, "hello").await;
    let [inner, space, room] = [
        stage.room_of(&practice).await,
        stage.room_of(&team).await,
        stage.room_of(&thread).await,
    ];
    for one in [&inner, &space, &room] {
        gp.wait_for_invite(one, PATIENCE).await.unwrap();
        join(&gp, one).await;
    }
    sees(&gp, &room, "hello").await;
    let ghost = stage.ghost(&nurse);
    assert_eq!(stage.membership(&inner, &ghost).await, None);

    // Somebody joins the inner one, and somebody leaves it.
    let added = |team: &mut Value| {
        team["participant"] = json!([member(&doctor), member(&other)]);
    };
    stage.record.change(&practice, added).await.unwrap();
    for one in [&inner, &space, &room] {
        stage
            .wait_membership(one, &stage.ghost(&other), "join")
            .await;
    }
    let left = |team: &mut Value| team["participant"] = json!([member(&other)]);
    stage.record.change(&practice, left).await.unwrap();
    for one in [&inner, &space, &room] {
        stage.wait_membership(one, gp.user_id(), "leave").await;
    }
    // The inner one is a member no longer; its own space stays.
    let without = |team: &mut Value| team["participant"] = json!([member(&nurse)]);
    stage.record.change(&team, without).await.unwrap();
    for one in [&space, &room] {
        stage
            .wait_membership(one, &stage.ghost(&other), "leave")
            .await;
    }
    let still = stage.membership(&inner, &stage.ghost(&other)).await;
    assert_eq!(still.as_deref(), Some("join"));
    stage.bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_is_found_by_an_identifier_that_stands_in_no_url() {
    let fhir = Stage::fhir().await;
    let uzi = testbed::unique("9001");
    let asked = Arc::new(AtomicUsize::new(0));
    let told = Arc::new(AtomicUsize::new(0));
    let between = {
        let (uzi, asked, told) = (uzi.clone(), asked.clone(), told.clone());
        between::put(&fhir, move |request| {
            let body = String::from_utf8_lossy(&request.body);
            if request.path.contains(&uzi) {
                told.fetch_add(1, Relaxed);
            }
            let is_search =
                request.method == Method::POST && request.path.contains("Practitioner/_search");
            if is_search && body.contains(&uzi) {
                asked.fetch_add(1, Relaxed);
            }
            Fate::Pass
        })
        .await
    };
    let stage = Stage::set_with(json!({"fhir": {"url": between}})).await;
    let gp = stage.gp().await;
    let doctor = json!({
        "resourceType": "Practitioner", "telecom": telecom(gp.user_id()),
        "identifier": [{"system": UZI, "value": uzi}],
    });
    let doctor = stage.record.create(&doctor).await.unwrap();
    let client = stage.client().await;
    let nurse = stage.practitioner(None).await;
    let named = json!({"identifier": {"system": UZI, "value": uzi}});
    let team = json!({
        "resourceType": "CareTeam", "status": "active", "subject": {"reference": client},
        "participant": [member(&nurse), {"member": named}],
    });
    let team = stage.record.create(&team).await.unwrap();
    let thread = stage.thread(&client, &team, &nurse, "hello").await;
    for resource in [&team, &thread] {
        let room = stage.room_of(resource).await;
        gp.wait_for_invite(&room, PATIENCE).await.unwrap();
        join(&gp, &room).await;
    }
    let room = stage.room_of(&thread).await;
    sees(&gp, &room, "hello").await;
    gp.send_text(&room, "answered").await.unwrap();
    let stored = stage.stored(&thread, "answered").await;
    assert_eq!(stored["sender"]["reference"], json!(doctor));
    assert!(asked.load(Relaxed) > 0, "it was searched for by POST");
    assert_eq!(told.load(Relaxed), 0, "it stood in a URL");
    assert!(!stage.bridge.log_text().unwrap().contains(&uzi));
    stage.bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_care_team_that_is_deleted_closes_its_space() {
    let stage = Stage::set().await;
    let gp = stage.gp().await;
    let client = stage.client().await;
    let nurse = stage.practitioner(None).await;
    let doctor = stage.practitioner(Some(gp.user_id())).await;
    let team = stage.team(&client, &[&nurse, &doctor]).await;
    let other = stage.team(&client, &[&nurse]).await;
    let space = stage.room_of(&team).await;
    let ghost = stage.ghost(&nurse);
    gp.wait_for_invite(&space, PATIENCE).await.unwrap();
    join(&gp, &space).await;
    stage.wait_membership(&space, &ghost, "join").await;
    stage.record.delete(&team).await.unwrap();
    stage.wait_membership(&space, &ghost, "leave").await;
    stage
        .wait("the alias to go", async || !stage.has_alias(&team).await)
        .await;
    assert!(stage.is_frozen(&space).await);
    // People stay, with what they have seen; so does the other team.
    let still = stage.membership(&space, gp.user_id()).await;
    assert_eq!(still.as_deref(), Some("join"));
    let other = stage.room_of(&other).await;
    stage.wait_membership(&other, &ghost, "join").await;
    stage.bridge.stop().await;
}
