//! What is known of messages and their events.

use matrix_appservice::ruma::user_id;

use super::{
    super::{Links, NewMessage, State},
    event, on_each, reference, room, thread,
};

async fn add(links: &Links, id: u32, state: State) {
    let new = NewMessage {
        resource: &reference(&format!("Communication/{id}")),
        room: &room("a"),
        sender: user_id!("@arts:huisarts"),
        from_matrix: id.is_multiple_of(2),
        state,
        fingerprint: "print",
        changed_at: 7,
    };
    links.add_message(&new).await.unwrap();
}

#[tokio::test]
async fn a_message_is_noted_once_and_its_changes_are_kept() {
    on_each(async |links| {
        let (one, two) = (reference("Communication/1"), reference("Communication/2"));
        assert!(links.message(&one).await.unwrap().is_none());
        add(&links, 1, State::Sending).await;
        add(&links, 1, State::Gone).await;
        add(&links, 2, State::Live).await;
        let known = links.message(&one).await.unwrap().unwrap();
        assert_eq!((&known.resource, &known.room), (&one, &room("a")));
        assert_eq!(known.sender, user_id!("@arts:huisarts"));
        assert_eq!((known.state, known.changed_at), (State::Sending, 7));
        assert!(!known.from_matrix && known.changed_in_record);
        assert_eq!((known.fingerprint.as_str(), known.pending), ("print", None));
        let other = links.message(&two).await.unwrap().unwrap();
        assert!(other.from_matrix && !other.changed_in_record && other.seq > known.seq);

        links.set_pending(&one, Some("next")).await.unwrap();
        links
            .set_correction(&one, Some(&event("notice")))
            .await
            .unwrap();
        let known = links.message(&one).await.unwrap().unwrap();
        assert_eq!(known.pending.as_deref(), Some("next"));
        assert_eq!(known.correction, Some(event("notice")));
        links.settle(&one, "next", 9, false).await.unwrap();
        links.set_correction(&one, None).await.unwrap();
        let known = links.message(&one).await.unwrap().unwrap();
        assert_eq!((known.state, known.changed_at), (State::Live, 9));
        assert!(!known.changed_in_record && known.correction.is_none());
        assert_eq!((known.fingerprint.as_str(), known.pending), ("next", None));
        links.set_state(&one, State::Retracting).await.unwrap();
        let known = links.message(&one).await.unwrap().unwrap();
        assert_eq!(known.state, State::Retracting);
        assert_eq!(links.counts().await.unwrap(), (0, 2));
    })
    .await;
}

#[tokio::test]
async fn each_part_of_a_message_has_one_event_and_an_event_one_part() {
    on_each(async |links| {
        let one = reference("Communication/1");
        links.link_part(&one, 1, &event("b"), "fb").await.unwrap();
        links.link_part(&one, 0, &event("a"), "fa").await.unwrap();
        // Again, with what it says now; and another event in a part's place.
        links.link_part(&one, 0, &event("a"), "fa2").await.unwrap();
        links.link_part(&one, 1, &event("c"), "fc").await.unwrap();
        let parts = links.parts(&one).await.unwrap();
        let parts: Vec<_> = parts
            .iter()
            .map(|part| (part.part, part.event.as_str(), part.fingerprint.as_str()))
            .collect();
        assert_eq!(parts, [(0, "$a", "fa2"), (1, "$c", "fc")]);
        assert_eq!(links.event(&one).await.unwrap(), Some(event("a")));
        assert_eq!(links.last_event(&one).await.unwrap(), Some(event("c")));
        let of = links.resource_of_event(&event("c")).await.unwrap();
        assert_eq!(of.as_ref(), Some(&one));
        assert_eq!(links.resource_of_event(&event("b")).await.unwrap(), None);

        for name in ["z", "y", "x"] {
            links
                .add_edit(&one, &event(name), &event("a"))
                .await
                .unwrap();
            links
                .add_edit(&one, &event(name), &event("a"))
                .await
                .unwrap();
        }
        let edits = links.edits_of(&event("a")).await.unwrap();
        assert_eq!(edits, ["z", "y", "x"].map(event), "in the order of coming");
        let edited = links.edited_by(&event("y")).await.unwrap();
        assert_eq!(edited, Some((one.clone(), event("a"))));
        links.remove_edit(&event("y")).await.unwrap();
        assert_eq!(links.edited_by(&event("y")).await.unwrap(), None);
        links.unlink_event(&event("a")).await.unwrap();
        assert!(links.edits_of(&event("a")).await.unwrap().is_empty());
        assert_eq!(links.event(&one).await.unwrap(), Some(event("c")));
    })
    .await;
}

#[tokio::test]
async fn files_rooms_people_and_secrets_are_found_again() {
    on_each(async |links| {
        let (one, file) = (reference("Communication/1"), reference("Binary/1"));
        links.add_file(&file, &one).await.unwrap();
        links.add_file(&file, &one).await.unwrap();
        assert_eq!(
            links.files(&one).await.unwrap(),
            std::slice::from_ref(&file)
        );
        links.forget_file(&file).await.unwrap();
        assert!(links.files(&one).await.unwrap().is_empty());

        links.link_room(&thread(1), &room("a")).await.unwrap();
        links.link_room(&thread(1), &room("b")).await.unwrap();
        assert_eq!(links.room(&thread(1)).await.unwrap(), Some(room("b")));
        assert_eq!(links.resource_of_room(&room("a")).await.unwrap(), None);
        let other = links.resource_of_room(&room("b")).await.unwrap();
        assert_eq!(other, Some(thread(1)));
        let but = async |name| links.conversation_but(name).await.unwrap();
        assert_eq!(but("CommunicationRequest").await, None);
        assert!(but("Communication").await.is_some());

        let user = user_id!("@arts:huisarts");
        for person in ["Practitioner/1", "Practitioner/2", "Practitioner/2"] {
            links.link_person(user, &reference(person)).await.unwrap();
        }
        let person = links.person(user).await.unwrap().unwrap();
        assert_eq!(person, reference("Practitioner/2"));
        links
            .unlink_person(user, &reference("Practitioner/1"))
            .await
            .unwrap();
        assert!(links.person(user).await.unwrap().is_some());
        links.unlink_person(user, &person).await.unwrap();
        assert!(links.person(user).await.unwrap().is_none());

        links.check().await.unwrap();
        assert!(!links.were_used().await.unwrap());
        assert_eq!(links.secret("key", "first").await.unwrap(), "first");
        assert_eq!(links.secret("key", "second").await.unwrap(), "first");
        assert!(links.were_used().await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn messages_are_seen_in_the_order_of_their_numbers() {
    on_each(async |links| {
        // Whoever sees a message sees all that have lower numbers, however many are noted at once.
        let adding: Vec<_> = (0..40_u32)
            .map(|id| {
                let links = links.clone();
                tokio::spawn(async move {
                    add(&links, id, State::Live).await;
                    let resource = reference(&format!("Communication/{id}"));
                    let seq = links.message(&resource).await.unwrap().unwrap().seq;
                    let below = links.place_at(&room("a"), i64::MAX).await.unwrap();
                    assert!(below >= Some(seq));
                    seq
                })
            })
            .collect();
        let mut seqs = Vec::new();
        for one in adding {
            seqs.push(one.await.unwrap());
        }
        seqs.sort_unstable();
        seqs.dedup();
        assert_eq!(seqs.len(), 40);
    })
    .await;
}
