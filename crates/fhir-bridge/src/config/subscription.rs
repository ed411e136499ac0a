//! How a FHIR server tells the bridge of changes.

use std::{collections::BTreeMap, time::Duration};

use fhir::Topic;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Threads;
use crate::puller;

/// Which subscriptions the bridge creates on a FHIR server, when `notify_url` says where it is reached.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Subscription {
    /// Of which kind. Default: `rest-hook`.
    pub kind: SubscriptionKind,
    /// For `topic`: the canonical URL of the topic for each type of resource. Types without one are asked for on the
    /// timer.
    pub topics: BTreeMap<String, String>,
    /// What of a type is wanted, as search parameters such as `category=…`, for each type. It makes only
    /// notifications fewer: everything is read nevertheless. Default: all.
    pub filters: BTreeMap<String, Vec<String>>,
    /// For `topic`: how often the server shall say that it is still there; 0: not at all. Default: 60.
    pub heartbeat_seconds: u64,
    /// How long a subscription holds; it is prolonged after half of that. Default: without end.
    pub lifetime_hours: Option<u64>,
    /// Whether the subscriptions are removed when the bridge is stopped. Default: no, so that a restart misses
    /// nothing and the server has nothing to do.
    pub remove_on_stop: bool,
}

/// The kind of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SubscriptionKind {
    /// R4's own: a search, a URL, an empty notification.
    #[default]
    RestHook,
    /// To topics, in the form of the R5 backport to R4.
    Topic,
    /// None: the bridge asks on the timer.
    None,
}

impl Default for Subscription {
    fn default() -> Self {
        Self {
            kind: SubscriptionKind::default(),
            topics: BTreeMap::new(),
            filters: BTreeMap::new(),
            heartbeat_seconds: 60,
            lifetime_hours: None,
            remove_on_stop: false,
        }
    }
}

impl Subscription {
    pub(crate) fn topic(&self, resource_type: &str) -> Option<Topic> {
        Some(Topic {
            url: self.topics.get(resource_type)?.clone(),
            filters: self
                .filters(resource_type)
                .map(|filter| format!("{resource_type}?{filter}"))
                .collect(),
            heartbeat: (self.heartbeat_seconds > 0)
                .then(|| Duration::from_secs(self.heartbeat_seconds)),
        })
    }

    pub(crate) fn criteria(&self, resource_type: &str) -> String {
        let filters: Vec<&str> = self.filters(resource_type).collect();
        format!("{resource_type}?{}", filters.join("&"))
    }

    pub(crate) fn lifetime(&self) -> Option<Duration> {
        self.lifetime_hours
            .map(|hours| Duration::from_secs(hours.saturating_mul(3600)))
    }

    fn filters(&self, resource_type: &str) -> impl Iterator<Item = &str> {
        let all = self.filters.get(resource_type);
        all.into_iter().flatten().map(String::as_str)
    }

    /// The first mistake: the key, and what is wrong with it.
    pub(super) fn mistake(&self, threads: Threads) -> Option<(&'static str, String)> {
        let known = |name: &String| puller::types(threads).any(|one| one.as_str() == name);
        for (key, mut names) in [
            (
                "subscription.topics",
                self.topics.keys().collect::<Vec<_>>(),
            ),
            ("subscription.filters", self.filters.keys().collect()),
        ] {
            names.retain(|name| !known(name));
            if let Some(name) = names.first() {
                return Some((key, format!("has {name}, a type that is not followed")));
            }
        }
        if self.kind == SubscriptionKind::Topic && self.topics.is_empty() {
            return Some((
                "subscription.topics",
                "must have at least one, since `kind` is `topic`".to_owned(),
            ));
        }
        if self.kind != SubscriptionKind::Topic && !self.topics.is_empty() {
            return Some((
                "subscription.topics",
                "are for `kind: topic` only".to_owned(),
            ));
        }
        if self.lifetime_hours == Some(0) {
            return Some((
                "subscription.lifetime_hours",
                "must be at least 1".to_owned(),
            ));
        }
        None
    }
}
