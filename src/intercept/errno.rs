//! Keeping `errno` as the program left it, and setting it as the program expects.
//!
//! glibc keeps `errno` in the static thread-local memory of libc, at the same distance from every
//! thread's pointer. The distance is asked once; afterwards a look costs two instructions.

#![expect(unsafe_code, reason = "errno is reached through a foreign function")]
#![expect(clippy::inline_always, reason = "two instructions around every event")]

use std::ffi::c_int;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How far `errno` lies from a thread's pointer, in two's complement; zero while nobody has asked,
/// for at the pointer itself lies something else.
static DISTANCE: AtomicUsize = AtomicUsize::new(0);

/// Puts `errno` back when it goes out of scope: what we do between two of the program's
/// instructions must not show.
#[derive(Debug)]
pub(super) struct KeptErrno {
    place: *mut c_int,
    number: c_int,
}

impl KeptErrno {
    /// Remembers `errno`.
    #[inline(always)]
    pub(super) fn keep() -> Self {
        let place = place();
        // SAFETY: the place belongs to this thread and lives as long as it.
        let number = unsafe { *place };
        Self { place, number }
    }
}

impl Drop for KeptErrno {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: as in `keep`; a guard stays on its thread, for a raw pointer is not `Send`.
        unsafe { *self.place = self.number };
    }
}

/// Sets this thread's `errno`.
#[inline]
pub(super) fn set(number: c_int) {
    // SAFETY: as in `keep`.
    unsafe { *place() = number };
}

#[inline(always)]
fn place() -> *mut c_int {
    match DISTANCE.load(Ordering::Relaxed) {
        0 => ask(),
        distance => std::ptr::with_exposed_provenance_mut(thread_pointer().wrapping_add(distance)),
    }
}

#[cold]
fn ask() -> *mut c_int {
    // SAFETY: takes nothing and returns this thread's place.
    let place = unsafe { libc::__errno_location() };
    let distance = place.expose_provenance().wrapping_sub(thread_pointer());
    DISTANCE.store(distance, Ordering::Relaxed);
    place
}

/// The thread pointer, which also lies in the first word it points at.
#[inline(always)]
fn thread_pointer() -> usize {
    let pointer: usize;
    // SAFETY: on x86-64 Linux the first word of the thread control block is its own address.
    unsafe {
        core::arch::asm!(
            "mov {pointer}, qword ptr fs:[0]",
            pointer = out(reg) pointer,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    pointer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_this_thread() {
        for _ in 0..2 {
            // SAFETY: takes nothing and returns this thread's place.
            let place = unsafe { libc::__errno_location() };
            assert_eq!(super::place(), place);
        }
        set(7);
        {
            let _kept = KeptErrno::keep();
            set(8);
        }
        // SAFETY: as above.
        assert_eq!(unsafe { *super::place() }, 7);
    }

    #[test]
    fn errno_is_found_at_the_same_distance_on_every_thread() {
        check_this_thread();
        std::thread::spawn(check_this_thread)
            .join()
            .expect("no assertion failed");
    }
}
