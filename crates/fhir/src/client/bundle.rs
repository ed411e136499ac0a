use std::fmt;

use reqwest::{Method, header::DATE};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use url::Url;

use super::{
    FhirClient,
    http::{Answer, NOT_JSON, Request, http_date},
};
use crate::{Error, Instant, ResourceType};

/// An entry of a Bundle that can't be read. The others of its page are not affected.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("an entry of {resource_type} can't be read: {what}")]
pub struct OddEntry {
    /// The type that was asked for.
    pub resource_type: ResourceType,
    /// What is odd about it, without contents.
    pub what: &'static str,
    /// The logical id, where it can be told, so that a person can look the resource up.
    pub id: Option<String>,
}

impl fmt::Debug for OddEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OddEntry")
            .field("resource_type", &self.resource_type)
            .field("what", &self.what)
            .finish_non_exhaustive()
    }
}

/// One page of a Bundle, each entry still text: a number that no program can hold, say, spoils one
/// entry and not the page.
pub(super) struct Page {
    pub(super) entries: Vec<Result<Value, &'static str>>,
    pub(super) next: Option<String>,
    /// When it was made: the answer's `Date`, which may be a proxy's, else the server's own word.
    pub(super) server_time: Option<Instant>,
    /// How many there are over all pages, where the server says so.
    pub(super) total: Option<u64>,
}

#[derive(Deserialize)]
struct WirePage<'a> {
    #[serde(rename = "resourceType")]
    resource_type: Option<Value>,
    link: Option<Value>,
    meta: Option<Value>,
    total: Option<Value>,
    #[serde(borrow)]
    entry: Option<Vec<&'a RawValue>>,
}

impl Page {
    pub(super) fn parse(answer: &Answer) -> Result<Self, Error> {
        let page: WirePage<'_> = serde_json::from_slice(answer.body()).map_err(|error| {
            answer.bad(match error.classify() {
                serde_json::error::Category::Data => "it is not a FHIR Bundle",
                _ => NOT_JSON,
            })
        })?;
        if page.resource_type.as_ref().and_then(Value::as_str) != Some("Bundle") {
            return Err(answer.bad("it is not a FHIR Bundle"));
        }
        let entries = page.entry.unwrap_or_default();
        let made = page.meta.as_ref().and_then(|meta| meta.get("lastUpdated"));
        let date = || answer.header(DATE).and_then(http_date);
        Ok(Self {
            // `Date` first, since it is on every kind of answer: two clocks must not be compared with each other.
            server_time: date().or_else(|| made.and_then(Value::as_str).and_then(Instant::parse)),
            total: page.total.as_ref().and_then(Value::as_u64),
            entries: entries
                .into_iter()
                .map(|entry| {
                    serde_json::from_str(entry.get())
                        .map_err(|_| "it holds a number or a depth that can't be read")
                })
                .collect(),
            next: page.link.as_ref().and_then(next_link),
        })
    }
}

fn next_link(links: &Value) -> Option<String> {
    let next = links
        .as_array()?
        .iter()
        .find(|link| link.get("relation").and_then(Value::as_str) == Some("next"))?;
    next.get("url").and_then(Value::as_str).map(str::to_owned)
}

/// Follows the `next` links of one search or history, and notices when they lead nowhere.
pub(super) struct Pages<'a> {
    client: &'a FhirClient,
    /// What errors and logs call it, such as `Communication/_search`.
    name: String,
    /// The type whose `_search` it is, with the names of the parameters that were posted.
    posted: Option<(ResourceType, Vec<String>)>,
    left: usize,
    last: Option<String>,
}

impl<'a> Pages<'a> {
    pub(super) fn new(
        client: &'a FhirClient,
        name: String,
        posted: Option<(ResourceType, Vec<String>)>,
        max_pages: usize,
    ) -> Self {
        Self {
            client,
            name,
            posted,
            left: max_pages,
            last: None,
        }
    }

    /// The request for the page that a `next` link names.
    pub(super) fn next(&mut self, link: &str) -> Result<Request, Error> {
        self.spend()?;
        let url = self.client.next_url(link).map_err(|what| self.bad(what))?;
        if self.last.as_deref() == Some(url.as_str()) {
            return Err(self.bad("its link to the next page leads to the same page"));
        }
        self.last = Some(url.as_str().to_owned());
        let name = format!("{} (next page)", self.name);
        if let Some(resource_type) = self.searched_by(&url) {
            // The link repeats what was searched for, which must not stand in a URL.
            let path = format!("{resource_type}/_search");
            let fields: Vec<(String, String)> = url.query_pairs().into_owned().collect();
            let fields = fields
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()));
            return Ok(self.client.request(Method::POST, &path, &name).form(fields));
        }
        Ok(self.client.request(Method::GET, "", &name).at(url.into()))
    }

    /// Counts a page that is about to be read.
    pub(super) fn spend(&mut self) -> Result<(), Error> {
        self.left = self
            .left
            .checked_sub(1)
            .ok_or_else(|| self.bad("it has more pages than the limit allows"))?;
        Ok(())
    }

    fn bad(&self, what: &'static str) -> Error {
        Error::BadAnswer {
            call: self
                .client
                .call(&Method::GET, &format!("{} (next page)", self.name)),
            what,
        }
    }

    /// The searched type, when this link carries one of the parameters that were posted.
    fn searched_by(&self, url: &Url) -> Option<&ResourceType> {
        let (resource_type, names) = self.posted.as_ref()?;
        let path = url.path().trim_end_matches('/');
        let path = path.strip_suffix("/_search").unwrap_or(path);
        let searches = path.rsplit('/').next() == Some(resource_type.as_str());
        let repeats = url
            .query_pairs()
            .any(|(name, _)| names.iter().any(|posted| *posted == name));
        (searches && repeats).then_some(resource_type)
    }
}

impl FhirClient {
    /// Resolves a link to the next page. It must stay below our base URL: the token goes along with
    /// it.
    fn next_url(&self, link: &str) -> Result<Url, &'static str> {
        let base = self.inner.base.url();
        let mut root = base.clone();
        root.set_path(&format!("{}/", base.path().trim_end_matches('/')));
        let url = root
            .join(link)
            .map_err(|_| "its link to the next page is not a URL")?;
        let below = url.path() == base.path() || url.path().starts_with(root.path());
        if url.origin() != base.origin()
            || !below
            || !url.username().is_empty()
            || url.password().is_some()
        {
            return Err(
                "its link to the next page leads away from the FHIR base URL; tell the server the address it is reached by \
                 (HAPI: `hapi.fhir.server_address`, Helios: `HFS_BASE_URL`, a proxy: forward Host and X-Forwarded-*)",
            );
        }
        Ok(url)
    }
}
