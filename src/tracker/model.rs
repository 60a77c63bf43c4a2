//! Random calls of our allocation functions, right and wrong, against a map.
//!
//! The blocks are real: they come from glibc, are filled, and must still hold what was written.
//! Under test the quarantine's limits are sixteen blocks and eight thousand bytes.

#![expect(unsafe_code, reason = "writes to and reads the blocks it allocated")]

use super::Tracker;
use super::explicit::Request;
use super::left_behind::Period;
use super::release::{Release, ReleaseVerdict};
use super::snapshot::Mark;
use crate::capture::EventPlace;
use crate::detect::FindingKind;
use crate::detect::quarantine::{BLOCK_COUNT_DEFAULT, BYTE_DEFAULT, WITHHELD_BLOCK_BYTE_MAX};
use crate::ledger::{BlockState, Epoch, FamilyId};
use crate::memory::Address;
use crate::memory::thread_local::{Word, set};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

#[derive(Clone, Debug)]
enum Call {
    Allocate { size: usize, zeroed: bool },
    AllocateTooMuch,
    Free(usize),
    FreeAgain(usize),
    FreeInside(usize, usize),
    FreeByAnother(usize),
    Resize(usize, usize),
    ResizeTooMuch(usize),
    ResizeFreed(usize),
    Mark,
}

fn call() -> impl Strategy<Value = Call> {
    let (which, size) = (0..1_000_usize, 0..700_usize);
    prop_oneof![
        8 => (size.clone(), any::<bool>()).prop_map(|(size, zeroed)| Call::Allocate { size, zeroed }),
        1 => Just(Call::AllocateTooMuch),
        6 => which.clone().prop_map(Call::Free),
        2 => which.clone().prop_map(Call::FreeAgain),
        1 => (which.clone(), 1..300_usize).prop_map(|(which, far)| Call::FreeInside(which, far)),
        1 => which.clone().prop_map(Call::FreeByAnother),
        3 => (which.clone(), size).prop_map(|(which, size)| Call::Resize(which, size)),
        1 => which.clone().prop_map(Call::ResizeTooMuch),
        1 => which.prop_map(Call::ResizeFreed),
        1 => Just(Call::Mark),
    ]
}

struct Block {
    size: usize,
    epoch: Epoch,
    fill: u8,
    is_refused: bool,
}

struct Model {
    tracker: Tracker,
    live: BTreeMap<Address, Block>,
    withheld: VecDeque<(Address, usize)>,
    given_back: BTreeSet<Address>,
    findings: BTreeMap<&'static str, u64>,
    total: (u64, u64),
    peak: (u64, u64),
    mark: Mark,
    next_fill: u8,
}

impl Model {
    fn new() -> Self {
        Self {
            tracker: Tracker::new().expect("address space for a tracker"),
            live: BTreeMap::new(),
            withheld: VecDeque::new(),
            given_back: BTreeSet::new(),
            findings: BTreeMap::new(),
            total: (0, 0),
            peak: (0, 0),
            mark: Mark {
                epoch: Epoch(0),
                finding: 0,
            },
            next_fill: 1,
        }
    }

