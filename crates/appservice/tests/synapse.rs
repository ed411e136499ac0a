//! Against a real homeserver, with people who use an ordinary client.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that can't go on fails"
)]

mod common;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::Request,
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use common::{Running, journal, user};
use matrix_appservice::{
    AppService, Builder, CreateRoom, Error, Invite, InviteOutcome, Registration, RetryPolicy,
    ruma::{EventId, OwnedUserId, RoomId, UserId},
};
use serde_json::json;
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

    async fn builder(&self) -> Builder {
        AppService::builder(
            Registration::load(&self.registered.registration_path).unwrap(),
            self.registered.server_name.try_into().unwrap(),
            self.registered.homeserver_url.clone(),
            journal(&self.folder).await,
        )
        .retry_policy(RetryPolicy {
            give_up_after: Duration::ZERO,
            first_pause: Duration::from_millis(50),
            ..RetryPolicy::default()
        })
    }

    async fn run(&self, service: AppService, router: Router) -> Running {
        let listener = TcpListener::bind(self.registered.listen_addr)
            .await
            .unwrap();
        Running::start_on(service, listener, router)
    }

    fn user(&self, localpart: &str) -> OwnedUserId {
        let id = format!("@{localpart}:{}", self.registered.server_name);
        UserId::parse(id).unwrap()
    }

    fn ghost(&self) -> OwnedUserId {
        self.user(&unique(&format!("{}ghost", self.registered.user_prefix)))
    }

    fn bot(&self) -> OwnedUserId {
        self.user(&self.registered.sender_localpart)
    }
}

/// Waits until a person sees that somebody is in a room.
async fn wait_until_joined(person: &Client, room: &str, user: &UserId) -> anyhow::Result<()> {
    let joined = async {
        loop {
            let members = person.state(room, "m.room.member").await?;
            let member = members
                .iter()
                .find(|member| member.state_key.as_deref() == Some(user.as_str()));
            if member.is_some_and(|member| member.content["membership"] == "join") {
                return Ok(());
            }
        }
    };
    tokio::time::timeout(PATIENCE, joined).await?
}

#[tokio::test]
async fn an_echo_comes_once_also_when_answers_are_lost_and_the_bot_restarts() -> anyhow::Result<()>
{
    let world = World::new("sdk1").await?;
    let handled: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
    let service = async || {
        let handled = handled.clone();
        world
            .builder()
            .await
            .accept_invitations()
            .on_message(move |delivery, event| {
                *handled
                    .lock()
                    .unwrap()
                    .entry(event.event_id.to_string())
                    .or_default() += 1;
                async move {
                    let text = format!("echo: {}", event.content.body());
                    delivery.bot().send_text(&event.room_id, text).await?;
                    Ok(())
                }
            })
            .build()
            .unwrap()
    };
    // Each second transaction is stored and then answered with 500, so the homeserver pushes it again.
    let pushed = Arc::new(AtomicUsize::new(0));
    let count = pushed.clone();
    let first = service().await;
    let lossy = first
        .router()
        .layer(middleware::from_fn(move |request: Request, next: Next| {
            let count = count.clone();
            async move {
                let is_push = request.uri().path().contains("/transactions/");
                let answer: Response = next.run(request).await;
                if is_push && count.fetch_add(1, Ordering::SeqCst) % 2 == 1 {
                    return StatusCode::INTERNAL_SERVER_ERROR.into_response();
                }
                answer
            }
        }));
    let running = world.run(first, lossy).await;

    let arts = world.testbed.client("huisarts", &unique("arts")).await?;
    let room = arts.create_room("Overleg", &[world.bot().as_str()]).await?;
    // Over federation: the bot is on another homeserver, which gets nothing of the room before it joins.
    wait_until_joined(&arts, &room, &world.bot()).await?;
    for nth in 0..3 {
        let text = format!("bericht {nth}");
        arts.send_text(&room, &text).await?;
        arts.wait_for_text(&room, &format!("echo: {text}"), PATIENCE)
            .await?;
    }
    running.idle().await;
    running.stop().await;

    // What is said while nobody listens is answered when the bot is back.
    let asked = arts.send_text(&room, "nog iemand?").await?;
    let again = service().await;
    // What comes to Synapse 1.163 in the very moment in which the ping ends its pause stays in its queue until the next
    // pause. So it has to be there first.
    let look = again.intent(&world.bot(), "look");
    let (at, asked) = (RoomId::parse(&room)?, EventId::parse(&asked)?);
    while look.event(&at, &asked).await?.is_none() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let router = again.router();
    let running = world.run(again, router).await;
    arts.wait_for_text(&room, "echo: nog iemand?", PATIENCE)
        .await?;
    arts.send_text(&room, "tot ziens").await?;
    arts.wait_for_text(&room, "echo: tot ziens", PATIENCE)
        .await?;
    running.idle().await;
    let stats = running.stop().await.stats().await?;
    assert_eq!((stats.dead, stats.waiting), (0, 0));

    let echoes: Vec<_> = arts
        .messages(&room, 100)
        .await?
        .into_iter()
        .filter(|event| event.sender == world.bot().as_str() && event.kind == "m.room.message")
        .map(|event| event.body().to_owned())
        .collect();
    assert_eq!(echoes.len(), 5, "{echoes:?}");
    assert!(pushed.load(Ordering::SeqCst) > 3);
    let handled = handled.lock().unwrap();
    assert_eq!(handled.len(), 5);
    assert!(handled.values().all(|times| *times == 1), "{handled:?}");
    Ok(())
}

