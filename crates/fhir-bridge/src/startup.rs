//! What is checked before and right after the bridge starts, so that a mistake is told in one line.

use std::{
    fmt::Write as _,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, bail};
use matrix_appservice::{AppService, Registration, ruma::api::client::account::whoami};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

use crate::{
    bridge::{Bridge, lock},
    config::{self, Config},
    links::Links,
    servers::Servers,
};

/// How often a peer that gives no answer is asked again.
const AGAIN: Duration = Duration::from_secs(5);

/// Says which cryptography TLS uses, before anything makes a client.
pub(crate) fn set_up_tls() {
    // Fails when it is said already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The prefix has to lie in the registration's namespaces, or the homeserver refuses ghosts and aliases.
pub(crate) fn check_namespaces(
    prefix: &str,
    config: &Config,
    registration: &Registration,
) -> anyhow::Result<()> {
    let file = config.registration.display();
    let server = &config.homeserver.name;
    let ghost = format!("@{prefix}practitioner_1:{server}");
    if !registration.namespaces.users.matches_exclusively(&ghost) {
        bail!(
            "{file}: no exclusive namespace of users matches ghosts such as {ghost}: add `@{prefix}.*` or change `prefix`",
        );
    }
    let alias = format!("#{prefix}careteam_1:{server}");
    if !registration.namespaces.aliases.matches(&alias) {
        bail!(
            "{file}: no namespace of aliases matches {alias}: add `#{prefix}.*` or change `prefix`",
        );
    }
    Ok(())
}

/// Rooms of conversations in one form are nobody's when the record is read in another: what is written there would get
/// lost.
pub(crate) async fn check_threads(server: &config::Fhir, links: &Links) -> anyhow::Result<()> {
    let other = links.conversation_but(server.threads.type_name()).await;
    if let Some(other) = other.context("the links can't be read")? {
        bail!(
            "`threads` of the FHIR server was changed, but there are rooms of conversations in the former form, such as {other}: put back what it was, or begin with an empty folder `data` and, where it is used, an empty PostgreSQL",
        );
    }
    Ok(())
}

/// Makes a folder that only its owner can look into, when it isn't there: the databases hold messages
/// that wait, and secrets.
pub(crate) fn private_folder(folder: &Path) -> anyhow::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).with_context(|| {
        format!(
            "the folder for the databases can't be made: check `data` ({})",
            folder.display()
        )
    })
}

/// 256 random bits, in hex.
pub(crate) fn random_hex() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| {
        anyhow::anyhow!("the operating system gives no random numbers: {error}")
    })?;
    let mut hex = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
    }
    Ok(hex)
}

/// A mistake that was found after the start and that ended the bridge.
#[derive(Clone, Default)]
pub(crate) struct Fatal(Arc<Mutex<Option<String>>>);

impl Fatal {
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        match lock(&self.0).take() {
            None => Ok(()),
            Some(what) => bail!(what),
        }
    }
}

/// Asks both peers who they are, again and again until they answer, while the bridge already works:
/// they may be started after it. A peer that answers, but wrongly, is a mistake in the configuration
/// and ends the bridge.
pub(crate) fn watch_peers(
    servers: &Servers,
    app: &AppService,
    config: &Config,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) -> Fatal {
    let fatal = Fatal::default();
    let (found, ending) = (fatal.clone(), stop.clone());
    let client = app.client().clone();
    let sender = client.sender().to_owned();
    let bot = app.intent(&sender, "startup");
    let homeserver = config.homeserver.clone();
    let registration = config.registration.display().to_string();
    tasks.spawn(async move {
        let asking = async {
            loop {
                match client.send(&sender, whoami::v3::Request::new()).await {
                    Ok(answer) if answer.user_id == sender => {
                        if let Err(error) = bot.ensure_registered().await {
                            tracing::warn!(%error, "the bridge's own user can't be registered, trying again");
                            tokio::time::sleep(AGAIN).await;
                            continue;
                        }
                        tracing::info!(homeserver = %homeserver.url, "the homeserver knows the bridge");
                        return None;
                    }
                    Ok(answer) => {
                        return Some(format!(
                            "the homeserver at {} says that the bridge is {}, not {}: set `homeserver.name` to its server_name",
                            homeserver.url, answer.user_id, sender
                        ));
                    }
                    Err(error) if error.is("M_UNKNOWN_TOKEN") || error.is("M_MISSING_TOKEN") => {
                        return Some(format!(
                            "the homeserver at {} does not know the bridge's as_token: is {registration} in its app_service_config_files, and was it restarted since?",
                            homeserver.url
                        ));
                    }
                    Err(error) => {
                        tracing::warn!(
                            homeserver = %homeserver.url, %error,
                            "no homeserver there: is it running, and is `homeserver.url` right? Trying again every {} s; nothing is lost meanwhile", AGAIN.as_secs()
                        );
                        tokio::time::sleep(AGAIN).await;
                    }
                }
            }
        };
        if let Some(Some(what)) = ending.run_until_cancelled(asking).await {
            *lock(&found.0) = Some(what);
            ending.cancel();
        }
    });
    for bridge in servers.iter() {
        tasks.spawn(greet(bridge.clone(), stop.clone()).instrument(bridge.span()));
    }
    fatal
}

/// Asks a FHIR server what it is until it says so.
async fn greet(bridge: Arc<Bridge>, stop: CancellationToken) {
    let url = &bridge.server.url;
    let asking = async {
        loop {
            match bridge.fhir.capability().await {
                Ok(server) => {
                    tracing::info!(fhir = %url, version = server.fhir_version, software = server.software, "the FHIR server answers");
                    return;
                }
                Err(error) => {
                    tracing::warn!(
                        fhir = %url, %error,
                        "no FHIR server there: is it running, and is `fhir.url` right? Trying again every {} s; nothing is lost meanwhile", AGAIN.as_secs()
                    );
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    };
    stop.run_until_cancelled(asking).await;
}

#[cfg(test)]
mod tests {
    use fhir::ResourceRef;
    use matrix_appservice::ruma::room_id;
    use serde_json::json;

    use crate::{
        bridge::{Bridge, Shared},
        config::Threads,
        servers::testing::Made,
    };

    #[tokio::test]
    async fn rooms_are_not_left_behind_when_conversations_are_looked_for_elsewhere() {
        let (requests, headers) = (Threads::CommunicationRequest, Threads::CommunicationHeader);
        for (resource, fits, other) in [
            ("CommunicationRequest/7", requests, headers),
            ("Communication/7", headers, requests),
            ("Conversation/7", Threads::Flat, requests),
        ] {
            let fhir = json!({"url": "http://127.0.0.1:9/fhir", "threads": fits});
            let made = Made::with(json!({"fhir": fhir})).await;
            let bridge = made.servers.iter().next().unwrap();
            for (resource, room) in [
                ("CareTeam/1", room_id!("!space:vvt")),
                (resource, room_id!("!room:vvt")),
            ] {
                let resource = ResourceRef::parse(resource).unwrap();
                bridge.links.link_room(&resource, room).await.unwrap();
            }
            let shared =
                Shared::open(&made.config, &made.registration, made.journal.clone()).unwrap();
            let mut server = bridge.server.clone();
            assert!(Bridge::open(&made.config, &server, &shared).await.is_ok());
            server.threads = other;
            let Err(error) = Bridge::open(&made.config, &server, &shared).await else {
                panic!("nobody would answer for {resource}");
            };
            assert!(error.to_string().contains(resource), "{error}");
        }
    }
}
