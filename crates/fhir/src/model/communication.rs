use std::fmt;

use serde_json::Value;

use super::{
    MATRIX_EVENT_ID_SYSTEM, SOURCE_SYSTEM_EXTENSION, SOURCE_SYSTEM_MATRIX, Text, care_teams,
    codes::EventStatus, lens,
};
use crate::{BaseUrl, Identifier, Instant, Odd, Ref, ResourceRef, ResourceType};

/// One message; or, without payload and `partOf`, the header of a conversation whose messages are
/// `partOf` it (see [`Communication::is_header`]).
///
/// Spec: <http://hl7.org/fhir/R4/communication.html>
#[derive(Clone, PartialEq)]
pub struct Communication {
    /// Type and id.
    pub reference: ResourceRef,
    /// The version that was read.
    pub version_id: Option<String>,
    /// When the server stored this version.
    pub last_updated: Option<Instant>,
    /// Its state.
    pub status: EventStatus,
    /// What it is part of: its conversation, usually.
    pub part_of: Vec<Ref>,
    /// The messages it answers.
    pub in_response_to: Vec<Ref>,
    /// The client it is about.
    pub subject: Option<Ref>,
    /// Who wrote it.
    pub sender: Option<Ref>,
    /// For whom it is.
    pub recipients: Vec<Ref>,
    /// The care teams it belongs to, as
    /// [`CommunicationRequest::care_teams`](super::CommunicationRequest::care_teams).
    pub care_teams: Vec<ResourceRef>,
    /// The text of `topic`: a subject line.
    pub topic_text: Option<String>,
    /// When it was sent; none when the resource says nothing or only a date.
    pub sent: Option<Instant>,
    /// Its contents, in order.
    pub payload: Vec<Payload>,
    /// Its business identifiers.
    pub identifiers: Vec<Identifier>,
    /// The system it was first written in, from the extension [`SOURCE_SYSTEM_EXTENSION`].
    pub source_system: Option<String>,
}

/// One part of a message. `Debug` shows its kind alone.
///
/// Spec: <http://hl7.org/fhir/R4/communication-definitions.html#Communication.payload>
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum Payload {
    /// Text.
    Text(Text),
    /// A file.
    Attachment(Attachment),
    /// Another resource.
    Reference(Ref),
    /// Something else, or nothing readable: it has to be said that a part was left out.
    Other,
}

/// A file, inline or by address.
///
/// Spec: <http://hl7.org/fhir/R4/datatypes.html#Attachment>
#[derive(Clone, PartialEq, Default)]
pub struct Attachment {
    /// Its MIME type.
    pub content_type: Option<String>,
    /// The contents, base64 as the server sent it (white space may stand in it).
    pub data: Option<String>,
    /// Where the contents are, as the server sent it.
    pub url: Option<String>,
    /// Its title, often a file name.
    pub title: Option<String>,
    /// How many bytes the contents have before base64.
    pub size: Option<u64>,
    /// The SHA-1 of the contents, base64.
    pub hash: Option<String>,
    /// When it was made, as the server sent it.
    pub creation: Option<String>,
}

impl Communication {
    /// Reads a `Communication`.
    ///
    /// # Errors
    ///
    /// When it is another type of resource or has no id.
    pub fn from_json(json: &Value, base: &BaseUrl) -> Result<Self, Odd> {
        let raw = lens::resource(json, &ResourceType::Communication, "Communication")?;
        let recipients = lens::references(json, "recipient", base);
        Ok(Self {
            reference: raw.reference,
            version_id: raw.version_id,
            last_updated: raw.last_updated,
            status: EventStatus::from_json(json.get("status")),
            part_of: lens::references(json, "partOf", base),
            in_response_to: lens::references(json, "inResponseTo", base),
            subject: lens::reference(json, "subject", base),
            sender: lens::reference(json, "sender", base),
            care_teams: care_teams::of(json, &recipients, base),
            recipients,
            topic_text: json
                .get("topic")
                .and_then(|topic| lens::text(topic, "text"))
                .map(str::to_owned),
            sent: lens::text(json, "sent").and_then(Instant::parse),
            payload: Payload::all_from_json(json, base),
            identifiers: lens::items(json, "identifier")
                .filter_map(Identifier::from_json)
                .collect(),
            source_system: source_system(json),
        })
    }

