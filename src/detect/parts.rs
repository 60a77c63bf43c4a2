//! The parts of memory around a block, and inside a released one, that are checked.
//!
//! One list for all who look at copies. Knows where the parts lie and what must stand there; never
//! reads them.

use super::size_word::{self, SizeWord};
use super::{front, poison, redzone};
use crate::ledger::record::flag;
use crate::ledger::{BlockRecord, BlockState};
use crate::memory::Address;

/// Parts that a block can have.
pub const PART_COUNT_MAX: usize = 3 + poison::POISON_PART_COUNT_MAX;
/// The longest part.
pub const PART_BYTE_MAX: usize = redzone::REDZONE_BYTE_MAX;
const _: () = assert!(PART_BYTE_MAX >= poison::POISON_PART_BYTE_MAX);
const _: () = assert!(PART_BYTE_MAX >= redzone::GUARDED_PART_BYTE_MAX);

/// Bytes of a pattern, or the size word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// Where they begin.
    pub start: Address,
    /// How many.
    pub byte_count: usize,
    /// What they are.
    pub kind: PartKind,
}

/// What a part is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PartKind {
    /// The word in front of the block, of which this is remembered.
    SizeWord(SizeWord),
    /// Filled bytes that end where a guarded block begins.
    Before,
    /// The margin in front of a block, which ends where the size word begins.
    Front,
    /// Filled bytes behind the block.
    Behind,
    /// Filled bytes that begin so far inside a released block.
    Inside(usize),
}

/// The parts of a block, none of which is empty.
pub fn of(record: &BlockRecord) -> impl Iterator<Item = Part> + Clone {
    let parts: [Option<Part>; PART_COUNT_MAX] = if record.flags & flag::GUARDED == 0 {
        of_heap(record)
    } else {
        of_guarded(record)
    };
    parts.into_iter().flatten()
}

fn part((start, byte_count): (Address, usize), kind: PartKind) -> Option<Part> {
    (byte_count != 0).then_some(Part {
        start,
        byte_count,
        kind,
    })
}

fn of_heap(record: &BlockRecord) -> [Option<Part>; PART_COUNT_MAX] {
    let (block, size) = (record.address, record.size);
    let has = |bits| record.flags & bits != 0;
    let remembered = SizeWord::from_flags(record.flags, block);
    let before = remembered
        .is_known()
        .then_some((size_word::place(block), size_of::<usize>()));
    let front = remembered.has_front().then(|| front::extent(block, size));
    let behind = has(flag::REDZONE).then(|| redzone::extent(block, size, remembered));
    let is_filled = record.state == BlockState::Quarantined && has(flag::POISONED);
    let [head, first, second, third, tail] = if is_filled {
        poison::poisoned_parts(block, size)
    } else {
        [(0, 0); poison::POISON_PART_COUNT_MAX]
    };
    let inside = |(start, byte_count)| {
        let bytes = (block.offset_by(start), byte_count);
        part(bytes, PartKind::Inside(start))
    };
    [
        before.and_then(|bytes| part(bytes, PartKind::SizeWord(remembered))),
        front.and_then(|bytes| part(bytes, PartKind::Front)),
        inside(head),
        inside(first),
        inside(second),
        inside(third),
        inside(tail),
        behind.and_then(|bytes| part(bytes, PartKind::Behind)),
    ]
}

/// A released one is out of reach.
fn of_guarded(record: &BlockRecord) -> [Option<Part>; PART_COUNT_MAX] {
    if record.state != BlockState::Live {
        return [None; PART_COUNT_MAX];
    }
    let [before, behind] = redzone::guarded_parts(record.address, record.size);
    let mut parts = [None; PART_COUNT_MAX];
    let around = [
        part(before, PartKind::Before),
        part(behind, PartKind::Behind),
    ];
    for (place, part) in parts.iter_mut().zip(around) {
        *place = part;
    }
    parts
}
