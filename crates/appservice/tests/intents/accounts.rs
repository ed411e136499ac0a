//! Who acts.

use super::*;

#[tokio::test]
async fn a_ghost_is_registered_once_and_found_when_it_is_there() {
    let world = World::new().await;
    let service = world.service().await;
    world.homeserver.register(OTHER_GHOST);
    for ghost in [GHOST, OTHER_GHOST] {
        for _ in 0..3 {
            let intent = service.intent(user(ghost), "work");
            intent.ensure_registered().await.unwrap();
            intent.set_display_name("Mevrouw Jansen").await.unwrap();
        }
        assert_eq!(
            world.homeserver.name_of(ghost).as_deref(),
            Some("Mevrouw Jansen")
        );
    }
    assert_eq!(world.homeserver.calls_of("register").len(), 2);
}

#[tokio::test]
async fn only_users_of_our_namespace_and_homeserver_are_registered() {
    let world = World::new().await;
    let service = world.service().await;
    let outside = service.intent(user("@somebody:hs.test"), "work");
    let error = outside.ensure_registered().await.unwrap_err();
    assert!(error.is("M_EXCLUSIVE"));
    // A ghost's name on another homeserver is somebody else's user.
    let elsewhere = service.intent(user("@_ghost_1:elsewhere.test"), "work");
    let error = elsewhere.ensure_registered().await.unwrap_err();
    assert_eq!(error.retry(), Retry::Never);
    assert_eq!(world.homeserver.calls().len(), 1);
}

#[tokio::test]
async fn the_token_is_in_the_header_and_the_ghost_in_the_query() {
    let world = World::new().await;
    let service = world.service().await;
    let room = world.room();
    let ghost = service.intent(user(GHOST), "work");
    ghost.set_display_name("x").await.unwrap();
    ghost.send_text(&room, "text").await.unwrap();
    ghost.find_own_room("_portal_1").await.unwrap();
    ghost.sender().send_text(&room, "text").await.unwrap();
    for call in world.homeserver.calls() {
        // The stub refuses calls whose token isn't in the header, or is in the query.
        let acting_as = call.query.get("user_id").map(String::as_str);
        let as_the_service = call.acting_as == BOT;
        assert_eq!(acting_as, (!as_the_service).then_some(GHOST));
        assert!(!call.query.values().any(|value| value.contains(AS_TOKEN)));
    }
    assert!(world.homeserver.calls().len() >= 6);
}
