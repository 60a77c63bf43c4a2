//! The workload: each step releases the oldest block of a ring and allocates another in its place.

#![expect(
    unsafe_code,
    reason = "calls glibc's malloc and free, and asks for the thread's processor time"
)]

use crate::bookkeepers::Bookkeeper;
use heapledger::memory::{Address, ByteCount};
use std::ffi::c_void;
use std::ptr;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

/// How many blocks a thread holds.
pub(crate) const SLOT_COUNT: usize = 1_024;
const PAIR_COUNT: u32 = 2_000_000;
const WARM_UP_COUNT: u32 = 100_000;
/// Sizes cycle through 16, 32, … bytes: what a program with small objects asks for.
const SIZE_STEP: usize = 16;
const SIZE_COUNT: usize = 16;

/// The processor time of one pair for one of `thread_count` threads that work at the same time. Not
/// the time that passes: other work on the machine must not count.
pub(crate) fn nanoseconds_per_pair(book: &dyn Bookkeeper, thread_count: usize) -> f64 {
    let start = Barrier::new(thread_count);
    let total: f64 = thread::scope(|scope| {
        let threads: Vec<_> = (0..thread_count)
            .map(|_| scope.spawn(|| run_thread(book, &start)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("the thread returns"))
            .sum()
    });
    total / f64::from(u32::try_from(thread_count).expect("a handful"))
}

fn run_thread(book: &dyn Bookkeeper, start: &Barrier) -> f64 {
    let mut ring = Ring {
        book,
        slots: [ptr::null_mut(); SLOT_COUNT],
    };
    ring.turn(WARM_UP_COUNT);
    start.wait();
    let began = thread_seconds();
    ring.turn(PAIR_COUNT);
    (thread_seconds() - began) * 1e9 / f64::from(PAIR_COUNT)
}

/// The processor time of this thread.
fn thread_seconds() -> f64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is a place for the answer; the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut now) };
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or(0),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
    .as_secs_f64()
}

struct Ring<'a> {
    book: &'a dyn Bookkeeper,
    slots: [*mut c_void; SLOT_COUNT],
}

impl Ring<'_> {
    fn turn(&mut self, pair_count: u32) {
        for step in 0..pair_count as usize {
            let size = (step % SIZE_COUNT + 1) * SIZE_STEP;
            let slot = &mut self.slots[step * 7 % SLOT_COUNT];
            release(self.book, *slot);
            *slot = allocate(self.book, size);
        }
    }
}

impl Drop for Ring<'_> {
    fn drop(&mut self) {
        for slot in self.slots {
            release(self.book, slot);
        }
    }
}

fn allocate(book: &dyn Bookkeeper, size: usize) -> *mut c_void {
    // SAFETY: any size may be asked for.
    let block = unsafe { libc::malloc(size) };
    book.note_allocation(Address::of(block), ByteCount::new(size));
    block
}

fn release(book: &dyn Bookkeeper, block: *mut c_void) {
    if block.is_null() {
        return;
    }
    book.note_release(Address::of(block));
    // SAFETY: `allocate` got the block from malloc, and each slot is released once before it is
    // filled again.
    unsafe { libc::free(block) };
}
