//! What a FHIR stub holds: every version of everything, in the order of writing.

use serde_json::{Value, json};

/// 2026-11-21T00:00:00Z.
const BEGINNING: u64 = 1_795_219_200_000;

#[derive(Debug)]
pub(super) struct Store {
    log: Vec<Version>,
    next_id: u64,
    pub(super) clock: u64,
    pub(super) stopped: bool,
    pub(super) without_history: Option<u16>,
}

/// One version of a resource, or its end.
#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) reference: String,
    pub(super) number: u64,
    pub(super) time: String,
    pub(super) resource: Option<Value>,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            log: Vec::new(),
            next_id: 0,
            clock: BEGINNING,
            stopped: false,
            without_history: None,
        }
    }
}

impl Store {
    pub(super) fn put(&mut self, mut json: Value, time: Option<String>) -> String {
        let id = json["id"].as_str().map(str::to_owned);
        let id = id.unwrap_or_else(|| {
            self.next_id += 1;
            self.next_id.to_string()
        });
        let reference = format!("{}/{id}", json["resourceType"].as_str().unwrap_or_default());
        let (number, time) = self.stamp(&reference, time);
        json["id"] = id.into();
        if !json["meta"].is_object() {
            json["meta"] = json!({});
        }
        json["meta"]["versionId"] = number.to_string().into();
        json["meta"]["lastUpdated"] = time.as_str().into();
        if json["resourceType"] == "Subscription" && json["status"] == "requested" {
            json["status"] = "active".into();
        }
        self.log.push(Version {
            reference: reference.clone(),
            number,
            time,
            resource: Some(json),
        });
        reference
    }

    pub(super) fn delete(&mut self, reference: &str) {
        let (number, time) = self.stamp(reference, None);
        self.log.push(Version {
            reference: reference.to_owned(),
            number,
            time,
            resource: None,
        });
    }

    fn stamp(&mut self, reference: &str, time: Option<String>) -> (u64, String) {
        let number = self.versions_of(reference).count() as u64 + 1;
        if !self.stopped {
            self.clock += 1;
        }
        (number, time.unwrap_or_else(|| text(self.clock)))
    }

    fn versions_of(&self, reference: &str) -> impl Iterator<Item = &Version> {
        self.log
            .iter()
            .filter(move |one| one.reference == reference)
    }

    pub(super) fn last(&self, reference: &str) -> Option<&Version> {
        self.versions_of(reference).last()
    }

    pub(super) fn current(&self, reference: &str) -> Option<Value> {
        self.last(reference)?.resource.clone()
    }

    pub(super) fn all(&self, resource_type: &str) -> Vec<Value> {
        let mut all: Vec<Version> = Vec::new();
        for version in self.of_type(resource_type) {
            all.retain(|one| one.reference != version.reference);
            all.push(version.clone());
        }
        // As a search with `_sort=_lastUpdated` answers.
        all.sort_by(|a, b| a.time.cmp(&b.time));
        all.into_iter().filter_map(|one| one.resource).collect()
    }

    /// Newest first, by the time that they bear.
    pub(super) fn history(&self, resource_type: &str, since: &str) -> Vec<Version> {
        let since = since.trim_end_matches('Z');
        let mut all: Vec<Version> = self
            .of_type(resource_type)
            .filter(|one| one.time.trim_end_matches('Z') >= since)
            .cloned()
            .collect();
        all.sort_by(|a, b| a.time.cmp(&b.time));
        all.reverse();
        all
    }

    fn of_type(&self, resource_type: &str) -> impl Iterator<Item = &Version> {
        let start = format!("{resource_type}/");
        self.log
            .iter()
            .filter(move |one| one.reference.starts_with(&start))
    }

    /// The time on the server's clock.
    pub(super) fn now(&self) -> String {
        text(self.clock)
    }

    /// The same, as HTTP has it.
    pub(super) fn date(&self) -> String {
        http_date(self.clock)
    }

    pub(super) fn truncate(&mut self, versions: usize) {
        self.log.truncate(versions);
    }

    pub(super) fn len(&self) -> usize {
        self.log.len()
    }
}

/// A time as FHIR writes it, with milliseconds.
fn text(unix_millis: u64) -> String {
    let (days, rest) = (unix_millis / 86_400_000, unix_millis % 86_400_000);
    let (year, month, day) = civil(days);
    let (seconds, millis) = (rest / 1000, rest % 1000);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{millis:03}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

fn http_date(unix_millis: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (days, seconds) = (unix_millis / 86_400_000, unix_millis % 86_400_000 / 1000);
    let (year, month, day) = civil(days);
    let name = |names: &[&'static str], index: u64| {
        let index = usize::try_from(index).unwrap_or_default();
        names.get(index).copied().unwrap_or_default()
    };
    format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        name(&DAYS, days % 7),
        name(&MONTHS, month - 1),
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// The date of a day since 1970.
fn civil(mut days: u64) -> (u64, u64, u64) {
    let mut year = 1970;
    loop {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let length = if leap { 366 } else { 365 };
        if days >= length {
            days -= length;
            year += 1;
            continue;
        }
        let february = if leap { 29 } else { 28 };
        let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        for (month, length) in (1..).zip(months) {
            if days < length {
                return (year, month, days + 1);
            }
            days -= length;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_fhir_has_them() {
        assert_eq!(text(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(text(BEGINNING), "2026-11-21T00:00:00.000Z");
        assert_eq!(text(1_709_210_096_007), "2024-02-29T12:34:56.007Z");
        assert_eq!(
            http_date(1_709_210_096_007),
            "Thu, 29 Feb 2024 12:34:56 GMT"
        );
    }
}
