//! What has become of the transactions that were taken in: which of their entries are done, and what of
//! that is not in the store yet. Without any I/O.
//!
//! A transaction that was taken in stays in the store as it came until all of its entries are done, or
//! stored as rows of their own. Most are done within milliseconds; then their keys are all that is ever
//! written of them. After a crash the transaction is taken in again, and the keys tell what was done.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use tokio::time::{Duration, Instant};

use super::Entry;
use crate::store::{Key, LatestRow, Row, Settlement, State};

/// Entries that wait for longer than this are stored as rows of their own.
const STORE_AFTER: Duration = Duration::from_secs(2);
/// With so many bytes of payload in memory, the oldest are stored.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// Rows that one settlement holds: pushes wait while it is written.
const AT_ONCE: usize = 256;
/// Keys of entries that are done without having been stored, likewise: they cost less.
const KEYS_AT_ONCE: usize = 2048;

/// A transaction that was taken in.
pub(crate) struct Open {
    /// Its id in the store.
    pub(crate) transaction: i64,
    /// Its entries that are to be handled, and the keys to remember them by.
    pub(crate) entries: Vec<(Arc<Entry>, Option<Key>)>,
    /// Entries that are stored in any case: dead from the start, or kept.
    pub(crate) rows: Vec<Row>,
    /// Entries of which the latest counts: stored in any case, with ids that they get then.
    pub(crate) latest: Vec<LatestRow>,
}

struct Transaction {
    taken_at: Instant,
    /// Its entries that are neither done and written down nor stored.
    left: BTreeSet<i64>,
    rows: Vec<Row>,
    latest: Vec<LatestRow>,
}

struct OpenEntry {
    transaction: i64,
    entry: Arc<Entry>,
    seen: Option<Key>,
    done: bool,
    /// A settlement that would have stored it has failed, perhaps behind its commit.
    perhaps_stored: bool,
}

/// What a settlement holds that was drawn up.
#[derive(Default)]
pub(crate) struct Drawn {
    pub(crate) settlement: Settlement,
    /// Entries whose keys are written down: they are done.
    done: Vec<i64>,
    /// Entries that are stored as waiting.
    stored: Vec<i64>,
    /// Transactions whose further rows are stored.
    rows: Vec<i64>,
    /// Whether there is more to be written.
    pub(crate) more: bool,
}

#[derive(Default)]
pub(crate) struct Ledger {
    transactions: BTreeMap<i64, Transaction>,
    entries: BTreeMap<i64, OpenEntry>,
    /// The keys of the entries that are open.
    keys: HashSet<Key>,
    bytes: usize,
    /// Open entries that are done, and not written down.
    newly_done: BTreeSet<i64>,
    /// Open transactions with further rows, or with nothing left.
    to_write: BTreeSet<i64>,
    /// Stored entries that are done, and not written down.
    stored_done: BTreeSet<i64>,
    keep_payloads: bool,
}

impl Ledger {
    /// Payloads of entries that are done stay in the store.
    pub(crate) fn keep_payloads(&mut self, keep: bool) {
        self.keep_payloads = keep;
    }

    /// Whether an entry with this key is open.
    pub(crate) fn knows(&self, key: &Key) -> bool {
        self.keys.contains(key)
    }

    pub(crate) fn take_in(&mut self, open: Open, now: Instant) {
        let mut left = BTreeSet::new();
        for (entry, seen) in open.entries {
            left.insert(entry.id);
            self.bytes += entry.payload.len();
            self.keys.extend(seen);
            let open_entry = OpenEntry {
                transaction: open.transaction,
                entry: entry.clone(),
                seen,
                done: false,
                perhaps_stored: false,
            };
            self.entries.insert(entry.id, open_entry);
        }
        self.keys
            .extend(open.rows.iter().filter_map(|row| row.seen));
        if left.is_empty() || !open.rows.is_empty() || !open.latest.is_empty() {
            self.to_write.insert(open.transaction);
        }
        let transaction = Transaction {
            taken_at: now,
            left,
            rows: open.rows,
            latest: open.latest,
        };
        self.transactions.insert(open.transaction, transaction);
    }

