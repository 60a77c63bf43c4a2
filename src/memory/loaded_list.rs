//! Our looks at the loader's list of objects, and forks.
//!
//! The list is read under a lock of the loader's, which glibc does not put right in a forked child:
//! when one thread reads while another forks, the child waits for ever at its next look, its next
//! `dlopen` or its next exception. So a fork waits until none of us reads, and who wants to read
//! meanwhile waits for the fork. Both waits have an end, for the forking thread may be reading
//! itself (a signal handler, another handler of forks).

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Reading takes milliseconds, a fork of a large process some more.
const WAIT_MAX: Duration = Duration::from_secs(1);

static READER_COUNT: AtomicU32 = AtomicU32::new(0);
static FORK_COUNT: AtomicU32 = AtomicU32::new(0);

/// Keeps forks waiting until it is dropped: taken around every look at the list.
#[derive(Debug)]
pub struct Reading(());

impl Reading {
    /// Waits for forks that have begun.
    #[must_use]
    pub fn begin() -> Self {
        READER_COUNT.fetch_add(1, Ordering::SeqCst);
        if FORK_COUNT.load(Ordering::SeqCst) != 0 {
            READER_COUNT.fetch_sub(1, Ordering::SeqCst);
            wait_for_none(&FORK_COUNT);
            READER_COUNT.fetch_add(1, Ordering::SeqCst);
        }
        Self(())
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        // A child has forgotten the readers of its parent; one that forked while it read may be left.
        let _ = READER_COUNT.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| {
            count.checked_sub(1)
        });
    }
}

/// Called before a fork, on the thread that forks.
pub fn before_fork() {
    FORK_COUNT.fetch_add(1, Ordering::SeqCst);
    wait_for_none(&READER_COUNT);
}

/// Called after a fork in the parent.
pub fn after_fork_in_parent() {
    FORK_COUNT.fetch_sub(1, Ordering::SeqCst);
}

/// Called after a fork in the child, where no other thread reads or forks.
pub fn after_fork_in_child() {
    FORK_COUNT.store(0, Ordering::SeqCst);
    READER_COUNT.store(0, Ordering::SeqCst);
}

fn wait_for_none(count: &AtomicU32) {
    let mut since = None;
    while count.load(Ordering::SeqCst) != 0 {
        let since = *since.get_or_insert_with(Instant::now);
        if since.elapsed() > WAIT_MAX {
            return;
        }
        std::thread::yield_now();
    }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    static IS_FORKED: AtomicBool = AtomicBool::new(false);

    #[test]
    fn a_fork_waits_for_readers_and_readers_wait_for_the_fork() {
        let reading = Reading::begin();
        let forking = std::thread::spawn(|| {
            before_fork();
            IS_FORKED.store(true, Ordering::SeqCst);
        });
        while FORK_COUNT.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        assert!(!IS_FORKED.load(Ordering::SeqCst), "somebody reads");
        drop(reading);
        forking.join().expect("the thread returns");
        let late = std::thread::spawn(|| {
            let _reading = Reading::begin();
            FORK_COUNT.load(Ordering::SeqCst)
        });
        after_fork_in_parent();
        assert_eq!(late.join().ok(), Some(0), "it has read after the fork");
    }
}
