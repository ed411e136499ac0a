//! Rooms that people make, while the record tells of their conversation before the bridge knows that it put it there.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use axum::http::Method;
use serde_json::json;
use testbed::Client;
use tokio::sync::mpsc;

use crate::{
    between::{self, Fate},
    stage::{PATIENCE, Stage, join, telecom, until},
};

/// What the bridge says when it knows a conversation's room by the record, and by the answer to its making.
const READ: &str = "a conversation that began as a room has that room";
const MADE: &str = "a room that somebody made became a conversation";

/// A space with a GP in it, and a room of the GP's that the bridge is in and that hangs nowhere yet.
struct Scene {
    stage: Stage,
    gp: Client,
    team: String,
    space: String,
    room: String,
    /// Hears when the record has the conversation, and the bridge's call gets no answer.
    stored: mpsc::UnboundedReceiver<()>,
    /// The type of conversations.
    kind: &'static str,
}

impl Scene {
    async fn set(threads: &str, kind: &'static str) -> Self {
        let fhir = Stage::fhir().await;
        let (tell, stored) = mpsc::unbounded_channel();
        let once = AtomicBool::new(false);
        let create = format!("/{kind}");
        let between = between::put(&fhir, move |asked| {
            let is_create = asked.method == Method::POST && asked.path.ends_with(&create);
            if is_create && asked.succeeded == Some(true) && !once.swap(true, Relaxed) {
                tell.send(()).unwrap();
                return Fate::Silence;
            }
            Fate::Pass
        })
        .await;
        let stage = Stage::set_with(json!({"fhir": {"url": between, "threads": threads}})).await;
        let name = testbed::unique("arts");
        let gp = stage.testbed.client("huisarts", &name).await.unwrap();
        let client = stage.client().await;
        let doctor = stage.practitioner(Some(gp.user_id())).await;
        let team = stage.team(&client, &[&doctor]).await;
        let space = stage.room_of(&team).await;
        gp.wait_for_invite(&space, PATIENCE).await.unwrap();
        join(&gp, &space).await;
        stage.wait_membership(&space, gp.user_id(), "join").await;
        let room = gp.create_room("Overleg", &[&stage.bot()]).await.unwrap();
        // In the space's lane from here on: the room's stays free.
        stage.wait_membership(&room, &stage.bot(), "join").await;
        Self {
            stage,
            gp,
            team,
            space,
            room,
            stored,
            kind,
        }
    }

    /// Hangs the room into the space. Returns the conversation that it becomes, of which the bridge has not heard.
    async fn hang(&mut self) -> String {
        let via = json!({"via": ["huisarts"]});
        self.gp
            .set_state(&self.space, "m.space.child", &self.room, via)
            .await
            .unwrap();
        let stored = tokio::time::timeout(PATIENCE, self.stored.recv()).await;
        assert_eq!(stored, Ok(Some(())), "the conversation is put on record");
        let find = async || {
            let query = [("based-on", self.team.as_str())];
            let found = self.stage.record.search(self.kind, &query).await;
            found.unwrap().pop()
        };
        let thread = until("the conversation on the record", find).await;
        format!("{}/{}", self.kind, thread["id"].as_str().unwrap())
    }

    /// Waits until the bridge knows that the room is a conversation's: what is said before stays in the room.
    async fn is_known(&self, log: &[&str]) {
        let known = async || {
            let said = self.stage.bridge.log_text().unwrap();
            log.iter().any(|line| said.contains(line))
        };
        self.stage.wait("the room to be known", known).await;
    }

