//! The configuration: one YAML file, every key checked, unknown ones refused.

mod audit;
mod auth;
mod database;
mod fhir;
mod messages;
mod mistake;
mod network;
mod opentelemetry;
mod ops;
mod policy;
mod provisioning;
mod reference;
mod subscription;
mod tokens;

use std::path::{Path, PathBuf};

use matrix_appservice::ruma::{OwnedServerName, OwnedUserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

pub use self::{
    audit::{Audit, AuditSink},
    auth::{Auth, SendSecret, Tls},
    database::Database,
    fhir::{Fhir, Import, Threads},
    messages::{Messages, OnRedaction},
    network::{Directory, Moves, Network, Roles, RoomNames, UserMappings},
    opentelemetry::OpenTelemetry,
    ops::{Contact, Ops, Support},
    policy::{Federation, FederationList, Policy},
    provisioning::Provisioning,
    reference::{example, reference, schema},
    subscription::{Subscription, SubscriptionKind},
    tokens::Tokens,
};

/// All settings of the bridge. Relative paths are meant from the folder of the configuration file.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The registration file that the homeserver reads too.
    pub registration: PathBuf,
    /// Where the registration's tokens come from, when not from its file.
    #[serde(default)]
    pub tokens: Tokens,
    /// How long what is at work may take when the bridge is stopped, in seconds. Default: 10.
    #[serde(default = "default_drain")]
    pub drain_seconds: u64,
    /// Where the bridge listens, for the homeserver and for the FHIR server's notifications.
    /// Default: `127.0.0.1:1234`.
    #[serde(default = "default_listen")]
    pub listen: String,
    /// A folder for the bridge's databases, `audit.log` and the last good federation list; made when it isn't there.
    pub data: PathBuf,
    /// PostgreSQL, in place of SQLite files in `data`.
    #[serde(default)]
    pub database: Database,
    /// What the localparts of ghosts and aliases begin with; has to be in the registration's
    /// namespaces. Default: `_fhir_bridge_`.
    #[serde(default = "default_prefix")]
    pub prefix: String,
    /// The homeserver that lists the registration.
    pub homeserver: Homeserver,
    /// The FHIR server, when there is one only.
    pub fhir: Option<Fhir>,
    /// The FHIR servers, when there are several: one for each organisation.
    #[serde(default)]
    pub fhir_servers: Vec<Fhir>,
    /// What is carried over of messages, and how.
    #[serde(default)]
    pub messages: Messages,
    /// Care networks: rooms, roles, who is told what about whom.
    #[serde(default)]
    pub network: Network,
    /// Who may take part.
    #[serde(default)]
    pub policy: Policy,
    /// What is written down of what the bridge does.
    #[serde(default)]
    pub audit: Audit,
    /// By what other systems link rooms.
    #[serde(default)]
    pub provisioning: Provisioning,
    /// Who may give the bridge commands in Matrix. Default: nobody, and then there are none.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub admins: Vec<OwnedUserId>,
    /// How the bridge is watched.
    #[serde(default)]
    pub ops: Ops,
    /// Where traces go.
    #[serde(default)]
    pub opentelemetry: OpenTelemetry,
    /// Who is to be asked for help.
    #[serde(default)]
    pub support: Support,
}

/// The homeserver that lists the registration.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Homeserver {
    /// Its name, as in its users' ids: `server_name` of Synapse's configuration.
    #[schemars(with = "String")]
    pub name: OwnedServerName,
    /// Where its client-server API is reached.
    pub url: Url,
}

fn default_listen() -> String {
    "127.0.0.1:1234".to_owned()
}

fn default_drain() -> u64 {
    10
}

fn default_prefix() -> String {
    "_fhir_bridge_".to_owned()
}

