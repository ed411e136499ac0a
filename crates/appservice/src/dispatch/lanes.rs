//! Which entry is next: the lanes in memory, without any I/O.
//!
//! Memory is bounded whatever waits on disk. A lane holds at most [`PER_LANE`] entries; what it has
//! no room for is left in the journal and read again, by lane, when the lane has drained. A lane
//! that is held after a failure holds nothing but the time at which it goes on.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use crate::journal::{Entry, Page};

pub(crate) type LaneKey = Arc<str>;

/// Entries of one lane in memory at most.
pub(crate) const PER_LANE: usize = 128;
/// The same, for who reads them.
pub(crate) const PER_LANE_READ: u32 = 128;
/// Entries of all lanes in memory; with this many or more, the journal isn't read. Grows with the
/// number of workers, so that lanes that are full can't keep the others from finding work.
pub(crate) const IN_ALL: usize = 4096;
/// Bytes of payload of all lanes in memory, likewise.
const MOST_BYTES: usize = 16 * 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Has entries and waits for a worker.
    Ready,
    /// A worker has its oldest entry.
    Busy,
    /// Its oldest entry failed and is not tried before the time in `Lanes::held`.
    Held,
    /// Has to be read from the journal before it can go on.
    Empty,
}

#[derive(Debug)]
struct Lane {
    phase: Phase,
    queue: VecDeque<Arc<Entry>>,
    /// Entries above this id are in the journal and not in `queue`.
    left_behind: Option<i64>,
    /// Nobody has begun with what follows in an earlier process.
    is_new: bool,
}

/// All lanes that have something to do.
#[derive(Debug)]
pub(crate) struct Lanes {
    most: usize,
    by_key: HashMap<LaneKey, Lane>,
    ready: VecDeque<LaneKey>,
    /// Lanes to be read from the journal, and above which id.
    refills: VecDeque<(LaneKey, i64)>,
    /// Held lanes by the time at which they go on.
    held: BTreeSet<(i64, LaneKey)>,
    queued: usize,
    bytes: usize,
}

impl Lanes {
    /// Lanes for so many workers.
    pub(crate) fn for_workers(workers: usize) -> Self {
        Self {
            most: IN_ALL.max(workers.saturating_mul(PER_LANE)),
            by_key: HashMap::new(),
            ready: VecDeque::new(),
            refills: VecDeque::new(),
            held: BTreeSet::new(),
            queued: 0,
            bytes: 0,
        }
    }

    /// Whether the journal may be read for more.
    pub(crate) fn has_room(&self) -> bool {
        self.room() > 0
    }

    /// For how many entries there is room.
    pub(crate) fn room(&self) -> usize {
        if self.bytes < MOST_BYTES {
            self.most.saturating_sub(self.queued)
        } else {
            0
        }
    }

    /// Takes in an entry that the scan has met, in the order of ids.
    pub(crate) fn offer(&mut self, entry: Arc<Entry>, now: i64) {
        let key = entry.lane.clone();
        let lane = self.by_key.entry(key.clone()).or_insert_with(|| Lane {
            phase: Phase::Empty,
            queue: VecDeque::new(),
            left_behind: None,
            is_new: false,
        });
        if lane.left_behind.is_some() {
            return;
        }
        if entry.due_at > now || lane.queue.len() >= PER_LANE {
            lane.left_behind = Some(entry.id - 1);
            if lane.phase == Phase::Empty {
                lane.phase = Phase::Held;
                self.held.insert((entry.due_at, key));
            }
            return;
        }
        if entry.slot.is_some() {
            // What is newer has taken its place in the journal, too.
            lane.queue.retain(|older| {
                let stays = older.slot != entry.slot;
                if !stays {
                    self.queued -= 1;
                    self.bytes -= older.payload.len();
                }
                stays
            });
        }
        self.queued += 1;
        self.bytes += entry.payload.len();
        lane.queue.push_back(entry);
        if lane.phase == Phase::Empty {
            lane.phase = Phase::Ready;
            self.ready.push_back(key);
        }
    }

