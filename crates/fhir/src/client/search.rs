use reqwest::Method;
use serde_json::Value;

use super::{
    FhirClient,
    bundle::{OddEntry, Page, Pages},
};
use crate::{Error, RawResource, ResourceType};

/// How many pages a search may have before it is taken for a server that never ends.
const MAX_PAGES: usize = 1000;

/// How many resources a page is asked to have.
const PAGE_SIZE: usize = 100;

/// What a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchResult {
    /// The resources, in the server's order.
    pub resources: Vec<RawResource>,
    /// Entries that can't be read.
    pub odd: Vec<OddEntry>,
    /// Whether there may be more than were asked for.
    pub more: bool,
}

impl FhirClient {
    /// Searches for resources of a type with `POST [type]/_search`, at most `limit` of them, over
    /// as many pages as it takes.
    ///
    /// Each parameter is a name and a value as in <http://hl7.org/fhir/R4/search.html>; a token is
    /// put together with [`search_token`]. The values travel in the request's body and are in no
    /// URL, error or log. Included resources of other types are left out.
    ///
    /// # Errors
    ///
    /// When the server is unavailable, refuses the search, or answers something that isn't a
    /// Bundle.
    pub async fn search(
        &self,
        resource_type: &ResourceType,
        parameters: &[(&str, &str)],
        limit: usize,
    ) -> Result<SearchResult, Error> {
        let name = format!("{resource_type}/_search");
        let count = limit.clamp(1, PAGE_SIZE).to_string();
        let fields = parameters
            .iter()
            .copied()
            .chain([("_count", count.as_str())]);
        let mut request = self.request(Method::POST, &name, &name).form(fields);
        let posted = parameters
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect();
        let mut pages = Pages::new(self, name, Some((resource_type.clone(), posted)), MAX_PAGES);
        let mut result = SearchResult {
            resources: Vec::new(),
            odd: Vec::new(),
            more: false,
        };
        loop {
            let page = Page::parse(&self.send(request).await?.success()?)?;
            for entry in page.entries {
                match match_of(entry, resource_type) {
                    Some(Ok(resource)) => result.resources.push(resource),
                    Some(Err(odd)) => result.odd.push(odd),
                    None => {}
                }
            }
            let full = result.resources.len() >= limit;
            match page.next {
                Some(link) if !full => request = pages.next(&link)?,
                next => {
                    result.more = next.is_some() || result.resources.len() > limit;
                    result.resources.truncate(limit);
                    return Ok(result);
                }
            }
        }
    }
}

impl FhirClient {
    /// How many resources of a type there are: `POST [type]/_search` with `_summary=count`. `None` when the server
    /// doesn't say.
    ///
    /// # Errors
    ///
    /// As for [`FhirClient::search`].
    pub async fn count(&self, resource_type: &ResourceType) -> Result<Option<u64>, Error> {
        let name = format!("{resource_type}/_search");
        let request = self
            .request(Method::POST, &name, &name)
            .form([("_summary", "count")]);
        Ok(Page::parse(&self.send(request).await?.success()?)?.total)
    }
}

/// The resource of a search's entry; `None` for what the server only put beside the matches.
pub(super) fn match_of(
    entry: Result<Value, &'static str>,
    resource_type: &ResourceType,
) -> Option<Result<RawResource, OddEntry>> {
    let odd = |what, id| OddEntry {
        resource_type: resource_type.clone(),
        what,
        id,
    };
    let mut entry = match entry {
        Ok(entry) => entry,
        Err(what) => return Some(Err(odd(what, None))),
    };
    let mode = entry
        .get("search")
        .and_then(|search| search.get("mode"))
        .and_then(Value::as_str);
    if matches!(mode, Some("include" | "outcome")) {
        return None;
    }
    let Some(resource) = entry.get_mut("resource").map(Value::take) else {
        return Some(Err(odd("it has no resource", None)));
    };
    let id = resource
        .get("id")
        .and_then(Value::as_str)
        .map(str::to_owned);
    match RawResource::from_json(resource) {
        Ok(resource) if resource.resource_type() == resource_type => Some(Ok(resource)),
        // Older servers include without saying so.
        Ok(_) => None,
        Err(what) => Some(Err(odd(what, id.filter(|id| crate::reference::is_id(id))))),
    }
}

/// Puts a token parameter's value together, `system|value`, with what has a meaning in it escaped.
///
/// Servers differ in undoing the escapes of `$`, so search by identifiers whose values don't need
/// them.
///
/// Spec: <http://hl7.org/fhir/R4/search.html#token>, <http://hl7.org/fhir/R4/search.html#escaping>
#[must_use]
pub fn search_token(system: Option<&str>, value: &str) -> String {
    let mut token = String::new();
    if let Some(system) = system {
        escape_into(&mut token, system);
        token.push('|');
    }
    escape_into(&mut token, value);
    token
}

fn escape_into(token: &mut String, text: &str) {
    for c in text.chars() {
        if matches!(c, '$' | ',' | '|' | '\\') {
            token.push('\\');
        }
        token.push(c);
    }
}
