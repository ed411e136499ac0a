//! The journal's rows in memory: for tests, and for bots that may forget.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    Bytes, Counts, Key, LatestRow, Newest, Queue, Row, Settlement, State, Store, StoredTransaction,
    async_trait,
};
use crate::journal::{DeadLetter, Entry, JournalError};

/// Rows that one purge removes.
const PURGE_AT_ONCE: usize = 1000;
/// Bodies that are read at once, unless one alone is larger.
const BYTES_AT_ONCE: usize = 4 * 1024 * 1024;

/// Rows in memory, gone with the process. Nothing is durable here, so that what was acknowledged is lost in a crash.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    inbox: BTreeMap<i64, StoredTransaction>,
    /// The id that was given last, also when its transaction is gone.
    pushed: i64,
    entries: BTreeMap<i64, Stored>,
    /// What waits, of all lanes and of each.
    waiting: HashMap<Line, BTreeSet<i64>>,
    /// Which entry has a slot.
    slots: HashMap<Arc<str>, i64>,
    /// When each key was remembered.
    seen: HashMap<Key, i64>,
    cursors: HashMap<String, String>,
    done: u64,
}

/// Whose entries: a reader's, of one of its queues, of one lane or of all.
type Line = (String, Queue, Option<Arc<str>>);

#[derive(Debug)]
struct Stored {
    entry: Arc<Entry>,
    state: State,
    error: Option<String>,
}

