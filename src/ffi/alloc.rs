//! The allocation functions, with the standard signatures, so that they can be given to other
//! libraries as callbacks.
//!
//! The plain ones pass the return address on, so that the immediate native caller is known: a
//! naked function adds it as one more argument and jumps to the function that does the work.

#![expect(
    unsafe_code,
    reason = "exports, and naked functions that read their return address"
)]

use super::barrier::barrier;
use super::caller::{called_from, jump_with_caller};
use super::pointers;
use crate::capture::{EventPlace, LocationId};
use crate::memory::Address;
use crate::tracker::explicit::{Explicit, NATURAL_ALIGNMENT, Request};
use crate::tracker::{Tracker, tracker};
use std::ffi::{c_char, c_void};

/// Allocates `size` bytes. Null with `errno` set to `ENOMEM` when there is no memory; a size above
/// `PTRDIFF_MAX` is a `size-overflow` finding too.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub extern "C" fn hl_malloc(size: usize) -> *mut c_void {
    jump_with_caller!("rsi", "x1", malloc_from)
}

/// Allocates `count` times `size` zeroed bytes. A product that overflows is a `size-overflow`
/// finding; null with `errno` set to `ENOMEM` then, and when there is no memory.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub extern "C" fn hl_calloc(count: usize, size: usize) -> *mut c_void {
    jump_with_caller!("rdx", "x2", calloc_from)
}

/// Resizes a block of ours, as `realloc`: a null `pointer` allocates; a `size` of zero releases and
/// returns null. A block that was released before is a `realloc-after-free` finding and any other
/// pointer an `invalid-free` finding: null with `errno` set to `EINVAL`.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub extern "C" fn hl_realloc(pointer: *mut c_void, size: usize) -> *mut c_void {
    jump_with_caller!("rdx", "x2", realloc_from)
}

/// Allocates `size` bytes at a multiple of `alignment`, a power of two; null with `errno` set to
/// `EINVAL` for any other alignment.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub extern "C" fn hl_aligned_alloc(alignment: usize, size: usize) -> *mut c_void {
    jump_with_caller!("rdx", "x2", aligned_alloc_from)
}

/// Releases a block of ours; null is ignored. A second release is a `double-free` finding, any
/// other pointer that is not ours an `invalid-free` or `mismatched-free` finding; these are not
/// carried out.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub extern "C" fn hl_free(pointer: *mut c_void) {
    jump_with_caller!("rsi", "x1", free_from)
}

extern "C" fn malloc_from(size: usize, caller: usize) -> *mut c_void {
    allocate(called_from(caller), request(size))
}

extern "C" fn calloc_from(count: usize, size: usize, caller: usize) -> *mut c_void {
    allocating(called_from(caller), |explicit| {
        explicit.allocate_array(count, size)
    })
}

extern "C" fn realloc_from(pointer: *mut c_void, size: usize, caller: usize) -> *mut c_void {
    allocating(called_from(caller), |explicit| {
        explicit.resize(address(pointer), size)
    })
}

extern "C" fn aligned_alloc_from(alignment: usize, size: usize, caller: usize) -> *mut c_void {
    allocate(
        called_from(caller),
        Request {
            alignment,
            ..request(size)
        },
    )
}

extern "C" fn free_from(pointer: *mut c_void, caller: usize) {
    release(called_from(caller), pointer);
}

/// Allocates as `hl_malloc` for the given place in a C or C++ source.
///
/// # Safety
/// * `file` and `function` are null or end with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_malloc_at(
    size: usize,
    file: *const c_char,
    line: u32,
    function: *const c_char,
) -> *mut c_void {
    barrier(std::ptr::null_mut(), || {
        // SAFETY: the caller's duties are those of `written_at`.
        let place = unsafe { written_at(file, line, function) };
        allocate(place, request(size))
    })
}