    fn explicit(&self) -> super::explicit::Explicit<'_> {
        self.tracker.explicit(EventPlace::UNKNOWN)
    }

    fn expect(&mut self, kind: FindingKind) {
        *self.findings.entry(kind.name()).or_default() += 1;
    }

    /// One of the live blocks.
    fn pick(&self, which: usize) -> Option<Address> {
        let count = self.live.len().max(1);
        self.live.keys().nth(which % count).copied()
    }

    /// One of the withheld blocks, whose addresses nobody else can have.
    fn pick_released(&self, which: usize) -> Option<Address> {
        let count = self.withheld.len().max(1);
        self.withheld.get(which % count).map(|&(block, _)| block)
    }

    fn live_totals(&self) -> (u64, u64) {
        let bytes = self.live.values().map(|block| block.size as u64).sum();
        (self.live.len() as u64, bytes)
    }

    /// Notes and fills a block the tracker handed out; its first `kept` bytes hold `fill`.
    fn handed_out(&mut self, address: Address, size: usize, kept: (usize, u8)) {
        assert_holds(address, kept.0, kept.1);
        let fill = self.next_fill;
        self.next_fill = self.next_fill.checked_add(1).unwrap_or(1);
        // SAFETY: the block was just handed out with this many bytes.
        unsafe { pointer(address).write_bytes(fill, size) };
        let epoch = Epoch(self.mark.epoch.0 + 1);
        let block = Block {
            size,
            epoch,
            fill,
            is_refused: false,
        };
        assert!(
            !self
                .withheld
                .iter()
                .any(|&(withheld, _)| withheld == address)
        );
        assert!(
            self.live.insert(address, block).is_none(),
            "nobody else has it"
        );
        self.given_back.remove(&address);
        self.total = (self.total.0 + 1, self.total.1 + size as u64);
        let live = self.live_totals();
        self.peak = (self.peak.0.max(live.0), self.peak.1.max(live.1));
    }

    fn released(&mut self, address: Address) {
        let Some(block) = self.live.remove(&address) else {
            return;
        };
        let state = self.withhold(address, block.size);
        assert_eq!(self.state_of(address), Some(state));
    }

    /// What becomes of a released block, by the limits of the quarantine. Which blocks make room for
    /// it the tracker says: they leave in batches.
    fn withhold(&mut self, address: Address, size: usize) -> BlockState {
        if size as u64 > WITHHELD_BLOCK_BYTE_MAX {
            self.given_back.insert(address);
            return BlockState::Freed;
        }
        self.withheld.push_back((address, size));
        let (kept, left) = std::mem::take(&mut self.withheld)
            .into_iter()
            .partition(|&(block, _)| self.state_of(block) == Some(BlockState::Quarantined));
        self.withheld = kept;
        let left: VecDeque<(Address, usize)> = left;
        self.given_back.extend(left.iter().map(|&(block, _)| block));
        BlockState::Quarantined
    }

    fn withheld_bytes(&self) -> u64 {
        self.withheld.iter().map(|&(_, size)| size as u64).sum()
    }

    fn state_of(&self, address: Address) -> Option<BlockState> {
        let found = self.tracker.ledger().find(address)?;
        found.read().map(|copy| copy.state)
    }

    fn make(&mut self, call: &Call) {
        match *call {
            Call::Allocate { size, zeroed } => {
                let request = Request {
                    size,
                    alignment: 16,
                    zeroed,
                };
                let address = self.explicit().allocate(request).expect("memory");
                self.handed_out(address, size, (if zeroed { size } else { 0 }, 0));
            }
            Call::AllocateTooMuch => {
                assert!(self.explicit().allocate_array(usize::MAX / 2, 3).is_none());
                self.expect(FindingKind::SizeOverflow);
            }
            Call::Free(which) => {
                if let Some(block) = self.pick(which) {
                    self.explicit().release(block);
                    self.released(block);
                }
            }
            Call::FreeAgain(which) => {
                if let Some(block) = self.pick_released(which) {
                    self.explicit().release(block);
                    self.expect(FindingKind::DoubleFree);
                }
            }
            Call::FreeInside(which, distance) => {
                let block = self.pick(which);
                if let Some(block) = block.filter(|block| distance < self.live[block].size) {
                    self.explicit().release(block.offset_by(distance));
                    self.expect(FindingKind::InvalidFree);
                }
            }
            Call::FreeByAnother(which) => self.free_by_another(which),
            Call::Resize(which, size) => self.resize(which, size),
            Call::ResizeTooMuch(which) => {
                // More than the address space holds, less than is called an overflow.
                if let Some(block) = self.pick(which) {
                    assert!(self.explicit().resize(block, 1 << 50).is_none());
                }
            }
            Call::ResizeFreed(which) => {
                if let Some(block) = self.pick_released(which) {
                    assert!(self.explicit().resize(block, 10).is_none());
                    self.expect(FindingKind::ReallocAfterFree);
                }
            }
            Call::Mark => {
                let mark = self.tracker.mark();
                assert_eq!(mark.epoch.0, self.mark.epoch.0 + 1);
                self.mark = mark;
            }
        }
    }

    fn free_by_another(&mut self, which: usize) {
        let Some(pointer) = self.pick(which) else {
            return;
        };
        let release = Release {
            pointer,
            family: FamilyId::NEW,
            may_withhold: true,
        };
        let verdict = self.tracker.note_release(release, EventPlace::UNKNOWN);
        assert_eq!(verdict, ReleaseVerdict::Refused);
        self.expect(FindingKind::MismatchedFree);
        self.live.get_mut(&pointer).expect("live still").is_refused = true;
    }

    fn resize(&mut self, which: usize, size: usize) {
        let Some(block) = self.pick(which) else {
            return;
        };
        let moved = self.explicit().resize(block, size);
        if size == 0 {
            assert!(moved.is_none());
            return self.released(block);
        }
        let old = self.live.remove(&block).expect("live");
        // A block that grows moves, and its old memory is withheld where it is not too large.
        if size > old.size {
            self.withhold(block, old.size);
        } else {
            self.given_back.insert(block);
        }
        let kept = old.size.min(size);
        self.handed_out(moved.expect("memory"), size, (kept, old.fill));
    }

    fn check(&self) {
        for (&address, block) in &self.live {
            assert_eq!(self.state_of(address), Some(BlockState::Live));
            assert_holds(address, block.size, block.fill);
        }
        for &(address, _) in &self.withheld {
            assert_eq!(self.state_of(address), Some(BlockState::Quarantined));
        }
        for &address in &self.given_back {
            assert!(matches!(
                self.state_of(address),
                None | Some(BlockState::Freed)
            ));
        }
        let statistics = self.tracker.statistics();
        let sums = statistics.sums;
        assert_eq!((sums.live_blocks, sums.live_bytes), self.live_totals());
        assert_eq!((sums.total_blocks, sums.total_bytes), self.total);
        assert_eq!((sums.peak_blocks, sums.peak_bytes), self.peak);
        let withheld = statistics.withheld;
        assert_eq!(withheld.block_count, self.withheld.len() as u64);
        assert!(withheld.byte_count >= self.withheld_bytes());
        assert!(withheld.block_count <= BLOCK_COUNT_DEFAULT.into());
        assert!(withheld.byte_count <= BYTE_DEFAULT);
        assert_eq!(statistics.ledger.superseded_record_count, 0);
        for (kind, count) in FindingKind::ALL.into_iter().zip(statistics.findings) {
            let expected = self.findings.get(kind.name()).copied().unwrap_or(0);
            assert_eq!(count, expected, "{}", kind.name());
        }
        for since in [Epoch(0), self.mark.epoch] {
            let is_leak = |block: &&Block| block.epoch > since && !block.is_refused;
            let expected = self.live.values().filter(is_leak).count() as u64;
            assert_eq!(self.tracker.leak_count(Period::since(since)), expected);
            let leaks = self.tracker.leaks(Period::since(since));
            assert_eq!(leaks.iter().map(|leak| leak.blocks).sum::<u64>(), expected);
        }
    }

    /// Releases what is left, so that a case leaves no memory behind.
    fn end(mut self) {
        while let Some(block) = self.pick(0) {
            self.explicit().release(block);
            self.released(block);
        }
        self.check();
        self.tracker.drain_quarantine();
        let withheld = self.tracker.withheld();
        assert_eq!((withheld.block_count, withheld.byte_count), (0, 0));
    }
}

fn pointer(address: Address) -> *mut u8 {
    std::ptr::with_exposed_provenance_mut(address.get())
}

fn assert_holds(block: Address, byte_count: usize, fill: u8) {
    // SAFETY: the callers pass blocks they hold, and at most as many bytes as these have.
    let bytes = unsafe { std::slice::from_raw_parts(pointer(block), byte_count) };
    assert!(
        bytes.iter().all(|&byte| byte == fill),
        "what was written is there"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn the_tracker_agrees_with_a_map(calls in vec(call(), 1..150)) {
        std::thread::scope(|scope| {
            let case = scope.spawn(|| {
                let mut model = Model::new();
                for (number, call) in calls.iter().enumerate() {
                    model.make(call);
                    if number % 8 == 0 {
                        model.check();
                    }
                }
                model.end();
                // The thread's word belongs to this case's ledger, which is gone.
                set(Word::Thread, 0);
            });
            if let Err(panic) = case.join() {
                std::panic::resume_unwind(panic);
            }
        });
    }
}
