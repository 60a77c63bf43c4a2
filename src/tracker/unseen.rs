//! Releases and resizes of guarded first blocks that lead past us.
//!
//! glibc has been given such a block by a pointer to its function that the program kept from before its slots
//! were rewritten, and has met the closed page that tells ([`crate::detect::disguise`]). It goes on with a
//! block of its own that has the same content, and ours is released at this place.

#![expect(unsafe_code, reason = "copies a block that glibc was given")]

use super::accesses::place_of;
use super::{Tracker, glibc};
use crate::detect::disguise::{self, Substitute};
use crate::detect::fault::Fault;
use crate::detect::guard::Guard;
use crate::detect::size_word;
use crate::ledger::Event;
use crate::memory::Address;
use crate::memory::reentry::OurOwnWork;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where the address of glibc's main arena is written, for glibc to read.
static MAIN_ARENA: AtomicUsize = AtomicUsize::new(0);

impl Tracker {
    /// Puts a block of glibc's in the place of the one it was given; `false` when that is not possible.
    ///
    /// In the signal handler: glibc has done nothing yet and holds no lock, so it may be asked for memory.
    pub(super) fn substitute(&self, guard: &Guard, fault: Fault, registers: &mut [i64]) -> bool {
        let Some(_ours) = OurOwnWork::begin() else {
            return false;
        };
        let is_live = |block| guard.is_live(Address::new(block));
        let given = disguise::given(registers, is_live).map(Address::new);
        let found = given.and_then(|given| self.ledger.find(given));
        let record = found.and_then(|found| found.read());
        let (Some(given), Some(found), Some(record)) = (given, found, record) else {
            return false;
        };
        let Some(block) = glibc::allocate(disguise::SUBSTITUTE_BYTE_COUNT) else {
            return false;
        };
        MAIN_ARENA.store(self.top.main_arena(), Ordering::Relaxed);
        let is_known = MAIN_ARENA.load(Ordering::Relaxed) != 0;
        let substitute = Substitute {
            block: block.get(),
            // SAFETY: from glibc, and nobody has it.
            word: unsafe { size_word::read(block) },
            main_arena_note: if is_known {
                MAIN_ARENA.as_ptr().addr()
            } else {
                0
            },
        };
        let is_replaced = substitute.is_alike()
            && substitute.replace(registers, given.get(), fault.address.get());
        if !is_replaced {
            // SAFETY: as above.
            unsafe { glibc::release(block) };
            return false;
        }
        // SAFETY: the block is live, and the other is larger and nobody else's.
        unsafe { glibc::copy(given, block, record.size.get()) };
        let here = self.capture.here(place_of(fault));
        // An error means that it is released by another thread too, which is the program's error.
        let ticket = self.ledger.release(&found, Event::Withhold, here).ok();
        guard.give_back(given, ticket);
        true
    }
}
