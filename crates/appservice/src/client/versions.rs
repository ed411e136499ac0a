//! Which Matrix the homeserver speaks.

use std::{
    collections::BTreeMap,
    ops::{Bound, RangeBounds},
};

use ruma::api::MatrixVersion;
use serde::Deserialize;

use super::{Call, Client, Error};

const VERSIONS: &str = "/_matrix/client/versions";

/// What the homeserver speaks: the answer to
/// [`GET /_matrix/client/versions`](https://spec.matrix.org/v1.17/client-server-api/#get_matrixclientversions).
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct Versions {
    /// The versions of the specification, such as `v1.17`.
    pub versions: Vec<String>,
    /// What isn't part of the specification yet, and whether it is there.
    #[serde(default)]
    pub unstable_features: BTreeMap<String, bool>,
}

impl Versions {
    /// Whether it has a feature that isn't part of the specification yet.
    #[must_use]
    pub fn has_feature(&self, name: &str) -> bool {
        self.unstable_features.get(name) == Some(&true)
    }

    /// Whether one of its versions is in the range.
    ///
    /// ```no_run
    /// # async fn f(client: matrix_appservice::Client) -> Result<(), matrix_appservice::Error> {
    /// use matrix_appservice::ruma::api::MatrixVersion;
    ///
    /// let modern = client.versions().await?.any_in(MatrixVersion::V1_11..);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn any_in(&self, range: impl RangeBounds<MatrixVersion>) -> bool {
        let range = numbers_of(&range);
        self.numbers().any(|version| range.contains(&version))
    }

    /// Those that can be read. Versions that are newer than this library count as well.
    fn numbers(&self) -> impl Iterator<Item = (u32, u32)> {
        self.versions.iter().filter_map(|version| parse(version))
    }
}

impl Client {
    /// What the homeserver speaks.
    ///
    /// # Errors
    ///
    /// As any call.
    pub async fn versions(&self) -> Result<Versions, Error> {
        let call = Call::get(VERSIONS, &[])?;
        self.execute(self.as_sender(), call).await?.read()
    }

    /// Makes sure that the homeserver speaks one of these versions.
    /// [`AppService::run`](crate::AppService::run) does so before it begins.
    ///
    /// # Errors
    ///
    /// [`Error::Versions`] when it doesn't; else as any call.
    pub async fn check_versions(
        &self,
        range: impl RangeBounds<MatrixVersion>,
    ) -> Result<(), Error> {
        let spoken = self.versions().await?;
        let wanted = numbers_of(&range);
        if spoken.numbers().any(|version| wanted.contains(&version)) {
            return Ok(());
        }
        Err(Error::Versions {
            wanted: text(wanted),
            newest: spoken
                .numbers()
                .max()
                .map_or_else(|| "none that is known".to_owned(), name),
        })
    }
}

type Numbers = (Bound<(u32, u32)>, Bound<(u32, u32)>);

fn numbers_of(range: &impl RangeBounds<MatrixVersion>) -> Numbers {
    // Each version of ruma's can be read.
    let number =
        |version: &MatrixVersion| parse(version.as_str().unwrap_or("v1.0")).unwrap_or_default();
    (
        range.start_bound().map(number),
        range.end_bound().map(number),
    )
}

/// `v1.17`; the versions of old (`r0.6.1`) count as v1.0.
fn parse(version: &str) -> Option<(u32, u32)> {
    if version.starts_with("r0.") {
        return Some((1, 0));
    }
    let (major, minor) = version.strip_prefix('v')?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn name((major, minor): (u32, u32)) -> String {
    format!("v{major}.{minor}")
}

fn text((from, to): Numbers) -> String {
    let from = match from {
        Bound::Included(version) => name(version),
        Bound::Excluded(version) => format!("later than {}", name(version)),
        Bound::Unbounded => "any".to_owned(),
    };
    match to {
        Bound::Included(version) => format!("{from} to {}", name(version)),
        Bound::Excluded(version) => format!("{from} to before {}", name(version)),
        Bound::Unbounded => format!("{from} or later"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(list: &[&str]) -> Versions {
        let json =
            serde_json::json!({"versions": list, "unstable_features": {"a": true, "b": false}});
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn one_version_in_the_range_is_enough() {
        let synapse = versions(&["r0.6.1", "v1.1", "v1.11", "odd", "v1.12"]);
        assert!(synapse.any_in(MatrixVersion::V1_12..));
        assert!(synapse.any_in(MatrixVersion::V1_2..=MatrixVersion::V1_11));
        assert!(synapse.any_in(..=MatrixVersion::V1_0));
        assert!(!synapse.any_in(MatrixVersion::V1_13..));
        assert!(!synapse.any_in(MatrixVersion::V1_2..MatrixVersion::V1_11));
        assert!(!versions(&["odd"]).any_in(..));
        // It isn't the text that is compared, and newer than this library is new enough.
        assert!(!versions(&["v1.9"]).any_in(MatrixVersion::V1_11..));
        assert!(versions(&["v2.3"]).any_in(MatrixVersion::V1_11..));
    }

    #[test]
    fn a_feature_is_there_when_it_says_so() {
        let versions = versions(&[]);
        assert!(versions.has_feature("a"));
        assert!(!versions.has_feature("b") && !versions.has_feature("c"));
    }

    #[test]
    fn a_range_can_be_told() {
        let text = |range: (Bound<MatrixVersion>, Bound<MatrixVersion>)| text(numbers_of(&range));
        let version = MatrixVersion::V1_11;
        assert_eq!(
            text((Bound::Included(version), Bound::Unbounded)),
            "v1.11 or later"
        );
        assert_eq!(
            text((
                Bound::Included(MatrixVersion::V1_1),
                Bound::Included(version)
            )),
            "v1.1 to v1.11"
        );
    }
}
