//! The lanes against a naive model: whatever happens in whatever order, each lane's entries are
//! handed out in order, one at a time, none twice, none never, and memory stays within its bounds.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What can happen between the journal, the lanes and the workers.
#[derive(Debug, Clone)]
enum Op {
    /// So many entries are appended to a lane; the last of them is perhaps not due yet.
    Append {
        lane: usize,
        many: usize,
        due_in: i64,
    },
    Scan {
        limit: usize,
    },
    Refill,
    /// Reading the lane failed.
    RefillFails,
    Take,
    Finish {
        worker: usize,
    },
    /// The entry failed and is not due for so long; the journal may not have heard of it.
    Fail {
        worker: usize,
        pause: i64,
        written: bool,
    },
    /// What was finished is marked as done: until then the journal takes it for waiting.
    Flush,
    Wait {
        ms: i64,
    },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0..4_usize, 1..200_usize, prop_oneof![4 => Just(0), 1 => 1..20_i64])
            .prop_map(|(lane, many, due_in)| Op::Append { lane, many, due_in }),
        4 => (1..30_usize).prop_map(|limit| Op::Scan { limit }),
        4 => Just(Op::Refill),
        1 => Just(Op::RefillFails),
        8 => Just(Op::Take),
        8 => (0..8_usize).prop_map(|worker| Op::Finish { worker }),
        3 => (0..8_usize, 0..20_i64, any::<bool>())
            .prop_map(|(worker, pause, written)| Op::Fail { worker, pause, written }),
        2 => Just(Op::Flush),
        3 => (0..30_i64).prop_map(|ms| Op::Wait { ms }),
    ]
}

const MOST: usize = 192;

struct World {
    lanes: Lanes,
    /// The journal's waiting entries by id.
    waiting: BTreeMap<i64, Arc<Entry>>,
    /// What each lane has still to hand out, oldest first: the whole of the model.
    expected: BTreeMap<LaneKey, VecDeque<i64>>,
    busy: Vec<Arc<Entry>>,
    finished: Vec<i64>,
    next_id: i64,
    scanned_to: i64,
    now: i64,
}

impl World {
    fn new() -> Self {
        Self {
            lanes: Lanes {
                most: MOST,
                ..Lanes::for_workers(1)
            },
            waiting: BTreeMap::new(),
            expected: BTreeMap::new(),
            busy: Vec::new(),
            finished: Vec::new(),
            next_id: 1,
            scanned_to: 0,
            now: 0,
        }
    }

    fn append(&mut self, lane: usize, due_in: i64) {
        let entry = Arc::new(Entry {
            id: self.next_id,
            reader: String::new(),
            source: "test".into(),
            key: None,
            lane: format!("lane {lane}").into(),
            attempts: 0,
            received_at: 0,
            due_at: if due_in > 0 { self.now + due_in } else { 0 },
            begun: false,
            slot: None,
            payload: Arc::new([1]),
        });
        self.next_id += 1;
        let expected = self.expected.entry(entry.lane.clone()).or_default();
        expected.push_back(entry.id);
        self.waiting.insert(entry.id, entry);
    }

    fn scan(&mut self, limit: usize) {
        if !self.lanes.has_room() {
            return;
        }
        let entries: Vec<_> = self
            .waiting
            .range(self.scanned_to + 1..)
            .take(limit)
            .map(|(_, entry)| entry.clone())
            .collect();
        for entry in entries {
            self.scanned_to = entry.id;
            self.lanes.offer(entry, self.now);
        }
    }

    fn refill(&mut self, fails: bool) {
        self.lanes.release(self.now);
        if !self.lanes.has_room() {
            return;
        }
        let Some((key, after)) = self.lanes.wants_refill() else {
            return;
        };
        if fails {
            self.lanes.put_refill_back(key, after);
            return;
        }
        let page = page(self.waiting.values(), &key, (after, self.scanned_to));
        self.lanes.refill(&key, page, self.now);
    }

