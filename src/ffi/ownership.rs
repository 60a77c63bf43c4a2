//! Adopting, releasing and disowning memory that others allocated.

#![expect(unsafe_code, reason = "exports with pointers, and naked functions")]

use super::HlStatus;
use super::caller::{called_from, jump_with_caller};
use super::pointers;
use super::query::HlBlockInfo;
use super::status::{fail, respond};
use crate::capture::EventPlace;
use crate::ledger::FamilyId;
use crate::memory::{Address, ByteCount};
use crate::tracker::adopt::AdoptError;
use crate::tracker::release::ReleaseVerdict;
use crate::tracker::tracker;
use std::ffi::{c_char, c_void};

/// Records memory that others allocated, as a live block of `size` bytes that its owner will
/// release with a function nobody named. `size` may be zero for an opaque handle.
///
/// `HL_INVALID_ARGUMENT` when a live block is recorded there already; `HL_NULL_POINTER` for null.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub extern "C" fn hl_adopt(pointer: *mut c_void, size: usize) -> HlStatus {
    jump_with_caller!("rdx", "x2", adopt_from)
}

/// Adopts as `hl_adopt`, for a family that `hl_family_declare` gave a number, or one of
/// `HL_FAMILY_MALLOC`, `HL_FAMILY_NEW` and `HL_FAMILY_NEW_ARRAY`.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub extern "C" fn hl_adopt_as(pointer: *mut c_void, size: usize, family: u32) -> HlStatus {
    jump_with_caller!("rcx", "x3", adopt_as_from)
}

/// Says that the owner of a block is about to release it, whatever its family; the block leaves the
/// ledger. `HL_FINDING` when it was released before or is not known: then do not release it.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub extern "C" fn hl_disown(pointer: *mut c_void) -> HlStatus {
    jump_with_caller!("rsi", "x1", disown_from)
}

/// Says that a function of `family` is about to release a block. `HL_OK`: carry it out.
/// `HL_FINDING`: it is an error, now recorded; do not carry it out.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub extern "C" fn hl_release(pointer: *mut c_void, family: u32) -> HlStatus {
    jump_with_caller!("rdx", "x2", release_from)
}

/// Reports a second release of a block as a `double-free`, from what `hl_describe` said right after
/// the first one. The ledger is not asked: the address may belong to another block by now.
///
/// # Safety
/// * `block` is null or points at an `hl_block_info` with its `struct_size` set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_note_double_release(block: *const HlBlockInfo) -> HlStatus {
    respond(|| {
        // SAFETY: the caller's duties are those of `check_struct_size`.
        if let Err(status) = unsafe { pointers::check_struct_size(block) } {
            return status;
        }
        // SAFETY: not null and of our size, as just checked; copied because it may be packed.
        let block = unsafe { block.read_unaligned() };
        let Some(tracker) = tracker() else {
            return HlStatus::OutOfMemory;
        };
        match block.to_record() {
            Some(record) => tracker.note_double_release(&record, EventPlace::UNKNOWN),
            None => {
                return fail(
                    HlStatus::InvalidArgument,
                    "the block was not released before",
                );
            }
        }
        HlStatus::Ok
    })
}

/// Declares that blocks from one function are released by another, and gives the pair a number.
/// The same pair has the same number. `HL_LIMIT` when too many are declared.
///
/// # Safety
/// * `allocate_name` and `release_name` are null or end with NUL; `family` is null or a place for
///   one number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_family_declare(
    allocate_name: *const c_char,
    release_name: *const c_char,
    family: *mut u32,
) -> HlStatus {
    respond(|| {
        // SAFETY: the caller vouches for the string.
        let allocate = match unsafe { pointers::text(allocate_name, "allocate_name") } {
            Ok(text) => text,
            Err(status) => return status,
        };
        // SAFETY: the caller vouches for the string.
        let release = match unsafe { pointers::text(release_name, "release_name") } {
            Ok(text) => text,
            Err(status) => return status,
        };
        if family.is_null() {
            return HlStatus::NullPointer;
        }
        let Some(tracker) = tracker() else {
            return HlStatus::OutOfMemory;
        };
        match tracker.families().declare(allocate, release) {
            // SAFETY: not null, so it is a place for one number.
            Some(number) => unsafe { pointers::write(family, u32::from(number.0)) },
            None => fail(HlStatus::Limit, "too many families are declared"),
        }
    })
}

