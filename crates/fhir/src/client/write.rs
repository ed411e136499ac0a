use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{
    Method,
    header::{ETAG, HeaderName, HeaderValue, IF_MATCH, LOCATION},
};
use serde_json::Value;

use super::{
    FhirClient,
    history::place_of,
    http::{Answer, Request},
    numbers,
    read::resource,
    search_token,
};
use crate::{
    Error, Identifier, RawResource, ResourceRef,
    check::check,
    raw::{is_version, version_of_etag},
};

/// How often a write is tried when someone else was faster.
const MAX_ATTEMPTS: usize = 5;

/// What stays readable in `If-None-Exist`: FHIR's own examples have `:`, `/` and `|` as they are.
const QUERY_VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':')
    .remove(b'/')
    .remove(b'|');

/// What a resource that is already there would have, so that it isn't created again. `Debug` shows
/// no value.
///
/// Spec: <http://hl7.org/fhir/R4/http.html#ccreate>
#[derive(Clone, PartialEq, Eq)]
pub struct Condition(Kind);

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Identifier(Identifier),
    Tag(Identifier),
    Endpoint(String),
}

/// A resource that is on the server now, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Type and id.
    pub reference: ResourceRef,
    /// Its version, when the server says.
    pub version_id: Option<String>,
    /// Whether it was there before this call, as it is after a repeated one. What it holds then may
    /// be older than what this call would have stored.
    pub was_there: bool,
}

/// What a closure given to [`FhirClient::modify`] has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit {
    /// It changed the resource: store it.
    Changed,
    /// All is as it should be: nothing to store.
    Unchanged,
}

/// What [`FhirClient::modify`] has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Modified {
    /// It stored a new version, with this version id when the server says which.
    Stored(Option<String>),
    /// There was nothing to change; this is the version that was read.
    Unchanged(Option<String>),
    /// There is no such resource, or no longer.
    Gone,
}

impl Condition {
    /// This business identifier. Its value should be only letters, digits and `-`, since servers
    /// differ in undoing escapes.
    #[must_use]
    pub fn identifier(identifier: Identifier) -> Self {
        Self(Kind::Identifier(identifier))
    }

    /// This tag, in `meta`: for types without an identifier, or with one only, which is not ours to set. Its
    /// value as in [`Condition::identifier`].
    #[must_use]
    pub fn tag(tag: Identifier) -> Self {
        Self(Kind::Tag(tag))
    }

    /// A `Subscription` that notifies this URL.
    pub(super) fn endpoint(url: &str) -> Self {
        Self(Kind::Endpoint(url.to_owned()))
    }

    fn parameter(&self) -> (&'static str, String) {
        match &self.0 {
            Kind::Identifier(identifier) => (
                "identifier",
                search_token(identifier.system.as_deref(), &identifier.value),
            ),
            Kind::Tag(tag) => ("_tag", search_token(tag.system.as_deref(), &tag.value)),
            Kind::Endpoint(url) => ("url", url.clone()),
        }
    }

    fn header(&self) -> Option<HeaderValue> {
        let (name, value) = self.parameter();
        let mut header = HeaderValue::try_from(format!(
            "{name}={}",
            utf8_percent_encode(&value, QUERY_VALUE)
        ))
        .ok()?;
        header.set_sensitive(true);
        Some(header)
    }

