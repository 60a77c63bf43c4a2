//! What is wrong with an event: pure functions over what the ledger knows.

use super::damage::Damage;
use super::finding::{Access, BlockFacts, Finding, FindingKind, NextBlock, PointerPlace};
use super::imprint::{Moment, MomentKind, Written};
use super::reach::Holding;
use crate::ledger::record::flag;
use crate::ledger::{BlockRecord, BlockState, FamilyId, StackId, ThreadNumber};
use crate::memory::regions::Region;
use crate::memory::{Address, ByteCount};

/// Where and by whom something was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Occurrence {
    /// The stack of the event.
    pub here: StackId,
    /// The thread of the event.
    pub thread: ThreadNumber,
}

/// What the program tried with a pointer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attempt {
    /// To release it with a function of this family.
    Release(FamilyId),
    /// To resize it.
    Resize(FamilyId),
}

impl Attempt {
    /// The family of the function that was called.
    #[must_use]
    pub const fn family(self) -> FamilyId {
        match self {
            Self::Release(family) | Self::Resize(family) => family,
        }
    }
}

impl From<&BlockRecord> for BlockFacts {
    fn from(record: &BlockRecord) -> Self {
        Self {
            address: record.address,
            size: record.size,
            state: record.state,
            family: record.family,
            allocated_by: record.allocated_by,
            released_by: record.released_by,
            allocated: record.allocated,
            released: record.released,
            handed_to_python: record.flags & flag::HANDED_TO_PYTHON != 0,
        }
    }
}

/// Whether a function of family `used` may release a block of family `owner`.
///
/// Adopted memory of unstated family may be released by anything, and by whatever releases it the
/// program says how it is released. The ledger's own release function takes its own blocks only.
#[must_use]
pub fn may_release(used: FamilyId, owner: FamilyId) -> bool {
    used == owner || (owner == FamilyId::ADOPTED && used != FamilyId::HEAPLEDGER)
}

/// The finding for a pointer whose block was released before.
#[must_use]
pub fn released_before(record: &BlockRecord, attempt: Attempt, at: Occurrence) -> Finding {
    let kind = match attempt {
        Attempt::Release(_) => FindingKind::DoubleFree,
        Attempt::Resize(_) => FindingKind::ReallocAfterFree,
    };
    about_block(kind, record, attempt, at)
}

/// The finding for a live block that is released, or resized, while `views` of it are alive.
#[must_use]
pub fn dangling(
    record: &BlockRecord,
    attempt: Attempt,
    views: (u32, StackId),
    at: Occurrence,
) -> Finding {
    Finding {
        views: Some(views),
        ..about_block(FindingKind::UseAfterFree, record, attempt, at)
    }
}

/// The finding for a live block released by a function that may not release it.
#[must_use]
pub fn mismatched(record: &BlockRecord, attempt: Attempt, at: Occurrence) -> Finding {
    about_block(FindingKind::MismatchedFree, record, attempt, at)
}

/// The same finding for a pointer beside the start of its block.
#[must_use]
pub fn seen_at(finding: Finding, pointer: Address) -> Finding {
    let start = finding.block.map_or(pointer, |block| block.address).get();
    let distance = i64::try_from(pointer.get().abs_diff(start)).unwrap_or(i64::MAX);
    Finding {
        address: pointer,
        offset: if pointer.get() < start {
            -distance
        } else {
            distance
        },
        ..finding
    }
}

/// The finding for a pointer at which no recorded block starts: `inside` is the block it lies in,
/// `region` what kind of memory it is otherwise.
#[must_use]
pub fn not_a_block(
    pointer: Address,
    inside: Option<&BlockRecord>,
    region: Region,
    attempt: Attempt,
    at: Occurrence,
) -> Finding {
    let place = match (inside, region) {
        (Some(_), _) => PointerPlace::Interior,
        (None, Region::Stack) => PointerPlace::Stack,
        (None, Region::Image) => PointerPlace::Image,
        (None, Region::Mapped) => PointerPlace::Unknown,
        (None, Region::Unmapped) => PointerPlace::Unmapped,
    };
    let offset = inside.and_then(|record| pointer.bytes_after(record.address));
    Finding {
        address: pointer,
        place,
        block: inside.map(BlockFacts::from),
        offset: offset
            .and_then(|bytes| i64::try_from(bytes).ok())
            .unwrap_or(0),
        used_family: attempt.family(),
        ..blank(FindingKind::InvalidFree, at)
    }
}

