use std::fmt;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{TASK_KEY_SYSTEM, codes::TaskStatus, lens};
use crate::{BaseUrl, Condition, Identifier, Instant, Odd, Ref, ResourceRef, ResourceType};

/// Whether somebody has read a message: `requested` until then, `completed` from then on.
///
/// Spec: <http://hl7.org/fhir/R4/task.html>
#[derive(Clone, PartialEq)]
pub struct Task {
    /// Type and id.
    pub reference: ResourceRef,
    /// Its state.
    pub status: TaskStatus,
    /// What it is about: the message.
    pub focus: Option<Ref>,
    /// Who has to read it.
    pub owner: Option<Ref>,
}

impl Task {
    /// Reads a `Task`.
    ///
    /// # Errors
    ///
    /// When it is another type of resource or has no id.
    pub fn from_json(json: &Value, base: &BaseUrl) -> Result<Self, Odd> {
        let raw = lens::resource(json, &ResourceType::Task, "Task")?;
        Ok(Self {
            reference: raw.reference,
            status: TaskStatus::from_json(json.get("status")),
            focus: lens::reference(json, "focus", base),
            owner: lens::reference(json, "owner", base),
        })
    }
}

/// A `Task` that the bridge makes for a reader of a message.
#[derive(Clone, PartialEq)]
pub struct NewTask {
    /// The message.
    pub focus: ResourceRef,
    /// Who has to read it.
    pub owner: ResourceRef,
    /// The client it is about.
    pub subject: Option<Ref>,
    /// Who wrote it.
    pub requester: Option<Ref>,
    /// Whether it has been read already.
    pub completed: bool,
    /// When the message was written.
    pub authored_on: Instant,
}

impl NewTask {
    /// The resource to create, under [`NewTask::condition`].
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut json = json!({
            "resourceType": "Task",
            "identifier": [self.key().to_json()],
            "status": if self.completed { "completed" } else { "requested" },
            "intent": "order",
            "focus": Ref::from(self.focus.clone()).to_json(),
            "owner": Ref::from(self.owner.clone()).to_json(),
            "authoredOn": self.authored_on.as_str(),
        });
        if let Some(object) = json.as_object_mut() {
            if let Some(subject) = &self.subject {
                object.insert("for".into(), subject.to_json());
            }
            if let Some(requester) = &self.requester {
                object.insert("requester".into(), requester.to_json());
            }
        }
        json
    }

    /// The condition under which to create it, so that each reader of a message has one.
    #[must_use]
    pub fn condition(&self) -> Condition {
        Condition::identifier(self.key())
    }

    fn key(&self) -> Identifier {
        let key = Sha256::digest(format!("{}\n{}", self.focus, self.owner).as_bytes());
        Identifier {
            system: Some(TASK_KEY_SYSTEM.to_owned()),
            value: super::new_communication::hex_of(&key),
        }
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("reference", &self.reference)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for NewTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewTask")
            .field("focus", &self.focus)
            .finish_non_exhaustive()
    }
}
