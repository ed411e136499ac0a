//! The homeserver, seen from here: how it is called and what it has to speak.

use std::{
    ops::{Bound, RangeBounds},
    time::Duration,
};

use ruma::api::MatrixVersion;

use super::Builder;
use crate::client::{Client, ClientConfig, Error};

/// How long the start waits to be told the homeserver's versions.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) type VersionRange = (Bound<MatrixVersion>, Bound<MatrixVersion>);

/// Settings of the calls to the homeserver.
#[derive(Debug)]
pub(super) struct Outbound {
    pub(super) client: ClientConfig,
    pub(super) versions: VersionRange,
}

impl Default for Outbound {
    fn default() -> Self {
        Self {
            client: ClientConfig::default(),
            versions: (Bound::Included(MatrixVersion::V1_11), Bound::Unbounded),
        }
    }
}

impl Builder {
    /// How calls to the homeserver are repeated, paused and bounded.
    ///
    /// ```no_run
    /// # fn f(builder: matrix_appservice::Builder) {
    /// use matrix_appservice::ClientConfig;
    ///
    /// builder.client_config(ClientConfig {
    ///     parallel_calls: 32,
    ///     ..ClientConfig::default()
    /// });
    /// # }
    /// ```
    #[must_use]
    pub fn client_config(mut self, config: ClientConfig) -> Self {
        self.outbound.client = config;
        self
    }

    /// The versions of Matrix of which the homeserver has to speak one. Default: v1.11 or later, the
    /// first with authenticated media.
    ///
    /// [`AppService::run`](crate::AppService::run) asks before it begins, and ends with
    /// [`Error::Versions`] when the homeserver speaks none of them. A homeserver that doesn't answer
    /// within five seconds is taken on trust: it may just be starting, too.
    ///
    /// ```no_run
    /// # fn f(builder: matrix_appservice::Builder) {
    /// use matrix_appservice::ruma::api::MatrixVersion;
    ///
    /// builder.homeserver_versions(MatrixVersion::V1_15..);
    /// # }
    /// ```
    #[must_use]
    pub fn homeserver_versions(mut self, range: impl RangeBounds<MatrixVersion>) -> Self {
        self.outbound.versions = (range.start_bound().cloned(), range.end_bound().cloned());
        self
    }
}

/// Refuses a homeserver that surely speaks nothing of what is needed.
pub(super) async fn check_versions(client: &Client, range: VersionRange) -> Result<(), Error> {
    match tokio::time::timeout(PATIENCE, client.check_versions(range)).await {
        Ok(Err(error @ Error::Versions { .. })) => return Err(error),
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the homeserver doesn't tell its versions"),
        Err(_) => tracing::warn!("the homeserver doesn't tell its versions in time"),
    }
    Ok(())
}
