//! A message that is changed on both sides in the same millisecond.

use fhir::Instant;
use matrix_appservice::Registration;
use serde_json::{Value, json};
use testbed::{Appservice, Testbed};

use crate::place::{Place, reference};

/// Somebody with an account whose clock is ours: a user of another application service, which may say when an event was
/// written.
struct Colleague {
    user: String,
    token: String,
    http: reqwest::Client,
    appservice: Appservice,
}

impl Colleague {
    async fn arrive() -> Self {
        let testbed = Testbed::shared().await.unwrap();
        let appservice = testbed.appservice("sdk1").await.unwrap();
        let registration = Registration::load(&appservice.registration_path).unwrap();
        let localpart = testbed::unique(&appservice.user_prefix);
        let colleague = Self {
            user: format!("@{localpart}:vvt"),
            token: registration.as_token.expose().to_owned(),
            http: reqwest::Client::new(),
            appservice,
        };
        let account = json!({"type": "m.login.application_service", "username": localpart,
            "inhibit_login": true});
        colleague.post("register", "", &account).await;
        colleague
    }

    async fn post(&self, path: &str, query: &str, body: &Value) -> Value {
        self.call(reqwest::Method::POST, path, query, body).await
    }

    async fn call(&self, method: reqwest::Method, path: &str, query: &str, body: &Value) -> Value {
        let url = self.appservice.homeserver_url.join("/_matrix/client/v3/");
        let url = format!("{}{path}{query}", url.unwrap());
        let request = self.http.request(method, url).bearer_auth(&self.token);
        let answer = request.json(body).send().await.unwrap();
        let status = answer.status();
        let answer: Value = answer.json().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {answer}");
        answer
    }

    /// Joins, once there is an invitation.
    async fn join(&self, room: &str, place: &Place) {
        let url = self.appservice.homeserver_url.join("/_matrix/client/v3/");
        let url = format!("{}join/{room}?user_id={}", url.unwrap(), self.user);
        place
            .until("an invitation", async || {
                let request = self.http.post(&url).bearer_auth(&self.token);
                let answer = request.json(&json!({})).send().await.unwrap();
                answer.status().is_success().then_some(())
            })
            .await;
    }

    /// Says something at this time (ms).
    async fn says_at(&self, room: &str, at: u64, content: &Value) -> String {
        let txn = testbed::unique("txn");
        let path = format!("rooms/{room}/send/m.room.message/{txn}");
        let query = format!("?user_id={}&ts={at}", self.user);
        let sent = self.call(reqwest::Method::PUT, &path, &query, content);
        sent.await["event_id"].as_str().unwrap().to_owned()
    }
}

fn edit(event: &str, body: &str) -> Value {
    json!({
        "msgtype": "m.text", "body": format!("* {body}"),
        "m.new_content": {"msgtype": "m.text", "body": body},
        "m.relates_to": {"rel_type": "m.replace", "event_id": event},
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_same_millisecond_the_record_wins_and_the_loser_is_in_the_audit_trail() {
    let place = Place::open_with(|setup| {
        setup.config = Some(json!({"audit": {"sink": "fhir"}}));
    })
    .await;
    let colleague = Colleague::arrive().await;
    let person = json!({"resourceType": "Practitioner",
        "telecom": [{"system": "other", "value": colleague.user}]});
    let person = place.create(&person).await;
    place
        .change(&place.thread, |json| {
            let recipients = json["recipient"].as_array_mut().unwrap();
            recipients.push(json!({"reference": person}));
        })
        .await;
    colleague.join(&place.room, &place).await;

    let long_ago = 1_700_000_000_000;
    let text = json!({"msgtype": "m.text", "body": "as written"});
    let event = colleague.says_at(&place.room, long_ago, &text).await;
    let message = reference(&place.stored(&event).await);
    place
        .change(&message, |json| {
            json["payload"][0]["contentString"] = "as amended".into();
        })
        .await;
    let stored = place.read(&message).await;
    let at = stored["meta"]["lastUpdated"].as_str().unwrap();
    let at = Instant::parse(at).unwrap().unix_millis();
    let tells = |one: &testbed::Event| {
        one.sender == place.bot
            && one.content["m.relates_to"]["m.in_reply_to"]["event_id"] == event.as_str()
            && one.body().ends_with("as amended")
    };
    let first = place.find("the record's word in the room", tells).await;

    // At the very same time: the record's word stands, and is said below the edit instead.
    let rewritten = edit(&event, "as rewritten");
    let lost = colleague.says_at(&place.room, at, &rewritten).await;
    let second = place
        .find("the record's word once more", |one| {
            tells(one) && one.event_id != first.event_id
        })
        .await;
    place.is_redacted(&first.event_id).await;
    let audit = format!("AuditEvent?entity={message}&_count=100");
    let loser = place
        .until("the loser in the audit trail", async || {
            let all = place.found(&audit).await;
            all.into_iter().find(|one| one.to_string().contains(&lost))
        })
        .await;
    assert_eq!(loser["subtype"][0]["code"], "left-out");
    assert_eq!(loser["outcomeDesc"], "a later change of the same message");
    assert!(!loser.to_string().contains("as rewritten"), "no content");
    let now = place.read(&message).await;
    assert_eq!(now["payload"][0]["contentString"], "as amended");

    // A millisecond later the writer has the last word.
    let later = edit(&event, "as settled");
    colleague.says_at(&place.room, at + 1, &later).await;
    place
        .until("the writer's last word", async || {
            let now = place.read(&message).await;
            (now["payload"][0]["contentString"] == "as settled").then_some(())
        })
        .await;
    place.is_redacted(&second.event_id).await;
    place.stays_the_same().await;
    assert!(!place.timeline().await.iter().any(tells));
    place.bridge.stop().await;
}
