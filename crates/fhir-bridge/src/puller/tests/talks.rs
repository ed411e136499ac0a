//! What messages remember of their conversation, and when they don't.

use fhir::Instant;

use super::*;
use crate::{
    directory::{cache::Cache, watch},
    thread::talk::LIVES,
};

/// Longer than any test.
const LONG: Option<Duration> = Some(Duration::from_hours(1));

struct Talking {
    bridge: Bridge,
    journal: Journal,
    stub: FhirStub,
    team: String,
    thread: ResourceRef,
    _folder: tempfile::TempDir,
}

fn member(person: &str) -> Value {
    json!({"member": {"reference": person}})
}

impl Talking {
    /// A conversation of a care team of two, remembered for so long, else for as long as always.
    async fn begin(lives: Option<Duration>) -> Self {
        let stub = FhirStub::start().await.unwrap();
        for id in ["a", "b", "c"] {
            let _ = stub.put(json!({
                "resourceType": "Practitioner", "id": id,
                "telecom": [{"system": "other", "value": format!("@{id}:huisarts")}],
            }));
        }
        let team = stub.put(json!({
            "resourceType": "CareTeam", "status": "active",
            "participant": [member("Practitioner/a"), member("Practitioner/b")],
        }));
        let thread = stub.put(json!({
            "resourceType": "CommunicationRequest", "status": "active",
            "recipient": [{"reference": team}],
        }));
        let folder = tempfile::tempdir().unwrap();
        let mut bridge = bridge(folder.path(), &stub).await;
        if let Some(lives) = lives {
            bridge.talks = Cache::new(lives, 10);
        }
        let talking = Self {
            bridge,
            journal: Journal::in_memory().await.unwrap(),
            thread: ResourceRef::parse(&thread).unwrap(),
            stub,
            team,
            _folder: folder,
        };
        talking.pull().await;
        talking
    }

    async fn pull(&self) {
        for resource_type in types(Threads::CommunicationRequest) {
            while pull(&self.bridge, &self.journal, &resource_type)
                .await
                .unwrap()
            {}
        }
    }

    /// Changes a resource behind the bridge's back.
    fn change(&self, resource: &str, change: impl FnOnce(&mut Value)) {
        let mut json = self.stub.get(resource).unwrap();
        change(&mut json);
        let _ = self.stub.put(json);
    }

    /// The ids of those who have to read what is said now.
    async fn readers(&self) -> Vec<String> {
        let talk = self.bridge.talk(&self.thread).await.unwrap().unwrap();
        let ids = talk.readers.iter().map(|one| one.person.id().to_owned());
        ids.collect()
    }

    async fn team_now(&self) -> Vec<String> {
        let team = ResourceRef::parse(&self.team).unwrap();
        let now = self.bridge.read_team_now(&team).await.unwrap().unwrap();
        let members = now.roster.members.iter();
        members
            .map(|one| one.person.reference.id().to_owned())
            .collect()
    }
}

#[tokio::test]
async fn what_many_say_at_once_asks_once_who_reads_it_until_a_change_is_read() {
    let talking = Box::pin(Talking::begin(LONG)).await;
    assert_eq!(talking.readers().await, ["a", "b"]);
    let _ = talking.stub.take_seen();
    assert_eq!(talking.readers().await, ["a", "b"]);
    assert_eq!(talking.stub.take_seen(), [], "it is remembered");

    // Whoever comes or goes does so with the change, of the care team or of the conversation.
    talking.change(&talking.team, |team| {
        team["participant"] = json!([member("Practitioner/b"), member("Practitioner/c")]);
    });
    talking.pull().await;
    assert_eq!(talking.readers().await, ["b", "c"]);
    talking.change(&talking.thread.to_string(), |thread| {
        thread["recipient"] = json!([{"reference": "Practitioner/a"}]);
    });
    talking.pull().await;
    assert_eq!(talking.readers().await, ["a"]);
    talking.stub.delete(&talking.thread.to_string());
    talking.pull().await;
    let gone = talking.bridge.talk(&talking.thread).await.unwrap();
    assert!(gone.is_none());
}

