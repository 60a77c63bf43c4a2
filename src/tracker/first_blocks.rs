//! The first block of each stack, which is looked after better than those that follow.
//!
//! An error is mostly made by every call from its place, so one block of each place shows it, and the
//! path of all further allocations is as it was. The block that the allocator gave goes back before
//! anybody has seen it; the program gets one between guard pages ([`super::guarded`]), so that reads
//! after its release and accesses far past its end are seen at the instruction. Where there is no place
//! for it, it has a margin in front ([`super::fronts`]).

#![expect(
    unsafe_code,
    reason = "gives a block back that nobody but its caller has seen"
)]

use super::accesses::watch_accesses;
use super::allocate::Allocated;
use super::{Tracker, glibc};
use crate::detect::closed::addresses_are_short;
use crate::detect::guard::{Capacity, GUARDED_BYTE_MAX, Guard};
use crate::ledger::record::flag;
use crate::ledger::{FamilyId, Insertion, NewBlock, StackId};
use crate::memory::Address;
use crate::memory::sync::{AtomicU32, Ordering};

/// So many first blocks are guarded. With 7 to 12 us for each, up to a fifth of a second in a process's life.
const GUARDED_COUNT_MAX: u32 = 16_384;

/// What is known of stacks that have had their first block.
#[derive(Default, Debug)]
pub(super) struct FirstBlocks {
    /// The newest stack of an allocation. Stacks are numbered as they are first met.
    newest: AtomicU32,
    guarded_count: AtomicU32,
    /// Those with a margin in front.
    pub(super) fronted_count: AtomicU32,
}

impl FirstBlocks {
    /// Whether this is the first allocation of its stack.
    #[inline]
    pub(super) fn is_new(&self, allocated: StackId) -> bool {
        allocated.0 > self.newest.load(Ordering::Relaxed)
    }
}

impl Tracker {
    /// Replaces a block that nobody has seen by one that is looked after better, and records that;
    /// `None` when it stays as it is.
    #[cold]
    #[inline(never)]
    pub(super) fn record_first(
        &self,
        block: &Allocated,
        is_zeroed: bool,
        allocated: StackId,
    ) -> Option<(Insertion, Address)> {
        self.first_blocks
            .newest
            .fetch_max(allocated.0, Ordering::Relaxed);
        let is_fit = self.heap_is_glibcs
            && block.flags & (flag::INTERPRETERS_OWN | flag::RUNTIMES_OWN) == 0
            && is_of_one_malloc(block.family);
        if !is_fit {
            return None;
        }
        self.record_guarded(block, allocated)
            .or_else(|| self.record_fronted(block, is_zeroed, allocated))
    }

    /// The same, between guard pages.
    fn record_guarded(
        &self,
        block: &Allocated,
        allocated: StackId,
    ) -> Option<(Insertion, Address)> {
        let guarded_count = self.first_blocks.guarded_count.load(Ordering::Relaxed);
        if block.size.get() > GUARDED_BYTE_MAX || guarded_count >= GUARDED_COUNT_MAX {
            return None;
        }
        let _placing = self.placing();
        if self.guarded.guards_first.load(Ordering::SeqCst) == 0 {
            return None;
        }
        let side = self.guarded.side().at(guarded_count);
        let address = self.take_place(self.first_places()?, block.size.get(), side)?;
        let insertion = self.ledger.insert(&NewBlock {
            address,
            size: block.size,
            family: block.family,
            allocated,
            epoch: block.epoch,
            flags: block.flags & !flag::REDZONE | flag::GUARDED,
        });
        if insertion == Insertion::Dropped {
            // Without a record nobody could tell its release from that of a block of glibc's.
            self.close_moved(address);
            return None;
        }
        // SAFETY: the caller has just got it from glibc, and has given it to nobody.
        unsafe { glibc::release(block.address) };
        self.first_blocks
            .guarded_count
            .fetch_add(1, Ordering::Relaxed);
        Some((insertion, address))
    }

    /// The places for first blocks, which are set aside when the first of them is wanted. Where that
    /// cannot be it is not tried again.
    fn first_places(&self) -> Option<&Guard> {
        if let Some(places) = self.guarded.first.get() {
            return Some(places);
        }
        let new = || Guard::new(Capacity::First).map(Box::new).ok_or(());
        let made = if addresses_are_short() || !watch_accesses() {
            None
        } else {
            self.guarded.first.get_or_try_init(new).ok()
        };
        if made.is_none() {
            self.guarded.guards_first.store(0, Ordering::SeqCst);
        }
        made
    }
}

/// Families whose blocks are what `malloc` gives.
fn is_of_one_malloc(family: FamilyId) -> bool {
    matches!(
        family,
        FamilyId::MALLOC | FamilyId::NEW | FamilyId::NEW_ARRAY | FamilyId::HEAPLEDGER
    )
}
