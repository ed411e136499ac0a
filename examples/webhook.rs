//! Webhooks: what other systems post is said in rooms, and what is said there is posted to them.
//!
//! Make an admin room and another to be linked, invite `@hooksbot` into both, and start this with
//! `ADMIN_ROOM='!…'`. In the admin room, say `!hook link !… https://example.org/incoming`: the answer tells
//! where to post and with which secret.
//!
//! ```sh
//! curl http://127.0.0.1:9000/hooks/$ID -H "Authorization: Bearer $SECRET" -d '{"name": "Backup", "text": "Done."}'
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode, header::AUTHORIZATION};
use axum::{Router, routing::post};
use matrix_appservice::commands::{CommandError, Commands, Permission};
use matrix_appservice::ruma::events::room::message::OriginalRoomMessageEvent;
use matrix_appservice::ruma::{OwnedRoomId, OwnedUserId, RoomId, ServerName, server_name};
use matrix_appservice::{
    AppService, Builder, Delivery, HandlerError, HandlerResult, Journal, NewEntry, Registration,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use url::Url;

/// The source of the entries that come from outside.
const HOOK: &str = "hook";
const MAX_POST_BYTES: usize = 64 * 1024;

/// A link between a room and another system.
#[derive(Clone, Serialize, Deserialize)]
struct Hook {
    room: OwnedRoomId,
    /// Where messages of the room are posted to.
    outgoing: Url,
    /// Not the secret itself: nobody who reads the file can post.
    secret_sha256: String,
}

/// What other systems post.
#[derive(Serialize, Deserialize)]
struct Post {
    name: String,
    text: String,
}

/// The links, kept in a small file.
pub(crate) struct Hooks {
    file: PathBuf,
    links: Mutex<BTreeMap<String, Hook>>,
    prefix: String,
    server: &'static ServerName,
    http: reqwest::Client,
}

impl Hooks {
    pub(crate) fn open(
        file: &Path,
        prefix: &str,
        server: &'static ServerName,
    ) -> anyhow::Result<Arc<Self>> {
        let links = match std::fs::read(file) {
            Ok(json) => serde_json::from_slice(&json)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error.into()),
        };
        Ok(Arc::new(Self {
            file: file.to_owned(),
            links: Mutex::new(links),
            prefix: prefix.to_owned(),
            server,
            http: reqwest::Client::new(),
        }))
    }

    /// Changes the links, and keeps the change: the file is the old one or the new one, never half of it.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut BTreeMap<String, Hook>) -> T,
    ) -> std::io::Result<T> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut links);
        let new = self.file.with_extension("new");
        std::fs::write(&new, serde_json::to_vec_pretty(&*links)?)?;
        std::fs::rename(new, &self.file)?;
        Ok(changed)
    }

    fn links(&self) -> BTreeMap<String, Hook> {
        self.links
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Each name that others give themselves is a ghost.
    fn ghost(&self, name: &str) -> Result<OwnedUserId, HandlerError> {
        let safe = |letter: char| {
            if letter.is_ascii_alphanumeric() {
                letter.to_ascii_lowercase()
            } else {
                '-'
            }
        };
        let name: String = name.chars().take(60).map(safe).collect();
        Ok(format!("@{}{name}:{}", self.prefix, self.server).try_into()?)
    }

    /// What was posted is said in the room.
    async fn posted(self: Arc<Self>, delivery: Delivery) -> HandlerResult {
        let (id, post): (String, Post) = serde_json::from_slice(&delivery.entry().payload)?;
        let Some(hook) = self.links().remove(&id) else {
            return Ok(()); // Unlinked meanwhile.
        };
        let ghost = delivery.intent(&self.ghost(&post.name)?);
        ghost.ensure_display_name(&post.name).await?;
        ghost.ensure_joined(&hook.room).await?;
        ghost.send_text(&hook.room, post.text).await?;
        Ok(())
    }

    /// What is said in the room is posted. The other side can tell a repeated post by its event id.
    async fn said(self: Arc<Self>, _: Delivery, event: OriginalRoomMessageEvent) -> HandlerResult {
        let hooks = self
            .links()
            .into_values()
            .filter(|hook| hook.room == event.room_id);
        for hook in hooks {
            let said = json!({"event_id": event.event_id, "sender": event.sender, "text": event.content.body()});
            let answer = self.http.post(hook.outgoing).json(&said).send().await;
            match answer.map(|answer| answer.status()) {
                Ok(status) if status.is_success() => {}
                Ok(status) if status.is_client_error() => {
                    return Err(HandlerError::never(
                        "the other system refuses what was said",
                    ));
                }
                _ => return Err(HandlerError::unavailable("the other system is away")),
            }
        }
        Ok(())
    }

    /// Takes what others post: it is durable before they get their answer.
    async fn take(
        &self,
        journal: &Journal,
        id: String,
        headers: &HeaderMap,
        body: &[u8],
    ) -> StatusCode {
        let secret = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let hook = self.links().remove(&id);
        // Of hashes, nothing can be learnt from how long the comparison takes.
        let allowed = hook
            .zip(secret)
            .is_some_and(|(hook, secret)| hook.secret_sha256 == sha256(secret));
        if !allowed {
            return StatusCode::UNAUTHORIZED;
        }
        let Ok(post) = serde_json::from_slice::<Post>(body) else {
            return StatusCode::BAD_REQUEST;
        };
        let Ok(payload) = serde_json::to_vec(&(&id, post)) else {
            return StatusCode::BAD_REQUEST;
        };
        // Those who may post the same thing twice say so by this header.
        let key = headers
            .get("idempotency-key")
            .and_then(|key| key.to_str().ok());
        let lane = format!("hook {id}");
        let entry = match key {
            Some(key) => NewEntry::new(HOOK, format!("{id}/{key}"), lane, payload),
            None => NewEntry::without_key(HOOK, lane, payload),
        };
        match journal.append(&[entry], None).await {
            Ok(_) => StatusCode::ACCEPTED,
            Err(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

fn sha256(secret: &str) -> String {
    format!("{:x}", Sha256::digest(secret))
}

fn random() -> Result<String, CommandError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

fn commands(hooks: &Arc<Hooks>, admin_room: &RoomId) -> Commands {
    let (link, list, unlink) = (hooks.clone(), hooks.clone(), hooks.clone());
    Commands::new("!hook")
        .only_in([admin_room.to_owned()])
        .allow(Permission::power_level(50))
        .command(
            "link <room> <url>",
            "Posts what is said in a room, and says what is posted.",
            move |call, (room, outgoing): (OwnedRoomId, Url)| {
                let hooks = link.clone();
                async move {
                    if call.bot().membership(&room, call.bot().user_id()).await?
                        != Some("join".into())
                    {
                        return Err(CommandError::say("Invite me into that room first."));
                    }
                    let (id, secret) = (random()?, random()?);
                    let hook = Hook {
                        room,
                        outgoing,
                        secret_sha256: sha256(&secret),
                    };
                    hooks.change(|links| links.insert(id.clone(), hook))?;
                    Ok(format!("Post to /hooks/{id} with the secret {secret}"))
                }
            },
        )
        .command("list", "Lists the links.", move |_, ()| {
            let links = list.links();
            async move {
                let shown = links
                    .iter()
                    .map(|(id, hook)| format!("{id}: {} and {}", hook.room, hook.outgoing));
                Ok(shown.collect::<Vec<_>>().join("\n"))
            }
        })
        .command(
            "unlink <id>",
            "Forgets a link.",
            move |_, (id,): (String,)| {
                let hooks = unlink.clone();
                async move {
                    match hooks.change(|links| links.remove(&id))? {
                        Some(hook) => Ok(format!("{} is no longer linked.", hook.room)),
                        None => Err(CommandError::say("There is no such link.")),
                    }
                }
            },
        )
}

pub(crate) fn bridge(builder: Builder, hooks: &Arc<Hooks>, admin_room: &RoomId) -> Builder {
    let (posted, said) = (hooks.clone(), hooks.clone());
    builder
        .accept_invitations()
        .commands(commands(hooks, admin_room))
        .on_entry(HOOK, move |delivery| posted.clone().posted(delivery))
        .on_message(move |delivery, event| said.clone().said(delivery, event))
}

/// The address for others, beside those for the homeserver.
pub(crate) fn router(hooks: Arc<Hooks>, journal: Journal) -> Router {
    let take =
        async |State((hooks, journal)): State<(Arc<Hooks>, Journal)>,
               UrlPath(id),
               headers: HeaderMap,
               body: Bytes| { hooks.take(&journal, id, &headers, &body).await };
    Router::new()
        .route("/hooks/{id}", post(take))
        .layer(DefaultBodyLimit::max(MAX_POST_BYTES))
        .with_state((hooks, journal))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let admin_room = RoomId::parse(std::env::var("ADMIN_ROOM")?)?;
    let registration = Registration::load("registration/webhook.yaml")?;
    let homeserver = "http://127.0.0.1:8008".parse()?;
    let journal = Journal::open("webhook.db").await?;
    let server = server_name!("localhost");
    let builder = AppService::builder(registration, server, homeserver, journal);
    let hooks = Hooks::open(Path::new("hooks.json"), "_hook_", server)?;
    let service = bridge(builder, &hooks, &admin_room).build()?;
    let router = service
        .router()
        .merge(router(hooks, service.journal().clone()));
    let stop = tokio_util::sync::CancellationToken::new();
    let listener = matrix_appservice::listen("127.0.0.1:9000").await?;
    let stopping = stop.clone();
    tokio::spawn(async move {
        matrix_appservice::shutdown_signal().await;
        stopping.cancel();
    });
    service.run(listener, router, stop).await?;
    Ok(())
}
