//! A long conversation between three organisations, while each part of the network fails in turn.
//!
//! `CONVERSATION_MESSAGES` says how many messages it has at the least (default 60), `CONVERSATION_OUTAGE_SECONDS` how
//! long whatever fails is away (default 4).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails; what it prints helps when it does"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use testbed::{Bridge, BridgeSetup, Client, FhirServer, Testbed, unique};
use url::Url;

/// How long nothing may come to the other side while something is missing there.
const PATIENCE: Duration = Duration::from_mins(8);
/// The pause between two looks at what is on all sides; each of them reads everything.
const LOOK: Duration = Duration::from_secs(5);
/// The pause between two messages of one person.
const PACE: Duration = Duration::from_millis(500);
/// The pause before somebody tries again whose server is away.
const AGAIN: Duration = Duration::from_millis(500);
/// As the bridge writes it into the record.
const EVENT_ID: &str = "https://matrix.org/event-id";

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |value| value.parse().unwrap())
}

/// The record, as an application sees it that knows nothing of Matrix.
struct Record {
    http: reqwest::Client,
    base: String,
}

impl Record {
    async fn create(&self, resource: &Value) -> String {
        let kind = resource["resourceType"].as_str().unwrap();
        let answer = self.post(kind, resource, None).await.unwrap();
        format!("{kind}/{}", answer["id"].as_str().unwrap())
    }

    async fn post(&self, kind: &str, body: &Value, once: Option<&str>) -> Option<Value> {
        let mut request = self.http.post(format!("{}/{kind}", self.base));
        if let Some(once) = once {
            request = request.header("if-none-exist", once);
        }
        let request = request
            .header("content-type", "application/fhir+json")
            .header("prefer", "return=representation")
            .timeout(Duration::from_secs(20))
            .body(body.to_string());
        read(request.send().await).await
    }

    /// All messages of a conversation.
    async fn messages(&self, thread: &str) -> Option<Vec<Value>> {
        let mut url = format!("{}/Communication?part-of={thread}&_count=200", self.base);
        let mut all = Vec::new();
        loop {
            let page = self.http.get(&url).header("cache-control", "no-cache");
            let page: Value = page.send().await.ok()?.json().await.ok()?;
            let entries = page["entry"].as_array().cloned().unwrap_or_default();
            all.extend(entries.into_iter().map(|entry| entry["resource"].clone()));
            let next = page["link"].as_array().cloned().unwrap_or_default();
            let next = next.iter().find(|link| link["relation"] == "next");
            match next.and_then(|link| link["url"].as_str()) {
                Some(next) => next.clone_into(&mut url),
                None => return Some(all),
            }
        }
    }
}

/// A success; what is refused is told.
async fn read(answer: reqwest::Result<reqwest::Response>) -> Option<Value> {
    let answer = answer.ok()?;
    let (status, path) = (answer.status(), answer.url().path().to_owned());
    let body: Value = answer.json().await.ok()?;
    if !status.is_success() {
        println!("    {status} to {path}: {body}");
        return None;
    }
    Some(body)
}

/// Somebody with a Matrix account and a client that tries until it works.
struct Person {
    http: reqwest::Client,
    url: Url,
    token: String,
    id: String,
    room: String,
}

impl Person {
    fn of(testbed: &Testbed, homeserver: &str, client: &Client, room: String) -> Self {
        Self {
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            url: testbed.homeserver(homeserver).unwrap().client_url().clone(),
            token: client.user().access_token.clone(),
            id: client.user_id().to_owned(),
            room,
        }
    }

