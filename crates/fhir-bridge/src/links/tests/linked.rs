//! Links that people make and undo.

use matrix_appservice::ruma::{RoomId, room_id};

use super::{super::linked::Taken, on_each, thread};

#[tokio::test]
async fn a_resource_has_one_room_and_a_room_one_resource() {
    on_each(async |links| {
        let (a, b) = (room_id!("!a:x"), room_id!("!b:x"));
        let take = async |resource, room, replace| {
            links
                .take_room(&thread(resource), room, replace)
                .await
                .unwrap()
        };
        assert_eq!(take(1, a, false).await, Taken::Linked(None));
        assert_eq!(take(1, a, false).await, Taken::Already);
        assert_eq!(take(1, b, false).await, Taken::ResourceHas(a.to_owned()));
        assert_eq!(take(2, a, false).await, Taken::RoomHas(thread(1)));
        assert_eq!(take(2, a, true).await, Taken::RoomHas(thread(1)));
        assert_eq!(take(1, b, true).await, Taken::Linked(Some(a.to_owned())));
        assert_eq!(links.room(&thread(1)).await.unwrap().unwrap(), b);
        let leaving = links.leaving().await.unwrap();
        assert_eq!((leaving.len(), &*leaving[0].room), (1, a));
        // The one before is free now.
        assert_eq!(take(2, a, false).await, Taken::Linked(None));
        assert!(
            links.leaving().await.unwrap().is_empty(),
            "it is linked again"
        );
    })
    .await;
}

#[tokio::test]
async fn what_was_unlinked_stays_so_until_it_is_linked_again_or_released() {
    on_each(async |links| {
        let (a, b) = (room_id!("!a:x"), room_id!("!b:x"));
        links.take_room(&thread(1), a, false).await.unwrap();
        links.unlink_room(&thread(1), b, false).await.unwrap();
        assert!(
            !links.is_unlinked(&thread(1)).await.unwrap(),
            "another room"
        );
        links.unlink_room(&thread(1), a, true).await.unwrap();
        assert_eq!(links.room(&thread(1)).await.unwrap(), None);
        assert!(links.is_unlinked(&thread(1)).await.unwrap());
        assert_eq!(links.unlinked_from(a).await.unwrap(), Some(thread(1)));
        let leaving = links.leaving().await.unwrap().remove(0);
        assert!(leaving.keep);
        links.has_left(&leaving).await.unwrap();
        assert!(links.leaving().await.unwrap().is_empty());

        links.take_room(&thread(1), b, false).await.unwrap();
        assert!(!links.is_unlinked(&thread(1)).await.unwrap());
        links.unlink_room(&thread(1), b, false).await.unwrap();
        assert!(links.release(&thread(1)).await.unwrap());
        assert!(!links.release(&thread(1)).await.unwrap());
        assert!(!links.is_unlinked(&thread(1)).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn links_are_listed_page_by_page() {
    on_each(async |links| {
        for n in 1..=5 {
            let room = RoomId::parse(format!("!{n}:x")).unwrap();
            links.take_room(&thread(n), &room, false).await.unwrap();
        }
        let mut seen = Vec::new();
        let mut after = String::new();
        loop {
            let page = links.linked(&after, 2).await.unwrap();
            let Some((last, _)) = page.last() else { break };
            after = last.to_string();
            seen.extend(page.into_iter().map(|(_, resource)| resource));
        }
        assert_eq!(seen, (1..=5).map(thread).collect::<Vec<_>>());
    })
    .await;
}
