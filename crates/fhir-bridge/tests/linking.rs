//! Rooms that are there already are linked and unlinked, by the provisioning API and by commands, on real homeservers
//! and a real FHIR server.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::too_many_lines,
    reason = "a test that cannot go on fails; each of these is a story told from its beginning"
)]

#[allow(dead_code, reason = "other tests need the rest of it")]
#[path = "network/stage.rs"]
mod stage;

use reqwest::Method;
use serde_json::{Value, json};
use stage::{PATIENCE, Stage, join, until};
use testbed::{Client, Testbed};

const TOKEN: &str = "an-example-token-of-some-length";

/// A stage whose bridge has the API.
struct Place {
    stage: Stage,
    http: reqwest::Client,
    _folder: tempfile::TempDir,
}

impl Place {
    async fn open(mut config: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
        config["provisioning"] = json!({"token_file": file});
        Self {
            stage: Stage::set_with(config).await,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            _folder: folder,
        }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        self.ask_with(TOKEN, method, path, body).await
    }

    async fn ask_with(
        &self,
        token: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        let listen = self.stage.appservice.listen_addr;
        let url = format!("http://{listen}/_matrix/provision/v1/{path}");
        let mut request = self.http.request(method, url).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    async fn link(&self, room: &str, resource: &str) -> (u16, Value) {
        let body = json!({"resource": resource});
        self.ask(Method::PUT, &format!("links/{room}"), Some(body))
            .await
    }

    /// A client with a care team of a nurse who writes in the record, a GP and a pharmacist; the nurse, the GP, the
    /// pharmacist and the team.
    async fn team(&self, gp: &Client, pharmacist: Option<&Client>) -> [String; 5] {
        let stage = &self.stage;
        let client = stage.client().await;
        let nurse = stage.practitioner(None).await;
        let doctor = stage.practitioner(Some(gp.user_id())).await;
        let chemist = stage.practitioner(pharmacist.map(Client::user_id)).await;
        let team = stage.team(&client, &[&nurse, &doctor, &chemist]).await;
        [client, nurse, doctor, chemist, team]
    }

    async fn nurse_writes(&self, thread: &str, nurse: &str, text: &str) -> String {
        let json = json!({
            "resourceType": "Communication", "status": "completed",
            "partOf": [{"reference": thread}], "sender": {"reference": nurse},
            "payload": [{"contentString": text}],
        });
        self.stage.record.create(&json).await.unwrap()
    }

    /// All that is on record of a conversation: who wrote what.
    async fn on_record(&self, thread: &str) -> Vec<(String, String)> {
        let query = [("part-of", thread), ("_count", "200")];
        let messages = self.stage.record.search("Communication", &query).await;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        messages
            .unwrap()
            .iter()
            .map(|one| {
                let said = text(&one["payload"][0]["contentString"]);
                (text(&one["sender"]["reference"]), said)
            })
            .collect()
    }

    async fn wait_on_record(&self, thread: &str, sender: &str, said: &str) {
        let expected = (sender.to_owned(), said.to_owned());
        until("a message on record", async || {
            let all = self.on_record(thread).await;
            all.contains(&expected).then_some(())
        })
        .await;
    }

    /// Waits until the bridge's own user is in a room, or is not.
    async fn wait_for_bot(&self, room: &str, there: bool) {
        until("the bridge to come or go", async || {
            let rooms = self.stage.rooms().await;
            (rooms.iter().any(|one| one == room) == there).then_some(())
        })
        .await;
    }

    /// Gives the bridge the power of a moderator.
    async fn empower(&self, owner: &Client, room: &str) {
        let levels = owner.state(room, "m.room.power_levels").await.unwrap();
        let mut content = levels[0].content.clone();
        content["users"][self.stage.bot()] = 50.into();
        owner
            .set_state(room, "m.room.power_levels", "", content)
            .await
            .unwrap();
        self.stage
            .wait("the bridge to have power", async || {
                let levels = self.stage.content(room, "m.room.power_levels", "").await;
                levels.is_some_and(|levels| levels["users"][self.stage.bot()] == 50)
            })
            .await;
    }
}

/// A room of somebody's that the bridge is in.
async fn room_with_bot(place: &Place, owner: &Client) -> String {
    let room = owner
        .create_room("Overleg", &[&place.stage.bot()])
        .await
        .unwrap();
    place.wait_for_bot(&room, true).await;
    room
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_is_linked_by_the_api_carries_messages_both_ways_and_is_unlinked() {
    let place = Place::open(json!({})).await;
    let stage = &place.stage;
    let gp = client(stage.testbed, "huisarts").await;
    let pharmacist = client(stage.testbed, "apotheek").await;
    let [patient, nurse, doctor, chemist, team] = place.team(&gp, Some(&pharmacist)).await;
    let first = testbed::unique("first");
    let thread = stage.thread(&patient, &team, &nurse, &first).await;
    let old = stage.room_of(&thread).await;
    let space = stage.room_of(&team).await;

    // Two people of different homeservers have a room of their own.
    let room = room_with_bot(&place, &gp).await;
    gp.invite(&room, pharmacist.user_id()).await.unwrap();
    pharmacist.wait_for_invite(&room, PATIENCE).await.unwrap();
    join(&pharmacist, &room).await;

    // The conversation has a room already, and the bridge no power in the other one.
    let link = json!({"room_id": room, "resource": thread});
    let of_thread = format!("links?resource={thread}");
    let (status, refused) = place.link(&room, &thread).await;
    assert_eq!(
        (status, &refused["errcode"]),
        (409, &json!("FHIR_BRIDGE_LINKED"))
    );
    let (_, page) = place.ask(Method::GET, &of_thread, None).await;
    assert_eq!(page["links"][0]["room_id"], json!(old));
    let path = format!("links/{old}");
    assert_eq!(
        place.ask(Method::DELETE, &path, None).await,
        (200, json!({}))
    );
    place.wait_for_bot(&old, false).await;
    assert!(!stage.has_alias(&thread).await);
    let meanwhile = testbed::unique("meanwhile");
    place.nurse_writes(&thread, &nurse, &meanwhile).await;
    let (status, refused) = place.link(&room, &thread).await;
    assert_eq!((status, &refused["errcode"]), (403, &json!("M_FORBIDDEN")));
    let text = refused["error"].as_str().unwrap();
    assert!(
        text.contains("power level 50 to set m.space.parent"),
        "{text}"
    );

    place.empower(&gp, &room).await;
    for _ in 0..2 {
        assert_eq!(place.link(&room, &thread).await, (200, link.clone()));
    }
    let path = format!("links/{room}");
    assert_eq!(
        place.ask(Method::GET, &path, None).await,
        (200, link.clone())
    );
    assert!(
        !stage.has_alias(&thread).await,
        "it got no other room meanwhile"
    );

    // What is on record comes, once, and what was said in the old room doesn't come again.
    for reader in [&gp, &pharmacist] {
        let event = reader.wait_for_text(&room, &meanwhile, PATIENCE).await;
        assert_eq!(event.unwrap().sender, stage.ghost(&nurse));
    }
    let says = testbed::unique("the pharmacist");
    pharmacist.send_text(&room, &says).await.unwrap();
    place.wait_on_record(&thread, &chemist, &says).await;
    let says = testbed::unique("the GP");
    gp.send_text(&room, &says).await.unwrap();
    place.wait_on_record(&thread, &doctor, &says).await;
    let answers = testbed::unique("the nurse");
    place.nurse_writes(&thread, &nurse, &answers).await;
    gp.wait_for_text(&room, &answers, PATIENCE).await.unwrap();
    let said = gp.messages(&room, 100).await.unwrap();
    let count = |text: &str| said.iter().filter(|one| one.body() == text).count();
    assert_eq!(
        [&meanwhile, &answers, &first].map(|text| count(text)),
        [1, 1, 0]
    );
    let child = stage.content(&space, "m.space.child", &room).await;
    assert!(
        child.is_some_and(|child| child["via"].is_array()),
        "it hangs in the space"
    );
    assert_eq!(place.on_record(&thread).await.len(), 4);

    // The other room that is linked to nothing can't be linked to the same, but in its place.
    let other = room_with_bot(&place, &gp).await;
    place.empower(&gp, &other).await;
    assert_eq!(place.link(&other, &thread).await.0, 409);
    let body = json!({"resource": thread, "replace": true});
    let (status, _) = place
        .ask(Method::PUT, &format!("links/{other}"), Some(body))
        .await;
    assert_eq!(status, 200);
    place.wait_for_bot(&room, false).await;
    let in_its_place = testbed::unique("in its place");
    place.nurse_writes(&thread, &nurse, &in_its_place).await;
    gp.wait_for_text(&other, &in_its_place, PATIENCE)
        .await
        .unwrap();

    // Unlinked, everybody of ours goes; on request, the conversation has a room of its own again.
    let path = format!("links/{other}");
    assert_eq!(place.ask(Method::DELETE, &path, None).await.0, 200);
    place.wait_for_bot(&other, false).await;
    until("the ghosts to go", async || {
        let members = gp.state(&other, "m.room.member").await.unwrap();
        let joined = members
            .iter()
            .filter(|one| one.content["membership"] == "join");
        (joined.count() == 1).then_some(())
    })
    .await;
    gp.send_text(&other, &testbed::unique("unheard"))
        .await
        .unwrap();
    let path = format!("unlinked/{thread}");
    assert_eq!(place.ask(Method::DELETE, &path, None).await.0, 200);
    stage.room_of(&thread).await;
    assert_eq!(place.on_record(&thread).await.len(), 5);
    let log = stage.bridge.log_text().unwrap();
    assert!(!log.contains(TOKEN));
    stage.bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_linked_is_refused_with_a_reason() {
    let place = Place::open(json!({"policy": {"deny": ["apotheek"]}})).await;
    let stage = &place.stage;
    let gp = client(stage.testbed, "huisarts").await;
    let pharmacist = client(stage.testbed, "apotheek").await;
    let [patient, nurse, _, _, team] = place.team(&gp, None).await;
    let thread = stage.thread(&patient, &team, &nurse, "hello").await;
    stage.room_of(&thread).await;

    let room = room_with_bot(&place, &gp).await;
    place.empower(&gp, &room).await;
    let put = format!("links/{room}");
    let body = json!({"resource": thread, "replace": true});
    let (status, refused) = place
        .ask_with(
            "another-token-of-some-length",
            Method::PUT,
            &put,
            Some(body.clone()),
        )
        .await;
    assert_eq!(
        (status, &refused["errcode"]),
        (401, &json!("M_UNKNOWN_TOKEN"))
    );
    assert_eq!(
        place
            .link(&room, "CommunicationRequest/none-of-this-name")
            .await
            .0,
        404
    );
    assert_eq!(
        place.link(&room, &team).await.1["errcode"],
        "FHIR_BRIDGE_UNSUITABLE"
    );

    // Whose people may not take part can't be there.
    gp.invite(&room, pharmacist.user_id()).await.unwrap();
    stage
        .wait_membership(&room, pharmacist.user_id(), "invite")
        .await;
    let (status, refused) = place.ask(Method::PUT, &put, Some(body.clone())).await;
    assert_eq!(status, 403, "{refused}");
    assert!(
        refused["error"].as_str().unwrap().ends_with(": apotheek"),
        "{refused}"
    );

    // Nobody has invited the bridge.
    let secret = gp.create_room("Secret", &[]).await.unwrap();
    let path = format!("links/{secret}");
    let (status, refused) = place.ask(Method::PUT, &path, Some(body.clone())).await;
    assert_eq!(status, 403);
    assert!(
        refused["error"].as_str().unwrap().contains(&stage.bot()),
        "{refused}"
    );

    let encrypted = room_with_bot(&place, &gp).await;
    place.empower(&gp, &encrypted).await;
    let algorithm = json!({"algorithm": "m.megolm.v1.aes-sha2"});
    gp.set_state(&encrypted, "m.room.encryption", "", algorithm)
        .await
        .unwrap();
    let path = format!("links/{encrypted}");
    until("the encryption to be known", async || {
        let (status, refused) = place.ask(Method::PUT, &path, Some(body.clone())).await;
        // Until then, nothing hinders it but that.
        (status == 403 && refused["errcode"] == "FHIR_BRIDGE_ENCRYPTED").then_some(())
    })
    .await;
    stage.bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admins_link_by_commands_which_are_not_put_on_record_and_strangers_may_not() {
    let testbed = Testbed::shared().await.unwrap();
    let admin = client(testbed, "vvt").await;
    let gp = client(testbed, "huisarts").await;
    let place = Place::open(json!({"admins": [admin.user_id()]})).await;
    let stage = &place.stage;
    let [patient, nurse, _, _, team] = place.team(&gp, None).await;
    let thread = stage.thread(&patient, &team, &nurse, "hello").await;
    let old = stage.room_of(&thread).await;

    // A stranger is told no more than that.
    let theirs = room_with_bot(&place, &gp).await;
    let command = format!("!fhir link {thread} {theirs} replace");
    let says = ask(&place, &gp, &theirs, &command).await;
    assert_eq!(says, "You may not do that here.");

    let chat = room_with_bot(&place, &admin).await;
    let says = ask(&place, &admin, &chat, "!fhir help").await;
    for command in [
        "link",
        "unlink",
        "undo-unlink",
        "status",
        "who",
        "dead-letters",
    ] {
        assert!(
            says.contains(&format!("!fhir {command} "))
                || says.contains(&format!("!fhir {command}:")),
            "{says}"
        );
    }
    let says = ask(&place, &admin, &chat, "!fhir status").await;
    assert!(says.contains("on vvt, with 1 FHIR server(s)"), "{says}");
    let says = ask(&place, &admin, &chat, "!fhir dead-letters").await;
    assert_eq!(says, "There are no dead letters.");
    let says = ask(&place, &admin, &chat, "!fhir dead-letters retry 4711").await;
    assert_eq!(says, "There is no dead letter with this number.");
    // An admin of the bridge is not one of everybody's rooms.
    let says = ask(&place, &admin, &chat, &command).await;
    assert!(says.starts_with("You may not change that room"), "{says}");

    // In a room of their own, linked from inside it.
    let room = room_with_bot(&place, &admin).await;
    place.empower(&admin, &room).await;
    let says = ask(&place, &admin, &room, &format!("!fhir link {thread}")).await;
    assert!(says.contains(&old), "{says}");
    let says = ask(
        &place,
        &admin,
        &room,
        &format!("!fhir link {thread} replace"),
    )
    .await;
    assert_eq!(says, format!("{room} is linked to {thread}."));
    stage
        .wait_membership(&room, &stage.ghost(&nurse), "join")
        .await;
    let event = admin.send_text(&room, "!fhir who").await.unwrap();
    let says = answer(&place, &admin, &room, &event).await;
    assert!(
        says.starts_with(&format!("{room} is linked to {thread}.")),
        "{says}"
    );
    assert!(
        says.contains(&format!("{}: ghost of {nurse}", stage.ghost(&nurse))),
        "{says}"
    );
    for private in stage::PRIVATE
        .into_iter()
        .chain([&*patient, "Proefpersoon"])
    {
        assert!(!says.contains(private), "{says}");
    }

    // Neither commands nor what they become are put on record; what is said behind them is.
    let edit = json!({
        "msgtype": "m.text", "body": "* !fhir status", "m.new_content": {"msgtype": "m.text", "body": "!fhir status"},
        "m.relates_to": {"rel_type": "m.replace", "event_id": event},
    });
    admin.send(&room, "m.room.message", edit).await.unwrap();
    let said = testbed::unique("no command");
    admin.send_text(&room, &said).await.unwrap();
    place.wait_on_record(&thread, "", &said).await;
    let on_record = place.on_record(&thread).await;
    assert_eq!(on_record, [(String::new(), said)]);

    let says = ask(&place, &admin, &room, "!fhir unlink").await;
    assert_eq!(says, format!("{thread} is no longer linked to {room}."));
    place.wait_for_bot(&room, false).await;
    let says = ask(
        &place,
        &admin,
        &chat,
        &format!("!fhir undo-unlink {thread}"),
    )
    .await;
    assert_eq!(says, format!("{thread} may have a room again."));
    let new = stage.room_of(&thread).await;
    assert!(new != room && new != old);
    stage.bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_conversations_are_headers_those_are_linked_and_nothing_else() {
    let place = Place::open(json!({"fhir": {"threads": "communication-header"}})).await;
    let stage = &place.stage;
    let gp = client(stage.testbed, "huisarts").await;
    let [patient, nurse, _doctor, _chemist, team] = place.team(&gp, None).await;
    let room = room_with_bot(&place, &gp).await;
    place.empower(&gp, &room).await;
    // On hold, so that it gets no room of its own first.
    let header = json!({
        "resourceType": "Communication", "status": "on-hold", "subject": {"reference": patient},
        "sender": {"reference": nurse}, "recipient": [{"reference": team}],
    });
    let header = stage.record.create(&header).await.unwrap();
    let text = testbed::unique("held");
    let message = place.nurse_writes(&header, &nurse, &text).await;
    let request = stage.thread(&patient, &team, &nurse, "elsewhere").await;
    for other in [&message, &request] {
        let (status, refused) = place.link(&room, other).await;
        assert_eq!(
            (status, &refused["errcode"]),
            (400, &json!("M_INVALID_PARAM")),
            "{other}"
        );
    }
    let link = json!({"room_id": room, "resource": header});
    assert_eq!(place.link(&room, &header).await, (200, link));
    let begin = |json: &mut Value| json["status"] = json!("in-progress");
    stage.record.change(&header, begin).await.unwrap();
    gp.wait_for_text(&room, &text, PATIENCE).await.unwrap();
    let said = testbed::unique("said");
    gp.send_text(&room, &said).await.unwrap();
    until("the GP's message on record", async || {
        let all = place.on_record(&header).await;
        all.iter().any(|(_, text)| *text == said).then_some(())
    })
    .await;
    assert_eq!(place.on_record(&header).await.len(), 2);
    assert!(!stage.has_alias(&header).await, "it has no other room");
    stage.bridge.stop().await;
}

async fn client(testbed: &Testbed, homeserver: &str) -> Client {
    let name = testbed::unique("somebody");
    testbed.client(homeserver, &name).await.unwrap()
}

/// Types a command and waits for its answer.
async fn ask(place: &Place, who: &Client, room: &str, command: &str) -> String {
    let event = who.send_text(room, command).await.unwrap();
    answer(place, who, room, &event).await
}

/// The bridge's answer to an event.
async fn answer(place: &Place, who: &Client, room: &str, event: &str) -> String {
    until("an answer", async || {
        let all = who.messages(room, 100).await.unwrap();
        let answer = all.into_iter().find(|one| {
            one.sender == place.stage.bot()
                && one.content["m.relates_to"]["m.in_reply_to"]["event_id"] == *event
        })?;
        Some(answer.body().to_owned())
    })
    .await
}