    /// The oldest entry of a lane that nobody works on.
    pub(crate) fn take(&mut self) -> Option<Arc<Entry>> {
        loop {
            let key = self.ready.pop_front()?;
            let Some(lane) = self.by_key.get_mut(&key) else {
                continue;
            };
            if let Some(entry) = lane.queue.pop_front() {
                self.queued -= 1;
                self.bytes -= entry.payload.len();
                lane.phase = Phase::Busy;
                return Some(entry);
            }
        }
    }

    /// The lane's entry is done with; the next may be taken.
    pub(crate) fn finished(&mut self, key: &LaneKey) {
        let Some(lane) = self.by_key.get_mut(key) else {
            return;
        };
        if !lane.queue.is_empty() {
            lane.phase = Phase::Ready;
            self.ready.push_back(key.clone());
        } else if let Some(after) = lane.left_behind {
            lane.phase = Phase::Empty;
            self.refills.push_back((key.clone(), after));
        } else {
            // A lane without work costs nothing.
            self.by_key.remove(key);
        }
    }

    /// The lane's entry, which a worker has, was not brought to its end in an earlier process; so what follows was not
    /// begun with. Known as long as the lane has something to do.
    pub(crate) fn is_new_from_here(&mut self, key: &LaneKey) {
        if let Some(lane) = self.by_key.get_mut(key) {
            lane.is_new = true;
        }
    }

    /// Whether nobody has begun with what follows in this lane in an earlier process, as far as is known.
    pub(crate) fn is_new(&self, key: &LaneKey) -> bool {
        self.by_key.get(key).is_some_and(|lane| lane.is_new)
    }

    /// The lane's entry `id` failed: the lane is held, with this entry as its first, until `due_at`.
    pub(crate) fn failed(&mut self, key: &LaneKey, id: i64, due_at: i64) {
        if let Some(lane) = self.by_key.get_mut(key) {
            for entry in lane.queue.drain(..) {
                self.queued -= 1;
                self.bytes -= entry.payload.len();
            }
            lane.left_behind = Some(id - 1);
            lane.phase = Phase::Held;
            self.held.insert((due_at, key.clone()));
        }
    }

    /// Lets held lanes go on whose time has come; they have to be refilled.
    pub(crate) fn release(&mut self, now: i64) {
        while let Some((due_at, key)) = self.held.pop_first() {
            if due_at > now {
                self.held.insert((due_at, key));
                return;
            }
            if let Some(lane) = self.by_key.get_mut(&key)
                && let Some(after) = lane.left_behind
            {
                lane.phase = Phase::Empty;
                self.refills.push_back((key, after));
            }
        }
    }

    /// When the next held lane goes on (Unix, ms).
    pub(crate) fn next_release(&self) -> Option<i64> {
        self.held.first().map(|(due_at, _)| *due_at)
    }

    /// Whether a lane has to be read from the journal.
    pub(crate) fn has_refills(&self) -> bool {
        !self.refills.is_empty()
    }

    /// A lane that has to be read from the journal, above the id given.
    pub(crate) fn wants_refill(&mut self) -> Option<(LaneKey, i64)> {
        self.refills.pop_front()
    }

    /// A refill could not be read: ask for it again later.
    pub(crate) fn put_refill_back(&mut self, key: LaneKey, after: i64) {
        self.refills.push_back((key, after));
    }

    /// Hands a lane what was read for it.
    pub(crate) fn refill(&mut self, key: &LaneKey, page: Page, now: i64) {
        let Some(lane) = self.by_key.get_mut(key) else {
            return;
        };
        lane.left_behind = None;
        for entry in page.entries {
            self.offer(entry, now);
        }
        let Some(lane) = self.by_key.get_mut(key) else {
            return;
        };
        if page.more && lane.left_behind.is_none() {
            lane.left_behind = Some(page.up_to);
        }
        if lane.phase == Phase::Empty {
            // Nothing that waits was on the page.
            match lane.left_behind {
                Some(after) => self.refills.push_back((key.clone(), after)),
                None => {
                    self.by_key.remove(key);
                }
            }
        }
    }

    /// Entries in memory.
    #[cfg(test)]
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    /// Whether nothing is in memory: no entry, no held lane, no worker.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.by_key.is_empty() && self.queued == 0
    }
}

#[cfg(test)]
mod model;

