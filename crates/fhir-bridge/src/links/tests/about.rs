//! What belongs to whom or what, as an export gathers it.

use matrix_appservice::ruma::user_id;

use super::{
    super::{NewMessage, State},
    event, on_each, reference, room, thread,
};

#[tokio::test]
async fn each_id_leads_to_what_belongs_to_it_and_to_nothing_else() {
    on_each(async |links| {
        let [team, client, message, person, colleague] = [
            "CareTeam/1",
            "Patient/1",
            "Communication/1",
            "Practitioner/1",
            "Practitioner/2",
        ]
        .map(reference);
        let user = user_id!("@arts:huisarts");
        links.link_room(&team, &room("space")).await.unwrap();
        links.link_room(&thread(1), &room("a")).await.unwrap();
        links.link_room(&thread(2), &room("b")).await.unwrap();
        let depends = [team.clone(), client.clone(), person.clone()];
        links.depend(&thread(1), &depends).await.unwrap();
        let new = NewMessage {
            resource: &message,
            room: &room("a"),
            sender: user,
            from_matrix: true,
            state: State::Live,
            fingerprint: "f",
            changed_at: 1,
        };
        links.add_message(&new).await.unwrap();
        links
            .link_part(&message, 0, &event("a"), "f")
            .await
            .unwrap();
        links
            .add_edit(&message, &event("edit"), &event("a"))
            .await
            .unwrap();
        links.link_person(user, &person).await.unwrap();
        let own = user_id!("@other:apotheek");
        let identity = links.set_identity(&colleague, Some(own), None);
        identity.await.unwrap();
        links
            .unlink_room(&thread(2), &room("b"), false)
            .await
            .unwrap();

        for (of, has, has_not) in [
            ("CareTeam/1", "!space:x", "!b:x"),
            ("CareTeam/1", "CommunicationRequest/1", "Practitioner/1"),
            ("CareTeam/1", "Communication/1", "CommunicationRequest/2"),
            ("CareTeam/1", "$a", "!b:x"),
            ("Patient/1", "!a:x", "!space:x"),
            ("CommunicationRequest/1", "!a:x", "CareTeam/1"),
            ("CommunicationRequest/2", "!b:x", "!a:x"),
            ("!a:x", "CommunicationRequest/1", "CommunicationRequest/2"),
            ("!a:x", "Communication/1", "CommunicationRequest/2"),
            ("$a", "Communication/1", "CommunicationRequest/1"),
            ("$edit", "Communication/1", "CommunicationRequest/1"),
            ("Communication/1", "$a", "CommunicationRequest/1"),
            ("@arts:huisarts", "Practitioner/1", "Practitioner/2"),
            ("Practitioner/1", "@arts:huisarts", "CommunicationRequest/1"),
            ("Practitioner/2", "@other:apotheek", "@arts:huisarts"),
        ] {
            let about = links.about(&[of.to_owned()]).await.unwrap();
            assert!(about.has(of) && about.has(has), "{of}: {has} is missing");
            assert!(!about.has(has_not), "{of}: {has_not} is none of it");
        }
    })
    .await;
}
