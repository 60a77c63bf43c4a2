//! One thread at a time starts or stops.
//!
//! Both are several steps: options, slots, the watch. A second thread in between would leave slots
//! rewritten without a session. It is refused and does not wait: a start may be waiting for the
//! interpreter's lock, which the second thread may hold, and a stop may be telling the program of a
//! finding, whose callback may start or stop.

use std::sync::atomic::{AtomicU32, Ordering};

static IS_TAKEN: AtomicU32 = AtomicU32::new(0);

/// Proof that this thread alone starts or stops, until it is dropped.
#[derive(Debug)]
pub struct Switching(());

impl Switching {
    /// `None` while somebody else is at it.
    #[must_use]
    pub fn begin() -> Option<Self> {
        let taken = IS_TAKEN.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed);
        taken.is_ok().then_some(Self(()))
    }
}

impl Drop for Switching {
    fn drop(&mut self) {
        IS_TAKEN.store(0, Ordering::Release);
    }
}

/// Called in a forked child, where whoever was at it does not exist.
pub(super) fn after_fork_in_child() {
    IS_TAKEN.store(0, Ordering::Release);
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_refused_until_the_first_is_done() {
        let first = Switching::begin().expect("nobody is at it");
        assert!(Switching::begin().is_none());
        drop(first);
        assert!(Switching::begin().is_some());
        let lost = Switching::begin().expect("nobody is at it");
        after_fork_in_child();
        assert!(
            Switching::begin().is_some(),
            "a child is not refused for ever"
        );
        drop(lost);
    }
}