/// What a journal with these entries says when a lane is read.
#[cfg(test)]
fn page<'a>(
    journal: impl Iterator<Item = &'a Arc<Entry>>,
    lane: &LaneKey,
    range: (i64, i64),
) -> Page {
    let entries: Vec<_> = journal
        .filter(|entry| entry.lane == *lane && entry.id > range.0 && entry.id <= range.1)
        .take(PER_LANE)
        .cloned()
        .collect();
    let last = entries.last().filter(|_| entries.len() >= PER_LANE);
    let up_to = last.map_or(range.1, |last| last.id);
    Page {
        entries,
        up_to,
        more: up_to < range.1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: i64, lane: &str) -> Arc<Entry> {
        Arc::new(Entry {
            id,
            reader: String::new(),
            source: "test".into(),
            key: None,
            lane: lane.into(),
            attempts: 0,
            received_at: 0,
            due_at: 0,
            begun: false,
            slot: None,
            payload: Arc::new([]),
        })
    }

    /// A journal in miniature: scan, refill, take, finish.
    fn refill_all(lanes: &mut Lanes, journal: &[Arc<Entry>]) {
        while let Some((key, after)) = lanes.wants_refill() {
            let page = page(journal.iter(), &key, (after, i64::MAX));
            lanes.refill(&key, page, 0);
        }
    }

    #[test]
    fn one_lane_is_worked_one_at_a_time_and_two_side_by_side() {
        let mut lanes = Lanes::for_workers(1);
        for (id, lane) in [(1, "a"), (2, "a"), (3, "b")] {
            lanes.offer(entry(id, lane), 0);
        }
        let first = lanes.take().unwrap();
        let second = lanes.take().unwrap();
        assert_eq!((first.id, second.id), (1, 3));
        assert!(lanes.take().is_none(), "lane a is busy");
        lanes.finished(&first.lane);
        assert_eq!(lanes.take().unwrap().id, 2);
        lanes.finished(&second.lane);
        lanes.finished(&first.lane);
        assert!(lanes.is_empty());
    }

    #[test]
    fn a_lane_with_more_than_it_can_hold_keeps_its_order_and_its_bound() {
        let journal: Vec<_> = (1..=500).map(|id| entry(id, "a")).collect();
        let mut lanes = Lanes::for_workers(1);
        for entry in &journal {
            lanes.offer(entry.clone(), 0);
            assert!(lanes.queued <= PER_LANE);
        }
        let mut seen = Vec::new();
        while let Some(entry) = lanes.take() {
            seen.push(entry.id);
            lanes.finished(&entry.lane);
            refill_all(&mut lanes, &journal);
        }
        assert_eq!(seen, (1..=500).collect::<Vec<_>>());
        assert!(lanes.is_empty());
    }

    #[test]
    fn a_failed_entry_holds_its_own_lane_only_and_comes_first_again() {
        let journal: Vec<_> = [(1, "a"), (2, "a"), (3, "b"), (4, "a")]
            .map(|(id, lane)| entry(id, lane))
            .to_vec();
        let mut lanes = Lanes::for_workers(1);
        for entry in &journal[..3] {
            lanes.offer(entry.clone(), 0);
        }
        let failing = lanes.take().unwrap();
        lanes.failed(&failing.lane, failing.id, 100);
        assert_eq!(lanes.next_release(), Some(100));
        assert_eq!(lanes.take().unwrap().id, 3);
        // An entry that comes while the lane is held waits behind the failed one.
        lanes.offer(journal[3].clone(), 0);
        lanes.release(99);
        refill_all(&mut lanes, &journal);
        assert!(lanes.take().is_none());
        lanes.release(100);
        refill_all(&mut lanes, &journal);
        let mut seen = Vec::new();
        while let Some(entry) = lanes.take() {
            seen.push(entry.id);
            lanes.finished(&entry.lane);
        }
        assert_eq!(seen, [1, 2, 4]);
    }

    #[test]
    fn an_entry_that_is_not_due_holds_its_lane_after_a_restart_too() {
        let mut lanes = Lanes::for_workers(1);
        let mut late = entry(1, "a");
        Arc::make_mut(&mut late).due_at = 50;
        lanes.offer(late, 10);
        lanes.offer(entry(2, "a"), 10);
        assert!(lanes.take().is_none());
        assert_eq!(lanes.next_release(), Some(50));
    }
}