/// The finding for a size that no block can have.
#[must_use]
pub fn impossible_size(requested: ByteCount, family: FamilyId, at: Occurrence) -> Finding {
    Finding {
        used_family: family,
        requested,
        ..blank(FindingKind::SizeOverflow, at)
    }
}

/// The finding for a pointer that was cut to `value` on its way to Python.
#[must_use]
pub fn truncated(record: &BlockRecord, value: usize, at: Occurrence) -> Finding {
    let attempt = Attempt::Release(record.family);
    Finding {
        address: Address::new(value),
        ..about_block(FindingKind::TruncatedPointer, record, attempt, at)
    }
}

/// The findings for what a look at a block found, which was intact `after` one moment and not
/// `before` another. In a released block a write inside stands for what the same write left behind
/// the end.
pub fn damaged(
    record: &BlockRecord,
    damage: Damage,
    (after, before): (Moment, Moment),
    at: Occurrence,
) -> impl Iterator<Item = Finding> {
    let signed = |distance: usize| i64::try_from(distance).unwrap_or(i64::MAX);
    let in_front = damage.before.map(|it| (-signed(it.distance), it.imprint));
    let behind = damage.behind.filter(|_| damage.inside.is_none());
    let behind = behind.map(|it| (signed(it.offset), it.imprint));
    let inside = damage.inside.map(|it| (signed(it.distance), it.imprint));
    let found = [
        (FindingKind::HeapUnderflow, in_front),
        (FindingKind::HeapOverflow, behind),
        (FindingKind::UseAfterFree, inside),
    ];
    let record = *record;
    found.into_iter().filter_map(move |(kind, found)| {
        let (offset, imprint) = found?;
        let written = Written {
            imprint,
            after,
            before,
        };
        Some(Finding {
            written: Some(written),
            ..accessed(kind, &record, offset, at)
        })
    })
}

/// The block behind a damaged one, when the byte `offset` bytes from the damaged one's start lies nearer
/// to `next` than to the end of the damaged one: the program may have written before its start.
#[must_use]
pub fn nearer_block(record: &BlockRecord, offset: usize, next: &BlockRecord) -> Option<NextBlock> {
    let past_end = offset.checked_sub(record.size.get())?;
    let damaged = record.address.offset_by(offset);
    let distance = next.address.bytes_after(damaged)?;
    (distance < past_end).then_some(NextBlock {
        distance: ByteCount::new(distance),
        size: next.size,
        allocated: next.allocated,
    })
}

/// The last moment at which a block is known to have been intact; `last_check` is where everything was
/// last looked at.
#[must_use]
pub fn last_intact(record: &BlockRecord, last_check: StackId) -> Moment {
    if record.flags & flag::VERIFIED != 0 {
        Moment {
            kind: MomentKind::Check,
            stack: last_check,
        }
    } else if is_released(record.state) {
        Moment {
            kind: MomentKind::Release,
            stack: record.released,
        }
    } else {
        Moment {
            kind: MomentKind::Allocation,
            stack: record.allocated,
        }
    }
}

/// What an access at `address` is to a block, and its offset; `None` for one that is allowed.
#[must_use]
pub fn access_kind(record: &BlockRecord, address: Address) -> Option<(FindingKind, i64)> {
    let signed = |distance: usize| i64::try_from(distance).unwrap_or(i64::MAX);
    let offset = match address.bytes_after(record.address) {
        Some(distance) => signed(distance),
        None => -signed(record.address.get() - address.get()),
    };
    if is_released(record.state) {
        Some((FindingKind::UseAfterFree, offset))
    } else if offset < 0 {
        Some((FindingKind::HeapUnderflow, offset))
    } else if offset >= signed(record.size.get()) {
        Some((FindingKind::HeapOverflow, offset))
    } else {
        None
    }
}

