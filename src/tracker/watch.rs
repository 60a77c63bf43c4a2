//! The watch: the time in which every release reaches us, from `start` to `stop`.
//!
//! Outside it the slots hold the real functions. A block that was on record is released without a
//! word, glibc hands its address out again, and the record is of a block that is gone. Other threads
//! allocate and release while a watch begins or ends, and there is no moment at which none of them is
//! in the middle of a call. So nobody waits for them; these rules hold instead, whatever they do:
//!
//! 1. **A block belongs to the watch in which its allocation began**, however late it is recorded: its
//!    epoch is read before the allocator is asked. A watch begins with an epoch of its own, when the
//!    last slot has been rewritten. So no path leads past us by which a block of that epoch can be
//!    released: whoever calls a release through what a slot held before has a block from before.
//! 2. **Only what is on record as live in the present watch proves anything** about a pointer that an
//!    intercepted function is given ([`Tracker::vouches_for`]). The question is asked after the record
//!    was read: a yes means that the watch was on when the record was read, and that nobody has
//!    released the block meanwhile but through us. What does not prove anything is *doubtful*.
//! 3. **A doubtful block is let go without a word**: the real function is called, and the ledger
//!    forgets the block. Forgetting is not a release ([`Event::Forget`](crate::ledger::Event)), so that
//!    a thread which was just releasing the block is not told that somebody else did.
//! 4. **Two kinds of block can be released by us alone** and stay certain for good: those of our own
//!    functions (`hl_malloc`), and those between guard pages, for whose sake slots stay rewritten.
//! 5. **Withheld blocks are in our hands**, watch or not: glibc cannot hand out what it has not got. A
//!    second release of one is an error at any time.
//! 6. **Of a block that went back, the record proves nothing**, in a watch as outside: the memory may
//!    have been given out unseen. Only what glibc wrote around it tells (`intercept::chunk`).
//! 7. **Adopted memory** belongs to whoever adopted it, and stays known from one watch to the next. An
//!    intercepted release of it that is doubtful is believed, whatever its family.
//!
//! `tests/python/test_attaching.py`, `tests/soak` and the loom model
//! `loom_a_release_during_a_new_start_is_nobodys_error` attack this.

use super::Tracker;
use crate::capture::EventPlace;
use crate::ledger::record::flag;
use crate::ledger::{BlockRecord, BlockState, Epoch, Event, FamilyId, Found};
use crate::memory::Address;
use crate::memory::reentry::OurOwnWork;
use std::sync::atomic::{AtomicU32, Ordering};

/// No block is so new.
const NEVER: u32 = u32::MAX;

/// Since when the records of live blocks are certain.
#[derive(Debug)]
pub(super) struct Watch {
    /// The oldest epoch whose blocks are certain; [`NEVER`] while no watch is on.
    certain_from: AtomicU32,
    /// The first epoch of the present watch, or of the last one.
    began: AtomicU32,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            certain_from: AtomicU32::new(NEVER),
            began: AtomicU32::new(0),
        }
    }
}

impl Watch {
    #[inline]
    fn is_certain(&self, epoch: Epoch) -> bool {
        epoch.0 >= self.certain_from.load(Ordering::Acquire)
    }
}

impl Tracker {
    /// Begins a watch, when every slot leads to us: what was live before may have gone unseen.
    pub fn begin_watch(&self) {
        let _ours = OurOwnWork::begin();
        let Epoch(last) = self.ledger.mark();
        self.watch.began.store(last + 1, Ordering::Release);
        self.watch.certain_from.store(last + 1, Ordering::Release);
        // Blocks of earlier watches that are recorded only now stay on record, and doubtful.
        self.ledger
            .forget_live(|found| !self.vouches_for(found) && !is_adopted(found.flags()));
    }

    /// Ends a watch, before the first slot is restored. What is known of live blocks is kept, to be
    /// asked for and reported, and proves nothing any more.
    pub fn end_watch(&self) {
        self.watch.certain_from.store(NEVER, Ordering::Release);
        self.end_guarding();
    }

