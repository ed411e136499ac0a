use reqwest::{
    Method,
    header::{ETAG, LAST_MODIFIED},
};

use super::{
    FhirClient,
    http::{Answer, TOO_LARGE, http_date},
};
use crate::{Error, RawResource, ResourceRef, raw::version_of_etag};

impl FhirClient {
    /// Reads a resource: `GET [type]/[id]`. `None` when there is none, or no longer (404, 410).
    ///
    /// Spec: <http://hl7.org/fhir/R4/http.html#read>
    ///
    /// # Errors
    ///
    /// When the server is unavailable, refuses, or answers something that isn't this resource.
    pub async fn read(&self, reference: &ResourceRef) -> Result<Option<RawResource>, Error> {
        let Some(answer) = self.fetch(reference).await? else {
            return Ok(None);
        };
        let resource = resource(&answer, answer.json()?)?;
        if resource.reference == *reference {
            Ok(Some(resource))
        } else {
            Err(answer.bad("it is another resource than the one asked for"))
        }
    }

    /// Reads a resource as the server writes it, digit by digit. `None` when there is none, or no longer.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] when it is larger than an answer may be; else as for [`FhirClient::read`].
    pub async fn read_text(&self, reference: &ResourceRef) -> Result<Option<String>, Error> {
        let answer = match self.fetch(reference).await {
            Ok(Some(answer)) => answer,
            Ok(None) => return Ok(None),
            Err(Error::BadAnswer {
                call,
                what: TOO_LARGE,
            }) => return Err(Error::TooLarge { call }),
            Err(error) => return Err(error),
        };
        let read = resource(&answer, answer.json()?)?;
        if read.reference != *reference {
            return Err(answer.bad("it is another resource than the one asked for"));
        }
        let text = std::str::from_utf8(answer.body()).map_err(|_| answer.bad("it is not UTF-8"))?;
        Ok(Some(text.to_owned()))
    }

    pub(super) async fn fetch(&self, reference: &ResourceRef) -> Result<Option<Answer>, Error> {
        let name = format!("{}/[id]", reference.resource_type());
        let request = self.request(Method::GET, &reference.to_string(), &name);
        match self.send(request).await?.success() {
            Ok(answer) => Ok(Some(answer)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The resource in an answer, completed from its headers.
pub(super) fn resource(answer: &Answer, json: serde_json::Value) -> Result<RawResource, Error> {
    let mut resource = RawResource::from_json(json).map_err(|what| answer.bad(what))?;
    if resource.version_id.is_none() {
        resource.version_id = answer.header(ETAG).and_then(version_of_etag);
    }
    if resource.last_updated.is_none() {
        resource.last_updated = answer.header(LAST_MODIFIED).and_then(http_date);
    }
    Ok(resource)
}