/// Bytes that a call says it reads or writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// The first of them.
    pub start: Address,
    /// How many there are.
    pub byte_count: usize,
    /// What is done to them.
    pub access: Access,
}

/// What a span that begins in a block is to it, and the offset of the first byte that must not be
/// accessed; `None` when all may be.
#[must_use]
pub fn span_kind(record: &BlockRecord, span: &Span) -> Option<(FindingKind, i64)> {
    let last = span.start.offset_by(span.byte_count.checked_sub(1)?);
    let end = record.address.offset_by(record.size.get());
    // Of a released block already the first byte, of a live one the first behind its end.
    access_kind(record, span.start).or_else(|| access_kind(record, last.min(end)))
}

/// The finding for an access `offset` bytes from the start of a block.
#[must_use]
pub fn accessed(kind: FindingKind, record: &BlockRecord, offset: i64, at: Occurrence) -> Finding {
    let attempt = Attempt::Release(record.family);
    let distance = usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX);
    let address = if offset < 0 {
        Address::new(record.address.get().saturating_sub(distance))
    } else {
        record.address.offset_by(distance)
    };
    Finding {
        address,
        offset,
        ..about_block(kind, record, attempt, at)
    }
}

/// The finding for a process that dies of following `word`, with which released blocks are filled;
/// `record` is the block that it was likely read from.
#[must_use]
pub fn followed(word: Address, record: Option<&BlockRecord>, at: Occurrence) -> Finding {
    Finding {
        address: word,
        access: Access::Followed,
        block: record.map(BlockFacts::from),
        bytes: record.map_or(0, |record| record.size.get() as u64),
        blocks: 1,
        ..blank(FindingKind::UseAfterFree, at)
    }
}

fn about_block(kind: FindingKind, record: &BlockRecord, by: Attempt, at: Occurrence) -> Finding {
    Finding {
        address: record.address,
        block: Some(BlockFacts::from(record)),
        used_family: by.family(),
        bytes: record.size.get() as u64,
        blocks: 1,
        ..blank(kind, at)
    }
}

fn blank(kind: FindingKind, at: Occurrence) -> Finding {
    Finding {
        kind,
        address: Address::NULL,
        place: PointerPlace::Block,
        block: None,
        offset: 0,
        used_family: FamilyId::MALLOC,
        requested: ByteCount::new(0),
        here: at.here,
        thread: at.thread,
        access: Access::Unknown,
        views: None,
        written: None,
        next: None,
        holding: Holding::Unknown,
        count: 1,
        bytes: 0,
        blocks: 0,
        sequence: 0,
    }
}

