//! A conversation between a nurse, who writes in the record, and a GP with an ordinary Matrix client.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};
use testbed::{Appservice, Bridge, BridgeSetup, Client, Testbed};
use url::Url;

/// How long anything may take to come to the other side.
const PATIENCE: Duration = Duration::from_mins(2);

pub(crate) struct Place {
    pub(crate) bridge: Bridge,
    pub(crate) gp: Client,
    pub(crate) nurse: String,
    pub(crate) doctor: String,
    pub(crate) thread: String,
    pub(crate) room: String,
    pub(crate) bot: String,
    homeserver: Url,
    fhir: String,
    http: reqwest::Client,
    _appservice: Appservice,
    _folder: tempfile::TempDir,
}

impl Place {
    pub(crate) async fn open() -> Self {
        Self::open_with(|_| {}).await
    }

    /// `change` gets what the bridge is set up with.
    pub(crate) async fn open_with(change: impl FnOnce(&mut BridgeSetup)) -> Self {
        let testbed = Testbed::shared().await.unwrap();
        let appservice = testbed.appservice("bridge1").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let fhir = testbed.start_fhir().await.unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_fhir-bridge"));
        let mut setup = BridgeSetup::of(&appservice, program, folder.path(), fhir.clone());
        change(&mut setup);
        let gp = testbed
            .client("huisarts", &testbed::unique("arts"))
            .await
            .unwrap();
        let homeserver = testbed.homeserver("huisarts").unwrap().client_url().clone();
        // Fails when a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut place = Self {
            bridge: Bridge::start(testbed, setup).await.unwrap(),
            nurse: String::new(),
            doctor: String::new(),
            thread: String::new(),
            room: String::new(),
            bot: format!("@{}:vvt", appservice.sender_localpart),
            homeserver,
            fhir: fhir.as_str().trim_end_matches('/').to_owned(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            _appservice: appservice,
            _folder: folder,
            gp,
        };
        place.meet().await;
        place
    }

    async fn meet(&mut self) {
        let client = self.create(&json!({"resourceType": "Patient"})).await;
        let name = |family: &str| json!([{"family": family, "given": ["Vera"]}]);
        self.nurse = self
            .create(&json!({"resourceType": "Practitioner", "name": name("Verzinsel")}))
            .await;
        self.doctor = self
            .create(
                &json!({"resourceType": "Practitioner", "name": name("Denkbeeldig"), "telecom": [
                {"system": "other", "value": self.gp.user_id(), "extension": [{
                    "url": "http://hl7.org/fhir/StructureDefinition/contactpoint-purpose",
                    "valueString": "matrix-messaging"}]}]}),
            )
            .await;
        let member = |reference: &str| json!({"member": {"reference": reference}});
        let team = self
            .create(&json!({"resourceType": "CareTeam", "status": "active",
            "subject": {"reference": client},
            "participant": [member(&self.nurse), member(&self.doctor)]}))
            .await;
        self.thread = self
            .create(
                &json!({"resourceType": "CommunicationRequest", "status": "active",
            "subject": {"reference": client}, "requester": {"reference": self.nurse},
            "recipient": [{"reference": team}]}),
            )
            .await;
        for invite in self.gp.wait_for_invites(2, PATIENCE).await.unwrap() {
            self.gp.join(&invite.room_id).await.unwrap();
            let create = self
                .gp
                .state(&invite.room_id, "m.room.create")
                .await
                .unwrap();
            if create[0].content["type"] != "m.space" {
                self.room = invite.room_id;
            }
        }
        assert!(!self.room.is_empty(), "there is a room");
    }

    /// Polls until there is something.
    pub(crate) async fn until<T>(&self, what: &str, look: impl AsyncFn() -> Option<T>) -> T {
        let began = std::time::Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        let log = self.bridge.log_text().unwrap();
        let lines: Vec<&str> = log.lines().collect();
        let end = lines[lines.len().saturating_sub(40)..].join("\n");
        panic!("{what}: it never came\n{end}");
    }

    // The record.

