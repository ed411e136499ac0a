//! The configuration: one YAML file, every key checked, unknown ones refused.

mod messages;
mod network;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use matrix_appservice::ruma::OwnedServerName;
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

pub use self::messages::{Messages, OnRedaction};
pub use self::network::{Directory, Moves, Network, Roles, RoomNames, UserMappings};

/// All settings of the bridge. Relative paths are meant from the folder of the configuration file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The registration file that the homeserver reads too.
    pub registration: PathBuf,
    /// Where the bridge listens, for the homeserver and for the FHIR server's notifications.
    /// Default: `127.0.0.1:1234`.
    #[serde(default = "default_listen")]
    pub listen: String,
    /// A folder for the bridge's databases; made when it isn't there.
    pub data: PathBuf,
    /// What the localparts of ghosts and aliases begin with; has to be in the registration's
    /// namespaces. Default: `_fhir_bridge_`.
    #[serde(default = "default_prefix")]
    pub prefix: String,
    /// The homeserver that lists the registration.
    pub homeserver: Homeserver,
    /// The FHIR server.
    pub fhir: Fhir,
    /// What is carried over of messages, and how.
    #[serde(default)]
    pub messages: Messages,
    /// Care networks: rooms, roles, who is told what about whom.
    #[serde(default)]
    pub network: Network,
}

/// The homeserver that lists the registration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Homeserver {
    /// Its name, as in its users' ids: `server_name` of Synapse's configuration.
    pub name: OwnedServerName,
    /// Where its client-server API is reached.
    pub url: Url,
}

/// The FHIR server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fhir {
    /// Its base URL, such as `http://127.0.0.20:8080/fhir`.
    pub url: Url,
    /// A file with the bearer token that the bridge shows. Absent: it shows none.
    pub token_file: Option<PathBuf>,
    /// How often it is asked for changes even when it has not told of any. Default: 10.
    #[serde(default = "default_poll")]
    pub poll_interval_seconds: u64,
    /// Where the FHIR server reaches the bridge's listener, to notify it of changes by a rest-hook
    /// subscription. Absent: the bridge only asks.
    pub notify_url: Option<Url>,
}

fn default_listen() -> String {
    "127.0.0.1:1234".to_owned()
}

fn default_prefix() -> String {
    "_fhir_bridge_".to_owned()
}

fn default_poll() -> u64 {
    10
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
        key: &'static str,
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
        let mut config: Self = serde_yaml::from_str(&text)
            .map_err(|error| ConfigError::Yaml(file.to_owned(), error.to_string()))?;
        let folder = file.parent().unwrap_or(Path::new(""));
        config.registration = folder.join(&config.registration);
        config.data = folder.join(&config.data);
        config.fhir.token_file = config.fhir.token_file.map(|file| folder.join(file));
        config.check(file)?;
        Ok(config)
    }

    fn check(&self, file: &Path) -> Result<(), ConfigError> {
        let error = |key, what: &str| {
            Err(ConfigError::Value {
                file: file.to_owned(),
                key,
                what: what.to_owned(),
            })
        };
        for (key, url) in [
            ("homeserver.url", Some(&self.homeserver.url)),
            ("fhir.url", Some(&self.fhir.url)),
            ("fhir.notify_url", self.fhir.notify_url.as_ref()),
        ] {
            let Some(url) = url else { continue };
            if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
                return error(key, "must be a URL that starts with http:// or https://");
            }
            if !url.username().is_empty() || url.password().is_some() {
                return error(
                    key,
                    "must not hold a user name or password: URLs get into logs",
                );
            }
        }
        if self.fhir.poll_interval_seconds == 0 {
            return error("fhir.poll_interval_seconds", "must be at least 1");
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

    /// How often the FHIR server is asked for changes.
    #[must_use]
    pub fn poll_interval(&self) -> Duration {
        Duration::from_secs(self.fhir.poll_interval_seconds)
    }

    /// The bearer token for the FHIR server, read from its file.
    ///
    /// # Errors
    ///
    /// When the file can't be read.
    pub fn fhir_token(&self) -> Result<Option<SecretString>, ConfigError> {
        let Some(file) = &self.fhir.token_file else {
            return Ok(None);
        };
        let token = std::fs::read_to_string(file)
            .map_err(|error| ConfigError::Unreadable(file.clone(), error))?;
        Ok(Some(token.trim().to_owned().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = include_str!("../../../bridge.yaml");

    fn load(text: &str) -> Result<Config, ConfigError> {
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
        assert_eq!(config.poll_interval(), Duration::from_secs(10));
        assert!(
            config
                .registration
                .ends_with("registration/fhir-bridge.yaml")
        );
    }

    #[test]
    fn a_fault_is_told_with_file_line_and_key() {
        for (text, words) in [
            (GOOD.replace("data:", "dta:"), "unknown field `dta`"),
            (GOOD.replace("data:", "dta:"), "line"),
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
