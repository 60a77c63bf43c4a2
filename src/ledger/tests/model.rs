//! Random sequences of events against a map, which says after each step what the ledger must say.
//!
//! Each case runs on a thread of its own, so that it has a corner of its own in its ledger.

use super::super::record::flag;
use super::super::vacancy::FREED_RECORD_COUNT_MAX;
use super::super::{
    BlockRecord, BlockState, Epoch, Event, Insertion, Ledger, NewBlock, StackId, Sums, Ticket,
};
use super::{block, find};
use crate::memory::Address;
use crate::memory::page_map::GRANULE;
use crate::memory::thread_local::{Word, set};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

const START: usize = 0x7f00_0000_0000;
/// Addresses a case uses: more than the records that are kept for freed blocks.
const PLACE_COUNT: usize = 48;
const _: () = assert!(PLACE_COUNT as u64 > 2 * FREED_RECORD_COUNT_MAX);
/// Two places are two granules apart: no two blocks meet.
const SPACING: usize = 2 * GRANULE;

#[derive(Clone, Debug)]
enum Step {
    Insert(usize, usize),
    Withhold(usize),
    GiveBack(usize),
    Evict,
    FailingResize(usize),
    Move(usize, usize, usize),
    Mark,
}

fn step() -> impl Strategy<Value = Step> {
    let (place, size) = (0..PLACE_COUNT, 0..SPACING);
    prop_oneof![
        6 => (place.clone(), size.clone()).prop_map(|(place, size)| Step::Insert(place, size)),
        3 => place.clone().prop_map(Step::Withhold),
        3 => place.clone().prop_map(Step::GiveBack),
        2 => Just(Step::Evict),
        1 => place.clone().prop_map(Step::FailingResize),
        2 => (place.clone(), place, size).prop_map(|(from, to, size)| Step::Move(from, to, size)),
        1 => Just(Step::Mark),
    ]
}

/// What the map knows of the newest block of a place.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Known {
    state: BlockState,
    size: usize,
    allocated: StackId,
    released: StackId,
    epoch: Epoch,
}

impl From<BlockRecord> for Known {
    fn from(copy: BlockRecord) -> Self {
        Self {
            state: copy.state,
            size: copy.size.get(),
            allocated: copy.allocated,
            released: copy.released,
            epoch: copy.epoch,
        }
    }
}

struct Model {
    ledger: Ledger,
    known: BTreeMap<usize, Known>,
    withheld: VecDeque<(usize, Ticket)>,
    sums: Sums,
    epoch: Epoch,
    superseded: u64,
    stack: u32,
}

fn address(place: usize) -> usize {
    START + place * SPACING
}

impl Model {
    fn new() -> Self {
        Self {
            ledger: Ledger::new().expect("address space for a ledger"),
            known: BTreeMap::new(),
            withheld: VecDeque::new(),
            sums: Sums::default(),
            epoch: Epoch(1),
            superseded: 0,
            stack: 0,
        }
    }

    /// A stack that no other event of the case has.
    fn next_stack(&mut self) -> StackId {
        self.stack += 1;
        StackId(self.stack)
    }

    fn state(&self, place: usize) -> Option<BlockState> {
        self.known.get(&place).map(|known| known.state)
    }

    fn insert(&mut self, place: usize, size: usize) {
        let allocated = self.next_stack();
        let new = NewBlock {
            allocated,
            epoch: self.ledger.epoch(),
            ..block(address(place), size)
        };
        assert_eq!(self.ledger.insert(&new), Insertion::Recorded);
        let before = self.state(place);
        if before == Some(BlockState::Live) {
            self.count_release(place);
        }
        self.superseded += u64::from(before.is_some_and(|state| state != BlockState::Freed));
        self.withheld.retain(|(withheld, _)| *withheld != place);
        let known = Known {
            state: BlockState::Live,
            size,
            allocated,
            released: StackId::UNKNOWN,
            epoch: self.epoch,
        };
        self.known.insert(place, known);
        self.sums.total_blocks += 1;
        self.sums.total_bytes += size as u64;
        self.sums.live_blocks += 1;
        self.sums.live_bytes += size as u64;
        self.sums.peak_blocks = self.sums.peak_blocks.max(self.sums.live_blocks);
        self.sums.peak_bytes = self.sums.peak_bytes.max(self.sums.live_bytes);
    }

    fn count_release(&mut self, place: usize) {
        self.sums.live_blocks -= 1;
        self.sums.live_bytes -= self.known[&place].size as u64;
    }

