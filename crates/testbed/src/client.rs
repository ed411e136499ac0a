//! People with an ordinary Matrix client: matrix-nio, in a process of its own (`python/client.py`).
//!
//! Nothing here shares code with the project's Matrix side, so what such a person sees is what anybody's client shows.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::homeserver::{Homeserver, User};
use crate::process::{Pipes, Process, Spec};
use crate::{log_file, paths};

/// How long the homeserver may take for what needs no waiting.
const PATIENCE: Duration = Duration::from_secs(90);
/// How much later than the client itself we give up.
const GRACE: Duration = Duration::from_secs(10);

/// Tells the logs of several clients of one person apart.
static CLIENTS: AtomicU64 = AtomicU64::new(1);

/// A person who is logged in and syncs. The client ends when this is dropped.
///
/// Use it on the runtime that made it.
pub struct Client {
    user: User,
    process: Process,
    log: PathBuf,
    line: Mutex<Line>,
}

/// The line to the client: one request at a time.
struct Line {
    requests: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    next_id: u64,
}

/// An invitation that has not been answered.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Invite {
    /// The room that the person is invited to.
    pub room_id: String,
    /// The room's name, when the invitation tells it.
    pub name: Option<String>,
    /// Who invited.
    pub inviter: String,
    /// The content of the invitation's `m.room.member`, with whatever the inviter added.
    pub content: Value,
}

/// An event as the client got it.
#[derive(Clone, Deserialize)]
#[non_exhaustive]
pub struct Event {
    /// Its id.
    pub event_id: String,
    /// Its room.
    pub room_id: String,
    /// Who sent it.
    pub sender: String,
    /// Its type, such as `m.room.message`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Only a state event has one.
    pub state_key: Option<String>,
    /// Its content.
    pub content: Value,
}

impl Event {
    /// The text of a message; empty when it has none.
    #[must_use]
    pub fn body(&self) -> &str {
        self.content["body"].as_str().unwrap_or_default()
    }
}

impl fmt::Debug for Event {
    /// Without the content, which is what people say to each other.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} from {}", self.kind, self.event_id, self.sender)
    }
}

#[derive(Deserialize)]
struct Answer {
    id: u64,
    #[serde(default)]
    ok: Value,
    error: Option<String>,
}

impl Client {
    /// Starts a client and logs in.
    pub(crate) async fn log_in(
        homeserver: &Homeserver,
        user: User,
        python: &Path,
        logs: &Path,
    ) -> Result<Self> {
        let localpart = user.user_id.trim_start_matches('@').replace(':', "-");
        let number = CLIENTS.fetch_add(1, Ordering::Relaxed);
        let id = std::process::id();
        let log = logs.join(format!("client-{localpart}-{id}-{number}.log"));
        let script = paths::source().join("python/client.py");
        let command: [OsString; 2] = [python.into(), script.into()];
        let process = Process::start(&Spec {
            name: format!("the Matrix client of {}", user.user_id),
            python: python.to_owned(),
            command: command.to_vec(),
            env: Vec::new(),
            folder: logs.to_owned(),
            log: log.clone(),
            pipes: Pipes::Open,
            account: None,
        })?;
        let (requests, answers) = process
            .take_pipes()
            .context("the client was started without pipes")?;
        let client = Self {
            line: Mutex::new(Line {
                requests: ChildStdin::from_std(requests)?,
                answers: BufReader::new(ChildStdout::from_std(answers)?).lines(),
                next_id: 1,
            }),
            process,
            log,
            user,
        };
        let login = json!({
            "homeserver": homeserver.client_url().as_str().trim_end_matches('/'),
            "user_id": client.user.user_id,
            "password": client.user.password,
        });
        let _: String = client.call("log_in", login, PATIENCE).await?;
        Ok(client)
    }

    /// Who is logged in.
    #[must_use]
    pub fn user_id(&self) -> &str {
        &self.user.user_id
    }

    /// The person's account.
    #[must_use]
    pub fn user(&self) -> &User {
        &self.user
    }

    /// Makes a private room and invites people; the room's id.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses, does not answer, or the client has ended (the end of its log is shown). So do all
    /// other calls.
    pub async fn create_room(&self, name: &str, invite: &[&str]) -> Result<String> {
        let with = json!({"name": name, "invite": invite});
        self.call("create_room", with, PATIENCE).await
    }

    /// Invites somebody.
    ///
    /// # Errors
    ///
    /// As [`Client::create_room`].
    pub async fn invite(&self, room_id: &str, user_id: &str) -> Result<()> {
        let with = json!({"room_id": room_id, "user_id": user_id});
        self.call("invite", with, PATIENCE).await
    }

    /// Waits for an unanswered invitation to this room; it may be there already.
    ///
    /// # Errors
    ///
    /// When none came in time, and as [`Client::create_room`].
    pub async fn wait_for_invite(&self, room_id: &str, patience: Duration) -> Result<Invite> {
        let with = json!({"room_id": room_id, "seconds": patience.as_secs_f64()});
        self.call("wait_for_invite", with, patience).await
    }

    /// Waits for at least `count` unanswered invitations, to whatever rooms.
    ///
    /// # Errors
    ///
    /// When fewer came in time, and as [`Client::create_room`].
    pub async fn wait_for_invites(&self, count: usize, patience: Duration) -> Result<Vec<Invite>> {
        let with = json!({"count": count, "seconds": patience.as_secs_f64()});
        self.call("wait_for_invites", with, patience).await
    }

