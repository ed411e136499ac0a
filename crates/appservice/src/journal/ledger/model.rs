//! The ledger against a store in miniature: whatever is written, fails or is cut off by a crash, no entry
//! is lost, and none comes back of which it was written down that it is done.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::journal::seen_key;

#[derive(Debug, Clone)]
enum Op {
    /// A transaction with so many entries is pushed and taken in; of some only the latest counts.
    TakeIn {
        entries: usize,
        latest: bool,
    },
    /// A handler ends with one of the entries that are handed out.
    Done {
        nth: usize,
    },
    Settle {
        what: usize,
        how: How,
    },
    /// The process ends and another begins.
    Crash,
    Wait {
        ms: u64,
    },
}

#[derive(Debug, Clone, Copy)]
enum How {
    Well,
    Fails,
    /// The commit goes through and the answer is lost.
    SeemsToFail,
    /// Well, and meanwhile a handler ends.
    AndDone {
        nth: usize,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let how = prop_oneof![
        4 => Just(How::Well),
        1 => Just(How::Fails),
        1 => Just(How::SeemsToFail),
        2 => (0..64_usize).prop_map(|nth| How::AndDone { nth }),
    ];
    prop_oneof![
        3 => (0..6_usize, any::<bool>()).prop_map(|(entries, latest)| Op::TakeIn { entries, latest }),
        5 => (0..64_usize).prop_map(|nth| Op::Done { nth }),
        4 => (0..4_usize, how).prop_map(|(what, how)| Op::Settle { what, how }),
        1 => Just(Op::Crash),
        1 => (0..3000_u64).prop_map(|ms| Op::Wait { ms }),
    ]
}

/// What is on disk.
#[derive(Default)]
struct Disk {
    /// The keys of the entries of each transaction.
    transactions: BTreeMap<i64, Vec<Key>>,
    seen: HashSet<Key>,
    waiting: BTreeMap<i64, Arc<Entry>>,
    latest: usize,
}

impl Disk {
    fn settle(&mut self, settlement: &Settlement) {
        self.seen.extend(settlement.seen.iter().copied());
        for row in &settlement.rows {
            self.waiting
                .entry(row.entry.id)
                .or_insert_with(|| row.entry.clone());
        }
        self.latest += settlement.latest.len();
        for id in &settlement.done {
            self.waiting.remove(id);
        }
        for id in &settlement.transactions {
            self.transactions.remove(id);
        }
    }
}

fn entry(id: i64, key: Option<&Key>) -> Entry {
    Entry {
        id,
        reader: String::new(),
        source: "test".into(),
        key: key.map(ToString::to_string),
        lane: "lane".into(),
        attempts: 0,
        received_at: 0,
        due_at: 0,
        begun: false,
        slot: key.is_none().then(|| "slot".into()),
        payload: [0; 100].into(),
    }
}

struct World {
    disk: Disk,
    ledger: Ledger,
    now: Instant,
    next: i64,
    /// Entries that a dispatcher has, by id.
    handed_out: BTreeMap<i64, Key>,
    /// All keys that ever came, and whether it is written down that they are done.
    keys: HashMap<Key, bool>,
    latest: usize,
}

impl World {
    fn new() -> Self {
        Self {
            disk: Disk::default(),
            ledger: Ledger::default(),
            now: Instant::now(),
            next: 1,
            handed_out: BTreeMap::new(),
            keys: HashMap::new(),
            latest: 0,
        }
    }

    fn id(&mut self) -> i64 {
        self.next += 1;
        self.next
    }

    fn entry(&mut self, key: &Key) -> Arc<Entry> {
        let id = self.id();
        assert!(!self.keys[key], "{key} was done and comes again");
        self.handed_out.insert(id, *key);
        Arc::new(entry(id, Some(key)))
    }

    fn take_in(&mut self, transaction: i64, latest: bool) {
        let keys = self.disk.transactions[&transaction].clone();
        let entries = keys
            .iter()
            .filter(|key| !self.disk.seen.contains(*key))
            .copied()
            .collect::<Vec<_>>();
        let entries = entries
            .into_iter()
            .map(|key| (self.entry(&key), Some(key)))
            .collect();
        let row = LatestRow {
            row: Row {
                entry: Arc::new(entry(0, None)),
                state: State::Waiting,
                error: None,
                seen: None,
            },
            merge: None,
        };
        let open = Open {
            transaction,
            entries,
            rows: Vec::new(),
            latest: latest.then_some(row).into_iter().collect(),
        };
        self.ledger.take_in(open, self.now);
    }

