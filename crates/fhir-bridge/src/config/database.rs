//! Where the bridge's databases are.

use std::path::{Path, PathBuf};

use anyhow::Context;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// PostgreSQL, in place of SQLite files in the folder `data`, for the journal and for what the bridge knows of rooms,
/// messages and people. A database of its own, in which its user may make schemas; over connections that are not a
/// pooler's. Default: SQLite.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// A file with its address, `postgres://user:password@host:5432/database?sslmode=verify-full`, which is read at the
    /// start. Either this or `url_env`.
    pub url_file: Option<PathBuf>,
    /// The variable of the environment that holds the address.
    pub url_env: Option<String>,
}

impl Database {
    /// The address; `None` when there is to be no PostgreSQL.
    ///
    /// # Errors
    ///
    /// When it can't be had.
    pub(crate) fn url(&self) -> anyhow::Result<Option<SecretString>> {
        let text = match (&self.url_file, &self.url_env) {
            (Some(file), _) => {
                let read = std::fs::read_to_string(file);
                read.with_context(|| {
                    format!("`database.url_file`: {} can't be read", file.display())
                })?
            }
            (None, Some(name)) => std::env::var(name)
                .ok()
                .with_context(|| format!("`database.url_env`: the variable {name} isn't set"))?,
            (None, None) => return Ok(None),
        };
        Ok(Some(text.trim().to_owned().into()))
    }

    /// Whether there is to be PostgreSQL.
    #[must_use]
    pub fn is_postgres(&self) -> bool {
        self.url_file.is_some() || self.url_env.is_some()
    }

    /// Makes paths those from `folder`.
    pub(super) fn relative_to(&mut self, folder: &Path) {
        if let Some(file) = &mut self.url_file {
            *file = folder.join(&*file);
        }
    }

    /// What is wrong with it: the key, and what it must be.
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        (self.url_file.is_some() && self.url_env.is_some())
            .then_some(("database.url_file", "must not stand beside `url_env`"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{GOOD, load};

    #[test]
    fn the_address_has_one_source() {
        assert!(!load(GOOD).unwrap().database.is_postgres());
        let text = format!("{GOOD}\ndatabase: {{url_file: a, url_env: A}}\n");
        let error = load(&text).unwrap_err().to_string();
        assert!(error.contains("`database.url_file`"), "{error}");
        // What stands in the file itself would be copied and shown with it.
        let text = format!("{GOOD}\ndatabase: {{url: postgres://u:canary@h/d}}\n");
        let error = load(&text).unwrap_err().to_string();
        assert!(error.contains("unknown key `url`"), "{error}");
        assert!(!error.contains("canary"), "{error}");
    }
}