    /// Whether a resource really has what the condition asks for. A server that doesn't know the
    /// parameter ignores it, and then any resource matches.
    pub(crate) fn is_met_by(&self, json: &Value) -> bool {
        match &self.0 {
            Kind::Identifier(wanted) => {
                let identifiers = json.get("identifier").and_then(Value::as_array);
                identifiers
                    .into_iter()
                    .flatten()
                    .filter_map(Identifier::from_json)
                    .any(|identifier| identifier == *wanted)
            }
            Kind::Tag(wanted) => {
                let tags = json.get("meta").and_then(|meta| meta.get("tag"));
                let is_wanted = |tag: &Value| {
                    let text = |name| tag.get(name).and_then(Value::as_str);
                    text("code") == Some(wanted.value.as_str())
                        && text("system") == wanted.system.as_deref()
                };
                let tags = tags.and_then(Value::as_array);
                tags.into_iter().flatten().any(is_wanted)
            }
            Kind::Endpoint(wanted) => {
                let channel = json.get("channel");
                channel
                    .and_then(|channel| channel.get("endpoint"))
                    .and_then(Value::as_str)
                    == Some(wanted.as_str())
            }
        }
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Identifier(_) => "Condition(identifier)",
            Kind::Tag(_) => "Condition(tag)",
            Kind::Endpoint(_) => "Condition(endpoint)",
        })
    }
}

impl FhirClient {
    /// Creates a resource unless one that meets the condition is there: `POST [type]` with
    /// `If-None-Exist`. It may be repeated: however often the call is made and whichever answer was
    /// lost, the resource is there once.
    ///
    /// The resource is checked against the R4B model first. A match that doesn't meet the condition
    /// is an error, so that a server which ignores the search parameter can't make us lose a
    /// message.
    ///
    /// It is repeated by itself when another writer was in the way (409), five times at most.
    /// Two such calls at the same moment may both create on some servers: keep the calls for one
    /// condition in one lane.
    ///
    /// Spec: <http://hl7.org/fhir/R4/http.html#ccreate>
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when it isn't valid R4, [`Error::SeveralMatch`] when it is there more
    /// than once (412), [`Error::VersionConflict`] when another writer was in the way (409:
    /// repeat), and when the server is unavailable or refuses.
    pub async fn create_if_none_exist(
        &self,
        json: &Value,
        condition: &Condition,
    ) -> Result<Created, Error> {
        self.create(json, json.to_string(), condition).await
    }

    /// As [`FhirClient::create_if_none_exist`], of a resource whose digits stay as they are written.
    ///
    /// # Errors
    ///
    /// As for [`FhirClient::create_if_none_exist`]; [`Error::Invalid`] also when it is no JSON.
    pub async fn create_text_if_none_exist(
        &self,
        text: String,
        condition: &Condition,
    ) -> Result<Created, Error> {
        let json = serde_json::from_str(&text).map_err(|_| Error::Invalid {
            call: self.call(&Method::POST, "[type]"),
            what: "the resource is not JSON",
        })?;
        self.create(&json, text, condition).await
    }

    async fn create(
        &self,
        json: &Value,
        body: String,
        condition: &Condition,
    ) -> Result<Created, Error> {
        let name = json
            .get("resourceType")
            .and_then(Value::as_str)
            .unwrap_or("[type]");
        let resource_type = crate::ResourceType::parse(name);
        let call = self.call(
            &Method::POST,
            resource_type.as_ref().map_or("[type]", |t| t.as_str()),
        );
        let invalid = |what| Error::Invalid {
            call: call.clone(),
            what,
        };
        let resource_type =
            resource_type.ok_or_else(|| invalid("the resource has no resourceType"))?;
        check(json).map_err(invalid)?;
        if !condition.is_met_by(json) {
            return Err(invalid(
                "the resource doesn't meet the condition under which it is created",
            ));
        }
        let header = condition
            .header()
            .ok_or_else(|| invalid("no header can carry the condition"))?;
        let mut attempt = 1;
        let answer = loop {
            let request = self
                .request(Method::POST, resource_type.as_str(), resource_type.as_str())
                .header(HeaderName::from_static("if-none-exist"), header.clone())
                .json(body.clone().into_bytes())
                .representation();
            match self.send(request).await?.success() {
                Ok(answer) => break answer,
                // Two at once: HAPI lets one in and answers the other 409, and 200 when it comes
                // again.
                Err(Error::VersionConflict { status: 409, .. }) if attempt < MAX_ATTEMPTS => {
                    attempt += 1;
                }
                Err(Error::VersionConflict { call, status: 412 }) => {
                    return Err(Error::SeveralMatch { call });
                }
                Err(error) => return Err(error),
            }
        };
        self.created(&answer, &resource_type, condition).await
    }