    fn done(&mut self, nth: usize) {
        let Some(id) = self.handed_out.keys().nth(nth).copied() else {
            return;
        };
        self.handed_out.remove(&id);
        self.ledger.done(id);
    }

    fn settle(&mut self, what: usize, how: How) {
        let one = self.handed_out.keys().next().copied().unwrap_or_default();
        let also = [Also::Nothing, Also::Old, Also::Only(one), Also::Everything][what];
        let drawn = self.ledger.draw(also, self.now, 1);
        let fails = match how {
            How::Fails | How::SeemsToFail => true,
            How::AndDone { nth } => {
                self.done(nth);
                false
            }
            How::Well => false,
        };
        if !matches!(how, How::Fails) {
            self.disk.settle(&drawn.settlement);
        }
        if fails {
            self.ledger.not_written(&drawn);
        } else {
            // Of what is remembered, all that isn't stored as a row is done.
            let rows: HashSet<_> = drawn
                .settlement
                .rows
                .iter()
                .map(|row| row.entry.key.clone())
                .collect();
            for key in &drawn.settlement.seen {
                if !rows.contains(&Some(key.to_string())) {
                    self.keys.insert(*key, true);
                }
            }
            self.ledger.written(&drawn);
        }
    }

    fn crash(&mut self) {
        // The latest of what passes may pass.
        self.latest = 0;
        self.ledger = Ledger::default();
        self.handed_out.clear();
        for (id, entry) in &self.disk.waiting {
            let key: Key = entry.key.as_deref().unwrap().parse().unwrap();
            assert!(!self.keys[&key], "{key} was done and comes again");
            self.handed_out.insert(*id, key);
        }
        let transactions: Vec<_> = self.disk.transactions.keys().copied().collect();
        for transaction in transactions {
            self.take_in(transaction, false);
        }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::TakeIn { entries, latest } => {
                let transaction = self.id();
                let keys: Vec<_> = (0..entries)
                    .map(|nth| seen_key("", "test", &format!("{transaction}/{nth}")))
                    .collect();
                self.keys.extend(keys.iter().map(|key| (*key, false)));
                self.disk.transactions.insert(transaction, keys);
                self.take_in(transaction, latest);
                self.latest += usize::from(latest);
            }
            Op::Done { nth } => self.done(nth),
            Op::Settle { what, how } => self.settle(what, how),
            Op::Crash => self.crash(),
            Op::Wait { ms } => self.now += Duration::from_millis(ms),
        }
        self.check();
    }

    /// What would a crash right now leave?
    fn check(&self) {
        for (key, done) in &self.keys {
            let in_transaction = self
                .disk
                .transactions
                .values()
                .flatten()
                .any(|other| other == key);
            let waits = self
                .disk
                .waiting
                .values()
                .any(|entry| entry.key.as_deref() == Some(key.as_str()));
            let remembered = self.disk.seen.contains(key);
            assert!(
                in_transaction || remembered,
                "{key} is neither in a transaction nor remembered"
            );
            if *done {
                assert!(remembered, "{key} is done and would come again");
            } else if remembered && !waits {
                // Done, and the answer that says so was lost.
                assert!(
                    !self.handed_out.values().any(|other| other == key),
                    "{key} is handed out and would be lost"
                );
            }
        }
        let bytes: usize = self.ledger.entries.len() * 100;
        assert_eq!(self.ledger.bytes, bytes);
    }

    fn work_off(&mut self) {
        while !self.handed_out.is_empty() {
            self.done(0);
        }
        while self.ledger.is_due() {
            self.settle(0, How::Well);
        }
        assert!(self.disk.transactions.is_empty(), "a transaction is left");
        assert!(self.disk.waiting.is_empty(), "a row is left");
        assert!(self.ledger.entries.is_empty() && self.ledger.keys.is_empty());
        assert!(self.ledger.transactions.is_empty());
        assert!(self.disk.latest >= self.latest);
    }
}

proptest! {
    #[test]
    fn whatever_happens_nothing_is_lost_and_nothing_comes_back(
        ops in prop::collection::vec(op(), 1..120)
    ) {
        let mut world = World::new();
        for op in &ops {
            world.apply(op);
        }
        world.work_off();
    }
}
