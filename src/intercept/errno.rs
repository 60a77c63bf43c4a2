//! Keeping `errno` as the program left it, and setting it as the program expects.

#![expect(unsafe_code, reason = "errno is reached through a foreign function")]

use std::ffi::c_int;

/// Puts `errno` back when it goes out of scope: what we do between two of the program's
/// instructions must not show.
#[derive(Debug)]
pub(super) struct KeptErrno(c_int);

impl KeptErrno {
    /// Remembers `errno`.
    #[inline]
    pub(super) fn keep() -> Self {
        Self(get())
    }
}

impl Drop for KeptErrno {
    #[inline]
    fn drop(&mut self) {
        set(self.0);
    }
}

/// This thread's `errno`.
#[inline]
pub(super) fn get() -> c_int {
    // SAFETY: takes nothing and returns this thread's place.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: the place belongs to this thread and lives as long as it.
    unsafe { *place }
}

/// Sets this thread's `errno`.
#[inline]
pub(super) fn set(number: c_int) {
    // SAFETY: as in `get`.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: as in `get`.
    unsafe { *place = number };
}
