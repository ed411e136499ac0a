//! Who has read what; what is to be looked at.

use matrix_appservice::ruma::user_id;

use super::{
    super::{NewMessage, State, arrivals::Arrival, look_backs::LookBack},
    event, on_each, reference, room, thread,
};

#[tokio::test]
async fn the_tasks_of_a_reader_are_those_up_to_where_he_has_read() {
    on_each(async |links| {
        let owner = reference("Practitioner/1");
        let reader = user_id!("@arts:huisarts");
        for id in 1..=3 {
            let message = reference(&format!("Communication/{id}"));
            let new = NewMessage {
                resource: &message,
                room: &room("a"),
                sender: reader,
                from_matrix: false,
                state: State::Live,
                fingerprint: "",
                changed_at: 0,
            };
            links.add_message(&new).await.unwrap();
            let part = event(&id.to_string());
            links.link_part(&message, 0, &part, "").await.unwrap();
            let task = reference(&format!("Task/{id}"));
            links
                .add_task(&task, &message, &owner, id == 1)
                .await
                .unwrap();
            // Completed is completed.
            links
                .add_task(&task, &message, &owner, false)
                .await
                .unwrap();
        }
        let first = reference("Communication/1");
        let edit = event("edit");
        links.add_edit(&first, &edit, &event("1")).await.unwrap();
        assert!(links.is_completed(&reference("Task/1")).await.unwrap());
        assert!(!links.is_completed(&reference("Task/2")).await.unwrap());
        assert!(!links.is_completed(&reference("Task/9")).await.unwrap());

        let place = async |name: &str| links.place_of(&room("a"), &event(name)).await.unwrap();
        let (one, two, three) = (place("1").await, place("2").await, place("3").await);
        assert!(one < two && two < three && one.is_some());
        assert_eq!(place("edit").await, one, "an edit is where its message is");
        assert_eq!(links.place_of(&room("b"), &event("1")).await.unwrap(), None);
        assert_eq!(links.place_at(&room("a"), i64::MAX).await.unwrap(), three);
        assert_eq!(links.place_at(&room("a"), 0).await.unwrap(), None);

        let open = links.open_tasks(&room("a"), &owner, two.unwrap()).await;
        assert_eq!(open.unwrap(), [reference("Task/2")]);
        links.complete_task(&reference("Task/2")).await.unwrap();
        let open = links.open_tasks(&room("a"), &owner, three.unwrap()).await;
        assert_eq!(open.unwrap(), [reference("Task/3")]);

        assert_eq!(links.reading(&room("a"), reader).await.unwrap(), 0);
        for (seq, further) in [(5, true), (5, false), (4, false), (6, true)] {
            let read = links.has_read(&room("a"), reader, seq).await;
            assert_eq!(read.unwrap(), further, "{seq}");
        }
        assert_eq!(links.reading(&room("a"), reader).await.unwrap(), 6);
    })
    .await;
}

#[tokio::test]
async fn arrivals_and_looks_back_are_kept_until_they_are_done() {
    on_each(async |links| {
        let arrival = Arrival { came: 5, tie: None };
        links.note_arrival(&room("a"), arrival).await.unwrap();
        let tied = Arrival {
            came: 6,
            tie: Some(9),
        };
        links.note_arrival(&room("a"), tied).await.unwrap();
        assert_eq!(links.arrivals().await.unwrap(), [(room("a"), tied)]);
        links.forget_arrival(&room("a")).await.unwrap();
        assert!(links.arrivals().await.unwrap().is_empty());

        for (id, name) in [(1, "a"), (2, "b"), (3, "c")] {
            links.link_room(&thread(id), &room(name)).await.unwrap();
        }
        let noted = LookBack { due: 77, look: 2 };
        links.note_look_back(&room("b"), noted).await.unwrap();
        let first = LookBack { due: 100, look: 0 };
        links.note_all_look_backs(first, 10).await.unwrap();
        let mut all = links.look_backs().await.unwrap();
        all.sort_by_key(|(_, look)| look.due);
        let all: Vec<_> = all
            .iter()
            .map(|(room, look)| (room.as_str(), look.due, look.look))
            .collect();
        assert_eq!(all, [("!b:x", 77, 2), ("!a:x", 100, 0), ("!c:x", 120, 0)]);
        links.forget_look_back(&room("b")).await.unwrap();
        assert_eq!(links.look_backs().await.unwrap().len(), 2);
    })
    .await;
}
