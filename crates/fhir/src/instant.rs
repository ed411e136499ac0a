use std::{
    fmt,
    time::{Duration, SystemTime},
};

use fhir_sdk::time::{
    Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset,
    format_description::well_known::Rfc3339,
};

/// A point in time as FHIR writes it (`2026-11-21T10:00:00.123+01:00`), compared by the time it
/// names and written back exactly as it came.
///
/// Spec: <http://hl7.org/fhir/R4/datatypes.html#instant>
#[derive(Clone)]
pub struct Instant {
    text: String,
    at: OffsetDateTime,
}

impl Instant {
    /// Reads an `instant`, or a `dateTime` that has a time of day. `None` for anything else, also
    /// for a date alone: a day is not a point in time, and the reader has a better guess (such as
    /// when the resource was stored).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        Some(Self {
            text: text.to_owned(),
            at,
        })
    }

    /// Reads the start of a FHIR `Period`: like [`Instant::parse`], but a year, month or day alone
    /// counts from its beginning (UTC).
    ///
    /// Spec: <http://hl7.org/fhir/R4/datatypes.html#Period>
    #[must_use]
    pub fn parse_period_start(text: &str) -> Option<Self> {
        Self::parse(text).or_else(|| Self::parse_date(text, false))
    }

    /// Reads the end of a FHIR `Period`: like [`Instant::parse`], but a year, month or day alone
    /// counts to its end (UTC), as the specification has it.
    ///
    /// Spec: <http://hl7.org/fhir/R4/datatypes.html#Period>
    #[must_use]
    pub fn parse_period_end(text: &str) -> Option<Self> {
        Self::parse(text).or_else(|| Self::parse_date(text, true))
    }

    fn parse_date(text: &str, end: bool) -> Option<Self> {
        let mut parts = text.split('-');
        let year = i32::from(digits(parts.next()?, 4)?);
        let month = match parts.next() {
            Some(month) => Month::try_from(u8::try_from(digits(month, 2)?).ok()?).ok()?,
            None if end => Month::December,
            None => Month::January,
        };
        let day = match parts.next() {
            Some(day) => u8::try_from(digits(day, 2)?).ok()?,
            None if end => month.length(year),
            None => 1,
        };
        if parts.next().is_some() {
            return None;
        }
        let date = Date::from_calendar_date(year, month, day).ok()?;
        let time = if end {
            Time::from_hms_milli(23, 59, 59, 999).ok()?
        } else {
            Time::MIDNIGHT
        };
        Some(Self {
            text: text.to_owned(),
            at: PrimitiveDateTime::new(date, time).assume_utc(),
        })
    }

    /// The point in time that lies this many milliseconds after 1970-01-01T00:00:00Z, in UTC.
    /// `None` after the year 9999.
    #[must_use]
    pub fn from_unix_millis(millis: u64) -> Option<Self> {
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).ok()?;
        Self::from_time(at)
    }

    /// Now, by this machine's clock, in UTC.
    #[must_use]
    pub fn now() -> Self {
        let elapsed = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        u64::try_from(elapsed.as_millis())
            .ok()
            .and_then(Self::from_unix_millis)
            .unwrap_or_else(|| Self {
                text: "1970-01-01T00:00:00Z".to_owned(),
                at: OffsetDateTime::UNIX_EPOCH,
            })
    }

    /// Milliseconds since 1970-01-01T00:00:00Z; 0 for anything earlier.
    #[must_use]
    pub fn unix_millis(&self) -> u64 {
        u64::try_from(self.at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
    }

    /// The same point in time, this much earlier, in UTC. It stops at year 0.
    #[must_use]
    pub fn earlier_by(&self, duration: Duration) -> Self {
        fhir_sdk::time::Duration::try_from(duration)
            .ok()
            .and_then(|duration| self.at.checked_sub(duration))
            .and_then(Self::from_time)
            .unwrap_or_else(|| self.clone())
    }

    /// The same point in time, this much later, in UTC. It stops at the year 9999.
    #[must_use]
    pub fn later_by(&self, duration: Duration) -> Self {
        fhir_sdk::time::Duration::try_from(duration)
            .ok()
            .and_then(|duration| self.at.checked_add(duration))
            .and_then(Self::from_time)
            .unwrap_or_else(|| self.clone())
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn from_time(at: OffsetDateTime) -> Option<Self> {
        let at = at.to_offset(UtcOffset::UTC);
        let text = at.format(&Rfc3339).ok()?;
        Some(Self { text, at })
    }
}

fn digits(part: &str, length: usize) -> Option<u16> {
    (part.len() == length && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse().ok())?
}

impl PartialEq for Instant {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Instant {}

impl PartialOrd for Instant {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Instant {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

impl std::hash::Hash for Instant {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.at.hash(state);
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