    /// The first resource of a type that it is part of. Its conversation is one of them; of which type
    /// those are, the application decides.
    #[must_use]
    pub fn part_of_a(&self, resource_type: &ResourceType) -> Option<&ResourceRef> {
        self.part_of
            .iter()
            .find_map(|r| r.resource_of(resource_type))
    }

    /// Whether a raw `Communication` says nothing and is part of nothing: so looks the header of a conversation
    /// in applications that make no `CommunicationRequest`s.
    #[must_use]
    pub fn is_header(json: &Value) -> bool {
        ["payload", "partOf"]
            .into_iter()
            .all(|name| lens::items(json, name).next().is_none())
    }

    /// The Matrix events it is known as, in the resource's order.
    pub fn event_ids(&self) -> impl Iterator<Item = &str> {
        self.identifiers
            .iter()
            .filter(|i| i.system.as_deref() == Some(MATRIX_EVENT_ID_SYSTEM))
            .map(|i| i.value.as_str())
    }

    /// Whether it was first written in Matrix, so that it must not be sent back there.
    #[must_use]
    pub fn is_from_matrix(&self) -> bool {
        self.source_system.as_deref() == Some(SOURCE_SYSTEM_MATRIX)
    }
}

fn source_system(json: &Value) -> Option<String> {
    let (_, extension) = lens::extensions(json).find(|(url, _)| *url == SOURCE_SYSTEM_EXTENSION)?;
    ["valueString", "valueCode", "valueUri"]
        .into_iter()
        .find_map(|name| lens::text(extension, name))
        .map(str::to_owned)
}

impl Payload {
    pub(super) fn all_from_json(json: &Value, base: &BaseUrl) -> Vec<Self> {
        lens::items(json, "payload")
            .map(|payload| Self::from_json(payload, base))
            .collect()
    }

    fn from_json(json: &Value, base: &BaseUrl) -> Self {
        if let Some(text) = Text::from_json(json, "contentString") {
            return Self::Text(text);
        }
        if let Some(attachment) = json.get("contentAttachment").filter(|a| a.is_object()) {
            return Self::Attachment(Attachment::from_json(attachment));
        }
        json.get("contentReference")
            .and_then(|reference| Ref::from_json(reference, base))
            .map_or(Self::Other, Self::Reference)
    }
}

impl Attachment {
    fn from_json(json: &Value) -> Self {
        let get = |name| lens::text(json, name).map(str::to_owned);
        Self {
            content_type: get("contentType"),
            data: get("data"),
            url: get("url"),
            title: get("title"),
            size: json.get("size").and_then(Value::as_u64),
            hash: get("hash"),
            creation: get("creation"),
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let mut json = serde_json::Map::new();
        for (name, value) in [
            ("contentType", &self.content_type),
            ("data", &self.data),
            ("url", &self.url),
            ("hash", &self.hash),
            ("title", &self.title),
            ("creation", &self.creation),
        ] {
            if let Some(value) = value {
                json.insert(name.to_owned(), Value::String(value.clone()));
            }
        }
        if let Some(size) = self.size {
            json.insert("size".to_owned(), size.into());
        }
        Value::Object(json)
    }
}

impl fmt::Debug for Communication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Communication")
            .field("reference", &self.reference)
            .field("version_id", &self.version_id)
            .field("status", &self.status)
            .field("payload", &self.payload)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "Text",
            Self::Attachment(_) => "Attachment",
            Self::Reference(_) => "Reference",
            Self::Other => "Other",
        })
    }
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attachment")
            .field("inline", &self.data.is_some())
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}
