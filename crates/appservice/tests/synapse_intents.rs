//! Every intent, on a real homeserver.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that can't go on fails"
)]

mod common;

use std::time::Duration;

use common::{journal, user};
use matrix_appservice::ruma::Int;
use matrix_appservice::{
    AppService, CreateRoom, Error, Invite, InviteOutcome, Media, Message, NewEvent, ReadMarkers,
    Registration, Retry, SpaceChild, StateEvent, Thumbnail,
    ruma::{
        MilliSecondsSinceUnixEpoch, OwnedUserId, RoomAliasId, RoomVersionId, UserId,
        api::{
            MatrixVersion,
            client::room::{Visibility, create_room::v3::RoomPreset},
        },
        events::{room::member::MembershipState, room::power_levels::UserPowerLevel},
        presence::PresenceState,
    },
};
use serde_json::{Map, json};
use testbed::{Appservice, Testbed, unique};

struct World {
    testbed: &'static Testbed,
    registered: Appservice,
    service: AppService,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new(appservice: &str) -> anyhow::Result<Self> {
        let testbed = Testbed::shared().await?;
        let registered = testbed.appservice(appservice).await?;
        let folder = tempfile::tempdir()?;
        let service = AppService::builder(
            Registration::load(&registered.registration_path).unwrap(),
            registered.server_name.try_into().unwrap(),
            registered.homeserver_url.clone(),
            journal(&folder).await,
        )
        .build()?;
        Ok(Self {
            testbed,
            registered,
            service,
            _folder: folder,
        })
    }

    fn name(&self, what: &str) -> String {
        unique(&format!("{}{what}", self.registered.user_prefix))
    }

    fn ghost(&self) -> OwnedUserId {
        let id = format!("@{}:{}", self.name("ghost"), self.registered.server_name);
        UserId::parse(id).unwrap()
    }

    fn bot(&self) -> matrix_appservice::Intent {
        self.service
            .intent(self.service.client().sender(), &unique("work"))
    }
}

/// A PNG of four red pixels.
const PIXEL: &[u8] = &[
    137, 80, 78, 71, 13, 10, 26, 10, 0, 0, 0, 13, 73, 72, 68, 82, 0, 0, 0, 2, 0, 0, 0, 2, 8, 2, 0,
    0, 0, 253, 212, 154, 115, 0, 0, 0, 16, 73, 68, 65, 84, 120, 218, 99, 248, 207, 192, 0, 68, 12,
    16, 10, 0, 31, 238, 3, 253, 99, 94, 187, 91, 0, 0, 0, 0, 73, 69, 78, 68, 174, 66, 96, 130,
];

#[tokio::test]
async fn accounts_profiles_devices_and_presence() -> anyhow::Result<()> {
    let world = World::new("sdk4").await?;
    let bot = world.bot();
    bot.ensure_registered().await?;
    let client = world.service.client();
    client.check_versions(MatrixVersion::V1_11..).await?;
    let error = client
        .check_versions(..MatrixVersion::V1_0)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Versions { .. }), "{error}");

    let ghost_id = world.ghost();
    let ghost = bot.as_user(&ghost_id);
    let error = ghost.who_am_i().await.unwrap_err();
    assert!(error.is_forbidden(), "not registered yet: {error}");
    ghost.ensure_registered().await?;
    ghost.ensure_registered().await?;
    assert_eq!(ghost.who_am_i().await?.user_id, ghost_id);

    assert!(ghost.ensure_display_name("Mevrouw Jansen").await?);
    assert!(!ghost.ensure_display_name("Mevrouw Jansen").await?);
    let avatar = ghost.upload(Media::bytes("image/png", PIXEL)).await?;
    assert!(ghost.ensure_avatar_url(&avatar).await?);
    ghost
        .set_profile_field("test.role", &json!("nurse"))
        .await?;
    let profile = bot.profile(&ghost_id).await?;
    assert_eq!(profile.displayname.as_deref(), Some("Mevrouw Jansen"));
    assert_eq!(profile.avatar_url.as_deref(), Some(avatar.as_str()));
    assert_eq!(profile.other["test.role"], "nurse");
    ghost.delete_profile_field("test.role").await?;
    assert!(
        !bot.profile(&ghost_id)
            .await?
            .other
            .contains_key("test.role")
    );

    ghost
        .set_presence(PresenceState::Online, Some("awake"))
        .await?;
    assert_eq!(ghost.presence(&ghost_id).await?, PresenceState::Online);

    // A device without a login, a session by login, and one that isn't there.
    let device = "BRIDGE".into();
    assert!(ghost.create_device(device, Some("bridge")).await?);
    assert!(!ghost.create_device(device, Some("bridge")).await?);
    let with_device = ghost.clone().with_device(device);
    let me = with_device.who_am_i().await?;
    assert_eq!(me.device_id.as_deref(), Some(device));
    let unknown = ghost.clone().with_device("NOWHERE".into());
    let error = unknown.who_am_i().await.unwrap_err();
    assert!(error.is("M_UNKNOWN_DEVICE"), "{error}");
    let login = ghost.log_in("SESSION".into()).await?;
    assert_eq!(login.device_id, "SESSION");
    let mut devices = ghost.devices().await?;
    devices.sort();
    assert_eq!(devices, ["BRIDGE", "SESSION"]);
    ghost.delete_device(device).await?;
    assert_eq!(ghost.devices().await?, ["SESSION"]);

    ghost.deactivate(false).await?;
    let error = bot.as_user(&ghost_id).ensure_registered().await;
    assert!(error.is_ok(), "it exists, and that is all that is asked");
    Ok(())
}