    fn take(&mut self) -> bool {
        let Some(entry) = self.lanes.take() else {
            return false;
        };
        assert!(
            self.busy.iter().all(|busy| busy.lane != entry.lane),
            "two workers in one lane"
        );
        assert_eq!(
            self.expected[&entry.lane].front(),
            Some(&entry.id),
            "out of order, twice, or none of ours"
        );
        assert!(entry.due_at <= self.now, "not due yet");
        self.busy.push(entry);
        true
    }

    fn finish(&mut self, worker: usize) {
        if self.busy.is_empty() {
            return;
        }
        let entry = self.busy.swap_remove(worker % self.busy.len());
        if let Some(expected) = self.expected.get_mut(&entry.lane) {
            expected.pop_front();
        }
        self.finished.push(entry.id);
        self.lanes.finished(&entry.lane);
    }

    fn fail(&mut self, worker: usize, pause: i64, written: bool) {
        if self.busy.is_empty() {
            return;
        }
        let entry = self.busy.swap_remove(worker % self.busy.len());
        let due_at = self.now + pause;
        if written && let Some(waiting) = self.waiting.get_mut(&entry.id) {
            Arc::make_mut(waiting).due_at = due_at;
        }
        self.lanes.failed(&entry.lane, entry.id, due_at);
    }

    fn flush(&mut self) {
        for id in self.finished.drain(..) {
            self.waiting.remove(&id);
        }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Append { lane, many, due_in } => {
                for nth in 1..=many {
                    self.append(lane, if nth == many { due_in } else { 0 });
                }
            }
            Op::Scan { limit } => self.scan(limit),
            Op::Refill => self.refill(false),
            Op::RefillFails => self.refill(true),
            Op::Take => {
                self.take();
            }
            Op::Finish { worker } => self.finish(worker),
            Op::Fail {
                worker,
                pause,
                written,
            } => self.fail(worker, pause, written),
            Op::Flush => self.flush(),
            Op::Wait { ms } => {
                self.now += ms;
                self.lanes.release(self.now);
            }
        }
        self.check_bounds();
    }

    fn check_bounds(&self) {
        let queued: usize = self
            .lanes
            .by_key
            .values()
            .map(|lane| lane.queue.len())
            .sum();
        assert_eq!(self.lanes.queued, queued);
        assert_eq!(self.lanes.bytes, queued, "each has one byte");
        // The last read before the lanes were full may have brought one page, or one lane, more.
        assert!(queued < MOST + PER_LANE, "{queued} entries in memory");
        for lane in self.lanes.by_key.values() {
            assert!(lane.queue.len() <= PER_LANE);
        }
        assert!(self.lanes.held.len() <= self.lanes.by_key.len());
        assert!(self.lanes.refills.len() <= self.lanes.by_key.len());
        assert!(self.lanes.ready.len() <= self.lanes.by_key.len());
    }

    /// Works everything off, as a dispatcher does when nothing fails any more.
    fn work_off(&mut self) {
        let mut idle = 0;
        while self.expected.values().any(|lane| !lane.is_empty()) {
            self.scan(30);
            self.refill(false);
            while self.take() {}
            let moved = !self.busy.is_empty();
            while !self.busy.is_empty() {
                self.finish(0);
            }
            self.now += 1;
            self.check_bounds();
            idle = if moved { 0 } else { idle + 1 };
            assert!(idle < 1000, "entries are left that nobody is handed out");
        }
        self.flush();
        // The lanes that were full ask once more.
        while self.lanes.has_refills() {
            self.refill(false);
        }
        assert!(self.lanes.is_empty(), "a lane without work costs memory");
        assert!(self.waiting.is_empty());
    }
}

proptest! {
    #[test]
    fn whatever_happens_each_lane_keeps_its_order_and_loses_nothing(
        ops in prop::collection::vec(op(), 1..150)
    ) {
        let mut world = World::new();
        for op in &ops {
            world.apply(op);
        }
        world.work_off();
    }
}
