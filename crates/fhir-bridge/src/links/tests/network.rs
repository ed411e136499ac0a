//! What care networks note.

use std::collections::BTreeSet;

use matrix_appservice::ruma::{OwnedUserId, user_id};

use super::{super::network::Placing, event, on_each, reference, room, thread};
use crate::mapping::{membership::Placed, phase::Phase};

fn placed(user: &str, person: &str) -> Placed {
    let user: OwnedUserId = user.try_into().unwrap();
    Placed {
        user,
        person: person.to_owned(),
    }
}

#[tokio::test]
async fn who_was_brought_into_a_room_is_known_with_the_person() {
    on_each(async |links| {
        let (arts, zuster) = (user_id!("@arts:x"), user_id!("@zuster:x"));
        let placing = Placing {
            placed: vec![
                placed("@arts:x", "Practitioner/1"),
                placed("@zuster:x", "Practitioner/2"),
            ],
            gone: vec![],
        };
        links.place(&thread(1), &placing).await.unwrap();
        assert!(links.saw(&thread(1), arts, true).await.unwrap());
        assert!(!links.saw(&thread(2), arts, true).await.unwrap());
        let placing = Placing {
            placed: vec![placed("@arts:x", "Practitioner/3")],
            gone: vec![zuster.to_owned()],
        };
        links.place(&thread(1), &placing).await.unwrap();
        let now = links.placed(&thread(1)).await.unwrap();
        assert_eq!(now.len(), 1);
        assert_eq!(
            (&*now[0].user, now[0].person.as_str()),
            (arts, "Practitioner/3")
        );
        let seen = links.placed_as(&thread(1), arts).await.unwrap();
        assert_eq!(seen, Some((reference("Practitioner/3"), true)), "still in");
        assert_eq!(links.placed_as(&thread(1), zuster).await.unwrap(), None);
        assert!(!links.is_placed_elsewhere(arts, &thread(1)).await.unwrap());
        assert!(links.is_placed_elsewhere(arts, &thread(2)).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn former_members_and_what_depends_on_what_are_known() {
    on_each(async |links| {
        let team = reference("CareTeam/1");
        let (one, two) = (reference("Practitioner/1"), reference("Practitioner/2"));
        let before = ["Practitioner/1", "Practitioner/2"].map(ToOwned::to_owned);
        links.note_team(&team, &[], &before).await.unwrap();
        links
            .note_team(&team, std::slice::from_ref(&two), &before[..1])
            .await
            .unwrap();
        assert!(links.is_former(&team, &one).await.unwrap());
        assert!(!links.is_former(&team, &two).await.unwrap());

        let on = [team.clone(), one.clone(), team.clone()];
        links.depend(&thread(1), &on).await.unwrap();
        links
            .depend(&thread(2), std::slice::from_ref(&team))
            .await
            .unwrap();
        let all = links.dependents(&team).await.unwrap();
        assert_eq!(all, [thread(1), thread(2)]);
        let types: BTreeSet<_> = ["CareTeam", "Practitioner"].map(ToOwned::to_owned).into();
        assert_eq!(links.watched_types().await.unwrap(), types);
        links.depend(&thread(1), &[one]).await.unwrap();
        assert_eq!(links.dependents(&team).await.unwrap(), [thread(2)]);
    })
    .await;
}

#[tokio::test]
async fn what_is_due_phases_and_identities_are_kept_as_they_were_last_said() {
    on_each(async |links| {
        links.set_due(&thread(1), Some(30)).await.unwrap();
        links.set_due(&thread(2), Some(20)).await.unwrap();
        links.set_due(&thread(1), Some(10)).await.unwrap();
        assert_eq!(links.first_due().await.unwrap(), Some((thread(1), 10)));
        links.was_due(&thread(1), 30).await.unwrap();
        assert_eq!(links.first_due().await.unwrap(), Some((thread(1), 10)));
        links.was_due(&thread(1), 10).await.unwrap();
        assert_eq!(links.first_due().await.unwrap(), Some((thread(2), 20)));
        links.set_due(&thread(2), None).await.unwrap();
        assert_eq!(links.first_due().await.unwrap(), None);

        assert!(links.phase(&thread(1)).await.unwrap().is_none());
        for phase in [Phase::Held, Phase::Ended, Phase::Ended] {
            links.set_phase(&thread(1), phase).await.unwrap();
        }
        let phase = links.phase(&thread(1)).await.unwrap().unwrap();
        assert_eq!(phase.as_str(), Phase::Ended.as_str());

        let (person, user) = (reference("Practitioner/1"), user_id!("@arts:x"));
        links.set_identity(&person, Some(user), None).await.unwrap();
        links
            .set_identity(&person, Some(user), Some("proof"))
            .await
            .unwrap();
        let known = links.identity(&person).await.unwrap();
        assert_eq!(known, Some((user.to_owned(), Some("proof".to_owned()))));
        links.set_identity(&person, None, None).await.unwrap();
        assert_eq!(links.identity(&person).await.unwrap(), None);

        links.retire(&person, 1).await.unwrap();
        links.retire(&person, 2).await.unwrap();
        assert_eq!(links.retired().await.unwrap(), [(person, 2)]);
    })
    .await;
}

#[tokio::test]
async fn rooms_of_others_and_first_messages_are_known() {
    on_each(async |links| {
        let client = reference("Patient/1");
        // A stranger's text may hold anything.
        for pseudonym in ["a\0b", "c"] {
            links
                .note_guest_room(&room("g"), pseudonym, Some(&client))
                .await
                .unwrap();
        }
        links.note_guest_room(&room("g"), "d", None).await.unwrap();

        let (team, user) = (reference("CareTeam/1"), user_id!("@arts:x"));
        links
            .note_hung(&room("h"), &reference("CareTeam/2"), user)
            .await
            .unwrap();
        links.note_hung(&room("h"), &team, user).await.unwrap();
        let hung = links.hung(&room("h")).await.unwrap();
        assert_eq!(hung, Some((team, user.to_owned())));
        links.unhang(&room("h")).await.unwrap();
        assert_eq!(links.hung(&room("h")).await.unwrap(), None);

        assert!(!links.was_begun(&thread(1)).await.unwrap());
        links.note_begun(&thread(1), &event("a")).await.unwrap();
        links.note_begun(&thread(1), &event("b")).await.unwrap();
        assert!(links.was_begun(&thread(1)).await.unwrap());
        links.leave_room(&thread(1), &room("l")).await.unwrap();
        assert_eq!(links.leaving().await.unwrap()[0].room, room("l"));
    })
    .await;
}
