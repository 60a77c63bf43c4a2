//! Arrays of objects with a destructor: the C++ run time keeps their number in front of the first.
//!
//! So the pointer that the program has lies a little inside the block. `delete` or `free` of it is a
//! release by another family, not of an interior pointer; and `delete[]` of an object that is no
//! array passes a pointer a little before the block.

use crate::ledger::{BlockRecord, FamilyId};
use crate::memory::Address;
use crate::memory::peek::peek;
use crate::tracker::Tracker;

/// How far in front of the first object the block may begin: the number's size, or the objects'
/// alignment.
const DISTANCES: [usize; 5] = [8, 16, 32, 64, 128];
const COUNT_BYTES: usize = size_of::<usize>();

/// The live block that the program means when a function of family `used` is to release `pointer`,
/// at which no block begins.
pub(super) fn block_meant(tracker: &Tracker, used: FamilyId, pointer: usize) -> Option<Address> {
    let live_at = |address: usize| tracker.certain_live_block(Address::new(address));
    if used == FamilyId::NEW_ARRAY {
        let block = live_at(pointer.wrapping_add(COUNT_BYTES))?;
        return is_no_array(&block).then_some(block.address);
    }
    let mut distances = DISTANCES.into_iter();
    distances.find_map(|distance| {
        let block = live_at(pointer.checked_sub(distance)?)?;
        (block.family == FamilyId::NEW_ARRAY && begins_with_count(&block, distance))
            .then_some(block.address)
    })
}

fn is_no_array(block: &BlockRecord) -> bool {
    matches!(block.family, FamilyId::MALLOC | FamilyId::NEW)
}

/// Whether the rest of the block divides evenly into as many objects as the number in front of the
/// first says.
fn begins_with_count(block: &BlockRecord, distance: usize) -> bool {
    let Some(rest) = block.size.get().checked_sub(distance) else {
        return false;
    };
    let mut count = [0; COUNT_BYTES];
    let place = block.address.offset_by(distance - COUNT_BYTES);
    if !peek(place, &mut count) {
        return false;
    }
    is_count(usize::from_ne_bytes(count), rest)
}

/// Whether `count` objects can fill `byte_count` bytes.
fn is_count(count: usize, byte_count: usize) -> bool {
    match count {
        0 => byte_count == 0,
        count => byte_count != 0 && byte_count.is_multiple_of(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_fill_their_array() {
        assert!(is_count(3, 24));
        assert!(is_count(0, 0), "an empty array");
        assert!(!is_count(3, 25));
        assert!(!is_count(0, 24), "no objects in some bytes");
        assert!(!is_count(0x6c6f, 24), "letters");
    }
}
