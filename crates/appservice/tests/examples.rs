//! Each example, on a real homeserver, with people who use an ordinary client.

#![cfg(feature = "commands")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    dead_code,
    reason = "a test that can't go on fails; nobody calls the examples' `main` here"
)]

mod common;

#[path = "../../../examples/custom_store.rs"]
mod custom_store;
#[path = "../../../examples/echo.rs"]
mod echo;
#[path = "../../../examples/ghosts_and_spaces.rs"]
mod ghosts_and_spaces;
#[path = "../../../examples/policy_bot.rs"]
mod policy_bot;
#[path = "../../../examples/third_party.rs"]
mod third_party;
#[path = "../../../examples/webhook.rs"]
mod webhook;

use std::time::Duration;

use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use common::{Running, journal};
use matrix_appservice::{
    AppService, Builder, Journal, Registration,
    ruma::{OwnedRoomId, RoomId, ServerName},
};
use serde_json::{Value, json};
use testbed::{Appservice, Client, Testbed, unique};
use tokio::{net::TcpListener, sync::mpsc};

const PATIENCE: Duration = Duration::from_mins(1);

struct World {
    testbed: &'static Testbed,
    registered: Appservice,
    folder: tempfile::TempDir,
}

impl World {
    async fn new(appservice: &str) -> anyhow::Result<Self> {
        let testbed = Testbed::shared().await?;
        Ok(Self {
            testbed,
            registered: testbed.appservice(appservice).await?,
            folder: tempfile::tempdir()?,
        })
    }

    fn server(&self) -> &'static ServerName {
        self.registered.server_name.try_into().unwrap()
    }

    async fn builder(&self) -> Builder {
        self.builder_on(journal(&self.folder).await)
    }

    fn builder_on(&self, journal: Journal) -> Builder {
        AppService::builder(
            Registration::load(&self.registered.registration_path).unwrap(),
            self.server(),
            self.registered.homeserver_url.clone(),
            journal,
        )
    }

    async fn run(&self, service: AppService, router: Router) -> Running {
        let listener = TcpListener::bind(self.registered.listen_addr)
            .await
            .unwrap();
        Running::start_on(service, listener, router)
    }

    async fn run_plain(&self, builder: Builder) -> Running {
        let service = builder.build().unwrap();
        let router = service.router();
        self.run(service, router).await
    }

    fn bot(&self) -> String {
        format!("@{}:{}", self.registered.sender_localpart, self.server())
    }

    /// Sets state, which is named by room, type and state key.
    async fn set_state(
        &self,
        person: &Client,
        [room, kind, key]: [&str; 3],
        content: &Value,
    ) -> anyhow::Result<()> {
        let mut url = self.registered.homeserver_url.clone();
        url.path_segments_mut()
            .unwrap()
            .pop_if_empty()
            .extend(["_matrix", "client", "v3", "rooms", room, "state", kind, key]);
        let request = reqwest::Client::new().put(url).json(content);
        let answer = request
            .bearer_auth(&person.user().access_token)
            .send()
            .await?;
        answer.error_for_status()?;
        Ok(())
    }

    /// Somebody with a client, and a room of theirs with the bot in it.
    async fn person_with_bot(&self, name: &str) -> anyhow::Result<(Client, String)> {
        let person = self.testbed.client("vvt", &unique(name)).await?;
        let room = person.create_room(name, &[&self.bot()]).await?;
        wait_for_membership(&person, &room, &self.bot(), "join").await?;
        Ok((person, room))
    }
}

/// Waits until a person sees somebody's membership.
async fn wait_for_membership(
    person: &Client,
    room: &str,
    user: &str,
    membership: &str,
) -> anyhow::Result<Value> {
    let seen = async {
        loop {
            let members = person.state(room, "m.room.member").await?;
            let member = members
                .into_iter()
                .find(|member| member.state_key.as_deref() == Some(user));
            if let Some(member) = member.filter(|member| member.content["membership"] == membership)
            {
                return Ok(member.content);
            }
        }
    };
    tokio::time::timeout(PATIENCE, seen).await?
}

