//! What was looked up lately: bounded, and only for a while.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::bridge::lock;

/// Entries by key, at most so many and none older than allowed.
pub(crate) struct Cache<K, V> {
    entries: Mutex<HashMap<K, (Instant, V)>>,
    lives: Duration,
    most: usize,
}

impl<K: Eq + Hash + Clone, V: Clone> Cache<K, V> {
    pub(crate) fn new(lives: Duration, most: usize) -> Self {
        Self {
            entries: Mutex::default(),
            lives,
            most,
        }
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        self.get_at(key, Instant::now())
    }

    pub(crate) fn put(&self, key: K, value: V) {
        self.put_at(key, value, Instant::now());
    }

    pub(crate) fn forget(&self, key: &K) {
        lock(&self.entries).remove(key);
    }

    pub(crate) fn clear(&self) {
        lock(&self.entries).clear();
    }

    fn get_at(&self, key: &K, now: Instant) -> Option<V> {
        let entries = lock(&self.entries);
        let (since, value) = entries.get(key)?;
        (now.duration_since(*since) < self.lives).then(|| value.clone())
    }

    fn put_at(&self, key: K, value: V, now: Instant) {
        if self.most == 0 || self.lives.is_zero() {
            return;
        }
        let mut entries = lock(&self.entries);
        if entries.len() >= self.most && !entries.contains_key(&key) {
            entries.retain(|_, (since, _)| now.duration_since(*since) < self.lives);
            if entries.len() >= self.most {
                // All are fresh: whoever is asked for often comes back soon.
                entries.clear();
            }
        }
        entries.insert(key, (now, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_lives_for_a_while_and_there_are_at_most_so_many() {
        let cache = Cache::new(Duration::from_mins(1), 2);
        let began = Instant::now();
        cache.put_at(1, "a", began);
        assert_eq!(cache.get_at(&1, began + Duration::from_secs(59)), Some("a"));
        assert_eq!(cache.get_at(&1, began + Duration::from_mins(1)), None);
        cache.put_at(2, "b", began);
        cache.put_at(3, "c", began);
        assert!(lock(&cache.entries).len() <= 2);
        assert_eq!(cache.get_at(&3, began), Some("c"));
        cache.forget(&3);
        assert_eq!(cache.get_at(&3, began), None);
    }

    #[test]
    fn a_cache_of_nothing_keeps_nothing() {
        let cache = Cache::new(Duration::ZERO, 2);
        cache.put(1, 1);
        assert_eq!(cache.get(&1), None);
    }
}
