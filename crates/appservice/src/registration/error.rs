//! What is wrong with a registration, where, and what to do.

use std::{
    io,
    path::{Path, PathBuf},
};

/// A registration that can't be used. The text names file, line and field, and never holds a token.
#[derive(Debug, thiserror::Error)]
#[error("{}{what}", place(.file.as_deref(), *.line))]
pub struct RegistrationError {
    file: Option<PathBuf>,
    line: Option<usize>,
    what: String,
    #[source]
    source: Option<io::Error>,
}

fn place(file: Option<&Path>, line: Option<usize>) -> String {
    match (file, line) {
        (Some(file), Some(line)) => format!("{}:{line}: ", file.display()),
        (Some(file), None) => format!("{}: ", file.display()),
        (None, Some(line)) => format!("line {line}: "),
        (None, None) => String::new(),
    }
}

impl RegistrationError {
    pub(super) fn new(line: Option<usize>, what: impl Into<String>) -> Self {
        Self {
            file: None,
            line,
            what: what.into(),
            source: None,
        }
    }

    pub(super) fn unreadable(path: &Path, source: io::Error) -> Self {
        Self {
            file: Some(path.to_owned()),
            line: None,
            what: "the registration can't be read".to_owned(),
            source: Some(source),
        }
    }

    pub(super) fn in_file(mut self, path: &Path) -> Self {
        self.file = Some(path.to_owned());
        self
    }

    /// The line in the file, counted from 1, where it is known.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.line
    }
}
