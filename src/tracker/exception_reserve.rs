//! The memory that a C++ run time keeps to throw exceptions when there is none left.
//!
//! `libstdc++.so` is known by its name, and what it allocates for itself is no leak. Where the run time is
//! part of a program or library (`-static-libstdc++`), the reserve is recognised by what its owner,
//! `__gnu_cxx::pool`, says of it in the image's data, symbols or not: the first free entry, the start, and
//! the number of bytes, one after the other. The size alone would not do: it is the program's to tune.

use crate::detect::reach::Holding;
use crate::ledger::BlockRecord;
use crate::memory::Address;
use crate::memory::peek::{self, peek};

const WORD: usize = size_of::<usize>();
/// The word in front of the one that leads to the block, that word, and two behind it.
const WORDS_LOOKED_AT: usize = 4;

/// Whether the block is such a reserve. `holding` says which word of an image leads to it.
pub(super) fn is_reserve(block: &BlockRecord, holding: Holding) -> bool {
    let Holding::Image(place) = holding else {
        return false;
    };
    let mut bytes = [0; WORDS_LOOKED_AT * WORD];
    let Some(first) = place.get().checked_sub(WORD) else {
        return false;
    };
    let words = |bytes| peek::words(bytes).collect::<Vec<_>>();
    peek(Address::new(first), &mut bytes)
        && words(&bytes)
            .windows(3)
            .any(|pool| is_described_by(block, pool))
}

/// Whether three words describe the block as the pool does. Nothing is free when all is in use.
fn is_described_by(block: &BlockRecord, pool: &[usize]) -> bool {
    let [free, start, size] = pool else {
        return false;
    };
    let is_inside = block.range().contains(free);
    *start == block.address.get() && *size == block.size.get() && (*free == 0 || is_inside)
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;
    use crate::ledger::{BlockState, Epoch, FamilyId, StackId, ThreadNumber};
    use crate::memory::ByteCount;

    const BLOCK: usize = 0x7000;
    const SIZE: usize = 72_704;

    fn is_reserve_in(data: &[usize], reached_by: usize) -> bool {
        let block = BlockRecord {
            address: Address::new(BLOCK),
            size: ByteCount::new(SIZE),
            state: BlockState::Live,
            family: FamilyId::MALLOC,
            allocated: StackId(1),
            released: StackId::UNKNOWN,
            epoch: Epoch(1),
            allocated_by: ThreadNumber(1),
            released_by: ThreadNumber(0),
            flags: 0,
        };
        let place = Address::of(&raw const data[reached_by]);
        is_reserve(&block, Holding::Image(place))
    }

    #[test]
    fn the_pool_is_known_by_its_three_words_whichever_leads_to_the_block() {
        let untouched = [9, 0, BLOCK, BLOCK, SIZE, 0, 9];
        assert!(is_reserve_in(&untouched, 2), "by the first free entry");
        assert!(is_reserve_in(&untouched, 3), "by the start");
        assert!(is_reserve_in(&[9, BLOCK + 400, BLOCK, SIZE, 9], 1));
        assert!(
            is_reserve_in(&[9, 0, BLOCK, SIZE, 9], 2),
            "all of it in use"
        );
    }

    #[test]
    fn another_block_that_a_library_keeps_is_none() {
        assert!(!is_reserve_in(&[9, 0, BLOCK, 9, 9], 2), "a pointer alone");
        assert!(
            !is_reserve_in(&[9, 9, BLOCK, SIZE, 9], 2),
            "a pointer and a size"
        );
        assert!(!is_reserve_in(&[9, BLOCK, BLOCK, SIZE - 8, 9], 2));
        assert!(!is_reserve_in(&[9, BLOCK + SIZE, BLOCK, SIZE, 9], 2));
    }
}
