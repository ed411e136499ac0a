//! A lock for each message that somebody is at work on.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::sync::OwnedMutexGuard;

use crate::bridge::lock;

/// Above this many names, those that nobody holds are forgotten.
const MANY: usize = 1_000;

/// Locks by name. Nobody holds two at once.
#[derive(Default)]
pub(crate) struct Locks(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Locks {
    pub(crate) async fn hold(&self, name: &str) -> OwnedMutexGuard<()> {
        let one = {
            let mut all = lock(&self.0);
            if all.len() >= MANY {
                all.retain(|_, one| Arc::strong_count(one) > 1);
            }
            all.entry(name.to_owned()).or_default().clone()
        };
        one.lock_owned().await
    }
}
