//! Recording an allocation.

#![expect(
    unsafe_code,
    reason = "arms the redzone of a block that was allocated with room for it"
)]
#![expect(
    clippy::inline_always,
    reason = "the path of every recorded allocation is one piece"
)]

use super::Tracker;
use super::session::Check;
use crate::capture::EventPlace;
use crate::detect::size_word::{self, SizeWord};
use crate::detect::{diagnose, redzone};
use crate::ledger::record::flag;
use crate::ledger::{Epoch, FamilyId, Insertion, NewBlock, StackId};
use crate::memory::{Address, ByteCount};

/// The largest block C allows: a difference of two pointers into it must fit `ptrdiff_t`.
pub const BLOCK_BYTE_MAX: usize = isize::MAX as usize;

/// While no more blocks than this are live, blocks get a wide margin; further ones the shortest. So the
/// margins of a process take little more than 32 MiB.
const WIDE_MARGIN_BLOCK_COUNT_MAX: u64 = 1 << 16;

/// The longest margin that a block of this size can have.
#[inline]
#[must_use]
pub fn margin_max(size: usize) -> usize {
    redzone::margin_max(size)
}

/// What to ask the real allocator for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// Bytes to ask for: the program's size, and the margin's where the redzone is on.
    pub byte_count: usize,
    /// The flags that the new block's record must carry.
    pub flags: u32,
}

/// A block the real allocator has just handed out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Allocated {
    /// Where it starts.
    pub address: Address,
    /// The size the program asked for.
    pub size: ByteCount,
    /// Who may release it.
    pub family: FamilyId,
    /// The epoch that the ledger was in before the allocator was asked.
    pub epoch: Epoch,
    /// `ledger::record::flag` bits; `REDZONE` exactly when [`Room`] said so and the block came from
    /// the process's own `malloc`.
    pub flags: u32,
}

impl Tracker {
    /// How much to ask the real allocator for when the program wants `size` bytes. `None` when no
    /// block can be so large: the caller answers as its interface does when memory is short, and
    /// reports with [`Tracker::note_impossible_size`].
    #[inline]
    #[must_use]
    pub fn room_for(&self, size: usize) -> Option<Room> {
        if size > BLOCK_BYTE_MAX {
            return None;
        }
        if !self.session.is_on(Check::Redzone) {
            return Some(Room {
                byte_count: size,
                flags: 0,
            });
        }
        let byte_count = size.checked_add(self.margin(size))?;
        Some(Room {
            byte_count,
            flags: flag::REDZONE,
        })
    }

    /// Bytes behind a block that belong to nobody: they carry the redzone's pattern, and keep an
    /// overflow from what lies behind.
    #[inline]
    fn margin(&self, size: usize) -> usize {
        redzone::margin(
            size,
            self.ledger.live_block_estimate() < WIDE_MARGIN_BLOCK_COUNT_MAX,
        )
    }

    /// Records a block that the real allocator has just handed out, before the program gets it.
    /// Called with the reentry flag up. A guarded block that finds no record is given back: the
    /// caller allocates another one.
    #[inline(always)]
    pub fn note_allocation(&self, block: Allocated, place: &EventPlace) -> Insertion {
        self.announce_pending();
        let (address, flags) = (block.address, block.flags);
        let insertion = self.record_new(block, self.capture.at(place));
        if insertion == Insertion::Dropped && flags & flag::GUARDED != 0 {
            self.close_moved(address);
        }
        insertion
    }

    /// The same for a block of which another can take the place: one from the process's own `malloc`,
    /// with no wish for its alignment, whose bytes are zero where that was asked for. Gives the address
    /// that the program is to have.
    #[inline(always)]
    pub fn note_plain_allocation(
        &self,
        block: Allocated,
        is_zeroed: bool,
        place: &EventPlace,
    ) -> (Insertion, Address) {
        self.announce_pending();
        let allocated = self.capture.at(place);
        if self.first_blocks.is_new(allocated)
            && let Some(recorded) = self.record_first(&block, is_zeroed, allocated)
        {
            return recorded;
        }
        (self.record_new(block, allocated), block.address)
    }

    #[inline(always)]
    pub(super) fn record_new(&self, block: Allocated, allocated: StackId) -> Insertion {
        let Allocated {
            address,
            size,
            family,
            epoch,
            mut flags,
        } = block;
        if flags & flag::REDZONE != 0 {
            let remembered = if self.heap_is_glibcs {
                // SAFETY: the flag says that the block came from glibc.
                let word = unsafe { size_word::read(address) };
                SizeWord::of(word, address, size)
            } else {
                SizeWord::Unknown
            };
            // SAFETY: the flag says that the block was allocated with `Room::byte_count` bytes, and
            // the program does not have the pointer yet.
            unsafe { redzone::arm(address, size, remembered) };
            flags |= remembered.to_flags(address);
        }
        self.ledger.insert(&NewBlock {
            address,
            size,
            family,
            allocated,
            epoch,
            flags,
        })
    }

    /// Reports a size that no block can have; `size` saturates at `usize::MAX`.
    #[cold]
    pub fn note_impossible_size(&self, size: usize, family: FamilyId, place: EventPlace) {
        let at = self.occurrence(place);
        self.found(&diagnose::impossible_size(ByteCount::new(size), family, at));
    }

    /// The size the program asked for, of a live block that starts here.
    #[inline]
    #[must_use]
    pub fn requested_size(&self, block: Address) -> Option<ByteCount> {
        self.certain_live_block(block).map(|record| record.size)
    }
}
