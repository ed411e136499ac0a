//! How far a type has been read, as it stands in the journal.

use std::fmt;

use fhir::{Changes, Instant};

/// What begins the text of an import.
const IMPORT: &str = "import";

/// How far a type has been read.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cursor {
    /// Everything up to this time.
    Since(Instant),
    /// What there was at first is being read.
    Import(Import),
}

/// How far an import is.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Import {
    /// The server's time when it began.
    pub(super) began: Option<Instant>,
    /// Everything that was changed last before this time is read.
    pub(super) position: Option<Instant>,
    /// How many resources that was.
    pub(super) done: u64,
}

impl Cursor {
    /// An import from the beginning.
    pub(super) const RESTART: &str = IMPORT;

    /// Reads a cursor; one that is none, or that can't be read, is an import from the beginning.
    pub(super) fn parse(text: Option<&str>) -> Self {
        let text = text.unwrap_or_default();
        if let Some(since) = Instant::parse(text) {
            return Self::Since(since);
        }
        let mut words = text.split(' ').skip(1);
        let mut time = || words.next().and_then(Instant::parse);
        Self::Import(Import {
            began: time(),
            position: time(),
            done: words
                .next()
                .and_then(|word| word.parse().ok())
                .unwrap_or_default(),
        })
    }
}

impl Import {
    /// What follows when this was read; `None` when there is nothing on the server yet.
    pub(super) fn after(&self, read: &Changes) -> Option<Cursor> {
        let began = self.began.clone().or_else(|| read.server_time.clone());
        let cursor = read.cursor.clone();
        if !read.more {
            let since = match (cursor, began) {
                // What was deleted since the import began is in the history alone.
                (Some(cursor), Some(began)) => cursor.min(began),
                (cursor, _) => cursor?,
            };
            return Some(Cursor::Since(since));
        }
        Some(Cursor::Import(Self {
            began,
            position: cursor,
            done: self.done + read.changes.len() as u64,
        }))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Since(since) => write!(f, "{since}"),
            Self::Import(import) => {
                let word = |time: &Option<Instant>| {
                    time.as_ref()
                        .map_or_else(|| "-".to_owned(), ToString::to_string)
                };
                let (began, position) = (word(&import.began), word(&import.position));
                write!(f, "{IMPORT} {began} {position} {}", import.done)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str) -> Option<Instant> {
        Instant::parse(&format!("2026-11-21T{time}Z"))
    }

    fn read(cursor: &str, more: bool, server_time: Option<Instant>) -> Changes {
        Changes {
            changes: Vec::new(),
            odd: Vec::new(),
            more,
            is_history: false,
            cursor: at(cursor),
            server_time,
        }
    }

    #[test]
    fn a_cursor_is_read_back_as_it_was_written() {
        for cursor in [
            Cursor::Since(at("10:00:00.123").unwrap()),
            Cursor::Import(Import::default()),
            Cursor::Import(Import {
                began: None,
                position: at("10:00:00"),
                done: 7,
            }),
            Cursor::Import(Import {
                began: at("11:00:00"),
                position: at("10:00:00"),
                done: 1000,
            }),
        ] {
            assert_eq!(Cursor::parse(Some(&cursor.to_string())), cursor);
        }
        for text in [None, Some(""), Some(Cursor::RESTART), Some("what is this")] {
            assert_eq!(
                Cursor::parse(text),
                Cursor::Import(Import::default()),
                "{text:?}"
            );
        }
    }

    #[test]
    fn an_import_ends_where_it_began() {
        let first = Import::default().after(&read("09:00:00", true, at("12:00:00")));
        let Some(Cursor::Import(import)) = first else {
            panic!("it goes on")
        };
        assert_eq!(import.position, at("09:00:00"));
        let last = import.after(&read("12:30:00", false, at("13:00:00")));
        assert_eq!(last, at("12:00:00").map(Cursor::Since));
        // Where the server doesn't tell its time, the newest has to do.
        let last = Import::default().after(&read("12:30:00", false, None));
        assert_eq!(last, at("12:30:00").map(Cursor::Since));
    }
}
