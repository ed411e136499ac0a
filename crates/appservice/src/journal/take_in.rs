//! From transactions to entries in the lanes: keys are looked up, ids are given, each reader gets its
//! own.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Entry, Journal, JournalError, Latest, Split, State,
    feeds::Feeds,
    for_each_reader,
    inbox::{Fresh, Next},
    intake::{Intake, readers_of},
    ledger::Open,
    lock, row, split,
};
use crate::{
    measures,
    store::{Key, LatestRow, Row},
};

/// Transactions that are read from the store at once.
const STORED_AT_ONCE: u32 = 16;
/// Entries that are taken in at once, but for those of the last transaction: a push that comes meanwhile waits for a
/// processor.
const ENTRIES_AT_ONCE: usize = 128;
/// The pause after the database failed, and while memory is full.
const PAUSE: Duration = Duration::from_secs(1);

impl Journal {
    /// Takes in what is pushed, until `stop`.
    pub(crate) async fn take_in_all(&self, intake: Arc<Intake>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            self.make_way().await;
            let pause = match self.take_in(&intake).await {
                Ok(true) => continue,
                Ok(false) if lock(&self.0.ledger).is_full() => PAUSE / 100,
                Ok(false) => Duration::MAX,
                Err(error) => {
                    tracing::error!(%error, cause = super::cause(&error), "the journal can't be read, trying again");
                    PAUSE
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.0.pushed.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Takes in a bounded piece of what was pushed. Returns whether there may be more.
    pub(crate) async fn take_in(&self, intake: &Intake) -> Result<bool, JournalError> {
        let _turn = self.0.take_in_turn.lock().await;
        if lock(&self.0.ledger).is_full() {
            // The disk is the buffer: it goes on when some of it is stored.
            self.0.finished.notify_one();
            return Ok(false);
        }
        let batch = match lock(&self.0.inbox).next(ENTRIES_AT_ONCE) {
            Next::Fresh(batch) => Ok(batch),
            Next::Stored(after) => Err(after),
            Next::Nothing => return Ok(false),
        };
        let batch = match batch {
            Ok(batch) => batch,
            Err(after) => self.stored_batch(after, intake).await?,
        };
        let Some(last) = batch.last().map(|fresh| fresh.id) else {
            return Ok(false);
        };
        if let Err(error) = self.take_in_batch(batch, intake).await {
            lock(&self.0.inbox).put_back();
            return Err(error);
        }
        lock(&self.0.inbox).taken(last);
        Ok(true)
    }

    /// The next transactions from the store.
    async fn stored_batch(&self, after: i64, intake: &Intake) -> Result<Vec<Fresh>, JournalError> {
        let read = || self.0.store.transactions(after, STORED_AT_ONCE);
        let mut stored = read().await?;
        if stored.is_empty() {
            lock(&self.0.inbox).caught_up();
            let again = read().await;
            let nothing_new = matches!(&again, Ok(again) if again.is_empty());
            if !nothing_new {
                lock(&self.0.inbox).put_back();
            }
            stored = again?;
        }
        let fresh = |transaction: crate::store::StoredTransaction| Fresh {
            id: transaction.id,
            received_at: transaction.received_at,
            // One that was to be refused when the process died has nothing in it.
            split: split::split(&transaction.txn_id, &transaction.body, intake).unwrap_or_default(),
        };
        Ok(stored.into_iter().map(fresh).collect())
    }

    async fn take_in_batch(&self, batch: Vec<Fresh>, intake: &Intake) -> Result<(), JournalError> {
        let mut candidates: Vec<Candidates> = batch
            .into_iter()
            .map(|fresh| self.candidates(fresh, intake))
            .collect();
        let mut keys = HashSet::new();
        {
            // Before the store: a key leaves the ledger after it is in the store.
            let ledger = lock(&self.0.ledger);
            for one in candidates.iter_mut().flat_map(|one| &mut one.events) {
                if let Some(key) = &one.row.seen {
                    one.known = ledger.knows(key) || !keys.insert(*key);
                }
            }
        }
        let keys: Vec<Key> = keys.into_iter().collect();
        let seen = if keys.is_empty() {
            HashSet::new()
        } else {
            self.0.store.seen(&keys).await?
        };
        let now = Instant::now();
        let mut feeds = lock(&self.0.feeds);
        let mut ledger = lock(&self.0.ledger);
        for transaction in candidates {
            let open = transaction.open(&seen, &mut feeds);
            open.count();
            let entries: Vec<Arc<Entry>> = open
                .entries
                .iter()
                .map(|(entry, _)| entry.clone())
                .collect();
            ledger.take_in(open, now);
            for entry in &entries {
                feeds.offer(entry);
            }
        }
        if ledger.is_due() {
            self.0.finished.notify_one();
        }
        Ok(())
    }

    fn candidates(&self, fresh: Fresh, intake: &Intake) -> Candidates {
        let Fresh {
            id,
            received_at,
            split,
        } = fresh;
        // An earlier process may have handled some of it.
        let begun = id <= self.0.opened.transaction;
        let Split {
            waiting,
            kept,
            latest,
            unwanted,
        } = split;
        tracing::debug!(
            transaction = id,
            entries = waiting.len() + kept.len(),
            latest = latest.len(),
            unwanted,
            "transaction is taken in"
        );
        let mut events = Vec::with_capacity(waiting.len() + kept.len());
        for new in waiting {
            // What nobody can read is a dead letter once, not for each reader.
            let all = readers_of(&intake.readers, new.source);
            let one = new.dead.map(|_| "");
            let readers = one.into_iter().chain(all.filter(|_| one.is_none()));
            for_each_reader(new, readers, |new, reader| {
                events.push(Candidate::new(row(new, reader, 0, received_at, begun)));
            });
        }
        for new in kept {
            let mut row = row(new, "", 0, received_at, begun);
            row.state = State::Kept;
            events.push(Candidate::new(row));
        }
        let latest = latest
            .iter()
            .flat_map(|latest| {
                readers_of(&intake.readers, latest.source)
                    .map(move |reader| latest_row(latest, reader, received_at))
            })
            .collect();
        Candidates {
            transaction: id,
            events,
            latest,
        }
    }
}

/// The entries of one transaction, before it is known which of them are new.
struct Candidates {
    transaction: i64,
    events: Vec<Candidate>,
    latest: Vec<LatestRow>,
}

struct Candidate {
    row: Row,
    /// It is open, or was met before in the same batch.
    known: bool,
}

impl Candidate {
    fn new(row: Row) -> Self {
        Self { row, known: false }
    }
}

impl Candidates {
    /// Gives ids to those that are new.
    fn open(self, seen: &HashSet<Key>, feeds: &mut Feeds) -> Open {
        let mut open = Open {
            transaction: self.transaction,
            entries: Vec::new(),
            rows: Vec::new(),
            latest: self.latest,
        };
        for Candidate { mut row, known } in self.events {
            if known || row.seen.as_ref().is_some_and(|key| seen.contains(key)) {
                continue;
            }
            if let Some(entry) = Arc::get_mut(&mut row.entry) {
                entry.id = feeds.ids(1);
            }
            if row.state == State::Waiting {
                open.entries.push((row.entry, row.seen));
            } else {
                open.rows.push(row);
            }
        }
        open
    }
}

impl Open {
    /// Counts what is new.
    fn count(&self) {
        let events = self.entries.iter().map(|(entry, _)| entry);
        let rows = self
            .rows
            .iter()
            .chain(self.latest.iter().map(|one| &one.row));
        let mut new = BTreeMap::new();
        for entry in events.chain(rows.map(|row| &row.entry)) {
            *new.entry(&*entry.source).or_insert(0) += 1;
        }
        for (source, new) in new {
            measures::entries(source, new);
        }
    }
}

/// Its id is given when it is stored.
fn latest_row(latest: &Latest, reader: &str, received_at: i64) -> LatestRow {
    let slot = if reader.is_empty() {
        latest.slot.clone()
    } else {
        format!("{reader}\u{1f}{}", latest.slot)
    };
    let entry = Entry {
        id: 0,
        reader: reader.to_owned(),
        source: latest.source.into(),
        key: None,
        lane: latest.lane.as_str().into(),
        attempts: 0,
        received_at,
        due_at: 0,
        begun: false,
        slot: Some(slot.into()),
        payload: latest.payload.as_slice().into(),
    };
    let state = if latest.kept {
        State::Kept
    } else {
        State::Waiting
    };
    LatestRow {
        row: Row {
            entry: Arc::new(entry),
            state,
            error: None,
            seen: None,
        },
        merge: latest.merge,
    }
}
