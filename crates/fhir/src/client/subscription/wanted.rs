//! A subscription as we want it, and what is mended in one that is not so.

use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};

use super::{RestHook, SubscriptionStatus};
use crate::{Edit, Instant};

/// The extensions of the R4 backport begin so.
const BACKPORT: &str =
    "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-";

/// How long before the end that a server has set a subscription is prolonged, when we have no wish of our own.
const BEFORE_THE_END: Duration = Duration::from_hours(1);

impl RestHook {
    pub(super) fn to_json(&self) -> Value {
        let mut json = json!({
            "resourceType": "Subscription",
            "status": "requested",
            "reason": "Tells a bridge that there is something to read",
        });
        self.put_into(&mut json);
        if let Some(lifetime) = self.lifetime {
            json["end"] = Instant::now().later_by(lifetime).as_str().into();
        }
        json
    }

    /// Puts the elements that are ours in place of whatever is there; others stay.
    fn put_into(&self, json: &mut Value) {
        json["criteria"] = self.criteria().into();
        match self.filters() {
            Some(filters) => json["_criteria"] = filters,
            None => remove(json, "_criteria"),
        }
        if !json["channel"].is_object() {
            json["channel"] = Value::Object(Map::new());
        }
        for (name, value) in self.channel() {
            match value {
                Some(value) => json["channel"][name] = value,
                None => remove(&mut json["channel"], name),
            }
        }
    }

    fn criteria(&self) -> &str {
        self.topic
            .as_ref()
            .map_or(&self.criteria, |topic| &topic.url)
    }

    fn filters(&self) -> Option<Value> {
        let topic = self.topic.as_ref()?;
        let filters: Vec<Value> = topic
            .filters
            .iter()
            .map(|filter| json!({"url": format!("{BACKPORT}filter-criteria"), "valueString": filter}))
            .collect();
        (!filters.is_empty()).then(|| json!({"extension": filters}))
    }

    /// The channel's elements; `None` for those that must not be there.
    fn channel(&self) -> [(&'static str, Option<Value>); 6] {
        let topic = self.topic.as_ref();
        let heartbeat = topic.and_then(|topic| topic.heartbeat).map(|heartbeat| {
            json!([{"url": format!("{BACKPORT}heartbeat-period"), "valueUnsignedInt": heartbeat.as_secs()}])
        });
        // Without a payload nothing of the record leaves the server.
        let content = topic.map(|_| {
            json!({"extension": [{"url": format!("{BACKPORT}payload-content"), "valueCode": "empty"}]})
        });
        let bearer = format!("Authorization: Bearer {}", self.bearer.expose_secret());
        [
            ("type", Some("rest-hook".into())),
            ("endpoint", Some(self.endpoint.expose_secret().into())),
            ("header", Some(json!([bearer]))),
            ("payload", topic.map(|_| "application/fhir+json".into())),
            ("_payload", content),
            ("extension", heartbeat),
        ]
    }

    /// Changes what is not as wanted; a subscription that is in force and ours stays as it is.
    pub(super) fn mend(&self, json: &mut Value) -> Edit {
        let works = matches!(
            SubscriptionStatus::of(json),
            SubscriptionStatus::Active | SubscriptionStatus::Requested
        );
        let ends = json.get("end").is_some_and(|end| self.is_soon(end))
            || (self.lifetime.is_some() && json.get("end").is_none());
        let channel = json.get("channel");
        let is_ours = json.get("criteria").and_then(Value::as_str) == Some(self.criteria())
            && json.get("_criteria") == self.filters().as_ref()
            && self.channel().iter().all(|(name, value)| {
                channel.and_then(|channel| channel.get(name)) == value.as_ref()
            });
        if (works && is_ours && !ends) || !json.is_object() {
            return Edit::Unchanged;
        }
        self.put_into(json);
        json["status"] = "requested".into();
        // The old failure would keep it from beginning again.
        remove(json, "error");
        match self.lifetime {
            Some(lifetime) => json["end"] = Instant::now().later_by(lifetime).as_str().into(),
            None => remove(json, "end"),
        }
        Edit::Changed
    }

    fn is_soon(&self, end: &Value) -> bool {
        let before = self
            .lifetime
            .map_or(BEFORE_THE_END, |lifetime| lifetime / 2);
        let end = end.as_str().and_then(Instant::parse);
        end.is_none_or(|end| end < Instant::now().later_by(before))
    }
}

fn remove(json: &mut Value, name: &str) {
    if let Some(object) = json.as_object_mut() {
        object.remove(name);
    }
}
