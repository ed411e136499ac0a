//! Whoever shows wrong tokens has to wait.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::bridge::lock;

/// Wrong tokens from one address …
pub(super) const MOST: u32 = 5;
/// … within this time, before it has to wait for as long.
const WITHIN: Duration = Duration::from_mins(1);
/// Addresses that are remembered at most.
const ADDRESSES: usize = 1024;

/// Who has shown wrong tokens lately: how many, and since when.
#[derive(Debug, Default)]
pub(crate) struct Attempts(Mutex<HashMap<IpAddr, (u32, Instant)>>);

impl Attempts {
    pub(super) fn are_too_many(&self, peer: IpAddr) -> bool {
        lock(&self.0)
            .get(&peer)
            .is_some_and(|(count, since)| *count >= MOST && since.elapsed() < WITHIN)
    }

    pub(super) fn failed(&self, peer: IpAddr) {
        let mut all = lock(&self.0);
        if all.len() >= ADDRESSES {
            all.retain(|_, (_, since)| since.elapsed() < WITHIN);
        }
        // So many at once are no people who mistype: those who are counted already go on being counted.
        if all.len() >= ADDRESSES && !all.contains_key(&peer) {
            return;
        }
        let now = Instant::now();
        let (count, since) = all.entry(peer).or_insert((0, now));
        if since.elapsed() >= WITHIN {
            (*count, *since) = (0, now);
        }
        *count += 1;
    }

    pub(super) fn succeeded(&self, peer: IpAddr) {
        lock(&self.0).remove(&peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_addresses_are_remembered_than_there_is_room_for() {
        let attempts = Attempts::default();
        for number in 0..2000_u32 {
            attempts.failed(IpAddr::from(number.to_be_bytes()));
        }
        assert_eq!(lock(&attempts.0).len(), ADDRESSES);
    }

    #[test]
    fn after_the_wait_it_begins_anew() {
        let attempts = Attempts::default();
        let peer = IpAddr::from([192, 0, 2, 1]);
        let long_ago = Instant::now().checked_sub(WITHIN).unwrap();
        lock(&attempts.0).insert(peer, (MOST, long_ago));
        assert!(!attempts.are_too_many(peer));
        attempts.failed(peer);
        assert_eq!(lock(&attempts.0)[&peer].0, 1);
    }
}
