//! Questions about blocks and numbers.

#![expect(unsafe_code, reason = "exports with pointers")]

use super::HlStatus;
use super::pointers::{check_struct_size, struct_size_of, write, write_first};
use super::status::respond;
use crate::detect::FindingKind;
use crate::ledger::record::flag;
use crate::ledger::{BlockRecord, BlockState, Epoch, FamilyId, StackId, ThreadNumber};
use crate::memory::{Address, ByteCount};
use crate::tracker::left_behind::Period;
use crate::tracker::snapshot::{Mark, Statistics};
use crate::tracker::{Tracker, tracker};
use std::ffi::c_void;

/// What the ledger knows of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct HlBlockInfo {
    /// The size of this structure; the caller sets it.
    pub struct_size: u64,
    /// Where the block starts.
    pub address: u64,
    /// The bytes the program asked for.
    pub size: u64,
    /// How far into the block the pointer lies.
    pub offset: u64,
    /// 1 live, 2 quarantined, 3 freed.
    pub state: u32,
    /// The number of the block's family.
    pub family: u32,
    /// The thread that allocated it, counted from 1.
    pub allocated_by: u32,
    /// The thread that released it; 0 when nobody did.
    pub released_by: u32,
    /// The stack of the allocation.
    pub allocated_stack: u32,
    /// The stack of the release; 0 when there was none.
    pub released_stack: u32,
    /// The epoch in which it was allocated: the upper half of a mark.
    pub epoch: u32,
    /// Bit 0: a foreign call handed the block to Python. Bit 1: the block was adopted.
    pub flags: u32,
}

/// Numbers of this moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct HlStatistics {
    /// The size of this structure; the caller sets it.
    pub struct_size: u64,
    /// Blocks in the program's hands.
    pub live_blocks: u64,
    /// Their bytes.
    pub live_bytes: u64,
    /// The most blocks at one time.
    pub peak_blocks: u64,
    /// The most bytes at one time.
    pub peak_bytes: u64,
    /// Blocks allocated since the start.
    pub total_blocks: u64,
    /// Bytes allocated since the start.
    pub total_bytes: u64,
    /// Released blocks that are withheld from reuse, closed ones included.
    pub quarantined_blocks: u64,
    /// The memory that they hold, in bytes; closed ones hold none.
    pub quarantined_bytes: u64,
    /// Occurrences of findings by kind: leak (always 0: leaks are computed when asked for),
    /// double-free, invalid-free, mismatched-free, use-after-free, heap-overflow, heap-underflow,
    /// realloc-after-free, size-overflow, truncated-pointer.
    pub findings: [u64; 10],
    /// Bytes of address space the ledger has mapped; the kernel commits them on first touch.
    pub ledger_bytes: u64,
    /// Blocks that got no record because a limit was reached.
    pub dropped_records: u64,
    /// Quarantined blocks that left to make room for others.
    pub evicted_blocks: u64,
    /// The memory that they held, in bytes.
    pub evicted_bytes: u64,
    /// Large released blocks whose pages are closed: they keep addresses, and no memory.
    pub closed_blocks: u64,
    /// The bytes of their addresses.
    pub closed_bytes: u64,
}

/// The size of [`HlStatistics`] before evictions were counted: still accepted.
const FIRST_STATISTICS_BYTE_COUNT: u64 = 21 * 8;

const _: () = assert!(
    FindingKind::ALL.len() == 10,
    "HlStatistics::findings has one for each"
);
const _: () = assert!(size_of::<HlBlockInfo>() == 64, "no hidden padding");
const _: () = assert!(size_of::<HlStatistics>() == 25 * 8, "no hidden padding");