    async fn ask(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> Option<Value> {
        let path = format!("_matrix/client/v3/rooms/{}/{path}", self.room);
        let mut request = self
            .http
            .request(method, self.url.join(&path).unwrap())
            .bearer_auth(&self.token)
            .timeout(Duration::from_secs(30));
        if let Some(body) = body {
            request = request.json(&body);
        }
        read(request.send().await).await
    }

    /// Says something once: a homeserver that was restarted has forgotten what it was asked before.
    async fn say(&self, text: &str) {
        let path = format!("send/m.room.message/{}", unique("txn"));
        let content = json!({"msgtype": "m.text", "body": text});
        while self
            .ask(reqwest::Method::PUT, &path, Some(content.clone()))
            .await
            .is_none()
        {
            loop {
                tokio::time::sleep(AGAIN).await;
                let recent = self.ask(reqwest::Method::GET, "messages?dir=b&limit=30", None);
                if let Some(recent) = recent.await {
                    let recent = recent["chunk"].as_array().unwrap();
                    if recent.iter().any(|event| event["content"]["body"] == text) {
                        return;
                    }
                    break;
                }
            }
        }
    }

    /// Sender and text of all messages, oldest first, as this homeserver shows them.
    async fn reads(&self) -> Option<Vec<(String, String)>> {
        let mut said = Vec::new();
        let mut from = String::new();
        loop {
            let path = format!("messages?dir=b&limit=100{from}");
            let page = self.ask(reqwest::Method::GET, &path, None).await?;
            for event in page["chunk"].as_array()? {
                if let Some(body) = event["content"]["body"].as_str() {
                    let sender = event["sender"].as_str()?;
                    said.push((sender.to_owned(), body.to_owned()));
                }
            }
            match page["end"].as_str() {
                Some(end) => from = format!("&from={end}"),
                None => break,
            }
        }
        said.reverse();
        Some(said)
    }
}

/// Everybody, and where they meet.
struct Meeting {
    record: Record,
    nurse: String,
    thread: String,
    people: [Person; 2],
}

impl Meeting {
    async fn begin(testbed: &Testbed) -> Self {
        let base = testbed.fhir_url().unwrap().to_string();
        let record = Record {
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            base: base.trim_end_matches('/').to_owned(),
        };
        let name = json!([{"family": "Verzinsel", "given": ["Vera"]}]);
        let practitioner = |user: Option<&str>| {
            let mut json = json!({"resourceType": "Practitioner", "name": name});
            if let Some(user) = user {
                json["telecom"] = json!([{"system": "other", "value": user, "extension": [{
                    "url": "http://hl7.org/fhir/StructureDefinition/contactpoint-purpose",
                    "valueString": "matrix-messaging"}]}]);
            }
            json
        };
        let gp = testbed.client("huisarts", &unique("arts")).await.unwrap();
        let pharmacist = testbed
            .client("apotheek", &unique("apotheker"))
            .await
            .unwrap();
        let nurse = record.create(&practitioner(None)).await;
        let mut participants = vec![json!({"member": {"reference": nurse}})];
        for user in [gp.user_id(), pharmacist.user_id()] {
            let person = record.create(&practitioner(Some(user))).await;
            participants.push(json!({"member": {"reference": person}}));
        }
        let team =
            json!({"resourceType": "CareTeam", "status": "active", "participant": participants});
        let team = record.create(&team).await;
        let thread = json!({"resourceType": "CommunicationRequest", "status": "active",
            "requester": {"reference": nurse}, "recipient": [{"reference": team}]});
        let thread = record.create(&thread).await;
        let mut rooms = Vec::new();
        for client in [&gp, &pharmacist] {
            for invite in client.wait_for_invites(2, PATIENCE).await.unwrap() {
                client.join(&invite.room_id).await.unwrap();
                let create = client
                    .state(&invite.room_id, "m.room.create")
                    .await
                    .unwrap();
                if create[0].content["type"] != "m.space" {
                    rooms.push(invite.room_id);
                }
            }
        }
        assert!(rooms.len() == 2 && rooms[0] == rooms[1], "{rooms:?}");
        let room = rooms[0].clone();
        Self {
            record,
            nurse,
            thread,
            people: [
                Person::of(testbed, "huisarts", &gp, room.clone()),
                Person::of(testbed, "apotheek", &pharmacist, room),
            ],
        }
    }

