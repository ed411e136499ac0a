//! Looks how the components are, now and then.

use std::{sync::Arc, time::Duration};

use fhir::ResourceType;
use matrix_appservice::{AppService, Client, Journal};

use super::{components::Components, metrics};
use crate::servers::Servers;

/// How often is looked.
const EVERY: Duration = Duration::from_secs(15);
/// How long a component may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is looked at.
pub(crate) struct Look {
    servers: Servers,
    journal: Journal,
    client: Client,
    /// The registration's id, by which the homeserver is asked to reach us.
    id: String,
    oldest_waiting: Duration,
}

/// Looks again and again, for as long as it is polled.
pub(crate) async fn look_on(look: Look, components: Arc<Components>) {
    loop {
        Box::pin(look.at_all(&components)).await;
        components.looked();
        metrics::keep_up();
        tokio::time::sleep(EVERY).await;
    }
}

impl Look {
    pub(crate) fn new(servers: Servers, app: &AppService, oldest_waiting: Duration) -> Self {
        let id = servers.iter().next().map(|one| one.registration.id.clone());
        Self {
            id: id.unwrap_or_default(),
            servers,
            journal: app.journal().clone(),
            client: app.client().clone(),
            oldest_waiting,
        }
    }

    async fn at_all(&self, components: &Components) {
        let set = |name, up: Result<(), String>| {
            let problem = up.err();
            if components.set(name, problem.clone()) {
                match problem {
                    None => tracing::info!(component = name, "is up"),
                    Some(error) => tracing::warn!(component = name, error, "is down"),
                }
            }
        };
        tokio::join!(
            async { set("database", self.database().await) },
            async { set("journal", self.journal_age().await) },
            async { set("homeserver", self.homeserver().await) },
            async { set("homeserverPushes", self.pushes().await) },
            async { set("fhirServer", self.fhir().await) },
            async {
                if let Some(up) = self.list() {
                    set("federationList", up);
                }
            },
        );
    }

    async fn database(&self) -> Result<(), String> {
        let asked = async {
            self.journal
                .stats()
                .await
                .map_err(|error| error.to_string())?;
            for bridge in self.servers.iter() {
                let answer = bridge.links.check().await;
                answer.map_err(|error| error.to_string())?;
            }
            Ok(())
        };
        patiently(asked).await
    }

    /// Whether nothing waits for too long.
    async fn journal_age(&self) -> Result<(), String> {
        let asked = async {
            let stats = self
                .journal
                .stats()
                .await
                .map_err(|error| error.to_string())?;
            let Some(oldest) = stats.oldest_waiting else {
                return Ok(());
            };
            let now = i64::try_from(fhir::Instant::now().unix_millis()).unwrap_or(i64::MAX);
            let age = Duration::from_millis(u64::try_from(now - oldest).unwrap_or(0));
            if age > self.oldest_waiting {
                return Err(format!("something waits for {} s", age.as_secs()));
            }
            Ok(())
        };
        patiently(asked).await
    }

    async fn homeserver(&self) -> Result<(), String> {
        let asked = async {
            let versions = self.client.versions().await;
            versions.map(|_| ()).map_err(|error| error.to_string())
        };
        patiently(asked).await
    }

    /// Whether the homeserver reaches us: then it also pushes.
    async fn pushes(&self) -> Result<(), String> {
        let asked = async {
            match self.client.ping(&self.id).await {
                // A homeserver that can't be asked.
                Err(error) if error.is("M_URL_NOT_SET") || error.is("M_UNRECOGNIZED") => Ok(()),
                Err(error) => Err(error.to_string()),
                Ok(_) => Ok(()),
            }
        };
        patiently(asked).await
    }

    /// Whether each FHIR server lets the bridge search. Its `CapabilityStatement` would say less and cost more: HAPI's is
    /// 1.5 MB, made anew each minute without asking its database.
    async fn fhir(&self) -> Result<(), String> {
        for bridge in self.servers.iter() {
            let asked = async {
                let answer = bridge.fhir.count(&ResourceType::CareTeam).await;
                answer.map(|_| ()).map_err(|error| error.to_string())
            };
            patiently(asked).await?;
        }
        Ok(())
    }

    /// Whether there is a federation list, where one is asked for.
    fn list(&self) -> Option<Result<(), String>> {
        let bridge = self.servers.iter().next()?;
        bridge.federation_list.as_ref()?;
        Some(match bridge.policy.list() {
            Some(_) => Ok(()),
            None => Err("there has never been one".to_owned()),
        })
    }
}

async fn patiently(asked: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    tokio::time::timeout(PATIENCE, asked)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())))
}