impl MemoryStore {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        // What could panic (a merge) comes before the first change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn newest(&self) -> Result<Newest, JournalError> {
        let tables = self.tables();
        let last = |id: Option<&i64>| id.copied().unwrap_or(0);
        Ok(Newest {
            entry: last(tables.entries.keys().next_back()),
            transaction: last(tables.inbox.keys().next_back()),
        })
    }

    async fn push(
        &self,
        txn_id: &str,
        body: &Bytes,
        received_at: i64,
    ) -> Result<i64, JournalError> {
        let mut tables = self.tables();
        tables.pushed += 1;
        let transaction = StoredTransaction {
            id: tables.pushed,
            txn_id: txn_id.to_owned(),
            received_at,
            body: body.to_vec(),
        };
        tables.inbox.insert(transaction.id, transaction);
        Ok(tables.pushed)
    }

    async fn transactions(
        &self,
        after: i64,
        limit: u32,
    ) -> Result<Vec<StoredTransaction>, JournalError> {
        let tables = self.tables();
        let mut bytes = 0;
        Ok(tables
            .inbox
            .range(after.saturating_add(1)..)
            .map(|(_, transaction)| transaction)
            .take(limit as usize)
            .take_while(|transaction| {
                let room = bytes < BYTES_AT_ONCE;
                bytes += transaction.body.len();
                room
            })
            .cloned()
            .collect())
    }

    async fn seen(&self, keys: &[Key]) -> Result<HashSet<Key>, JournalError> {
        let tables = self.tables();
        let seen = keys.iter().filter(|key| tables.seen.contains_key(*key));
        Ok(seen.copied().collect())
    }

    async fn append(
        &self,
        rows: &[Row],
        cursor: Option<(&str, &str)>,
        now: i64,
    ) -> Result<u64, JournalError> {
        let mut tables = self.tables();
        let mut new = 0;
        for row in rows {
            if row
                .seen
                .as_ref()
                .is_none_or(|key| tables.remember(key, now))
            {
                new += u64::from(tables.insert(row));
            }
        }
        if let Some((name, value)) = cursor {
            tables.cursors.insert(name.to_owned(), value.to_owned());
        }
        Ok(new)
    }

    async fn cursor(&self, name: &str) -> Result<Option<String>, JournalError> {
        Ok(self.tables().cursors.get(name).cloned())
    }

    async fn settle(&self, settlement: &Arc<Settlement>) -> Result<(), JournalError> {
        let mut tables = self.tables();
        let latest = tables.merged(&settlement.latest);
        for key in &settlement.seen {
            tables.remember(key, settlement.now);
        }
        for row in &settlement.rows {
            tables.insert(row);
        }
        for row in &latest {
            tables.put_latest(row);
        }
        let mut done = settlement.done_unstored;
        for id in &settlement.done {
            done += u64::from(tables.finish(*id, settlement));
        }
        for id in &settlement.transactions {
            tables.inbox.remove(id);
        }
        tables.done += done;
        Ok(())
    }

    async fn waiting(
        &self,
        reader: &str,
        queue: Queue,
        lane: Option<&str>,
        range: (i64, i64),
        limit: u32,
    ) -> Result<Vec<Entry>, JournalError> {
        let (after, to) = range;
        if after >= to {
            return Ok(Vec::new());
        }
        let tables = self.tables();
        let whose = (reader.to_owned(), queue, lane.map(Arc::from));
        let Some(ids) = tables.waiting.get(&whose) else {
            return Ok(Vec::new());
        };
        let found = ids
            .range(after + 1..=to)
            .filter_map(|id| tables.entries.get(id));
        Ok(found
            .take(limit as usize)
            .map(|stored| Entry::clone(&stored.entry))
            .collect())
    }

    async fn postpone(
        &self,
        id: i64,
        attempts: u32,
        due_at: i64,
        error: &str,
    ) -> Result<(), JournalError> {
        let mut tables = self.tables();
        if let Some(mut stored) = tables.take(id, State::Waiting) {
            stored.fail(attempts, error);
            Arc::make_mut(&mut stored.entry).due_at = due_at;
            tables.put(stored);
        }
        Ok(())
    }

    async fn bury(&self, id: i64, attempts: u32, error: &str) -> Result<(), JournalError> {
        let mut tables = self.tables();
        if let Some(mut stored) = tables.take(id, State::Waiting) {
            stored.fail(attempts, error);
            stored.state = State::Dead;
            tables.put(stored);
        }
        Ok(())
    }

    async fn dead_letters(&self, after: i64, limit: u32) -> Result<Vec<DeadLetter>, JournalError> {
        let tables = self.tables();
        let dead = tables
            .entries
            .range(after.saturating_add(1)..)
            .filter(|(_, stored)| stored.state == State::Dead);
        Ok(dead
            .map(|(_, stored)| stored.dead_letter())
            .take(limit as usize)
            .collect())
    }

    async fn dead_letter(&self, id: i64) -> Result<Option<(DeadLetter, Arc<[u8]>)>, JournalError> {
        let tables = self.tables();
        let dead = tables.entries.get(&id);
        Ok(dead
            .filter(|stored| stored.state == State::Dead)
            .map(|stored| (stored.dead_letter(), stored.entry.payload.clone())))
    }

    async fn retry_dead_letter(&self, id: i64, new_id: i64) -> Result<bool, JournalError> {
        let mut tables = self.tables();
        let Some(mut stored) = tables.take(id, State::Dead) else {
            return Ok(false);
        };
        let entry = Arc::make_mut(&mut stored.entry);
        entry.id = new_id;
        entry.attempts = 0;
        entry.due_at = 0;
        entry.begun = true;
        entry.key.get_or_insert_with(|| format!("entry:{id}"));
        stored.state = State::Waiting;
        tables.put(stored);
        Ok(true)
    }

    async fn skip_dead_letter(&self, id: i64) -> Result<bool, JournalError> {
        let mut tables = self.tables();
        let skipped = tables.take(id, State::Dead).is_some();
        tables.done += u64::from(skipped);
        Ok(skipped)
    }

    async fn release_kept(&self, source: &str) -> Result<(), JournalError> {
        let mut tables = self.tables();
        let kept = |stored: &Stored| stored.state == State::Kept && stored.entry.source == source;
        let ids: Vec<i64> = tables
            .entries
            .iter()
            .filter_map(|(id, stored)| kept(stored).then_some(*id))
            .collect();
        for id in ids {
            if let Some(mut stored) = tables.take(id, State::Kept) {
                stored.state = State::Waiting;
                tables.put(stored);
            }
        }
        Ok(())
    }

    async fn forget_reader(&self, reader: &str) -> Result<u64, JournalError> {
        let mut tables = self.tables();
        let entries: Vec<(i64, State)> = tables
            .entries
            .iter()
            .filter(|(_, stored)| stored.entry.reader == reader)
            .map(|(id, stored)| (*id, stored.state))
            .collect();
        for (id, state) in &entries {
            tables.take(*id, *state);
        }
        Ok(entries.len() as u64)
    }

    async fn stats(&self) -> Result<Counts, JournalError> {
        let tables = self.tables();
        let mut counts = Counts {
            transactions: tables.inbox.len() as u64,
            done: tables.done,
            ..Counts::default()
        };
        for stored in tables.entries.values() {
            match stored.state {
                State::Waiting => {
                    counts.waiting += 1;
                    counts
                        .oldest_waiting
                        .get_or_insert(stored.entry.received_at);
                }
                State::Dead => counts.dead += 1,
                State::Kept => counts.kept += 1,
                State::Done => {}
            }
        }
        Ok(counts)
    }

    async fn purge(&self, payloads: i64, keys: Option<i64>) -> Result<bool, JournalError> {
        let mut tables = self.tables();
        let old = |stored: &Stored| stored.state == State::Done && stored.entry.due_at < payloads;
        let entries: Vec<i64> = tables
            .entries
            .iter()
            .filter_map(|(id, stored)| old(stored).then_some(*id))
            .take(PURGE_AT_ONCE)
            .collect();
        for id in &entries {
            tables.entries.remove(id);
        }
        let forgotten: Vec<Key> = tables
            .seen
            .iter()
            .filter(|(_, at)| keys.is_some_and(|keys| **at < keys))
            .map(|(key, _)| *key)
            .take(PURGE_AT_ONCE)
            .collect();
        for key in &forgotten {
            tables.seen.remove(key);
        }
        Ok(entries.len().max(forgotten.len()) >= PURGE_AT_ONCE)
    }
}

