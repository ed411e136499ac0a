use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::{Condition, Edit, FhirClient, Modified};
use crate::{Error, RawResource, ResourceRef, ResourceType};

/// A rest-hook subscription with an empty payload: the server tells us that something changed, and
/// we read what.
///
/// Spec: <http://hl7.org/fhir/R4/subscription.html>
#[derive(Clone)]
pub struct RestHook {
    /// What to watch, a search without base such as `Communication?`.
    pub criteria: String,
    /// Where to send the notification: a URL of its own for each subscription, by which it is found
    /// again.
    pub endpoint: SecretString,
    /// The token that comes with each notification, as `Authorization: Bearer …`.
    pub bearer: SecretString,
}

/// A subscription as the server holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionState {
    /// Type and id.
    pub reference: ResourceRef,
    /// Its state.
    pub status: SubscriptionStatus,
}

/// The state of a subscription: <http://hl7.org/fhir/R4/valueset-subscription-status.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscriptionStatus {
    /// We asked for it; the server has yet to begin.
    Requested,
    /// It notifies.
    Active,
    /// It failed to notify. Notifications may be lost: read the history.
    Error,
    /// It was switched off.
    Off,
    /// Absent, or a word that the specification doesn't have.
    Unrecognized,
}

impl SubscriptionStatus {
    fn of(json: &Value) -> Self {
        match json.get("status").and_then(Value::as_str) {
            Some("requested") => Self::Requested,
            Some("active") => Self::Active,
            Some("error") => Self::Error,
            Some("off") => Self::Off,
            _ => Self::Unrecognized,
        }
    }
}

impl fmt::Debug for RestHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestHook").finish_non_exhaustive()
    }
}

impl FhirClient {
    /// Makes sure that the server has this subscription, once, and that it is at work: found by its
    /// endpoint, else created; asked for again when it is in `error` or `off`, or when its criteria
    /// or token are no longer ours. Call it at start and from time to time; after anything but
    /// `Active` before and now, read the history.
    ///
    /// # Errors
    ///
    /// When the server is unavailable, refuses (many do: then poll), or answers something unusable.
    pub async fn ensure_subscription(&self, wanted: &RestHook) -> Result<SubscriptionState, Error> {
        let endpoint = wanted.endpoint.expose_secret();
        let condition = Condition::endpoint(endpoint);
        let found = self
            .search(&ResourceType::Subscription, &[("url", endpoint)], 1000)
            .await?;
        let mut ours: Vec<RawResource> = found.resources;
        ours.retain(|subscription| condition.is_met_by(&subscription.json));
        // Doubles can only come from two bridges that began at once; all of them take the same one.
        ours.sort_by(|a, b| (&a.last_updated, &a.reference).cmp(&(&b.last_updated, &b.reference)));
        let reference = if let Some(subscription) = ours.into_iter().next() {
            subscription.reference
        } else {
            let created = self
                .create_if_none_exist(&wanted.to_json(), &condition)
                .await?;
            if !created.was_there {
                return Ok(SubscriptionState {
                    reference: created.reference,
                    status: SubscriptionStatus::Requested,
                });
            }
            created.reference
        };
        let mut status = SubscriptionStatus::Unrecognized;
        let modified = self
            .modify(&reference, &mut |json| {
                status = SubscriptionStatus::of(json);
                let edit = wanted.mend(json);
                if edit == Edit::Changed {
                    status = SubscriptionStatus::Requested;
                }
                edit
            })
            .await?;
        if modified == Modified::Gone {
            status = SubscriptionStatus::Off;
        }
        Ok(SubscriptionState { reference, status })
    }
}

impl RestHook {
    fn to_json(&self) -> Value {
        let mut json = json!({
            "resourceType": "Subscription",
            "status": "requested",
            "reason": "Tells a bridge that there is something to read",
            "criteria": self.criteria,
        });
        json["channel"] = self.channel();
        json
    }

    fn channel(&self) -> Value {
        json!({
            "type": "rest-hook",
            "endpoint": self.endpoint.expose_secret(),
            "header": [format!("Authorization: Bearer {}", self.bearer.expose_secret())],
        })
    }

    /// Changes what is not as wanted; a subscription that is in force and ours stays as it is.
    fn mend(&self, json: &mut Value) -> Edit {
        let works = matches!(
            SubscriptionStatus::of(json),
            SubscriptionStatus::Active | SubscriptionStatus::Requested
        );
        let channel = self.channel();
        let is_ours = json.get("criteria").and_then(Value::as_str) == Some(self.criteria.as_str())
            && ["type", "endpoint", "header"].into_iter().all(|name| {
                json.get("channel").and_then(|channel| channel.get(name)) == channel.get(name)
            })
            && json
                .get("channel")
                .is_some_and(|channel| channel.get("payload").is_none())
            && json.get("end").is_none();
        if works && is_ours {
            return Edit::Unchanged;
        }
        let Some(object) = json.as_object_mut() else {
            return Edit::Unchanged;
        };
        object.insert("status".into(), "requested".into());
        object.insert("criteria".into(), self.criteria.as_str().into());
        // The old failure and an end date would keep it from beginning again.
        object.remove("error");
        object.remove("end");
        match object.get_mut("channel").and_then(Value::as_object_mut) {
            Some(old) => {
                old.remove("payload");
                if let Value::Object(channel) = channel {
                    old.extend(channel);
                }
            }
            None => {
                object.insert("channel".into(), channel);
            }
        }
        Edit::Changed
    }
}