#[tokio::test]
async fn rooms_members_and_power_levels() -> anyhow::Result<()> {
    let world = World::new("sdk5").await?;
    let bot = world.bot();
    bot.ensure_registered().await?;
    let (ghost_id, other_id) = (world.ghost(), world.ghost());
    let (ghost, other) = (bot.as_user(&ghost_id), bot.as_user(&other_id));
    ghost.ensure_registered().await?;

    let room = CreateRoom::new()
        .name("portal")
        .topic("what it is about")
        .preset(&RoomPreset::PrivateChat)
        .version(&RoomVersionId::V12)
        .additional_creators([ghost_id.clone()])
        .power_levels(json!({"events_default": 10}))
        .initial_state(StateEvent::new("test.state", json!({"a": 1})));
    let room = bot.create_room(&room).await?.room_id;
    let topic = bot.state(&room, "m.room.topic", "").await?.unwrap();
    assert_eq!(topic["topic"], "what it is about");
    assert!(bot.all_state(&room).await?.len() > 5);
    assert!(
        !bot.ensure_state(&room, &StateEvent::new("test.state", json!({"a": 1})))
            .await?
    );

    // Two creators, who stand nowhere.
    let levels = bot.power_levels(&room).await?;
    for creator in [world.service.client().sender(), &ghost_id] {
        assert_eq!(levels.for_user(creator), UserPowerLevel::Infinite);
    }
    assert_eq!(levels.events_default, Int::from(10));
    let change = async || {
        bot.change_power_levels(&room, |levels| {
            levels.users.insert(other_id.clone(), 50.into());
            levels.users.insert(ghost_id.clone(), 100.into());
        })
        .await
    };
    assert!(change().await?);
    assert!(!change().await?);
    let levels = bot.power_levels(&room).await?;
    assert!(levels.user_can_kick(&other_id));

    // The ghost may not join by itself: the service helps.
    ghost.ensure_joined(&room).await?;
    other.ensure_joined(&room).await?;
    assert_eq!(bot.joined_members(&room).await?.len(), 3);
    assert!(ghost.joined_rooms().await?.contains(&room));
    for _ in 0..2 {
        bot.kick(&room, &other_id, Some("test")).await?;
    }
    let again = Invite::new(&other_id);
    assert_eq!(bot.invite(&room, &again).await?, InviteOutcome::Left);
    for _ in 0..2 {
        bot.ban(&room, &other_id, None).await?;
    }
    assert_eq!(
        bot.invite(&room, &again.again()).await?,
        InviteOutcome::Banned
    );
    for _ in 0..2 {
        bot.unban(&room, &other_id, None).await?;
    }
    for _ in 0..2 {
        ghost.leave(&room, Some("bye")).await?;
    }
    let members = bot.members(&room).await?;
    assert_eq!(members[&ghost_id], MembershipState::Leave);
    ghost.forget(&room).await?;

    // A ghost that was removed and is still remembered is brought back when it was asked for.
    let work = world.service.intent(&other_id, "brought back");
    work.ensure_joined(&room).await?;
    let service = &world.service;
    let moderator = service.intent(world.service.client().sender(), "moderation");
    moderator.kick(&room, &other_id, None).await?;
    work.ensure_joined(&room).await?;
    work.send_text(&room, "here again").await?;

    // Somebody knocks.
    let rule = StateEvent::new("m.room.join_rules", json!({"join_rule": "knock"}));
    bot.set_state(&room, &rule).await?;
    let knocked = ghost.knock((&*room).into(), &[], Some("let me in")).await?;
    assert_eq!(knocked, room);
    assert_eq!(
        bot.membership(&room, &ghost_id).await?,
        Some(MembershipState::Knock)
    );
    let invited = bot.invite(&room, &Invite::new(&ghost_id)).await?;
    assert_eq!(invited, InviteOutcome::Invited);
    ghost.join_via((&*room).into(), &[]).await?;

    // Another version: asked for twice, done once.
    let upgraded = bot.upgrade_room(&room, &RoomVersionId::V12, &[]).await?;
    assert_eq!(
        bot.upgrade_room(&room, &RoomVersionId::V12, &[]).await?,
        upgraded
    );
    assert_eq!(bot.replacement_room(&room).await?, Some(upgraded.clone()));
    let levels = bot.power_levels(&upgraded).await?;
    let own = levels.for_user(world.service.client().sender());
    assert_eq!(own, UserPowerLevel::Infinite);
    Ok(())
}