/// Notes a view of the live block that `pointer` lies in (an array, a buffer that Python lends out)
/// and gives it a number. While it is alive, `hl_free` and `hl_realloc` refuse the block, and a release
/// by anybody else is a finding. `HL_NOT_FOUND` when there is no such block, or no room.
///
/// # Safety
/// * `view` is null or a place for one number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_view_begin(pointer: *const c_void, view: *mut u64) -> HlStatus {
    respond(|| {
        if view.is_null() {
            return HlStatus::NullPointer;
        }
        let Some(tracker) = tracker() else {
            return HlStatus::OutOfMemory;
        };
        match tracker.begin_view(Address::new(pointer.addr()), EventPlace::UNKNOWN) {
            // SAFETY: not null, so it is a place for one number.
            Some(number) => unsafe { pointers::write(view, number) },
            None => HlStatus::NotFound,
        }
    })
}

/// Notes that a view is gone. `HL_NOT_FOUND` when there is none of this number.
#[unsafe(no_mangle)]
pub extern "C" fn hl_view_end(view: u64) -> HlStatus {
    respond(|| match tracker() {
        Some(tracker) if tracker.end_view(view) => HlStatus::Ok,
        Some(_) => HlStatus::NotFound,
        None => HlStatus::OutOfMemory,
    })
}

extern "C" fn adopt_from(pointer: *mut c_void, size: usize, caller: usize) -> HlStatus {
    adopt(pointer, size, FamilyId::ADOPTED, caller)
}

extern "C" fn adopt_as_from(
    pointer: *mut c_void,
    size: usize,
    family: u32,
    caller: usize,
) -> HlStatus {
    match u16::try_from(family) {
        Ok(family) => adopt(pointer, size, FamilyId(family), caller),
        Err(_) => no_such_family(family),
    }
}

extern "C" fn disown_from(pointer: *mut c_void, caller: usize) -> HlStatus {
    release(pointer, None, caller)
}

extern "C" fn release_from(pointer: *mut c_void, family: u32, caller: usize) -> HlStatus {
    match u16::try_from(family) {
        Ok(family) => release(pointer, Some(FamilyId(family)), caller),
        Err(_) => no_such_family(family),
    }
}

fn no_such_family(family: u32) -> HlStatus {
    respond(|| {
        fail(
            HlStatus::InvalidArgument,
            format!("no family has the number {family}"),
        )
    })
}

fn adopt(pointer: *mut c_void, size: usize, family: FamilyId, caller: usize) -> HlStatus {
    let pointer = Address::new(pointer.expose_provenance());
    respond(|| {
        let Some(tracker) = tracker() else {
            return HlStatus::OutOfMemory;
        };
        match tracker.adopt(pointer, ByteCount::new(size), family, called_from(caller)) {
            Ok(()) => HlStatus::Ok,
            Err(error @ AdoptError::NoRoom) => {
                fail(HlStatus::Limit, explain(error, pointer, family))
            }
            Err(_) if pointer.is_null() => fail(HlStatus::NullPointer, "the pointer is null"),
            Err(error) => fail(HlStatus::InvalidArgument, explain(error, pointer, family)),
        }
    })
}

fn explain(error: AdoptError, pointer: Address, family: FamilyId) -> String {
    match error {
        AdoptError::NotAnAddress => format!("{pointer} is no address a program can have"),
        AdoptError::AlreadyRecorded => {
            format!("a live block is recorded at {pointer} already: it has an owner")
        }
        AdoptError::UnknownFamily => format!("no family has the number {}", family.0),
        AdoptError::NoRoom => "the ledger has no room for the block".to_owned(),
        AdoptError::SizeTooLarge => {
            format!("a block at {pointer} of that size would reach beyond the address space")
        }
    }
}

fn release(pointer: *mut c_void, family: Option<FamilyId>, caller: usize) -> HlStatus {
    let pointer = Address::new(pointer.expose_provenance());
    respond(|| {
        if pointer.is_null() {
            return HlStatus::NullPointer;
        }
        let Some(tracker) = tracker() else {
            return HlStatus::OutOfMemory;
        };
        let place = called_from(caller);
        let verdict = match family {
            Some(family) => tracker.release_by_owner(pointer, family, place),
            None => tracker.disown(pointer, place),
        };
        match verdict {
            ReleaseVerdict::Execute => HlStatus::Ok,
            ReleaseVerdict::Withheld | ReleaseVerdict::Refused | ReleaseVerdict::Unknown => {
                HlStatus::Finding
            }
        }
    })
}
