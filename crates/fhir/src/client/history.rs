use std::{cmp::Ordering, collections::HashSet, fmt, sync::PoisonError, time::Duration};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde_json::Value;

use super::{
    FhirClient,
    bundle::{OddEntry, Page, Pages},
    http::{FOREIGN_404, TOO_LARGE},
    search::match_of,
};
use crate::{Error, Instant, RawResource, ResourceRef, ResourceType, raw::version_of_etag};

/// Before all that a server holds.
const EPOCH: &str = "1970-01-01T00:00:00Z";

/// One version of a resource, or the end of one.
///
/// `Debug` shows no contents.
#[derive(Clone, PartialEq)]
pub struct Change {
    /// Type and id.
    pub reference: ResourceRef,
    /// The version. With the reference it is the change's natural key. Where a server gives none,
    /// the time stands in for it.
    pub version_id: String,
    /// When the server stored it. Where it says nothing (some don't for deletions), the time of the
    /// next older change.
    pub last_updated: Instant,
    /// What happened.
    pub kind: ChangeKind,
}

/// What happened to a resource.
#[derive(Clone, PartialEq)]
pub enum ChangeKind {
    /// It was created or changed and now is this.
    Put(Value),
    /// It was deleted.
    Deleted,
}

/// What to read with [`FhirClient::history_since`].
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryQuery {
    /// From when on, this time included; all there is when `None`. Keep [`Changes::cursor`] of the
    /// last call for the next.
    pub since: Option<Instant>,
    /// How much earlier than `since` to begin, because a server may store a version with a time
    /// that lies before one it has shown already (transactions that overlap). What was read before
    /// comes again. Default: 10 seconds.
    pub overlap: Duration,
    /// How many changes newer than `since` to answer with; [`Changes::more`] tells when that was
    /// not all. Default: 1000.
    pub max_changes: usize,
    /// How many entries a page is asked to have. Default: 100.
    pub page_size: u32,
    /// How many pages to read before giving up with an error. Default: 10,000.
    pub max_pages: usize,
}

/// The changes of a type, oldest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Changes {
    /// Ordered by time, then id, then version; each version once.
    pub changes: Vec<Change>,
    /// Entries that can't be read, `max_changes` of them at most. They don't come again once the
    /// cursor has passed them.
    pub odd: Vec<OddEntry>,
    /// Whether there are newer changes than these: call again with the cursor.
    pub more: bool,
    /// Whether deletions and all versions are among the changes (history), or only the present
    /// state of what still exists (search).
    pub is_history: bool,
    /// What the next call takes as `since`: the time of the newest change, or the former cursor; but, once there is no
    /// more, no later than the server's own time: a resource that bears a time in the future would hide all that come
    /// before that.
    pub cursor: Option<Instant>,
    /// What time it was on the server when the first page was made, where it says so.
    pub server_time: Option<Instant>,
}

impl HistoryQuery {
    /// Everything from this time on, with the defaults.
    #[must_use]
    pub fn since(since: Option<Instant>) -> Self {
        Self {
            since,
            overlap: Duration::from_secs(10),
            max_changes: 1000,
            page_size: 100,
            max_pages: 10_000,
        }
    }

    fn from(&self) -> Option<Instant> {
        self.since
            .as_ref()
            .map(|since| since.earlier_by(self.overlap))
    }

    fn is_new(&self, at: &Instant) -> bool {
        self.since.as_ref().is_none_or(|since| at > since)
    }

    /// The time up to which the oldest `max_changes` new changes reach; `None` when there are no
    /// more than that. Sorts the changes.
    ///
    /// Only what is newer than `since` is counted, and changes of the same time stay together: so
    /// each call gets further than the one before, however many changes share a time or lie in the
    /// overlap.
    fn boundary(&self, changes: &mut [Change]) -> Option<Instant> {
        changes.sort_by(Change::order);
        let mut new = changes.iter().filter(|c| self.is_new(&c.last_updated));
        let last = new.nth(self.max_changes.max(1) - 1)?.last_updated.clone();
        (new.next_back()?.last_updated > last).then_some(last)
    }
}

/// How changes are read.
#[derive(Clone, Copy)]
enum Way {
    History,
    Search,
}

