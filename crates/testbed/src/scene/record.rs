//! The nurse's application: it speaks FHIR over plain HTTP and knows nothing of Matrix.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use url::Url;

use super::{PATIENCE, cast::Cast};
use crate::{http, poll};

/// A FHIR server, as an application sees it.
#[derive(Debug)]
pub struct Record {
    base: String,
    http: reqwest::Client,
}

/// A message on the record.
pub(super) struct Stored {
    pub(super) reference: String,
    pub(super) sender: String,
    pub(super) text: String,
    pub(super) event_id: Option<String>,
    sent: String,
}

impl Stored {
    /// Whether it is by this person and says this.
    pub(super) fn is_from(&self, person: &str, text: &str) -> Result<()> {
        ensure!(
            self.sender == person,
            "{} is by {}, not {person}",
            self.reference,
            self.sender
        );
        ensure!(self.text == text, "{} has another text", self.reference);
        Ok(())
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.reference, self.sender)
    }
}

impl Record {
    /// An application of the FHIR server with this base URL.
    ///
    /// # Errors
    ///
    /// When no HTTP client can be made.
    pub fn new(fhir: &Url) -> Result<Self> {
        Ok(Self {
            base: fhir.as_str().trim_end_matches('/').to_owned(),
            http: http::client(Duration::from_mins(1))?,
        })
    }

    /// Creates a resource; its reference, such as `Patient/7`.
    ///
    /// # Errors
    ///
    /// When the server refuses it.
    pub async fn create(&self, resource: &Value) -> Result<String> {
        let kind = resource["resourceType"].as_str().unwrap_or_default();
        let response = self
            .http
            .post(format!("{}/{kind}", self.base))
            .header("content-type", "application/fhir+json")
            .header("prefer", "return=representation")
            .body(resource.to_string())
            .send()
            .await?;
        let status = response.status();
        ensure!(
            status == 201,
            "the FHIR server answers {status} to a new {kind}"
        );
        let stored: Value = response.json().await?;
        let id = stored["id"]
            .as_str()
            .context("the FHIR server gave no id")?;
        Ok(format!("{kind}/{id}"))
    }

    /// Reads a resource.
    ///
    /// # Errors
    ///
    /// When it is not there.
    pub async fn read(&self, reference: &str) -> Result<Value> {
        let response = self
            .http
            .get(format!("{}/{reference}", self.base))
            .header("cache-control", "no-cache")
            .send()
            .await?;
        ensure!(
            response.status() == 200,
            "{reference}: {}",
            response.status()
        );
        Ok(response.json().await?)
    }

    /// Stores a new version of a resource: reads it, lets `change` work on it, writes it back.
    ///
    /// # Errors
    ///
    /// When it is not there, or the server refuses.
    pub async fn change(&self, reference: &str, change: impl FnOnce(&mut Value)) -> Result<()> {
        let mut resource = self.read(reference).await?;
        change(&mut resource);
        let response = self
            .http
            .put(format!("{}/{reference}", self.base))
            .header("content-type", "application/fhir+json")
            .body(resource.to_string())
            .send()
            .await?;
        let status = response.status();
        ensure!(
            status.is_success(),
            "the FHIR server answers {status} to a new version of {reference}"
        );
        Ok(())
    }

    /// Deletes a resource.
    ///
    /// # Errors
    ///
    /// When the server refuses.
    pub async fn delete(&self, reference: &str) -> Result<()> {
        let response = self
            .http
            .delete(format!("{}/{reference}", self.base))
            .send()
            .await?;
        let status = response.status();
        ensure!(
            status.is_success(),
            "the FHIR server answers {status} to the deletion of {reference}"
        );
        Ok(())
    }

    /// Searches for resources of a type.
    ///
    /// # Errors
    ///
    /// When the server refuses.
    pub async fn search(&self, kind: &str, query: &[(&str, &str)]) -> Result<Vec<Value>> {
        let bundle: Value = self
            .http
            .get(format!("{}/{kind}", self.base))
            .query(query)
            .header("cache-control", "no-cache")
            .send()
            .await?
            .error_for_status()?
            .json()
            .await?;
        let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
        Ok(entries
            .into_iter()
            .map(|mut entry| entry["resource"].take())
            .collect())
    }

    /// Writes a message in a thread.
    pub(super) async fn write(&self, cast: &Cast, sender: &str, text: &str) -> Result<String> {
        self.create(&json!({
            "resourceType": "Communication",
            "status": "completed",
            "partOf": [{"reference": cast.thread}],
            "subject": {"reference": cast.client},
            "sender": {"reference": sender},
            "payload": [{"contentString": text}],
        }))
        .await
    }

    /// How many messages a thread has.
    pub(super) async fn count(&self, thread: &str) -> Result<usize> {
        Ok(self.messages(thread).await?.len())
    }

    /// The messages of a thread, in the order in which they were stored.
    pub(super) async fn thread(&self, cast: &Cast) -> Result<Vec<Stored>> {
        self.messages(&cast.thread).await
    }

    async fn messages(&self, thread: &str) -> Result<Vec<Stored>> {
        let bundle: Value = self
            .http
            .get(format!("{}/Communication", self.base))
            .query(&[("part-of", thread), ("_count", "500"), ("_sort", "_id")])
            .header("cache-control", "no-cache")
            .send()
            .await?
            .error_for_status()
            .context("the FHIR server does not list the thread")?
            .json()
            .await?;
        let none = Vec::new();
        let mut messages: Vec<Stored> = bundle["entry"]
            .as_array()
            .unwrap_or(&none)
            .iter()
            .map(|entry| &entry["resource"])
            .filter(|resource| resource["resourceType"] == "Communication")
            .map(stored)
            .collect();
        messages.sort_by_key(Stored::number);
        Ok(messages)
    }

    /// Waits until the thread has a message with this event id; it is there once.
    pub(super) async fn wait_for_event(&self, cast: &Cast, event_id: &str) -> Result<Stored> {
        let found = poll::until(PATIENCE, async || {
            let mut messages = self.thread(cast).await?;
            messages.retain(|message| message.event_id.as_deref() == Some(event_id));
            if messages.len() > 1 {
                bail!("an answer is on the FHIR server {} times", messages.len());
            }
            Ok(messages.pop())
        });
        found
            .await?
            .context("an answer did not reach the FHIR server")
    }

    /// Waits until a message's record holds this event id.
    pub(super) async fn wait_until_it_names(&self, reference: &str, event_id: &str) -> Result<()> {
        let found = poll::until(PATIENCE, async || {
            let message = stored(&self.read(reference).await?);
            Ok((message.event_id.as_deref() == Some(event_id)).then_some(()))
        });
        found
            .await?
            .with_context(|| format!("{reference} did not get its event's id"))
    }
}

impl Stored {
    /// HAPI numbers resources as they come; other servers' are taken by time.
    fn number(&self) -> (u64, String) {
        let id = self.reference.rsplit('/').next().unwrap_or_default();
        (id.parse().unwrap_or(0), self.sent.clone())
    }
}

fn stored(resource: &Value) -> Stored {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let none = Vec::new();
    Stored {
        reference: format!("Communication/{}", text(&resource["id"])),
        sender: text(&resource["sender"]["reference"]),
        text: text(&resource["payload"][0]["contentString"]),
        sent: text(&resource["meta"]["lastUpdated"]),
        event_id: resource["identifier"]
            .as_array()
            .unwrap_or(&none)
            .iter()
            .find(|identifier| identifier["system"] == "https://matrix.org/event-id")
            .map(|identifier| text(&identifier["value"])),
    }
}