impl HlBlockInfo {
    fn of(record: &BlockRecord, offset: usize) -> Self {
        Self {
            struct_size: size_of::<Self>() as u64,
            address: record.address.get() as u64,
            size: record.size.get() as u64,
            offset: offset as u64,
            state: state_number(record.state),
            family: u32::from(record.family.0),
            allocated_by: u32::from(record.allocated_by.0),
            released_by: u32::from(record.released_by.0),
            allocated_stack: record.allocated.0,
            released_stack: record.released.0,
            epoch: record.epoch.0,
            flags: record.flags & (flag::HANDED_TO_PYTHON | flag::ADOPTED),
        }
    }

    /// The record of a released block that this describes; `None` for numbers no release has.
    pub(super) fn to_record(self) -> Option<BlockRecord> {
        Some(BlockRecord {
            address: Address::new(usize::try_from(self.address).ok()?),
            size: ByteCount::new(usize::try_from(self.size).ok()?),
            state: BlockState::Freed,
            family: FamilyId(u16::try_from(self.family).ok()?),
            allocated: StackId(self.allocated_stack),
            released: StackId(self.released_stack),
            epoch: Epoch(self.epoch),
            allocated_by: ThreadNumber(u16::try_from(self.allocated_by).ok()?),
            released_by: ThreadNumber(u16::try_from(self.released_by).ok()?),
            flags: self.flags & (flag::HANDED_TO_PYTHON | flag::ADOPTED),
        })
    }
}

fn state_number(state: BlockState) -> u32 {
    match state {
        // `Tracker::block_at` gives no forgotten one.
        BlockState::Live | BlockState::Forgotten => 1,
        BlockState::Quarantined => 2,
        BlockState::Freed => 3,
    }
}

impl From<&Statistics> for HlStatistics {
    fn from(statistics: &Statistics) -> Self {
        let Statistics {
            sums,
            withheld,
            closed: (closed_blocks, closed_bytes, evicted_closed_blocks),
            findings,
            ledger,
            ..
        } = statistics;
        Self {
            struct_size: size_of::<Self>() as u64,
            live_blocks: sums.live_blocks,
            live_bytes: sums.live_bytes,
            peak_blocks: sums.peak_blocks,
            peak_bytes: sums.peak_bytes,
            total_blocks: sums.total_blocks,
            total_bytes: sums.total_bytes,
            quarantined_blocks: withheld.block_count + closed_blocks,
            quarantined_bytes: withheld.byte_count,
            findings: *findings,
            ledger_bytes: ledger.mapped_byte_count,
            dropped_records: ledger.dropped_record_count,
            evicted_blocks: withheld.evicted_block_count + evicted_closed_blocks,
            evicted_bytes: withheld.evicted_byte_count,
            closed_blocks: *closed_blocks,
            closed_bytes: *closed_bytes,
        }
    }
}

/// Describes the block that `pointer` starts or lies in, released ones too. `HL_NOT_FOUND` when
/// the ledger knows of none.
///
/// # Safety
/// * `info` is null or an `hl_block_info` with its `struct_size` set. `pointer` may be anything.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_describe(pointer: *const c_void, info: *mut HlBlockInfo) -> HlStatus {
    respond(|| {
        let pointer = Address::new(pointer.addr());
        // SAFETY: the caller's duties are those of `check_struct_size`.
        if let Err(status) = unsafe { check_struct_size(info) } {
            return status;
        }
        let Some(tracker) = tracker() else {
            return HlStatus::OutOfMemory;
        };
        let Some(record) = tracker.block_at(pointer) else {
            return HlStatus::NotFound;
        };
        let offset = pointer.bytes_after(record.address).unwrap_or(0);
        // SAFETY: not null and of our size, as just checked.
        unsafe { write(info, HlBlockInfo::of(&record, offset)) }
    })
}

/// Writes the numbers of this moment. A caller with an older and shorter structure gets the fields
/// that it has.
///
/// # Safety
/// * `statistics` is null or an `hl_statistics` with its `struct_size` set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_stats(statistics: *mut HlStatistics) -> HlStatus {
    respond(|| {
        // SAFETY: the caller's duties.
        let size = unsafe { struct_size_of(statistics, FIRST_STATISTICS_BYTE_COUNT) };
        let size = match size {
            Ok(size) => size,
            Err(status) => return status,
        };
        let Some(tracker) = tracker() else {
            return HlStatus::OutOfMemory;
        };
        let numbers = HlStatistics {
            struct_size: size,
            ..HlStatistics::from(&tracker.statistics())
        };
        // SAFETY: not null and of this size, as just checked.
        unsafe { write_first(statistics, &numbers, size) }
    })
}

