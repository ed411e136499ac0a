//! A journal in a store of one's own: here in memory, so that this echo bot forgets all when it ends.
//!
//! A store keeps rows and decides nothing. Whatever takes rows in one commit can be one.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use matrix_appservice::ruma::server_name;
use matrix_appservice::store::{
    Bytes, Counts, Key, LatestRow, Newest, Queue, Row, Settlement, State, Store, StoredTransaction,
    async_trait,
};
use matrix_appservice::{
    AppService, Builder, DeadLetter, Entry, Journal, JournalError, Registration,
};

/// Rows that one purge removes, and what transactions that are read together may weigh.
const PURGED_AT_ONCE: usize = 1000;
const BYTES_AT_ONCE: usize = 4 * 1024 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    /// The last id of a transaction that was given, also when that one is gone.
    pushed: i64,
    transactions: BTreeMap<i64, StoredTransaction>,
    rows: BTreeMap<i64, Row>,
    /// Keys, and when they were remembered.
    seen: HashMap<Key, i64>,
    cursors: HashMap<String, String>,
    done: u64,
}

impl Tables {
    /// A row whose id is there already is left as it is.
    fn insert(&mut self, row: Row) {
        self.rows.entry(row.entry.id).or_insert(row);
    }

    /// Takes the place of the row in the same slot, and says what both say.
    fn replace(&mut self, LatestRow { mut row, merge }: LatestRow) {
        if self.rows.contains_key(&row.entry.id) {
            return;
        }
        let same = |old: &Row| old.entry.slot == row.entry.slot;
        if let Some(id) = self
            .rows
            .values()
            .find(|old| same(old))
            .map(|old| old.entry.id)
            && let Some(old) = self.rows.remove(&id)
            && let Some(merge) = merge
        {
            let payload = merge(&old.entry.payload, &row.entry.payload);
            row.entry = Arc::new(Entry {
                payload: payload.into(),
                ..(*row.entry).clone()
            });
        }
        self.insert(row);
    }

    fn change(
        &mut self,
        id: i64,
        from: State,
        change: impl FnOnce(&mut Entry, &mut State, &mut Option<String>),
    ) -> bool {
        let Some(row) = self.rows.get_mut(&id).filter(|row| row.state == from) else {
            return false;
        };
        change(
            Arc::make_mut(&mut row.entry),
            &mut row.state,
            &mut row.error,
        );
        true
    }

    fn of_state(&self, state: State) -> impl Iterator<Item = &Row> {
        self.rows.values().filter(move |row| row.state == state)
    }
}

fn letter(row: &Row) -> DeadLetter {
    let entry = &row.entry;
    DeadLetter {
        id: entry.id,
        reader: entry.reader.clone(),
        source: entry.source.clone().into_owned(),
        key: entry.key.clone(),
        lane: entry.lane.to_string(),
        attempts: entry.attempts,
        received_at: entry.received_at,
        error: row.error.clone().unwrap_or_default(),
    }
}

fn number(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}

