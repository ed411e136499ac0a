//! The client against a real server: HAPI FHIR.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{collections::BTreeSet, time::Duration};

use fhir::{
    ChangeKind, Condition, Created, Edit, Error, FhirClient, HistoryQuery, Identifier, Instant,
    Modified, NewCommunication, ResourceRef, ResourceType, RestHook, Sender, SubscriptionStatus,
    event_identifiers, search_token, with_event_identifier,
};
use serde_json::{Value, json};
use testbed::{FhirServer, Testbed};

const TYPE: ResourceType = ResourceType::Communication;
const KEY_SYSTEM: &str = "https://test.example/key";

/// One server for all of it: it takes seconds to start.
#[tokio::test]
async fn a_real_server_does_what_the_client_builds_on() -> anyhow::Result<()> {
    let testbed = Testbed::builder().fhir(FhirServer::Hapi).start().await?;
    let client = FhirClient::builder(testbed.fhir_url().unwrap().as_ref()).build()?;

    it_says_what_it_is(&client).await?;
    let thread = a_thread(&client).await?;
    a_message_is_stored_once(&client, &thread).await?;
    concurrent_creates_leave_one(&client, &thread).await?;
    concurrent_modifications_are_all_kept(&client, &thread).await?;
    what_is_refused_is_told_without_contents(&client, &thread).await?;
    the_history_is_read_in_parts_without_gaps(&client, &thread).await?;
    a_deletion_is_in_the_history(&client, &thread).await?;
    a_subscription_begins_and_begins_again(&client).await?;
    testbed.stop().await;
    Ok(())
}

async fn it_says_what_it_is(client: &FhirClient) -> anyhow::Result<()> {
    let server = client.capability().await?;
    assert!(
        server.is_r4() && server.offers_subscriptions(),
        "{server:?}"
    );
    assert!(server.offers(&TYPE, "history-type"));
    Ok(())
}

async fn create(client: &FhirClient, mut json: Value, key: &str) -> Result<Created, Error> {
    let identifier = Identifier {
        system: Some(KEY_SYSTEM.into()),
        value: key.into(),
    };
    json["identifier"] = json!([{"system": KEY_SYSTEM, "value": key}]);
    client
        .create_if_none_exist(&json, &Condition::identifier(identifier))
        .await
}

async fn a_thread(client: &FhirClient) -> anyhow::Result<NewCommunication> {
    let nurse = json!({"resourceType": "Practitioner", "name": [{"text": "A. Test"}],
        "telecom": [{"system": "other", "value": "@a.test:vvt.example"}]});
    let nurse = create(client, nurse, "nurse-1").await?;
    let thread = json!({"resourceType": "CommunicationRequest", "status": "active"});
    let thread = create(client, thread, "thread-1").await?;
    let found = client
        .search(
            &ResourceType::Practitioner,
            &[("telecom", "@a.test:vvt.example")],
            10,
        )
        .await?;
    assert_eq!(found.resources[0].reference, nurse.reference);
    Ok(NewCommunication {
        part_of: Some(thread.reference),
        in_response_to: None,
        subject: None,
        sender: Sender::Known(nurse.reference.into()),
        recipients: Vec::new(),
        sent: Instant::parse("2026-11-21T10:00:00.100+01:00").unwrap(),
        payload: vec![fhir::NewPayload::Text("Hello \u{1F600}\nline 2".into())],
        event_id: "$0".into(),
    })
}

fn message(thread: &NewCommunication, event_id: &str) -> NewCommunication {
    NewCommunication {
        event_id: event_id.into(),
        ..thread.clone()
    }
}

async fn store(client: &FhirClient, message: &NewCommunication) -> Result<Created, Error> {
    client
        .create_if_none_exist(&message.to_json().unwrap(), &message.condition())
        .await
}