#[tokio::test]
async fn a_room_is_found_by_who_comes_while_the_homeserver_makes_it() -> anyhow::Result<()> {
    let world = World::new("sdk6").await?;
    let bot = world.bot();
    bot.ensure_registered().await?;
    // As a bridge that is killed and started again: at first the alias is there and the room isn't.
    for life in (0..12).map(|step| Duration::from_millis(20 + 20 * step)) {
        let room = CreateRoom::new().alias(world.name("portal"));
        let given_up = tokio::time::timeout(life, bot.create_room(&room)).await;
        let found = loop {
            match world.bot().create_room(&room).await {
                Ok(found) => break found.room_id,
                Err(error) => assert_ne!(error.retry(), Retry::Never, "{error} after {life:?}"),
            }
        };
        if let Ok(made) = given_up {
            assert_eq!(made?.room_id, found);
        }
        let levels = bot.state(&found, "m.room.power_levels", "").await?;
        assert!(levels.is_some(), "it isn't finished after {life:?}");
    }
    Ok(())
}

#[tokio::test]
async fn aliases_directories_and_spaces() -> anyhow::Result<()> {
    let world = World::new("sdk6").await?;
    let bot = world.bot();
    bot.ensure_registered().await?;
    let room = bot.create_room(&CreateRoom::new()).await?.room_id;
    let space = bot.create_room(&CreateRoom::new().space()).await?.room_id;
    let alias = |name: &str| {
        RoomAliasId::parse(format!(
            "#{}:{}",
            world.name(name),
            world.registered.server_name
        ))
    };
    let (first, second) = (alias("first")?, alias("second")?);
    assert!(bot.create_alias(&first, &room).await?);
    assert!(!bot.create_alias(&first, &room).await?);
    let error = bot.create_alias(&first, &space).await.unwrap_err();
    assert!(matches!(error, Error::ForeignAlias), "{error}");
    bot.create_alias(&second, &room).await?;
    assert_eq!(bot.resolve_alias(&first).await?, Some(room.clone()));
    assert_eq!(bot.aliases(&room).await?.len(), 2);
    let others = [second.clone()];
    assert!(
        bot.set_canonical_alias(&room, Some(&first), &others)
            .await?
    );
    assert!(
        !bot.set_canonical_alias(&room, Some(&first), &others)
            .await?
    );
    assert!(bot.delete_alias(&second).await?);
    assert!(!bot.delete_alias(&second).await?);

    // By default, Synapse lets nobody publish a room.
    let refused = bot.set_visibility(&room, &Visibility::Public).await;
    assert_eq!(refused.unwrap_err().status().unwrap().as_u16(), 403);
    bot.set_visibility(&room, &Visibility::Private).await?;
    assert_eq!(bot.visibility(&room).await?, Visibility::Private);
    bot.set_network_visibility("network", &room, &Visibility::Public)
        .await?;

    let child = SpaceChild::new().order("a").suggested();
    assert!(bot.add_space_child(&space, &room, &child).await?);
    assert!(!bot.add_space_child(&space, &room, &child).await?);
    assert!(bot.set_space_parent(&room, &space, true).await?);
    let content = bot.state(&space, "m.space.child", room.as_str()).await?;
    assert_eq!(
        content.unwrap()["via"],
        json!([world.registered.server_name])
    );
    assert!(bot.remove_space_child(&space, &room).await?);
    assert!(!bot.remove_space_child(&space, &room).await?);
    assert!(bot.remove_space_parent(&room, &space).await?);
    Ok(())
}

