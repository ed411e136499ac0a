//! Servers that nobody runs, for tests of what works on them.

use matrix_appservice::{Journal, Registration};
use serde_json::{Value, json};

use super::Servers;
use crate::{bridge::Shared, config::Config};

/// What a bridge has before it runs, with its journal in memory.
pub(crate) struct Made {
    /// Holds `bridge.yaml` and the databases.
    pub(crate) folder: tempfile::TempDir,
    pub(crate) config: Config,
    pub(crate) registration: Registration,
    pub(crate) journal: Journal,
    pub(crate) servers: Servers,
}

impl Made {
    /// With these keys in its configuration; `fhir_servers` has to be there.
    pub(crate) async fn with(further: Value) -> Self {
        Self::in_folder(tempfile::tempdir().unwrap(), further).await
    }

    /// The same in a folder that holds what the keys name.
    pub(crate) async fn in_folder(folder: tempfile::TempDir, further: Value) -> Self {
        let mut config = json!({
            "registration": "registration.yaml",
            "data": "",
            "homeserver": {"name": "vvt", "url": "http://127.0.0.1:9"},
        });
        if let Value::Object(further) = further {
            for (key, value) in further {
                config[key] = value;
            }
        }
        let file = folder.path().join("bridge.yaml");
        std::fs::write(&file, config.to_string()).unwrap();
        let config = Config::load(&file).unwrap();
        let registration =
            Registration::parse(include_str!("../../../../registration/fhir-bridge.yaml")).unwrap();
        let journal = Journal::in_memory().await.unwrap();
        let shared = Shared::open(&config, &registration, journal.clone()).unwrap();
        let servers = Servers::open(&config, &shared).await.unwrap();
        Self {
            folder,
            config,
            registration,
            journal,
            servers,
        }
    }
}
