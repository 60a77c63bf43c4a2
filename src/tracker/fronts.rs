//! Where the margin in front of a stack's first block comes from, when it is not guarded.
//!
//! The block that the allocator gave goes back before
//! anybody has seen it; instead the program gets one that lies behind a chunk which stays ours.

#![expect(unsafe_code, reason = "cuts a block of its own in two")]

use super::allocate::Allocated;
use super::{Tracker, glibc};
use crate::detect::front::{self, FRONTED_BYTE_MAX};
use crate::detect::redzone;
use crate::detect::size_word::{self, FLAG_BITS, SizeWord};
use crate::ledger::record::flag;
use crate::ledger::{Insertion, NewBlock, StackId};
use crate::memory::sync::Ordering;
use crate::memory::{Address, ByteCount};

/// So many blocks get a margin in front. With at most 528 bytes for each, 8 MiB.
const PLACED_COUNT_MAX: u32 = 16_384;

/// So many chunks of one size wait in a thread's cache, and the next is behind them.
const CACHED_COUNT_MAX: usize = 8;

const WORD_BYTE_COUNT: usize = size_of::<usize>();

impl Tracker {
    /// Replaces a block that nobody has seen by one with a margin in front, and records that; `None`
    /// when it stays as it is.
    pub(super) fn record_fronted(
        &self,
        block: &Allocated,
        is_zeroed: bool,
        allocated: StackId,
    ) -> Option<(Insertion, Address)> {
        let is_fit = block.flags & flag::REDZONE != 0
            && block.size.get() <= FRONTED_BYTE_MAX
            && self.first_blocks.fronted_count.load(Ordering::Relaxed) < PLACED_COUNT_MAX;
        if !is_fit {
            return None;
        }
        let room = self.room_for(block.size.get())?;
        let address = cut_out(block.size, room.byte_count)?;
        if is_zeroed {
            // SAFETY: it has more bytes than that, and nobody has it.
            unsafe { glibc::zero(address, block.size.get()) };
        }
        // SAFETY: from glibc, and nobody has it.
        let remembered = SizeWord::of(unsafe { size_word::read(address) }, address, block.size);
        let remembered = remembered.with_front();
        if !remembered.has_front() {
            // SAFETY: as above.
            unsafe { glibc::release(address) };
            // SAFETY: as above, for the other part.
            unsafe { glibc::release(front::start(address, block.size)) };
            return None;
        }
        // SAFETY: the block has the bytes that were asked for, and nobody has it.
        unsafe { redzone::arm(address, block.size, remembered) };
        // SAFETY: `cut_out` left a chunk for it in front.
        unsafe { front::arm(address, block.size) };
        // SAFETY: the caller has just got it from glibc, and has given it to nobody.
        unsafe { glibc::release(block.address) };
        self.first_blocks
            .fronted_count
            .fetch_add(1, Ordering::Relaxed);
        let insertion = self.ledger.insert(&NewBlock {
            address,
            size: block.size,
            family: block.family,
            allocated,
            epoch: block.epoch,
            flags: block.flags | remembered.to_flags(address),
        });
        if insertion == Insertion::Dropped {
            // SAFETY: nobody else knows of it.
            unsafe { give_front_back(address, block.size) };
        }
        Some((insertion, address))
    }
}

/// Gives back the margin in front of a block, if it has one.
///
/// # Safety
/// * `flags` are those of the block's record, `size` its size; the caller won its release or eviction,
///   and does this once.
#[inline]
pub(super) unsafe fn give_back(block: Address, size: ByteCount, flags: u32) {
    if SizeWord::is_fronted(flags) {
        // SAFETY: the caller's duties.
        unsafe { give_front_back(block, size) };
    }
}

/// # Safety
/// * The block has a margin, and the caller alone gives it back.
#[cold]
unsafe fn give_front_back(block: Address, size: ByteCount) {
    // SAFETY: the caller's duties.
    if unsafe { front::may_go_back(block, size) } {
        // SAFETY: the margin is a chunk of its own, with glibc's words intact.
        unsafe { glibc::release(front::start(block, size)) };
    }
}

/// A block with a chunk for its margin right in front of it.
///
/// One block large enough for both is shortened to the margin. glibc keeps the rest where the next
/// allocations of that size by this thread find it. Which of them it is the address says.
fn cut_out(size: ByteCount, byte_count: usize) -> Option<Address> {
    let margin = front::byte_count(size);
    let both = front::chunk_byte_count(size).checked_add(byte_count)?;
    let whole = glibc::allocate(both)?;
    // SAFETY: allocated above. glibc may have given a little more, which is the block's.
    let usable = unsafe { size_word::read(whole) } & !FLAG_BITS;
    // SAFETY: allocated above, and nobody else knows it.
    let Some(front) = (unsafe { glibc::resize(whole, margin) }) else {
        // SAFETY: as above; what could not be resized is as it was.
        unsafe { glibc::release(whole) };
        return None;
    };
    let rest = usable.saturating_sub(front::chunk_byte_count(size) + WORD_BYTE_COUNT);
    let block = behind(front, size, rest.max(byte_count));
    // SAFETY: the margin was allocated above.
    let is_whole = |block| unsafe { front::may_go_back(block, size) };
    if block.is_some_and(is_whole) {
        return block;
    }
    for part in block.into_iter().chain([front]) {
        // SAFETY: allocated here, and nobody else knows it.
        unsafe { glibc::release(part) };
    }
    None
}

/// Allocates until a block lies right behind the margin, a few times: glibc gives what waits in the
/// thread's cache first.
fn behind(front: Address, size: ByteCount, byte_count: usize) -> Option<Address> {
    let mut others = [None; CACHED_COUNT_MAX];
    let mut found = None;
    for other in &mut others {
        let block = glibc::allocate(byte_count);
        if block.is_some_and(|block| front::start(block, size) == front) {
            found = block;
            break;
        }
        *other = block;
    }
    // Those that came first are to be given first again.
    for other in others.into_iter().flatten().rev() {
        // SAFETY: allocated above, and nobody else knows it.
        unsafe { glibc::release(other) };
    }
    found
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_any_size_can_be_had_behind_a_margin_and_both_go_back() {
        let mut blocks = Vec::new();
        for size in (0..2_000).chain([4_096, 30_000, FRONTED_BYTE_MAX]) {
            let size = ByteCount::new(size);
            // Another thread's blocks may come between now and then.
            let Some(block) = cut_out(size, size.get() + redzone::margin_max(size.get())) else {
                continue;
            };
            // SAFETY: cut out above.
            let word = unsafe { size_word::read(block) };
            let remembered = SizeWord::of(word, block, size).with_front();
            assert!(remembered.has_front() && SizeWord::is_fronted(remembered.to_flags(block)));
            assert!(!SizeWord::is_fronted(
                SizeWord::of(word, block, size).to_flags(block)
            ));
            // SAFETY: as above.
            unsafe { front::arm(block, size) };
            // SAFETY: as above.
            assert!(unsafe { front::damage(block, size) }.is_none());
            // SAFETY: as above.
            assert!(unsafe { front::may_go_back(block, size) });
            blocks.push((block, size));
        }
        assert!(blocks.len() > 1_900, "{}", blocks.len());
        for (block, size) in blocks {
            // SAFETY: cut out above, and nobody else knows it.
            unsafe { give_front_back(block, size) };
            // SAFETY: as above.
            unsafe { glibc::release(block) };
        }
    }
}