    /// An entry is done, wherever it is.
    pub(crate) fn done(&mut self, id: i64) {
        match self.entries.get_mut(&id) {
            Some(entry) => {
                entry.done = true;
                self.newly_done.insert(id);
            }
            None => {
                self.stored_done.insert(id);
            }
        }
    }

    /// Whether a stored entry is done, and this is not written down.
    pub(crate) fn is_stored_done(&self, id: i64) -> bool {
        self.stored_done.contains(&id)
    }

    /// Whether this entry is in memory only.
    pub(crate) fn is_open(&self, id: i64) -> bool {
        self.entries.contains_key(&id)
    }

    /// Entries of a reader that wait in memory, with an id above the range's start and up to its end;
    /// of one lane, or of all.
    pub(crate) fn waiting(
        &self,
        reader: &str,
        lane: Option<&str>,
        (after, up_to): (i64, i64),
        limit: usize,
    ) -> Vec<Arc<Entry>> {
        self.entries
            .range(after.saturating_add(1)..=up_to.max(after.saturating_add(1)))
            .map(|(_, open)| open)
            .filter(|open| !open.done && open.entry.id <= up_to && open.entry.reader == reader)
            .filter(|open| lane.is_none_or(|lane| *open.entry.lane == *lane))
            .take(limit)
            .map(|open| open.entry.clone())
            .collect()
    }

    /// Open transactions, and what of them waits: entries that aren't done, and those still to be put
    /// into their slots.
    pub(crate) fn open(&self) -> (usize, usize) {
        let waiting = self.entries.values().filter(|entry| !entry.done).count();
        let latest = self.to_write.iter();
        let latest = latest.filter_map(|id| self.transactions.get(id));
        let latest: usize = latest.map(|transaction| transaction.latest.len()).sum();
        (self.transactions.len(), waiting + latest)
    }

    /// When the oldest entry that waits in memory was received.
    pub(crate) fn oldest(&self) -> Option<i64> {
        self.entries
            .values()
            .filter(|entry| !entry.done)
            .map(|entry| entry.entry.received_at)
            .min()
    }

    /// Whether there is anything to be written down right now.
    pub(crate) fn is_due(&self) -> bool {
        !self.newly_done.is_empty() || !self.to_write.is_empty() || !self.stored_done.is_empty()
    }

