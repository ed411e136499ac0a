//! Who may link rooms from outside.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// A token that is shorter can be guessed.
const SHORTEST_TOKEN: usize = 16;

/// The provisioning API, by which other systems link rooms. Without a token there is none.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Provisioning {
    /// The file that holds its token, or …
    pub token_file: Option<PathBuf>,
    /// … the variable of the environment.
    pub token_env: Option<String>,
}

impl Provisioning {
    /// Makes paths those from `folder`.
    pub(super) fn relative_to(&mut self, folder: &Path) {
        if let Some(file) = &mut self.token_file {
            *file = folder.join(&*file);
        }
    }

    /// What is wrong with it: the key, and what it must be.
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        (self.token_file.is_some() && self.token_env.is_some()).then_some((
            "provisioning.token_file",
            "must not stand beside `token_env`",
        ))
    }

    /// The token; `None` when there is to be no API.
    pub(crate) fn token(&self) -> anyhow::Result<Option<SecretString>> {
        let (text, place) = match (&self.token_file, &self.token_env) {
            (None, None) => return Ok(None),
            (Some(file), _) => {
                let place = format!("`provisioning.token_file` ({})", file.display());
                let text = std::fs::read_to_string(file);
                (
                    text.with_context(|| format!("{place} can't be read"))?,
                    place,
                )
            }
            (None, Some(name)) => {
                let place = format!("`provisioning.token_env` (${name})");
                let text = std::env::var(name);
                (
                    text.with_context(|| format!("{place} can't be read"))?,
                    place,
                )
            }
        };
        let token = text.trim();
        if token.len() < SHORTEST_TOKEN {
            bail!(
                "{place} holds a token of fewer than {SHORTEST_TOKEN} characters: make one with `openssl rand -hex 32`"
            );
        }
        Ok(Some(token.to_owned().into()))
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::super::tests::{GOOD, load};
    use super::*;

    #[test]
    fn a_token_comes_from_one_place_and_is_long_enough() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let mut settings = Provisioning::default();
        assert!(settings.token().unwrap().is_none());
        settings.token_file = Some("token".into());
        settings.relative_to(folder.path());
        let error = format!("{:#}", settings.token().unwrap_err());
        assert!(error.contains("`provisioning.token_file`"), "{error}");
        std::fs::write(&file, "too-short\n").unwrap();
        let error = settings.token().unwrap_err().to_string();
        assert!(
            error.contains("openssl") && !error.contains("too-short"),
            "{error}"
        );
        std::fs::write(&file, "an-example-token-of-some-length\n").unwrap();
        let token = settings.token().unwrap().unwrap();
        assert_eq!(token.expose_secret(), "an-example-token-of-some-length");
        let both = format!("{GOOD}\nprovisioning: {{token_file: a, token_env: B}}\n");
        let error = load(&both).unwrap_err().to_string();
        assert!(error.contains("`provisioning.token_file`"), "{error}");
    }

    #[test]
    fn nobody_is_an_admin_who_is_not_named() {
        assert!(load(GOOD).unwrap().admins.is_empty());
        let named = load(&format!("{GOOD}\nadmins: ['@operator:vvt']\n")).unwrap();
        assert_eq!(named.admins, ["@operator:vvt"]);
        assert!(load(&format!("{GOOD}\nadmins: [operator]\n")).is_err());
    }
}
