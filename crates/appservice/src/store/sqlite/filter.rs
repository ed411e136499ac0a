//! Which keys are surely new, known without asking the database.
//!
//! Nearly each key that is looked up is new, and looking it up costs more than all else that is done for
//! an event. A Bloom filter never says that a key is new when it isn't; it errs the other way for about one
//! in a hundred, and those are looked up.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Keys in one block …
const PER_BLOCK: usize = 64 * 1024;
/// … and its bits: twelve for each.
const BITS: usize = PER_BLOCK * 12;
/// Bits that each key sets.
const PROBES: u64 = 5;
/// Above this many (16 million keys in 24 MiB) the filter is given up.
const MOST_BLOCKS: usize = 256;

/// Of all keys that are in the table.
#[derive(Debug, Default)]
pub(super) struct Filter(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Each key that was in the table at the start has been added.
    complete: bool,
    given_up: bool,
    blocks: Vec<Block>,
}

#[derive(Debug)]
struct Block {
    words: Box<[u64]>,
    keys: usize,
}

impl Filter {
    /// A key is in the table, or is about to be.
    pub(super) fn add(&self, key: &[u8]) {
        let mut state = self.state();
        if state.given_up {
            return;
        }
        if state
            .blocks
            .last()
            .is_none_or(|block| block.keys >= PER_BLOCK)
        {
            if state.blocks.len() >= MOST_BLOCKS {
                *state = State {
                    given_up: true,
                    ..State::default()
                };
                return;
            }
            state.blocks.push(Block {
                words: vec![0; BITS / 64].into(),
                keys: 0,
            });
        }
        if let Some(block) = state.blocks.last_mut() {
            block.keys += 1;
            for bit in bits(key) {
                block.words[bit / 64] |= 1 << (bit % 64);
            }
        }
    }

    /// Each key that was in the table at the start has been added.
    pub(super) fn completed(&self) {
        self.state().complete = true;
    }

    /// Whether a key is surely not in the table.
    pub(super) fn excludes(&self, key: &[u8]) -> bool {
        let state = self.state();
        let may_have =
            |block: &Block| bits(key).all(|bit| block.words[bit / 64] & (1 << (bit % 64)) != 0);
        state.complete && !state.given_up && !state.blocks.iter().any(may_have)
    }

    /// Each key is looked up from now on.
    #[cfg(test)]
    pub(super) fn give_up(&self) {
        self.state().given_up = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bits of a key, from two numbers: a key is a hash, of which each byte holds six bits.
fn bits(key: &[u8]) -> impl Iterator<Item = usize> {
    let number = |bytes: &[u8]| {
        bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
    };
    let (first, second) = key.split_at(key.len() / 2);
    let (start, step) = (number(first), number(second) | 1);
    (0..PROBES).map(move |probe| {
        let mixed = start.wrapping_add(step.wrapping_mul(probe));
        // The upper half is mixed best.
        usize::try_from(mixed >> 32).unwrap_or(0) % BITS
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the journal makes them.
    fn key(number: usize) -> crate::store::Key {
        crate::journal::seen_key("", "matrix", &number.to_string())
    }

    #[test]
    fn no_key_that_was_added_is_excluded_and_few_others_are_not() {
        let filter = Filter::default();
        let added = PER_BLOCK * 2 + 1;
        for number in 0..added {
            filter.add(key(number).as_bytes());
        }
        filter.completed();
        assert_eq!(filter.state().blocks.len(), 3);
        let excluded = |number| filter.excludes(key(number).as_bytes());
        assert!(!(0..added).any(excluded));
        let kept = (added..added + 10_000).filter(|number| !excluded(*number));
        let kept = kept.count();
        assert!(kept < 200, "{kept} of 10,000 have to be looked up");
    }

    #[test]
    fn nothing_is_excluded_before_it_is_complete_or_when_it_is_given_up() {
        let filter = Filter::default();
        assert!(!filter.excludes(b"key"));
        filter.completed();
        assert!(filter.excludes(b"key"));
        filter.give_up();
        filter.add(b"key");
        assert!(!filter.excludes(b"other"));
    }
}