    /// Whether so much is in memory that nothing more should be taken in before some of it is stored.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes > MOST_BYTES
    }

    /// Bytes of payload in memory.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the oldest open transaction has waited long enough.
    pub(crate) fn store_at(&self) -> Option<Instant> {
        let (_, oldest) = self.transactions.first_key_value()?;
        Some(oldest.taken_at + STORE_AFTER)
    }

    /// Draws up what is to be written: what is done, and, of what waits, what `also` says. The time is
    /// given twice, the second in Unix time, ms.
    pub(crate) fn draw(&self, also: Also, now: Instant, now_ms: i64) -> Drawn {
        let mut drawn = Drawn::default();
        drawn.settlement.now = now_ms;
        drawn.settlement.keep_payloads = self.keep_payloads;
        let most = if self.keep_payloads {
            AT_ONCE
        } else {
            KEYS_AT_ONCE
        };
        for id in self.newly_done.iter().take(most) {
            self.draw_done(*id, &mut drawn);
        }
        drawn
            .settlement
            .done
            .extend(self.stored_done.iter().take(AT_ONCE));
        drawn.more = self.newly_done.len() > most || self.stored_done.len() > AT_ONCE;
        self.draw_waiting(also, now, &mut drawn);
        let mut written = 0;
        for id in &self.to_write {
            if let Some(transaction) = self.transactions.get(id) {
                if written >= AT_ONCE {
                    drawn.more = true;
                    break;
                }
                written += transaction.rows.len() + transaction.latest.len();
                let Settlement {
                    rows, latest, seen, ..
                } = &mut drawn.settlement;
                seen.extend(transaction.rows.iter().filter_map(|row| row.seen));
                rows.extend(transaction.rows.iter().cloned());
                latest.extend(transaction.latest.iter().cloned());
                drawn.rows.push(*id);
            }
        }
        self.draw_transactions(&mut drawn);
        drawn
    }

    /// Transactions of which nothing is left when the rest of the settlement is written.
    fn draw_transactions(&self, drawn: &mut Drawn) {
        let stored: HashSet<i64> = drawn.done.iter().chain(&drawn.stored).copied().collect();
        let written: HashSet<i64> = drawn.rows.iter().copied().collect();
        for (id, transaction) in &self.transactions {
            let rest = transaction.rows.is_empty() && transaction.latest.is_empty();
            if (rest || written.contains(id))
                && transaction.left.iter().all(|left| stored.contains(left))
            {
                drawn.settlement.transactions.push(*id);
            }
        }
    }

    fn draw_done(&self, id: i64, drawn: &mut Drawn) {
        let Some(open) = self.entries.get(&id) else {
            return;
        };
        drawn.done.push(id);
        drawn.settlement.seen.extend(open.seen);
        if open.perhaps_stored {
            drawn.settlement.done.push(id);
        } else if self.keep_payloads {
            let mut entry = open.entry.clone();
            Arc::make_mut(&mut entry).due_at = drawn.settlement.now;
            drawn.settlement.rows.push(Row {
                entry,
                state: State::Done,
                error: None,
                seen: None,
            });
        }
        drawn.settlement.done_unstored += u64::from(!open.perhaps_stored);
    }

    fn draw_waiting(&self, also: Also, now: Instant, drawn: &mut Drawn) {
        let mut excess = self.bytes.saturating_sub(MOST_BYTES / 2);
        if let Also::Only(id) = also {
            self.draw_stored(id, drawn);
            return;
        }
        for transaction in self.transactions.values() {
            let old = transaction.taken_at + STORE_AFTER <= now;
            let store = match also {
                Also::Everything => true,
                Also::Old => old || (self.is_full() && excess > 0),
                Also::Nothing | Also::Only(_) => false,
            };
            if !store {
                break;
            }
            for id in &transaction.left {
                if drawn.stored.len() >= AT_ONCE {
                    drawn.more = true;
                    return;
                }
                excess = excess.saturating_sub(self.draw_stored(*id, drawn));
            }
        }
    }

    /// Returns how many bytes this frees.
    fn draw_stored(&self, id: i64, drawn: &mut Drawn) -> usize {
        let Some(open) = self.entries.get(&id).filter(|open| !open.done) else {
            return 0;
        };
        drawn.stored.push(id);
        drawn.settlement.seen.extend(open.seen);
        drawn.settlement.rows.push(Row {
            entry: open.entry.clone(),
            state: State::Waiting,
            error: None,
            seen: None,
        });
        open.entry.payload.len()
    }

    /// It is written.
    pub(crate) fn written(&mut self, drawn: &Drawn) {
        for id in &drawn.done {
            self.newly_done.remove(id);
            self.close(*id);
        }
        for id in &drawn.settlement.done {
            self.stored_done.remove(id);
        }
        for id in &drawn.stored {
            // It may have been done while it was being stored.
            if self.newly_done.remove(id) {
                self.stored_done.insert(*id);
            }
            self.close(*id);
        }
        for id in &drawn.rows {
            if let Some(transaction) = self.transactions.get_mut(id) {
                for key in transaction.rows.drain(..).filter_map(|row| row.seen) {
                    self.keys.remove(&key);
                }
                transaction.latest.clear();
            }
            self.to_write.remove(id);
        }
        for id in &drawn.settlement.transactions {
            self.transactions.remove(id);
            self.to_write.remove(id);
        }
    }

    /// It could not be written, or so it seems.
    pub(crate) fn not_written(&mut self, drawn: &Drawn) {
        for id in &drawn.stored {
            if let Some(entry) = self.entries.get_mut(id) {
                entry.perhaps_stored = true;
            }
        }
    }

    fn close(&mut self, id: i64) {
        let Some(open) = self.entries.remove(&id) else {
            return;
        };
        self.bytes -= open.entry.payload.len();
        if let Some(key) = &open.seen {
            self.keys.remove(key);
        }
        if let Some(transaction) = self.transactions.get_mut(&open.transaction) {
            transaction.left.remove(&id);
        }
    }
}

/// What of the entries that wait is to be stored as rows of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Also {
    /// None.
    Nothing,
    /// What has waited for long, or is too much for memory.
    Old,
    /// This entry.
    Only(i64),
    /// All of it.
    Everything,
}

#[cfg(test)]
mod model;