    /// Some slots did not lead to us for a while: what was recorded until now is doubtful. It is
    /// still reported when it is not released, for hardly any of it was released unseen.
    pub fn doubt_what_is_live(&self) {
        let Epoch(last) = self.ledger.mark();
        let is_on = |since| (since != NEVER).then_some(last + 1);
        // An error means that no watch is on.
        let _ = self
            .watch
            .certain_from
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, is_on);
    }

    /// Whether the record of a live block is certainly of the block that starts there now, for a
    /// function that was given its address.
    #[inline]
    #[must_use]
    pub fn vouches_for(&self, found: &Found<'_>) -> bool {
        self.watch.is_certain(found.epoch()) || is_ours_to_release(found.flags(), found.extent().1)
    }

    /// The same for a copy of a record, made before the question. What is withheld is certain.
    pub(super) fn vouches_for_copy(&self, record: &BlockRecord) -> bool {
        record.state == BlockState::Quarantined
            || self.watch.is_certain(record.epoch)
            || is_ours_to_release(record.flags, record.family)
    }

    /// Lets a doubtful block go that somebody releases or resizes.
    #[cold]
    pub fn let_go(&self, found: &Found<'_>, place: EventPlace) {
        if is_adopted(found.flags()) {
            let here = self.capture.here(place);
            // An error means that somebody else has just released it, which proves nothing.
            let _ = self.ledger.release(found, Event::GiveBack, here);
        } else {
            self.ledger.forget(found);
        }
    }

    /// Whether a live block may be called a leak: not one of an earlier watch that was recorded late.
    pub(super) fn may_be_leak(&self, record: &BlockRecord) -> bool {
        record.epoch.0 >= self.watch.began.load(Ordering::Acquire)
            || is_adopted(record.flags)
            || is_ours_to_release(record.flags, record.family)
    }

    /// The block that `pointer` lies in, if the record of it is certain.
    #[must_use]
    pub fn certain_block_around(&self, pointer: Address) -> Option<BlockRecord> {
        let around = self.ledger.containing(pointer)?;
        self.vouches_for_copy(&around).then_some(around)
    }

    /// The live block that starts at `pointer`, if the record of it is certain.
    #[must_use]
    pub fn certain_live_block(&self, pointer: Address) -> Option<BlockRecord> {
        let record = self.ledger.find(pointer)?.read()?;
        (record.state == BlockState::Live && self.vouches_for_copy(&record)).then_some(record)
    }

    /// Whether the program holds blocks between guard pages, which only we can release, or is getting one
    /// at this moment. Asked when the watch has ended.
    #[must_use]
    pub fn has_guarded_blocks(&self) -> bool {
        if self.is_placing() {
            return true;
        }
        let mut live = self.ledger.live_blocks();
        live.any(|record| record.flags & flag::GUARDED != 0)
    }
}

/// Whether no function but ours can release a block.
#[inline]
fn is_ours_to_release(flags: u32, family: FamilyId) -> bool {
    family == FamilyId::HEAPLEDGER || flags & flag::GUARDED != 0
}

