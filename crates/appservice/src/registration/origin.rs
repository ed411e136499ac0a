//! Where a registration came from, for what is said about it later.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// File, lines and modes. It is no part of what a registration says, so any two are equal.
#[derive(Debug, Clone, Default)]
pub(super) struct Origin {
    pub(super) file: Option<PathBuf>,
    /// Lines, counted from 1, by field: `hs_token`, `namespaces.users[0]`.
    pub(super) lines: BTreeMap<String, usize>,
    /// The files that hold its tokens, and who may read them (Unix mode bits).
    pub(super) modes: Vec<(PathBuf, u32)>,
}

impl PartialEq for Origin {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Origin {
    pub(super) fn line(&self, field: &str) -> Option<usize> {
        self.lines.get(field).copied()
    }

    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }
}
