//! The notifications of the official examples of R4B and R5 (`hl7.fhir.r4b.examples` 4.3.0, `hl7.fhir.r5.examples` 5.0.0,
//! CC0), without their narrative and the resources that they carry, and the R4B ones in the form of R4.

use fhir::{Notification, NotificationKind, SubscriptionStatus};
use serde_json::Value;

const EXAMPLES: &str = include_str!("notifications.ndjson");

#[test]
fn the_official_examples_of_all_versions_are_understood() {
    let mut seen = 0;
    for line in EXAMPLES.lines() {
        let example: Value = serde_json::from_str(line).unwrap();
        let (version, bundle) = (&example["fhir"], &example["bundle"]);
        let read = Notification::parse(bundle.to_string().as_bytes()).unwrap();
        let about = format!("{version} {}", bundle["id"]);
        assert_ne!(read.kind, NotificationKind::Unrecognized, "{about}");
        let (status, events, newest) = match read.kind {
            NotificationKind::Handshake => (SubscriptionStatus::Requested, 0, Some(0)),
            NotificationKind::Heartbeat | NotificationKind::QueryStatus => {
                (SubscriptionStatus::Active, 0, Some(310))
            }
            NotificationKind::QueryEvent if version == "r5" => {
                (SubscriptionStatus::Active, 2, Some(310))
            }
            NotificationKind::QueryEvent => (SubscriptionStatus::Active, 2, Some(2)),
            _ if read.newest_event() == Some(328) => (SubscriptionStatus::Error, 1, Some(328)),
            _ => (SubscriptionStatus::Active, 1, Some(2)),
        };
        assert_eq!(read.status, Some(status), "{about}");
        assert_eq!(read.event_numbers.len(), events, "{about}");
        assert_eq!(read.newest_event(), newest, "{about}");
        seen += 1;
    }
    assert_eq!(seen, 28);
}

#[test]
fn what_is_no_notification_is_none() {
    for body in [
        "",
        "{",
        "null",
        "[]",
        r#"{"resourceType": "Communication", "status": "completed", "id": "1"}"#,
        r#"{"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Patient"}}]}"#,
        r#"{"resourceType": "Bundle", "entry": "x"}"#,
        r#"{"resourceType": "Parameters", "parameter": [{"name": "x", "valueString": "y"}]}"#,
    ] {
        assert_eq!(Notification::parse(body.as_bytes()), None, "{body}");
    }
    let odd = r#"{"resourceType": "SubscriptionStatus", "type": 7, "status": {}, "notificationEvent": [{}, 3,
        {"eventNumber": -1}], "eventsSinceSubscriptionStart": "many"}"#;
    let read = Notification::parse(odd.as_bytes()).unwrap();
    assert_eq!(read.kind, NotificationKind::Unrecognized);
    assert_eq!(read.newest_event(), None);
}