    async fn fhir(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<&Value>,
    ) -> (u16, Value) {
        let mut request = self
            .http
            .request(method, format!("{}/{path}", self.fhir))
            .header("cache-control", "no-cache")
            .header("prefer", "return=representation");
        if let Some(body) = body {
            request = request
                .header("content-type", "application/fhir+json")
                .body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    pub(crate) async fn create(&self, resource: &Value) -> String {
        let kind = resource["resourceType"].as_str().unwrap();
        let (status, stored) = self.fhir(reqwest::Method::POST, kind, Some(resource)).await;
        assert_eq!(status, 201, "a new {kind}: {stored}");
        format!("{kind}/{}", stored["id"].as_str().unwrap())
    }

    /// Creates a resource of which each digit counts.
    pub(crate) async fn create_text(&self, kind: &str, text: String) -> String {
        let answer = self
            .http
            .post(format!("{}/{kind}", self.fhir))
            .header("content-type", "application/fhir+json")
            .header("prefer", "return=representation")
            .body(text)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 201, "a new {kind}");
        reference(&answer.json().await.unwrap())
    }

    /// A resource as the server writes it.
    pub(crate) async fn text_of(&self, reference: &str) -> String {
        let url = format!("{}/{reference}", self.fhir);
        let answer = self.http.get(url).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{reference}");
        answer.text().await.unwrap()
    }

    /// Whom the conversation is about.
    pub(crate) async fn client(&self) -> String {
        let thread = self.read(&self.thread).await;
        thread["subject"]["reference"].as_str().unwrap().to_owned()
    }

    /// What a search finds.
    pub(crate) async fn found(&self, path: &str) -> Vec<Value> {
        let (status, bundle) = self.fhir(reqwest::Method::GET, path, None).await;
        assert_eq!(status, 200, "{path}");
        let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
        entries
            .into_iter()
            .map(|entry| entry["resource"].clone())
            .collect()
    }

    pub(crate) async fn read(&self, reference: &str) -> Value {
        let (status, json) = self.fhir(reqwest::Method::GET, reference, None).await;
        assert_eq!(status, 200, "{reference}");
        json
    }

    pub(crate) async fn status(&self, reference: &str) -> u16 {
        self.fhir(reqwest::Method::GET, reference, None).await.0
    }

    /// Changes a resource as an application does, again if somebody was faster.
    pub(crate) async fn change(&self, reference: &str, change: impl Fn(&mut Value)) {
        loop {
            let mut json = self.read(reference).await;
            let version = json["meta"]["versionId"].as_str().unwrap().to_owned();
            change(&mut json);
            let answer = self
                .http
                .put(format!("{}/{reference}", self.fhir))
                .header("content-type", "application/fhir+json")
                .header("if-match", format!("W/\"{version}\""))
                .body(json.to_string())
                .send()
                .await
                .unwrap();
            match answer.status().as_u16() {
                200 => return,
                409 | 412 => {}
                status => panic!("{reference} can't be changed: {status}"),
            }
        }
    }

    /// Deletes a message; the tasks of its readers first, because the server keeps what is referred to.
    pub(crate) async fn delete_message(&self, reference: &str) {
        for owner in [&self.nurse, &self.doctor] {
            self.until("a task", async || self.tasks(reference, owner).await.pop())
                .await;
            for task in self.tasks(reference, owner).await {
                self.delete(&self::reference(&task)).await;
            }
        }
        self.delete(reference).await;
    }

    async fn delete(&self, reference: &str) {
        let (status, _) = self.fhir(reqwest::Method::DELETE, reference, None).await;
        assert!((200..300).contains(&status), "{status}");
    }

    /// The nurse writes; the message.
    pub(crate) async fn nurse_writes(&self, payload: Value) -> String {
        self.nurse_writes_with(payload, |_| {}).await
    }

    pub(crate) async fn nurse_writes_with(
        &self,
        payload: Value,
        change: impl FnOnce(&mut Value),
    ) -> String {
        let mut json = json!({
            "resourceType": "Communication", "status": "completed",
            "partOf": [{"reference": self.thread}], "sender": {"reference": self.nurse},
            "payload": payload,
        });
        change(&mut json);
        self.create(&json).await
    }

    /// All messages of the conversation in the record.
    pub(crate) async fn messages(&self) -> Vec<Value> {
        let path = format!("Communication?part-of={}&_count=500", self.thread);
        let (_, bundle) = self.fhir(reqwest::Method::GET, &path, None).await;
        let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
        entries
            .into_iter()
            .map(|entry| entry["resource"].clone())
            .collect()
    }

    pub(crate) async fn tasks(&self, message: &str, owner: &str) -> Vec<Value> {
        let path = format!("Task?focus={message}&owner={owner}");
        let (_, bundle) = self.fhir(reqwest::Method::GET, &path, None).await;
        let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
        entries
            .into_iter()
            .map(|entry| entry["resource"].clone())
            .collect()
    }

    /// The message that an event became, in the record, once it is there.
    pub(crate) async fn stored(&self, event: &str) -> Value {
        self.until("a message in the record", async || {
            let mut messages = self.messages().await;
            messages.retain(|message| event_ids(message).contains(&event.to_owned()));
            assert!(messages.len() < 2, "it is there once");
            messages.pop()
        })
        .await
    }

    /// The events that a message became, once the record names them.
    pub(crate) async fn sent(&self, message: &str, count: usize) -> Vec<String> {
        self.until("a message in the room", async || {
            let events = event_ids(&self.read(message).await);
            (events.len() >= count).then_some(events)
        })
        .await
    }

    pub(crate) async fn bytes_of(&self, reference: &str) -> Vec<u8> {
        let answer = self
            .http
            .get(format!("{}/{reference}", self.fhir))
            .header("accept", "application/octet-stream")
            .send()
            .await
            .unwrap();
        answer.bytes().await.unwrap().to_vec()
    }

    pub(crate) async fn put_bytes(&self, content_type: &str, bytes: Vec<u8>) -> String {
        let answer = self
            .http
            .post(format!("{}/Binary", self.fhir))
            .header("content-type", content_type)
            .header("accept", "application/fhir+json")
            .header("prefer", "return=representation")
            .body(bytes)
            .send()
            .await
            .unwrap();
        let location = answer.headers()["location"].to_str().unwrap().to_owned();
        let id = location
            .split("Binary/")
            .nth(1)
            .unwrap()
            .split('/')
            .next()
            .unwrap();
        format!("Binary/{id}")
    }

    // Matrix.

    pub(crate) async fn matrix(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        let mut request = self
            .http
            .request(method, self.homeserver.join(path).unwrap())
            .bearer_auth(&self.gp.user().access_token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    /// The GP says something; the event.
    pub(crate) async fn gp_says(&self, content: Value) -> String {
        self.gp
            .send(&self.room, "m.room.message", content)
            .await
            .unwrap()
    }

    pub(crate) async fn gp_redacts(&self, event: &str) {
        let path = format!(
            "_matrix/client/v3/rooms/{}/redact/{event}/{}",
            self.room,
            testbed::unique("txn")
        );
        let (status, answer) = self
            .matrix(reqwest::Method::PUT, &path, Some(json!({"reason": "typo"})))
            .await;
        assert_eq!(status, 200, "{answer}");
    }

    /// An event as the GP's homeserver has it now.
    pub(crate) async fn event(&self, event: &str) -> Option<Value> {
        let path = format!("_matrix/client/v3/rooms/{}/event/{event}", self.room);
        let (status, json) = self.matrix(reqwest::Method::GET, &path, None).await;
        (status == 200).then_some(json)
    }

    pub(crate) async fn wait_for_event(&self, event: &str) -> Value {
        self.until("an event", async || self.event(event).await)
            .await
    }

    /// The newest events of the room, as the GP's homeserver has them.
    pub(crate) async fn timeline(&self) -> Vec<testbed::Event> {
        self.gp.messages(&self.room, 200).await.unwrap()
    }

    /// The first event of the room for which this holds.
    pub(crate) async fn find(
        &self,
        what: &str,
        is: impl Fn(&testbed::Event) -> bool,
    ) -> testbed::Event {
        self.until(what, async || {
            self.timeline().await.into_iter().find(|event| is(event))
        })
        .await
    }

    pub(crate) async fn is_redacted(&self, event: &str) {
        self.until("a redaction", async || {
            let event = self.event(event).await?;
            event["content"]
                .as_object()
                .is_none_or(serde_json::Map::is_empty)
                .then_some(())
        })
        .await;
    }

    pub(crate) async fn upload(&self, content_type: &str, bytes: Vec<u8>) -> String {
        let answer = self
            .http
            .post(self.homeserver.join("_matrix/media/v3/upload").unwrap())
            .bearer_auth(&self.gp.user().access_token)
            .header("content-type", content_type)
            .body(bytes)
            .send()
            .await
            .unwrap();
        let answer: Value = answer.json().await.unwrap();
        answer["content_uri"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn download(&self, uri: &str) -> Vec<u8> {
        let path = format!(
            "_matrix/client/v1/media/download/{}",
            uri.strip_prefix("mxc://").unwrap()
        );
        let answer = self
            .http
            .get(self.homeserver.join(&path).unwrap())
            .bearer_auth(&self.gp.user().access_token)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        answer.bytes().await.unwrap().to_vec()
    }

    /// How many messages are on both sides: in the room those of the bridge and its ghosts, and those of the
    /// GP; in the record all.
    pub(crate) async fn count(&self) -> (usize, usize, usize) {
        let events = self.timeline().await;
        let said = events.iter().filter(|event| event.kind == "m.room.message");
        let (gp, ours): (Vec<_>, Vec<_>) =
            said.partition(|event| event.sender == self.gp.user_id());
        (ours.len(), gp.len(), self.messages().await.len())
    }

    /// Nothing comes any more: what the bridge wrote is not bridged back.
    pub(crate) async fn stays_the_same(&self) {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let before = self.count().await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(self.count().await, before);
    }
}

pub(crate) fn event_ids(message: &Value) -> Vec<String> {
    let none = Vec::new();
    message["identifier"]
        .as_array()
        .unwrap_or(&none)
        .iter()
        .filter(|identifier| identifier["system"] == "https://matrix.org/event-id")
        .map(|identifier| identifier["value"].as_str().unwrap().to_owned())
        .collect()
}

/// The reference of a resource.
pub(crate) fn reference(resource: &Value) -> String {
    format!(
        "{}/{}",
        resource["resourceType"].as_str().unwrap(),
        resource["id"].as_str().unwrap()
    )
}
