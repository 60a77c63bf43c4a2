//! Our own heap: what Rust code of this library allocates never comes from glibc.
//!
//! So a report can be written inside a signal handler that interrupted `malloc`, after the
//! program has corrupted its heap, and without our own blocks appearing beside the program's.
//! `dlmalloc` takes its memory from [`pages`] alone, and from a [`reserve`] when there are none.

#![expect(unsafe_code, reason = "implements GlobalAlloc over a locked dlmalloc")]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicU64, Ordering};

use dlmalloc::Dlmalloc;

use super::refusal::{Request, is_refused};
use super::{pages, reserve};

/// Bytes the heap grows by: address space, of which the kernel gives what is touched.
const GROWTH_BYTES: usize = 1 << 20;

/// The library's global allocator: dlmalloc, locked and counted.
pub struct OwnHeap {
    allocation_count: AtomicU64,
    lock: UnsafeCell<libc::pthread_mutex_t>,
    heap: UnsafeCell<Dlmalloc<OwnPages>>,
}

// SAFETY: `heap` is touched only while `lock` is held, and `lock` only through pthread functions.
unsafe impl Sync for OwnHeap {}

impl std::fmt::Debug for OwnHeap {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("OwnHeap").finish_non_exhaustive()
    }
}

#[cfg_attr(not(miri), global_allocator)]
static OWN_HEAP: OwnHeap = OwnHeap {
    allocation_count: AtomicU64::new(0),
    lock: UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER),
    heap: UnsafeCell::new(
        const {
            let mut heap = Dlmalloc::new_with_allocator(OwnPages);
            assert!(heap.set_granularity(GROWTH_BYTES));
            heap
        },
    ),
};

/// How many blocks our own code has allocated so far: tests prove with it that a path allocates
/// nothing.
#[must_use]
pub fn allocation_count() -> u64 {
    OWN_HEAP.allocation_count.load(Ordering::Relaxed)
}

/// Keeps other threads out for the time of a fork, so that the child finds the heap whole.
pub(super) extern "C" fn hold() {
    OWN_HEAP.lock();
}

/// Ends what [`hold`] began, in the parent or in the child.
pub(super) extern "C" fn let_go() {
    OWN_HEAP.unlock();
}

impl OwnHeap {
    fn lock(&self) {
        // SAFETY: the mutex is initialised and never moves. It cannot fail: it checks nothing.
        unsafe { libc::pthread_mutex_lock(self.lock.get()) };
    }

    fn unlock(&self) {
        // SAFETY: as in `lock`; called by the holder only.
        unsafe { libc::pthread_mutex_unlock(self.lock.get()) };
    }

    /// Lets `work` have the heap.
    fn with<T>(&self, work: impl FnOnce(&mut Dlmalloc<OwnPages>) -> T) -> T {
        self.lock();
        // SAFETY: the lock is held, so no other reference to the heap exists; `work` is one call of
        // dlmalloc's, which does not come back here.
        let result = work(unsafe { &mut *self.heap.get() });
        self.unlock();
        result
    }
}

// SAFETY: every call is passed on unchanged to an allocator that keeps the contract.
unsafe impl GlobalAlloc for OwnHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.allocation_count.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's duties are the same as ours.
        self.with(|heap| unsafe { heap.malloc(layout.size(), layout.align()) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.allocation_count.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as in `alloc`.
        self.with(|heap| unsafe { heap.calloc(layout.size(), layout.align()) })
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        self.allocation_count.fetch_add(1, Ordering::Relaxed);
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: as in `alloc`.
        self.with(|heap| unsafe { heap.realloc(block, size, align, new_size) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as in `alloc`.
        self.with(|heap| unsafe { heap.free(block, layout.size(), layout.align()) });
    }
}

/// Where the heap's memory comes from: pages that are known to be ours.
struct OwnPages;

// SAFETY: a mapping is handed out whole, zeroed and readable, and stays until it is given back.
unsafe impl dlmalloc::Allocator for OwnPages {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        let pages = if is_refused(Request::HeapGrowth) {
            None
        } else {
            pages::map(size)
        };
        let pages = pages.or_else(|| reserve::take(size));
        pages.map_or((null_mut(), 0, 0), |pages| (pages.as_ptr(), size, 0))
    }

    fn remap(&self, _: *mut u8, _: usize, _: usize, _: bool) -> *mut u8 {
        // dlmalloc then copies: the heap seldom grows what is as large as a mapping of its own.
        null_mut()
    }

    fn free_part(&self, start: *mut u8, old_size: usize, new_size: usize) -> bool {
        if reserve::holds(start) {
            return false;
        }
        let rest = NonNull::new(start.wrapping_add(new_size));
        // SAFETY: dlmalloc gives back the end of what it got here, and looks at it no more.
        rest.is_some_and(|rest| unsafe { pages::unmap(rest, old_size - new_size) })
    }

    fn free(&self, start: *mut u8, size: usize) -> bool {
        if reserve::holds(start) {
            return false;
        }
        // SAFETY: as in `free_part`, for the whole.
        NonNull::new(start).is_some_and(|start| unsafe { pages::unmap(start, size) })
    }

    fn can_release_part(&self, _flags: u32) -> bool {
        true
    }

    fn allocates_zeros(&self) -> bool {
        true
    }

    fn page_size(&self) -> usize {
        pages::PAGE
    }
}
