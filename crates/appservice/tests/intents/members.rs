//! Inviting and joining.

use super::*;

#[tokio::test]
async fn an_invitation_carries_its_extra_content_and_is_sent_once() {
    let world = World::new().await;
    let service = world.service().await;
    let room = world.room();
    let ghost = service.intent(user(GHOST), "work");
    let arts = user("@arts:elsewhere.test");
    let invite = Invite::new(arts).with("test.role", json!("huisarts"));
    let outcome = async || ghost.invite(&room, &invite).await.unwrap();
    assert_eq!(outcome().await, InviteOutcome::Invited);
    assert_eq!(
        world.homeserver.members(room.as_str())[arts.as_str()],
        json!({"membership": "invite", "test.role": "huisarts"})
    );
    assert_eq!(outcome().await, InviteOutcome::AlreadyInvited);
    let set = |membership| {
        let homeserver = &world.homeserver;
        homeserver.set_membership(room.as_str(), arts.as_str(), membership);
    };
    set("join");
    assert_eq!(outcome().await, InviteOutcome::AlreadyJoined);
    assert_eq!(
        ghost.membership(&room, arts).await.unwrap(),
        Some(MembershipState::Join)
    );
    // Who left or declined is left alone, unless that is what is wanted.
    set("leave");
    assert_eq!(outcome().await, InviteOutcome::Left);
    let again = invite.clone().again();
    assert_eq!(
        ghost.invite(&room, &again).await.unwrap(),
        InviteOutcome::Invited
    );
    set("ban");
    assert_eq!(
        ghost.invite(&room, &again).await.unwrap(),
        InviteOutcome::Banned
    );
}

#[tokio::test]
async fn a_ghost_that_may_not_join_is_invited_by_the_service_and_joins() {
    let world = World::new().await;
    let service = world.service().await;
    let room = world.room();
    let ghost = service.intent(user(OTHER_GHOST), "work");
    for _ in 0..2 {
        ghost.ensure_joined(&room).await.unwrap();
        assert_eq!(
            world.homeserver.members(room.as_str())[OTHER_GHOST],
            json!({"membership": "join"})
        );
    }
    assert_eq!(world.homeserver.calls_of("join").len(), 2);
    let invitations: Vec<_> = world
        .homeserver
        .calls_of("state")
        .into_iter()
        .filter(|call| call.method == "PUT")
        .map(|call| call.acting_as)
        .collect();
    assert_eq!(invitations, [BOT]);
    // The service can't help into a room that it isn't in.
    let strange = world.homeserver.make_room("@mallory:hs.test", None);
    let strange: OwnedRoomId = strange.try_into().unwrap();
    let error = ghost.ensure_joined(&strange).await.unwrap_err();
    assert!(error.is("M_FORBIDDEN"));
}

#[tokio::test]
async fn our_users_accept_invitations_and_nobody_else_is_made_to() {
    let world = World::new().await;
    let service = world.builder().await.accept_invitations().build().unwrap();
    let service = Running::start(service).await;
    let room = world.homeserver.make_room("@arts:hs.test", None);
    let invitation = |nth: usize, invited: &str| {
        world.homeserver.set_membership(&room, invited, "invite");
        json!({
            "type": "m.room.member", "event_id": format!("${nth}"), "room_id": room,
            "sender": "@arts:hs.test", "state_key": invited, "origin_server_ts": 1,
            "content": {"membership": "invite"},
        })
    };
    let strangers = [
        "@arts:elsewhere.test",
        "@_ghost_1:elsewhere.test",
        "@else:hs.test",
    ];
    let events: Vec<_> = [BOT, GHOST]
        .into_iter()
        .chain(strangers)
        .enumerate()
        .map(|(nth, invited)| invitation(nth, invited))
        .collect();
    // The first comes before the inviting homeserver has stored it.
    let unknown = Fault::Refuse(403, json!({"errcode": "M_FORBIDDEN"}));
    world.homeserver.fail("join", [unknown]);
    push(&service.router, "1", &events).await;
    service.idle().await;
    // An invitation that is gone by the time it is looked at is nothing to worry about.
    let mut withdrawn = invitation(9, OTHER_GHOST);
    withdrawn["event_id"] = json!("$9");
    world.homeserver.set_membership(&room, OTHER_GHOST, "leave");
    push(&service.router, "2", &[withdrawn]).await;
    service.idle().await;

    let members = world.homeserver.members(&room);
    for user in [BOT, GHOST] {
        assert_eq!(members[user]["membership"], "join", "{user}");
    }
    for user in strangers {
        assert_eq!(members[user]["membership"], "invite", "{user}");
    }
    let registered: std::collections::BTreeSet<_> = world
        .homeserver
        .calls_of("register")
        .iter()
        .map(|call| call.body["username"].to_string())
        .collect();
    assert_eq!(registered.len(), 3, "nobody else: {registered:?}");
    let stats = service.stop().await.stats().await.unwrap();
    assert_eq!((stats.done, stats.dead), (6, 0));
}
