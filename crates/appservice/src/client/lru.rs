//! A map that forgets what was not looked at for the longest time.

use std::{borrow::Borrow, collections::HashMap, hash::Hash};

#[derive(Debug)]
pub(super) struct Lru<K, V> {
    entries: HashMap<K, Used<V>>,
    now: u64,
    most: usize,
}

#[derive(Debug)]
struct Used<V> {
    at: u64,
    value: V,
}

impl<K: Eq + Hash, V: Default> Lru<K, V> {
    pub(super) fn new(most: usize) -> Self {
        Self {
            entries: HashMap::new(),
            now: 0,
            most,
        }
    }

    pub(super) fn get<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.now += 1;
        let used = self.entries.get_mut(key)?;
        used.at = self.now;
        Some(&mut used.value)
    }

    /// Changes what is known of `key`, from nothing if need be. Does nothing when nothing may be kept.
    pub(super) fn update(&mut self, key: K, change: impl FnOnce(&mut V)) {
        if self.most == 0 {
            return;
        }
        self.now += 1;
        if !self.entries.contains_key(&key) && self.entries.len() >= self.most {
            self.make_room();
        }
        let used = self.entries.entry(key).or_insert_with(|| Used {
            at: 0,
            value: V::default(),
        });
        used.at = self.now;
        change(&mut used.value);
    }

    pub(super) fn remove<Q>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.entries.remove(key);
    }

    /// Forgets an eighth at once, so that a full map isn't searched each time.
    fn make_room(&mut self) {
        let mut times: Vec<_> = self.entries.values().map(|used| used.at).collect();
        let last = (times.len() / 8).min(times.len().saturating_sub(1));
        let (_, threshold, _) = times.select_nth_unstable(last);
        let threshold = *threshold;
        self.entries.retain(|_, used| used.at > threshold);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_looked_at_for_the_longest_time_is_forgotten_first() {
        let mut map: Lru<u32, u32> = Lru::new(16);
        for key in 0..16 {
            map.update(key, |value| *value = key);
        }
        assert_eq!(map.len(), 16);
        // The oldest is used again, the next ones are not.
        assert_eq!(map.get(&0), Some(&mut 0));
        map.update(16, |value| *value = 16);
        assert_eq!(map.get(&0), Some(&mut 0));
        assert_eq!(map.get(&16), Some(&mut 16));
        assert_eq!(map.get(&1), None);
        for key in 17..1000 {
            map.update(key, |_| {});
            assert!(map.len() <= 16);
        }
    }

    #[test]
    fn one_place_is_enough_and_none_keeps_nothing() {
        for most in [0, 1] {
            let mut map: Lru<u32, u32> = Lru::new(most);
            for key in 0..3 {
                map.update(key, |_| {});
                assert_eq!(map.len(), most);
            }
        }
    }
}