#[tokio::test]
async fn what_the_bridge_writes_about_members_itself_is_not_overlooked() {
    let talking = Box::pin(Talking::begin(LONG)).await;
    let (bridge, team) = (&talking.bridge, ResourceRef::parse(&talking.team).unwrap());
    let [a, c] =
        ["Practitioner/a", "Practitioner/c"].map(|person| ResourceRef::parse(person).unwrap());
    assert_eq!(talking.readers().await, ["a", "b"]);
    bridge.add_to_record(&talking.thread, &c).await.unwrap();
    let mut readers = talking.readers().await;
    readers.sort_unstable();
    assert_eq!(readers, ["a", "b", "c"]);
    bridge.take_from_record(&talking.thread, &c).await.unwrap();
    assert_eq!(talking.readers().await, ["a", "b"]);
    bridge.take_from_record(&team, &a).await.unwrap();
    assert_eq!(talking.readers().await, ["b"]);
    bridge.add_to_record(&team, &c).await.unwrap();
    assert_eq!(talking.readers().await, ["b", "c"]);
}

#[tokio::test]
async fn who_has_no_account_any_more_has_none_when_the_change_is_read() {
    let talking = Box::pin(Talking::begin(LONG)).await;
    let bridge = &talking.bridge;
    let users = async || {
        let talk = bridge.talk(&talking.thread).await.unwrap().unwrap();
        let users: Vec<_> = talk
            .readers
            .iter()
            .map(|one| one.user.to_string())
            .collect();
        users.join(" ")
    };
    assert_eq!(users().await, "@a:huisarts @b:huisarts");
    talking.change("Practitioner/b", |person| person["telecom"] = json!([]));
    assert_eq!(users().await, "@a:huisarts @b:huisarts", "remembered");
    // The stand-in has a clock of its own.
    let long_ago = ("directory/Practitioner", "2000-01-01T00:00:00Z");
    bridge.journal.append(&[], Some(long_ago)).await.unwrap();
    watch::look(bridge, &ResourceType::Practitioner)
        .await
        .unwrap();
    assert_eq!(
        users().await,
        "@a:huisarts @_fhir_bridge_practitioner_b:vvt"
    );
}

#[tokio::test]
async fn who_is_let_in_is_never_remembered() {
    let talking = Box::pin(Talking::begin(LONG)).await;
    assert_eq!(talking.readers().await, ["a", "b"]);
    assert_eq!(talking.team_now().await, ["a", "b"]);
    talking.change(&talking.team, |team| {
        team["participant"] = json!([member("Practitioner/b")]);
    });
    // No change was read yet: a message may still be thought to be for somebody who has gone, a room isn't.
    assert_eq!(talking.readers().await, ["a", "b"]);
    assert_eq!(talking.team_now().await, ["b"]);
    let now = talking.bridge.read_talk(&talking.thread).await;
    assert_eq!(now.unwrap().unwrap().readers.len(), 1);
}

#[tokio::test]
async fn what_no_change_was_read_of_is_seen_soon_all_the_same() {
    let talking = Box::pin(Talking::begin(None)).await;
    assert_eq!(talking.readers().await, ["a", "b"]);
    talking.change(&talking.team, |team| {
        team["participant"] = json!([member("Practitioner/b")]);
    });
    let seen = async {
        while talking.readers().await != ["b"] {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(10 * LIVES, seen).await.unwrap();
}

#[tokio::test]
async fn what_is_about_to_end_by_itself_is_not_remembered() {
    let talking = Box::pin(Talking::begin(LONG)).await;
    for (ends_in, asks) in [(1_900, true), (60_000, false)] {
        let end = Instant::from_unix_millis(Instant::now().unix_millis() + ends_in).unwrap();
        talking.change(&talking.team, |team| {
            team["participant"][0]["period"] = json!({"end": end.to_string()});
        });
        talking.pull().await;
        talking.readers().await;
        let _ = talking.stub.take_seen();
        talking.readers().await;
        assert_eq!(!talking.stub.take_seen().is_empty(), asks, "{ends_in} ms");
    }
}