#[tokio::test]
async fn a_ghost_makes_a_room_finds_it_again_invites_and_speaks_once() -> anyhow::Result<()> {
    let world = World::new("sdk2").await?;
    let service = world.builder().await.build()?;
    let (ghost, other) = (world.ghost(), world.ghost());
    let arts = world.testbed.client("huisarts", &unique("arts")).await?;

    let intent = service.intent(&ghost, "room");
    intent.ensure_registered().await?;
    intent.set_display_name("Mevrouw Jansen").await?;
    let alias = unique(&format!("{}portal", world.registered.user_prefix));
    let wanted = CreateRoom::new().alias(&alias).name("Wondzorg");
    let made = intent.create_room(&wanted).await?;
    assert!(!made.was_there);
    let again = intent.create_room(&wanted).await?;
    assert!(again.was_there);
    assert_eq!(made.room_id, again.room_id);
    let room = made.room_id;

    // Another ghost finds a room that isn't its own.
    let stranger = service.intent(&other, "room");
    stranger.ensure_registered().await?;
    let error = stranger.find_own_room(&alias).await.unwrap_err();
    assert!(matches!(error, Error::ForeignAlias), "{error}");

    let invite = Invite::new(user(arts.user_id())).with("test.role", json!("huisarts"));
    for expected in [InviteOutcome::Invited, InviteOutcome::AlreadyInvited] {
        assert_eq!(intent.invite(&room, &invite).await?, expected);
    }
    let invite = arts.wait_for_invite(room.as_str(), PATIENCE).await?;
    assert_eq!(invite.inviter, ghost.as_str());
    assert_eq!(invite.name.as_deref(), Some("Wondzorg"));
    assert_eq!(invite.content["test.role"], "huisarts");
    arts.join(room.as_str()).await?;

    // The same work again is the same message; the other ghost's is another one.
    for _ in 0..2 {
        let work = service.intent(&ghost, "greeting");
        work.send_text(&room, "Goedemorgen").await?;
    }
    let work = service.intent(&ghost, "joining");
    work.sender().ensure_registered().await?;
    work.invite(&room, &Invite::new(&other)).await?;
    let work = service.intent(&other, "greeting");
    work.ensure_joined(&room).await?;
    work.ensure_joined(&room).await?;
    work.send_text(&room, "Ook goedemorgen").await?;
    arts.wait_for_text(room.as_str(), "Ook goedemorgen", PATIENCE)
        .await?;
    let said: Vec<_> = arts
        .messages(room.as_str(), 100)
        .await?
        .into_iter()
        .filter(|event| event.kind == "m.room.message")
        .map(|event| event.body().to_owned())
        .collect();
    assert_eq!(said.len(), 2, "{said:?}");
    Ok(())
}

#[tokio::test]
async fn a_user_that_is_asked_for_is_registered_before_the_answer() -> anyhow::Result<()> {
    let world = World::new("sdk3").await?;
    let (asked, mut questions) = mpsc::unbounded_channel();
    let service = world
        .builder()
        .await
        .on_user_query(move |bot, id| {
            let _ = asked.send(id.clone());
            async move {
                bot.as_user(&id).ensure_registered().await?;
                Ok(true)
            }
        })
        .accept_invitations()
        .build()?;
    let router = service.router();
    let running = world.run(service, router).await;
    let nurse = world.testbed.client("vvt", &unique("nurse")).await?;
    let ghost = world.ghost();
    let room = nurse.create_room("Overdracht", &[ghost.as_str()]).await?;
    assert_eq!(questions.recv().await.as_ref(), Some(&ghost));
    // It accepts the invitation by itself.
    wait_until_joined(&nurse, &room, &ghost).await?;
    running.idle().await;
    running.stop().await;
    Ok(())
}
