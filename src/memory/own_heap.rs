//! Our own heap: what Rust code of this library allocates never comes from glibc.
//!
//! So a report can be written inside a signal handler that interrupted `malloc`, after the
//! program has corrupted its heap, and without our own blocks appearing beside the program's.
//! `dlmalloc` takes its memory from `mmap` alone.

#![expect(unsafe_code, reason = "implements GlobalAlloc")]

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicU64, Ordering};

/// The library's global allocator: dlmalloc, counted.
#[derive(Debug)]
pub struct OwnHeap {
    allocation_count: AtomicU64,
}

#[cfg(not(miri))]
#[global_allocator]
static OWN_HEAP: OwnHeap = OwnHeap {
    allocation_count: AtomicU64::new(0),
};
#[cfg(miri)]
static OWN_HEAP: OwnHeap = OwnHeap {
    allocation_count: AtomicU64::new(0),
};

/// How many blocks our own code has allocated so far: tests prove with it that a path allocates
/// nothing.
#[must_use]
pub fn allocation_count() -> u64 {
    OWN_HEAP.allocation_count.load(Ordering::Relaxed)
}

// SAFETY: every call is passed on unchanged to an allocator that keeps the contract.
unsafe impl GlobalAlloc for OwnHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.allocation_count.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's duties are the same as ours.
        unsafe { dlmalloc::GlobalDlmalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.allocation_count.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as in `alloc`.
        unsafe { dlmalloc::GlobalDlmalloc.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        self.allocation_count.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as in `alloc`.
        unsafe { dlmalloc::GlobalDlmalloc.realloc(block, layout, new_size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as in `alloc`.
        unsafe { dlmalloc::GlobalDlmalloc.dealloc(block, layout) }
    }
}
