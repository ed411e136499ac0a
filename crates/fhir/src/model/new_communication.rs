use std::fmt;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::text::RENDERING_XHTML;
use super::{
    Attachment, EVENT_KEY_SYSTEM, MATRIX_EVENT_ID_SYSTEM, MATRIX_USER_ID_SYSTEM,
    SOURCE_SYSTEM_EXTENSION, SOURCE_SYSTEM_MATRIX, Text, lens,
};
use crate::{Condition, Identifier, Instant, OtherRef, Ref, ResourceRef};

/// The most characters that a FHIR string may have: <http://hl7.org/fhir/R4/datatypes.html#string>.
const MAX_STRING_CHARS: usize = 1024 * 1024;

/// A message that was written in Matrix and becomes a `Communication`.
///
/// Spec: <http://hl7.org/fhir/R4/communication.html>
#[derive(Clone, PartialEq)]
pub struct NewCommunication {
    /// The conversation; none where conversations have no resource and the recipients say whose message it is.
    pub part_of: Option<ResourceRef>,
    /// The message it answers, when that is a `Communication` already.
    pub in_response_to: Option<ResourceRef>,
    /// The client it is about: the conversation's `subject`.
    pub subject: Option<Ref>,
    /// Who wrote it.
    pub sender: Sender,
    /// For whom it is: the conversation's other members.
    pub recipients: Vec<Ref>,
    /// When it was written: the event's `origin_server_ts`.
    pub sent: Instant,
    /// What was written, in order.
    pub payload: Vec<NewPayload>,
    /// The Matrix event that it is. Both identifiers are made from it.
    pub event_id: String,
}

/// One part of a message that is to be stored.
#[derive(Clone, PartialEq)]
pub enum NewPayload {
    /// Text, with its markup where it has any.
    Text(Text),
    /// A file, inline or by address.
    Attachment(Attachment),
    /// Another resource.
    Reference(ResourceRef),
}

/// Who wrote a message.
#[derive(Clone, PartialEq)]
pub enum Sender {
    /// Someone this FHIR server knows.
    Known(Ref),
    /// A Matrix user that no resource is known of: becomes a logical reference.
    MatrixUser {
        /// The user id, `@name:server`.
        user_id: String,
        /// The name to show for it.
        display: Option<String>,
    },
}

/// Why a message can't become a `Communication`. Each is a matter for its writer: repeating it
/// doesn't help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMessage {
    /// The text is empty or only white space, which FHIR forbids.
    #[error("the message has no text")]
    NoText,
    /// The text holds a control character that FHIR forbids: U+0000 to U+001F but tab, line feed and
    /// carriage return, or U+FFFE or U+FFFF.
    #[error("the message's text holds a control character that FHIR forbids")]
    ControlCharacter,
    /// The text has more than 1,048,576 characters, FHIR's limit.
    #[error("the message's text is longer than FHIR's limit of 1,048,576 characters")]
    TooLong,
    /// The event id or user id is empty or holds white space or control characters.
    #[error("the message's event id or sender id is not one")]
    NoId,
}

impl NewCommunication {
    /// The resource to create: `completed`, with both event identifiers and the mark that it came
    /// from Matrix. Create it with [`NewCommunication::condition`].
    ///
    /// What was written is kept character by character, or refused.
    ///
    /// # Errors
    ///
    /// When a text is none, too long or holds what FHIR forbids, and when there is no event id.
    pub fn to_json(&self) -> Result<Value, InvalidMessage> {
        let mut communication = json!({
            "resourceType": "Communication",
            "status": "completed",
            "extension": [{"url": SOURCE_SYSTEM_EXTENSION, "valueString": SOURCE_SYSTEM_MATRIX}],
            "sender": self.sender.to_json()?,
            "sent": self.sent.as_str(),
            "payload": payload_json(&self.payload)?,
        });
        if let Some(object) = communication.as_object_mut() {
            if let Some(conversation) = &self.part_of {
                let conversation = Ref::from(conversation.clone()).to_json();
                object.insert("partOf".into(), json!([conversation]));
            }
            if let Some(answered) = &self.in_response_to {
                let answered = Ref::from(answered.clone()).to_json();
                object.insert("inResponseTo".into(), json!([answered]));
            }
            if let Some(subject) = &self.subject {
                object.insert("subject".into(), subject.to_json());
            }
            if !self.recipients.is_empty() {
                let recipients = self.recipients.iter().map(Ref::to_json).collect();
                object.insert("recipient".into(), Value::Array(recipients));
            }
        }
        with_event_identifier(&mut communication, &self.event_id)?;
        Ok(communication)
    }

    /// The condition under which to create it, so that it is stored once however often it is tried.
    #[must_use]
    pub fn condition(&self) -> Condition {
        let [_, key] = event_identifiers(&self.event_id);
        Condition::identifier(key)
    }
}

impl Sender {
    fn to_json(&self) -> Result<Value, InvalidMessage> {
        match self {
            Self::Known(reference) => Ok(reference.to_json()),
            Self::MatrixUser { user_id, display } => {
                check_id(user_id)?;
                let reference = OtherRef {
                    reference: None,
                    identifier: Some(Identifier {
                        system: Some(MATRIX_USER_ID_SYSTEM.to_owned()),
                        value: user_id.clone(),
                    }),
                    display: display.as_deref().and_then(fhir_words),
                };
                Ok(Ref::Other(reference).to_json())
            }
        }
    }
}