impl Tables {
    /// Returns whether the key is new.
    fn remember(&mut self, key: &Key, now: i64) -> bool {
        if self.seen.contains_key(key) {
            return false;
        }
        self.seen.insert(*key, now);
        true
    }

    /// Stores an entry, unless its id or its slot is taken. Returns whether it was stored.
    fn insert(&mut self, row: &Row) -> bool {
        let entry = &row.entry;
        let slot_taken = entry
            .slot
            .as_ref()
            .is_some_and(|slot| self.slots.contains_key(slot));
        if slot_taken || self.entries.contains_key(&entry.id) {
            return false;
        }
        self.put(Stored {
            entry: entry.clone(),
            state: row.state,
            error: row.error.clone(),
        });
        true
    }

    fn put(&mut self, stored: Stored) {
        let id = stored.entry.id;
        if let Some(slot) = &stored.entry.slot {
            self.slots.insert(slot.clone(), id);
        }
        for line in stored.lines() {
            self.waiting.entry(line).or_default().insert(id);
        }
        self.entries.insert(id, stored);
    }

    /// Takes an entry out, when it is in this state.
    fn take(&mut self, id: i64, state: State) -> Option<Stored> {
        let there = self
            .entries
            .get(&id)
            .is_some_and(|stored| stored.state == state);
        let stored = if there {
            self.entries.remove(&id)?
        } else {
            return None;
        };
        if let Some(slot) = &stored.entry.slot {
            self.slots.remove(slot);
        }
        for line in stored.lines() {
            if let Some(ids) = self.waiting.get_mut(&line) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.waiting.remove(&line);
                }
            }
        }
        Some(stored)
    }

    /// The rows that come into slots, each with what it has to keep of the one before it.
    fn merged(&self, latest: &[LatestRow]) -> Vec<Row> {
        let mut newest: HashMap<Arc<str>, Arc<Entry>> = HashMap::new();
        let mut rows = Vec::with_capacity(latest.len());
        for LatestRow { row, merge } in latest {
            let mut row = row.clone();
            let Some(slot) = row.entry.slot.clone() else {
                continue;
            };
            let older = newest.get(&slot).or_else(|| {
                let stored = self.entries.get(self.slots.get(&slot)?)?;
                Some(&stored.entry)
            });
            if older.is_some_and(|older| older.id >= row.entry.id) {
                // It is stored already.
                continue;
            }
            if let (Some(merge), Some(older)) = (merge, older) {
                let payload = merge(&older.payload, &row.entry.payload).into();
                Arc::make_mut(&mut row.entry).payload = payload;
            }
            newest.insert(slot, row.entry.clone());
            rows.push(row);
        }
        rows
    }

    /// Puts an entry into its slot and takes out what was there, in whatever state.
    fn put_latest(&mut self, row: &Row) {
        let older = row
            .entry
            .slot
            .as_ref()
            .and_then(|slot| self.slots.get(slot).copied());
        if let Some(older) = older.filter(|older| *older < row.entry.id)
            && let Some(state) = self.entries.get(&older).map(|stored| stored.state)
        {
            self.take(older, state);
        }
        self.insert(row);
    }

    /// Returns whether the entry was waiting, and counts.
    fn finish(&mut self, id: i64, settlement: &Settlement) -> bool {
        let Some(mut stored) = self.take(id, State::Waiting) else {
            return false;
        };
        if stored.entry.slot.is_some() {
            return false;
        }
        if settlement.keep_payloads {
            Arc::make_mut(&mut stored.entry).due_at = settlement.now;
            stored.state = State::Done;
            stored.error = None;
            self.put(stored);
        }
        true
    }
}

impl Stored {
    /// Where it is looked for, when it waits.
    fn lines(&self) -> impl Iterator<Item = Line> + use<> {
        let entry = &self.entry;
        let queue = if entry.slot.is_some() {
            Queue::Latest
        } else {
            Queue::Each
        };
        let waits = self.state == State::Waiting;
        let lines = [None, Some(entry.lane.clone())];
        let reader = entry.reader.clone();
        lines
            .into_iter()
            .filter(move |_| waits)
            .map(move |lane| (reader.clone(), queue, lane))
    }

    fn fail(&mut self, attempts: u32, error: &str) {
        let entry = Arc::make_mut(&mut self.entry);
        entry.attempts = attempts;
        entry.begun = true;
        self.error = Some(error.to_owned());
    }

    fn dead_letter(&self) -> DeadLetter {
        let entry = &self.entry;
        DeadLetter {
            id: entry.id,
            reader: entry.reader.clone(),
            source: entry.source.clone().into_owned(),
            key: entry.key.clone(),
            lane: entry.lane.to_string(),
            attempts: entry.attempts,
            received_at: entry.received_at,
            error: self.error.clone().unwrap_or_default(),
        }
    }
}
