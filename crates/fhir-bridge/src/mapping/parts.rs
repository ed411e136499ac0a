//! The parts of a message: what of a `Communication` is sent to the room.

use fhir::{Attachment, Communication, EventStatus, Payload, Ref, ResourceRef, Text};

use super::{file_name, markup};
use crate::config::Threads;

/// The most files of one message that are sent to the room.
pub const MOST_FILES: usize = 5;

/// Why a `Communication` is not sent to a room. Told in the log, without content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeftOut {
    /// Its status says that it isn't (or not yet) a message.
    #[error("its status is neither completed nor in-progress")]
    Status,
    /// It is part of no conversation.
    #[error("it is part of no conversation")]
    NoThread,
    /// It has no payload.
    #[error("it has no payload")]
    Empty,
}

/// What is sent as one event. `Debug` shows its kind alone.
#[derive(Clone, PartialEq)]
pub enum Part {
    /// Text, and the same as HTML where it has markup.
    Text {
        /// The text.
        body: String,
        /// The same as HTML.
        html: Option<String>,
    },
    /// A file.
    File(File),
    /// Another resource.
    Reference {
        /// What is said of it.
        line: String,
        /// The resource, when it is on this server.
        to: Option<ResourceRef>,
    },
    /// What is said of a part that can't be carried over.
    Notice(String),
}

/// A file as the record has it.
#[derive(Clone, PartialEq)]
pub struct File {
    /// What it is called, made harmless.
    pub name: String,
    /// Its MIME type, in lower case and without parameters.
    pub content_type: String,
    /// As it stands in the record.
    pub attachment: Attachment,
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Text { .. } => "Text",
            Self::File(_) => "File",
            Self::Reference { .. } => "Reference",
            Self::Notice(_) => "Notice",
        })
    }
}

/// The parts of a `Communication` that is to be sent, in order; each becomes an event.
///
/// # Errors
///
/// When it is left out, and why.
pub fn to_parts(communication: &Communication, threads: Threads) -> Result<Vec<Part>, LeftOut> {
    if !is_said(communication.status) {
        return Err(LeftOut::Status);
    }
    if threads.of_message(communication).is_none() {
        return Err(LeftOut::NoThread);
    }
    if communication.payload.is_empty() {
        return Err(LeftOut::Empty);
    }
    Ok(of_payload(&communication.payload))
}

/// Whether a message of this status is one that people can read.
#[must_use]
pub fn is_said(status: EventStatus) -> bool {
    matches!(status, EventStatus::Completed | EventStatus::InProgress)
}

/// The parts of a payload.
#[must_use]
pub fn of_payload(payload: &[Payload]) -> Vec<Part> {
    let mut files = 0;
    let mut parts = Vec::new();
    for part in payload {
        match part {
            Payload::Text(text) => parts.push(of_text(text)),
            Payload::Attachment(attachment) => {
                files += 1;
                if files <= MOST_FILES {
                    parts.push(of_attachment(attachment));
                }
            }
            Payload::Reference(reference) => parts.push(of_reference(reference)),
            _ => parts.push(Part::Notice(NOT_CARRIED.to_owned())),
        }
    }
    if files > MOST_FILES {
        let more = files - MOST_FILES;
        parts.push(Part::Notice(format!(
            "(This message has {more} more attachments, which are in the record only.)"
        )));
    }
    parts
}

/// What is sent for a part that can't be carried over.
const NOT_CARRIED: &str =
    "(This message has a part that can't be shown here. It is in the record.)";

fn of_text(text: &Text) -> Part {
    let nodes = match (&text.xhtml, &text.markdown) {
        (Some(xhtml), _) => markup::from_html(xhtml),
        (None, Some(markdown)) => markup::from_markdown(markdown),
        (None, None) => Vec::new(),
    };
    Part::Text {
        body: text.text.clone(),
        html: markup::is_marked(&nodes).then(|| markup::to_html(&nodes)),
    }
}

fn of_attachment(attachment: &Attachment) -> Part {
    let content_type = attachment
        .content_type
        .as_deref()
        .map_or_else(String::new, bare_type);
    Part::File(File {
        name: file_name::clean(
            attachment.title.as_deref().unwrap_or_default(),
            &content_type,
        ),
        content_type,
        attachment: attachment.clone(),
    })
}

fn of_reference(reference: &Ref) -> Part {
    let what = match reference {
        Ref::Resource(resource) => resource.resource_type().to_string(),
        Ref::Other(_) => "a document".to_owned(),
    };
    Part::Reference {
        line: format!("(This message refers to something in the record: {what}.)"),
        to: reference.resource().cloned(),
    }
}

/// A MIME type in lower case and without parameters.
#[must_use]
pub fn bare_type(content_type: &str) -> String {
    let bare = content_type.split(';').next().unwrap_or_default();
    bare.trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use fhir::BaseUrl;
    use serde_json::{Value, json};

    use super::*;

    fn communication(change: impl FnOnce(&mut Value)) -> Communication {
        let mut json = json!({
            "resourceType": "Communication", "id": "5", "status": "completed",
            "partOf": [{"reference": "CommunicationRequest/7"}],
            "payload": [{"contentString": "one"}, {"contentAttachment": {"title": "x"}}, {}],
        });
        change(&mut json);
        let base = BaseUrl::parse("http://fhir.example/fhir").unwrap();
        Communication::from_json(&json, &base).unwrap()
    }

    fn to_parts(communication: &Communication) -> Result<Vec<Part>, LeftOut> {
        super::to_parts(communication, Threads::CommunicationRequest)
    }

    #[test]
    fn each_part_becomes_an_event_and_none_is_left_out_in_silence() {
        let parts = to_parts(&communication(|_| {})).unwrap();
        assert!(matches!(
            &parts[..],
            [
                Part::Text { html: None, .. },
                Part::File(_),
                Part::Notice(_)
            ]
        ));
    }

    #[test]
    fn files_above_the_limit_are_told() {
        let file = json!({"contentAttachment": {"title": "x"}});
        let many = to_parts(&communication(|json| {
            json["payload"] = json!(vec![file; 7]);
        }))
        .unwrap();
        assert_eq!(many.len(), MOST_FILES + 1);
        assert!(matches!(many.last(), Some(Part::Notice(text)) if text.contains("2 more")));
    }

    #[test]
    fn markup_comes_from_either_extension() {
        for (url, value, markup) in [
            ("rendering-xhtml", "valueString", "<div>a <b>b</b></div>"),
            ("rendering-markdown", "valueMarkdown", "a **b**"),
        ] {
            let url = format!("http://hl7.org/fhir/StructureDefinition/{url}");
            let mut extension = json!({"url": url});
            extension[value] = markup.into();
            let parts = to_parts(&communication(|json| {
                json["payload"] = json!([{
                    "contentString": "a b", "_contentString": {"extension": [extension]}
                }]);
            }));
            let Part::Text { body, html } = &parts.unwrap()[0] else {
                panic!("it is text");
            };
            assert_eq!(body, "a b");
            assert!(html.as_ref().unwrap().contains("<strong>b</strong>"));
        }
    }

    #[test]
    fn what_is_no_message_is_left_out_for_a_reason() {
        for (key, value, reason) in [
            ("status", json!("preparation"), LeftOut::Status),
            ("status", json!("entered-in-error"), LeftOut::Status),
            ("partOf", json!([]), LeftOut::NoThread),
            ("payload", json!([]), LeftOut::Empty),
        ] {
            let left_out = to_parts(&communication(|json| json[key] = value)).unwrap_err();
            assert_eq!(left_out, reason);
        }
    }
}
