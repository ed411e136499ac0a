//! How the bridge shows a FHIR server who it is. Secrets come from files or the environment, never from here.

use std::path::PathBuf;

use fhir::{ClientCredentials, Proof, Secret};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

/// How the bridge shows who it is.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Auth {
    /// Not at all, or by its TLS certificate alone.
    #[default]
    None,
    /// With a token that somebody made. The file is read again when the server refuses what it held.
    Bearer {
        /// The file that holds it, or …
        token_file: Option<PathBuf>,
        /// … the variable of the environment.
        token_env: Option<String>,
    },
    /// With tokens that it fetches with a secret (OAuth 2.0, client credentials).
    ClientCredentials {
        /// Who the bridge is there.
        client_id: String,
        /// The token endpoint.
        token_url: Option<Url>,
        /// The file that holds the secret, or …
        client_secret_file: Option<PathBuf>,
        /// … the variable of the environment.
        client_secret_env: Option<String>,
        /// Where the secret is sent. Default: `basic`.
        #[serde(default)]
        send_secret: SendSecret,
        /// The scopes to ask for.
        scope: Option<String>,
    },
    /// With tokens that it fetches with a signed statement (SMART Backend Services, `private_key_jwt`).
    Smart {
        /// Who the bridge is there.
        client_id: String,
        /// The private key (PEM): RSA or P-384. It is read for each token, so that it can be replaced at any time.
        key_file: PathBuf,
        /// The key's id in the key set that was registered.
        key_id: Option<String>,
        /// The token endpoint. Default: as `.well-known/smart-configuration` of the FHIR server says.
        token_url: Option<Url>,
        /// The scopes to ask for. Default: `system/*.cruds`.
        scope: Option<String>,
    },
}

/// Where a client's secret is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SendSecret {
    /// In the `Authorization` header.
    #[default]
    Basic,
    /// In the body.
    Post,
}

fn secret(file: Option<&PathBuf>, env: Option<&String>) -> Secret {
    match (file, env) {
        (Some(file), _) => Secret::File(file.clone()),
        (None, env) => Secret::Env(env.cloned().unwrap_or_default()),
    }
}

impl Auth {
    pub(super) fn of_client(&self) -> fhir::Auth {
        match self {
            Self::None => fhir::Auth::None,
            Self::Bearer {
                token_file,
                token_env,
            } => fhir::Auth::Bearer(secret(token_file.as_ref(), token_env.as_ref())),
            Self::ClientCredentials {
                client_id,
                token_url,
                client_secret_file,
                client_secret_env,
                send_secret,
                scope,
            } => {
                let secret = secret(client_secret_file.as_ref(), client_secret_env.as_ref());
                fhir::Auth::Client(ClientCredentials {
                    token_url: token_url.as_ref().map(ToString::to_string),
                    client_id: client_id.clone(),
                    proof: match send_secret {
                        SendSecret::Basic => Proof::Basic(secret),
                        SendSecret::Post => Proof::Post(secret),
                    },
                    scope: scope.clone(),
                })
            }
            Self::Smart {
                client_id,
                key_file,
                key_id,
                token_url,
                scope,
            } => fhir::Auth::Client(ClientCredentials {
                token_url: token_url.as_ref().map(ToString::to_string),
                client_id: client_id.clone(),
                proof: Proof::SignedJwt {
                    key: key_file.clone(),
                    key_id: key_id.clone(),
                },
                scope: Some(scope.clone().unwrap_or_else(|| "system/*.cruds".to_owned())),
            }),
        }
    }

    pub(super) fn files_mut(&mut self) -> Vec<&mut Option<PathBuf>> {
        match self {
            Self::None | Self::Smart { .. } => Vec::new(),
            Self::Bearer { token_file, .. } => vec![token_file],
            Self::ClientCredentials {
                client_secret_file, ..
            } => vec![client_secret_file],
        }
    }

    /// The file of the private key.
    pub(super) fn key_file_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::Smart { key_file, .. } => Some(key_file),
            _ => None,
        }
    }

    /// The first mistake: the key, and what is wrong with it. `url` is the FHIR server's.
    pub(super) fn mistake(&self, url: &Url) -> Option<(&'static str, String)> {
        let one = |key, file: bool, env: bool| {
            (file == env).then(|| (key, "or its `…_env` must be there, and not both".to_owned()))
        };
        let token_url = match self {
            Self::None => return None,
            Self::Bearer {
                token_file,
                token_env,
            } => return one("auth.token_file", token_file.is_some(), token_env.is_some()),
            Self::ClientCredentials {
                token_url,
                client_secret_file: file,
                client_secret_env: env,
                ..
            } => {
                let mistake = one("auth.client_secret_file", file.is_some(), env.is_some());
                if mistake.is_some() {
                    return mistake;
                }
                if token_url.is_none() {
                    return Some(("auth.token_url", "is missing".to_owned()));
                }
                token_url
            }
            Self::Smart { token_url, .. } => token_url,
        };
        let what = super::mistake_in_url(token_url.as_ref().unwrap_or(url))?;
        Some(("auth.token_url", what.to_owned()))
    }
}

/// Which certificates the bridge trusts, and its own.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificates (PEM) of the authorities to trust, in place of the operating system's.
    pub ca_file: Option<PathBuf>,
    /// The bridge's own certificate (PEM), with those between it and its authority.
    pub certificate_file: Option<PathBuf>,
    /// Its private key (PEM).
    pub key_file: Option<PathBuf>,
}

impl Tls {
    pub(super) fn of_client(&self) -> fhir::Tls {
        let own = self.certificate_file.clone().zip(self.key_file.clone());
        fhir::Tls {
            authorities: self.ca_file.clone(),
            identity: own.map(|(certificate, key)| fhir::Identity { certificate, key }),
        }
    }

    pub(super) fn files_mut(&mut self) -> [&mut Option<PathBuf>; 3] {
        [
            &mut self.ca_file,
            &mut self.certificate_file,
            &mut self.key_file,
        ]
    }

    pub(super) fn mistake(&self) -> Option<(&'static str, String)> {
        let what = || "is missing: certificate and key go together".to_owned();
        match (&self.certificate_file, &self.key_file) {
            (Some(_), None) => Some(("tls.key_file", what())),
            (None, Some(_)) => Some(("tls.certificate_file", what())),
            _ => None,
        }
    }
}