/// Marks the present, for the functions that ask "since". Marks are never zero.
///
/// # Safety
/// * `mark` is null or a place for one number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_mark(mark: *mut u64) -> HlStatus {
    respond(|| {
        if mark.is_null() {
            return HlStatus::NullPointer;
        }
        let Some(tracker) = tracker() else {
            return HlStatus::OutOfMemory;
        };
        // SAFETY: not null, so it is a place for one number.
        unsafe { write(mark, tracker.mark().to_number()) }
    })
}

/// Counts the blocks that were recorded after `mark` (0: since the start) and are still live.
///
/// # Safety
/// * `blocks` is null or a place for one number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_leak_count_since(mark: u64, blocks: *mut u64) -> HlStatus {
    // SAFETY: the caller's duties are the same.
    respond(|| unsafe { count(blocks, |tracker| tracker.leak_count(period(mark, 0))) })
}

/// Counts the blocks that were recorded after the mark `since` (0: since the start), not after the mark
/// `until` (0: until now), and are still live.
///
/// # Safety
/// * `blocks` is null or a place for one number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_leak_count_between(
    since: u64,
    until: u64,
    blocks: *mut u64,
) -> HlStatus {
    // SAFETY: the caller's duties are the same.
    respond(|| unsafe { count(blocks, |tracker| tracker.leak_count(period(since, until))) })
}

/// Counts those of the same blocks that nothing keeps any more: the blocks of the findings of
/// `hl_leaks_json` whose `kept_by` is null. Costs the search for references without the report.
///
/// # Safety
/// * `blocks` is null or a place for one number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_lost_count_since(mark: u64, blocks: *mut u64) -> HlStatus {
    // SAFETY: the caller's duties are the same.
    respond(|| unsafe { count(blocks, |tracker| tracker.lost_count(period(mark, 0))) })
}

/// Counts those of the blocks of `hl_leak_count_between` that nothing keeps any more. Who asks for
/// the findings with `hl_leaks_between_json` next is given what this found.
///
/// # Safety
/// * `blocks` is null or a place for one number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_lost_count_between(
    since: u64,
    until: u64,
    blocks: *mut u64,
) -> HlStatus {
    // SAFETY: the caller's duties are the same.
    respond(|| unsafe { count(blocks, |tracker| tracker.lost_count(period(since, until))) })
}

/// Writes a number that the tracker knows.
///
/// # Safety
/// * As for `write`.
unsafe fn count(place: *mut u64, of: impl FnOnce(&Tracker) -> u64) -> HlStatus {
    match tracker() {
        // SAFETY: the caller's duties are the same.
        Some(tracker) => unsafe { write(place, of(tracker)) },
        None => HlStatus::OutOfMemory,
    }
}

/// The time between two marks; zero stands for the start, and for now.
pub(super) fn period(since: u64, until: u64) -> Period {
    let since = Mark::from_number(since).epoch;
    match until {
        0 => Period::since(since),
        mark => Period {
            since,
            until: Mark::from_number(mark).epoch,
        },
    }
}

/// Counts every occurrence of a finding so far. Leaks do not count: whether a live block is one is
/// asked for with `hl_leak_count_since`.
///
/// # Safety
/// * `count` is null or a place for one number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_finding_count(count: *mut u64) -> HlStatus {
    respond(|| {
        let Some(tracker) = tracker() else {
            return HlStatus::OutOfMemory;
        };
        // SAFETY: the caller's duties are those of `write`.
        unsafe { write(count, tracker.findings().counts().iter().sum()) }
    })
}
