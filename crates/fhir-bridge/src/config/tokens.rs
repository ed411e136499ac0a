//! Where the tokens of the registration come from, when not from its file.

use std::path::{Path, PathBuf};

use matrix_appservice::{Registration, RegistrationError, registration::RegistrationFile};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Config;

/// Where the tokens of the registration come from. Default: from its file. What is named here is used in place of what
/// the file says.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tokens {
    /// A file with the `as_token`, by which the homeserver knows the bridge.
    pub as_token_file: Option<PathBuf>,
    /// The variable of the environment that holds it.
    pub as_token_env: Option<String>,
    /// A file with the `hs_token`, by which the bridge knows the homeserver.
    pub hs_token_file: Option<PathBuf>,
    /// The variable of the environment that holds it.
    pub hs_token_env: Option<String>,
    /// A file with the `hs_token` of before, which is taken, too, while both are in use. It may be absent.
    pub former_hs_token_file: Option<PathBuf>,
}

impl Tokens {
    pub(super) fn relative_to(&mut self, folder: &Path) {
        let files = [
            &mut self.as_token_file,
            &mut self.hs_token_file,
            &mut self.former_hs_token_file,
        ];
        for file in files.into_iter().flatten() {
            *file = folder.join(&*file);
        }
    }

    /// What is wrong: the key, and what it must be.
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        let what = "must not stand beside its `…_env`: one of the two";
        if self.as_token_file.is_some() && self.as_token_env.is_some() {
            return Some(("tokens.as_token_file", what));
        }
        (self.hs_token_file.is_some() && self.hs_token_env.is_some())
            .then_some(("tokens.hs_token_file", what))
    }
}

impl Config {
    /// Reads the registration, with the tokens from where `tokens` says.
    ///
    /// # Errors
    ///
    /// As [`RegistrationFile::load`].
    pub fn registration(&self) -> Result<Registration, RegistrationError> {
        let mut file = RegistrationFile::new(&self.registration);
        if let Some(path) = &self.tokens.as_token_file {
            file = file.as_token_from_file(path);
        }
        if let Some(variable) = &self.tokens.as_token_env {
            file = file.as_token_from_env(variable);
        }
        if let Some(path) = &self.tokens.hs_token_file {
            file = file.hs_token_from_file(path);
        }
        if let Some(variable) = &self.tokens.hs_token_env {
            file = file.hs_token_from_env(variable);
        }
        if let Some(path) = &self.tokens.former_hs_token_file {
            file = file.also_accept_hs_token_from_file(path);
        }
        file.load()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{GOOD, load};

    #[test]
    fn tokens_come_from_files_and_the_former_one_is_taken_too() {
        let folder = tempfile::tempdir().unwrap();
        let registration = include_str!("../../../../registration/fhir-bridge.yaml");
        for (name, text) in [
            ("registration.yaml", registration),
            ("hs", "an-example-hs-token-from-a-file\n"),
            ("former", "an-example-hs-token-of-yesterday\n"),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let file = folder.path().join("bridge.yaml");
        let tokens = "tokens: {hs_token_file: hs, former_hs_token_file: former}\n";
        let text = GOOD.replace("registration/fhir-bridge.yaml", "registration.yaml") + tokens;
        std::fs::write(&file, text).unwrap();
        let config = super::Config::load(&file).unwrap();
        let registration = config.registration().unwrap();
        assert!(registration.accepts("an-example-hs-token-from-a-file"));
        assert!(registration.accepts("an-example-hs-token-of-yesterday"));
        std::fs::remove_file(folder.path().join("former")).unwrap();
        assert!(config.registration().is_ok(), "it was over");
        std::fs::remove_file(folder.path().join("hs")).unwrap();
        assert!(
            config
                .registration()
                .unwrap_err()
                .to_string()
                .contains("hs")
        );
    }

    #[test]
    fn a_token_has_one_source() {
        let text = format!("{GOOD}tokens: {{as_token_file: a, as_token_env: A}}\n");
        let error = load(&text).unwrap_err().to_string();
        assert!(error.contains("`tokens.as_token_file`"), "{error}");
    }
}