#[tokio::test]
async fn messages_of_every_kind_once() -> anyhow::Result<()> {
    let world = World::new("sdk5").await?;
    let bot = world.bot();
    bot.ensure_registered().await?;
    let ghost_id = world.ghost();
    let arts = world.testbed.client("vvt", &unique("arts")).await?;
    let room = CreateRoom::new().invite([user(arts.user_id()).to_owned()]);
    let room = bot.create_room(&room).await?.room_id;
    arts.join(room.as_str()).await?;
    let work = unique("work");
    let mut sent = Vec::new();
    // The same work twice: everything is there once.
    for _ in 0..2 {
        let ghost = world.service.intent(&ghost_id, &work);
        ghost.ensure_joined(&room).await?;
        ghost.typing(&room, Some(Duration::from_secs(5))).await?;
        ghost.typing(&room, None).await?;
        let time = MilliSecondsSinceUnixEpoch(1_700_000_000_000_u64.try_into()?);
        let question = ghost
            .send(&room, Message::text("question?").at(time))
            .await?;
        let answer = Message::html("answer", "<b>answer</b>").reply_to(&question);
        let answer = ghost.send(&room, answer).await?;
        let thread = ghost
            .send(&room, Message::notice("thread").in_thread(&question))
            .await?;
        let edit = ghost
            .edit(&room, &answer, Message::text("better answer"))
            .await?;
        let reaction = ghost.react(&room, &question, "👍").await?;
        let mut content = Map::new();
        content.insert("level".to_owned(), json!(7));
        let custom = ghost
            .send(&room, NewEvent::new("test.alarm", content))
            .await?;
        let regretted = ghost.send(&room, Message::emote("regrets this")).await?;
        let erased = ghost.redact(&room, &regretted, Some("regret")).await?;
        ghost.send_read_receipt(&room, &answer).await?;
        ghost.send_thread_receipt(&room, &thread, &question).await?;
        let markers = ReadMarkers {
            fully_read: Some(&answer),
            private_read: Some(&answer),
            ..ReadMarkers::default()
        };
        ghost.set_read_markers(&room, markers).await?;
        sent.push([
            question, answer, thread, edit, reaction, custom, regretted, erased,
        ]);
    }
    assert_eq!(sent[0], sent[1]);
    // Other work reacts once all the same.
    let other = world.service.intent(&ghost_id, &unique("work"));
    assert_eq!(other.react(&room, &sent[0][0], "👍").await?, sent[0][4]);

    let seen = arts.messages(room.as_str(), 100).await?;
    let ours: Vec<_> = seen
        .iter()
        .filter(|event| event.sender == ghost_id.as_str() && event.state_key.is_none())
        .collect();
    assert_eq!(ours.len(), 8, "each once");
    let of = |id: &str| ours.iter().find(|event| event.event_id == id).unwrap();
    assert_eq!(
        of(sent[0][3].as_str()).content["m.new_content"]["body"],
        "better answer"
    );
    assert_eq!(of(sent[0][6].as_str()).content, json!({}), "redacted");
    Ok(())
}

#[tokio::test]
async fn files_up_and_down() -> anyhow::Result<()> {
    let world = World::new("sdk4").await?;
    let bot = world.bot();
    bot.ensure_registered().await?;
    let ghost = bot.as_user(&world.ghost());
    assert!(ghost.max_upload_bytes().await?.is_some());
    let text = vec![b'x'; 200_000];
    let reader = std::io::Cursor::new(text.clone());
    let stream = Media::stream("text/plain", reader, 200_000).filename("file.txt");
    let uri = ghost.upload(stream).await?;
    let file = bot.download(&uri, 200_000).await?;
    // Synapse adds the character set.
    assert!(file.content_type().unwrap().starts_with("text/plain"));
    assert_eq!(file.filename().as_deref(), Some("file.txt"));
    assert_eq!(file.bytes().await?, text);
    let error = bot.download(&uri, 199_999).await.err();
    assert!(matches!(error, Some(Error::TooLarge { .. })));

    let reserved = ghost.reserve_media().await?;
    assert!(
        ghost
            .upload_to(&reserved, Media::bytes("image/png", PIXEL))
            .await?
    );
    assert!(
        !ghost
            .upload_to(&reserved, Media::bytes("image/png", PIXEL))
            .await?
    );
    let file = bot.download(&reserved, 1000).await?;
    assert_eq!(file.bytes().await?, PIXEL);
    let small = Thumbnail::new(32, 32).crop();
    let thumbnail = bot.download_thumbnail(&reserved, small, 100_000).await?;
    assert!(!thumbnail.bytes().await?.is_empty());
    Ok(())
}
