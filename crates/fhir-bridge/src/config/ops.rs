//! How the bridge is watched.

use std::path::{Path, PathBuf};

use anyhow::Context;
use matrix_appservice::registration::Token;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the bridge is watched.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ops {
    /// Where those who run the bridge are told how it goes: health (`GET /actuator/health/liveness` and `/readiness`) and
    /// numbers (`GET /metrics`) for everybody who gets there, the page (`GET /`) and its API (`/api/v1/`) for those who have
    /// the token. Default: `127.0.0.1:1233`; `null`: nowhere.
    pub listen: Option<String>,
    /// A file with the token for the page and the API: at least 16 characters, read at the start. Either this or
    /// `token_env`. Without one, they are served on a loopback address only, to everybody on this machine.
    pub token_file: Option<PathBuf>,
    /// The variable of the environment that holds the token.
    pub token_env: Option<String>,
    /// The bridge is not ready while something waits for longer than this. Default: 900.
    pub oldest_waiting_seconds: u64,
}

impl Default for Ops {
    fn default() -> Self {
        Self {
            listen: Some("127.0.0.1:1233".to_owned()),
            token_file: None,
            token_env: None,
            oldest_waiting_seconds: 900,
        }
    }
}

impl Ops {
    /// The token for the page and the API, where there is one.
    ///
    /// # Errors
    ///
    /// When it can't be had, or is easy to guess.
    pub(crate) fn token(&self) -> anyhow::Result<Option<Token>> {
        let text = match (&self.token_file, &self.token_env) {
            (Some(file), _) => {
                let read = std::fs::read_to_string(file);
                read.with_context(|| format!("`ops.token_file`: {} can't be read", file.display()))?
            }
            (None, Some(name)) => std::env::var(name)
                .ok()
                .with_context(|| format!("`ops.token_env`: the variable {name} isn't set"))?,
            (None, None) => return Ok(None),
        };
        let token = Token::parse(text.trim()).map_err(|error| {
            anyhow::anyhow!("the token in `ops.token_file` or `ops.token_env` {error}")
        })?;
        Ok(Some(token))
    }

    /// Makes paths those from `folder`.
    pub(super) fn relative_to(&mut self, folder: &Path) {
        if let Some(file) = &mut self.token_file {
            *file = folder.join(&*file);
        }
    }

    /// What is wrong with it: the key, and what it must be.
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        (self.token_file.is_some() && self.token_env.is_some())
            .then_some(("ops.token_file", "or `token_env`, not both"))
    }
}

/// Who is to be asked for help, as `/.well-known/matrix/support` says it; the proxy in front of the homeserver has to
/// pass that path to the bridge.
///
/// [Specification](https://spec.matrix.org/v1.17/client-server-api/#getwell-knownmatrixsupport)
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Support {
    /// People.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contacts: Vec<Contact>,
    /// A page for users of the homeserver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub support_page: Option<url::Url>,
}

/// Somebody to be asked.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Contact {
    /// `m.role.admin`, `m.role.security`, or another one.
    pub role: String,
    /// A Matrix user.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub matrix_id: Option<matrix_appservice::ruma::OwnedUserId>,
    /// An address for e-mail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email_address: Option<String>,
}

impl Support {
    /// Whether there is anything to be told.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.contacts.is_empty() && self.support_page.is_none()
    }

    /// What is wrong with it: the key, and what it must be.
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        self.contacts
            .iter()
            .any(|contact| contact.matrix_id.is_none() && contact.email_address.is_none())
            .then_some((
                "support.contacts",
                "each needs `matrix_id` or `email_address`",
            ))
    }
}