/// Allocates as `hl_calloc` for the given place in a C or C++ source.
///
/// # Safety
/// * `file` and `function` are null or end with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_calloc_at(
    count: usize,
    size: usize,
    file: *const c_char,
    line: u32,
    function: *const c_char,
) -> *mut c_void {
    barrier(std::ptr::null_mut(), || {
        // SAFETY: the caller's duties are those of `written_at`.
        let place = unsafe { written_at(file, line, function) };
        allocating(place, |explicit| explicit.allocate_array(count, size))
    })
}

/// Resizes as `hl_realloc` for the given place in a C or C++ source.
///
/// # Safety
/// * `file` and `function` are null or end with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_realloc_at(
    pointer: *mut c_void,
    size: usize,
    file: *const c_char,
    line: u32,
    function: *const c_char,
) -> *mut c_void {
    barrier(std::ptr::null_mut(), || {
        // SAFETY: the caller's duties are those of `written_at`.
        let place = unsafe { written_at(file, line, function) };
        allocating(place, |explicit| explicit.resize(address(pointer), size))
    })
}

/// Allocates as `hl_aligned_alloc` for the given place in a C or C++ source.
///
/// # Safety
/// * `file` and `function` are null or end with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_aligned_alloc_at(
    alignment: usize,
    size: usize,
    file: *const c_char,
    line: u32,
    function: *const c_char,
) -> *mut c_void {
    barrier(std::ptr::null_mut(), || {
        // SAFETY: the caller's duties are those of `written_at`.
        let place = unsafe { written_at(file, line, function) };
        allocate(
            place,
            Request {
                alignment,
                ..request(size)
            },
        )
    })
}

/// Releases as `hl_free` for the given place in a C or C++ source.
///
/// # Safety
/// * `file` and `function` are null or end with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hl_free_at(
    pointer: *mut c_void,
    file: *const c_char,
    line: u32,
    function: *const c_char,
) {
    barrier((), || {
        // SAFETY: the caller's duties are those of `written_at`.
        let place = unsafe { written_at(file, line, function) };
        release(place, pointer);
    });
}

fn request(size: usize) -> Request {
    Request {
        size,
        alignment: NATURAL_ALIGNMENT,
        zeroed: false,
    }
}

fn allocate(place: EventPlace, request: Request) -> *mut c_void {
    allocating(place, |explicit| explicit.allocate(request))
}

/// Runs one allocating call; null where there is no block. Without a tracker (the kernel refused
/// its address space) the program has no memory either, and is told so.
fn allocating(
    place: EventPlace,
    call: impl FnOnce(&Explicit<'_>) -> Option<Address>,
) -> *mut c_void {
    let work = || tracker().and_then(|tracker| call(&tracker.explicit(place)));
    barrier(None, work).map_or(std::ptr::null_mut(), |block| {
        std::ptr::with_exposed_provenance_mut(block.get())
    })
}

fn release(place: EventPlace, pointer: *mut c_void) {
    let pointer = address(pointer);
    barrier((), || {
        if let Some(tracker) = tracker() {
            tracker.explicit(place).release(pointer);
        }
    });
}

fn address(pointer: *mut c_void) -> Address {
    Address::new(pointer.expose_provenance())
}

/// The place that a caller names.
///
/// # Safety
/// * `file` and `function` are null or end with NUL.
unsafe fn written_at(file: *const c_char, line: u32, function: *const c_char) -> EventPlace {
    // SAFETY: the caller vouches for the string.
    let file = unsafe { pointers::bytes(file) };
    // SAFETY: the caller vouches for the string.
    let function = unsafe { pointers::bytes(function) };
    let location = |tracker: &Tracker| {
        let (file, function) = (file.unwrap_or_default(), function.unwrap_or_default());
        tracker.capture().intern_location(file, line, function)
    };
    let location = tracker().map_or(LocationId::NONE, location);
    EventPlace {
        location,
        ..EventPlace::UNKNOWN
    }
}
