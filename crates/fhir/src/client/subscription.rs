mod wanted;

use std::{fmt, time::Duration};

use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::{Condition, Edit, FhirClient, Modified};
use crate::{Error, Notification, RawResource, ResourceRef, ResourceType};

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
    /// The topic that is subscribed to, in the form of the R4 backport. `None`: the criteria are, as R4 has it.
    pub topic: Option<Topic>,
    /// How long the subscription holds; it is prolonged when half of that is over. `None`: without end, where the
    /// server doesn't set one.
    pub lifetime: Option<Duration>,
}

/// A topic to subscribe to.
///
/// Spec: <https://hl7.org/fhir/uv/subscriptions-backport/components.html#subscriptions-in-fhir-r4>
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its canonical URL.
    pub url: String,
    /// What of it is wanted, such as `Communication?status=completed`; all of it when there is none.
    pub filters: Vec<String>,
    /// How often the server shall say that it is still there.
    pub heartbeat: Option<Duration>,
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
    pub(crate) fn parse(word: Option<&str>) -> Self {
        match word {
            Some("requested") => Self::Requested,
            Some("active") => Self::Active,
            Some("error") => Self::Error,
            Some("off" | "entered-in-error") => Self::Off,
            _ => Self::Unrecognized,
        }
    }

    fn of(json: &Value) -> Self {
        Self::parse(json.get("status").and_then(Value::as_str))
    }
}

impl fmt::Debug for RestHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestHook").finish_non_exhaustive()
    }
}

impl FhirClient {
    /// Makes sure that the server has this subscription, once, and that it is at work: found by its
    /// endpoint, else created; asked for again when it is in `error` or `off`, when it is about to end, or when its
    /// criteria or token are no longer ours. Call it at start and from time to time; after anything but
    /// `Active` before and now, read the history.
    ///
    /// # Errors
    ///
    /// When the server is unavailable, refuses (many do: then poll), or answers something unusable.
    pub async fn ensure_subscription(&self, wanted: &RestHook) -> Result<SubscriptionState, Error> {
        let condition = Condition::endpoint(wanted.endpoint.expose_secret());
        let mut ours = self.subscriptions(wanted).await?;
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

    async fn subscriptions(&self, wanted: &RestHook) -> Result<Vec<RawResource>, Error> {
        let endpoint = wanted.endpoint.expose_secret();
        let condition = Condition::endpoint(endpoint);
        let found = self
            .search(&ResourceType::Subscription, &[("url", endpoint)], 1000)
            .await?;
        let mut ours: Vec<RawResource> = found.resources;
        ours.retain(|subscription| condition.is_met_by(&subscription.json));
        Ok(ours)
    }

    /// Asks for a subscription to begin again, whatever its state says: a server that has gone silent may believe that
    /// it works.
    ///
    /// # Errors
    ///
    /// As for [`FhirClient::modify`].
    pub async fn restart_subscription(&self, reference: &ResourceRef) -> Result<(), Error> {
        let mut restart = |json: &mut Value| {
            let Some(subscription) = json.as_object_mut() else {
                return Edit::Unchanged;
            };
            subscription.insert("status".into(), "requested".into());
            subscription.remove("error");
            Edit::Changed
        };
        self.modify(reference, &mut restart).await.map(|_| ())
    }

    /// Takes a subscription away: the server calls us no more. How many there were.
    ///
    /// # Errors
    ///
    /// When the server is unavailable or refuses.
    pub async fn remove_subscription(&self, wanted: &RestHook) -> Result<usize, Error> {
        let ours = self.subscriptions(wanted).await?;
        for subscription in &ours {
            let path = subscription.reference.to_string();
            let request = self.request(Method::DELETE, &path, "Subscription/[id]");
            match self.send(request).await?.success() {
                Ok(_) | Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(ours.len())
    }

    /// What the server says about a subscription: `GET Subscription/[id]/$status`. `None` when it doesn't offer that.
    ///
    /// Spec: <https://hl7.org/fhir/uv/subscriptions-backport/OperationDefinition-backport-subscription-status.html>
    ///
    /// # Errors
    ///
    /// When the server is unavailable, or doesn't let us in.
    pub async fn subscription_status(
        &self,
        reference: &ResourceRef,
    ) -> Result<Option<Notification>, Error> {
        let request = self.request(
            Method::GET,
            &format!("{reference}/$status"),
            "Subscription/[id]/$status",
        );
        match self.send(request).await?.success() {
            Ok(answer) => Ok(Notification::parse(answer.body())),
            Err(Error::NotFound { .. } | Error::Rejected { .. } | Error::BadAnswer { .. }) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