    /// Accepts an invitation, or joins a public room.
    ///
    /// # Errors
    ///
    /// As [`Client::create_room`].
    pub async fn join(&self, room_id: &str) -> Result<()> {
        let _: String = self
            .call("join", json!({"room_id": room_id}), PATIENCE)
            .await?;
        Ok(())
    }

    /// Leaves a room, or declines an invitation.
    ///
    /// # Errors
    ///
    /// As [`Client::create_room`].
    pub async fn leave(&self, room_id: &str) -> Result<()> {
        self.call("leave", json!({"room_id": room_id}), PATIENCE)
            .await
    }

    /// Sends a text; the event's id.
    ///
    /// # Errors
    ///
    /// As [`Client::create_room`].
    pub async fn send_text(&self, room_id: &str, body: &str) -> Result<String> {
        let content = json!({"msgtype": "m.text", "body": body});
        self.send(room_id, "m.room.message", content).await
    }

    /// Sends an event of any type; its id.
    ///
    /// # Errors
    ///
    /// As [`Client::create_room`].
    pub async fn send(&self, room_id: &str, kind: &str, content: Value) -> Result<String> {
        let with = json!({"room_id": room_id, "kind": kind, "content": content});
        self.call("send", with, PATIENCE).await
    }

    /// Sets a state event; its id.
    ///
    /// # Errors
    ///
    /// As [`Client::create_room`].
    pub async fn set_state(
        &self,
        room_id: &str,
        kind: &str,
        key: &str,
        content: Value,
    ) -> Result<String> {
        let with = json!({"room_id": room_id, "kind": kind, "key": key, "content": content});
        self.call("set_state", with, PATIENCE).await
    }

    /// Waits until the client has seen at least `count` messages of this sender in a room, since it joined or before;
    /// all of them, oldest first.
    ///
    /// # Errors
    ///
    /// When fewer came in time, and as [`Client::create_room`].
    pub async fn wait_for_messages(
        &self,
        room_id: &str,
        sender: &str,
        count: usize,
        patience: Duration,
    ) -> Result<Vec<Event>> {
        let with = json!({"room_id": room_id, "sender": sender, "body": null, "count": count,
            "seconds": patience.as_secs_f64()});
        self.call("wait_for_messages", with, patience).await
    }

    /// Waits for a message with exactly this text, from whomever; the first one.
    ///
    /// # Errors
    ///
    /// When it did not come in time, and as [`Client::create_room`].
    pub async fn wait_for_text(
        &self,
        room_id: &str,
        body: &str,
        patience: Duration,
    ) -> Result<Event> {
        let with = json!({"room_id": room_id, "sender": null, "body": body, "count": 1,
            "seconds": patience.as_secs_f64()});
        let messages: Vec<Event> = self.call("wait_for_messages", with, patience).await?;
        messages.into_iter().next().context("no message came")
    }

    /// The rooms that the person is in.
    ///
    /// # Errors
    ///
    /// As [`Client::create_room`].
    pub async fn joined_rooms(&self) -> Result<Vec<String>> {
        self.call("joined_rooms", json!({}), PATIENCE).await
    }

    /// A room's state events of this type, such as `m.space.child`.
    ///
    /// # Errors
    ///
    /// As [`Client::create_room`].
    pub async fn state(&self, room_id: &str, kind: &str) -> Result<Vec<Event>> {
        let with = json!({"room_id": room_id, "kind": kind});
        self.call("state", with, PATIENCE).await
    }

    /// The newest events of a room (`GET …/messages`), at most `limit`, oldest first.
    ///
    /// # Errors
    ///
    /// As [`Client::create_room`].
    pub async fn messages(&self, room_id: &str, limit: u32) -> Result<Vec<Event>> {
        let with = json!({"room_id": room_id, "limit": limit});
        self.call("messages", with, PATIENCE).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        act: &str,
        with: Value,
        patience: Duration,
    ) -> Result<T> {
        let asked = async {
            let mut line = self.line.lock().await;
            line.ask(act, with).await
        };
        let answer = match timeout(patience + GRACE, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                self.process.check()?;
                bail!(
                    "{}: the client does not answer ({error}); {}",
                    self.user.user_id,
                    log_file::end_of(&self.log)
                );
            }
            Err(_) => bail!(
                "{}: no answer to {act} after {patience:?}; {}",
                self.user.user_id,
                log_file::end_of(&self.log)
            ),
        };
        match answer.error {
            None => serde_json::from_value(answer.ok)
                .with_context(|| format!("the client's answer to {act} is not understood")),
            Some(error) => Err(anyhow!("{}: {act}: {error}", self.user.user_id)),
        }
    }
}

impl Line {
    async fn ask(&mut self, act: &str, with: Value) -> Result<Answer> {
        let id = self.next_id;
        self.next_id += 1;
        let request = json!({"id": id, "do": act, "with": with});
        self.requests
            .write_all(format!("{request}\n").as_bytes())
            .await?;
        while let Some(line) = self.answers.next_line().await? {
            let answer: Answer = serde_json::from_str(&line).context("not an answer")?;
            // The answer to a request that somebody gave up comes late.
            if answer.id == id {
                return Ok(answer);
            }
        }
        bail!("it has ended")
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.user.user_id)
    }
}