impl FhirClient {
    /// Reads what changed in a type since a time: `GET [type]/_history?_since=…`, all pages, oldest
    /// first.
    ///
    /// **Order and completeness.** The changes are the oldest ones since the cursor, without gaps:
    /// those left out when there are more than `max_changes` are all newer than those returned, and
    /// `more` is set. A server's history begins with the newest, so each call reads all its pages,
    /// and keeps only the oldest changes in memory (`max_changes`, plus those of the overlap and of
    /// the same instant). Pages over the limit for an answer are read again in smaller ones. Put
    /// what comes into a log whose key is reference and version, together with the cursor in one
    /// commit, and nothing is missed or taken twice.
    ///
    /// **Servers without a type history** (404, 405, 410, 501 or `not-supported`) are read with
    /// [`FhirClient::current_since`] from then on.
    ///
    /// Spec: <http://hl7.org/fhir/R4/http.html#history>
    ///
    /// # Errors
    ///
    /// When the server is unavailable or refuses, when an answer isn't a Bundle, or when there are
    /// more pages than `max_pages`.
    pub async fn history_since(
        &self,
        resource_type: &ResourceType,
        query: &HistoryQuery,
    ) -> Result<Changes, Error> {
        if self.is_without_history(resource_type) {
            return self.current_since(resource_type, query).await;
        }
        match self.read_fitting(resource_type, query, Way::History).await {
            Err(error) if says_no_history(&error) => {
                // A wrong base URL answers 404 as well: the server is believed once the other way
                // has worked.
                let changes = self.current_since(resource_type, query).await?;
                tracing::info!(%resource_type, "the FHIR server has no history of this type; searching by time instead, which shows no deletions");
                let mut without = self
                    .inner
                    .without_history
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                without.insert(resource_type.clone());
                Ok(changes)
            }
            other => other,
        }
    }

    /// Reads what exists of a type and was changed since a time: `POST [type]/_search` with
    /// `_lastUpdated=ge…&_sort=_lastUpdated`.
    ///
    /// It shows the present version of each resource alone and no deletions, but starts with the
    /// oldest: for a first reading of a server that already holds much, it costs one pass where
    /// [`FhirClient::history_since`] costs one per `max_changes`. Order and completeness hold in
    /// the same way: a resource that is changed while the pages are read moves to their end and
    /// comes there.
    ///
    /// Spec: <http://hl7.org/fhir/R4/search.html#lastUpdated>
    ///
    /// # Errors
    ///
    /// As for [`FhirClient::history_since`].
    pub async fn current_since(
        &self,
        resource_type: &ResourceType,
        query: &HistoryQuery,
    ) -> Result<Changes, Error> {
        self.read_fitting(resource_type, query, Way::Search).await
    }

    /// Reads, and again with smaller pages when one is over the limit for an answer, so that a few
    /// large resources don't keep all others from being read.
    async fn read_fitting(
        &self,
        resource_type: &ResourceType,
        query: &HistoryQuery,
        way: Way,
    ) -> Result<Changes, Error> {
        let mut query = query.clone();
        loop {
            let changes = match way {
                Way::History => self.read_history(resource_type, &query).await,
                Way::Search => self.read_current(resource_type, &query).await,
            };
            match changes {
                Err(Error::BadAnswer { what, .. }) if what == TOO_LARGE && query.page_size > 1 => {
                    query.page_size = (query.page_size / 8).max(1);
                    query.max_pages = query.max_pages.saturating_mul(8);
                }
                other => return other,
            }
        }
    }

    async fn read_current(
        &self,
        resource_type: &ResourceType,
        query: &HistoryQuery,
    ) -> Result<Changes, Error> {
        let name = format!("{resource_type}/_search");
        let posted = Some((resource_type.clone(), Vec::new()));
        let mut pages = Pages::new(self, name.clone(), posted, query.max_pages);
        let mut reading = Reading::new(resource_type, query, false);
        let mut from = query.from();
        let mut link: Option<String> = None;
        let mut first = true;
        loop {
            let request = if let Some(link) = &link {
                pages.next(link)?
            } else {
                pages.spend()?;
                let count = query.page_size.max(1).to_string();
                let since = from.as_ref().map(|from| format!("ge{from}"));
                let fields = [("_sort", "_lastUpdated"), ("_count", count.as_str())];
                let since = since.as_deref().map(|since| ("_lastUpdated", since));
                self.request(Method::POST, &name, &name)
                    .form(fields.into_iter().chain(since))
            };
            let page = Page::parse(&self.send(request).await?.success()?)?;
            if std::mem::take(&mut first) {
                reading.server_time.clone_from(&page.server_time);
            }
            for entry in page.entries {
                match match_of(entry, resource_type) {
                    Some(Ok(resource)) => reading.put(resource, None, None),
                    Some(Err(odd)) => reading.note(odd),
                    None => {}
                }
            }
            reading.settle();
            let Some(next) = page.next else {
                return Ok(reading.finish(false));
            };
            if reading.has_enough() {
                return Ok(reading.finish(true));
            }
            // Begin anew at the last time seen, since pages by offset skip a resource when an
            // earlier one moves. Within one time only the link leads on.
            let newest = reading.changes.iter().map(|c| &c.last_updated).max();
            if newest.is_some() && newest > from.as_ref() {
                from = newest.cloned();
                link = None;
            } else {
                link = Some(next);
            }
        }
    }

