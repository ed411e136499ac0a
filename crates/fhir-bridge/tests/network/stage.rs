//! A bridge, a record, and what the bridge's own user sees.

use std::{path::Path, time::Duration};

use matrix_appservice::Registration;
use serde_json::{Value, json};
use testbed::{Appservice, Bridge, BridgeSetup, Testbed, scene::Record};

const PROGRAM: &str = env!("CARGO_BIN_EXE_fhir-bridge");
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// Of an invented client: to be found in no room. (Professionals bear their names there.)
pub(crate) const BSN: &str = "999911120";
pub(crate) const PSEUDONYM: &str = "prs-token-0001";
pub(crate) const PRIVATE: [&str; 4] = [BSN, "Voorbeeldcliënt", "Testina", "1940-01-01"];

pub(crate) struct Stage {
    pub(crate) testbed: &'static Testbed,
    pub(crate) record: Record,
    pub(crate) appservice: Appservice,
    pub(crate) bridge: Bridge,
    registration: Registration,
    http: reqwest::Client,
    _folder: tempfile::TempDir,
}

impl Stage {
    pub(crate) async fn set() -> Self {
        Self::set_with(json!({})).await
    }

    /// Where the FHIR server is.
    pub(crate) async fn fhir() -> url::Url {
        let testbed = Testbed::shared().await.unwrap();
        testbed.start_fhir().await.unwrap()
    }