    async fn nurse_writes(&self, text: &str) {
        let message = json!({
            "resourceType": "Communication", "status": "completed",
            "identifier": [{"system": "urn:test", "value": text}],
            "partOf": [{"reference": self.thread}], "sender": {"reference": self.nurse},
            "payload": [{"contentString": text}],
        });
        let once = format!("identifier=urn:test|{text}");
        while self
            .record
            .post("Communication", &message, Some(&once))
            .await
            .is_none()
        {
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// All of the record's messages that name their event: text by text, in the order in which they were said.
    async fn stored(&self) -> Option<Vec<String>> {
        let mut messages = self.record.messages(&self.thread).await?;
        messages.retain(|message| {
            let identifiers = message["identifier"].as_array().cloned();
            identifiers
                .unwrap_or_default()
                .iter()
                .any(|identifier| identifier["system"] == EVENT_ID)
        });
        // Those of one person in the order in which they were said; what was written here has no `sent`.
        messages.sort_by_key(|message| {
            let sent = message["sent"].as_str().unwrap_or_default();
            // A whole second has no fraction.
            let sent = sent.trim_end_matches('Z').to_owned();
            let id: u64 = message["id"].as_str().unwrap().parse().unwrap();
            (sent, id)
        });
        let text = |message: &Value| {
            message["payload"][0]["contentString"]
                .as_str()
                .map(ToOwned::to_owned)
        };
        messages.iter().map(text).collect()
    }
}

/// What fails, one after the other.
async fn fail(testbed: &Testbed, bridge: &Bridge, outage: Duration) {
    let away = || tokio::time::sleep(outage);
    let tell = |what: &str| println!("    {what}");
    let homeserver = |name: &str| testbed.homeserver(name).unwrap();
    tell("the bridge is killed");
    bridge.kill().await;
    away().await;
    bridge.restart().await.unwrap();
    away().await;
    for name in ["huisarts", "vvt", "apotheek"] {
        tell(&format!("{name} is cut off from the others"));
        testbed.proxy().unwrap().cut(name).unwrap();
        away().await;
        testbed.proxy().unwrap().restore(name).unwrap();
        away().await;
    }
    tell("the FHIR server is stopped");
    testbed.restart_fhir().await.unwrap();
    away().await;
    for name in ["vvt", "huisarts"] {
        tell(&format!("{name} is killed"));
        homeserver(name).kill().await.unwrap();
        away().await;
        homeserver(name).start().await.unwrap();
        away().await;
    }
    tell("the FHIR server and the bridge are killed");
    testbed.kill_fhir().await.unwrap();
    bridge.kill().await;
    away().await;
    testbed.restart_fhir().await.unwrap();
    bridge.restart().await.unwrap();
    away().await;
    tell("vvt is stopped");
    homeserver("vvt").stop().await.unwrap();
    away().await;
    homeserver("vvt").start().await.unwrap();
    away().await;
    tell("nothing fails any more");
}

/// What each of them said, in order.
type Said = BTreeMap<&'static str, Vec<String>>;

/// How long the conversation goes on.
struct Course {
    at_least: usize,
    said: AtomicUsize,
    /// Everything has failed that was to fail.
    over: AtomicBool,
    mark: String,
}

impl Course {
    async fn talk(
        &self,
        who: &'static str,
        say: impl AsyncFn(&str),
    ) -> (&'static str, Vec<String>) {
        let mut said = Vec::new();
        while !self.over.load(Relaxed) || self.said.load(Relaxed) < self.at_least {
            let text = format!("{who}-{}-{}", said.len() + 1, self.mark);
            say(&text).await;
            said.push(text);
            self.said.fetch_add(1, Relaxed);
            tokio::time::sleep(PACE).await;
        }
        (who, said)
    }
}

async fn converse(meeting: &Meeting, testbed: &Testbed, bridge: &Bridge) -> Said {
    let course = Course {
        at_least: usize::try_from(setting("CONVERSATION_MESSAGES", 60)).unwrap(),
        said: AtomicUsize::new(0),
        over: AtomicBool::new(false),
        mark: unique("gesprek"),
    };
    let outage = Duration::from_secs(setting("CONVERSATION_OUTAGE_SECONDS", 4));
    let failing = async {
        fail(testbed, bridge, outage).await;
        course.over.store(true, Relaxed);
    };
    let [gp, pharmacist] = &meeting.people;
    let (nurse, gp, pharmacist, ()) = tokio::join!(
        course.talk("nurse", async |text| meeting.nurse_writes(text).await),
        course.talk("gp", async |text| gp.say(text).await),
        course.talk("pharmacist", async |text| pharmacist.say(text).await),
        failing
    );
    let mut said: Said = [nurse, gp, pharmacist].into_iter().collect();
    // Something may have come to Synapse in the moment in which it found the bridge there again: that stays in its queue,
    // and is read back when something else is said.
    tokio::time::sleep(outage).await;
    for (who, person) in ["gp", "pharmacist"].into_iter().zip(&meeting.people) {
        let text = format!("{who}-last-{}", course.mark);
        person.say(&text).await;
        said.entry(who).or_default().push(text);
    }
    said
}

/// What of it is missing, doubled or out of order here.
fn wrong(said: &Said, here: &[String]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (who, theirs) in said {
        let known: BTreeSet<_> = theirs.iter().collect();
        let found: Vec<_> = here.iter().filter(|text| known.contains(text)).collect();
        let once: BTreeSet<_> = found.iter().copied().collect();
        let missing: Vec<_> = theirs.iter().filter(|text| !once.contains(text)).collect();
        if !missing.is_empty() {
            let (count, all) = (missing.len(), theirs.len());
            wrong.push(format!("{count} of {all} of {who} missing: {missing:?}"));
        }
        if found.len() > once.len() {
            wrong.push(format!("{} of {who} doubled", found.len() - once.len()));
        }
        let there: Vec<_> = theirs.iter().filter(|text| once.contains(text)).collect();
        if found.len() == once.len() && found != there {
            wrong.push(format!("those of {who} out of order"));
        }
    }
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fails_in_a_conversation_all_sides_end_the_same() {
    let testbed = Testbed::builder()
        .appservices()
        .fhir(FhirServer::Hapi)
        .start()
        .await
        .unwrap();
    // Fails when a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let appservice = testbed.appservice("bridge1").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_fhir-bridge"));
    let fhir = testbed.fhir_url().unwrap();
    let setup = BridgeSetup::of(&appservice, program, folder.path(), fhir);
    let bridge = Bridge::start(&testbed, setup).await.unwrap();
    let meeting = Meeting::begin(&testbed).await;

    let began = Instant::now();
    let said = converse(&meeting, &testbed, &bridge).await;
    let count: usize = said.values().map(Vec::len).sum();
    println!("{count} messages in {:.0?}", began.elapsed());

    let over = Instant::now();
    let (mut known, mut moved) = (0, Instant::now());
    loop {
        let (mut found, mut here) = (Vec::new(), 0);
        match meeting.stored().await {
            Some(stored) => {
                here += stored.len();
                let wrong = wrong(&said, &stored);
                found.extend(wrong.iter().map(|what| format!("FHIR: {what}")));
            }
            None => found.push("the FHIR server gives no answer".to_owned()),
        }
        for person in &meeting.people {
            let texts = person.reads().await.unwrap_or_default();
            here += texts.len();
            let texts: Vec<_> = texts.into_iter().map(|(_, text)| text).collect();
            let wrong = wrong(&said, &texts);
            found.extend(wrong.iter().map(|what| format!("{}: {what}", person.id)));
        }
        if found.is_empty() {
            break;
        }
        if here > known {
            (known, moved) = (here, Instant::now());
            println!(
                "    {here} of {} are there after {:.0?}",
                3 * count,
                over.elapsed()
            );
        }
        if moved.elapsed() > PATIENCE {
            let log = bridge.log_text().unwrap();
            let lines: Vec<&str> = log.lines().collect();
            let end = lines[lines.len().saturating_sub(30)..].join("\n");
            let kept = folder.keep();
            println!("the bridge's files are in {}", kept.display());
            panic!("not the same on all sides:\n{}\n{end}", found.join("\n"));
        }
        tokio::time::sleep(LOOK).await;
    }
    println!("the same on all sides {:.0?} later", over.elapsed());
    let log = bridge.log_text().unwrap();
    assert!(!log.contains("gesprek") && !log.contains("Verzinsel"));
    assert!(
        !log.contains("dead letter"),
        "an outage makes no dead letters"
    );
    bridge.stop().await;
    testbed.stop().await;
}
