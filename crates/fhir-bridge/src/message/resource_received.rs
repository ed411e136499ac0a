//! From the room to the record: a FHIR resource that somebody sends becomes one there, once, and the
//! message refers to it.
//!
//! It is a stranger's: only listed types are taken, valid by type, and only the people of the conversation
//! may be named in it, so that nobody writes about somebody else's patient.

use fhir::{NewPayload, ResourceRef, payload_json, tag_event, with_decimals, without_decimals};
use matrix_appservice::{Event, HandlerError, Intent};
use serde_json::Value;

use super::{
    files::{FileError, LARGE},
    received::Stored,
};
use crate::{
    bridge::Bridge,
    failure,
    mapping::{
        content::Sent,
        resource::{self, Body, Offered, Refusal},
    },
};

const TYPE: Refusal = "resources of its type are not carried over";
const TEXT: Refusal = "its text can't stand in the record";
const NO_JSON: Refusal = "it is not JSON";
const INVALID: Refusal = "it is not valid FHIR R4";
const OTHERS: Refusal = "it names somebody who is not part of this conversation";
const NOT_TAKEN: Refusal = "the FHIR server does not take it";

impl Bridge {
    /// Stores a resource that somebody sends; what the message says is its text and a reference to it. The
    /// inner error says, for people, why it isn't stored.
    pub(super) async fn resource_into_record(
        &self,
        bot: &Intent,
        event: &Event,
        conversation: &ResourceRef,
        offered: Result<&Offered, Refusal>,
    ) -> Result<Result<Stored, String>, HandlerError> {
        let refused = |why: Refusal| Ok(Err(format!("a FHIR resource, because {why}")));
        let offered = match offered {
            Ok(offered) => offered,
            Err(why) => return refused(why),
        };
        let kind = &offered.definition.kind;
        if !self.settings.carries_resource(kind) {
            return refused(TYPE);
        }
        let text = NewPayload::Text(offered.text.clone());
        // Nothing is stored for a message that can't be.
        if payload_json(std::slice::from_ref(&text)).is_err() {
            return refused(TEXT);
        }
        let json = match &offered.body {
            Body::Inline(json) => json.clone(),
            Body::File(sent) => match self.resource_of_file(bot, event, sent).await? {
                Ok(json) => json,
                Err(why) => return refused(why),
            },
        };
        let mut json = match resource::judged(json, &offered.definition) {
            Ok(json) => json,
            Err(why) => return refused(why),
        };
        if !self.names_members_only(conversation, &json).await? {
            return refused(OTHERS);
        }
        let condition = tag_event(&mut json, event.event_id().as_str());
        let json = with_decimals(&json);
        if json.len() > self.settings.max_resource_bytes {
            return refused(LARGE);
        }
        let created = match self.fhir.create_text_if_none_exist(json, &condition).await {
            Ok(created) => created,
            Err(fhir::Error::Invalid { what, .. }) => {
                tracing::info!(event = %event.event_id(), %kind, what, "a resource from a room is not valid");
                return refused(INVALID);
            }
            // It knows no such type, refers to what is not there, or breaks a rule of its own: nothing that
            // would be otherwise the next time.
            Err(
                error @ (fhir::Error::Rejected { .. }
                | fhir::Error::NotFound { .. }
                | fhir::Error::Unauthorized { status: 403, .. }),
            ) => {
                tracing::warn!(event = %event.event_id(), %kind, %error, "a resource from a room is not stored");
                return refused(NOT_TAKEN);
            }
            Err(error) => return Err(failure::fhir(error)),
        };
        let reference = created.reference;
        tracing::info!(event = %event.event_id(), resource = %reference, was_there = created.was_there, "a resource from a room is in the record");
        Ok(Ok(Stored {
            payload: vec![text, NewPayload::Reference(reference.clone())],
            files: vec![reference],
        }))
    }

    async fn resource_of_file(
        &self,
        bot: &Intent,
        event: &Event,
        sent: &Sent,
    ) -> Result<Result<Value, Refusal>, HandlerError> {
        let limit = self.settings.max_resource_bytes as u64;
        let download = match self.begin_download(bot, event, sent, limit).await {
            Ok(download) => download,
            Err(FileError::Refused(why)) => return Ok(Err(why)),
            Err(FileError::Failed(error)) => return Err(error),
        };
        let bytes = match download.bytes().await {
            Ok(bytes) => bytes,
            Err(matrix_appservice::Error::TooLarge { .. }) => return Ok(Err(LARGE)),
            Err(error) => return Err(error.into()),
        };
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        Ok(serde_json::from_str(&without_decimals(text)).map_err(|_| NO_JSON))
    }

    /// Whether all people whom a resource names are members of the conversation, or whom it is about.
    async fn names_members_only(
        &self,
        conversation: &ResourceRef,
        resource: &Value,
    ) -> Result<bool, HandlerError> {
        let named = resource::people_named(resource);
        if named.is_empty() {
            return Ok(true);
        }
        let Some(thread) = self.thread(conversation).await? else {
            return Err(HandlerError::never(
                "message in the room of a conversation that is no longer there",
            ));
        };
        let roster = self.roster(thread.participants.clone(), None).await?;
        let known: Vec<&ResourceRef> = thread
            .subject
            .iter()
            .chain(&thread.participants)
            .filter_map(fhir::Ref::resource)
            .collect();
        Ok(named.into_iter().all(|reference| {
            let person = self.fhir.base().resolve(reference);
            person.is_some_and(|person| known.contains(&&person) || roster.has(&person))
        }))
    }
}