    /// With more of the configuration; below `fhir`, beside what every bridge here has there.
    pub(crate) async fn set_with(mut more: Value) -> Self {
        let testbed = Testbed::shared().await.unwrap();
        // The same for all: two bridges at once on one FHIR server would both carry what is there.
        let appservice = testbed.appservice("bridge1").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let fhir = testbed.start_fhir().await.unwrap();
        let mut setup =
            BridgeSetup::of(&appservice, Path::new(PROGRAM), folder.path(), fhir.clone());
        if let Some(Value::Object(further)) = more.get_mut("fhir").map(Value::take) {
            more["fhir"] = json!({
                "url": fhir,
                "notify_url": format!("http://{}", setup.listen),
                "poll_interval_seconds": 5,
                "import": "none",
            });
            for (key, value) in further {
                more["fhir"][key] = value;
            }
        }
        setup.config = Some(more);
        let bridge = Bridge::start(testbed, setup).await.unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            testbed,
            record: Record::new(&fhir).unwrap(),
            registration: Registration::load(&appservice.registration_path).unwrap(),
            appservice,
            bridge,
            http: reqwest::Client::new(),
            _folder: folder,
        }
    }

    pub(crate) async fn client(&self) -> String {
        let client = json!({
            "resourceType": "Patient",
            "identifier": [
                {"system": "http://fhir.nl/fhir/NamingSystem/bsn", "value": BSN},
                {"system": "http://fhir.nl/fhir/NamingSystem/pseudo-bsn", "value": PSEUDONYM},
            ],
            "name": [{"family": "Voorbeeldcliënt", "given": ["Testina"]}],
            "birthDate": "1940-01-01",
        });
        self.record.create(&client).await.unwrap()
    }

    pub(crate) async fn practitioner(&self, account: Option<&str>) -> String {
        let mut practitioner = json!({
            "resourceType": "Practitioner",
            "name": [{"family": "Proefpersoon", "given": ["Gerda"]}],
        });
        if let Some(account) = account {
            practitioner["telecom"] = telecom(account);
        }
        self.record.create(&practitioner).await.unwrap()
    }

    /// A care team; each member by reference.
    pub(crate) async fn team(&self, client: &str, members: &[&str]) -> String {
        let participants: Vec<Value> = members.iter().map(|one| member(one)).collect();
        let team = json!({
            "resourceType": "CareTeam",
            "status": "active",
            "subject": {"reference": client},
            "participant": participants,
        });
        self.record.create(&team).await.unwrap()
    }

    /// A conversation of the whole care team.
    pub(crate) async fn thread(
        &self,
        client: &str,
        team: &str,
        requester: &str,
        text: &str,
    ) -> String {
        let thread = json!({
            "resourceType": "CommunicationRequest",
            "status": "active",
            "subject": {"reference": client},
            "requester": {"reference": requester},
            "recipient": [{"reference": team}],
            "reasonCode": [{"text": "Medicatie"}],
            "payload": [{"contentString": text}],
        });
        self.record.create(&thread).await.unwrap()
    }

    pub(crate) fn ghost(&self, person: &str) -> String {
        let (kind, id) = person.split_once('/').unwrap();
        let prefix = &self.appservice.user_prefix;
        format!("@{prefix}{}_{id}:vvt", kind.to_lowercase())
    }

    pub(crate) fn bot(&self) -> String {
        format!("@{}:vvt", self.appservice.sender_localpart)
    }

    /// The room of a resource, once there is one.
    pub(crate) async fn room_of(&self, resource: &str) -> String {
        let (kind, id) = resource.split_once('/').unwrap();
        let prefix = &self.appservice.user_prefix;
        let alias = format!("%23{prefix}{}_{id}:vvt", kind.to_lowercase());
        until("a room to be made", async || {
            let room = self.get(&format!("directory/room/{alias}")).await?;
            room["room_id"].as_str().map(str::to_owned)
        })
        .await
    }

    /// Whether a resource's alias leads anywhere.
    pub(crate) async fn has_alias(&self, resource: &str) -> bool {
        let (kind, id) = resource.split_once('/').unwrap();
        let prefix = &self.appservice.user_prefix;
        let alias = format!("%23{prefix}{}_{id}:vvt", kind.to_lowercase());
        self.get(&format!("directory/room/{alias}")).await.is_some()
    }

    /// All state of a room, as the bridge's own user sees it.
    pub(crate) async fn state(&self, room: &str) -> Vec<Value> {
        let state = self.get(&format!("rooms/{room}/state")).await;
        state
            .and_then(|state| state.as_array().cloned())
            .unwrap_or_default()
    }

    pub(crate) async fn content(&self, room: &str, kind: &str, key: &str) -> Option<Value> {
        let state = self.state(room).await;
        state
            .into_iter()
            .find(|event| event["type"] == kind && event["state_key"] == key)
            .map(|mut event| event["content"].take())
    }

    pub(crate) async fn membership(&self, room: &str, user: &str) -> Option<String> {
        let content = self.content(room, "m.room.member", user).await?;
        content["membership"].as_str().map(str::to_owned)
    }

    /// Waits until somebody's membership is this.
    pub(crate) async fn wait_membership(&self, room: &str, user: &str, wanted: &str) {
        self.wait(&format!("{user} to be {wanted}"), async || {
            self.membership(room, user).await.as_deref() == Some(wanted)
        })
        .await;
    }

    pub(crate) async fn wait(&self, what: &str, holds: impl AsyncFn() -> bool) {
        until(what, async || holds().await.then_some(())).await;
    }

    /// The rooms that the bridge's own user is in.
    pub(crate) async fn rooms(&self) -> Vec<String> {
        let rooms = self.get("joined_rooms").await.unwrap();
        let rooms = rooms["joined_rooms"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        rooms
            .into_iter()
            .map(|room| room.as_str().unwrap().to_owned())
            .collect()
    }

    /// No state event of these rooms holds anything private.
    pub(crate) async fn assert_silent(&self, rooms: &[&str]) {
        let mut looked_at = 0;
        for room in rooms {
            for event in self.state(room).await {
                looked_at += 1;
                let text = event.to_string();
                for word in PRIVATE {
                    assert!(
                        !text.contains(word),
                        "{} holds something private",
                        event["type"]
                    );
                }
            }
        }
        assert!(
            looked_at > 10 * rooms.len(),
            "there was something to look at"
        );
    }

    async fn get(&self, path: &str) -> Option<Value> {
        let url = self
            .appservice
            .homeserver_url
            .join("/_matrix/client/v3/")
            .unwrap();
        let url = format!("{url}{path}");
        let answer = self
            .http
            .get(url)
            .bearer_auth(self.registration.as_token.expose())
            .send()
            .await
            .unwrap();
        if !answer.status().is_success() {
            return None;
        }
        Some(answer.json().await.unwrap())
    }
}

/// Looks again and again until there is something.
pub(crate) async fn until<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let Ok(found) = tokio::time::timeout(PATIENCE, looking).await else {
        panic!("waited in vain for {what}");
    };
    found
}

/// Joins. The invitation may get there before its own homeserver has stored it.
pub(crate) async fn join(client: &testbed::Client, room: &str) {
    until("the invitation to hold", async || {
        client.join(room).await.ok()
    })
    .await;
}

pub(crate) fn member(reference: &str) -> Value {
    json!({"member": {"reference": reference}})
}

pub(crate) fn telecom(account: &str) -> Value {
    json!([{
        "system": "other",
        "value": account,
        "extension": [{
            "url": "http://hl7.org/fhir/StructureDefinition/contactpoint-purpose",
            "valueString": "matrix-messaging",
        }],
    }])
}

/// So many seconds from now, as FHIR writes it.
pub(crate) fn in_seconds(seconds: u64) -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let millis = u64::try_from(now.as_millis()).unwrap() + 1000 * seconds;
    fhir::Instant::from_unix_millis(millis).unwrap().to_string()
}