/// The two identifiers of a Matrix event: the event id as it is, and our key, which alone is used
/// in conditions and searches.
#[must_use]
pub fn event_identifiers(event_id: &str) -> [Identifier; 2] {
    let key = hex_of(&Sha256::digest(event_id.as_bytes()));
    [
        (MATRIX_EVENT_ID_SYSTEM, event_id.to_owned()),
        (EVENT_KEY_SYSTEM, key),
    ]
    .map(|(system, value)| Identifier {
        system: Some(system.to_owned()),
        value,
    })
}

pub(super) fn hex_of(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(hex)
        .collect()
}

fn hex(nibble: u8) -> char {
    char::from(if nibble < 10 {
        b'0' + nibble
    } else {
        b'a' + nibble - 10
    })
}

/// Adds both identifiers of a Matrix event to a raw `Communication`; the ones already there stay,
/// and nothing else is touched. Answers whether anything changed: a second call with the same event
/// id changes nothing.
///
/// # Errors
///
/// When the event id is empty or holds white space or control characters.
pub fn with_event_identifier(
    communication: &mut Value,
    event_id: &str,
) -> Result<bool, InvalidMessage> {
    check_id(event_id)?;
    let mut changed = false;
    for identifier in event_identifiers(event_id) {
        let system = identifier.system.as_deref().unwrap_or_default();
        let there = lens::items(communication, "identifier")
            .filter_map(Identifier::from_json)
            .any(|known| known.is(system, &identifier.value));
        if there {
            continue;
        }
        let Some(object) = communication.as_object_mut() else {
            return Ok(changed);
        };
        push(object, "identifier", identifier.to_json());
        changed = true;
    }
    Ok(changed)
}

/// Appends to a repeating element, also where a server sent a single item without its array.
fn push(object: &mut Map<String, Value>, name: &str, item: Value) {
    match object.get_mut(name) {
        Some(Value::Array(array)) => array.push(item),
        Some(single) if !single.is_null() => {
            let first = single.take();
            *single = Value::Array(vec![first, item]);
        }
        _ => {
            object.insert(name.to_owned(), Value::Array(vec![item]));
        }
    }
}

fn check_id(id: &str) -> Result<(), InvalidMessage> {
    let bad = id.is_empty() || id.chars().any(|c| c.is_whitespace() || c.is_control());
    if bad {
        Err(InvalidMessage::NoId)
    } else {
        Ok(())
    }
}

/// The `payload` of a `Communication`.
///
/// # Errors
///
/// As [`NewCommunication::to_json`]; also without any part.
pub fn payload_json(payload: &[NewPayload]) -> Result<Value, InvalidMessage> {
    if payload.is_empty() {
        return Err(InvalidMessage::NoText);
    }
    payload.iter().map(NewPayload::to_json).collect()
}

impl NewPayload {
    fn to_json(&self) -> Result<Value, InvalidMessage> {
        match self {
            Self::Text(text) => {
                check_text(&text.text)?;
                let mut json = json!({"contentString": text.text});
                // Markup that can't be written is not worth the text.
                let markup = text.xhtml.as_ref().filter(|x| check_text(x).is_ok());
                if let (Some(xhtml), Some(object)) = (markup, json.as_object_mut()) {
                    let rendering = json!({"url": RENDERING_XHTML, "valueString": xhtml});
                    object.insert("_contentString".into(), json!({"extension": [rendering]}));
                }
                Ok(json)
            }
            Self::Attachment(file) => Ok(json!({"contentAttachment": file.to_json()})),
            Self::Reference(resource) => {
                let reference = Ref::from(resource.clone()).to_json();
                Ok(json!({"contentReference": reference}))
            }
        }
    }
}

/// What FHIR can't hold: <http://hl7.org/fhir/R4/datatypes.html#string>.
fn is_forbidden(c: char) -> bool {
    matches!(c, '\0'..='\u{1F}' | '\u{FFFE}' | '\u{FFFF}') && !matches!(c, '\t' | '\n' | '\r')
}

fn check_text(text: &str) -> Result<(), InvalidMessage> {
    if text.chars().count() > MAX_STRING_CHARS {
        Err(InvalidMessage::TooLong)
    } else if text.chars().all(|c| c.is_whitespace() || c.is_control()) {
        Err(InvalidMessage::NoText)
    } else if text.chars().any(is_forbidden) {
        Err(InvalidMessage::ControlCharacter)
    } else {
        Ok(())
    }
}

/// A name to be shown: what FHIR can't hold is replaced.
fn fhir_words(words: &str) -> Option<String> {
    let words: String = words
        .chars()
        .map(|c| {
            if is_forbidden(c) {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect();
    (!words.trim().is_empty()).then_some(words)
}

impl fmt::Debug for NewPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "Text",
            Self::Attachment(_) => "Attachment",
            Self::Reference(_) => "Reference",
        })
    }
}

impl fmt::Debug for NewCommunication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewCommunication")
            .field("part_of", &self.part_of)
            .field("in_response_to", &self.in_response_to)
            .field("recipients", &self.recipients.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Known(_) => "Known",
            Self::MatrixUser { .. } => "MatrixUser",
        })
    }
}
