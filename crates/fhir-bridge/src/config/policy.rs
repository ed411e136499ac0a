//! Who may take part.

use std::{
    ops::Bound,
    path::{Path, PathBuf},
};

use matrix_appservice::ruma::{OwnedServerName, api::MatrixVersion};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

/// Who may take part: which homeservers' people are invited, and may invite and write.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Whether homeservers that nobody has named may take part. Default: `open`.
    pub federation: Federation,
    /// Homeservers that may take part in a closed federation, beside our own and those on the list.
    #[schemars(with = "Vec<String>")]
    pub allow: Vec<OwnedServerName>,
    /// Homeservers that may not take part, whatever else says that they may.
    #[schemars(with = "Vec<String>")]
    pub deny: Vec<OwnedServerName>,
    /// A list of those that may take part in a closed federation.
    pub list: Option<FederationList>,
    /// The lowest version of the Matrix specification that the bridge may use, such as `v1.11`. A homeserver that
    /// supports none from there to `highest_matrix_version` is refused at the start. Default: v1.11.
    pub lowest_matrix_version: Option<String>,
    /// The highest one. Default: none.
    pub highest_matrix_version: Option<String>,
}

/// Whether homeservers that nobody has named may take part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Federation {
    /// They may: trust comes from the directory's entries.
    #[default]
    Open,
    /// They may not.
    Closed,
}

/// Where the list of those that may take part is.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FederationList {
    /// A file with it. Either this or `url`.
    pub file: Option<PathBuf>,
    /// Where it is fetched from.
    pub url: Option<Url>,
    /// How often it is read again. Default: 3600.
    #[serde(default = "an_hour")]
    pub refresh_seconds: u64,
    /// Files with the public keys (each a JWK: `EC` on `P-256`, or `OKP` on `Ed25519`) of those who may sign it.
    /// Without any, it needs no signature; with one, a list without a signature by one of them is refused.
    #[serde(default)]
    pub keys: Vec<PathBuf>,
}

fn version(text: &str) -> Option<MatrixVersion> {
    MatrixVersion::try_from(text).ok()
}

fn an_hour() -> u64 {
    3600
}

impl Policy {
    /// Makes paths those from `folder`.
    pub(super) fn relative_to(&mut self, folder: &Path) {
        if let Some(list) = &mut self.list {
            for file in list.file.iter_mut().chain(&mut list.keys) {
                *file = folder.join(&*file);
            }
        }
    }

    /// The versions of the Matrix specification that the bridge may use.
    #[must_use]
    pub fn matrix_versions(&self) -> (Bound<MatrixVersion>, Bound<MatrixVersion>) {
        let version = |text: &Option<String>| text.as_deref().and_then(version);
        let lowest = version(&self.lowest_matrix_version).unwrap_or(MatrixVersion::V1_11);
        let highest = version(&self.highest_matrix_version);
        (
            Bound::Included(lowest),
            highest.map_or(Bound::Unbounded, Bound::Included),
        )
    }

    /// What is wrong with it: the key, and what it must be.
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        for (key, text) in [
            ("policy.lowest_matrix_version", &self.lowest_matrix_version),
            (
                "policy.highest_matrix_version",
                &self.highest_matrix_version,
            ),
        ] {
            if text.as_deref().is_some_and(|text| version(text).is_none()) {
                return Some((
                    key,
                    "must be a version of the Matrix specification, such as v1.11",
                ));
            }
        }
        if let (Bound::Included(lowest), Bound::Included(highest)) = self.matrix_versions()
            && lowest > highest
        {
            return Some((
                "policy.highest_matrix_version",
                "must not be below `lowest_matrix_version` (v1.11 unless it is set)",
            ));
        }
        let Some(list) = &self.list else {
            return None;
        };
        if self.federation == Federation::Open {
            return Some((
                "policy.list",
                "is of no use in an open federation: set `policy.federation: closed`, or take it out",
            ));
        }
        if list.file.is_some() == list.url.is_some() {
            return Some(("policy.list", "needs either `file` or `url`"));
        }
        if list.refresh_seconds == 0 {
            return Some(("policy.list.refresh_seconds", "must be at least 1"));
        }
        let unsigned = list.keys.is_empty();
        match &list.url {
            Some(url) if url.scheme() == "https" => None,
            Some(url) if url.scheme() == "http" && !unsigned => None,
            Some(_) => Some((
                "policy.list.url",
                "must start with https://; http:// is enough for a list that is signed (`keys`)",
            )),
            None => None,
        }
    }
}
