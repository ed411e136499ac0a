//! From the record to the room: a resource that a message refers to, as an event of its own behind the
//! message's others.
//!
//! What people read of it is the message's own part: clients that know no resources show nothing of the
//! event. It shows the resource as it was when the event was sent.

use fhir::{Communication, ResourceRef, without_decimals};
use matrix_appservice::{Delivery, HandlerError, HandlerResult, Intent, Media, NewEvent};
use serde_json::{Map, Value};

use super::sent::{MOST_BYTES, sent_at};
use crate::{
    bridge::Bridge,
    failure,
    links::{Known, LinkedPart},
    mapping::{
        parts::Part,
        resource::{self, Definition},
    },
};

/// What the links number the events of resources from: a part's own event has the part's number, its
/// resource's this much more.
const RESOURCES: i64 = 1_000_000;

/// The part of a message that an event shows, unless it shows a resource.
pub(super) fn number_of_part(linked: i64) -> Option<i64> {
    (linked < RESOURCES).then_some(linked)
}

impl Bridge {
    /// The events that parts may have become, as the links number them, with their fingerprints.
    pub(super) fn pieces(&self, parts: &[Part]) -> Vec<(i64, String)> {
        let own = (0..).zip(parts.iter().map(|part| self.fingerprints.of_part(part)));
        let resources = (RESOURCES..).zip(parts).filter_map(|(number, part)| {
            let to = referred(part)?;
            let is_carried = self.settings.carries_resource(to.resource_type());
            is_carried.then(|| (number, self.fingerprints.of_resource(to)))
        });
        own.chain(resources).collect()
    }

    /// Makes the events of resources those that the parts refer to. Can be repeated at any point.
    pub(super) async fn carry_resources(
        &self,
        delivery: &Delivery,
        communication: &Communication,
        known: &Known,
        parts: &[Part],
        sent: &[LinkedPart],
    ) -> HandlerResult {
        let reference = &communication.reference;
        let wanted: Vec<(i64, &ResourceRef)> = (RESOURCES..)
            .zip(parts)
            .filter_map(|(number, part)| Some((number, referred(part)?)))
            .collect();
        for before in sent.iter().filter(|one| number_of_part(one.part).is_none()) {
            let is_same = |(number, to): &(i64, &ResourceRef)| {
                *number == before.part && self.fingerprints.of_resource(to) == before.fingerprint
            };
            if !wanted.iter().any(is_same) {
                let delivery = delivery.part(&format!("resource {}", before.part));
                self.take_back_event(&delivery, known, before).await??;
                self.links
                    .unlink_event(&before.event)
                    .await
                    .map_err(failure::links)?;
            }
        }
        for (number, to) in wanted {
            let fingerprint = self.fingerprints.of_resource(to);
            if sent
                .iter()
                .any(|one| one.part == number && one.fingerprint == fingerprint)
            {
                continue;
            }
            let user = delivery
                .part(&format!("resource {number}"))
                .intent(&known.sender);
            let Some(content) = self.resource_content(&user, to).await? else {
                continue;
            };
            let mut event = NewEvent::new(resource::GEMATIK.kind, content);
            if let Some(at) = sent_at(communication) {
                event = event.at(at);
            }
            let event = user.send(&known.room, event).await?;
            self.links
                .link_part(reference, number, &event, &fingerprint)
                .await
                .map_err(failure::links)?;
            tracing::info!(resource = %reference, %event, "a resource that a message refers to is in its room");
        }
        Ok(())
    }

    /// What is sent of a resource; `None` when it isn't, which the log says.
    async fn resource_content(
        &self,
        user: &Intent,
        to: &ResourceRef,
    ) -> Result<Option<Map<String, Value>>, HandlerError> {
        let kind = to.resource_type();
        if !self.settings.carries_resource(kind) {
            return Ok(None);
        }
        let left_out = |why: &str| {
            tracing::info!(%kind, why, "a resource that a message refers to is not carried over, only told of");
            Ok(None)
        };
        let text = match self.fhir.read_text(to).await {
            Ok(Some(text)) => text,
            Ok(None) => return left_out("it is not there"),
            Err(fhir::Error::TooLarge { .. }) => return left_out(LARGE),
            // This resource alone may be closed to us: the conversation doesn't wait for it.
            Err(fhir::Error::Unauthorized { status: 403, .. }) => {
                return left_out("the FHIR server doesn't let the bridge read it");
            }
            Err(error) => return Err(failure::fhir(error)),
        };
        if text.len() > self.settings.max_resource_bytes {
            return left_out(LARGE);
        }
        let Ok(json) = serde_json::from_str::<Value>(&without_decimals(&text)) else {
            return left_out("it can't be read");
        };
        let definition = resource::definition_of(&json, kind);
        let content = resource::inline(&definition, json);
        let length = serde_json::to_string(&content).map_or(usize::MAX, |json| json.len());
        if length <= MOST_BYTES {
            return Ok(Some(content));
        }
        self.in_file(user, &definition, text).await
    }

    /// A resource that no event can hold, in a file, as the record writes it.
    async fn in_file(
        &self,
        user: &Intent,
        definition: &Definition,
        text: String,
    ) -> Result<Option<Map<String, Value>>, HandlerError> {
        let bytes = text.len();
        let name = resource::file_name(&definition.kind);
        let media = Media::bytes(resource::FHIR_JSON, text.into_bytes()).filename(name);
        match user.upload(media).await {
            Ok(uri) => Ok(Some(resource::beside(definition, &uri, bytes))),
            Err(matrix_appservice::Error::TooLarge { .. }) => {
                tracing::info!(kind = %definition.kind, why = LARGE, "a resource that a message refers to is not carried over, only told of");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

const LARGE: &str = "it is too large";

/// The resource that a part refers to.
fn referred(part: &Part) -> Option<&ResourceRef> {
    match part {
        Part::Reference { to, .. } => to.as_ref(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::servers::testing::Made;

    #[tokio::test]
    async fn a_part_is_one_event_and_two_where_its_resource_is_carried() {
        let made = Made::with(json!({
            "fhir": {"url": "http://127.0.0.1:9/fhir"},
            "messages": {"resource_types": ["Observation"]},
        }))
        .await;
        let bridge = made.servers.iter().next().unwrap();
        let refers_to = |to: &str| Part::Reference {
            line: to.to_owned(),
            to: ResourceRef::parse(to),
        };
        let parts = [
            refers_to("Practitioner/1"),
            Part::Notice("a notice".to_owned()),
            refers_to("Observation/2"),
        ];
        let pieces = bridge.pieces(&parts);
        let numbers: Vec<i64> = pieces.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [0, 1, 2, RESOURCES + 2]);
        assert_eq!(number_of_part(2), Some(2));
        assert_eq!(number_of_part(RESOURCES + 2), None);
    }
}
