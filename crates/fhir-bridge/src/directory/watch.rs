//! Follows changes of people, so that what depends on them is looked at again.
//!
//! Only ids get into the journal, and only of what something depends on. It begins with the changes of the last
//! minutes: what was before is read when a care team is.

use std::{sync::Arc, time::Duration};

use fhir::{HistoryQuery, Instant, ResourceType};

use crate::{bridge::Bridge, network::refresh::Because, puller};

/// How far back it looks the first time, because clocks differ.
const FIRST_LOOK: Duration = Duration::from_mins(10);

/// Looks for changes until it is stopped from outside.
pub(crate) async fn run(bridge: Arc<Bridge>) {
    loop {
        match bridge.links.watched_types().await {
            Ok(types) => {
                for name in types {
                    let Some(resource_type) = ResourceType::parse(&name) else {
                        continue;
                    };
                    if puller::TYPES.contains(&resource_type) {
                        // They are read by their own readers.
                        continue;
                    }
                    if let Err(error) = look(&bridge, &resource_type).await {
                        tracing::warn!(%resource_type, %error, "changes of people can't be read, trying again");
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "changes of people can't be followed"),
        }
        tokio::time::sleep(bridge.server.poll_interval()).await;
    }
}

/// Why looking failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchError {
    #[error(transparent)]
    Fhir(#[from] fhir::Error),
    #[error(transparent)]
    Journal(#[from] matrix_appservice::JournalError),
    #[error(transparent)]
    Links(#[from] crate::links::LinksError),
}

pub(crate) async fn look(bridge: &Bridge, resource_type: &ResourceType) -> Result<(), WatchError> {
    let journal = &bridge.journal;
    let name = bridge.lane(&format!("directory/{resource_type}"));
    loop {
        let since = journal
            .cursor(&name)
            .await?
            .as_deref()
            .and_then(Instant::parse)
            .unwrap_or_else(|| Instant::now().earlier_by(FIRST_LOOK));
        let query = HistoryQuery::since(Some(since.clone()));
        let read = bridge.fhir.history_since(resource_type, &query).await?;
        let mut entries = Vec::new();
        for change in &read.changes {
            bridge.people.forget(&change.reference);
            bridge.forget_talks(&change.reference);
            let because = Because::new(format!("{}/{}", change.reference, change.version_id));
            for dependent in bridge.links.dependents(&change.reference).await? {
                entries.push(bridge.look(&dependent, &because));
            }
        }
        if !read.changes.is_empty() {
            // Who was looked for in vain may be there now.
            bridge.found.clear();
            // Whose role it is, only the former version may have said.
            bridge.roles.clear();
        }
        let cursor = read.cursor.as_ref().unwrap_or(&since);
        if entries.is_empty() && *cursor == since {
            return Ok(());
        }
        journal
            .append(&entries, Some((name.as_str(), cursor.as_str())))
            .await?;
        if !read.more {
            return Ok(());
        }
    }
}