    /// What is said in the room gets into the conversation, which has no other room.
    async fn is_one(&self, thread: &str, text: &str) {
        let stage = &self.stage;
        self.gp.send_text(&self.room, text).await.unwrap();
        stage
            .wait("the message in the record", async || {
                let query = [("part-of", thread)];
                let messages = stage.record.search("Communication", &query).await.unwrap();
                (messages.iter()).any(|one| one["payload"][0]["contentString"] == text)
            })
            .await;
        assert!(!stage.has_alias(thread).await, "it has another room");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_that_is_told_of_before_the_answer_to_its_making_keeps_its_room() {
    let mut scene = Scene::set("communication-request", "CommunicationRequest").await;
    let thread = scene.hang().await;
    // The bridge reads the change while it waits for the answer in vain.
    scene.is_known(&[READ]).await;
    scene.is_one(&thread, "said at once").await;
    let log = scene.stage.bridge.log_text().unwrap();
    assert!(!log.contains(MADE), "it had no answer");
    scene.stage.bridge.stop().await;
    scene.stage.bridge.restart().await.unwrap();
    scene.is_one(&thread, "said later").await;
    scene.stage.bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_whose_making_the_bridge_did_not_survive_keeps_its_room() {
    let mut scene = Scene::set("communication-header", "Communication").await;
    let thread = scene.hang().await;
    scene.stage.bridge.kill().await;
    scene.stage.bridge.restart().await.unwrap();
    scene.is_known(&[READ, MADE]).await;
    scene.is_one(&thread, "said").await;
    scene.stage.bridge.stop().await;
}

/// A room that somebody makes and hangs into a space, with the bridge in it.
async fn hung_by(stage: &Stage, client: &Client, space: &str) -> String {
    let room = client
        .create_room("Overleg", &[&stage.bot()])
        .await
        .unwrap();
    stage.wait_membership(&room, &stage.bot(), "join").await;
    hang(client, space, &room).await;
    room
}

async fn hang(client: &Client, space: &str, room: &str) {
    let server = client.user_id().split_once(':').unwrap().1;
    let via = json!({"via": [server], "order": testbed::unique("a")});
    client
        .set_state(space, "m.space.child", room, via)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_of_people_who_care_for_nobody_and_rooms_that_all_can_read_are_no_conversations() {
    let stage = Stage::set().await;
    let gp = stage.gp().await;
    let name = testbed::unique("dochter");
    let daughter = stage.testbed.client("apotheek", &name).await.unwrap();
    let client = stage.client().await;
    let nurse = stage.practitioner(None).await;
    let doctor = stage.practitioner(Some(gp.user_id())).await;
    let related = json!({"resourceType": "RelatedPerson", "patient": {"reference": client},
        "telecom": telecom(daughter.user_id())});
    let related = stage.record.create(&related).await.unwrap();
    let team = stage.team(&client, &[&nurse, &doctor, &related]).await;
    let space = stage.room_of(&team).await;
    for one in [&gp, &daughter] {
        one.wait_for_invite(&space, PATIENCE).await.unwrap();
        join(one, &space).await;
        stage.wait_membership(&space, one.user_id(), "join").await;
    }
    let says = async |words: &str| {
        let said = async || stage.bridge.log_text().unwrap().contains(words);
        stage.wait(words, said).await;
    };
    let conversations = async || {
        let query = [("based-on", team.as_str())];
        let found = stage.record.search("CommunicationRequest", &query).await;
        found.unwrap()
    };
    hung_by(&stage, &daughter, &space).await;
    says("who hung it there is no professional").await;

    let open = gp.create_room("Overleg", &[&stage.bot()]).await.unwrap();
    stage.wait_membership(&open, &stage.bot(), "join").await;
    let visible = |to: &str| json!({"history_visibility": to});
    gp.set_state(
        &open,
        "m.room.history_visibility",
        "",
        visible("world_readable"),
    )
    .await
    .unwrap();
    hang(&gp, &space, &open).await;
    says("everybody may read what is said there").await;
    assert!(conversations().await.is_empty());

    // Closed, it can be one; with those who are in it.
    gp.set_state(&open, "m.room.history_visibility", "", visible("joined"))
        .await
        .unwrap();
    gp.invite(&open, daughter.user_id()).await.unwrap();
    hang(&gp, &space, &open).await;
    stage
        .wait("the conversation", async || {
            conversations().await.len() == 1
        })
        .await;
    let thread = conversations().await.remove(0);
    assert_eq!(thread["requester"]["reference"], json!(doctor));
    let recipients = thread["recipient"].as_array().unwrap();
    assert_eq!(recipients.len(), 1, "neither the bridge nor who began it");
    assert_eq!(recipients[0]["reference"], json!(related));
    stage.bridge.stop().await;
}