    async fn read_history(
        &self,
        resource_type: &ResourceType,
        query: &HistoryQuery,
    ) -> Result<Changes, Error> {
        let name = format!("{resource_type}/_history");
        // HAPI cuts a history without `_since` to a total that may be a minute old.
        let from = query.from();
        let from = from.as_ref().map_or(EPOCH, Instant::as_str);
        let from = utf8_percent_encode(from, NON_ALPHANUMERIC);
        let path = format!("{name}?_count={}&_since={from}", query.page_size.max(1));
        let mut pages = Pages::new(self, name.clone(), None, query.max_pages);
        let mut reading = Reading::new(resource_type, query, true);
        let mut request = self.request(Method::GET, &path, &name);
        let mut first = true;
        loop {
            let page = Page::parse(&self.send(request).await?.success()?)?;
            if std::mem::take(&mut first) {
                reading.server_time.clone_from(&page.server_time);
            }
            for entry in page.entries {
                reading.history_entry(entry);
            }
            reading.settle();
            reading.drop_newest();
            let Some(link) = page.next else {
                let more = reading.dropped;
                return Ok(reading.finish(more));
            };
            request = pages.next(&link)?;
        }
    }

    fn is_without_history(&self, resource_type: &ResourceType) -> bool {
        let without = self
            .inner
            .without_history
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        without.contains(resource_type)
    }
}

fn says_no_history(error: &Error) -> bool {
    match error {
        Error::NotFound { .. }
        | Error::Rejected {
            status: 405 | 501, ..
        } => true,
        Error::Rejected { issues, .. } => issues.has("not-supported"),
        Error::BadAnswer { what, .. } => *what == FOREIGN_404,
        _ => false,
    }
}

/// A history while it is read.
struct Reading<'a> {
    resource_type: &'a ResourceType,
    query: &'a HistoryQuery,
    is_history: bool,
    changes: Vec<Change>,
    /// In the server's order, those of the present page whose time may still be missing.
    page: Vec<(ResourceRef, Option<String>, Option<Instant>, ChangeKind)>,
    odd: Vec<OddEntry>,
    seen: HashSet<(ResourceRef, String)>,
    dropped: bool,
    server_time: Option<Instant>,
}

impl<'a> Reading<'a> {
    fn new(resource_type: &'a ResourceType, query: &'a HistoryQuery, is_history: bool) -> Self {
        Self {
            resource_type,
            query,
            is_history,
            changes: Vec::new(),
            page: Vec::new(),
            odd: Vec::new(),
            seen: HashSet::new(),
            dropped: false,
            server_time: None,
        }
    }

    fn odd(&mut self, what: &'static str, id: Option<&str>) {
        self.note(OddEntry {
            resource_type: self.resource_type.clone(),
            what,
            id: id
                .filter(|id| crate::reference::is_id(id))
                .map(str::to_owned),
        });
    }

    fn note(&mut self, odd: OddEntry) {
        if self.odd.len() < self.query.max_changes {
            self.odd.push(odd);
        }
    }

    fn put(&mut self, resource: RawResource, version: Option<String>, time: Option<Instant>) {
        let version = resource.version_id.or(version);
        let time = resource.last_updated.or(time);
        self.page.push((
            resource.reference,
            version,
            time,
            ChangeKind::Put(resource.json),
        ));
    }

    fn history_entry(&mut self, entry: Result<Value, &'static str>) {
        let mut entry = match entry {
            Ok(entry) => entry,
            Err(what) => return self.odd(what, None),
        };
        let part = |part: &str, name: &str| entry.get(part)?.get(name)?.as_str().map(str::to_owned);
        let method = part("request", "method");
        let url = part("request", "url");
        let etag = part("response", "etag")
            .as_deref()
            .and_then(version_of_etag);
        let modified = part("response", "lastModified")
            .as_deref()
            .and_then(Instant::parse);
        let resource = entry
            .get_mut("resource")
            .map(Value::take)
            .filter(|r| !r.is_null());
        let full_url = entry.get("fullUrl").and_then(Value::as_str);
        match (method.as_deref(), resource) {
            (Some("DELETE"), _) | (None, None) => {
                let place = [url.as_deref(), full_url]
                    .into_iter()
                    .flatten()
                    .find_map(place_of);
                match place {
                    Some((reference, version))
                        if reference.resource_type() == self.resource_type =>
                    {
                        self.page.push((
                            reference,
                            version.or(etag),
                            modified,
                            ChangeKind::Deleted,
                        ));
                    }
                    _ => self.odd("it is a deletion that doesn't say of what", None),
                }
            }
            (_, Some(resource)) => {
                let id = resource
                    .get("id")
                    .and_then(Value::as_str)
                    .map(str::to_owned);
                match RawResource::from_json(resource) {
                    Ok(resource) if resource.resource_type() == self.resource_type => {
                        self.put(resource, etag, modified);
                    }
                    Ok(_) => self.odd("it is a resource of another type", None),
                    Err(what) => self.odd(what, id.as_deref()),
                }
            }
            (Some(_), None) => self.odd("it is a change without its resource", None),
        }
    }