/// A configuration that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file, or one that it names, can't be read.
    #[error("{} can't be read", .0.display())]
    Unreadable(PathBuf, #[source] std::io::Error),
    /// It is no YAML, or a key is missing, unknown or of the wrong shape.
    #[error("{}: {}", .0.display(), .1)]
    Yaml(PathBuf, String),
    /// A value that can't be.
    #[error("{}: `{key}` {what}", .file.display())]
    Value {
        /// The configuration file.
        file: PathBuf,
        /// The key.
        key: String,
        /// What is wrong with it.
        what: String,
    },
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the file, the line, and the key.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| ConfigError::Unreadable(file.to_owned(), error))?;
        let mut config: Self = serde_yaml::from_str(&text).map_err(|error| {
            ConfigError::Yaml(file.to_owned(), mistake::tell(&error.to_string()))
        })?;
        let folder = file.parent().unwrap_or(Path::new(""));
        config.registration = folder.join(&config.registration);
        config.data = folder.join(&config.data);
        for fhir in config.fhir.iter_mut().chain(&mut config.fhir_servers) {
            fhir.relative_to(folder);
        }
        config.tokens.relative_to(folder);
        config.database.relative_to(folder);
        config.policy.relative_to(folder);
        config.ops.relative_to(folder);
        config.provisioning.relative_to(folder);
        config.check(file)?;
        Ok(config)
    }

    fn check(&self, file: &Path) -> Result<(), ConfigError> {
        let error = |key: &str, what: &str| {
            Err(ConfigError::Value {
                file: file.to_owned(),
                key: key.to_owned(),
                what: what.to_owned(),
            })
        };
        if let Some(what) = mistake_in_url(&self.homeserver.url) {
            return error("homeserver.url", what);
        }
        let fault = (self.messages.fault())
            .or_else(|| self.policy.fault())
            .or_else(|| self.ops.fault())
            .or_else(|| self.opentelemetry.fault())
            .or_else(|| self.support.fault())
            .or_else(|| self.tokens.fault())
            .or_else(|| self.database.fault())
            .or_else(|| self.provisioning.fault());
        if let Some((key, what)) = fault {
            return error(key, what);
        }
        if let Some((key, what)) = self.mistake_in_servers() {
            return error(&key, &what);
        }
        let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if self.prefix.is_empty() || !self.prefix.bytes().all(lower) {
            return error(
                "prefix",
                "may hold lower-case letters, digits and `_` only, and at least one",
            );
        }
        Ok(())
    }
}

/// What is wrong with the URL of a server, if anything is.
fn mistake_in_url(url: &Url) -> Option<&'static str> {
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Some("must be a URL that starts with http:// or https://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Some("must not hold a user name or password: URLs get into logs");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const GOOD: &str = include_str!("../../../bridge.yaml");

    pub(super) fn load(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bridge.yaml");
        std::fs::write(&file, text).unwrap();
        Config::load(&file)
    }

    #[test]
    fn the_example_loads_and_has_the_documented_defaults() {
        let config = load(GOOD).unwrap();
        assert_eq!(config.listen, "127.0.0.1:1234");
        assert_eq!(config.prefix, "_fhir_bridge_");
        assert_eq!(config.servers().count(), 1);
        let fhir = config.servers().next().unwrap();
        assert_eq!(fhir.poll_interval().as_secs(), 10);
        assert!(
            config
                .registration
                .ends_with("registration/fhir-bridge.yaml")
        );
    }

    #[test]
    fn a_fault_is_told_with_file_line_and_key() {
        for (text, words) in [
            (GOOD.replace("data:", "dta:"), "unknown key `dta`"),
            (GOOD.replace("data:", "dta:"), "line"),
            (GOOD.replace("data:", "dta:"), "did you mean `data`?"),
            (
                GOOD.replace("  name: vvt", "  name: 'no name'"),
                "server name is not a valid",
            ),
            (
                GOOD.replace("http://127.0.0.20:8080/fhir", "ftp://x"),
                "`fhir.url`",
            ),
            (
                GOOD.replace("http://127.0.0.20:8080", "http://me:secret@x"),
                "`fhir.url`",
            ),
            (GOOD.replace("homeserver:", "homeserver: ["), "line"),
        ] {
            let error = load(&text).unwrap_err().to_string();
            assert!(error.contains("bridge.yaml"), "{error}");
            assert!(error.contains(words), "{error} lacks {words}");
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(
            load(&GOOD.replace("  #poll_interval_seconds: 10", "  poll_interval_seconds: 0"))
                .is_err()
        );
    }
}
