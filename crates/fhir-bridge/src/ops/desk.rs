//! What those who run the bridge are told from.

use std::sync::{Arc, LazyLock};

use matrix_appservice::Journal;

use super::{
    access::Access,
    components::Components,
    flows::{Flows, Hour},
    page::Sessions,
};
use crate::{links::now_ms, policy::list::FederationList, servers::Servers};

/// When the process started, Unix time in ms: it goes on when the configuration is read again.
static STARTED_AT: LazyLock<i64> = LazyLock::new(now_ms);

/// What the answers on the listener for operators are made from. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Desk(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) servers: Servers,
    pub(crate) journal: Journal,
    pub(crate) components: Arc<Components>,
    /// Who may see more than health and metrics.
    pub(crate) access: Access,
    /// Who is logged in to the page.
    pub(crate) sessions: Sessions,
    /// When the process started, Unix time in ms.
    pub(crate) started_at: i64,
}

impl std::ops::Deref for Desk {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Desk {
    /// # Errors
    ///
    /// When the operating system gives no random numbers.
    pub(crate) fn try_new(
        servers: Servers,
        journal: Journal,
        access: Access,
    ) -> anyhow::Result<Self> {
        Ok(Self(Arc::new(Inner {
            servers,
            journal,
            components: Arc::default(),
            access,
            sessions: Sessions::try_new()?,
            started_at: *STARTED_AT,
        })))
    }
}

impl Inner {
    /// What was carried over in the last hour.
    pub(crate) fn flows(&self) -> Hour {
        // All servers share it.
        let bridge = self.servers.iter().next();
        bridge.map_or_else(
            || Flows::default().last_hour(),
            |bridge| bridge.flows.last_hour(),
        )
    }

    /// The federation list that counts, and when it was read, where one is asked for and there is one.
    pub(crate) fn federation_list(&self) -> Option<(Arc<FederationList>, Option<i64>)> {
        // All share it.
        let bridge = self.servers.iter().next()?;
        let source = bridge.federation_list.as_ref()?;
        Some((bridge.policy.list()?, source.read_at()))
    }
}