    /// Takes the page's changes over, with the times that are missing: that of the next older
    /// change, else the next newer, else the cursor. (HAPI gives no time for deletions. One that
    /// is too late does no harm: nothing else of that resource happened in between.)
    fn settle(&mut self) {
        let mut page = std::mem::take(&mut self.page);
        if self.is_history {
            page.reverse();
        }
        let first = page.iter().find_map(|(_, _, time, _)| time.clone());
        let before = self.changes.iter().map(|c| &c.last_updated).min().cloned();
        let mut older = first.or(before).or_else(|| self.query.since.clone());
        for (reference, version, time, kind) in page {
            if version.is_none() && time.is_none() {
                self.odd("it has neither version nor time", Some(reference.id()));
                continue;
            }
            let Some(last_updated) = time
                .or_else(|| older.clone())
                .or_else(|| Instant::parse(EPOCH))
            else {
                continue;
            };
            older = Some(last_updated.clone());
            let version_id = version.unwrap_or_else(|| last_updated.as_str().to_owned());
            if self.seen.insert((reference.clone(), version_id.clone())) {
                self.changes.push(Change {
                    reference,
                    version_id,
                    last_updated,
                    kind,
                });
            }
        }
    }

    fn has_enough(&self) -> bool {
        self.changes
            .iter()
            .filter(|c| self.query.is_new(&c.last_updated))
            .count()
            >= self.query.max_changes.max(1)
    }

    fn drop_newest(&mut self) {
        let Some(last) = self.query.boundary(&mut self.changes) else {
            return;
        };
        self.changes.retain(|c| c.last_updated <= last);
        self.dropped = true;
        self.seen = self
            .changes
            .iter()
            .map(|c| (c.reference.clone(), c.version_id.clone()))
            .collect();
    }

    fn finish(mut self, more: bool) -> Changes {
        self.changes.sort_by(Change::order);
        let newest = self.changes.last().map(|c| c.last_updated.clone());
        let mut cursor = newest.max(self.query.since.clone());
        if let Some(now) = self.server_time.as_ref().filter(|_| !more)
            && cursor.as_ref().is_some_and(|cursor| cursor > now)
        {
            cursor = Some(now.clone());
        }
        Changes {
            cursor,
            server_time: self.server_time,
            changes: self.changes,
            odd: self.odd,
            more,
            is_history: self.is_history,
        }
    }
}

/// The resource and version that a URL names at its end. What stands before is the address that the
/// server believes to have.
pub(super) fn place_of(url: &str) -> Option<(ResourceRef, Option<String>)> {
    let path = url.split(['?', '#']).next()?.trim_matches('/');
    let mut segments = path.rsplit('/');
    let (last, before) = (segments.next()?, segments.next()?);
    let (resource_type, id, version) = if before == "_history" {
        let id = segments.next()?;
        (segments.next()?, id, Some(last))
    } else {
        (before, last, None)
    };
    let reference = ResourceRef::try_new(ResourceType::parse(resource_type)?, id)?;
    Some((
        reference,
        version
            .filter(|v| crate::raw::is_version(v))
            .map(str::to_owned),
    ))
}

impl Change {
    fn order(&self, other: &Self) -> Ordering {
        self.last_updated
            .cmp(&other.last_updated)
            .then_with(|| self.reference.cmp(&other.reference))
            .then_with(|| {
                match (
                    self.version_id.parse::<u64>(),
                    other.version_id.parse::<u64>(),
                ) {
                    (Ok(this), Ok(that)) => this.cmp(&that),
                    _ => self.version_id.cmp(&other.version_id),
                }
            })
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change")
            .field("reference", &self.reference)
            .field("version_id", &self.version_id)
            .field("last_updated", &self.last_updated)
            .field("kind", &self.kind)
            .finish()
    }
}

impl fmt::Debug for ChangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Put(_) => "Put",
            Self::Deleted => "Deleted",
        })
    }
}