    /// Releases the block of a place, if it is live; otherwise the ledger must refuse.
    fn release(&mut self, place: usize, event: Event) -> Option<Ticket> {
        let stack = self.next_stack();
        let is_live = self.state(place) == Some(BlockState::Live);
        let found = find(&self.ledger, address(place));
        let released = found.map(|found| self.ledger.release(&found, event, stack));
        let ticket = released.and_then(Result::ok);
        assert_eq!(ticket.is_some(), is_live, "one release for one allocation");
        if is_live {
            self.count_release(place);
            let known = self.known.get_mut(&place)?;
            known.released = stack;
            known.state = match event {
                Event::Withhold => BlockState::Quarantined,
                _ => BlockState::Freed,
            };
        }
        ticket
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Insert(place, size) => self.insert(place, size),
            Step::Withhold(place) => {
                let ticket = self.release(place, Event::Withhold);
                self.withheld.extend(ticket.map(|ticket| (place, ticket)));
            }
            Step::GiveBack(place) => {
                self.release(place, Event::GiveBack);
            }
            Step::Evict => {
                if let Some((place, ticket)) = self.withheld.pop_front() {
                    let evicted = self.ledger.evict(ticket);
                    assert_eq!(evicted, Some(Address::new(address(place))));
                    assert_eq!(self.ledger.evict(ticket), None, "once");
                    self.known.get_mut(&place).expect("withheld").state = BlockState::Freed;
                }
            }
            Step::FailingResize(place) => {
                let (before, sums) = (self.known.get(&place).copied(), self.sums);
                if let Some(ticket) = self.release(place, Event::GiveBack) {
                    assert!(self.ledger.restore(ticket));
                    assert!(!self.ledger.restore(ticket), "once");
                    self.known.extend(before.map(|known| (place, known)));
                    self.sums = sums;
                }
            }
            Step::Move(from, to, size) => {
                if self.release(from, Event::GiveBack).is_some() {
                    self.insert(to, size);
                }
            }
            Step::Mark => {
                assert_eq!(self.ledger.mark(), self.epoch);
                self.epoch.0 += 1;
            }
        }
    }

    /// Everything that the ledger says.
    fn check(&self) {
        assert_eq!(self.ledger.sums(), self.sums);
        let counters = self.ledger.counters();
        assert_eq!(counters.superseded_record_count, self.superseded);
        assert_eq!(counters.dropped_record_count, 0);
        for (&place, known) in &self.known {
            let found = find(&self.ledger, address(place)).and_then(|found| found.read());
            let found = found.map(Known::from);
            // What is known of a freed block may be forgotten for another.
            if found.is_some() || known.state != BlockState::Freed {
                assert_eq!(found.as_ref(), Some(known), "place {place}");
            }
        }
        let live = |epoch: Epoch| {
            self.ledger
                .live_blocks()
                .filter(move |copy| copy.epoch > epoch)
        };
        for epoch in [Epoch(0), Epoch(self.epoch.0 - 1)] {
            let known = self.known.values().filter(|known| known.epoch > epoch);
            let expected = known
                .filter(|known| known.state == BlockState::Live)
                .count();
            assert_eq!(live(epoch).count(), expected);
        }
    }
}

/// Runs a case on a thread that has no corner yet. What fails in it, fails the case.
fn on_a_new_thread(case: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            case();
            // The thread's word belongs to this case's ledger, which is gone.
            set(Word::Thread, 0);
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_ledger_agrees_with_a_map(steps in vec(step(), 1..400)) {
        on_a_new_thread(|| {
            let mut model = Model::new();
            for (number, step) in steps.iter().enumerate() {
                model.take(step);
                if number % 16 == 0 {
                    model.check();
                }
            }
            model.check();
        });
    }

    /// Blocks that lie in one another, as unseen releases leave them: a block that an allocator hands
    /// out ends whatever it covers in its granule, adopted memory only what starts where it does.
    #[test]
    fn no_two_live_blocks_share_what_an_allocator_handed_out(
        steps in vec((0..8_usize, 1..40_usize, any::<bool>(), any::<bool>()), 1..60)
    ) {
        on_a_new_thread(|| {
            let ledger = Ledger::new().expect("address space for a ledger");
            let mut live = BTreeMap::<usize, usize>::new();
            for (place, size, is_adopted, is_release) in steps {
                let start = START + place * 8;
                if is_release {
                    release_one(&ledger, &mut live, start);
                } else {
                    let flags = if is_adopted { flag::ADOPTED } else { 0 };
                    let new = NewBlock { flags, ..block(start, size) };
                    assert_eq!(ledger.insert(&new), Insertion::Recorded);
                    live.retain(|&other, &mut other_size| {
                        let is_beside = other / GRANULE != start / GRANULE;
                        let is_apart = other + other_size <= start || start + size <= other;
                        other != start && (is_beside || is_apart || is_adopted)
                    });
                    live.insert(start, size);
                }
                check_live(&ledger, &live);
            }
        });
    }
}

fn release_one(ledger: &Ledger, live: &mut BTreeMap<usize, usize>, start: usize) {
    let found = find(ledger, start);
    let released = found.and_then(|found| ledger.release(&found, Event::GiveBack, StackId(1)).ok());
    assert_eq!(released.is_some(), live.remove(&start).is_some());
}

fn check_live(ledger: &Ledger, live: &BTreeMap<usize, usize>) {
    let mut seen: Vec<_> = ledger
        .live_blocks()
        .map(|copy| (copy.address.get(), copy.size.get()))
        .collect();
    seen.sort_unstable();
    let expected: Vec<_> = live.iter().map(|(&start, &size)| (start, size)).collect();
    assert_eq!(seen, expected);
    assert_eq!(ledger.sums().live_blocks, live.len() as u64);
    for (start, size) in expected {
        let inside = ledger.containing(Address::new(start + size - 1));
        assert!(inside.is_some_and(|copy| copy.state == BlockState::Live));
    }
}
