use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use axum::http::StatusCode;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use crate::{
    between::{self, Fate},
    stage::{PATIENCE, Stage, join, until},
    talk::edit,
};

fn periods(team: &serde_json::Value, who: &str) -> Vec<serde_json::Value> {
    let participants = team["participant"].as_array().unwrap();
    participants
        .iter()
        .filter(|one| one["member"]["reference"] == who)
        .map(|one| one["period"].clone())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_and_goes_in_matrix_does_so_on_the_record() {
    let stage = Stage::set().await;
    let gp = stage
        .testbed
        .client("huisarts", &testbed::unique("arts"))
        .await
        .unwrap();
    let pharmacist = stage
        .testbed
        .client("apotheek", &testbed::unique("apotheker"))
        .await
        .unwrap();
    let client = stage.client().await;
    let nurse = stage.practitioner(None).await;
    let doctor = stage.practitioner(Some(gp.user_id())).await;
    let chemist = stage.practitioner(Some(pharmacist.user_id())).await;
    let team = stage.team(&client, &[&nurse, &doctor]).await;
    let space = stage.room_of(&team).await;
    gp.wait_for_invite(&space, PATIENCE).await.unwrap();
    join(&gp, &space).await;
    stage.wait_membership(&space, gp.user_id(), "join").await;

    // The GP brings the pharmacist in: a member from then on.
    gp.invite(&space, pharmacist.user_id()).await.unwrap();
    pharmacist.wait_for_invite(&space, PATIENCE).await.unwrap();
    join(&pharmacist, &space).await;
    stage
        .wait("the pharmacist on the record", async || {
            let team = stage.record.read(&team).await.unwrap();
            periods(&team, &chemist)
                .iter()
                .any(|period| period["start"].is_string())
        })
        .await;

    // The GP makes a room, hangs it into the space and has the bridge come in: a conversation.
    let room = gp.create_room("Overleg", &[]).await.unwrap();
    gp.set_state(&space, "m.space.child", &room, json!({"via": ["huisarts"]}))
        .await
        .unwrap();
    gp.invite(&room, &stage.bot()).await.unwrap();
    gp.invite(&room, pharmacist.user_id()).await.unwrap();
    let find = async || {
        let query = [("based-on", team.as_str())];
        stage
            .record
            .search("CommunicationRequest", &query)
            .await
            .unwrap()
    };
    stage
        .wait("the room to be a conversation", async || {
            find().await.len() == 1
        })
        .await;
    let request = find().await.remove(0);
    let thread = format!("CommunicationRequest/{}", request["id"].as_str().unwrap());
    assert_eq!(request["requester"]["reference"], json!(doctor));
    assert_eq!(request["subject"]["reference"], json!(client));
    let text = testbed::unique("in a room of one's own");
    gp.send_text(&room, &text).await.unwrap();
    stage
        .wait("the message on the record", async || {
            let query = [("part-of", thread.as_str())];
            let messages = stage.record.search("Communication", &query).await.unwrap();
            messages.len() == 1
                && messages[0]["payload"][0]["contentString"] == json!(text)
                && messages[0]["sender"]["reference"] == json!(doctor)
        })
        .await;
    assert_eq!(find().await.len(), 1, "it is one conversation");

    // Whoever leaves is a member no longer, and it is their doing alone.
    gp.leave(&space).await.unwrap();
    stage
        .wait("the GP's membership to end", async || {
            let team = stage.record.read(&team).await.unwrap();
            periods(&team, &doctor)
                .iter()
                .all(|period| period["end"].is_string())
        })
        .await;
    let now = stage.record.read(&team).await.unwrap();
    assert!(
        periods(&now, &chemist)
            .iter()
            .all(|period| period.get("end").is_none())
    );
    assert_eq!(periods(&now, &nurse), [json!(null)]);
    stage.assert_silent(&[&space]).await;
    stage.bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_users_own_word_counts_for_members_without_an_account_only() {
    let stage = Stage::set().await;
    let gp = stage
        .testbed
        .client("huisarts", &testbed::unique("arts"))
        .await
        .unwrap();
    let other = stage
        .testbed
        .client("apotheek", &testbed::unique("ghost"))
        .await
        .unwrap();
    let client = stage.client().await;
    let uzi = testbed::unique("9000");
    let nurse = stage
        .record
        .create(&json!({
            "resourceType": "Practitioner",
            "identifier": [{"system": "http://fhir.nl/fhir/NamingSystem/uzi-nr-pers", "value": uzi}],
        }))
        .await
        .unwrap();
    let doctor = stage.practitioner(Some(gp.user_id())).await;
    let team = stage.team(&client, &[&nurse, &doctor]).await;
    let thread = stage.thread(&client, &team, &nurse, "hello").await;
    let room = stage.room_of(&thread).await;
    gp.wait_for_invite(&room, PATIENCE).await.unwrap();
    join(&gp, &room).await;
    gp.invite(&room, other.user_id()).await.unwrap();
    other.wait_for_invite(&room, PATIENCE).await.unwrap();
    join(&other, &room).await;
    let claim = async |content: serde_json::Value| {
        let key = other.user_id();
        other
            .set_state(&room, "custom.user_mappings", key, content)
            .await
            .unwrap();
        let text = testbed::unique("claim");
        let event = other.send_text(&room, &text).await.unwrap();
        let message = until("the message on the record", async || {
            let query = [("part-of", thread.as_str()), ("_count", "100")];
            let mut messages = stage.record.search("Communication", &query).await.unwrap();
            messages.retain(|message| {
                message["identifier"]
                    .as_array()
                    .is_some_and(|list| list.iter().any(|one| one["value"] == json!(event)))
            });
            messages.pop()
        })
        .await;
        message["sender"].clone()
    };
    // Of a member who has an account of their own, nobody else's word counts.
    let sender = claim(json!({"fhirRef": doctor})).await;
    assert_eq!(sender["identifier"]["value"], json!(other.user_id()));
    let sender = claim(json!({"uziNr": uzi})).await;
    assert_eq!(sender["reference"], json!(nurse));
    stage.bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invitation_from_elsewhere_is_accepted_and_noted_and_nothing_of_the_room_is_stored() {
    let stage = Stage::set().await;
    let name = testbed::unique("arts");
    let gp = stage.testbed.client("huisarts", &name).await.unwrap();
    let nurse = stage.practitioner(None).await;
    let client = stage.client().await;
    let team = stage.team(&client, &[&nurse]).await;
    stage.room_of(&team).await;
    let room = gp.create_room("Elsewhere", &[]).await.unwrap();
    let pseudonym = testbed::unique("prs");
    let content = json!({
        "membership": "invite",
        "nl-ta-chat.invite.context": {"version": "1.0", "room.subject": {
            "resourceType": "Patient",
            "identifier": [{"system": "http://fhir.nl/fhir/NamingSystem/pseudo-bsn", "value": pseudonym}],
        }},
    });
    gp.set_state(&room, "m.room.member", &stage.ghost(&nurse), content)
        .await
        .unwrap();
    until("the ghost to join and the client to be noted", async || {
        let members = gp.state(&room, "m.room.member").await.unwrap();
        let joined = members.iter().any(|event| {
            event.state_key.as_deref() == Some(&stage.ghost(&nurse))
                && event.content["membership"] == "join"
        });
        let log = stage.bridge.log_text().unwrap();
        (joined && log.contains("noted whom a room of others is about")).then_some(())
    })
    .await;
    assert!(!stage.bridge.log_text().unwrap().contains(&pseudonym));
    let text = testbed::unique("elsewhere");
    gp.send_text(&room, &text).await.unwrap();
    // Behind it in the same room, so that it has been looked at by then.
    gp.set_state(
        &room,
        "m.room.member",
        &stage.bot(),
        json!({"membership": "invite"}),
    )
    .await
    .unwrap();
    until("the bridge to come in", async || {
        let members = gp.state(&room, "m.room.member").await.unwrap();
        let joined = members.iter().any(|event| {
            event.state_key.as_deref() == Some(&stage.bot())
                && event.content["membership"] == "join"
        });
        joined.then_some(())
    })
    .await;
    let query = [("_sort", "-_lastUpdated"), ("_count", "50")];
    let messages = stage.record.search("Communication", &query).await.unwrap();
    assert!(
        !messages
            .iter()
            .any(|message| message.to_string().contains(&text))
    );
    let said = gp.messages(&room, 50).await.unwrap();
    assert!(
        !said
            .iter()
            .any(|event| event.kind == "m.room.message" && event.sender != gp.user_id())
    );
    stage.bridge.stop().await;
}

/// Answers a homeserver in the place of the bridge, which never hears of it. Returns when these texts were pushed.
async fn push_to_nobody(listen: std::net::SocketAddr, texts: &[&str]) {
    let (pushed, mut bodies) = tokio::sync::mpsc::unbounded_channel::<String>();
    let answer = async move |body: String| {
        let _ = pushed.send(body);
        "{}"
    };
    let limit = axum::extract::DefaultBodyLimit::disable();
    let router = axum::Router::new().fallback(answer).layer(limit);
    let listener = tokio::net::TcpListener::bind(listen).await.unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = axum::serve(listener, router).with_graceful_shutdown(async {
        let _ = stopped.await;
    });
    let serving = tokio::spawn(serving.into_future());
    let all = async {
        let mut missing = texts.to_vec();
        while !missing.is_empty() {
            let body = bodies.recv().await.unwrap();
            missing.retain(|text| !body.contains(text));
        }
    };
    tokio::time::timeout(PATIENCE, all).await.unwrap();
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_homeserver_does_not_push_again_is_read_back_at_the_start() {
    let stage = Stage::set().await;
    // Of our own homeserver: where somebody from elsewhere speaks, the room is read back also without a start.
    let name = testbed::unique("held-back");
    let colleague = stage.testbed.client("vvt", &name).await.unwrap();
    let client = stage.client().await;
    let nurse = stage.practitioner(None).await;
    let other = stage.practitioner(Some(colleague.user_id())).await;
    let team = stage.team(&client, &[&nurse, &other]).await;
    let thread = stage.thread(&client, &team, &nurse, "Vraag").await;
    let room = stage.room_of(&thread).await;
    colleague.wait_for_invite(&room, PATIENCE).await.unwrap();
    join(&colleague, &room).await;
    let on_record = async || {
        let query = [("part-of", thread.as_str())];
        let messages = stage.record.search("Communication", &query).await.unwrap();
        let mut texts: Vec<_> = messages
            .iter()
            .map(|message| message["payload"][0]["contentString"].to_string())
            .collect();
        texts.sort();
        texts
    };
    let first = colleague.send_text(&room, "a: pushed").await.unwrap();
    stage
        .wait("the first message on the record", async || {
            on_record().await.len() == 1
        })
        .await;

    stage.bridge.stop().await;
    let said = ["b: not pushed", "c: nor this"];
    tokio::join!(push_to_nobody(stage.appservice.listen_addr, &said), async {
        colleague.send_text(&room, said[0]).await.unwrap();
        // More than is read at once.
        let noise = (0..520).map(|number| {
            let relation =
                json!({"rel_type": "m.annotation", "event_id": first, "key": format!("{number}")});
            colleague.send(&room, "m.reaction", json!({"m.relates_to": relation}))
        });
        let noise: Vec<_> = stream::iter(noise)
            .buffer_unordered(8)
            .try_collect()
            .await
            .unwrap();
        assert_eq!(noise.len(), 520);
        colleague.send_text(&room, said[1]).await.unwrap();
    });
    stage.bridge.restart().await.unwrap();
    stage
        .wait("what was never pushed on the record", async || {
            on_record().await.len() >= 3
        })
        .await;
    let wanted = ["a: pushed", said[0], said[1]].map(|text| format!("{text:?}"));
    assert_eq!(on_record().await, wanted);
    stage.bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_that_comes_before_its_original_is_one_message_with_it() {
    let testbed = testbed::Testbed::shared().await.unwrap();
    let vvt = testbed.homeserver("vvt").unwrap().client_url().clone();
    // While this is set, no room can be read back, and the original comes with its edit or not at all.
    let is_held = Arc::new(AtomicBool::new(false));
    let held = is_held.clone();
    let homeserver = between::put(&vvt, move |asked| {
        if held.load(Relaxed) && asked.path.contains("/messages?") {
            return Fate::Instead(StatusCode::SERVICE_UNAVAILABLE);
        }
        Fate::Pass
    })
    .await;
    let homeserver = json!({"homeserver": {"name": "vvt", "url": homeserver}});
    let stage = Stage::set_with(homeserver).await;
    let gp = stage.gp().await;
    let client = stage.client().await;
    let nurse = stage.practitioner(None).await;
    let doctor = stage.practitioner(Some(gp.user_id())).await;
    let team = stage.team(&client, &[&nurse, &doctor]).await;
    let thread = stage.thread(&client, &team, &nurse, "Vraag").await;
    let room = stage.room_of(&thread).await;
    gp.wait_for_invite(&room, PATIENCE).await.unwrap();
    join(&gp, &room).await;
    gp.send_text(&room, "before it").await.unwrap();
    stage.stored(&thread, "before it").await;

    stage.bridge.stop().await;
    let (original, ()) = tokio::join!(
        gp.send_text(&room, "as written"),
        push_to_nobody(stage.appservice.listen_addr, &["as written"])
    );
    let original = original.unwrap();
    is_held.store(true, Relaxed);
    stage.bridge.restart().await.unwrap();
    let edited = edit(&original, "as rewritten");
    gp.send(&room, "m.room.message", edited).await.unwrap();
    let message = stage.stored(&thread, "as rewritten").await;
    let message = format!("Communication/{}", message["id"].as_str().unwrap());
    let history = format!("{message}/_history");
    let history = stage.record.read(&history).await.unwrap().to_string();
    assert!(history.contains("as written"), "the original came with it");
    assert_eq!(stage.event_of(&message).await, original);

    // When the original comes after all, it is there.
    is_held.store(false, Relaxed);
    until("the original to be read back", async || {
        let log = stage.bridge.log_text().unwrap();
        log.contains("they were read back").then_some(())
    })
    .await;
    gp.send_text(&room, "behind it").await.unwrap();
    stage.stored(&thread, "behind it").await;
    stage.stored(&thread, "as rewritten").await;
    assert_eq!(stage.messages(&thread).await.len(), 3);
    stage.bridge.stop().await;
}