async fn a_message_is_stored_once(
    client: &FhirClient,
    thread: &NewCommunication,
) -> anyhow::Result<()> {
    let mut message = message(thread, "$once:vvt.example");
    message.sender = Sender::MatrixUser {
        user_id: "@b.test:huisarts.example".into(),
        display: Some("B. Test".into()),
    };
    let first = store(client, &message).await?;
    assert!(!first.was_there);
    assert_eq!(first.version_id.as_deref(), Some("1"));
    let second = store(client, &message).await?;
    assert_eq!(
        (second.was_there, &second.reference),
        (true, &first.reference)
    );

    let stored = client.read(&first.reference).await?.unwrap();
    let read = fhir::Communication::from_json(&stored.json, client.base())?;
    assert_eq!(
        read.part_of_a(&fhir::ResourceType::CommunicationRequest),
        message.part_of.as_ref()
    );
    assert_eq!(
        read.payload,
        [fhir::Payload::Text("Hello \u{1F600}\nline 2".into())]
    );
    assert_eq!(read.sent, Some(message.sent.clone()));
    assert!(read.is_from_matrix());

    for identifier in event_identifiers(&message.event_id) {
        let token = search_token(identifier.system.as_deref(), &identifier.value);
        let found = client.search(&TYPE, &[("identifier", &token)], 10).await?;
        assert_eq!(found.resources.len(), 1, "{:?}", identifier.system);
    }
    let part_of = message.part_of.as_ref().unwrap().to_string();
    let found = client.search(&TYPE, &[("part-of", &part_of)], 10).await?;
    assert_eq!(found.resources.len(), 1);
    Ok(())
}

async fn concurrent_creates_leave_one(
    client: &FhirClient,
    thread: &NewCommunication,
) -> anyhow::Result<()> {
    for round in 0..10 {
        let message = message(thread, &format!("$together-{round}"));
        let results = tokio::join!(
            store(client, &message),
            store(client, &message),
            store(client, &message),
        );
        let stored = [results.0?, results.1?, results.2?];
        let distinct: BTreeSet<_> = stored.iter().map(|s| &s.reference).collect();
        assert_eq!(distinct.len(), 1);
        assert_eq!(stored.iter().filter(|s| !s.was_there).count(), 1);
    }
    Ok(())
}

async fn concurrent_modifications_are_all_kept(
    client: &FhirClient,
    thread: &NewCommunication,
) -> anyhow::Result<()> {
    let reference = store(client, &message(thread, "$modified"))
        .await?
        .reference;
    let add = async |event_id: &str| {
        client
            .modify(
                &reference,
                &mut |json| match with_event_identifier(json, event_id) {
                    Ok(true) => Edit::Changed,
                    _ => Edit::Unchanged,
                },
            )
            .await
    };
    let (a, b, c) = tokio::join!(add("$a"), add("$b"), add("$c"));
    for modified in [a?, b?, c?] {
        assert!(
            matches!(modified, Modified::Stored(Some(_))),
            "{modified:?}"
        );
    }
    assert!(matches!(add("$a").await?, Modified::Unchanged(Some(_))));
    let stored = client.read(&reference).await?.unwrap();
    let read = fhir::Communication::from_json(&stored.json, client.base())?;
    let events: BTreeSet<_> = read.event_ids().collect();
    assert_eq!(events, BTreeSet::from(["$a", "$b", "$c", "$modified"]));

    let error = client.update(&stored.json, Some("1")).await.unwrap_err();
    assert!(matches!(error, Error::VersionConflict { .. }), "{error}");
    let missing = ResourceRef::parse("Communication/none").unwrap();
    assert_eq!(client.read(&missing).await?, None);
    assert_eq!(
        client.modify(&missing, &mut |_| Edit::Changed).await?,
        Modified::Gone
    );
    Ok(())
}

async fn what_is_refused_is_told_without_contents(
    client: &FhirClient,
    thread: &NewCommunication,
) -> anyhow::Result<()> {
    let mut message = message(thread, "$refused");
    message.recipients = vec![ResourceRef::parse("Practitioner/Canarina").unwrap().into()];
    let error = store(client, &message).await.unwrap_err();
    assert!(
        matches!(error, Error::Rejected { status: 400, .. }),
        "{error}"
    );
    let search = client
        .search(&TYPE, &[("no-such-parameter", "Canarina")], 10)
        .await;
    let text = format!("{error} {error:?} {search:?}");
    assert!(search.is_err() && !text.contains("Canarina"), "{text}");
    Ok(())
}

