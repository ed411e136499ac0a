//! What was looked up lately: bounded, and only for a while.
//!
//! Whoever looks something up takes a [`Mark`] first. When anything was forgotten since, what was read may be just that,
//! from before it changed: then it is not kept.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use crate::bridge::lock;

/// Entries by key, at most so many and none older than allowed.
pub(crate) struct Cache<K, V> {
    entries: Mutex<Entries<K, V>>,
    lives: Duration,
    most: usize,
}

struct Entries<K, V> {
    by_key: HashMap<K, (Instant, V)>,
    /// How often something was to be forgotten.
    forgotten: u64,
}

/// A moment before something was looked up.
#[derive(Clone, Copy)]
pub(crate) struct Mark(u64);

impl<K: Eq + Hash + Clone, V: Clone> Cache<K, V> {
    pub(crate) fn new(lives: Duration, most: usize) -> Self {
        let entries = Entries {
            by_key: HashMap::new(),
            forgotten: 0,
        };
        Self {
            entries: Mutex::new(entries),
            lives,
            most,
        }
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        self.get_at(key, Instant::now())
    }

    /// To be taken before something is looked up that shall be kept.
    pub(crate) fn mark(&self) -> Mark {
        Mark(lock(&self.entries).forgotten)
    }

    /// Keeps what was looked up since `mark`, unless something was forgotten meanwhile.
    pub(crate) fn put(&self, key: K, value: V, mark: Mark) {
        self.put_at(key, value, mark, Instant::now());
    }

    pub(crate) fn forget(&self, key: &K) {
        self.forgetting().by_key.remove(key);
    }

    pub(crate) fn forget_those(&self, go: impl Fn(&K, &V) -> bool) {
        let mut entries = self.forgetting();
        entries.by_key.retain(|key, (_, value)| !go(key, value));
    }

    pub(crate) fn clear(&self) {
        self.forgetting().by_key.clear();
    }

    fn forgetting(&self) -> MutexGuard<'_, Entries<K, V>> {
        let mut entries = lock(&self.entries);
        entries.forgotten += 1;
        entries
    }

    fn get_at(&self, key: &K, now: Instant) -> Option<V> {
        let entries = lock(&self.entries);
        let (since, value) = entries.by_key.get(key)?;
        (now.duration_since(*since) < self.lives).then(|| value.clone())
    }

    fn put_at(&self, key: K, value: V, mark: Mark, now: Instant) {
        if self.most == 0 || self.lives.is_zero() {
            return;
        }
        let mut entries = lock(&self.entries);
        if entries.forgotten != mark.0 {
            return;
        }
        let by_key = &mut entries.by_key;
        if by_key.len() >= self.most && !by_key.contains_key(&key) {
            by_key.retain(|_, (since, _)| now.duration_since(*since) < self.lives);
            if by_key.len() >= self.most {
                // All are fresh: whoever is asked for often comes back soon.
                by_key.clear();
            }
        }
        by_key.insert(key, (now, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_lives_for_a_while_and_there_are_at_most_so_many() {
        let cache = Cache::new(Duration::from_mins(1), 2);
        let began = Instant::now();
        let mark = cache.mark();
        cache.put_at(1, "a", mark, began);
        assert_eq!(cache.get_at(&1, began + Duration::from_secs(59)), Some("a"));
        assert_eq!(cache.get_at(&1, began + Duration::from_mins(1)), None);
        cache.put_at(2, "b", mark, began);
        cache.put_at(3, "c", mark, began);
        assert!(lock(&cache.entries).by_key.len() <= 2);
        assert_eq!(cache.get_at(&3, began), Some("c"));
        cache.forget(&3);
        assert_eq!(cache.get_at(&3, began), None);
    }

    #[test]
    fn what_was_read_before_something_was_forgotten_is_not_kept() {
        let forgetting: [fn(&Cache<i32, i32>); 3] = [
            |cache| cache.forget(&1),
            |cache| cache.forget_those(|_, _| false),
            Cache::clear,
        ];
        for forget in forgetting {
            let cache = Cache::new(Duration::from_mins(1), 2);
            let mark = cache.mark();
            forget(&cache);
            cache.put(1, 1, mark);
            assert_eq!(cache.get(&1), None);
            cache.put(1, 1, cache.mark());
            assert_eq!(cache.get(&1), Some(1));
        }
    }

    #[test]
    fn those_that_are_meant_are_forgotten() {
        let cache = Cache::new(Duration::from_mins(1), 9);
        for key in 1..=3 {
            cache.put(key, 10 * key, cache.mark());
        }
        cache.forget_those(|key, value| *key == 1 || *value == 30);
        assert_eq!([1, 2, 3].map(|key| cache.get(&key)), [None, Some(20), None]);
    }

    #[test]
    fn a_cache_of_nothing_keeps_nothing() {
        let cache = Cache::new(Duration::ZERO, 2);
        cache.put(1, 1, cache.mark());
        assert_eq!(cache.get(&1), None);
    }
}
