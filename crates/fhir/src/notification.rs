use serde_json::Value;

use crate::SubscriptionStatus;

/// How many event numbers of one notification are looked at: a server that sends more sends them again when asked.
const MAX_EVENTS: usize = 10_000;

/// What a server says about a subscription to a topic, in a notification or as the answer to `$status`: the parts that
/// tell whether something was missed. What changed is never taken from here; it is read from the server.
///
/// Spec: <https://hl7.org/fhir/uv/subscriptions-backport/notifications.html>,
/// <http://hl7.org/fhir/R5/subscriptionstatus.html>
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// What it is.
    pub kind: NotificationKind,
    /// The subscription's state, where it is told.
    pub status: Option<SubscriptionStatus>,
    /// How many events there have been since the subscription began, where it is told.
    pub events_since_start: Option<u64>,
    /// The numbers of the events that it is about.
    pub event_numbers: Vec<u64>,
}

/// What a notification is: <http://hl7.org/fhir/R5/valueset-subscription-notification-type.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotificationKind {
    /// The server tries whether it reaches us: the subscription begins, or begins again.
    Handshake,
    /// Nothing has happened, and the server is there.
    Heartbeat,
    /// Something has happened.
    Event,
    /// An answer to `$status`.
    QueryStatus,
    /// An answer to `$events`.
    QueryEvent,
    /// A word that the specification doesn't have, or none.
    Unrecognized,
}

impl Notification {
    /// Reads a notification by its shape, whatever version of FHIR it is in: a `Bundle` with a `Parameters` (R4
    /// backport) or a `SubscriptionStatus` (R4B, R5), or one of these alone. `None` for everything else, such as the
    /// resource itself, or nothing.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let json: Value = serde_json::from_slice(body).ok()?;
        let of_bundle = json.get("entry").and_then(Value::as_array);
        let entries = of_bundle
            .into_iter()
            .flatten()
            .map(|entry| &entry["resource"]);
        std::iter::once(&json).chain(entries).find_map(Self::of)
    }

    fn of(json: &Value) -> Option<Self> {
        match json.get("resourceType").and_then(Value::as_str)? {
            "SubscriptionStatus" => Some(Self::new(
                json["type"].as_str(),
                json["status"].as_str(),
                number(&json["eventsSinceSubscriptionStart"]),
                list(&json["notificationEvent"]).filter_map(|event| number(&event["eventNumber"])),
            )),
            "Parameters" => {
                let all = || list(&json["parameter"]);
                let named = |name: &'static str| all().filter(move |one| is_named(one, name));
                let word = |name| named(name).next().map(value).and_then(Value::as_str);
                // Parameters of something else have no state of a subscription.
                word("status").or(word("type"))?;
                let events = named("notificationevent").filter_map(|event| {
                    let part = list(&event["part"]).find(|part| is_named(part, "eventnumber"));
                    number(value(part?))
                });
                let since = named("eventssincesubscriptionstart").next();
                Some(Self::new(
                    word("type"),
                    word("status"),
                    since.map(value).and_then(number),
                    events,
                ))
            }
            _ => None,
        }
    }

    fn new(
        kind: Option<&str>,
        status: Option<&str>,
        events_since_start: Option<u64>,
        event_numbers: impl Iterator<Item = u64>,
    ) -> Self {
        Self {
            kind: match kind {
                Some("handshake") => NotificationKind::Handshake,
                Some("heartbeat") => NotificationKind::Heartbeat,
                Some("event-notification") => NotificationKind::Event,
                Some("query-status") => NotificationKind::QueryStatus,
                Some("query-event") => NotificationKind::QueryEvent,
                _ => NotificationKind::Unrecognized,
            },
            status: status.map(|word| SubscriptionStatus::parse(Some(word))),
            events_since_start,
            event_numbers: event_numbers.take(MAX_EVENTS).collect(),
        }
    }

    /// The number of the newest event that the server knows of, as far as this tells.
    #[must_use]
    pub fn newest_event(&self) -> Option<u64> {
        self.event_numbers
            .iter()
            .copied()
            .chain(self.events_since_start)
            .max()
    }
}

fn list(json: &Value) -> impl Iterator<Item = &Value> {
    json.as_array().into_iter().flatten()
}

/// `events-since-subscription-start` and `eventsSinceSubscriptionStart` are the same: the guide's versions differ.
fn is_named(parameter: &Value, name: &str) -> bool {
    parameter["name"].as_str().is_some_and(|own| {
        let own = own.bytes().filter(|byte| *byte != b'-');
        own.map(|byte| byte.to_ascii_lowercase()).eq(name.bytes())
    })
}

/// A parameter's value, whichever type it is of.
fn value(parameter: &Value) -> &Value {
    let of_type = |parameter: &'_ Value| {
        let members = parameter.as_object()?;
        members
            .keys()
            .find(|name| name.starts_with("value"))
            .cloned()
    };
    of_type(parameter).map_or(&Value::Null, |name| &parameter[name])
}

/// A count: a number, or (integer64) a string.
fn number(json: &Value) -> Option<u64> {
    json.as_u64().or_else(|| json.as_str()?.parse().ok())
}
