//! What is wrong with a registration, where, and what to do.

use std::{
    io,
    path::{Path, PathBuf},
};

/// A registration that can't be used, read or written.
///
/// The text names file, line and field, says what is expected there, and never holds a token.
#[derive(Debug, thiserror::Error)]
#[error("{}{}{what}", place(.file.as_deref(), *.line), named(.field.as_deref()))]
pub struct RegistrationError {
    file: Option<PathBuf>,
    line: Option<usize>,
    field: Option<String>,
    what: String,
    #[source]
    source: Option<io::Error>,
}

/// `file:line: `, as compilers write it, so that editors can jump there.
pub(super) fn place(file: Option<&Path>, line: Option<usize>) -> String {
    match (file, line) {
        (Some(file), Some(line)) => format!("{}:{line}: ", file.display()),
        (Some(file), None) => format!("{}: ", file.display()),
        (None, Some(line)) => format!("line {line}: "),
        (None, None) => String::new(),
    }
}

fn named(field: Option<&str>) -> String {
    field.map(|field| format!("`{field}` ")).unwrap_or_default()
}

impl RegistrationError {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self {
            file: None,
            line: None,
            field: None,
            what: what.into(),
            source: None,
        }
    }

    pub(super) fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self {
            source: Some(source),
            ..Self::new(what)
        }
    }

    pub(super) fn in_field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    pub(super) fn in_line(mut self, line: Option<usize>) -> Self {
        self.line = line;
        self
    }

    pub(super) fn in_file(mut self, path: &Path) -> Self {
        self.file = Some(path.to_owned());
        self
    }

    /// Says more about the field before what is wrong with it.
    pub(super) fn told_of(mut self, whence: &str) -> Self {
        self.what = format!("{whence} {}", self.what);
        self
    }

    /// The file, where there is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The line in the file, counted from 1, where it is known.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// The field, as in `hs_token` or `namespaces.users[0]`, where it is one field's fault.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }
}