async fn the_history_is_read_in_parts_without_gaps(
    client: &FhirClient,
    thread: &NewCommunication,
) -> anyhow::Result<()> {
    let mut expected = BTreeSet::new();
    for n in 0..30 {
        expected.insert(
            store(client, &message(thread, &format!("$part-{n}")))
                .await?
                .reference,
        );
    }
    let whole = client
        .history_since(&TYPE, &HistoryQuery::since(None))
        .await?;
    assert!(whole.is_history && !whole.more && whole.odd.is_empty());
    let mut query = HistoryQuery {
        max_changes: 7,
        page_size: 5,
        overlap: Duration::from_millis(20),
        ..HistoryQuery::since(None)
    };
    let mut seen = Vec::new();
    let mut parts = 0;
    loop {
        let part = client.history_since(&TYPE, &query).await?;
        for change in part.changes {
            if !seen.contains(&change) {
                seen.push(change);
            }
        }
        query.since = part.cursor;
        parts += 1;
        if !part.more {
            break;
        }
    }
    assert!(parts > 4, "{parts}");
    assert_eq!(seen, whole.changes);
    let read: BTreeSet<_> = seen.into_iter().map(|c| c.reference).collect();
    assert!(read.is_superset(&expected));

    let query = HistoryQuery {
        page_size: 5,
        ..HistoryQuery::since(None)
    };
    let current = client.current_since(&TYPE, &query).await?;
    let now = current.server_time.clone().expect("HAPI tells its time");
    assert!(current.cursor.is_some_and(|cursor| cursor <= now));
    let current: BTreeSet<_> = current.changes.into_iter().map(|c| c.reference).collect();
    assert_eq!(current, read);
    assert_eq!(
        client.count(&TYPE).await?,
        u64::try_from(current.len()).ok()
    );
    Ok(())
}

async fn a_deletion_is_in_the_history(
    client: &FhirClient,
    thread: &NewCommunication,
) -> anyhow::Result<()> {
    let since = client
        .history_since(&TYPE, &HistoryQuery::since(None))
        .await?
        .cursor;
    let created = store(client, &message(thread, "$deleted")).await?;
    client.delete(&created.reference).await?;
    assert_eq!(client.read(&created.reference).await?, None);
    let changes = client
        .history_since(&TYPE, &HistoryQuery::since(since))
        .await?;
    let mine: Vec<_> = changes
        .changes
        .iter()
        .filter(|c| c.reference == created.reference)
        .collect();
    assert_eq!(mine.len(), 2);
    assert!(matches!(mine[0].kind, ChangeKind::Put(_)));
    assert_eq!(
        (&mine[1].kind, mine[1].version_id.as_str()),
        (&ChangeKind::Deleted, "2")
    );
    Ok(())
}

async fn a_subscription_begins_and_begins_again(client: &FhirClient) -> anyhow::Result<()> {
    let hook = RestHook {
        criteria: "Communication?".into(),
        endpoint: "http://127.0.0.1:9/hooks/a-secret".to_owned().into(),
        bearer: "a-token".to_owned().into(),
        topic: None,
        lifetime: None,
    };
    let first = client.ensure_subscription(&hook).await?;
    let becomes_active = async || {
        for _ in 0..100 {
            let state = client.ensure_subscription(&hook).await?;
            assert_eq!(state.reference, first.reference);
            if state.status == SubscriptionStatus::Active {
                return anyhow::Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::bail!("not active after 5 s")
    };
    becomes_active().await?;
    client
        .modify(&first.reference, &mut |json| {
            json["status"] = "off".into();
            Edit::Changed
        })
        .await?;
    assert_eq!(
        client.ensure_subscription(&hook).await?.status,
        SubscriptionStatus::Requested
    );
    becomes_active().await?;
    // It has no `$status`, which must not count as a failure.
    assert_eq!(client.subscription_status(&first.reference).await?, None);
    client.restart_subscription(&first.reference).await?;
    becomes_active().await?;
    assert_eq!(client.remove_subscription(&hook).await?, 1);
    assert_eq!(client.remove_subscription(&hook).await?, 0);
    Ok(())
}
