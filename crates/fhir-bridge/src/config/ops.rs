//! How the bridge is watched.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the bridge is watched.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ops {
    /// Where health is asked for: `GET /actuator/health/liveness` and `/readiness`. Nothing private is told there, but
    /// it is for those who run the bridge. Default: `127.0.0.1:1233`; `null`: nowhere.
    pub listen: Option<String>,
    /// The bridge is not ready while something waits for longer than this. Default: 900.
    pub oldest_waiting_seconds: u64,
}

impl Default for Ops {
    fn default() -> Self {
        Self {
            listen: Some("127.0.0.1:1233".to_owned()),
            oldest_waiting_seconds: 900,
        }
    }
}

/// Who is to be asked for help, as `/.well-known/matrix/support` says it; the proxy in front of the homeserver has to
/// pass that path to the bridge.
///
/// [Specification](https://spec.matrix.org/v1.17/client-server-api/#getwell-knownmatrixsupport)
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Support {
    /// People.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contacts: Vec<Contact>,
    /// A page for users of the homeserver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub support_page: Option<url::Url>,
}

/// Somebody to be asked.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Contact {
    /// `m.role.admin`, `m.role.security`, or another one.
    pub role: String,
    /// A Matrix user.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub matrix_id: Option<matrix_appservice::ruma::OwnedUserId>,
    /// An address for e-mail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email_address: Option<String>,
}

impl Support {
    /// Whether there is anything to be told.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.contacts.is_empty() && self.support_page.is_none()
    }

    /// What is wrong with it: the key, and what it must be.
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        self.contacts
            .iter()
            .any(|contact| contact.matrix_id.is_none() && contact.email_address.is_none())
            .then_some((
                "support.contacts",
                "each needs `matrix_id` or `email_address`",
            ))
    }
}
