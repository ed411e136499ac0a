//! Looking again at what depends on something that changed, and at what is due by time.
//!
//! A look is an entry in the journal, in the lane of the resource that is looked at: so it comes in order with the
//! resource's own changes, survives a restart, and holds nobody else when it fails.

use std::{sync::Arc, time::Duration};

use fhir::{Instant, ResourceRef};
use matrix_appservice::{Delivery, HandlerError, HandlerResult, NewEntry};
use serde::{Deserialize, Serialize};

use crate::{bridge::Bridge, failure};

/// The journal's source of looks.
pub(crate) const REFRESH: &str = "refresh";

/// The longest time that passes without a look at what is due: clocks are set now and then.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// Why something is looked at again.
#[derive(Clone, Default)]
pub(crate) struct Because {
    /// What makes the look another one than any before.
    key: String,
    /// The resources whose change this follows from, so that teams that are members of each other don't go on for ever.
    path: Vec<ResourceRef>,
}

impl Because {
    pub(crate) fn new(key: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            path: Vec::new(),
        }
    }

    /// Because of what a delivery says.
    pub(crate) fn of(delivery: &Delivery) -> Self {
        let entry = delivery.entry();
        let path = Stored::parse(&entry.payload)
            .filter(|_| entry.source.starts_with(REFRESH))
            .map(|stored| stored.path())
            .unwrap_or_default();
        let key = entry
            .key
            .clone()
            .unwrap_or_else(|| format!("entry:{}", delivery.work_id()));
        Self { key, path }
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    reference: String,
    #[serde(default)]
    path: Vec<String>,
}

impl Stored {
    fn parse(payload: &[u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }

    fn path(&self) -> Vec<ResourceRef> {
        self.path
            .iter()
            .filter_map(|one| ResourceRef::parse(one))
            .collect()
    }
}

/// The entry that has a resource looked at again.
fn entry(
    source: &'static str,
    lane: String,
    resource: &ResourceRef,
    because: &Because,
) -> NewEntry {
    let stored = Stored {
        reference: resource.to_string(),
        path: because.path.iter().map(ToString::to_string).collect(),
    };
    NewEntry::new(
        source,
        format!("{resource}<{}", because.key),
        lane,
        // A value of this type is always JSON.
        serde_json::to_vec(&stored).unwrap_or_default(),
    )
}

impl Bridge {
    /// The entry that has a resource looked at again.
    pub(crate) fn look(&self, resource: &ResourceRef, because: &Because) -> NewEntry {
        self.look_in(&resource.to_string(), resource, because)
    }

    /// The same in the lane of another one.
    pub(crate) fn look_in(
        &self,
        lane: &str,
        resource: &ResourceRef,
        because: &Because,
    ) -> NewEntry {
        entry(self.looks, self.lane(lane), resource, because)
    }

    /// Something has to be looked at again.
    pub(crate) async fn refresh(self: Arc<Self>, delivery: Delivery) -> HandlerResult {
        let resource = Stored::parse(&delivery.entry().payload)
            .and_then(|stored| ResourceRef::parse(&stored.reference))
            .ok_or_else(|| HandlerError::never("entry that this version can't read"))?;
        let source = self.server.threads.source(&resource);
        let raw = self.fhir.read(&source).await.map_err(failure::fhir)?;
        let json = raw.as_ref().map(|raw| &raw.json);
        if self.is_thread(&resource, json).await? {
            return self.thread_is(&delivery, &resource, json).await;
        }
        match resource.resource_type() {
            fhir::ResourceType::CareTeam => self.care_team_is(&delivery, &resource, json).await,
            fhir::ResourceType::Communication => match json {
                Some(json) => self.communication_changed(&delivery, json).await,
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Has everything looked at again that depends on this resource.
    pub(crate) async fn pass_on(
        &self,
        delivery: &Delivery,
        resource: &ResourceRef,
    ) -> HandlerResult {
        let mut because = Because::of(delivery);
        because.path.push(resource.clone());
        let mut dependents = self
            .links
            .dependents(resource)
            .await
            .map_err(failure::links)?;
        // It depends on its care team from the first, when nothing is noted of it yet.
        let own = self.server.threads.of_team(resource);
        dependents.extend(own.filter(|own| !dependents.contains(own)));
        let entries: Vec<NewEntry> = dependents
            .iter()
            .filter(|dependent| !because.path.contains(dependent))
            .map(|dependent| self.look(dependent, &because))
            .collect();
        if !entries.is_empty() {
            self.journal.append(&entries, None).await?;
        }
        Ok(())
    }

    /// Has one resource looked at again because of a delivery.
    pub(crate) async fn look_again(
        &self,
        delivery: &Delivery,
        resource: &ResourceRef,
    ) -> HandlerResult {
        let entry = self.look(resource, &Because::of(delivery));
        self.journal.append(&[entry], None).await?;
        Ok(())
    }

    /// Notes when a resource has to be looked at again.
    pub(crate) async fn set_due(
        &self,
        resource: &ResourceRef,
        at: Option<&Instant>,
    ) -> HandlerResult {
        // A period holds up to and including its end.
        let at_ms = at.map(|at| {
            i64::try_from(at.unix_millis())
                .unwrap_or(i64::MAX)
                .saturating_add(1)
        });
        self.links
            .set_due(resource, at_ms)
            .await
            .map_err(failure::links)?;
        self.due.notify_one();
        Ok(())
    }
}

/// Looks at what is due, until it is stopped from outside.
pub(crate) async fn run(bridge: Arc<Bridge>) {
    loop {
        let pause = match take_due(&bridge).await {
            Ok(pause) => pause,
            Err(class) => {
                tracing::warn!(class, "what is due can't be looked at, trying again");
                Duration::from_secs(5)
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause.min(LONGEST_SLEEP)) => {}
            () = bridge.due.notified() => {}
        }
    }
}

/// Puts what is due into the journal. Returns how long it is until the next.
async fn take_due(bridge: &Bridge) -> Result<Duration, String> {
    loop {
        let first = bridge
            .links
            .first_due()
            .await
            .map_err(|error| error.to_string())?;
        let Some((resource, at_ms)) = first else {
            return Ok(LONGEST_SLEEP);
        };
        let now = i64::try_from(Instant::now().unix_millis()).unwrap_or(i64::MAX);
        if at_ms > now {
            return Ok(Duration::from_millis(
                u64::try_from(at_ms - now).unwrap_or(0),
            ));
        }
        let because = Because::new(format!("due/{at_ms}"));
        bridge
            .journal
            .append(&[bridge.look(&resource, &because)], None)
            .await
            .map_err(|error| error.to_string())?;
        bridge
            .links
            .was_due(&resource, at_ms)
            .await
            .map_err(|error| error.to_string())?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_says_what_it_is_about_and_why() {
        let team = ResourceRef::parse("CareTeam/1").unwrap();
        let mut because = Because::new("CareTeam/2/5");
        because.path.push(ResourceRef::parse("CareTeam/2").unwrap());
        let entry = entry(REFRESH, team.to_string(), &team, &because);
        assert_eq!(&*entry.lane, "CareTeam/1");
        assert_eq!(entry.key.as_deref(), Some("CareTeam/1<CareTeam/2/5"));
        let stored = Stored::parse(&entry.payload).unwrap();
        assert_eq!(stored.reference, "CareTeam/1");
        assert_eq!(stored.path(), because.path);
    }
}
