//! The links as a list.

use matrix_appservice::ruma::{room_id, user_id};

use super::{super::listing::PAGE, event, on_each, reference, room};

#[tokio::test]
async fn all_links_are_listed_page_by_page_or_those_of_one_id() {
    on_each(async |links| {
        for number in 0..PAGE {
            let room = room(&number.to_string());
            let thread = reference(&format!("CommunicationRequest/{number}"));
            links.link_room(&thread, &room).await.unwrap();
        }
        let person = reference("Practitioner/1");
        links
            .link_person(user_id!("@arts:huisarts"), &person)
            .await
            .unwrap();

        let first = links.page(None, None, false).await.unwrap();
        assert_eq!(first.links.len(), PAGE);
        assert_eq!(first.links[0].matrix, "@arts:huisarts");
        let rest = links.page(first.next, None, false).await.unwrap();
        assert_eq!(rest.links.len(), 1);
        assert_eq!(rest.next, None);

        let one = links
            .page(None, Some(room_id!("!7:x").as_str()), false)
            .await
            .unwrap();
        assert_eq!(one.links[0].resource, "CommunicationRequest/7");
        assert_eq!(one.links.len(), 1);

        // With messages, and the rooms of one resource or room.
        links
            .link_part(&reference("Communication/1"), 0, &event("a"), "f")
            .await
            .unwrap();
        let with = links.page(None, Some("$a"), true).await.unwrap();
        assert_eq!(with.links[0].kind, "message");
        assert!(
            links
                .page(None, Some("$a"), false)
                .await
                .unwrap()
                .links
                .is_empty()
        );
        let rooms = links.rooms(Some("CommunicationRequest/7"), None, "", 9);
        assert_eq!(rooms.await.unwrap()[0].1, "!7:x");
        let rooms = links.rooms(None, Some("!8:x"), "", 9).await.unwrap();
        assert_eq!(rooms[0].0, "CommunicationRequest/8");
        let rooms = links
            .rooms(None, None, "CommunicationRequest/98", 2)
            .await
            .unwrap();
        assert_eq!(rooms.len(), 1, "in the order of bytes: {rooms:?}");
        assert_eq!(rooms[0].0, "CommunicationRequest/99");
    })
    .await;
}