/// Waits until one of the bot's messages begins so.
async fn wait_for_start(
    person: &Client,
    room: &str,
    bot: &str,
    start: &str,
) -> anyhow::Result<String> {
    let mut seen = 0;
    loop {
        let messages = person
            .wait_for_messages(room, bot, seen + 1, PATIENCE)
            .await?;
        seen = messages.len();
        if let Some(message) = messages
            .iter()
            .find(|message| message.body().starts_with(start))
        {
            return Ok(message.body().to_owned());
        }
    }
}

fn room_id(id: &str) -> OwnedRoomId {
    RoomId::parse(id).unwrap()
}

#[tokio::test]
async fn echo_repeats_what_is_said() -> anyhow::Result<()> {
    let world = World::new("sdk1").await?;
    let builder = world.builder().await;
    let running = world
        .run_plain(builder.accept_invitations().on_message(echo::echo))
        .await;
    let (nurse, room) = world.person_with_bot("echo").await?;
    nurse.send_text(&room, "Is daar iemand?").await?;
    let messages = nurse
        .wait_for_messages(&room, &world.bot(), 1, PATIENCE)
        .await?;
    assert_eq!(messages[0].body(), "Is daar iemand?");
    running.idle().await;
    running.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_journal_in_a_store_of_ones_own_carries_a_bot() -> anyhow::Result<()> {
    let world = World::new("sdk5").await?;
    let journal = Journal::with_store(custom_store::Memory::default()).await?;
    let builder = custom_store::bot(world.builder_on(journal));
    let running = world.run_plain(builder).await;
    let (nurse, room) = world.person_with_bot("store").await?;
    for said in ["een", "twee", "drie"] {
        nurse.send_text(&room, said).await?;
    }
    let messages = nurse
        .wait_for_messages(&room, &world.bot(), 3, PATIENCE)
        .await?;
    let bodies: Vec<_> = messages.iter().map(testbed::Event::body).collect();
    assert_eq!(bodies, ["een", "twee", "drie"]);
    running.idle().await;
    let stats = running.stop().await.stats().await?;
    assert_eq!((stats.dead, stats.waiting), (0, 0));
    Ok(())
}

#[tokio::test]
async fn a_team_is_a_space_with_rooms_and_ghosts() -> anyhow::Result<()> {
    let world = World::new("sdk2").await?;
    let names = ghosts_and_spaces::Names {
        prefix: unique(&world.registered.user_prefix),
        server: world.server(),
    };
    let running = world
        .run_plain(ghosts_and_spaces::bridge(
            world.builder().await,
            names.clone(),
        ))
        .await;
    let (nurse, chat) = world.person_with_bot("teams").await?;
    nurse.send_text(&chat, "!teams open Care!").await?;
    nurse
        .wait_for_text(&chat, "A team's name has small letters only.", PATIENCE)
        .await?;
    // Twice: the second time, all of it is there.
    for answers in [2, 3] {
        nurse.send_text(&chat, "!teams open care").await?;
        nurse
            .wait_for_messages(&chat, &world.bot(), answers, PATIENCE)
            .await?;
    }
    let invites = nurse.wait_for_invites(3, PATIENCE).await?;
    assert_eq!(invites.len(), 3);
    let invited_to = |name: &str| {
        let invite = invites
            .iter()
            .find(|invite| invite.name.as_deref() == Some(name));
        invite.unwrap().room_id.clone()
    };
    for name in ["care", "planning", "laboratory"] {
        nurse.join(&invited_to(name)).await?;
    }
    let children = nurse.state(&invited_to("care"), "m.space.child").await?;
    assert_eq!(children.len(), 2);
    let ada = format!("@{}ada:{}", names.prefix, names.server);
    let said = nurse
        .wait_for_messages(&invited_to("planning"), &ada, 1, PATIENCE)
        .await?;
    assert_eq!(said[0].body(), "Who has the early shift?");
    let member = wait_for_membership(&nurse, &invited_to("planning"), &ada, "join").await?;
    assert_eq!(member["displayname"], "Ada");
    running.idle().await;
    let stats = running.stop().await.stats().await?;
    assert_eq!(stats.dead, 0);
    Ok(())
}

/// The other system: keeps what is posted to it.
async fn other_system() -> anyhow::Result<(String, mpsc::UnboundedReceiver<Value>)> {
    let (posted, posts) = mpsc::unbounded_channel();
    let take = async |State(posted): State<mpsc::UnboundedSender<Value>>,
                      Json(post): Json<Value>| {
        posted.send(post).unwrap();
        StatusCode::OK
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/incoming", listener.local_addr()?);
    let router = Router::new()
        .route("/incoming", post(take))
        .with_state(posted);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok((url, posts))
}

#[tokio::test]
async fn a_webhook_carries_messages_both_ways() -> anyhow::Result<()> {
    let world = World::new("sdk3").await?;
    let nurse = world.testbed.client("vvt", &unique("hook")).await?;
    let admin = nurse.create_room("Beheer", &[&world.bot()]).await?;
    let ward = nurse.create_room("Afdeling", &[&world.bot()]).await?;
    let (outgoing, mut posts) = other_system().await?;

    let file = world.folder.path().join("hooks.json");
    let hooks = webhook::Hooks::open(&file, &world.registered.user_prefix, world.server())?;
    let builder = world.builder().await;
    let service = webhook::bridge(builder, &hooks, &room_id(&admin)).build()?;
    let router = service
        .router()
        .merge(webhook::router(hooks, service.journal().clone()));
    let running = world.run(service, router).await;
    for room in [&admin, &ward] {
        wait_for_membership(&nurse, room, &world.bot(), "join").await?;
    }

    nurse
        .send_text(&admin, &format!("!hook link {ward} {outgoing}"))
        .await?;
    let answer = wait_for_start(&nurse, &admin, &world.bot(), "Post to").await?;
    let words: Vec<&str> = answer.split_whitespace().collect();
    let (path, secret) = (words[2], words[words.len() - 1]);
    // The file holds no secret.
    assert!(!std::fs::read_to_string(&file)?.contains(secret));

    let http = reqwest::Client::new();
    let url = format!("http://{}{path}", world.registered.listen_addr);
    let post = json!({"name": "Pager 17", "text": "Kamer 4 belt."});
    let send = async |secret: &str, body: String| {
        let request = http
            .post(&url)
            .bearer_auth(secret)
            .header("idempotency-key", "1");
        request.body(body).send().await.unwrap().status().as_u16()
    };
    assert_eq!(send("wrong", post.to_string()).await, 401);
    assert_eq!(send(secret, "{}".to_owned()).await, 400);
    assert_eq!(send(secret, " ".repeat(65 * 1024)).await, 413);
    // Repeated by the other system, said once.
    for _ in 0..2 {
        assert_eq!(send(secret, post.to_string()).await, 202);
    }
    let ghost = format!(
        "@{}pager-17:{}",
        world.registered.user_prefix,
        world.server()
    );
    // It isn't invited by the nurse, so the bot does that; a stranger's room would be refused.
    let said = nurse.wait_for_messages(&ward, &ghost, 1, PATIENCE).await?;
    assert_eq!(said[0].body(), "Kamer 4 belt.");

    nurse.send_text(&ward, "Ik ga.").await?;
    let posted = tokio::time::timeout(PATIENCE, posts.recv()).await?.unwrap();
    assert_eq!(posted["text"], "Ik ga.");
    assert_eq!(posted["sender"], nurse.user_id());
    running.idle().await;
    let said = nurse.messages(&ward, 100).await?;
    assert_eq!(
        said.iter()
            .filter(|event| event.sender == ghost && event.kind == "m.room.message")
            .count(),
        1
    );
    assert!(
        posts.try_recv().is_err(),
        "ghosts and repeats are not posted"
    );
    running.stop().await;
    Ok(())
}

#[tokio::test]
async fn the_policy_bot_refuses_by_words_and_by_lists() -> anyhow::Result<()> {
    let world = World::new("sdk4").await?;
    let moderator = world.testbed.client("vvt", &unique("moderator")).await?;
    let rude = world.testbed.client("vvt", &unique("rude")).await?;
    let list = moderator.create_room("Lijst", &[&world.bot()]).await?;
    let room = moderator.create_room("Overleg", &[rude.user_id()]).await?;
    rude.join(&room).await?;

    let policy = policy_bot::Policy::new([room_id(&list)], &["spam"]);
    let service = policy_bot::bridge(world.builder().await, &policy).build()?;
    let bot = service.intent(service.client().sender(), &unique("subscribe"));
    policy.subscribe(&bot).await?;
    let router = service.router();
    let running = world.run(service, router).await;
    moderator.invite(&room, &world.bot()).await?;
    wait_for_membership(&moderator, &room, &world.bot(), "join").await?;
    let mut levels = moderator.state(&room, "m.room.power_levels").await?[0]
        .content
        .clone();
    levels["users"][world.bot()] = json!(100);
    world
        .set_state(&moderator, [&room, "m.room.power_levels", ""], &levels)
        .await?;

    rude.send_text(&room, "Koop spam!").await?;
    wait_for_start(&moderator, &room, &world.bot(), "I removed a message").await?;

    let ban = json!({"entity": rude.user_id(), "recommendation": "m.ban", "reason": "rude"});
    world
        .set_state(&moderator, [&list, "m.policy.rule.user", "rule"], &ban)
        .await?;
    let member = wait_for_membership(&moderator, &room, rude.user_id(), "ban").await?;
    assert!(member["reason"].as_str().unwrap().starts_with("rude"));
    wait_for_start(&moderator, &room, &world.bot(), "I banned").await?;

    // Whom a list bans invites in vain.
    let den = rude.create_room("Hol", &[&world.bot()]).await?;
    wait_for_membership(&rude, &den, &world.bot(), "leave").await?;
    running.idle().await;
    running.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_client_finds_pagers_through_its_homeserver() -> anyhow::Result<()> {
    let world = World::new("sdk6").await?;
    let protocol = world.registered.name;
    let pagers = third_party::Pagers {
        protocol: protocol.to_owned(),
        prefix: world.registered.user_prefix.clone(),
        server: world.server(),
    };
    let running = world
        .run_plain(third_party::bridge(world.builder().await, pagers))
        .await;
    let nurse = world.testbed.client("vvt", &unique("pager")).await?;
    let look = async |what: &str, name: &str, value: &str| -> anyhow::Result<Value> {
        let mut url = world.registered.homeserver_url.clone();
        url.set_path(&format!("/_matrix/client/v3/thirdparty/{what}/{protocol}"));
        url.query_pairs_mut().append_pair(name, value);
        let request = reqwest::Client::new()
            .get(url)
            .bearer_auth(&nurse.user().access_token);
        Ok(request.send().await?.json().await?)
    };
    let found = look("user", "number", "17").await?;
    let ghost = format!("@{}17:{}", world.registered.user_prefix, world.server());
    assert_eq!(found[0]["userid"], ghost);
    assert_eq!(found[0]["fields"]["number"], "17");
    assert_eq!(look("user", "number", "x").await?, json!([]));
    let found = look("location", "ward", "4").await?;
    assert_eq!(
        found[0]["alias"],
        format!("#{}ward_4:{}", world.registered.user_prefix, world.server())
    );
    running.stop().await;
    Ok(())
}