impl Memory {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for Memory {
    async fn newest(&self) -> Result<Newest, JournalError> {
        let tables = self.tables();
        let entry = tables.rows.keys().next_back().copied().unwrap_or_default();
        Ok(Newest {
            entry,
            transaction: tables.pushed,
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
        let id = tables.pushed;
        let (txn_id, body) = (txn_id.to_owned(), body.to_vec());
        tables.transactions.insert(
            id,
            StoredTransaction {
                id,
                txn_id,
                received_at,
                body,
            },
        );
        Ok(id)
    }

    async fn transactions(
        &self,
        after: i64,
        limit: u32,
    ) -> Result<Vec<StoredTransaction>, JournalError> {
        let tables = self.tables();
        let newer = tables
            .transactions
            .range(after + 1..)
            .map(|(_, transaction)| transaction);
        let mut bytes = 0;
        let fit = newer.take(limit as usize).take_while(|transaction| {
            let is_first = bytes == 0;
            bytes += transaction.body.len();
            is_first || bytes <= BYTES_AT_ONCE
        });
        Ok(fit.cloned().collect())
    }

    async fn seen(&self, keys: &[Key]) -> Result<HashSet<Key>, JournalError> {
        let tables = self.tables();
        Ok(keys
            .iter()
            .filter(|key| tables.seen.contains_key(*key))
            .copied()
            .collect())
    }

    async fn append(
        &self,
        rows: &[Row],
        cursor: Option<(&str, &str)>,
        now: i64,
    ) -> Result<u64, JournalError> {
        let mut tables = self.tables();
        let mut stored = 0;
        for row in rows {
            let again = match &row.seen {
                Some(key) => tables.seen.insert(*key, now),
                None => None,
            };
            if again.is_none() {
                tables.insert(row.clone());
                stored += 1;
            }
        }
        if let Some((name, value)) = cursor {
            tables.cursors.insert(name.to_owned(), value.to_owned());
        }
        Ok(stored)
    }

    async fn cursor(&self, name: &str) -> Result<Option<String>, JournalError> {
        Ok(self.tables().cursors.get(name).cloned())
    }

    async fn settle(&self, settlement: &Arc<Settlement>) -> Result<(), JournalError> {
        let mut tables = self.tables();
        for key in &settlement.seen {
            tables.seen.entry(*key).or_insert(settlement.now);
        }
        for row in &settlement.rows {
            tables.insert(row.clone());
        }
        for latest in &settlement.latest {
            tables.replace(latest.clone());
        }
        for id in &settlement.done {
            let found = tables.change(*id, State::Waiting, |entry, state, _| {
                entry.due_at = settlement.now;
                *state = State::Done;
            });
            let passes = tables
                .rows
                .get(id)
                .is_some_and(|row| row.entry.slot.is_some());
            tables.done += u64::from(found && !passes);
            if found && (passes || !settlement.keep_payloads) {
                tables.rows.remove(id);
            }
        }
        for id in &settlement.transactions {
            tables.transactions.remove(id);
        }
        tables.done += settlement.done_unstored;
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
        let tables = self.tables();
        let waiting = tables
            .rows
            .range(range.0 + 1..)
            .take_while(|(id, _)| **id <= range.1);
        let wanted = waiting.filter(|(_, Row { entry, state, .. })| {
            *state == State::Waiting
                && entry.reader == reader
                && (queue == Queue::Latest) == entry.slot.is_some()
                && lane.is_none_or(|lane| *entry.lane == *lane)
        });
        Ok(wanted
            .take(limit as usize)
            .map(|(_, row)| (*row.entry).clone())
            .collect())
    }

    async fn postpone(
        &self,
        id: i64,
        attempts: u32,
        due_at: i64,
        error: &str,
    ) -> Result<(), JournalError> {
        self.tables().change(id, State::Waiting, |entry, _, class| {
            (entry.attempts, entry.due_at, entry.begun) = (attempts, due_at, true);
            *class = Some(error.to_owned());
        });
        Ok(())
    }

    async fn bury(&self, id: i64, attempts: u32, error: &str) -> Result<(), JournalError> {
        self.tables()
            .change(id, State::Waiting, |entry, state, class| {
                (entry.attempts, entry.begun) = (attempts, true);
                *state = State::Dead;
                *class = Some(error.to_owned());
            });
        Ok(())
    }

    async fn dead_letters(&self, after: i64, limit: u32) -> Result<Vec<DeadLetter>, JournalError> {
        let tables = self.tables();
        let newer = tables
            .of_state(State::Dead)
            .filter(|row| row.entry.id > after);
        Ok(newer.take(limit as usize).map(letter).collect())
    }

    async fn dead_letter(&self, id: i64) -> Result<Option<(DeadLetter, Arc<[u8]>)>, JournalError> {
        let tables = self.tables();
        let row = tables.rows.get(&id).filter(|row| row.state == State::Dead);
        Ok(row.map(|row| (letter(row), row.entry.payload.clone())))
    }

    async fn retry_dead_letter(&self, id: i64, new_id: i64) -> Result<bool, JournalError> {
        let mut tables = self.tables();
        let again = tables.change(id, State::Dead, |entry, state, _| {
            (entry.id, entry.attempts, entry.due_at, entry.begun) = (new_id, 0, 0, true);
            entry.key.get_or_insert_with(|| format!("entry:{id}"));
            *state = State::Waiting;
        });
        if again && let Some(row) = tables.rows.remove(&id) {
            tables.insert(row);
        }
        Ok(again)
    }

    async fn skip_dead_letter(&self, id: i64) -> Result<bool, JournalError> {
        let mut tables = self.tables();
        let there = tables
            .rows
            .get(&id)
            .is_some_and(|row| row.state == State::Dead);
        if there {
            tables.rows.remove(&id);
            tables.done += 1;
        }
        Ok(there)
    }

    async fn release_kept(&self, source: &str) -> Result<(), JournalError> {
        for row in self.tables().rows.values_mut() {
            if row.state == State::Kept && row.entry.source == source {
                row.state = State::Waiting;
            }
        }
        Ok(())
    }

    async fn forget_reader(&self, reader: &str) -> Result<u64, JournalError> {
        let mut tables = self.tables();
        let before = tables.rows.len();
        tables.rows.retain(|_, row| row.entry.reader != reader);
        Ok(number(before - tables.rows.len()))
    }

    async fn stats(&self) -> Result<Counts, JournalError> {
        let tables = self.tables();
        let count = |state| number(tables.of_state(state).count());
        let waiting = tables.of_state(State::Waiting);
        Ok(Counts {
            transactions: number(tables.transactions.len()),
            waiting: count(State::Waiting),
            oldest_waiting: waiting.map(|row| row.entry.received_at).min(),
            dead: count(State::Dead),
            kept: count(State::Kept),
            done: tables.done,
        })
    }

    async fn purge(&self, payloads: i64, keys: Option<i64>) -> Result<bool, JournalError> {
        let mut tables = self.tables();
        let done = tables
            .of_state(State::Done)
            .filter(|row| row.entry.due_at < payloads);
        let done: Vec<_> = done.map(|row| row.entry.id).take(PURGED_AT_ONCE).collect();
        let old = tables
            .seen
            .iter()
            .filter(|(_, at)| keys.is_some_and(|keys| **at < keys));
        let old: Vec<_> = old.map(|(key, _)| *key).take(PURGED_AT_ONCE).collect();
        for id in &done {
            tables.rows.remove(id);
        }
        for key in &old {
            tables.seen.remove(key);
        }
        Ok(done.len() == PURGED_AT_ONCE || old.len() == PURGED_AT_ONCE)
    }
}

pub(crate) fn bot(builder: Builder) -> Builder {
    builder
        .accept_invitations()
        .on_message(|delivery, event| async move {
            delivery
                .bot()
                .send_text(&event.room_id, event.content.body())
                .await?;
            Ok(())
        })
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let registration = Registration::load("registration/echo.yaml")?;
    let homeserver = "http://127.0.0.1:8008".parse()?;
    let journal = Journal::with_store(Memory::default()).await?;
    let builder = AppService::builder(registration, server_name!("localhost"), homeserver, journal);
    bot(builder).build()?.serve("127.0.0.1:9000").await?;
    Ok(())
}