/// Whether a state means that the program has released the block.
#[must_use]
pub const fn is_released(state: BlockState) -> bool {
    match state {
        BlockState::Live | BlockState::Forgotten => false,
        BlockState::Quarantined | BlockState::Freed => true,
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::ledger::Epoch;

    const AT: Occurrence = Occurrence {
        here: StackId(9),
        thread: ThreadNumber(2),
    };

    fn record() -> BlockRecord {
        BlockRecord {
            address: Address::new(0x7000),
            size: ByteCount::new(48),
            state: BlockState::Freed,
            family: FamilyId::NEW_ARRAY,
            allocated: StackId(1),
            released: StackId(2),
            epoch: Epoch(1),
            allocated_by: ThreadNumber(1),
            released_by: ThreadNumber(1),
            flags: flag::HANDED_TO_PYTHON,
        }
    }

    #[test]
    fn a_second_release_is_a_double_free_and_a_resize_a_realloc_after_free() {
        let free = released_before(&record(), Attempt::Release(FamilyId::MALLOC), AT);
        assert_eq!((free.kind, free.offset), (FindingKind::DoubleFree, 0));
        let facts = free.block.expect("the block is known");
        assert_eq!(
            (facts.allocated, facts.released, free.here),
            (StackId(1), StackId(2), AT.here)
        );
        assert!(facts.handed_to_python);
        let resize = released_before(&record(), Attempt::Resize(FamilyId::MALLOC), AT);
        assert_eq!(resize.kind, FindingKind::ReallocAfterFree);
    }

    #[test]
    fn an_overflow_nearer_to_the_next_block_names_that_one() {
        let next = BlockRecord {
            address: Address::new(0x7000 + 48 + 60),
            size: ByteCount::new(7),
            allocated: StackId(5),
            ..record()
        };
        let distance = |offset| {
            let next = nearer_block(&record(), offset, &next)?;
            assert_eq!((next.size.get(), next.allocated), (7, StackId(5)));
            Some(next.distance.get())
        };
        assert_eq!(distance(48 + 59), Some(1));
        assert_eq!(distance(48 + 40), Some(20));
        assert_eq!(distance(48 + 31), Some(29));
        assert_eq!(distance(48 + 30), None, "as far from both");
        assert_eq!(distance(48), None);
        assert_eq!(distance(47), None, "inside");
        assert_eq!(distance(48 + 61), None, "behind the next one's start");
    }

    #[test]
    fn a_span_is_judged_by_the_first_byte_that_must_not_be_accessed() {
        let judge = |state, start, byte_count| {
            let record = BlockRecord { state, ..record() };
            let span = Span {
                start: Address::new(start),
                byte_count,
                access: Access::Read,
            };
            span_kind(&record, &span)
        };
        let live = |start, byte_count| judge(BlockState::Live, start, byte_count);
        assert_eq!(live(0x7000, 48), None, "all of it");
        assert_eq!(live(0x7000, 49), Some((FindingKind::HeapOverflow, 48)));
        assert_eq!(live(0x7028, 9), Some((FindingKind::HeapOverflow, 48)));
        assert_eq!(live(0x7028, 8), None, "up to the end");
        assert_eq!(live(0x7030, 0), None, "nothing");
        assert_eq!(
            live(0x7000, usize::MAX),
            Some((FindingKind::HeapOverflow, 48))
        );
        let released = judge(BlockState::Quarantined, 0x7008, 1);
        assert_eq!(released, Some((FindingKind::UseAfterFree, 8)));
        assert_eq!(judge(BlockState::Freed, 0x7008, 0), None, "nothing");
    }

    #[test]
    fn an_interior_pointer_says_how_far_inside() {
        let attempt = Attempt::Release(FamilyId::HEAPLEDGER);
        let pointer = Address::new(0x7008);
        let finding = not_a_block(pointer, Some(&record()), Region::Mapped, attempt, AT);
        assert_eq!((finding.place, finding.offset), (PointerPlace::Interior, 8));
    }

    #[test]
    fn a_pointer_beside_the_start_of_a_mismatched_block_says_how_far() {
        let attempt = Attempt::Release(FamilyId::MALLOC);
        for (pointer, offset) in [(0x7008, 8), (0x6ff8, -8), (0x7000, 0)] {
            let finding = seen_at(mismatched(&record(), attempt, AT), Address::new(pointer));
            assert_eq!((finding.address.get(), finding.offset), (pointer, offset));
            assert_eq!(finding.kind, FindingKind::MismatchedFree);
        }
    }

    #[test]
    fn other_pointers_say_what_memory_they_point_at() {
        let attempt = Attempt::Release(FamilyId::MALLOC);
        let place = |region| not_a_block(Address::new(64), None, region, attempt, AT).place;
        assert_eq!(place(Region::Stack), PointerPlace::Stack);
        assert_eq!(place(Region::Image), PointerPlace::Image);
        assert_eq!(place(Region::Mapped), PointerPlace::Unknown);
        assert_eq!(place(Region::Unmapped), PointerPlace::Unmapped);
    }

    #[test]
    fn families_release_their_own_and_adopted_memory_goes_with_anything_but_ours() {
        assert!(may_release(FamilyId::NEW, FamilyId::NEW));
        assert!(!may_release(FamilyId::MALLOC, FamilyId::NEW));
        assert!(!may_release(FamilyId::NEW, FamilyId::NEW_ARRAY));
        assert!(may_release(FamilyId::MALLOC, FamilyId::ADOPTED));
        assert!(!may_release(FamilyId::HEAPLEDGER, FamilyId::ADOPTED));
        assert!(!may_release(FamilyId::HEAPLEDGER, FamilyId(16)));
    }
}
