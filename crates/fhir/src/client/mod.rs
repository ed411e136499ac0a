//! The client: [`FhirClient`] and, one file each, what it can do.

mod auth;
mod binary;
mod builder;
mod bundle;
mod capability;
mod correlation;
mod history;
mod http;
pub(crate) mod numbers;
mod outcome;
mod read;
mod search;
mod subscription;
mod tls;
mod write;

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex},
};

pub use auth::{Auth, ClientCredentials, KeyError, Proof, Secret, SecretError};
pub use binary::{BinaryBody, BinaryContent, BinaryForm, BinarySender};
pub use builder::{FhirClientBuilder, SetupError};
pub use bundle::OddEntry;
pub use capability::ServerInfo;
pub use correlation::correlated;
pub use history::{Change, ChangeKind, Changes, HistoryQuery};
use reqwest::header::HeaderValue;
pub use search::{SearchResult, search_token};
pub use subscription::{RestHook, SubscriptionState, SubscriptionStatus, Topic};
pub use tls::{Identity, Tls, TlsError};
pub use write::{Condition, Created, Edit, Modified};

use crate::{BaseUrl, ResourceType};

/// A FHIR R4 server. Cheap to clone; clones share their connections.
///
/// It repeats nothing by itself but a write that someone else was in the way of: the caller has the
/// back-off, and [`Error::retry`](crate::Error::retry) tells it when.
///
/// Spec: <http://hl7.org/fhir/R4/http.html>
#[derive(Clone)]
pub struct FhirClient {
    inner: Arc<Inner>,
}

struct Inner {
    http: reqwest::Client,
    /// What the server is called where requests are timed.
    name: String,
    base: BaseUrl,
    tokens: auth::Tokens,
    media_type: HeaderValue,
    max_body_bytes: usize,
    /// The types for which the server has said that it keeps no history.
    without_history: Mutex<BTreeSet<ResourceType>>,
}

impl FhirClient {
    /// The server's base URL, for reading references with the codecs.
    #[must_use]
    pub fn base(&self) -> &BaseUrl {
        &self.inner.base
    }
}

impl fmt::Debug for FhirClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FhirClient")
            .field("base", &self.inner.base)
            .finish_non_exhaustive()
    }
}
