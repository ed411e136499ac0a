//! A homeserver's configuration, from the templates in `synapse/`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::Setup;
use crate::{files, paths, random};

/// Writes everything that Synapse reads. Keys and secrets are made once and kept, so that a kept folder goes on working.
pub(super) fn write(setup: &Setup<'_>) -> Result<()> {
    let folder = &setup.folder;
    files::keep(&folder.join("signing.key"), random::signing_key)?;
    let macaroon = files::keep(&folder.join("macaroon.secret"), random::secret)?;
    let form = files::keep(&folder.join("form.secret"), random::secret)?;
    let values = [
        ("SERVER_NAME", json!(setup.name)),
        ("BASE_URL", json!(setup.base_url)),
        ("ADDRESS", json!(setup.address)),
        ("CA", json!(setup.ca)),
        ("MACAROON_SECRET", json!(macaroon)),
        ("FORM_SECRET", json!(form)),
        ("REGISTRATIONS", json!(setup.registrations)),
    ];
    files::write_private(
        &folder.join("homeserver.yaml"),
        &render(&template("homeserver.yaml")?, &values),
    )?;
    files::write_private(&folder.join("log.yaml"), &template("log.yaml")?)
}

fn template(name: &str) -> Result<String> {
    let path = template_path(name);
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

fn template_path(name: &str) -> PathBuf {
    Path::join(paths::source(), "synapse").join(name)
}

fn render(template: &str, values: &[(&str, Value)]) -> String {
    values
        .iter()
        .fold(template.to_owned(), |text, (name, value)| {
            text.replace(&format!("@{name}@"), &value.to_string())
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Net;

    #[test]
    fn the_configuration_is_complete_and_verifies_certificates() {
        let folder = tempfile::tempdir().unwrap();
        let net: Net = "127.7.8".parse().unwrap();
        let registration = folder.path().join("a \"quoted\" name.yaml");
        let setup = Setup {
            name: "vvt",
            net,
            address: net.address(13),
            base_url: "http://127.7.8.13:8008/",
            folder: folder.path().to_owned(),
            log: folder.path().join("vvt.log"),
            python: Path::new("python3"),
            ca: Path::new("/somewhere/ca.crt"),
            registrations: std::slice::from_ref(&registration),
        };

        write(&setup).unwrap();

        let text = std::fs::read_to_string(folder.path().join("homeserver.yaml")).unwrap();
        let config: Value = serde_yaml::from_str(&text).unwrap();
        assert_eq!(config["server_name"], "vvt");
        assert_eq!(
            config["listeners"][0]["bind_addresses"],
            json!(["127.7.8.13"])
        );
        assert_eq!(config["app_service_config_files"], json!([registration]));
        assert_eq!(config["federation_verify_certificates"], json!(true));
        assert_eq!(
            config["federation_custom_ca_list"],
            json!(["/somewhere/ca.crt"])
        );
        let settings = text.lines().filter(|line| !line.starts_with('#'));
        assert!(!settings.collect::<String>().contains('@'), "{text}");
    }

    #[test]
    fn a_kept_folder_keeps_its_identity() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("signing.key");
        let first = files::keep(&key, random::signing_key).unwrap();
        let second = files::keep(&key, random::signing_key).unwrap();
        assert_eq!(first, second);
    }
}
