//! The signals by which the kernel says that something cannot be written.
//!
//! Writing past the limit on file sizes raises `SIGXFSZ`, and writing to a pipe that nobody reads
//! `SIGPIPE`; both end a program that has not said otherwise. What we write is no reason for that.

#![expect(unsafe_code, reason = "signal masks are foreign calls")]

use std::mem::MaybeUninit;

const KEPT: [libc::c_int; 2] = [libc::SIGXFSZ, libc::SIGPIPE];

/// Runs `work`, whose writes fail with an error and nothing else.
pub fn without_write_signals<T>(work: impl FnOnce() -> T) -> T {
    let kept = set_of(&KEPT);
    let mut mask = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: both are places for one set of signals, and the first is filled.
    let refused =
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const kept, mask.as_mut_ptr()) };
    if refused != 0 {
        return work();
    }
    // SAFETY: the call succeeded and filled it.
    let mask = unsafe { mask.assume_init() };
    let before = pending();
    let result = work();
    for signal in KEPT {
        if !is_in(&before, signal) && is_in(&pending(), signal) {
            take(signal);
        }
    }
    // SAFETY: the mask that this thread had before.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const mask, std::ptr::null_mut()) };
    result
}

fn set_of(signals: &[libc::c_int]) -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: a place for one set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    for &signal in signals {
        // SAFETY: as above; an unknown number is refused.
        unsafe { libc::sigaddset(set.as_mut_ptr(), signal) };
    }
    // SAFETY: `sigemptyset` filled it.
    unsafe { set.assume_init() }
}

/// What waits for this thread or for any.
fn pending() -> libc::sigset_t {
    let mut set = set_of(&[]);
    // SAFETY: a place for one set.
    unsafe { libc::sigpending(&raw mut set) };
    set
}

fn is_in(set: &libc::sigset_t, signal: libc::c_int) -> bool {
    // SAFETY: a filled set.
    unsafe { libc::sigismember(std::ptr::from_ref(set), signal) == 1 }
}

/// Takes a waiting signal, so that it is never delivered.
fn take(signal: libc::c_int) {
    let set = set_of(&[signal]);
    let at_once = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a filled set and a filled time; nobody wants to know more about the signal.
    let _ = unsafe { libc::sigtimedwait(&raw const set, std::ptr::null_mut(), &raw const at_once) };
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::FromRawFd;

    #[test]
    fn a_pipe_without_a_reader_is_an_error_and_no_signal() {
        let mut ends = [0; 2];
        // SAFETY: a place for two descriptors.
        assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
        // SAFETY: opened above, and nobody else's.
        let mut writer = unsafe { File::from_raw_fd(ends[1]) };
        // SAFETY: as above.
        unsafe { libc::close(ends[0]) };
        let written = without_write_signals(|| {
            let written = writer.write_all(b"nobody reads this");
            assert!(!is_in(&pending(), libc::SIGUSR1));
            written
        });
        assert_eq!(
            written.map_err(|error| error.kind()),
            Err(std::io::ErrorKind::BrokenPipe)
        );
        assert!(!is_in(&pending(), libc::SIGPIPE), "nothing is left behind");
    }
}