    /// Deletes a resource. What is not there is deleted.
    ///
    /// It is repeated by itself when another writer was in the way (409), five times at most.
    ///
    /// Spec: <http://hl7.org/fhir/R4/http.html#delete>
    ///
    /// # Errors
    ///
    /// [`Error::VersionConflict`] when somebody is always in the way, or something else refers to it; and when the server
    /// is unavailable or refuses.
    pub async fn delete(&self, reference: &ResourceRef) -> Result<(), Error> {
        let name = format!("{}/[id]", reference.resource_type());
        let mut attempt = 1;
        loop {
            let request = self.request(Method::DELETE, &reference.to_string(), &name);
            match self.send(request).await?.success() {
                Ok(_) | Err(Error::NotFound { .. }) => return Ok(()),
                // HAPI's own work on what was just stored counts as a writer.
                Err(Error::VersionConflict { status: 409, .. }) if attempt < MAX_ATTEMPTS => {
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn created(
        &self,
        answer: &Answer,
        resource_type: &crate::ResourceType,
        condition: &Condition,
    ) -> Result<Created, Error> {
        let was_there = answer.status != 201;
        let location = answer.header(LOCATION).and_then(place_of);
        let body = answer
            .json()
            .ok()
            .and_then(|json| RawResource::from_json(json).ok());
        let body = body.filter(|body| body.resource_type() == resource_type);
        let reference = location
            .as_ref()
            .map(|(reference, _)| reference.clone())
            .filter(|reference| reference.resource_type() == resource_type)
            .or_else(|| body.as_ref().map(|body| body.reference.clone()));
        let Some(reference) = reference else {
            return self
                .find_created(answer, resource_type, condition, was_there)
                .await;
        };
        let body = body.filter(|body| body.reference == reference);
        let mut version_id = (answer.header(ETAG).and_then(version_of_etag))
            .or_else(|| body.as_ref().and_then(|body| body.version_id.clone()))
            .or_else(|| location.and_then(|(_, version)| version));
        if was_there {
            let there = match body {
                Some(body) => Some(body),
                None => self.read(&reference).await?,
            };
            let meets = there
                .as_ref()
                .is_some_and(|there| condition.is_met_by(&there.json));
            if !meets {
                return Err(answer.bad(IGNORES_PARAMETER));
            }
            version_id = there.and_then(|there| there.version_id).or(version_id);
        }
        Ok(Created {
            reference,
            version_id,
            was_there,
        })
    }

    /// When the answer doesn't say which resource it is about.
    async fn find_created(
        &self,
        answer: &Answer,
        resource_type: &crate::ResourceType,
        condition: &Condition,
        was_there: bool,
    ) -> Result<Created, Error> {
        let (name, value) = condition.parameter();
        let found = self.search(resource_type, &[(name, &value)], 10).await?;
        let oldest = found
            .resources
            .into_iter()
            .filter(|found| condition.is_met_by(&found.json))
            .min_by(|a, b| (&a.last_updated, &a.reference).cmp(&(&b.last_updated, &b.reference)))
            .ok_or_else(|| {
                answer.bad(
                    "it doesn't say which resource was created, and searching doesn't find it yet",
                )
            })?;
        Ok(Created {
            reference: oldest.reference,
            version_id: oldest.version_id,
            was_there,
        })
    }

    /// Stores a new version of a resource: `PUT [type]/[id]`, with `If-Match` when a version is
    /// given. Answers the new version, when the server says which.
    ///
    /// Use [`FhirClient::modify`] for foreign resources. Not checked against the model, as foreign
    /// resources may be odd.
    ///
    /// Spec: <http://hl7.org/fhir/R4/http.html#update>,
    /// <http://hl7.org/fhir/R4/http.html#concurrency>
    ///
    /// # Errors
    ///
    /// [`Error::VersionConflict`] when another version is there (409, 412), [`Error::Invalid`]
    /// without type and id, and when the server is unavailable or refuses.
    pub async fn update(
        &self,
        json: &Value,
        if_match: Option<&str>,
    ) -> Result<Option<String>, Error> {
        let reference = RawResource::from_json(serde_json::json!({
            "resourceType": json.get("resourceType"),
            "id": json.get("id"),
        }))
        .map_err(|what| Error::Invalid {
            call: self.call(&Method::PUT, "[type]/[id]"),
            what,
        })?
        .reference;
        self.put(&reference, json.to_string(), if_match).await
    }

    async fn put(
        &self,
        reference: &ResourceRef,
        body: String,
        if_match: Option<&str>,
    ) -> Result<Option<String>, Error> {
        let name = format!("{}/[id]", reference.resource_type());
        let mut request = self
            .request(Method::PUT, &reference.to_string(), &name)
            .json(body.into_bytes())
            .representation();
        if let Some(version) = if_match {
            let header = is_version(version)
                .then(|| HeaderValue::try_from(format!("W/\"{version}\"")).ok())
                .flatten()
                .ok_or_else(|| Error::Invalid {
                    call: self.call(&Method::PUT, &name),
                    what: "the version is not one",
                })?;
            request = request.header(IF_MATCH, header);
        }
        let answer = self.send(request).await?.success()?;
        let of_body = || resource(&answer, answer.json().ok()?).ok()?.version_id;
        Ok(answer
            .header(ETAG)
            .and_then(version_of_etag)
            .or_else(of_body))
    }

    /// Changes a resource that others change too: reads it, lets `edit` change the JSON, stores it
    /// if nobody was faster, and begins again if someone was, five times at most.
    ///
    /// `edit` gets the resource as the server sent it and may be called several times. Whatever it
    /// doesn't touch is stored as it was, unknown elements and the digits of decimals included (a
    /// decimal that a program would write differently, `1.10`, is a marked string while `edit` sees
    /// it).
    ///
    /// # Errors
    ///
    /// [`Error::VersionConflict`] when someone was faster each time, [`Error::BadAnswer`] when the
    /// server keeps no versions, and as for [`FhirClient::read`] and [`FhirClient::update`].
    pub async fn modify(
        &self,
        reference: &ResourceRef,
        edit: &mut (dyn FnMut(&mut Value) -> Edit + Send),
    ) -> Result<Modified, Error> {
        let mut attempt = 1;
        loop {
            let Some(answer) = self.fetch(reference).await? else {
                return Ok(Modified::Gone);
            };
            let text =
                std::str::from_utf8(answer.body()).map_err(|_| answer.bad("it is not UTF-8"))?;
            let json = serde_json::from_str(&numbers::protect(text))
                .map_err(|_| answer.bad(super::http::NOT_JSON))?;
            let mut read = resource(&answer, json)?;
            if read.reference != *reference {
                return Err(answer.bad("it is another resource than the one asked for"));
            }
            if edit(&mut read.json) == Edit::Unchanged {
                return Ok(Modified::Unchanged(read.version_id));
            }
            let Some(version) = read.version_id else {
                return Err(answer.bad(
                    "it has no version, so nothing can be changed safely; switch versioning on",
                ));
            };
            let body = numbers::restore(&read.json.to_string());
            match self.put(reference, body, Some(&version)).await {
                Ok(stored) => return Ok(Modified::Stored(stored)),
                Err(Error::VersionConflict { .. }) if attempt < MAX_ATTEMPTS => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }
}

const IGNORES_PARAMETER: &str = "it takes another resource for the one we create, so it ignores the search parameter of the condition; \
     load the standard search parameters into the server";

impl Request {
    /// Asks for the stored resource in the answer, where its id and version stand as well.
    fn representation(self) -> Self {
        self.header(
            HeaderName::from_static("prefer"),
            HeaderValue::from_static("return=representation"),
        )
    }
}