#[inline]
fn is_adopted(flags: u32) -> bool {
    flags & flag::ADOPTED != 0
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::super::allocate::Allocated;
    use super::super::left_behind::Period;
    use super::super::release::{Release, ReleaseVerdict};
    use super::super::resize::{ResizeVerdict, Resizing};
    use super::*;
    use crate::ledger::Insertion;
    use crate::memory::ByteCount;

    const BLOCK: Address = Address::new(0x7f00_0000_2000);

    fn allocated(tracker: &Tracker, family: FamilyId, flags: u32) -> Allocated {
        Allocated {
            address: BLOCK,
            size: ByteCount::new(48),
            family,
            epoch: tracker.ledger.epoch(),
            flags,
        }
    }

    fn record(tracker: &Tracker, block: Allocated) {
        let insertion = tracker.note_allocation(block, &EventPlace::UNKNOWN);
        assert_eq!(insertion, Insertion::Recorded);
    }

    fn found(tracker: &Tracker) -> Found<'_> {
        tracker.ledger.find(BLOCK).expect("a record")
    }

    fn release_by(tracker: &Tracker, found: &Found<'_>, family: FamilyId) -> ReleaseVerdict {
        let release = Release {
            pointer: BLOCK,
            family,
            may_withhold: false,
        };
        tracker.note_release_of(found, release, EventPlace::UNKNOWN)
    }

    fn finding_count(tracker: &Tracker) -> u64 {
        tracker.findings.counts().iter().sum()
    }

    #[test]
    fn a_block_is_certain_in_its_own_watch_alone() {
        let tracker = Tracker::beside_the_process();
        record(&tracker, allocated(&tracker, FamilyId::MALLOC, 0));
        assert!(!tracker.vouches_for(&found(&tracker)), "no watch is on");
        tracker.begin_watch();
        assert!(tracker.ledger.find(BLOCK).is_none(), "forgotten");
        record(&tracker, allocated(&tracker, FamilyId::MALLOC, 0));
        assert!(tracker.vouches_for(&found(&tracker)));
        assert_eq!(tracker.requested_size(BLOCK), Some(ByteCount::new(48)));
        tracker.end_watch();
        assert!(!tracker.vouches_for(&found(&tracker)));
        assert_eq!(tracker.requested_size(BLOCK), None);
        assert!(tracker.block_at(BLOCK).is_some(), "it may be asked for");
        assert_eq!(tracker.leak_count(Period::ALWAYS), 1, "and reported");
    }

    #[test]
    fn a_block_that_is_recorded_late_belongs_to_the_watch_before() {
        let tracker = Tracker::beside_the_process();
        tracker.begin_watch();
        let under_way = allocated(&tracker, FamilyId::MALLOC, 0);
        tracker.end_watch();
        tracker.begin_watch();
        record(&tracker, under_way);
        let late = found(&tracker);
        assert!(!tracker.vouches_for(&late));
        assert_eq!(tracker.leak_count(Period::ALWAYS), 0, "nor is it a leak");
        tracker.let_go(&late, EventPlace::UNKNOWN);
        assert!(tracker.ledger.find(BLOCK).is_none());
        assert_eq!(tracker.ledger.sums().live_blocks, 0);
        assert_eq!(finding_count(&tracker), 0);
    }

    #[test]
    fn a_release_or_resize_under_way_while_a_watch_begins_is_carried_out() {
        let tracker = Tracker::beside_the_process();
        for used in [FamilyId::MALLOC, FamilyId::NEW] {
            tracker.begin_watch();
            record(&tracker, allocated(&tracker, FamilyId::MALLOC, 0));
            let seen = found(&tracker);
            tracker.begin_watch();
            assert_eq!(release_by(&tracker, &seen, used), ReleaseVerdict::Unknown);
            let resizing = Resizing {
                family: used,
                size: 100,
                epoch: tracker.ledger.epoch(),
                may_withhold: true,
            };
            let resize = tracker.begin_resize(BLOCK, resizing, EventPlace::UNKNOWN);
            assert!(matches!(resize, ResizeVerdict::Unknown));
        }
        assert_eq!(finding_count(&tracker), 0);
    }

    #[test]
    fn what_only_we_release_is_certain_for_good_and_adopted_memory_stays_known() {
        let tracker = Tracker::beside_the_process();
        record(&tracker, allocated(&tracker, FamilyId::HEAPLEDGER, 0));
        tracker.begin_watch();
        tracker.end_watch();
        assert!(tracker.vouches_for(&found(&tracker)));
        let adopted = allocated(&tracker, FamilyId::MALLOC, flag::ADOPTED);
        record(&tracker, adopted);
        tracker.begin_watch();
        assert!(!tracker.vouches_for(&found(&tracker)));
        tracker.let_go(&found(&tracker), EventPlace::UNKNOWN);
        let record = found(&tracker).read().expect("a record");
        assert_eq!(record.state, BlockState::Freed);
    }

    #[test]
    fn doubt_takes_the_proof_and_leaves_the_leak() {
        let tracker = Tracker::beside_the_process();
        tracker.doubt_what_is_live();
        tracker.begin_watch();
        record(&tracker, allocated(&tracker, FamilyId::NEW, 0));
        tracker.doubt_what_is_live();
        assert!(!tracker.vouches_for(&found(&tracker)));
        assert_eq!(tracker.leak_count(Period::ALWAYS), 1);
        record(&tracker, allocated(&tracker, FamilyId::NEW, 0));
        assert!(tracker.vouches_for(&found(&tracker)));
    }
}
