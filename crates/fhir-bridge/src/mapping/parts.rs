//! The parts of a message: what of a `Communication` is sent to the room, and what of an event is stored.

use fhir::{Communication, EventStatus, Payload};
use matrix_appservice::{
    Message,
    ruma::{MilliSecondsSinceUnixEpoch, UInt, events::room::message::MessageType},
};

/// Why a `Communication` is not sent to a room. Told in the log, without content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeftOut {
    /// Its status says that it isn't (or not yet) a message.
    #[error("its status is neither completed nor in-progress")]
    Status,
    /// It is part of no `CommunicationRequest`.
    #[error("it is part of no CommunicationRequest")]
    NoThread,
    /// It has no payload.
    #[error("it has no payload")]
    Empty,
}

/// What is sent for a part that can't be carried over yet.
const NOT_CARRIED: &str = "(This message has a part that is not shown here: an attachment or a link \
                           to another document. It is in the record.)";

/// The messages that a `Communication` becomes, one for each part of its payload, in order.
///
/// # Errors
///
/// When it is left out, and why.
pub fn to_messages(communication: &Communication) -> Result<Vec<Message>, LeftOut> {
    if !matches!(
        communication.status,
        EventStatus::Completed | EventStatus::InProgress
    ) {
        return Err(LeftOut::Status);
    }
    if communication.thread().is_none() {
        return Err(LeftOut::NoThread);
    }
    if communication.payload.is_empty() {
        return Err(LeftOut::Empty);
    }
    let at = communication
        .sent
        .as_ref()
        .and_then(|sent| UInt::new(sent.unix_millis()))
        .map(MilliSecondsSinceUnixEpoch);
    Ok(communication
        .payload
        .iter()
        .map(|part| match part {
            Payload::Text(text) => Message::text(text),
            _ => Message::notice(NOT_CARRIED),
        })
        .map(|message| match at {
            Some(at) => message.at(at),
            None => message,
        })
        .collect())
}

/// The text that an event's content is stored as; `None` when it is of a kind that is not stored yet.
#[must_use]
pub fn text_of(content: &MessageType) -> Option<&str> {
    match content {
        MessageType::Text(text) => Some(&text.body),
        MessageType::Notice(notice) => Some(&notice.body),
        MessageType::Emote(emote) => Some(&emote.body),
        _ => None,
    }
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
            "payload": [{"contentString": "one"}, {"contentAttachment": {"title": "x"}}],
        });
        change(&mut json);
        let base = BaseUrl::parse("http://fhir.example/fhir").unwrap();
        Communication::from_json(&json, &base).unwrap()
    }

    #[test]
    fn each_part_becomes_a_message_and_none_is_left_out_in_silence() {
        assert_eq!(to_messages(&communication(|_| {})).unwrap().len(), 2);
    }

    #[test]
    fn what_is_no_message_is_left_out_for_a_reason() {
        for (key, value, reason) in [
            ("status", json!("preparation"), LeftOut::Status),
            ("status", json!("entered-in-error"), LeftOut::Status),
            ("partOf", json!([]), LeftOut::NoThread),
            ("payload", json!([]), LeftOut::Empty),
        ] {
            let left_out = to_messages(&communication(|json| json[key] = value)).unwrap_err();
            assert_eq!(left_out, reason);
        }
    }
}
